"""Reading a log from a server that is slow on purpose: every reading ends."""

from __future__ import annotations

import collections
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from vdb_shared.audit.log_files import MAX_FILE_BYTES, Patience, fetch_from
from vdb_shared.errors import FormatError, UnreachableError, UsageError

BODY = b"checkpoint"
HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
DRIP = 0.02
"""Seconds between two bytes: far less than the silence that is allowed, so that only a bound on the whole ends it."""

Send = Callable[[socket.socket, threading.Event], None]


@contextmanager
def serving(send: Send) -> Iterator[str]:
    """Serve every connection of a test in a way of its own; yields the URL."""
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                connection.recv(4096)
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
