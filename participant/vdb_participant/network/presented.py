"""What a server's certificate says about why it is not the one we look for.

Promises nothing about the certificate: it was not verified, and only tells which mistake is likely.
"""

from __future__ import annotations

import socket
import ssl
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

_NOT_YET: Final = 9
_EXPIRED: Final = 10
_OTHER_NAME: Final = frozenset({62, 64})
"""OpenSSL's verification errors: not yet valid, expired, other host name, other IP address."""

_SPIFFE: Final = "spiffe://"
_WORDS: Final = 60


def presented_certificate(connection: socket.socket, host: str) -> x509.Certificate | None:
    """Return the certificate that a server shows, unverified, or None if it shows none; nothing is sent but the greeting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only to name what stands there; nothing is sent to it
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(connection, server_hostname=host) as wrapped:
            shown = wrapped.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown) if shown else None
    except (OSError, ValueError):
        return None


def what_is_wrong(code: int, shown: x509.Certificate | None, address: tuple[str, int], now: datetime) -> str:
    """Return why a certificate was not accepted, the likely cause, and the fix.

    Args:
        code: OpenSSL's verification error.
        shown: the certificate, unverified, or None.
        address: host and port it was asked for.
        now: UTC, by our clock.
    """
    host, port = address
    clock = f"our clock: {_moment(now)}"
    begins = f"; it begins {_moment(shown.not_valid_before_utc)}" if shown else ""
    ended = f"; it ended {_moment(shown.not_valid_after_utc)}" if shown else ""
    if code == _NOT_YET:
        return f"its certificate is not valid yet ({clock}{begins}); set the clock, or if it is right tell the lead"
    if code == _EXPIRED:
        return (
            f"its certificate has expired ({clock}{ended}); set the clock, or if it is right tell the lead to renew it"
        )
    if code in _OTHER_NAME:
        return f"the server there has no certificate for {host}; check the address with the lead"
    if shown is None:
        return "the server there is not our consortium's (unknown authority); check the address with the lead"
    if (consortium := _consortium_of(shown)) is not None:
        return (
            f"a coordinator of consortium {consortium} answers, under another root than the one we were invited to; check the "
            "address, and ask the lead for a new invitation if the consortium was founded anew"
        )
    return (
        f"its certificate was signed by {_issuer(shown)}, not by our consortium: a proxy that looks into TLS stands in between "
        f"(ask whoever runs the network to exempt {host}:{port}), or port {port} is another service (ask the lead)"
    )


def _consortium_of(certificate: x509.Certificate) -> str | None:
    """Return the consortium that a coordinator's certificate names, or None if it is none of a coordinator."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    for name in names.get_values_for_type(x509.UniformResourceIdentifier):
        consortium, _, role = name.removeprefix(_SPIFFE).partition("/")
        if name.startswith(_SPIFFE) and role.startswith("coordinator"):
            return _printable(consortium)
    return None


def _issuer(certificate: x509.Certificate) -> str:
    """Return who signed a certificate, in its own words."""
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in certificate.issuer.get_attributes_for_oid(kind):
            return repr(_printable(str(attribute.value)))
    return "an authority without a name"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:_WORDS]


def _moment(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")
