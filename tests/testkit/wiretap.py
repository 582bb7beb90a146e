"""A proxy between an agent and the coordinator that keeps every byte the coordinator receives, decrypted.

It stands where the coordinator stands: it ends the agent's TLS with a certificate of the consortium's authority and goes on
with the agent's own certificate, as only someone who holds both sides' keys can.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cryptography import x509

from vdb_coordinator.config import Home
from vdb_coordinator.identity.ca import CertificateAuthority, spiffe_id
from vdb_coordinator.identity.keys import key_pem, new_tls_key, read_tls_key

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9
DATA_FRAME = 0
HEAD = 5
"""Bytes before each message: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message")."""


class Tapped(Protocol):
    """A coordinator, and the directory with the key of its authority."""

    @property
    def address(self) -> str:
        """Where it listens."""

    @property
    def home(self) -> Home:
        """Its directory; keys in it are plain."""


class Caller(Protocol):
    """Who calls a coordinator: what it shows, and whom it trusts."""

    @property
    def institution(self) -> str:
        """Its name."""

    @property
    def tls_key(self) -> bytes:
        """PEM."""

    @property
    def certificate_chain(self) -> bytes:
        """PEM, leaf first."""

    @property
    def ca_certificate(self) -> bytes:
        """PEM."""


class Wiretap:
    """One agent's connection to the coordinator, recorded.

    One thread runs both directions of every connection: a TLS object of OpenSSL must not be read and written at once.

    Attributes:
        address: where the agent connects to.
    """

    def __init__(self, coordinator: Tapped, caller: Caller | Callable[[], Caller], folder: Path) -> None:
        """Listen, and go on to a coordinator whose authority's key is at hand.

        Args:
            coordinator: where the agent's calls go.
            caller: who calls; asked for each connection, where it is not always the same.
            folder: for files that OpenSSL reads.
        """
        host, port = coordinator.address.rsplit(":", 1)
        self._upstream, self._folder = (host, int(port)), folder
        self._caller = caller if callable(caller) else lambda: caller
        self._inward = _server_context(coordinator.home, self._caller(), folder)
        self._received: list[bytearray] = []
        self._loop = asyncio.new_event_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, args=[listener], daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all connections, and take no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def raw(self) -> bytes:
        """All bytes that the coordinator received, as HTTP/2, connection after connection."""
        return b"\n".join(bytes(stream) for stream in self._received)

    @property
    def payloads(self) -> bytes:
        """The contents of all DATA frames, joined by connection and stream: messages without HTTP/2 between their parts."""
        return b"\n".join(part for stream in self._received for part in _data_by_stream(bytes(stream)))

    @property
    def streams(self) -> list[bytes]:
        """The contents of the DATA frames of each HTTP/2 stream of each connection that had any."""
        return [part for stream in self._received for part in _data_by_stream(bytes(stream)) if part]

    def _run(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, sock=listener, ssl=self._inward))
        self._loop.run_forever()
        server.close()
        connections = asyncio.all_tasks(self._loop)
        for connection in connections:
            connection.cancel()
        self._loop.run_until_complete(asyncio.gather(*connections, return_exceptions=True))
        self._loop.close()

    async def _serve(self, from_agent: asyncio.StreamReader, to_agent: asyncio.StreamWriter) -> None:
        kept = bytearray()
        self._received.append(kept)
        try:
            host, port = self._upstream
            outward = _client_context(self._caller(), self._folder)
            from_coordinator, to_coordinator = await asyncio.open_connection(host, port, ssl=outward)
            try:
                await asyncio.gather(
                    _pump(from_agent, to_coordinator, kept), _pump(from_coordinator, to_agent, bytearray())
                )
            finally:
                to_coordinator.close()
        except OSError:
            pass  # one of the two has gone; gRPC connects anew
        finally:
            to_agent.close()


def messages_in(stream: bytes) -> list[bytes]:
    """Return the messages of one HTTP/2 stream's DATA.

    Raises:
        ValueError: it ends in the middle of one, or one is compressed.
    """
    found = []
    while stream:
        compressed, size = stream[0], int.from_bytes(stream[1:HEAD], "big")
        if compressed or len(stream) < HEAD + size:
            raise ValueError("half a message, or a compressed one")
        found.append(stream[HEAD : HEAD + size])
        stream = stream[HEAD + size :]
    return found


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, kept: bytearray) -> None:
    """Pass on what one side says until it ends, then end towards the other."""
    while data := await source.read(65536):
        kept += data
        target.write(data)
        await target.drain()
    target.close()


def _data_by_stream(data: bytes) -> list[bytes]:
    """Return the DATA of each HTTP/2 stream of a connection (RFC 9113, §4.1 and §6.1; gRPC pads nothing)."""
    streams: dict[int, bytearray] = {}
    position = len(PREFACE) if data.startswith(PREFACE) else 0
    while position + HEADER_BYTES <= len(data):
        size = int.from_bytes(data[position : position + 3], "big")
        kind = data[position + 3]
        (stream,) = struct.unpack(">I", data[position + 5 : position + HEADER_BYTES])
        position += HEADER_BYTES
        if kind == DATA_FRAME:
            streams.setdefault(stream, bytearray()).extend(data[position : position + size])
        position += size
    return [bytes(content) for content in streams.values()]


def _server_context(home: Home, identity: Caller, folder: Path) -> ssl.SSLContext:
    authority = CertificateAuthority(
        x509.load_pem_x509_certificate(identity.ca_certificate), read_tls_key(home.key("ca"), None)
    )
    key = new_tls_key()
    certificate = authority.issue_server(
        key.public_key(),
        spiffe_id(home.read_config().consortium, "coordinator", "wiretap"),
        ["127.0.0.1"],
        datetime.now(UTC),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_written(folder, "wiretap", certificate, key_pem(key, None)))
    context.load_verify_locations(cadata=identity.ca_certificate.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context


def _client_context(identity: Caller, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=identity.ca_certificate.decode())
    context.load_cert_chain(*_written(folder, identity.institution, identity.certificate_chain, identity.tls_key))
    context.set_alpn_protocols(["h2"])
    return context


def _written(folder: Path, name: str, certificate: bytes, key: bytes) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.pem").write_bytes(certificate)
    (folder / f"{name}.key").write_bytes(key)
    return folder / f"{name}.pem", folder / f"{name}.key"
