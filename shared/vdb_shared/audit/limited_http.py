"""Downloads that end in time, however slowly a server sends.

Promises that no byte of an answer, its head included, is waited for beyond a limit: a bound on silence alone would let a server
drip for ever. No redirection is followed: it could lead to a protocol without these limits, or to a host that nobody named.
The system's own bounds hold for looking up a name; connecting to each address counts as silence.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any


@dataclass(frozen=True, slots=True)
class Limit:
    """How long a download may take.

    Attributes:
        silence: seconds without a byte.
        end: when it must be there, on the monotonic clock.
        words: what is said if it is not.
    """

    silence: float
    end: float
    words: str

    def left(self) -> float:
        """Return the seconds that the next byte may take.

        Raises:
            TimeoutError: none are left.
        """
        rest = self.end - time.monotonic()
        if rest <= 0:
            raise TimeoutError(self.words)
        return min(rest, self.silence)


class _Bytes(io.RawIOBase):
    """The bytes of a connection, none of which is waited for beyond a limit."""

    def __init__(self, connection: socket.socket, limit: Limit) -> None:
        super().__init__()
        self._connection = connection
        self._limit = limit
        self._open = connection.makefile("rb")  # keeps the connection until this object is closed

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there next."""
        self._connection.settimeout(self._limit.left())
        try:
            return self._connection.recv_into(buffer)
        except TimeoutError as error:
            self._limit.left()
            raise TimeoutError(f"no byte came for {self._limit.silence:g} seconds") from error

    def close(self) -> None:
        """Close the connection."""
        self._open.close()
        super().close()


def download(url: str, most: int, limit: Limit, question: tuple[str, bytes] | None = None) -> bytes:
    """Return what is served at a URL, at most so many bytes of it.

    Args:
        url: begins with http:// or https://.
        most: bytes that are read.
        limit: on the time.
        question: media type and bytes that are sent (POST); None for none.

    Raises:
        OSError, ValueError, HTTPException: as `urllib.request` does; TimeoutError beyond the limit.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Plain(limit),
        _Secure(limit),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(url)  # noqa: S310 - the opener above knows http and https alone
    if question is not None:
        kind, request.data = question
        request.add_header("Content-Type", kind)
    with opener.open(request, timeout=limit.left()) as answer:
        data: bytes = answer.read(most)
    return data


def _answer(limit: Limit) -> Callable[..., HTTPResponse]:
    def made(connection: socket.socket, *arguments: Any, **options: Any) -> HTTPResponse:
        answer = HTTPResponse(connection, *arguments, **options)
        answer.fp.close()
        answer.fp = io.BufferedReader(_Bytes(connection, limit))
        return answer

    return made


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, limit: Limit) -> None:
        super().__init__()
        self._limit = limit

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Open a connection whose answer is limited."""
        return self.do_open(_connecting(HTTPConnection, self._limit), req)


class _Secure(urllib.request.HTTPSHandler):
    def __init__(self, limit: Limit) -> None:
        super().__init__()
        self._limit = limit

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        """Open a connection whose answer is limited."""
        return self.do_open(_connecting(HTTPSConnection, self._limit), req, context=ssl.create_default_context())


def _connecting(kind: type[HTTPConnection], limit: Limit) -> Any:
    def made(host: str, **options: Any) -> HTTPConnection:
        connection = kind(host, **options)
        connection.response_class = _answer(limit)  # type: ignore[assignment]  # what is called for one; need be no class
        return connection

    return made
