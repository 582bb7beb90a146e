"""Renewal at a site without a network: its relay, which has the TLS key, asks for a signature of the statement key.

Promises that nothing is signed but the renewal of this institution's certificate (§11.2), whose bytes are put together here
and never taken from the relay; that it is signed only for a certificate of our name and authority which is due, and for one
key after each certificate: who has copied the relay and asks for another is refused. Leaves what is carried to `channel.py`,
and the certificate itself to `relay_certificate.py`.

    DIR/certificate.pem     the newest certificate that the relay has shown; public, and there to be looked at
    DIR/offline/renewal     the newest request that was signed, after which certificate, and whether its answer is awaited

Source: protos/README.md §11.2, §12.7, §12.8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.x509.oid import NameOID
from google.protobuf.message import DecodeError

from vdb_participant.offline.files import Answer, Call, Reply
from vdb_participant.site.config import ConfigFile, StateFolder
from vdb_participant.site.keys import (
    certificate_digest,
    certificate_uri,
    certificate_validity,
    issued_by,
    requested_key,
    same_public_key,
)
from vdb_participant.site.renewal import Expected, renewal_time
from vdb_participant.site.storage import write_durably
from vdb_participant.site.tls_files import read_certificate
from vdb_shared import labels
from vdb_shared.canonical import decode_fields, encode_fields
from vdb_shared.errors import FormatError, IdentityError, StoreError, VdbError
from vdb_shared.identity import Signer
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.enrolment import renewal_body

RENEW: Final = "/vdb.v1.MembershipService/RenewCertificate"
QUESTION: Final = Call(RENEW, (pb.RenewCertificateRequest().SerializeToString(),))
"""Asks the relay itself what is to be signed: its certificate (PEM chain) and its request for the next one (DER)."""

_MAX_CHAIN_BYTES: Final = 64 * 2**10
_MAX_REQUEST_BYTES: Final = 4 * 2**10
_AWAITED, _ANSWERED = b"awaited", b"answered"

_LOG = structlog.get_logger("vdb_participant")


@dataclass(frozen=True, slots=True)
class Signed:
    """A renewal that was signed: the SHA-256 of the certificate before, the message, and whether its answer is awaited."""

    certificate: bytes
    message: bytes = field(repr=False)
    awaited: bool

    @property
    def call(self) -> Call:
        """The call that carries it."""
        return Call(RENEW, (self.message,))

    @property
    def request(self) -> bytes:
        """The request for a certificate, DER."""
        return pb.RenewCertificateRequest.FromString(self.message).certificate_request


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asks for beyond what goes by itself.

    Attributes:
        early: sign before a third of the certificate's life is over.
        another: sign for another key than the one that was signed for after the same certificate, and after an older one.
    """

    early: bool = False
    another: bool = False


@dataclass(frozen=True, slots=True)
class RenewalSigner:
    """The site's part in renewing the certificate that its relay holds.

    Attributes:
        folder: the state folder.
        config: who we are.
        signer: the statement key.
        now: our clock, UTC.
    """

    folder: StateFolder
    config: ConfigFile
    signer: Signer = field(repr=False)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def waiting(self) -> Call | None:
        """Return the signed renewal whose answer is awaited; it goes with every request until the answer is here.

        Raises:
            StoreError: what was kept is damaged.
        """
        signed = read_signed(self.folder)
        return signed.call if signed is not None and signed.awaited else None

    def look(self, answer: Answer) -> None:
        """Take in what an answer brought about renewals; what is wrong with it is a warning and costs nothing else."""
        for reply in answer.replies:
            if reply.method != RENEW:
                continue
            try:
                if reply.asked == QUESTION.digest:
                    self.sign(reply)
                    _LOG.info("signed for the relay's next TLS certificate; the next file carries it")
                else:
                    ends = self.settle(reply)
                    if ends is not None:
                        _LOG.info("the relay's TLS certificate was renewed", valid_until=f"{ends:%Y-%m-%d %H:%M UTC}")
            except VdbError as error:
                _LOG.warning("the relay's TLS certificate was not renewed", reason=str(error))

    def sign(self, asked: Reply, wish: Wish | None = None) -> Call:
        """Return what renews the relay's certificate, durably kept.

        Args:
            asked: the relay's reply to QUESTION.
            wish: the operator's.

        Raises:
            IdentityError: the relay asks for what is not to be signed, or asks for nothing; says why.
            StoreError: it cannot be kept.
        """
        if asked.refusal is not None:
            raise IdentityError(f"the relay says: {asked.refusal.words}")
        chain, request = self._checked(asked, wish or Wish())
        digest = certificate_digest(chain)
        body = renewal_body(self.config.consortium, self.config.institution, digest, request)
        possession = self.signer.sign(labels.TYPE_RENEWAL, body)
        message = pb.RenewCertificateRequest(certificate_request=request, possession=possession).SerializeToString()
        self._remember(chain)
        signed = Signed(digest, message, True)
        self._keep(signed)
        return signed.call

    def settle(self, reply: Reply) -> datetime | None:
        """Take the answer to the renewal that is awaited, and return until when the new certificate lasts.

        None is returned for the answer to another one.

        Raises:
            IdentityError: there is no new certificate, or one that is not for us; says why.
            StoreError: it cannot be kept.
        """
        signed = read_signed(self.folder)
        if signed is None or signed.call.digest != reply.asked:
            return None
        settled = Signed(signed.certificate, signed.message, False)
        try:
            ends = self._taken(reply, signed)
        except IdentityError:
            self._keep(settled)
            raise
        self._keep(settled)
        return ends

    def _taken(self, reply: Reply, signed: Signed) -> datetime:
        if reply.refusal is not None:
            raise IdentityError(f"{reply.refusal.words}; the relay's present one stays")
        chain = _certificate_in(reply)
        authority, before = self.config.ca_certificate.encode(), read_certificate(self.folder)
        Expected(self.config.spiffe_id, authority, before, None).check(chain, requested_key(signed.request))
        self._remember(chain)
        return certificate_validity(chain)[1]

    def _checked(self, asked: Reply, wish: Wish) -> tuple[bytes, bytes]:
        """Return present chain and request of what a relay asks for."""
        if len(asked.parts) != 2 or len(asked.parts[0]) > _MAX_CHAIN_BYTES or len(asked.parts[1]) > _MAX_REQUEST_BYTES:
            raise IdentityError("the relay asks for no renewal of a certificate; look after it")
        chain, request = asked.parts
        self._check_certificate(chain, wish)
        key = requested_key(request)
        if not _says_no_more_than(request, self.config.institution):
            raise IdentityError(
                f"the relay's request for a certificate says more or else than {self.config.institution}"
            )
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise IdentityError("the relay's request for a certificate is for another kind of key than P-256")
        if same_public_key(chain, key):
            raise IdentityError("the relay's request for a certificate is for the key that it has already")
        signed = read_signed(self.folder)
        again = signed is not None and signed.certificate == certificate_digest(chain) and signed.request != request
        if again and not wish.another:
            raise IdentityError(
                "the relay asks for another key than the one that was signed for after the same certificate. If it was put "
                "back from a backup, run `vdb-participant certificate renew --offline DIR --another-key`; else it may have "
                "been copied: have the lead revoke this institution's key"
            )
        return chain, request

    def _check_certificate(self, chain: bytes, wish: Wish) -> None:
        begins, ends = certificate_validity(chain)
        known = certificate_validity(read_certificate(self.folder))[1]
        due = renewal_time(begins, ends)
        issued = issued_by(chain, self.config.ca_certificate.encode())  # else it is looked at no further
        wrong = (
            (not issued, "of another authority"),
            (issued and certificate_uri(chain) != self.config.spiffe_id, "of another name"),
            (self.now() >= ends, f"that ended on {ends:%Y-%m-%d}; ask the lead for a new invitation"),
            (ends < known and not wish.another, "older than one that it had before; was it put back from a backup?"),
            (self.now() < due and not wish.early, f"that is not due before {due:%Y-%m-%d %H:%M} UTC"),
        )
        for found, words in wrong:
            if found:
                raise IdentityError(f"the relay shows a certificate {words}")

    def _remember(self, chain: bytes) -> None:
        write_durably(self.folder.certificate, chain)

    def _keep(self, signed: Signed) -> None:
        state = _AWAITED if signed.awaited else _ANSWERED
        write_durably(_place(self.folder), encode_fields(signed.certificate, signed.message, state))


def read_signed(folder: StateFolder) -> Signed | None:
    """Return the newest renewal that was signed here, or None.

    Raises:
        StoreError: what was kept is damaged.
    """
    place = _place(folder)
    try:
        certificate, message, state = decode_fields(place.read_bytes(), 3)
        return Signed(certificate, message, state == _AWAITED)
    except FileNotFoundError:
        return None
    except (OSError, FormatError) as error:
        raise StoreError(f"{place}: is damaged ({error}); restore it from a backup") from error


def _says_no_more_than(request: bytes, institution: str) -> bool:
    """Return whether a request for a certificate (DER) names an institution and asks for nothing."""
    try:
        parsed = x509.load_der_x509_csr(request)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, institution)])
        return parsed.subject == name and not list(parsed.attributes)
    except ValueError:
        return False


def _certificate_in(reply: Reply) -> bytes:
    try:
        return bytes(pb.RenewCertificateResponse.FromString(b"".join(reply.parts)).certificate_chain)
    except DecodeError as error:
        raise IdentityError("the relay's answer has no certificate; look after the relay") from error


def _place(folder: StateFolder) -> Path:
    return folder.offline / "renewal"
