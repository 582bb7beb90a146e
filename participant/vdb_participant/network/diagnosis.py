"""Why a coordinator cannot be reached, in one line: its address, the likely cause, the fix.

gRPC tells an expired certificate, a closed port and a wrong name apart as badly as it can: all are UNAVAILABLE. This asks
again by hand, layer by layer, within DIAGNOSIS_SECONDS for all of it, and sends nothing but a CONNECT where there is a proxy
and a TLS greeting without our certificate, each recorded before it leaves. Leaves recording to the caller, retrying to
`client.py`, and the server's certificate to `presented.py`.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from vdb_participant.network.presented import presented_certificate, what_is_wrong
from vdb_participant.network.proxy import Proxy
from vdb_participant.site.keys import certificate_validity
from vdb_shared.errors import IdentityError, UsageError

DIAGNOSIS_SECONDS: Final = 4.5
"""How long all probes together may take: with the first call's deadline they stay below ten seconds."""

_NAME_SECONDS: Final = 2.0
_REPLY_BYTES: Final = 8192

_PROXY_REASONS: Final[Mapping[int, str]] = {
    403: "the proxy {proxy} does not allow it ({status}); ask whoever runs the proxy to allow CONNECT to {host}:{port}",
    405: "the proxy {proxy} does not allow it ({status}); ask whoever runs the proxy to allow CONNECT to {host}:{port}",
    407: "the proxy {proxy} wants a login ({status}); put it in HTTPS_PROXY=http://user:password@{proxy}",
}
_PROXY_OTHER: Final = (
    "the proxy {proxy} cannot reach it ({status}); check the address with the lead, or add {host} to NO_PROXY"
)


class _CauseError(Exception):
    """The cause was found; its words are the message."""


@dataclass(frozen=True, slots=True)
class Target:
    """What cannot be reached.

    Attributes:
        host, port: of the coordinator.
        ca_certificate: PEM of the only authority that is trusted.
        record: called before each greeting; what it raises ends the probe, and nothing is sent.
        proxy: through which it is reached, or None.
    """

    host: str
    port: int
    ca_certificate: bytes
    record: Callable[[], None]
    proxy: Proxy | None = None


def check_own_certificate(certificate_chain: bytes, now: datetime) -> None:
    """Check that our own TLS certificate is valid now, which no server could tell us in words.

    Raises:
        IdentityError: it has expired, or the clock is before its beginning.
    """
    begins, ends = certificate_validity(certificate_chain)
    if now < begins:
        raise IdentityError(
            f"this machine's clock says {_moment(now)}, before our certificate begins ({_moment(begins)}); set the clock"
        )
    if now > ends:
        raise IdentityError(
            f"our TLS certificate expired on {_moment(ends)} (clock: {_moment(now)}); "
            "check the clock, or ask the lead for a new invitation"
        )


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of an address.

    Raises:
        UsageError: it is not host:port.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"{address!r} is not an address host:port; correct it in the invitation or config.json")
    return host.strip("[]"), int(port)


@dataclass(frozen=True, slots=True)
class Reached:
    """How far one comes.

    Attributes:
        port: why there is no connection, or "".
        tls: why there is no TLS with the consortium's coordinator, or "".
        proxy: host:port of the proxy in between, or "".
    """

    port: str = ""
    tls: str = ""
    proxy: str = ""


def probe(target: Target) -> Reached:
    """Return how far one comes towards a coordinator; takes at most DIAGNOSIS_SECONDS.

    Greets twice where a certificate is not accepted: the second greeting looks at it.
    """
    ends = time.monotonic() + DIAGNOSIS_SECONDS
    proxy = target.proxy.address if target.proxy else ""
    try:
        connection = _dial(target, ends)
    except _CauseError as cause:
        return Reached(port=str(cause), proxy=proxy)
    with connection:
        try:
            return Reached(tls=_greet(connection, target, ends), proxy=proxy)
        except _CauseError as cause:
            return Reached(tls=str(cause), proxy=proxy)


def diagnose(target: Target, detail: str) -> str:
    """Return one line that says why a coordinator cannot be reached; takes at most DIAGNOSIS_SECONDS.

    Args:
        target: the coordinator, and how it is reached.
        detail: gRPC's own words, used when every probe succeeds.
    """
    name = f"[{target.host}]" if ":" in target.host else target.host
    through = f" through the proxy {target.proxy.address}" if target.proxy else ""
    reached = probe(target)
    serves = f"it listens, but does not serve us ({detail or 'no reason given'}); try again, then ask the lead"
    return f"cannot reach the coordinator at {name}:{target.port}{through}: {reached.port or reached.tls or serves}"


def _dial(target: Target, ends: float) -> socket.socket:
    """Return a TCP connection to the coordinator.

    Raises:
        _CauseError: there is none.
    """
    target.record()
    if target.proxy is None:
        return _connect(target.host, target.port, ends)
    try:
        connection = _connect(target.proxy.host, target.proxy.port, ends)
    except _CauseError as cause:
        raise _CauseError(f"the proxy itself: {cause}; check HTTPS_PROXY") from cause
    try:
        _ask_proxy(connection, target, target.proxy)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(host: str, port: int, ends: float) -> socket.socket:
    family, kind, protocol, _, place = _resolve(host, port, ends)
    connection = socket.socket(family, kind, protocol)
    connection.settimeout(_left(ends))
    try:
        connection.connect(place)
    except OSError as error:
        connection.close()
        raise _CauseError(_not_connected(error, port)) from error
    return connection


def _not_connected(error: OSError, port: int) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there; ask the lead whether `vdb-coordinator serve` is running, and whether the port is right"
    if isinstance(error, TimeoutError):
        return f"no answer; is outbound TCP port {port} open in the firewall, and the machine on?"
    return f"{error.strerror or error}; check the network"


_Place = tuple[
    socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
]


def _resolve(host: str, port: int, ends: float) -> _Place:
    """Return where a name points; the system's own look-up cannot be told how long it may take, so a thread waits for it."""
    found: list[_Place] = []
    failed: list[OSError] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(min(_NAME_SECONDS, _left(ends)))
    if found:
        return found[0]
    if failed:
        raise _CauseError(f"the name {host} is not known here; check the address, the network and DNS") from failed[0]
    raise _CauseError(
        f"the name {host} could not be looked up: DNS does not answer; check the network and its name server"
    )


def _ask_proxy(connection: socket.socket, target: Target, proxy: Proxy) -> None:
    """Ask a proxy for the connection.

    Raises:
        _CauseError: it gives none.
    """
    name = f"[{target.host}]" if ":" in target.host else target.host
    place = f"{name}:{target.port}"
    login = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    try:
        connection.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{login}\r\n".encode("ascii", "replace"))
        reply = b""
        while b"\r\n\r\n" not in reply and len(reply) < _REPLY_BYTES and (more := connection.recv(1)):
            reply += more  # byte by byte: what follows the head is TLS already
    except OSError as error:
        raise _CauseError(
            f"the proxy {proxy.address} does not answer ({error.strerror or error}); check HTTPS_PROXY"
        ) from error
    line = reply.partition(b"\r\n")[0].decode("ascii", "replace")
    version, _, status = line.partition(" ")
    if not version.startswith("HTTP/") or not status[:3].isdigit():
        raise _CauseError(f"what listens at {proxy.address} is no HTTP proxy; check HTTPS_PROXY")
    if not status.startswith("2"):
        words = _PROXY_REASONS.get(int(status[:3]), _PROXY_OTHER)
        told = "".join(character if character.isprintable() else " " for character in status)[:80]
        raise _CauseError(words.format(proxy=proxy.address, host=target.host, port=target.port, status=told))


def _greet(connection: socket.socket, target: Target, ends: float) -> str:
    """Return what is wrong with the TLS server at the other end of a connection, or ""."""
    context = ssl.create_default_context(cadata=target.ca_certificate.decode("ascii", errors="replace"))
    context.set_alpn_protocols(["h2"])
    connection.settimeout(_left(ends))
    try:
        with context.wrap_socket(connection, server_hostname=target.host):
            return ""
    except ssl.SSLCertVerificationError as error:
        with _dial(target, ends) as again:
            again.settimeout(_left(ends))
            shown = presented_certificate(again, target.host)
        return what_is_wrong(error.verify_code, shown, (target.host, target.port), datetime.now(UTC))
    except ssl.SSLError as error:
        reason = error.reason or error
        return (
            f"what listens there does not speak our TLS ({reason}); is the port right? check the address with the lead"
        )
    except TimeoutError:
        return "the server there accepts connections but does not answer; ask the lead to look at it"
    except OSError as error:
        return f"the connection broke during the TLS handshake ({error.strerror or error}); is a proxy in between?"


def _left(ends: float) -> float:
    """Return the seconds that are left, never none: a timeout of zero would mean another thing."""
    return max(0.05, ends - time.monotonic())


def _moment(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")
