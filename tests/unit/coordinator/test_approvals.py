"""Several people must sign: no one person, no stolen, old, copied or second signature orders anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from vdb_coordinator.approvals import (
    Action,
    ApprovalPolicy,
    parse_proposal,
    proposal_digest,
    sign_proposal,
)
from vdb_coordinator.backups.losses import Circumstances, later, take_losses
from vdb_coordinator.config import Home
from vdb_coordinator.identity.founding import found, new_config
from vdb_coordinator.identity.keys import read_signing_key
from vdb_coordinator.identity.rosters import RosterAuthority
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.approvals import MAX_OPEN, Approvals, Waiting
from vdb_coordinator.service.wishes import parameters_of, request_for, wish_in, wish_of
from vdb_coordinator.serving.history import SessionHistory
from vdb_coordinator.store import attempts
from vdb_coordinator.store.blobs import BlobStore
from vdb_coordinator.store.database import Database
from vdb_shared import labels
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import FormatError, SignatureError
from vdb_shared.identity import StatementKey
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons

LEAD = "spiffe://testbed/admin/lead"
KEYS = {name: StatementKey.generate() for name in ("anna", "ben", "carla")}
POLICY = ApprovalPolicy(
    actions={"revoke_institution": 2, "abort_session": 3},
    keys={name: key.public_key.raw.hex() for name, key in KEYS.items()},
)
PARAMETERS = {"institution": "site-1", "reason": "REVOCATION_REASON_LEFT", "note": ""}


@dataclass
class TurnedClock:
    """A clock that a test turns; implements Clock."""

    moment: datetime = datetime(2026, 2, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


@dataclass
class Office:
    """A consortium whose leads need signatures."""

    database: Database
    clock: TurnedClock = field(default_factory=TurnedClock)
    policy: ApprovalPolicy = POLICY

    @property
    def approvals(self) -> Approvals:
        return Approvals(self.policy, "testbed", self.database, self.clock)

    def propose(self, action: Action = "revoke_institution") -> bytes:
        return asyncio.run(self.approvals.propose(action, PARAMETERS, LEAD))

    def approve(self, body: bytes, name: str, signature: bytes | None = None) -> Waiting:
        signed = sign_proposal(body, KEYS[name]) if signature is None else signature
        return asyncio.run(self.approvals.approve(proposal_digest(body), name, signed, LEAD))

    def take(self, body: bytes) -> None:
        asyncio.run(self.approvals.take(proposal_digest(body), LEAD))

    def audit(self) -> list[tuple[str, str]]:
        return [(entry.action, entry.outcome) for entry in self.database.run_now(attempts.load)]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    database = Database(tmp_path / "db.sqlite")
    asyncio.run(database.open())
    yield Office(database)
    database.close()


def refusal(error: pytest.ExceptionInfo[RefusedError]) -> str:
    return error.value.reason


def test_two_sign_and_then_it_is_done_once(office: Office) -> None:
    body = office.propose()
    with pytest.raises(RefusedError, match="2 people must sign this, 0 have") as caught:
        office.take(body)
    assert refusal(caught) == reasons.NEEDS_APPROVAL
    assert office.approve(body, "anna").approved_by == ("anna",)
    with pytest.raises(RefusedError, match="2 people must sign this, 1 have"):
        office.take(body)
    enough = office.approve(body, "carla")
    assert (enough.approved_by, enough.needed) == (("anna", "carla"), 2)
    office.take(body)
    with pytest.raises(RefusedError, match="a proposal is done once") as caught:
        office.take(body)
    assert refusal(caught) == reasons.TOO_LATE
    with pytest.raises(RefusedError, match="was done"):
        office.approve(body, "ben")
    digest = f"sha256:{proposal_digest(body).hex()}"
    what = "revoke_institution: institution site-1, reason REVOCATION_REASON_LEFT"
    name = f"{digest}: {what}"
    anna, carla = (f"{signer} ({KEYS[signer].public_key.key_id})" for signer in ("anna", "carla"))
    assert [entry for entry in office.audit() if not entry[1].startswith("refused")] == [
        ("propose", name),
        ("approve proposal", f"anna: {name}"),
        ("approve proposal", f"carla: {name}"),
        ("execute proposal", f"{digest}: approved by {anna}, {carla}, {what}"),
    ]
    assert len(office.audit()) == 8


def test_who_signed_is_told_whole_however_many_they_are(office: Office) -> None:
    """Twenty names of 64 letters do not fit into one entry, and neither the digest nor one of them is cut off."""
    crowd = {f"{'approver-' * 7}a{number:02}"[-64:]: StatementKey.generate() for number in range(20)}
    office.policy = ApprovalPolicy(
        actions={"revoke_institution": 20}, keys={name: key.public_key.raw.hex() for name, key in crowd.items()}
    )
    body = office.propose()
    for name, key in crowd.items():
        office.approve(body, name, sign_proposal(body, key))
    office.take(body)
    said = [outcome for action, outcome in office.audit() if action == "execute proposal"]
    assert all(line.startswith(f"sha256:{proposal_digest(body).hex()}: approved by ") for line in said)
    for name, key in crowd.items():
        assert sum(f"{name} ({key.public_key.key_id})" in line for line in said) == 1
    assert said[-1].endswith("revoke_institution: institution site-1, reason REVOCATION_REASON_LEFT")


@pytest.mark.parametrize(
    "changed",
    [
        POLICY.model_copy(update={"keys": POLICY.keys | {"anna": StatementKey.generate().public_key.raw.hex()}}),
        POLICY.model_copy(update={"keys": {f"{name}-2": key for name, key in POLICY.keys.items()}}),
        POLICY.model_copy(update={"hours": 720}),
        POLICY.model_copy(update={"actions": {**POLICY.actions, "revoke_institution": 3}}),
    ],
    ids=["key", "names", "hours", "actions"],
)
def test_no_part_of_the_policy_is_exchanged_without_a_trace(changed: ApprovalPolicy) -> None:
    """The attack: whoever writes the configuration puts keys of its own under the names of others, and serves again."""
    before, after = POLICY.words(), changed.words()
    assert f"anna ({KEYS['anna'].public_key.key_id})" in before
    assert (POLICY.digest == changed.digest, set(before) == set(after)) == (False, False)


def test_one_person_twice_is_one_person(office: Office) -> None:
    body = office.propose()
    office.approve(body, "anna")
    with pytest.raises(RefusedError, match="anna has signed this; others must sign too") as caught:
        office.approve(body, "anna")
    assert refusal(caught) == reasons.CONFLICT
    with pytest.raises(SignatureError):
        office.approve(body, "ben", sign_proposal(body, KEYS["anna"]))
    with pytest.raises(RefusedError, match="1 have"):
        office.take(body)


def test_a_signature_is_of_exactly_one_proposal(office: Office) -> None:
    """Not of another one that says the same, of a changed one, or of something else with the same bytes."""
    body, same = office.propose(), office.propose()
    changed = canonical_json(parse_proposal(body).model_dump(mode="json") | {"parameters": PARAMETERS | {"note": "x"}})
    for signed in (same, changed):
        with pytest.raises(SignatureError):
            office.approve(body, "anna", sign_proposal(signed, KEYS["anna"]))
    with pytest.raises(SignatureError):
        office.approve(body, "anna", KEYS["anna"].sign(labels.TYPE_STATEMENT, body))
    with pytest.raises(RefusedError, match="no such proposal"):
        office.approve(changed, "anna")
    assert office.approve(body, "anna").approved_by == ("anna",)


def test_strangers_and_wrong_keys_sign_nothing(office: Office) -> None:
    body, stranger = office.propose(), StatementKey.generate()
    with pytest.raises(SignatureError, match="'mallory' is nobody whose signature counts"):
        office.approve(body, "mallory", sign_proposal(body, stranger))
    with pytest.raises(SignatureError):
        office.approve(body, "anna", sign_proposal(body, stranger))
    with pytest.raises(SignatureError):
        office.approve(body, "anna", b"")
    assert [outcome.startswith("refused: ") for action, outcome in office.audit() if action == "approve proposal"] == [
        True,
        True,
        True,
    ]


def test_a_proposal_expires(office: Office) -> None:
    body, ready = office.propose(), office.propose()
    for name in ("anna", "ben"):
        office.approve(ready, name)
    office.clock.moment += timedelta(hours=72)
    for act in (lambda: office.approve(body, "anna"), lambda: office.take(ready)):
        with pytest.raises(RefusedError, match="expired on 2026-02-04T12:00:00Z; propose it again") as caught:
            act()
        assert refusal(caught) == reasons.TOO_LATE
    assert asyncio.run(office.approvals.waiting()) == []


def test_who_was_taken_out_of_the_policy_counts_no_more(office: Office) -> None:
    """Signed before, and the key was replaced before it was done."""
    body = office.propose()
    office.approve(body, "anna")
    office.approve(body, "ben")
    replaced = POLICY.keys | {"ben": StatementKey.generate().public_key.raw.hex()}
    office.policy = POLICY.model_copy(update={"keys": replaced})
    with pytest.raises(RefusedError, match="1 have"):
        office.take(body)
    office.policy = POLICY.model_copy(update={"actions": {"revoke_institution": 3}})
    with pytest.raises(RefusedError, match="3 people must sign this, 2 have"):
        office.take(body)


def test_what_the_policy_names_is_ordered_in_no_other_way(office: Office) -> None:
    with pytest.raises(RefusedError, match="2 of 3 people must sign this") as caught:
        office.approvals.check_alone("revoke_institution")
    assert refusal(caught) == reasons.NEEDS_APPROVAL
    office.approvals.check_alone("withdraw_result")
    with pytest.raises(RefusedError, match="nobody must sign this"):
        office.propose("withdraw_result")
    with pytest.raises(RefusedError, match="nobody can order this alone: say in coordinator"):
        office.propose("close_early")
    Office(office.database, policy=ApprovalPolicy()).approvals.check_alone("revoke_institution")


def test_proposals_of_one_lead_do_not_pile_up_and_keep_no_other_from_proposing(office: Office) -> None:
    for _ in range(MAX_OPEN):
        office.propose()
    with pytest.raises(RefusedError, match="let some of them expire") as caught:
        office.propose()
    assert refusal(caught) == reasons.TOO_MUCH
    other = asyncio.run(office.approvals.propose("revoke_institution", PARAMETERS, "spiffe://testbed/admin/other"))
    office.approve(other, "anna")
    office.approve(other, "ben")
    office.take(other)
    office.clock.moment += timedelta(hours=72)
    office.propose()


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"actions": {"revoke_institution": 1}}, "greater than or equal to 2"),
        ({"actions": {"revoke_institution": 4}}, "needs 4 signatures, but there are 3 keys"),
        ({"actions": {"sing": 2}}, "Input should be"),
        ({"keys": POLICY.keys | {"dora": POLICY.keys["anna"]}}, "a key stands there twice"),
        ({"keys": {"anna": "00"}}, "should match pattern"),
        ({"hours": 0}, "greater than or equal to 1"),
        ({"quorum": 2}, "Extra inputs"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(policy: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ApprovalPolicy.model_validate({"keys": POLICY.keys} | policy)


@pytest.mark.parametrize(
    "change",
    [{"action": "sing"}, {"extra": "x"}, {"nonce": "x"}, {"parameters": {"note": 1}}, {"version": "vdb-proposal/2"}],
)
def test_what_is_no_proposal(office: Office, change: dict[str, object]) -> None:
    body = office.propose()
    with pytest.raises(FormatError):
        parse_proposal(canonical_json(parse_proposal(body).model_dump(mode="json") | change))
    with pytest.raises(FormatError):
        parse_proposal(body + b"\n")


def test_what_is_done_is_what_was_signed() -> None:
    """Requests become parameters and requests again, field by field; other parameters are refused."""
    requests = [
        pb.ProposeActionRequest(
            revoke_institution=pb.RevokeInstitutionRequest(
                institution="a", reason=pb.REVOCATION_REASON_COMPROMISED, note="ö\n"
            )
        ),
        pb.ProposeActionRequest(abort_session=pb.AbortSessionRequest(session="sha256:1", reason="why")),
        pb.ProposeActionRequest(withdraw_result=pb.WithdrawResultRequest(session="s", superseded_by="t")),
        pb.ProposeActionRequest(approve_enrolment=pb.ApproveEnrolmentRequest(institution="a", fingerprint="f")),
        pb.ProposeActionRequest(admit_auditor=pb.AdmitAuditorRequest(name="a", statement_key=bytes(range(32)))),
        pb.ProposeActionRequest(close_early=pb.CloseEarlyRequest(session="s", phase="accepting", institutions="a, b")),
    ]
    for request in requests:
        action, wish = wish_in(request)
        parameters = parameters_of(wish)
        assert set(parameters) == {field.name for field in wish.DESCRIPTOR.fields}
        assert request_for(action, parameters) == request
        proposal = parse_proposal(_body(action, parameters))
        assert wish_of(proposal) == wish
        first, *_ = parameters
        older = proposal.model_copy(update={"parameters": {k: v for k, v in parameters.items() if k != first}})
        with pytest.raises(FormatError, match=f"says no {first}: an older release made it; propose it again"):
            wish_of(older)
        for other in ({"unknown": "x"}, {"institution": "a"}, {}):
            if other != parameters:
                with pytest.raises(FormatError):
                    wish_of(proposal.model_copy(update={"parameters": other}))


def _body(action: Action, parameters: dict[str, str]) -> bytes:
    fields = {
        "version": "vdb-proposal/1",
        "consortium": "testbed",
        "action": action,
        "parameters": parameters,
        "proposer": LEAD,
        "proposed": "2026-02-01T12:00:00Z",
        "expires": "2026-02-04T12:00:00Z",
        "nonce": "0" * 32,
    }
    return canonical_json(fields)


def test_a_policy_is_told_in_the_audit_log() -> None:
    assert POLICY.words()[0] == "approvals: abort_session 3 of 3, revoke_institution 2 of 3"
    assert ApprovalPolicy().words()[0] == "approvals: none"


@pytest.mark.parametrize("complete", [False, True])
def test_a_restoration_voids_what_may_have_been_done_since(tmp_path: Path, complete: bool) -> None:
    """The backup has a proposal with enough signatures that was done after it was made: nobody can do it again."""
    home, clock = Home(tmp_path / "home"), TurnedClock()
    found(home, new_config("testbed", "localhost:7443", "localhost:7443"), None, clock.now())
    database = Database(home.sqlite)
    office = Office(database, clock)
    body, done = office.propose(), office.propose()
    for proposal in (body, done):
        office.approve(proposal, "anna")
        office.approve(proposal, "ben")
    office.take(done)
    rosters = RosterAuthority(home.read_roots(), read_signing_key(home.key("roster"), None))
    signer = StatementKey.from_pem(home.key("statement").read_bytes(), None)
    circumstances = Circumstances(clock.now(), "2026-02-01T11:00:00Z", complete, b"", rosters, signer)
    history = SessionHistory(database, BlobStore(home.blobs))
    database.run_now(lambda connection: take_losses(connection, history, later(()), circumstances))
    if complete:
        office.take(body)
    else:
        with pytest.raises(RefusedError, match="no such proposal"):
            office.take(body)
    with pytest.raises(RefusedError, match="a proposal is done once"):
        office.take(done)
    database.close()
