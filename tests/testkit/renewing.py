"""Certificates of another age, and what members send to renew them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from testkit.carried import OfflineSite
from testkit.coordinator import CONSORTIUM, Identity, RunningCoordinator
from testkit.institutions import no_passphrase
from vdb_coordinator.config import Home
from vdb_coordinator.identity.ca import CertificateAuthority, spiffe_id
from vdb_coordinator.identity.keys import key_pem, new_tls_key, read_tls_key
from vdb_participant.site.config import StateFolder
from vdb_participant.site.institution import open_site
from vdb_participant.site.keys import certificate_digest, decode_tls_key
from vdb_participant.site.storage import write_durably
from vdb_participant.site.tls_files import read_pair
from vdb_shared import labels
from vdb_shared.identity import Signer
from vdb_shared.roster import Member
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.enrolment import renewal_body


def authority_of(home: Home) -> CertificateAuthority:
    certificate = x509.load_pem_x509_certificate(home.ca_certificate.read_bytes())
    return CertificateAuthority(certificate, read_tls_key(home.key("ca"), None))


def aged(coordinator: RunningCoordinator, identity: Identity, days: float) -> Identity:
    """Return an institution whose certificate was issued so many days ago."""
    authority, key = authority_of(coordinator.home), new_tls_key()
    leaf = authority.issue_participant(key.public_key(), member_of(identity), datetime.now(UTC) - timedelta(days=days))
    return replace(identity, tls_key=key_pem(key, None), certificate_chain=leaf + authority.pem)


def age_relay(coordinator: RunningCoordinator, site: OfflineSite, days: float) -> bytes:
    """Let the certificate of a site's relay be one that was issued so many days ago; return its chain."""
    authority, place = authority_of(coordinator.home), StateFolder(site.relay_folder.path)
    key, signer = decode_tls_key(read_pair(place)[0], None), open_site(site.state, no_passphrase).signer
    member = Member(
        institution=site.name,
        role="participant",
        seat=1,
        statement_key=signer.public_key.raw.hex(),
        spiffe_id=spiffe_id(CONSORTIUM, "participant", site.name),
    )
    leaf = authority.issue_participant(key.public_key(), member, datetime.now(UTC) - timedelta(days=days))
    for path in (site.relay_folder.certificate, site.state.certificate):
        write_durably(path, leaf + authority.pem)
    return leaf + authority.pem


def member_of(identity: Identity) -> Member:
    """Return an institution's line in the roster."""
    return Member(
        institution=identity.institution,
        role="participant",
        seat=identity.seat,
        statement_key=identity.statement_key.public_key.raw.hex(),
        spiffe_id=spiffe_id(CONSORTIUM, "participant", identity.institution),
    )


def request_for(key: EllipticCurvePrivateKey) -> bytes:
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    return csr.public_bytes(Encoding.DER)


def renewal(
    identity: Identity, key: EllipticCurvePrivateKey, signer: Signer | None = None, consortium: str = CONSORTIUM
) -> pb.RenewCertificateRequest:
    """Return what an institution sends to renew its certificate, signed by somebody else if that is said."""
    request = request_for(key)
    body = renewal_body(consortium, identity.institution, certificate_digest(identity.certificate_chain), request)
    possession = (signer or identity.statement_key).sign(labels.TYPE_RENEWAL, body)
    return pb.RenewCertificateRequest(certificate_request=request, possession=possession)
