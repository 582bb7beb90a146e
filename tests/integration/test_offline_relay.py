"""A relay at a real coordinator: enrolment by files, what it refuses to carry, and the commands at both machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.carried import DiedError, OfflineSite, dying
from testkit.coordinator import RunningCoordinator, running_coordinator
from vdb_participant.network.client import Client
from vdb_participant.offline import relay
from vdb_participant.offline.files import Call, Request, encode_request
from vdb_participant.offline.mailbox import request_name
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.signing import open_signer
from vdb_shared.errors import AwaitedAnswerError, UnreachableError
from vdb_shared.identity import StatementKey
from vdb_shared.wire import federation_pb2 as pb

LIST = Call("/vdb.v1.SessionService/ListSessions", (b"",))


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path_factory.mktemp("consortium")) as running:
        yield running


@pytest.fixture
def site(coordinator: RunningCoordinator, tmp_path: Path, request: pytest.FixtureRequest) -> OfflineSite:
    name = f"hospital-{abs(hash(request.node.name)) % 10**6}"
    found = OfflineSite(tmp_path / name, name)
    found.enrol(coordinator)
    return found


def asked(site: OfflineSite, coordinator: RunningCoordinator) -> Path:
    """Ask for the sessions, and return the file that says so."""
    with pytest.raises(AwaitedAnswerError):
        client(site, coordinator).sessions()
    return site.outbox()[-1]


def client(site: OfflineSite, coordinator: RunningCoordinator) -> Client:
    return Client(site.carriage(coordinator.address, site.parties.consortium))


def put(site: OfflineSite, number: int, *calls: Call, key: StatementKey | None = None) -> Path:
    """Put a request of the site into the outbox, or one that somebody else signed."""
    place = site.exchange / "outbox" / request_name(site.parties, number)
    signer = key or open_signer(site.state, lambda: b"")
    place.write_bytes(encode_request(Request(number, calls), site.parties, signer))
    return place


def refused(site: OfflineSite) -> str:
    """Return why the one file of the outbox is refused; nothing was sent."""
    before = EgressJournal(site.relay_folder.egress).read().head
    done = site.carry()
    assert done.answered == ()
    assert EgressJournal(site.relay_folder.egress).read().head == before
    (line,) = done.refused
    assert "\n" not in line
    return line


def test_a_site_becomes_a_member_without_its_key_ever_leaving(
    coordinator: RunningCoordinator, site: OfflineSite
) -> None:
    assert site.state.statement_key.exists()
    assert not site.state.tls_key.exists()
    assert site.state.config.exists()
    ours = site.state.statement_key.read_bytes().splitlines()[1]
    for place in (*site.relay_folder.path.rglob("*"), *site.exchange.rglob("*")):
        assert place.is_dir() or ours not in place.read_bytes()
    assert {path.stat().st_mode & 0o077 for path in site.relay_folder.path.rglob("*")} == {0}


def test_what_another_signed_is_refused(coordinator: RunningCoordinator, site: OfflineSite) -> None:
    stranger = StatementKey.generate()
    place = put(site, 9, LIST, key=stranger)
    assert "refused: signed by a key that is not known here" in refused(site)
    enrols = pb.EnrolRequest(institution=site.name, statement_key=stranger.public_key.raw)
    put(site, 9, Call(relay.ENROL, (enrols.SerializeToString(),)), key=stranger)
    assert "refused: signed by a key that is not known here" in refused(site), "its key is known since it enrolled"
    put(site, 9, LIST)
    assert site.carry().answered, "the same, signed by the site"
    assert place.exists()


def test_changed_cut_and_renamed_files_are_refused(coordinator: RunningCoordinator, site: OfflineSite) -> None:
    place = asked(site, coordinator)
    data = place.read_bytes()
    payload = data.index(b'"payload":"') + 40
    place.write_bytes(data[:payload] + (b"A" if data[payload : payload + 1] != b"A" else b"B") + data[payload + 1 :])
    assert "does not verify" in refused(site)
    place.write_bytes(data[: len(data) // 2])
    assert "cut short" in refused(site)
    place.unlink()
    renamed = place.with_name("notes.txt")
    renamed.write_bytes(data)
    assert "is it another file under this name?" in refused(site)
    renamed.rename(place)
    site.carry()
    assert client(site, coordinator).sessions() == ()


def test_duplicates_are_answered_alike_and_older_ones_refused(
    coordinator: RunningCoordinator, site: OfflineSite
) -> None:
    old = asked(site, coordinator).read_bytes()
    name = site.outbox()[-1]
    (first,) = site.carry().answered
    kept, sent = first.read_bytes(), EgressJournal(site.relay_folder.egress).read().head
    first.unlink()
    site.carry()
    assert first.read_bytes() == kept
    assert EgressJournal(site.relay_folder.egress).read().head == sent, "and nothing was sent for it"
    us = client(site, coordinator)
    us.sessions()
    with pytest.raises(AwaitedAnswerError):
        us.sessions()
    site.carry()
    us.sessions()
    name.write_bytes(old)
    assert "which was carried out; an old file again?" in refused(site)


def test_another_request_under_a_number_that_was_used_is_refused(
    coordinator: RunningCoordinator, site: OfflineSite
) -> None:
    put(site, 9, LIST)
    site.carry()
    put(site, 9, LIST, LIST)
    assert "another request 9 was carried out before; was the site's folder put back from a backup?" in refused(site)


@pytest.mark.parametrize(
    "method", ["/vdb.v1.AdminService/ListEnrolments", "/vdb.v1.SessionService/Unknown", "/vdb.v1.Other/ListSessions"]
)
def test_calls_that_are_not_a_participants_are_not_made(
    coordinator: RunningCoordinator, site: OfflineSite, method: str
) -> None:
    put(site, 9, Call(method, (b"",)))
    assert f"{method}: " in refused(site)


def test_a_first_request_that_enrols_nobody_is_refused(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    other = OfflineSite(tmp_path / "clinic", "clinic")
    invitation = tmp_path / "clinic.invitation"
    invitation.write_bytes(coordinator.admin.invite("clinic"))
    done = run("--dir", other.relay_folder.path, "relay", "prepare", invitation, other.exchange)
    assert done.returncode == 0, done.stderr
    assert other.parties.institution == "clinic"
    (other.exchange / "outbox" / "clinic-000001.request").write_bytes(
        encode_request(Request(1, (LIST,)), other.parties, StatementKey.generate())
    )
    assert "expected the site's request to enrol, which comes first" in refused(other)


def test_a_coordinator_that_is_away_costs_nothing(coordinator: RunningCoordinator, site: OfflineSite) -> None:
    asked(site, coordinator)
    coordinator.stop()
    try:
        with pytest.raises(UnreachableError, match="cannot reach the coordinator"):
            site.carry()
    finally:
        coordinator.start()
    site.carry()
    assert client(site, coordinator).sessions() == ()


def test_a_relay_that_dies_anywhere_carries_a_request_out_once(
    coordinator: RunningCoordinator, site: OfflineSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies before and after each of its writes; what was answered once is answered with the same bytes."""
    asked(site, coordinator)
    with monkeypatch.context() as patched:
        dying(patched, relay, 1)
        for _ in range(4):
            with pytest.raises(DiedError):
                site.carry()
    site.carry()
    assert client(site, coordinator).sessions() == ()
    assert site.relay_folder.read().last == 3


def test_the_commands_at_both_machines(coordinator: RunningCoordinator, tmp_path: Path) -> None:
    invitation, stick = tmp_path / "archive.invitation", tmp_path / "stick"
    invitation.write_bytes(coordinator.admin.invite("archive"))
    state, away = tmp_path / "state", tmp_path / "relay"
    prepared = run("--dir", away, "relay", "prepare", invitation, stick)
    assert f"There: vdb-participant enroll {stick}/inbox/archive.offer --offline {stick}" in prepared.stdout
    enrol = ("--dir", state, "enroll", stick / "inbox" / "archive.offer", "--plaintext-keys", "--offline", stick)
    first = run(*enrol)
    assert first.returncode == 3
    assert "carry" in first.stdout
    fingerprints = [
        line for line in (prepared.stdout + first.stdout).splitlines() if "of th" in line and "relay" in line
    ]
    assert len({line.partition(": ")[2].partition(";")[0] for line in fingerprints}) == 1, "the same is shown at both"
    (line,) = (line for line in first.stdout.splitlines() if line.startswith("fingerprint: "))
    (tmp_path / "clips").mkdir()
    unfinished = run("--dir", state, "join", "4f2a", "--data", tmp_path, "--offline", stick).stderr
    assert f"Next: run `vdb-participant --dir {state} enroll OFFER --offline DIR` with the relay's offer" in unfinished
    assert "--wait" not in unfinished
    assert run("--dir", away, "relay", "carry", stick, "--now").returncode == 0
    coordinator.admin.approve("archive", line.removeprefix("fingerprint: ").replace(" ", ""))
    assert run(*enrol).returncode == 3
    assert run("--dir", away, "relay", "carry", stick).returncode == 0
    last = run(*enrol)
    assert last.returncode == 0, last.stdout + last.stderr
    assert "archive is a member of testbed" in last.stdout
    assert "PASS  coordinator            this site is not connected" in run("--dir", state, "doctor").stdout
    away_stick = run("--dir", state, "join", "4f2a", "--data", tmp_path, "--offline", tmp_path / "none")
    assert "there is no such folder; is the stick mounted?" in away_stick.stderr
    lost = run("--dir", state, "join", "4f2a", "--data", tmp_path)
    assert lost.returncode == 2
    assert "this site is not connected, its relay is; say with --offline DIR" in lost.stderr
