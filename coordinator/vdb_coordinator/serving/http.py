"""A small HTTP server in a thread, for what anybody on its network may read.

Promises bounds: of connections at once and of their time, so that it costs the coordinator neither threads nor memory.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from vdb_coordinator.config import join_address, split_address
from vdb_shared.errors import UsageError

SECONDS: Final = 20.0
"""A connection is closed after so long, whatever it does."""

_CONNECTIONS: Final = 64
"""Served at once."""


class HttpServer:
    """A thread that answers requests."""

    def __init__(self, what: str, listen: str, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        """Listen.

        Args:
            what: is served, for errors.
            listen: host:port; port 0 stands for a free one.
            handler: makes the handler of a connection.

        Raises:
            UsageError: the port is taken.
        """
        host, port = split_address(listen)
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise UsageError(f"cannot serve {what} on {listen}: {error.strerror or error}") from error
        self._server.daemon_threads = True
        self.address = join_address(host, self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name=f"vdb-{what}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    """Answers without saying which software does, and without writing down who asks."""

    timeout = SECONDS
    server_version = "vdb"
    sys_version = ""

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing: who reads is nobody's business."""


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
        end = threading.Timer(SECONDS, lambda: request.shutdown(socket.SHUT_RDWR))
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
