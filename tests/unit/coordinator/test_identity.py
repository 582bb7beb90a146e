"""Certificates, keys at rest, the trust root and the roster's signature."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from vdb_coordinator.config import Home
from vdb_coordinator.identity.ca import LEAF_LIFETIME, CertificateAuthority, needs_renewal, parse_request, spiffe_id
from vdb_coordinator.identity.founding import found, new_config, renew_admin_certificate
from vdb_coordinator.identity.keys import is_encrypted, new_tls_key, read_signing_key, read_tls_key, write_key
from vdb_coordinator.identity.trust import ROSTER_LIFETIME, make_root, roster_needs_renewal, sign_roster
from vdb_coordinator.serving.clock import parse_timestamp, timestamp
from vdb_coordinator.serving.server import read_keys
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import IdentityError, UsageError
from vdb_shared.roster import Member, Roster, SignedRoster

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NAME = spiffe_id("demo", "participant", "hospital-a")


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create("demo", NOW)[0]


def names_of(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def test_a_client_certificate_carries_one_spiffe_id_and_lasts_thirty_days(authority: CertificateAuthority) -> None:
    certificate = x509.load_pem_x509_certificate(authority.issue_client(new_tls_key().public_key(), NAME, NOW))
    assert names_of(certificate) == [NAME]
    assert certificate.not_valid_after_utc == NOW + timedelta(days=30)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate.verify_directly_issued_by(authority.certificate)


def test_a_server_certificate_verifies_under_its_names_only(authority: CertificateAuthority) -> None:
    pem = authority.issue_server(
        new_tls_key().public_key(), spiffe_id("demo", "coordinator", "c"), ["vdb.example.org", "127.0.0.1"], NOW
    )
    certificate = x509.load_pem_x509_certificate(pem)
    policy = PolicyBuilder().store(Store([authority.certificate])).time(NOW)
    assert policy.build_server_verifier(x509.DNSName("vdb.example.org")).verify(certificate, [])
    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.DNSName("other.example.org")).verify(certificate, [])
    later = PolicyBuilder().store(Store([authority.certificate])).time(NOW + timedelta(days=31))
    with pytest.raises(VerificationError):
        later.build_server_verifier(x509.DNSName("vdb.example.org")).verify(certificate, [])


def test_leaves_cannot_issue_certificates(authority: CertificateAuthority) -> None:
    certificate = x509.load_pem_x509_certificate(authority.issue_client(new_tls_key().public_key(), NAME, NOW))
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_certificates_are_renewed_after_a_third_of_their_life(authority: CertificateAuthority) -> None:
    pem = authority.issue_client(new_tls_key().public_key(), NAME, NOW)
    assert not needs_renewal(pem, NOW + LEAF_LIFETIME / 3 - timedelta(minutes=1))
    assert needs_renewal(pem, NOW + LEAF_LIFETIME / 3 + timedelta(minutes=1))
    assert not needs_renewal(pem, NOW - timedelta(minutes=59))
    assert needs_renewal(pem, NOW - timedelta(minutes=61)), "issued while the clock was ahead: nobody takes it now"


def test_requests_must_be_signed_p256_keys() -> None:
    good = new_tls_key()
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(good, SHA256()).public_bytes(Encoding.DER)
    assert parse_request(request).public_numbers() == good.public_key().public_numbers()
    other = builder.sign(generate_private_key(SECP384R1()), SHA256()).public_bytes(Encoding.DER)
    with pytest.raises(IdentityError, match=r"not signed by its own key|cannot be read"):
        parse_request(request[:-1] + bytes([request[-1] ^ 1]))
    spoiled = other[:-1] + bytes([other[-1] ^ 1])
    for foreign in (other, spoiled):  # of what kind a key is, is looked at before it is used
        with pytest.raises(IdentityError, match="P-256"):
            parse_request(foreign)
    unheard = other.replace(bytes.fromhex("06052b81040022"), bytes.fromhex("06052b81040029"))  # a curve without a name
    assert unheard != other
    with pytest.raises(IdentityError, match=r"P-256|cannot be read"):
        parse_request(unheard)


def test_keys_are_encrypted_at_rest_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    write_key(path, new_tls_key(), b"secret")
    assert path.stat().st_mode & 0o777 == 0o600
    assert is_encrypted(path)
    read_tls_key(path, b"secret")
    with pytest.raises(IdentityError, match="passphrase"):
        read_tls_key(path, b"wrong")
    with pytest.raises(UsageError, match="VDB_PASSPHRASE"):
        read_tls_key(path, None)
    with pytest.raises(IdentityError, match="Ed25519"):
        read_signing_key(path, b"secret")


def test_founding_makes_a_directory_once_with_private_keys(tmp_path: Path) -> None:
    home = Home(tmp_path / "consortium")
    config = new_config("demo", "vdb.example.org:7443", "0.0.0.0:7443")
    fingerprint = found(home, config, b"secret", NOW)
    assert fingerprint == sha256_digest(home.root.read_bytes())
    assert home.read_config() == config
    assert home.path.stat().st_mode & 0o077 == 0
    for key in sorted((home.path / "keys").iterdir()):
        assert key.stat().st_mode & 0o777 == 0o600
        assert is_encrypted(key)
    read_keys(home, b"secret")
    with pytest.raises(IdentityError, match="passphrase"):
        read_keys(home, b"wrong")
    with pytest.raises(UsageError, match="not empty"):
        found(home, config, b"secret", NOW)


def test_the_leads_certificate_is_renewed_for_the_same_key(tmp_path: Path) -> None:
    home = Home(tmp_path / "consortium")
    found(home, new_config("demo", "localhost:1", "localhost:1"), None, NOW)
    authority = CertificateAuthority(
        x509.load_pem_x509_certificate(home.ca_certificate.read_bytes()), read_tls_key(home.key("ca"), None)
    )
    first = home.admin_certificate.read_bytes()
    renew_admin_certificate(home, authority, "spiffe://demo/admin/lead", NOW + timedelta(days=1))
    assert home.admin_certificate.read_bytes() == first
    renew_admin_certificate(home, authority, "spiffe://demo/admin/lead", NOW + timedelta(days=15))
    before, after = (x509.load_pem_x509_certificate(pem) for pem in (first, home.admin_certificate.read_bytes()))
    assert after.not_valid_after_utc == before.not_valid_after_utc + timedelta(days=15)
    assert after.public_key() == before.public_key()
    assert names_of(after) == names_of(before)


def test_rosters_verify_under_the_root_and_no_other(tmp_path: Path) -> None:
    root_key, roster_key, other = (Ed25519PrivateKey.generate() for _ in range(3))
    member = Member(
        institution="c", role="coordinator", seat=None, statement_key="0" * 64, spiffe_id="spiffe://demo/coordinator/c"
    )
    roster = Roster(version="vdb-roster/1", consortium="demo", members=(member,)).canonical()
    root, targets = make_root(root_key, roster_key, NOW), sign_roster(roster_key, roster, 3, NOW)
    signed = SignedRoster((root,), targets, roster)
    assert signed.verify(sha256_digest(root), NOW).canonical() == roster
    for wrong in (
        SignedRoster((root,), sign_roster(other, roster, 3, NOW), roster),
        SignedRoster((make_root(other, roster_key, NOW),), targets, roster),
        SignedRoster((root,), targets, roster + b" "),
    ):
        with pytest.raises(IdentityError):
            wrong.verify(sha256_digest(root), NOW)
    assert not roster_needs_renewal((root,), targets, NOW)
    assert roster_needs_renewal((root,), targets, NOW + ROSTER_LIFETIME - timedelta(days=80))


def test_timestamps_are_utc_to_the_second() -> None:
    assert timestamp(NOW.replace(microsecond=999)) == "2026-01-31T12:00:00Z"
    assert parse_timestamp("2026-01-31T12:00:00Z") == NOW
