"""A small HTTP server in a thread, for what anybody on its network may read.

Promises bounds: of connections at once, in all and from one address, and of their time, so that it costs the coordinator
neither threads nor memory, and nobody who asks for nothing keeps others from reading.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from vdb_coordinator.config import join_address, split_address
from vdb_shared.errors import UsageError

SECONDS: Final = 20.0
"""A connection is closed after so long, whatever it does."""

HEAD_SECONDS: Final = 5.0
"""Until the head of the request has come; after that a connection that asked for nothing is closed."""

_CONNECTIONS: Final = 64
"""Served at once."""

_FROM_ONE_ADDRESS: Final = 4
"""Of these."""


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

    def parse_request(self) -> bool:
        """Read the head of the request, and note that it has come."""
        asks = super().parse_request()
        if isinstance(self.server, _Server):
            self.server.has_asked(self.client_address)
        return asks

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing: who reads is nobody's business."""


def _ending(request: socket.socket, seconds: float) -> threading.Timer:
    """Return what closes a connection after so long; it runs."""

    def end() -> None:
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    return timer


class _Server(ThreadingHTTPServer):
    """Closes connections beyond the most that it serves at once, and those that take too long in all."""

    request_queue_size = _CONNECTIONS

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        self._held: Counter[str] = Counter()
        self._heads: dict[Any, threading.Timer] = {}
        self._counting = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, if there is one."""
        if self._take(client_address[0]):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, and end it when its time is over."""
        end, head = _ending(request, SECONDS), _ending(request, HEAD_SECONDS)
        self._heads[client_address] = head
        try:
            with suppress(OSError):
                super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._heads.pop(client_address).cancel()
            self._give_back(client_address[0])

    def has_asked(self, client_address: Any) -> None:
        """Give a connection the time that an answer may take: its request's head has come."""
        self._heads[client_address].cancel()

    def _take(self, host: str) -> bool:
        with self._counting:
            if self._held[host] >= _FROM_ONE_ADDRESS or not self._free.acquire(blocking=False):
                return False
            self._held[host] += 1
            return True

    def _give_back(self, host: str) -> None:
        with self._counting:
            self._held[host] -= 1
            if not self._held[host]:
                del self._held[host]
            self._free.release()

    def handle_error(self, *_arguments: Any) -> None:
        """Say nothing of a peer that went away."""
