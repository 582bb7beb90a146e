"""Reading a log from a server that is slow on purpose: every reading ends."""

from __future__ import annotations

import collections
import socket
import ssl
import threading
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import IncompleteRead, InvalidURL
from pathlib import Path

import pytest

from testkit.authorities import Authority
from testkit.logs import MadeLog
from testkit.proxies import tls_server
from testkit.statements import coordinator_key
from vdb_shared.audit import log_files
from vdb_shared.audit.log_files import (
    MAX_FILE_BYTES,
    ForkError,
    Patience,
    check_remembered,
    fetch_from,
    open_log,
)
from vdb_shared.bundle.logged import log_origin
from vdb_shared.errors import FormatError, SignatureError, UnreachableError, UsageError
from vdb_shared.transparency.note import ED25519, NoteKey
from vdb_shared.transparency.tiles import TiledLog

BODY = b"checkpoint"
HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
DRIP = 0.02
"""Seconds between two bytes: far less than the silence that is allowed, so that only a bound on the whole ends it."""

Send = Callable[[socket.socket, threading.Event], None]


@contextmanager
def serving(send: Send, asked: list[bytes] | None = None) -> Iterator[str]:
    """Serve every connection of a test in a way of its own, noting what is asked for; yields the URL."""
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                request = connection.recv(4096)
                if asked is not None:
                    asked.append(request)
                send(connection, stopped)

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stopped.set()
            server.shutdown(socket.SHUT_RDWR)


def dripped(data: bytes, connection: socket.socket, stopped: threading.Event) -> None:
    for place in range(len(data)):
        connection.sendall(data[place : place + 1])
        if stopped.wait(DRIP):
            return


def drip_head(connection: socket.socket, stopped: threading.Event) -> None:
    dripped(b"HTTP/1.1 200 OK\r\n" + b"X-More: 1\r\n" * 50 + HEAD.partition(b"\r\n")[2] + BODY, connection, stopped)


def drip_status(connection: socket.socket, stopped: threading.Event) -> None:
    dripped(b"HTTP/1.1 200 " + b"OK" * 300 + b"\r\n\r\n", connection, stopped)


def drip_body(connection: socket.socket, stopped: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n")
    dripped(b"x" * 600, connection, stopped)


def drip_chunks(connection: socket.socket, stopped: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    dripped(b"1\r\nx\r\n" * 90 + b"0\r\n\r\n", connection, stopped)


def at_once(connection: socket.socket, _: threading.Event) -> None:
    connection.sendall(HEAD + BODY)


@pytest.mark.parametrize("send", [drip_head, drip_status, drip_body, drip_chunks])
def test_a_server_that_drips_bytes_is_left_after_the_time_of_a_file(send: Send) -> None:
    with serving(send) as url, pytest.raises(UnreachableError, match=r"it was not all there after 0\.3 seconds"):
        fetch_from(url, Patience(silence=30, file=0.3, log=60))("checkpoint")


def test_many_files_in_time_are_too_many_when_the_log_takes_too_long() -> None:
    def slowly(connection: socket.socket, stopped: threading.Event) -> None:
        stopped.wait(0.1)
        at_once(connection, stopped)

    with serving(slowly) as url:
        fetch = fetch_from(url, Patience(silence=30, file=30, log=0.5))
        assert fetch("checkpoint") == BODY
        with pytest.raises(UnreachableError, match=r"reading the log took 0\.5 seconds and was not done"):
            collections.deque(map(fetch, 100 * ["tile/0/000"]))


def test_a_silent_server_is_left_after_the_time_of_silence() -> None:
    with (
        serving(lambda _, stopped: void(stopped.wait(30))) as url,
        pytest.raises(UnreachableError, match=r"no byte came for 0\.3 seconds"),
    ):
        fetch_from(url, Patience(silence=0.3, file=60, log=60))("checkpoint")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_takes_no_connection_is_left_after_the_time_of_silence(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as waiting:
        for _ in range(4):  # the system accepts some for it, and is silent to the others
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UnreachableError, match="timed out"):
            fetch_from(url, Patience(silence=0.3, file=60, log=60))("checkpoint")


def void(_: object) -> None:
    """Drop a value."""


def test_a_server_that_answers_is_read() -> None:
    def chunked(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ncheck\r\n5\r\npoint\r\n0\r\n\r\n"
        )

    def until_closed(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + BODY)

    for send in (at_once, chunked, until_closed):
        with serving(send) as url:
            assert fetch_from(url)("checkpoint") == BODY


def test_the_proxy_that_the_environment_names_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """From behind a firewall nothing else answers; only the proxy knows the name of the log's server."""
    asked: list[bytes] = []
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving(at_once, asked) as url:
        monkeypatch.setenv("http_proxy", url)
        assert fetch_from("http://log.invalid/log")("checkpoint") == BODY
    assert [request.splitlines()[0] for request in asked] == [b"GET http://log.invalid/log/checkpoint HTTP/1.1"]


def test_a_server_is_believed_only_with_a_certificate_that_this_machine_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    now = datetime.now(UTC)
    certificate, key = Authority().issue(now - timedelta(days=1), now + timedelta(days=1))
    with (
        tls_server(tmp_path, certificate, key) as address,
        pytest.raises(UnreachableError, match="certificate verify failed"),
    ):
        fetch_from(f"https://{address}")("checkpoint")


@pytest.mark.parametrize("scheme", ["ftp", "file", "http"])
def test_no_redirection_is_followed(scheme: str) -> None:
    """Another protocol has none of the limits, and another host was named by nobody."""

    def send(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {scheme}://127.0.0.1:9/x\r\n\r\n".encode())

    with serving(send) as url, pytest.raises(UsageError, match=r"the server answers 302"):
        fetch_from(url)("checkpoint")


def test_what_is_too_large_or_not_there_is_refused() -> None:
    def endless(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        for _number in range(MAX_FILE_BYTES // 2**16 + 2):
            connection.sendall(bytes(2**16))

    def missing(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    def cut(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(HEAD + BODY[:3])

    def nonsense(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(b"hello\r\n\r\n")

    for send, kind, words in (
        (endless, FormatError, "larger than any file of a log"),
        (missing, UsageError, "the server answers 404 Not Found; is this the log's address"),
        (nonsense, UnreachableError, "cannot be reached"),
    ):
        with serving(send) as url, pytest.raises(kind, match=words):
            fetch_from(url)("checkpoint")
    with serving(cut) as url:
        assert fetch_from(url)("checkpoint") == BODY[:3], "what it is must follow from its bytes"


@pytest.mark.parametrize("place", ["", "nowhere", "127.0.0.1:7480"])
def test_what_is_neither_a_folder_nor_a_url_is_told_how_both_look(place: str) -> None:
    with pytest.raises(
        UsageError, match=r"expected the folder of a log, or its URL, which begins with http:// or https://"
    ):
        fetch_from(place)


def test_a_folder_around_a_log_is_told_from_the_log(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(UsageError, match=r"holds no log, which has a file named checkpoint; .* it is `log`"):
        fetch_from(str(tmp_path))


# Addresses and folders, word for word; nothing is fetched for them but from this machine.


def test_an_address_is_one_with_either_scheme_and_with_or_without_a_slash_at_its_end() -> None:
    asked: list[bytes] = []

    with serving(at_once, asked) as url:
        for place in (url, f"{url}/", f"{url}//"):
            assert fetch_from(place)("tile/0/000") == BODY
        assert fetch_from(f"{url}/box/")("tile/0/000") == BODY
        assert asked.pop().startswith(b"GET /box/tile/0/000 HTTP/1.1")
        assert {request.split(b"\r\n")[0] for request in asked} == {b"GET /tile/0/000 HTTP/1.1"}
        secure = fetch_from(url.replace("http://", "https://"), Patience(silence=5, file=5, log=5))
        with pytest.raises(
            UnreachableError,
            match=r"^tile/0/000: cannot be reached \(TLS failed\); check the log's address and the network$",
        ):
            secure("tile/0/000")


def test_an_address_that_is_none_is_one_line() -> None:
    with pytest.raises(UnreachableError) as caught:
        fetch_from("http://[")("checkpoint")
    said = "checkpoint: cannot be reached (that is no address); check the log's address and the network"
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "place",
    [
        "https://user:tok3n@mirror.internal/log",
        "https://tok3n@mirror.internal/log",
        "https://user:to/tok3n@mirror.internal/log",
        "https://user:tok3n@mirror.internal/log?x",
        "HTTPS://user:tok3n@mirror.internal/log",
        "user:tok3n@mirror.internal/log",
    ],
)
def test_user_and_password_in_an_address_are_refused_and_not_repeated(place: str) -> None:
    """They would reach no server, and stood in the error, which goes on to reports and terminals."""
    with pytest.raises(UsageError) as caught:
        fetch_from(place)("checkpoint")
    assert "without user and password" in str(caught.value)
    assert not {word for word in ("tok3n", "user:", "mirror") if word in str(caught.value)}


def test_a_folder_may_have_an_at_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "log@home").mkdir()
    (tmp_path / "log@home" / "checkpoint").write_bytes(BODY)
    assert fetch_from(str(tmp_path / "log@home"))("checkpoint") == BODY


def answering(status: str, connection: socket.socket, _: threading.Event) -> None:
    connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.mark.parametrize("status", ["404 gone from /srv/mirror.internal", "999 see mirror.internal", "mirror.internal"])
def test_no_word_of_a_server_is_in_an_error(status: str) -> None:
    """A check's line quotes the error, and a page the line."""
    with serving(partial(answering, status)) as url, pytest.raises((UsageError, UnreachableError)) as caught:
        fetch_from(f"{url}/hidden")("tile/0/000")
    assert str(caught.value).startswith("tile/0/000: ")
    assert not {word for word in ("mirror", "127.0.0.1", "hidden", "srv") if word in str(caught.value)}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            urllib.error.URLError(ssl.SSLCertVerificationError(1, "certificate is not valid for 'mirror.internal'")),
            "certificate verify failed",
        ),
        (urllib.error.URLError(ssl.SSLError(1, "mirror.internal")), "TLS failed"),
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "Name or service not known"),
        (urllib.error.URLError(OSError("Tunnel connection failed: 403 mirror.internal")), "no answer"),
        (urllib.error.URLError("mirror.internal"), "that is no address"),
        (InvalidURL("nonnumeric port: 'mirror.internal'"), "that is no address"),
        (IncompleteRead(b"mirror.internal"), "its answer is not HTTP, or cut short"),
    ],
)
def test_errors_of_libraries_are_said_in_our_words(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fails(*_: object) -> bytes:
        raise error

    monkeypatch.setattr(log_files, "download", fails)
    with pytest.raises(UnreachableError) as caught:
        fetch_from("https://mirror.internal/log")("checkpoint")
    said = f"checkpoint: cannot be reached ({words}); check the log's address and the network"
    assert str(caught.value) == said


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    words = "expected the folder of a log, or its URL, which begins with http:// or https://"
    for place, named in (("", "LOG"), (str(tmp_path / "none"), str(tmp_path / "none"))):
        with pytest.raises(UsageError) as caught:
            fetch_from(place)
        assert str(caught.value) == f"{named}: {words}"
    with pytest.raises(UsageError) as caught:
        fetch_from(str(tmp_path))
    assert str(caught.value).startswith(f"{tmp_path}: holds no log, which has a file named checkpoint; ")
    (tmp_path / "checkpoint").write_bytes(BODY)
    fetch = fetch_from(str(tmp_path))
    assert fetch("checkpoint") == BODY
    with pytest.raises(UsageError) as caught:
        fetch("tile/0/000")
    assert str(caught.value) == "tile/0/000: a file of the log cannot be read: No such file or directory"


def test_a_file_may_have_as_many_bytes_as_the_largest_of_a_log_and_not_one_more(tmp_path: Path) -> None:
    for path, size in (("checkpoint", 1), ("most", MAX_FILE_BYTES), ("more", MAX_FILE_BYTES + 1)):
        with (tmp_path / path).open("wb") as file:
            file.truncate(size)
    fetch = fetch_from(str(tmp_path))
    assert len(fetch("most")) == MAX_FILE_BYTES == 256 * (2 + 65535)
    with pytest.raises(FormatError) as caught:
        fetch("more")
    assert str(caught.value) == f"more: larger than any file of a log, {MAX_FILE_BYTES} bytes"


# What was remembered.


def made(*entries: bytes) -> MadeLog:
    return MadeLog("testbed", coordinator_key(0), list(entries))


KEY = NoteKey(log_origin("testbed"), ED25519, coordinator_key(0).public_key.raw)


def opened(log: MadeLog, folder: Path) -> tuple[TiledLog, bytes]:
    for path, data in log.files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return open_log(str(folder), KEY)


def test_a_log_that_grew_or_stayed_continues_the_remembered_one(tmp_path: Path) -> None:
    tiles, note = opened(made(b"a", b"b", b"c"), tmp_path)
    assert note == made(b"a", b"b", b"c").files()["checkpoint"]
    for entries in ((b"a", b"b", b"c"), (b"a", b"b"), (b"a",)):
        before = made(*entries)
        assert check_remembered(tiles, before.files()["checkpoint"], KEY) == before.checkpoint


def test_a_log_that_was_cut_or_changed_is_told_apart(tmp_path: Path) -> None:
    tiles, _ = opened(made(b"a", b"b", b"c"), tmp_path)
    for entries, words in (
        (
            (b"a", b"b", b"c", b"d"),
            "the log had 4 entries when it was read last and has 3 now: it was cut, or another is shown; keep both "
            "checkpoints, their signatures prove it",
        ),
        (
            (b"a", b"x"),
            "the first 2 entries of the log are not those that were read last: it was changed, or another is shown; keep "
            "both checkpoints, their signatures prove it",
        ),
    ):
        with pytest.raises(ForkError) as caught:
            check_remembered(tiles, made(*entries).files()["checkpoint"], KEY)
        assert str(caught.value) == words


def test_a_log_of_another_key_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(SignatureError):
        opened(MadeLog("testbed", coordinator_key(1), [b"a"]), tmp_path)
