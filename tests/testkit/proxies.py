"""What stands where a coordinator should be: servers of other kinds, and a proxy that passes on and keeps what it saw."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self


class ConnectProxy:
    """An HTTP proxy for CONNECT alone.

    Attributes:
        asked: the places it was asked for, in order.
        logins: the Proxy-Authorization of each, or "".
        passed: bytes that it passed on towards servers.
    """

    def __init__(self, routes: Mapping[str, str]) -> None:
        """Listen; `routes` says where each host:port really is."""
        self.asked: list[str] = []
        self.logins: list[str] = []
        self.passed = bytearray()
        self._routes = routes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(1)
            request, *lines = head.decode().split("\r\n")
            place = request.split(" ")[1]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            self.asked.append(place)
            self.logins.append(headers.get("proxy-authorization", ""))
            if place not in self._routes:
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
                return
            host, _, port = self._routes[place].rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pump, args=[server, connection, bytearray()], daemon=True)
                back.start()
                _pump(connection, server, self.passed)
                back.join(10)


def _pump(source: socket.socket, target: socket.socket, seen: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            seen += data
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def answering(answer: bytes) -> Callable[[socket.socket], None]:
    """Return what says something to whoever connects, and hangs up."""

    def greet(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.close()

    return greet


@contextmanager
def tls_server(folder: Path, certificate: bytes, key: bytes) -> Iterator[str]:
    """Yield the address of a server that greets and hangs up."""
    (folder / "server.pem").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    with tcp_server(lambda connection: context.wrap_socket(connection, server_side=True).close()) as address:
        yield address


@contextmanager
def tcp_server(greet: Callable[[socket.socket], object]) -> Iterator[str]:
    """Yield the address of a server that does something with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    try:
                        greet(connection)
                    except OSError:
                        connection.close()
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
