"""A plan as four institutions would be shown it: of a small spec, with a budget of which a part is spent."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from testkit.specs import small_spec
from vdb_participant.session.claim import Opinion
from vdb_participant.session.consent import Budget, Holdings, Plan, make_plan
from vdb_participant.session.terms import Opening
from vdb_participant.site.policy import DEFAULT_POLICY, parse_policy
from vdb_shared.privacy.accountant import account
from vdb_shared.roster import Member, Roster
from vdb_shared.seal import seal_terms
from vdb_shared.spec import Spec

NAMES = ("archive-oslo", "clinic-lyon", "lab-kyoto", "museum-lima")
HOLDINGS = Holdings(Path("/data"), "sha256:" + "d" * 64, records=15, prompts=3, clips=12, unusable=1)
DELTA = Decimal("0.000001")
OPINIONS = (
    Opinion("this session", DELTA, Decimal("7.998716"), 7.9987151),
    Opinion("this session, by a closer estimate", DELTA, Decimal("7.5056"), 7.5066033),
    Opinion("what this site books", Decimal("0.00001"), Decimal("7.1"), 7.1),
)
POLICY = parse_policy(DEFAULT_POLICY)
BUDGET = Budget(Decimal("0.0344"), Decimal("0.1"), POLICY, 2, OPINIONS)


def opening(spec: Spec) -> Opening:
    """Return a session of four institutions, verified."""
    members = [
        Member(
            institution=name,
            role="participant",
            seat=seat,
            statement_key=f"{seat + 1:064x}",
            spiffe_id=f"spiffe://t/participant/{name}",
        )
        for seat, name in enumerate(NAMES)
    ]
    head = Member(
        institution="vdb", role="coordinator", seat=None, statement_key="0" * 64, spiffe_id="spiffe://t/coordinator/vdb"
    )
    roster = Roster(version="vdb-roster/1", consortium="t", members=(*members, head))
    return Opening("sha256:" + "5" * 64, spec, roster, members[1], b"entry", "2026-11-22T22:50:00Z")


def plan(spec: Spec | None = None, budget: Budget = BUDGET, number: bytes = bytes(16)) -> Plan:
    """Return its plan."""
    found = opening(spec or small_spec())
    terms = seal_terms(found.spec, range(4))
    return make_plan(found, terms.layout, account(terms.calibration), budget, HOLDINGS, number)


def flat(text: str) -> str:
    """Return a text without the ends of its lines and what indents them."""
    return " ".join(text.split())
