"""A peer that speaks TLS and HTTP/2 by hand, so that it can do what no library would: stall, flood, lie about lengths.

Knows only what an attacker needs: frames, header fields without compression, the windows of flow control.

Source: RFC 9113 (HTTP/2), RFC 7541 §6.2.2 (literal header fields), gRPC over HTTP/2.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ACKNOWLEDGED, END_STREAM, END_HEADERS = 1, 1, 4
ENHANCE_YOUR_CALM: Final = 0xB
_WINDOW: Final = 65535
_FRAME: Final = 16384
_NO_WINDOW: Final = b"\x00\x04" + bytes(4)
"""The setting that streams of ours begin with a window of nothing: no byte of an answer may be sent."""


class Shown(Protocol):
    """What a peer shows: an institution's identity, or an invitation's."""

    @property
    def tls_key(self) -> bytes:
        """PEM."""

    @property
    def certificate_chain(self) -> bytes:
        """PEM, leaf first."""


def connect(address: str) -> socket.socket:
    """Return a TCP connection."""
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


def tls_to(address: str, identity: Shown | None) -> ssl.SSLSocket:
    """Return a TLS connection, with an institution's certificate if one is given."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if identity is not None:
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = Path(folder) / "certificate", Path(folder) / "key"
            certificate.write_bytes(identity.certificate_chain)
            key.write_bytes(identity.tls_key)
            context.load_cert_chain(certificate, key)
    return context.wrap_socket(connect(address))


class RawPeer:
    """An HTTP/2 connection of which every byte is ours.

    Attributes:
        resets: streams that the server reset.
        answered: streams on which the server sent headers.
        dismissed: whether the server said GOAWAY.
        why: the error code of that, or None.
        pongs: how many pings the server answered.
    """

    def __init__(
        self, address: str, identity: Shown | None, *, preface: bool = True, takes_answers: bool = True
    ) -> None:
        self._socket = tls_to(address, identity)
        self._initial: int = _WINDOW
        self._window: defaultdict[int, int] = defaultdict(lambda: self._initial)
        self._connection = _WINDOW
        self._read = b""
        self.resets: set[int] = set()
        self.answered: set[int] = set()
        self.dismissed = False
        self.why: int | None = None
        self.pongs = 0
        self.closed = False
        if preface:
            self.send(PREFACE + frame(SETTINGS, 0, 0, b"" if takes_answers else _NO_WINDOW))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes; a connection that the server has closed is noted."""
        try:
            self._socket.settimeout(10)
            self._socket.sendall(data)
        except OSError:
            self.closed = True

    def call(self, stream: int, method: str, *fields: tuple[str, str], end_headers: bool = True) -> None:
        """Begin a call, with further header fields."""
        self.send(frame(HEADERS, END_HEADERS if end_headers else 0, stream, headers(method, *fields)))

    def request(self, stream: int, method: str, message: bytes = b"") -> None:
        """Make a call with a short request, whole."""
        body = bytes(1) + len(message).to_bytes(4, "big") + message
        self.send(frame(HEADERS, END_HEADERS, stream, headers(method)) + frame(DATA, END_STREAM, stream, body))

    def message(self, stream: int, data: bytes, *, announced: int | None = None, compressed: bool = False) -> int:
        """Send as much of a message as flow control allows within a quarter of a second; return how many bytes that is."""
        length = len(data) if announced is None else announced
        body = bytes([compressed]) + length.to_bytes(4, "big") + data
        sent, end = 0, time.monotonic() + 0.25
        while sent < len(body) and time.monotonic() < end and not self.closed:
            allowed = min(self._connection, self._window[stream], _FRAME, len(body) - sent)
            if allowed <= 0:
                self.listen(0.05)
                continue
            self.send(frame(DATA, 0, stream, body[sent : sent + allowed]))
            self._connection -= allowed
            self._window[stream] -= allowed
            sent += allowed
        return sent

    def listen(self, seconds: float) -> None:
        """Take what the server says in this time, or until it closes the connection."""
        end = time.monotonic() + seconds
        while not self.closed and (left := end - time.monotonic()) > 0:
            try:
                self._socket.settimeout(left)
                data = self._socket.recv(2**16)
            except TimeoutError:
                return
            except OSError:
                data = b""
            if not data:
                self.closed = True
                return
            self._read += data
            self._take_frames()

    def _take_frames(self) -> None:
        while len(self._read) >= 9 and len(self._read) >= 9 + (length := int.from_bytes(self._read[:3], "big")):
            kind, flags, stream = self._read[3], self._read[4], int.from_bytes(self._read[5:9], "big")
            payload, self._read = self._read[9 : 9 + length], self._read[9 + length :]
            self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACKNOWLEDGED:
            self._take_settings(payload)
        elif kind == WINDOW_UPDATE and stream:
            self._window[stream] += int.from_bytes(payload, "big")
        elif kind == WINDOW_UPDATE:
            self._connection += int.from_bytes(payload, "big")
        elif kind == RST_STREAM:
            self.resets.add(stream)
        elif kind == HEADERS:
            self.answered.add(stream)
        elif kind == PING and flags & ACKNOWLEDGED:
            self.pongs += 1
        elif kind == GOAWAY:
            self.dismissed, self.why = True, int.from_bytes(payload[4:8], "big")

    def _take_settings(self, payload: bytes) -> None:
        for place in range(0, len(payload), 6):
            if payload[place : place + 2] == b"\x00\x04":
                self._initial = int.from_bytes(payload[place + 2 : place + 6], "big")
        self.send(frame(SETTINGS, ACKNOWLEDGED, 0))


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers(method: str, *fields: tuple[str, str]) -> bytes:
    """Return the header block of a call."""
    known = (
        (":method", "POST"),
        (":scheme", "https"),
        (":path", method),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "1H"),
    )
    return b"".join(literal(name, value) for name, value in (*known, *fields))


def literal(name: str, value: str) -> bytes:
    """Return a header field without indexing and without Huffman's code."""
    return b"\x00" + _string(name.encode()) + _string(value.encode())


def _string(data: bytes) -> bytes:
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, found = len(data) - 127, bytearray([127])
    while rest >= 128:
        found.append(rest % 128 + 128)
        rest //= 128
    return bytes([*found, rest]) + data
