"""A proxy between an agent and the coordinator that keeps every byte the coordinator receives, decrypted.

It stands where the coordinator stands: it ends the agent's TLS with a certificate of the consortium's authority and goes on
with the agent's own certificate, as only someone who holds both sides' keys can.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from testkit.coordinator import Identity, RunningCoordinator
from vdb_coordinator.config import Home
from vdb_coordinator.identity.ca import CertificateAuthority
from vdb_coordinator.identity.keys import key_pem, new_tls_key, read_tls_key

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9
DATA_FRAME = 0


class Wiretap:
    """One agent's connection to the coordinator, recorded.

    Attributes:
        address: where the agent connects to.
    """

    def __init__(self, coordinator: RunningCoordinator, identity: Identity, folder: Path) -> None:
        host, port = coordinator.address.rsplit(":", 1)
        self._upstream = (host, int(port))
        self._inward = _server_context(coordinator.home, identity, folder)
        self._outward = _client_context(identity, folder)
        self._received: list[bytearray] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    @property
    def raw(self) -> bytes:
        """All bytes that the coordinator received, as HTTP/2, connection after connection."""
        return b"\n".join(bytes(stream) for stream in self._received)

    @property
    def payloads(self) -> bytes:
        """The contents of all DATA frames, joined by connection and stream: messages without HTTP/2 between their parts."""
        return b"\n".join(part for stream in self._received for part in _data_by_stream(bytes(stream)))

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        kept = bytearray()
        self._received.append(kept)
        with suppress(OSError, ssl.SSLError):
            agent = self._inward.wrap_socket(connection, server_side=True)
            plain = socket.create_connection(self._upstream)
            coordinator = self._outward.wrap_socket(plain, server_hostname=self._upstream[0])
            back = threading.Thread(target=_pump, args=[coordinator, agent, None], daemon=True)
            back.start()
            _pump(agent, coordinator, kept)
            back.join()


def _pump(source: ssl.SSLSocket, target: ssl.SSLSocket, kept: bytearray | None) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := source.recv(65536):
            if kept is not None:
                kept += data
            target.sendall(data)
    with suppress(OSError, ssl.SSLError):
        target.shutdown(socket.SHUT_RDWR)


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


def _server_context(home: Home, identity: Identity, folder: Path) -> ssl.SSLContext:
    authority = CertificateAuthority(
        x509.load_pem_x509_certificate(identity.ca_certificate), read_tls_key(home.key("ca"), None)
    )
    key = new_tls_key()
    certificate = authority.issue_server(
        key.public_key(), "spiffe://testbed/coordinator/wiretap", ["127.0.0.1"], datetime.now(UTC)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_written(folder, "wiretap", certificate, key_pem(key, None)))
    context.load_verify_locations(cadata=identity.ca_certificate.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context


def _client_context(identity: Identity, folder: Path) -> ssl.SSLContext:
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
