"""`status` greets the coordinator: every greeting is in the egress journal first, and it claims no more than it saw."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from testkit.authorities import Authority
from testkit.proxies import tcp_server
from vdb_participant.commands.standing import show
from vdb_participant.site.config import ConfigFile, StateFolder
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.storage import write_durably

NOW = datetime.now(UTC)
OURS = Authority()


def greeted(state: StateFolder) -> int:
    """Return how many greetings the journal has."""
    entries = EgressJournal(state.egress).read().entries
    assert all(entry.departure.kind == "greeting" for entry in entries)
    return len(entries)


@contextmanager
def counting(state: StateFolder, authority: Authority, ends: timedelta) -> Iterator[tuple[str, list[int]]]:
    """Serve TLS under an authority; yields the address, and how many greetings the journal had at each connection."""
    certificate, key = authority.issue(NOW - timedelta(days=1), NOW + ends)
    (state.path / "server.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(state.path / "server.pem")
    known: list[int] = []

    def greet(connection: socket.socket) -> None:
        known.append(greeted(state))
        context.wrap_socket(connection, server_side=True).close()

    with tcp_server(greet) as address:
        yield address, known


def site_of(path: Path) -> StateFolder:
    path.mkdir()
    return StateFolder(path)


def shown(state: StateFolder, address: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what `status` says of a coordinator at an address."""
    config = ConfigFile(
        consortium="testbed",
        institution="clinic",
        address=address,
        root_fingerprint="sha256:" + "0" * 64,
        ca_certificate=OURS.pem.decode(),
        spiffe_id="spiffe://testbed/institution/clinic",
    )
    write_durably(state.config, config.encode())
    show(state, "", as_json=False)
    return " ".join(capsys.readouterr().out.split())


def test_a_server_that_is_ours_is_greeted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = site_of(tmp_path / "site")
    with counting(state, OURS, timedelta(days=1)) as (address, known):
        assert f"coordinator: its server at {address} answers over TLS" in shown(state, address, capsys)
    assert known == [1]
    assert greeted(state) == 1


@pytest.mark.parametrize(
    ("authority", "ends", "words"),
    [
        (Authority("Corporate Inspection CA"), timedelta(days=1), "signed by 'Corporate Inspection CA'"),
        (OURS, -timedelta(hours=1), "its certificate has expired"),
    ],
)
def test_each_greeting_of_a_server_that_is_not_believed_is_recorded_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], authority: Authority, ends: timedelta, words: str
) -> None:
    """The second one looks at the certificate. Somebody may stand in between: nothing comforts."""
    state = site_of(tmp_path / "site")
    with counting(state, authority, ends) as (address, known):
        said = shown(state, address, capsys)
    assert words in said
    assert "Nothing is lost" not in said
    assert known == [1, 2]
    assert greeted(state) == 2


def test_a_journal_of_another_user_is_neither_made_nor_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the agent could not write on in it, and send nothing any more."""
    state = site_of(tmp_path / "site")
    with counting(state, OURS, timedelta(days=1)) as (address, known):
        with monkeypatch.context() as patched:
            patched.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
            said = shown(state, address, capsys)
            assert not state.egress.exists()
            state.egress.touch()
            assert shown(state, address, capsys) == said
            assert not state.egress.read_bytes()
        assert not known
        assert f"coordinator: {address} was not greeted" in said
        assert "run this as the user who runs the agent" in said
        assert "answers over TLS" in shown(state, address, capsys)
    assert known == [1]


def test_nothing_is_greeted_that_cannot_be_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = site_of(tmp_path / "site")
    state.egress.mkdir()
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        listener.setblocking(False)
        said = shown(state, f"127.0.0.1:{listener.getsockname()[1]}", capsys)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert "what leaves cannot be recorded" in said
    assert "so nothing is sent" in said
