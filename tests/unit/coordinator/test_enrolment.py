"""Invitations and members, with a clock that the test turns."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import insert, select

from testkit.coordinator import CONSORTIUM, Applicant
from vdb_coordinator.config import Home
from vdb_coordinator.identity.ca import CertificateAuthority, spiffe_id
from vdb_coordinator.identity.enrolment import Consortium, EnrolmentRequest, Enrolments
from vdb_coordinator.identity.enrolment_stages import EnrolmentStage
from vdb_coordinator.identity.founding import found, new_config
from vdb_coordinator.identity.keys import new_tls_key, read_signing_key, read_tls_key
from vdb_coordinator.identity.revocation import Revocation, store_revocation
from vdb_coordinator.identity.rosters import RosterAuthority
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.serving.log import make_log
from vdb_coordinator.store import schema
from vdb_coordinator.store.database import Database
from vdb_shared import labels
from vdb_shared.errors import FormatError, IdentityError, SignatureError, StoreError
from vdb_shared.identity import StatementKey, statement_key_of
from vdb_shared.roster import Member
from vdb_shared.wire.enrolment import InvitationFile, grouped, possession_body

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LEAD = f"spiffe://{CONSORTIUM}/admin/lead"


@dataclass
class TurnedClock:
    """A clock that a test turns; implements Clock."""

    moment: datetime = NOW

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


@dataclass
class Office:
    """A consortium without a server."""

    enrolments: Enrolments
    clock: TurnedClock
    database: Database
    root: str
    authority: CertificateAuthority

    def invite(self, institution: str) -> Applicant:
        return Applicant.of(asyncio.run(self.enrolments.invite(institution, "localhost:7443", LEAD)))

    def enrol(self, applicant: Applicant, **changes: object) -> None:
        request = request_of(applicant)
        asyncio.run(self.enrolments.enrol(replace(request, **changes), caller(request.institution)))  # type: ignore[arg-type]  # any field, also a wrong one, is meant

    def approve(self, applicant: Applicant) -> tuple[int, int]:
        key = applicant.statement_key.public_key.key_id
        return asyncio.run(self.enrolments.approve(applicant.invitation.institution, grouped(key).upper(), LEAD))

    def stages(self) -> list[tuple[str, EnrolmentStage, int | None]]:
        return [(item.institution, item.stage, item.seat) for item in asyncio.run(self.enrolments.statuses())]

    def audit(self) -> list[tuple[str, str, str]]:
        rows = self.database.run_now(lambda connection: connection.execute(select(schema.attempts)).all())
        return [(row.who, row.action, row.outcome) for row in rows]


def caller(institution: str) -> str:
    return spiffe_id(CONSORTIUM, "enrolment", institution)


def request_of(applicant: Applicant) -> EnrolmentRequest:
    message = applicant.enrol_request()
    return EnrolmentRequest(
        message.institution, message.token, message.certificate_request, message.statement_key, message.possession
    )


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """Return a founded consortium."""
    home, clock = Home(tmp_path / "home"), TurnedClock()
    root = found(home, new_config(CONSORTIUM, "localhost:7443", "localhost:7443"), None, clock.now())
    database = Database(home.sqlite)
    authority = CertificateAuthority(
        x509.load_pem_x509_certificate(home.ca_certificate.read_bytes()), read_tls_key(home.key("ca"), None)
    )
    rosters = RosterAuthority(home.read_roots(), read_signing_key(home.key("roster"), None))
    log = make_log(as_json=True, stream=io.StringIO())
    enrolments = Enrolments(Consortium(CONSORTIUM, authority, rosters), database, clock, log)
    yield Office(enrolments, clock, database, root, authority)
    database.close()


def test_from_invitation_to_seat(office: Office) -> None:
    applicant = office.invite("hospital-a")
    assert office.stages() == [("hospital-a", EnrolmentStage.INVITED, None)]
    token = applicant.invitation.token_bytes
    office.enrol(applicant)
    assert office.stages() == [("hospital-a", EnrolmentStage.WAITING, None)]
    assert asyncio.run(office.enrolments.enrolment("hospital-a", token, caller("hospital-a"))) is None
    assert office.approve(applicant) == (0, 2)
    assert office.stages() == [("hospital-a", EnrolmentStage.APPROVED, 0)]
    found = asyncio.run(office.enrolments.enrolment("hospital-a", token, caller("hospital-a")))
    assert found is not None
    roster = found.roster.verify(office.root, office.clock.now())
    assert roster.member("hospital-a").public_key == applicant.statement_key.public_key
    assert office.enrolments.members == roster


def test_seats_are_given_in_order_of_approval_and_kept(office: Office) -> None:
    first, second = office.invite("z"), office.invite("a")
    office.enrol(second)
    office.enrol(first)
    assert office.approve(first)[0] == 0
    assert office.approve(second)[0] == 1
    again = office.invite("z")
    office.enrol(again)
    assert office.approve(again) == (0, 4)
    assert office.enrolments.members.member("z").public_key == again.statement_key.public_key


def test_the_same_request_again_changes_nothing(office: Office) -> None:
    applicant = office.invite("a")
    office.enrol(applicant)
    office.enrol(applicant)
    office.approve(applicant)
    office.enrol(applicant)
    assert office.stages() == [("a", EnrolmentStage.APPROVED, 0)]


def test_a_used_invitation_is_refused_to_another_key_and_that_is_recorded(office: Office) -> None:
    applicant = office.invite("a")
    office.enrol(applicant)
    thief = Applicant.of(applicant.invitation)
    with pytest.raises(RefusedError, match="used already; ask the lead for a new one"):
        office.enrol(thief)
    assert [entry for entry in office.audit() if entry[1] == "enrol"] == [
        (caller("a"), "enrol", "refused: invitation was used already; ask the lead for a new one")
    ]
    with pytest.raises(IdentityError, match="do not approve") as refusal:
        office.approve(thief)
    whole = grouped(applicant.statement_key.public_key.key_id)
    assert whole[:19] not in str(refusal.value), "whoever copies it from there has compared nothing"


def test_an_expired_invitation_is_refused_but_an_enrolment_made_in_time_stands(office: Office) -> None:
    late, punctual = office.invite("late"), office.invite("punctual")
    office.enrol(punctual)
    office.clock.moment += timedelta(hours=72, seconds=1)
    with pytest.raises(RefusedError, match="expired on 2026-02-03T12:00:00Z"):
        office.enrol(late)
    office.enrol(punctual)
    assert office.stages() == [("late", EnrolmentStage.EXPIRED, None), ("punctual", EnrolmentStage.WAITING, None)]


def test_a_new_invitation_voids_the_old_one(office: Office) -> None:
    old = office.invite("a")
    office.enrol(old)
    new = office.invite("a")
    with pytest.raises(RefusedError, match="replaced by a newer one"):
        office.enrol(old)
    with pytest.raises(IdentityError, match="does not wait"):
        office.approve(old)
    office.enrol(new)
    office.approve(new)


def test_tokens_are_not_stored_and_not_guessed(office: Office) -> None:
    applicant = office.invite("a")
    stored = office.database.run_now(lambda connection: connection.execute(select(schema.invitations)).all())
    assert applicant.invitation.token_bytes not in [value for row in stored for value in row]
    guess = Applicant.of(InvitationFile.model_validate(applicant.invitation.model_dump() | {"token": "00" * 32}))
    with pytest.raises(RefusedError, match="not known"):
        office.enrol(guess)


def test_an_invitation_serves_its_institution_only(office: Office) -> None:
    applicant = office.invite("a")
    other = InvitationFile.model_validate(applicant.invitation.model_dump() | {"institution": "b"})
    with pytest.raises(RefusedError, match="not known"):
        office.enrol(replace(applicant, invitation=other))


def test_possession_of_both_keys_must_be_proved(office: Office) -> None:
    applicant = office.invite("a")
    with pytest.raises(SignatureError):
        office.enrol(applicant, statement_key=StatementKey.generate().public_key.raw)
    with pytest.raises(SignatureError):
        office.enrol(applicant, certificate_request=Applicant.of(applicant.invitation).request)
    for request in (b"nonsense", applicant.request[:-1] + bytes([applicant.request[-1] ^ 1])):
        body = possession_body(applicant.invitation.token_bytes, "a", request)
        signed = applicant.statement_key.sign(labels.TYPE_POSSESSION, body)
        with pytest.raises(IdentityError, match="certificate request"):
            office.enrol(applicant, certificate_request=request, possession=signed)


def test_who_does_not_prove_to_hold_the_keys_is_recorded(office: Office) -> None:
    applicant = office.invite("a")
    with pytest.raises(SignatureError):
        office.enrol(applicant, possession=bytes(64))
    body = possession_body(applicant.invitation.token_bytes, "a", b"nonsense")
    signed = applicant.statement_key.sign(labels.TYPE_POSSESSION, body)
    with pytest.raises(IdentityError):
        office.enrol(applicant, certificate_request=b"nonsense", possession=signed)
    with pytest.raises((FormatError, IdentityError, SignatureError)):
        office.enrol(applicant, statement_key=b"short")
    recorded = [outcome for who, action, outcome in office.audit() if (who, action) == (caller("a"), "enrol")]
    assert len(recorded) == 3
    assert all(outcome.startswith("refused: ") for outcome in recorded)


def test_a_revoked_key_does_not_come_back_as_an_auditors(office: Office) -> None:
    member = member_of(office, "hospital-a")
    asyncio.run(office.enrolments.revoke(Revocation("hospital-a", "compromised", "", LEAD)))
    with pytest.raises(IdentityError, match="uses a key that was revoked; it must make a new one"):
        asyncio.run(office.enrolments.admit_auditor("court", member.public_key, LEAD))
    asyncio.run(office.enrolments.admit_auditor("court", StatementKey.generate().public_key, LEAD))


def test_an_auditor_takes_no_seat_under_the_name_of_who_waits(office: Office) -> None:
    """An institution asks, an auditor of that name is admitted meanwhile: approving would put it in the auditor's place."""
    applicant = office.invite("court")
    office.enrol(applicant)
    key = StatementKey.generate().public_key
    asyncio.run(office.enrolments.admit_auditor("court", key, LEAD))
    with pytest.raises(IdentityError, match="court is an auditor, which does not take part; choose another name"):
        office.approve(applicant)
    assert asyncio.run(office.enrolments.roster()).roster.member("court").public_key == key


def test_a_revocation_of_one_key_does_not_revoke_the_next(office: Office) -> None:
    """What was decided of a key is not done to the institution's new one, also where that came at the last moment."""
    old = member_of(office, "hospital-a")
    decided = Revocation("hospital-a", "compromised", "", LEAD, old.public_key.key_id)
    new = member_of(office, "hospital-a")
    with pytest.raises(IdentityError, match="has another key now"):
        asyncio.run(office.enrolments.revoke(decided))
    with pytest.raises(IdentityError, match="has another key now"):
        office.database.run_now(
            lambda connection: store_revocation(
                connection, office.enrolments._consortium.rosters, decided, office.clock.now()
            )
        )
    assert office.enrolments.is_member(new)
    asyncio.run(office.enrolments.revoke(replace(decided, fingerprint=new.public_key.key_id)))
    assert not office.enrolments.is_member(new)


def test_two_institutions_cannot_share_a_key(office: Office) -> None:
    first = office.invite("a")
    office.enrol(first)
    office.approve(first)
    copy = replace(office.invite("b"), statement_key=first.statement_key)
    office.enrol(copy)
    with pytest.raises(IdentityError, match="uses the key of a"):
        office.approve(copy)


def test_the_coordinators_name_cannot_be_invited(office: Office) -> None:
    with pytest.raises(IdentityError, match="coordinator's own name"):
        office.invite("coordinator")


def test_the_rosters_signature_is_renewed_before_it_expires(office: Office) -> None:
    assert asyncio.run(office.enrolments.roster()).version == 1
    office.clock.moment += timedelta(days=300)
    renewed = asyncio.run(office.enrolments.roster())
    assert renewed.version == 2
    office.clock.moment += timedelta(days=360)
    renewed.signed.verify(office.root, office.clock.moment - timedelta(days=1))
    assert asyncio.run(office.enrolments.roster()).version == 3


def test_what_leads_do_is_recorded(office: Office) -> None:
    applicant = office.invite("a")
    office.enrol(applicant)
    office.approve(applicant)
    assert office.audit() == [(LEAD, "invite", "a"), (LEAD, "approve", "a in seat 0")]


def member_of(office: Office, institution: str) -> Member:
    applicant = office.invite(institution)
    office.enrol(applicant)
    office.approve(applicant)
    return office.enrolments.members.member(institution)


def test_certificates_of_earlier_programs_count_if_they_are_known_and_their_key_is_the_present_one(
    office: Office,
) -> None:
    """They name no statement key: what is not in the database may have been issued under any."""
    member, authority = member_of(office, "hospital-a"), office.authority
    known, unknown = (authority.issue_client(new_tls_key().public_key(), member.spiffe_id, NOW) for _ in range(2))
    row = {"request": bytes(32), "institution": "hospital-a", "statement_key": member.public_key.raw}
    renewal = row | {"issued": "2026-01-31T12:00:00Z", "certificate": known}
    office.database.run_now(lambda connection: connection.execute(insert(schema.renewals), renewal))
    asyncio.run(office.enrolments.roster())
    may_call = office.enrolments.may_call
    assert [may_call(member.spiffe_id, pem) for pem in (known, unknown)] == [True, False]
    member_of(office, "hospital-a")
    assert not may_call(member.spiffe_id, known)


def test_certificates_name_the_key_under_which_they_were_issued(office: Office) -> None:
    """Whether the database knows them or not, and whatever the clock said; roles that have no statement key name none."""
    member = member_of(office, "hospital-a")
    for off in (timedelta(0), timedelta(days=-400), timedelta(days=400)):
        lost = office.authority.issue_participant(new_tls_key().public_key(), member, NOW + off)
        assert statement_key_of(lost) == member.public_key.raw
        assert office.enrolments.may_call(member.spiffe_id, lost)
    back = member_of(office, "hospital-a")
    assert not office.enrolments.may_call(member.spiffe_id, lost)
    found = office.authority.issue_participant(new_tls_key().public_key(), back, NOW)
    assert office.enrolments.may_call(member.spiffe_id, found)
    for name in (LEAD, caller("hospital-a")):
        plain = office.authority.issue_client(new_tls_key().public_key(), name, NOW)
        assert statement_key_of(plain) is None
        assert office.enrolments.may_call(name, plain)
    asyncio.run(office.enrolments.revoke(Revocation("hospital-a", "left", "", LEAD)))
    assert not office.enrolments.may_call(member.spiffe_id, found)


def test_who_is_being_revoked_is_refused_before_that_is_stored(office: Office) -> None:
    """Nothing may be sealed in between whose witnesses have seen the revocation in the log."""
    member, gate = member_of(office, "hospital-a"), threading.Event()

    async def revoking() -> None:
        busy = asyncio.ensure_future(office.database.run(lambda _: gate.wait()))
        revoked = asyncio.ensure_future(office.enrolments.revoke(Revocation("hospital-a", "left", "", LEAD)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not revoked.done()
        assert not office.enrolments.is_member(member)
        assert not office.enrolments.may_call(member.spiffe_id, b"")
        gate.set()
        await asyncio.gather(busy, revoked)

    assert office.enrolments.is_member(member)
    asyncio.run(revoking())
    assert not office.enrolments.is_member(member)


def test_a_revocation_is_stored_as_a_whole_or_not_at_all(office: Office) -> None:
    """Without room for the log's entry there is no new roster, and the institution is a member as before."""
    member = member_of(office, "hospital-a")
    before = asyncio.run(office.enrolments.roster()).version
    office.database.run_now(lambda connection: connection.exec_driver_sql("ALTER TABLE log_entries RENAME TO aside"))
    with pytest.raises(StoreError):
        asyncio.run(office.enrolments.revoke(Revocation("hospital-a", "left", "", LEAD)))
    assert asyncio.run(office.enrolments.roster()).version == before
    assert office.enrolments.is_member(member)
    assert not [entry for entry in office.audit() if entry[1] == "revoke"]
    office.database.run_now(lambda connection: connection.exec_driver_sql("ALTER TABLE aside RENAME TO log_entries"))
    _, version = asyncio.run(office.enrolments.revoke(Revocation("hospital-a", "left", "on its own wish", LEAD)))
    assert version == before + 1
    assert office.audit()[-1] == (LEAD, "revoke", "hospital-a, left: on its own wish")
