"""A TCP proxy between institutions and a coordinator that behaves as networks do on a bad day.

Promises to pass on every byte in order or to end the connection: what it does to a connection, a router could do as well.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, Self

Mood = Literal["fair", "cut", "reset", "slow", "crumbs", "half-open", "partition", "deaf", "replay"]
"""fair: passes all on. cut: ends connections after some bytes. reset: the same with RST, in the middle of a record. slow: each
run of bytes is late. crumbs: a few bytes at a time. half-open: stops passing on, and ends nothing. partition: refuses
connections, and ends those that are open. deaf: answers are lost, then the connection is reset. replay: all that a client sent
is sent once more, over a connection of its own."""

LATE: Final = 0.08
"""Seconds by which a run of bytes is late at most."""


@dataclass
class Proxy:
    """Listens on loopback; `with Proxy(address, seed) as proxy`.

    Attributes:
        target: host:port of the coordinator.
        seed: chooses where connections break.
        mood: how it behaves just now; connections that are open follow.
        done: how often it did what the mood says.
    """

    target: str
    seed: int
    mood: Mood = "fair"
    done: int = 0
    _open: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._dice = random.Random(f"proxy {self.seed}")  # noqa: S311 (moments, no secrets)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.end_all()

    def end_all(self) -> None:
        """End every connection."""
        with self._lock:
            some, self._open = self._open, set()
        for one in some:
            _end(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.mood == "partition":
                self.done += 1
                _reset(client)
                continue
            threading.Thread(target=self._connect, args=[client], daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            server = self._dial()
        except OSError:
            _end(client)
            return
        with self._lock:
            self._open |= {client, server}
        sent = bytearray()
        back = threading.Thread(target=self._pump, args=[server, client, None], daemon=True)
        back.start()
        self._pump(client, server, sent)
        back.join(30)
        for one in (client, server):
            _end(one)
        with self._lock:
            self._open -= {client, server}
        if self.mood == "replay" and sent:
            self._replay(bytes(sent))

    def _dial(self) -> socket.socket:
        host, _, port = self.target.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=5)

    def _replay(self, sent: bytes) -> None:
        """Send all that a client sent once more, and wait for what comes."""
        self.done += 1
        with contextlib.suppress(OSError), self._dial() as again:
            again.settimeout(2)
            again.sendall(sent)
            while again.recv(65536):
                pass

    def _pump(self, source: socket.socket, target: socket.socket, sent: bytearray | None) -> None:
        """Pass on what comes from one side until it ends; `sent` collects it, and is None for answers."""
        left = self._dice.randint(2_000, 40_000)
        source.settimeout(None)
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                if sent is not None:
                    sent += data
                self.done += self.mood == "half-open"
                while self.mood == "half-open":
                    time.sleep(0.05)
                left -= len(data)
                if (self.mood in ("cut", "reset") and left < 0) or (self.mood == "deaf" and sent is None and left < 0):
                    self.done += 1
                    target.sendall(data[: len(data) // 2] if self.mood == "reset" else b"")
                    for one in (source, target):
                        (_end if self.mood == "cut" else _reset)(one)
                    return
                for piece in self._pieces(data):
                    target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        if self.mood == "slow":
            self.done += 1
            time.sleep(self._dice.uniform(0, LATE))
        if self.mood != "crumbs":
            yield data
            return
        self.done += 1
        start = 0
        while start < len(data):
            stop = start + self._dice.randint(1, 200)
            yield data[start:stop]
            start = stop


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _reset(one: socket.socket) -> None:
    """End a connection without a word: the other side gets RST."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
