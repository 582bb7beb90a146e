"""Why a coordinator cannot be reached, in one line: its address, the likely cause, the fix.

gRPC tells an expired certificate, a closed port and a wrong name apart as badly as it can: all are UNAVAILABLE. This asks
again by hand, layer by layer, within a few seconds, and sends nothing but a TLS greeting. Leaves retrying to `client.py`.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from vdb_participant.site.keys import certificate_validity
from vdb_shared.errors import IdentityError, UsageError

PROBE_SECONDS: Final = 3.0
"""How long each of the probes waits."""

_REASONS: Final[Mapping[int, str]] = {
    9: "its certificate is not valid yet (our clock: {now}); set the clock, or tell the lead",
    10: "its certificate has expired (our clock: {now}); check the clock, or tell the lead to renew it",
    62: "the server there has no certificate for {host}; check the address with the lead",
    64: "the server there has no certificate for {host}; check the address with the lead",
}
"""What OpenSSL's verification errors mean here: not yet valid, expired, other host name, other IP address."""

_STRANGER: Final = "the server there is not our consortium's (unknown authority); check the address with the lead"


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


def diagnose(address: str, ca_certificate: bytes, detail: str) -> str:
    """Return one line that says why the coordinator at an address cannot be reached.

    Args:
        address: host:port.
        ca_certificate: PEM of the only authority that is trusted.
        detail: gRPC's own words, used when every probe succeeds.
    """
    host, port = split_address(address)
    start = f"cannot reach the coordinator at {address}: "
    try:
        with socket.create_connection((host, port), timeout=PROBE_SECONDS) as connection:
            return start + _greet(connection, host, ca_certificate, detail)
    except socket.gaierror:
        return start + f"the name {host} is not known here; check the address, the network and DNS"
    except ConnectionRefusedError:
        return start + "nothing listens there; ask the lead whether `vdb-coordinator serve` is running"
    except TimeoutError:
        return start + f"no answer; is outbound TCP port {port} open in the firewall, and the machine on?"
    except OSError as error:
        return start + f"{error.strerror or error}; check the network"


def _greet(connection: socket.socket, host: str, ca_certificate: bytes, detail: str) -> str:
    """Say what is wrong with the TLS server at the other end of a connection."""
    context = ssl.create_default_context(cadata=ca_certificate.decode("ascii", errors="replace"))
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(connection, server_hostname=host):
            pass
    except ssl.SSLCertVerificationError as error:
        return _REASONS.get(error.verify_code, _STRANGER).format(host=host, now=_moment(datetime.now(UTC)))
    except ssl.SSLError as error:
        return f"what listens there does not speak our TLS ({error.reason or error}); check the address with the lead"
    except TimeoutError:
        return "the server there accepts connections but does not answer; ask the lead to look at it"
    except OSError as error:
        return f"the connection broke during the TLS handshake ({error.strerror or error}); is a proxy in between?"
    return f"it listens, but does not serve us ({detail or 'no reason given'}); try again, then ask the lead"


def clock_is_before(moment: datetime, now: datetime) -> bool:
    """Return whether our clock is clearly before a moment that the coordinator has seen."""
    return now + timedelta(minutes=5) < moment


def _moment(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")
