"""Renewal: a new TLS key and certificate, made and put in place while the present ones go on.

Promises that a renewal which is interrupted at any step leaves a pair that works and is finished by the next one with the same
key, that a certificate which is not for us is not taken, and that processes of one site renew one after the other. Leaves to
`network/connection.py` when it is looked at, and that no call is lost by it.

The steps: the new key and its request are durable; the coordinator is asked; the answer is checked; key and certificate take
the place of the present ones in one file; what was replaced is erased.

Source: protos/README.md §11.2, §12.7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from vdb_participant.site.config import ConfigFile, StateFolder
from vdb_participant.site.failpoints import Failpoints
from vdb_participant.site.institution import Site
from vdb_participant.site.keys import (
    Passphrase,
    TlsIdentity,
    certificate_digest,
    certificate_request,
    certificate_uri,
    certificate_validity,
    decode_tls_key,
    encode_tls_key,
    generate_tls_key,
    issued_by,
    same_public_key,
    unlock,
)
from vdb_participant.site.tls_files import (
    forget_what_was_replaced,
    only_one,
    read_pair,
    read_waiting,
    write_pair,
    write_waiting,
)
from vdb_shared import labels
from vdb_shared.errors import IdentityError, StoreError
from vdb_shared.identity import Signer
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.enrolment import renewal_body

AFTER: Final = 1 / 3
"""Share of a certificate's life after which it is renewed: two more thirds are left for a coordinator that is away."""

Ask = Callable[[pb.RenewCertificateRequest], pb.RenewCertificateResponse]
"""Asks the coordinator, under the present certificate."""


def renewal_time(begins: datetime, ends: datetime) -> datetime:
    """Return from when on a certificate of this validity is renewed."""
    return begins + (ends - begins) * AFTER


@dataclass(frozen=True, slots=True)
class Keeper:
    """Keeps the certificate of a site young; implements network.connection.Renewal.

    Attributes:
        folder: the state folder.
        config: who we are.
        signer: of the institution.
        passphrase: that of the present TLS key encrypts new ones.
        now: our clock, UTC.
        failpoints: none outside tests.
    """

    folder: StateFolder
    config: ConfigFile
    signer: Signer = field(repr=False)
    passphrase: Passphrase = field(repr=False)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    failpoints: Failpoints = field(default_factory=Failpoints)

    @classmethod
    def of(cls, site: Site, passphrase: Passphrase, failpoints: Failpoints | None = None) -> Keeper:
        """Return the keeper of a site's certificate."""
        return cls(site.folder, site.config, site.signer, passphrase, failpoints=failpoints or Failpoints())

    def due(self, tls: TlsIdentity) -> bool:
        """Return whether a certificate is to be renewed now."""
        return self.now() >= renewal_time(*tls.validity)

    def renewed(self, tls: TlsIdentity, ask: Ask) -> TlsIdentity:
        """Return the pair to use from now on, durably in its place: a new one, or one that another process has renewed.

        Args:
            tls: what our connection shows.
            ask: asks the coordinator on that connection.

        Raises:
            StoreError: files cannot be read or written, or another process is at it.
            IdentityError: the answer is not for us.
            grpc.RpcError: the coordinator refuses or is silent.
        """
        with only_one(self.folder) as alone:
            if not alone:
                raise StoreError(f"{self.folder.path}: another vdb-participant renews the certificate")
            key_pem, chain = read_pair(self.folder)
            secret = unlock(key_pem, self.passphrase)
            if chain != tls.certificate_chain:
                return self._identity(decode_tls_key(key_pem, secret), chain)
            key, request = key_to_certify(self.folder, self.config.institution, chain, secret)
            self.failpoints.reach("before-renewal")
            body = renewal_body(self.config.consortium, self.config.institution, certificate_digest(chain), request)
            possession = self.signer.sign(labels.TYPE_RENEWAL, body)
            answer = ask(pb.RenewCertificateRequest(certificate_request=request, possession=possession))
            self.failpoints.reach("after-renewal-answered")
            expected = Expected(self.config.spiffe_id, self.config.ca_certificate.encode(), chain, self.now())
            expected.check(answer.certificate_chain, key.public_key())
            write_pair(self.folder, encode_tls_key(key, secret), answer.certificate_chain)
            self.failpoints.reach("after-renewal-kept")
            forget_what_was_replaced(self.folder)
            return self._identity(key, answer.certificate_chain)

    def _identity(self, key: EllipticCurvePrivateKey, chain: bytes) -> TlsIdentity:
        return TlsIdentity(chain, encode_tls_key(key, None), self.config.ca_certificate.encode())


def key_to_certify(
    folder: StateFolder, institution: str, chain: bytes, secret: bytes | None
) -> tuple[EllipticCurvePrivateKey, bytes]:
    """Return the key that takes the place of a chain's, and its request (DER): of a renewal under way, or durably made.

    Raises:
        StoreError: the files cannot be read or written.
    """
    return waiting_key(folder, chain, secret) or _fresh(folder, institution, secret)


def waiting_key(
    folder: StateFolder, chain: bytes, secret: bytes | None
) -> tuple[EllipticCurvePrivateKey, bytes] | None:
    """Return key and request (DER) of a renewal that was begun, unless `chain` finished it.

    Raises:
        StoreError: what lies there is damaged.
    """
    found = read_waiting(folder)
    if found is None:
        return None
    key = decode_tls_key(found[0], secret)
    try:
        request = x509.load_pem_x509_csr(found[1])
    except ValueError as error:
        raise StoreError(f"{folder.tls_next}: is damaged ({error}); remove it and run again") from error
    return None if same_public_key(chain, key.public_key()) else (key, request.public_bytes(Encoding.DER))


def _fresh(folder: StateFolder, institution: str, secret: bytes | None) -> tuple[EllipticCurvePrivateKey, bytes]:
    """Make a key and its request (DER), durably."""
    key = generate_tls_key()
    request = certificate_request(key, institution, Encoding.PEM)
    write_waiting(folder, encode_tls_key(key, secret), request)
    return key, x509.load_pem_x509_csr(request).public_bytes(Encoding.DER)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a renewed certificate must say.

    Attributes:
        name: our SPIFFE id.
        authority: who issues it, PEM.
        before: the chain that it follows, PEM.
        now: UTC; None where whoever uses the certificate looks at the clock, since ours need not be right.
    """

    name: str
    authority: bytes
    before: bytes
    now: datetime | None

    def check(self, chain: bytes, key: PublicKeyTypes) -> None:
        """Check that a new chain is for our new key and name, by our authority, valid now, and lasts longer.

        Raises:
            IdentityError: it is not.
        """
        begins, ends = certificate_validity(chain)
        known = issued_by(chain, self.authority)  # what another authority says is looked at no further
        wrong = (
            (not known, "by another authority"),
            (known and not same_public_key(chain, key), "for another key"),
            (known and certificate_uri(chain) != self.name, "for another name"),
            (self.now is not None and not begins <= self.now < ends, "for another time"),
            (ends < certificate_validity(self.before)[1], "that ends before the present one"),
        )
        for found, words in wrong:
            if found:
                raise IdentityError(
                    f"the coordinator answered with a certificate {words}; the present one stays, tell the lead"
                )
