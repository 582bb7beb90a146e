"""Serves the transparency log's files over HTTP: public, signed, read-only.

Promises that nothing but files of the log can be read. Plain HTTP: every byte leads to a signature, so TLS would only hide
who reads. Any web server does as well.

Source: C2SP tlog-tiles (paths and content types).
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from vdb_coordinator.config import join_address, split_address
from vdb_shared.errors import UsageError
from vdb_shared.transparency.tiles import CHECKPOINT_PATH

_TILE: Final = re.compile(r"tile/(?:[0-9]{1,2}|entries)/(?:x[0-9]{3}/)*[0-9]{3}(?:\.p/[0-9]{1,3})?")

_SECONDS: Final = 20.0
"""A connection is closed after so long, whatever it does."""

_CONNECTIONS: Final = 64
"""Served at once; the log must not cost the coordinator its threads."""


class LogServer:
    """A thread that serves the log's folder."""

    def __init__(self, folder: Path, listen: str) -> None:
        """Listen.

        Raises:
            UsageError: the port is taken.
        """
        host, port = split_address(listen)
        try:
            self._server = _Server((host, port), partial(_Handler, folder))
        except OSError as error:
            raise UsageError(f"cannot serve the log on {listen}: {error.strerror or error}") from error
        self._server.daemon_threads = True
        self.address = join_address(host, self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="vdb-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    """Closes connections beyond the most that it serves at once, and those that take too long in all."""

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, if there is one."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and end it when its time is over."""
        end = threading.Timer(_SECONDS, lambda: request.shutdown(socket.SHUT_RDWR))
        end.daemon = True
        end.start()
        try:
            with suppress(OSError):
                super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._free.release()

    def handle_error(self, *_arguments: Any) -> None:
        """Say nothing of a peer that went away."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _SECONDS
    server_version = "vdb-log"
    sys_version = ""

    def __init__(self, folder: Path, *arguments: Any) -> None:
        self._folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answer with a file of the log."""
        path = self.path.removeprefix("/")
        newest = path == CHECKPOINT_PATH
        if not newest and not _TILE.fullmatch(path):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            data = (self._folder / path).read_bytes()
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain; charset=utf-8" if newest else "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-cache" if newest else "public, max-age=31536000, immutable")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing: who reads a public log is nobody's business."""
