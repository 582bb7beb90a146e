"""A time stamp authority for tests: answers questions as RFC 3161 says, also wrongly where a test asks for it.

Built from asn1crypto's structures and `cryptography`'s signatures, so that it shares no code with what reads its answers.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from testkit.bundles import SmallSession
from vdb_shared.bundle.record import RESULT_PROOF
from vdb_shared.transparency.proof import parse_proof

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {"sha512": hashes.SHA512(), "sha1": hashes.SHA1()}  # noqa: S303 - to be refused
_KINDS: Final = {"weak": "signing_certificate_v2"}
"""Attributes of ours that are a kind of the format's."""

PUBLISHED: Final = datetime(2026, 1, 31, 12, 40, tzinfo=UTC)
"""When the coordinator of a small session says that it published."""

BORN: Final = datetime(2025, 1, 1, tzinfo=UTC)
YEARS: Final = timedelta(days=3650)


@dataclass(frozen=True)
class Authority:
    """An authority, with a root of its own.

    Attributes:
        name: common name of the certificate that signs.
        organisation: in that certificate too; None for none.
        nameless: whether the certificate has no common name.
        purpose: extended key usage of that certificate, and whether it is critical.
        ends: when that certificate ends.
        serial: number of that certificate.
        digest: of what is signed, as asn1crypto names it.
        attributes: what is signed besides the stamp; "weak" names the certificate by SHA-1 where that is not allowed.
        names: SHA-256 of the certificate that the signature names; None for the right one.
        certificates_named: how often the signature names it.
        beside: certificates (DER) that the answer holds before the right one, which no signature covers.
    """

    name: str = "Clock of the Observatory"
    organisation: str | None = None
    nameless: bool = False
    purpose: tuple[x509.ObjectIdentifier, bool] = (ExtendedKeyUsageOID.TIME_STAMPING, True)
    ends: datetime = BORN + YEARS
    serial: int = 2
    digest: str = "sha512"
    attributes: tuple[str, ...] = ("content_type", "message_digest", "signing_certificate_v2")
    names: bytes | None = None
    certificates_named: int = 1
    beside: tuple[bytes, ...] = ()
    root_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False
    )
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False)

    @property
    def root(self) -> x509.Certificate:
        """The root certificate."""
        name = _name(f"Root of {self.name}")
        basic = x509.BasicConstraints(ca=True, path_length=0)
        builder = _certificate(name, name, self.root_key, BORN + YEARS, 1).add_extension(basic, critical=True)
        return builder.sign(self.root_key, hashes.SHA256())

    @property
    def roots(self) -> bytes:
        """The root certificate as PEM."""
        return self.root.public_bytes(Encoding.PEM)

    @property
    def leaf(self) -> bytes:
        """The certificate that signs as PEM, which is no root."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate that signs."""
        usage, critical = self.purpose
        parts = {} if self.organisation is None else {NameOID.ORGANIZATION_NAME: self.organisation}
        parts |= {} if self.nameless else {NameOID.COMMON_NAME: self.name}
        subject = x509.Name([x509.NameAttribute(kind, words) for kind, words in parts.items()])
        builder = _certificate(subject, _name(f"Root of {self.name}"), self.key, self.ends, self.serial)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=critical)
        return builder.sign(self.root_key, hashes.SHA256())

    def certificate_of(self, *, issuer: str) -> bytes:
        """Return a worthless certificate (DER) of this name and key, that claims to be issued by another authority's root."""
        builder = _certificate(_name(self.name), _name(f"Root of {issuer}"), self.key, self.ends, 2)
        return builder.sign(self.root_key, hashes.SHA256()).public_bytes(Encoding.DER)

    def answer(self, question: bytes, at: datetime, **changes: Any) -> bytes:
        """Return the answer to a question at a time; `changes` are fields of the stamp that differ from an honest one."""
        asked = tsp.TimeStampReq.load(question)
        info: dict[str, Any] = {
            "version": "v1",
            "policy": "1.3.6.1.4.1.13762.3",
            "message_imprint": asked["message_imprint"],
            "serial_number": 7,
            "gen_time": at,
            "accuracy": {"seconds": 1},
            "nonce": asked["nonce"],
        }
        return self._signed(tsp.TSTInfo({name: value for name, value in (info | changes).items() if value is not None}))

    def stamp(self, message: bytes, at: datetime, **changes: Any) -> bytes:
        """Return a stamp on a message, with the digest that `openssl ts` takes by itself."""
        imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": hashlib.sha256(message).digest()}
        return self.answer(
            tsp.TimeStampReq({"version": "v1", "message_imprint": imprint, "nonce": 1}).dump(), at, **changes
        )

    def _signed(self, info: tsp.TSTInfo) -> bytes:
        certificate = asn1_x509.Certificate.load(self.certificate.public_bytes(Encoding.DER))
        content = info.dump()
        identified = {"cert_hash": self.names or hashlib.sha256(certificate.dump()).digest()}
        older = {"cert_hash": self.names or hashlib.sha1(certificate.dump(), usedforsecurity=False).digest()}
        weak = {"hash_algorithm": {"algorithm": "sha1"}, **older}
        values = {
            "content_type": "tst_info",
            "message_digest": hashlib.new(self.digest, content, usedforsecurity=False).digest(),
            "signing_certificate_v2": tsp.SigningCertificateV2({"certs": [identified] * self.certificates_named}),
            "signing_certificate": tsp.SigningCertificate({"certs": [older]}),
            "weak": tsp.SigningCertificateV2({"certs": [weak]}),
        }
        attributes = cms.CMSAttributes(
            [cms.CMSAttribute({"type": _KINDS.get(kind, kind), "values": [values[kind]]}) for kind in self.attributes]
        )
        signer = {
            "version": "v1",
            "sid": {
                "issuer_and_serial_number": {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
            },
            "digest_algorithm": {"algorithm": self.digest},
            "signed_attrs": attributes,
            "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": f"{self.digest}_ecdsa"}),
            "signature": self.key.sign(attributes.dump(), ec.ECDSA(_HASHES[self.digest])),
        }
        signed = {
            "version": "v3",
            "digest_algorithms": [{"algorithm": self.digest}],
            "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)},
            "certificates": [*map(asn1_x509.Certificate.load, self.beside), certificate],
            "signer_infos": [signer],
        }
        token = {"content_type": "signed_data", "content": cms.SignedData(signed)}
        encoded: bytes = tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump()
        return encoded


def refusal(words: str) -> bytes:
    """Return an answer that holds no stamp, which the structure of asn1crypto does not foresee."""
    status: bytes = tsp.PKIStatusInfo({"status": "rejection", "status_string": [words]}).dump()
    size = len(status)
    return bytes([0x30, *([size] if size < 128 else [0x82, *size.to_bytes(2, "big")])]) + status


def checkpoint_of(session: SmallSession) -> bytes:
    """Return what is stamped: the checkpoint in which a session's result stands."""
    return parse_proof(session.members[RESULT_PROOF]).checkpoint


@contextmanager
def serving(answers: Any) -> Iterator[str]:
    """Serve an authority over HTTP on loopback and yield its URL.

    Args:
        answers: (path, media type of the question, question) to (status, answer).
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = answers(self.path, self.headers["Content-Type"], question)
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server gave it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, ends: datetime, serial: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    return builder.serial_number(serial).not_valid_before(BORN).not_valid_after(ends)
