"""Who connects to the log's server and asks for nothing, and who reads meanwhile."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from testkit.waiting import until
from vdb_coordinator.serving import http
from vdb_coordinator.serving.log_server import LogServer

SILENT = 80


def connection(server: LogServer, source: str) -> socket.socket:
    host, port = server.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0))


def reads(server: LogServer, source: str) -> bool:
    """Return whether somebody at an address gets what it asks for."""
    with connection(server, source) as one:
        try:
            one.sendall(b"GET /checkpoint HTTP/1.0\r\n\r\n")
            return one.recv(100).startswith(b"HTTP/1.0 200")
        except OSError:
            return False


@pytest.mark.parametrize("seconds", [3600.0, 0.2])
def test_silent_connections_of_one_address_keep_no_other_from_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Nor the others at that address for longer than a request's head may take."""
    monkeypatch.setattr(http, "HEAD_SECONDS", seconds)
    (tmp_path / "checkpoint").write_bytes(b"x")
    server = LogServer(tmp_path, "127.0.0.1:0")
    try:
        with ExitStack() as stack:
            for _ in range(SILENT):
                stack.enter_context(connection(server, "127.0.0.1"))
            until(lambda: reads(server, "127.0.0.2"), "somebody else is turned away")
            if seconds < 1:
                until(lambda: reads(server, "127.0.0.1"), "who asks for nothing is kept")
            else:
                assert not reads(server, "127.0.0.1")
        until(lambda: reads(server, "127.0.0.1"), "what they held is not given back")
    finally:
        server.stop()
