"""Many institutions at once: keys and certificates as enrolment gives them, in one new version of the roster.

For what is to be measured after enrolment; `RunningCoordinator.enrol` goes the whole way, one institution at a time.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509

from testkit.coordinator import CONSORTIUM, Identity, RunningCoordinator
from vdb_coordinator.identity.ca import CertificateAuthority, spiffe_id
from vdb_coordinator.identity.keys import key_pem, new_tls_key, read_tls_key
from vdb_coordinator.identity.roster_key import read_roster_key
from vdb_coordinator.identity.rosters import RosterAuthority, StoredRoster
from vdb_coordinator.store.database import Database
from vdb_shared.identity import StatementKey
from vdb_shared.roster import Member, Roster


def crowd(coordinator: RunningCoordinator, institutions: int) -> list[Identity]:
    """Enrol so many institutions with a coordinator that does not run: site-0, site-1, …"""
    home, now = coordinator.home, datetime.now(UTC)
    certificate = x509.load_pem_x509_certificate(home.ca_certificate.read_bytes())
    authority = CertificateAuthority(certificate, read_tls_key(home.key("ca"), None))
    keys = [StatementKey.generate() for _ in range(institutions)]
    members = [
        Member(
            institution=f"site-{seat}",
            role="participant",
            seat=seat,
            statement_key=key.public_key.raw.hex(),
            spiffe_id=_name(seat),
        )
        for seat, key in enumerate(keys)
    ]
    stored = _store(coordinator, members, now)
    for seat, (member, key) in enumerate(zip(members, keys, strict=True)):
        tls_key = new_tls_key()
        identity = Identity(
            institution=f"site-{seat}",
            seat=seat,
            statement_key=key,
            tls_key=key_pem(tls_key, None),
            certificate_chain=authority.issue_participant(tls_key.public_key(), member, now) + authority.pem,
            ca_certificate=authority.pem,
            root_fingerprint=coordinator.root_fingerprint,
            roster=stored.signed,
        )
        coordinator.identities.append(identity)
    return coordinator.identities


def _store(coordinator: RunningCoordinator, members: list[Member], now: datetime) -> StoredRoster:
    home = coordinator.home
    rosters = RosterAuthority(home.read_roots(), read_roster_key(home, None))
    database = Database(home.database(home.read_config()))
    try:
        newest = database.run_now(rosters.newest)
        known = sorted([*newest.roster.members, *members], key=lambda member: member.institution)
        roster = Roster(version=newest.roster.version, consortium=CONSORTIUM, members=tuple(known))
        return database.run_now(lambda connection: rosters.store(connection, roster, newest.version + 1, now))
    finally:
        database.close()


def _name(seat: int) -> str:
    return spiffe_id(CONSORTIUM, "participant", f"site-{seat}")
