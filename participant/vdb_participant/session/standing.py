"""How far a site is in a session, as its journal says, and what follows if it leaves now.

Promises one step for every state that a journal can be in, and that what is said of the masked input and of the budget is what
`agent.py` will do. Pure. Leaves leaving to `agent.py`, and telling to `commands/standing.py`.

Source: protos/README.md §11.3, §12.2, §12.3.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from vdb_participant.session import records
from vdb_participant.session.exchange import ADVERTISE_SENT, AGREE_SENT, LEAVING, REVEAL_SENT, SHARE_SENT
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import Abort, parse_statement
from vdb_shared.secagg.parameters import smallest_cohort
from vdb_shared.spec import Spec

_ROUNDS: Final = frozenset({ADVERTISE_SENT, SHARE_SENT, AGREE_SENT, REVEAL_SENT})
"""Records that every attempt at the rounds has of its own."""


class Step(enum.Enum):
    """How far a site is; the value says it in words."""

    CONSENTED = "consented to the plan; has not joined yet"
    JOINED = "joined; waits for the others"
    MEASURING = "generates and measures"
    MEASURED = "has measured; its part of the rounds begins"
    ADVERTISED = "sent its keys for the rounds"
    SHARED = "sent its sealed shares"
    CONTRIBUTED = "sent its masked input, or may have"
    AGREED = "signed whose inputs are in the sum"
    REVEALED = "sent what unmasks the sum"
    COUNTERSIGNED = "countersigned the result; waits for its publication"
    LEFT = "left; the coordinator may still have to be told"
    ENDED = "ended"


_UNTOUCHED: Final = "No input of ours has left, and the session costs no privacy budget"
_DROPOUT: Final = (
    "The others are told that we drop out, and go on if enough are left; with too few the session ends without a result"
)
_SPENT: Final = (
    "The masked input may be at the coordinator already: if it is, it stays in the sum, and what it cost stays spent"
)

CONSEQUENCES: Final[Mapping[Step, str]] = {
    Step.CONSENTED: f"{_UNTOUCHED}. Nobody was promised anything, so nothing is sent.",
    Step.JOINED: (
        f"{_UNTOUCHED}. Before the seal our join is void, as if it had never been; with fewer than the minimum the session "
        "ends without a result."
    ),
    Step.MEASURING: f"{_UNTOUCHED}. {_DROPOUT}. Clips that were made stay here.",
    Step.MEASURED: f"{_UNTOUCHED}; what was measured is erased. {_DROPOUT}. Clips that were made stay here.",
    Step.ADVERTISED: f"{_UNTOUCHED}; what was measured is erased. {_DROPOUT}.",
    Step.SHARED: f"{_UNTOUCHED}, a debit is taken back; what was measured is erased. {_DROPOUT}.",
    Step.CONTRIBUTED: (
        f"{_SPENT}. {_DROPOUT}. With our input in the sum we are named in the result, without having countersigned it."
    ),
    Step.AGREED: (
        f"{_SPENT}. We sign for no second set of inputs, and reveal nothing: the others unmask the sum if enough are left."
    ),
    Step.REVEALED: (
        f"{_SPENT}. Our part of the unmasking is done and cannot be taken back. The result is not countersigned by us, and "
        "with too few countersignatures it is not published."
    ),
    Step.COUNTERSIGNED: (
        f"{_SPENT}. Our countersignature is not taken back: the result will be published with our name. It is then neither "
        "checked nor kept here; to speak against it, use `vdb-participant object`."
    ),
    Step.LEFT: "We have left already, and say so again.",
    Step.ENDED: "The session has ended for us; there is nothing to leave.",
}
"""What follows from leaving at each step."""

_IN_THE_ROUNDS: Final = frozenset(
    {Step.MEASURING, Step.MEASURED, Step.ADVERTISED, Step.SHARED, Step.CONTRIBUTED, Step.AGREED}
)
"""Steps after the seal at which the others still need us."""

_FURTHEST: Final = (
    (records.OUTCOME, Step.ENDED),
    (records.ABORT_SENT, Step.LEFT),
    (records.COUNTERSIGN_SENT, Step.COUNTERSIGNED),
    (REVEAL_SENT, Step.REVEALED),
    (AGREE_SENT, Step.AGREED),
    (LEAVING, Step.CONTRIBUTED),
    (SHARE_SENT, Step.SHARED),
    (ADVERTISE_SENT, Step.ADVERTISED),
    (records.MEASURED, Step.MEASURED),
    (records.SEAL_RECEIVED, Step.MEASURING),
    (records.JOIN_SENT, Step.JOINED),
)
"""Records and the step that each shows, the last step first."""


def step_of(names: Collection[str]) -> Step:
    """Return how far a site is.

    After a restart of the rounds its messages of the earlier attempt count no more; but an input that left is not called back.

    Args:
        names: of the records in a session's journal.
    """
    attempt = sum(name.startswith(records.RESTART) for name in names)

    def there(record: str) -> bool:
        if record == LEAVING:
            return any(name.endswith(LEAVING) for name in names)
        return (records.in_attempt(attempt, record) if record in _ROUNDS else record) in names

    return next((step for record, step in _FURTHEST if there(record)), Step.CONSENTED)


@dataclass(frozen=True, slots=True)
class Left:
    """That a site has left a session for good.

    Attributes:
        why: in its own words.
        told: whether it had joined, so that the coordinator was owed a word; nothing of such a session is fetched here.
    """

    why: str
    told: bool


def left_of(found: Mapping[str, bytes]) -> Left | None:
    """Return why a site has left a session, or None if it has not.

    Args:
        found: the records of the session's journal, by name.
    """
    told = records.ABORT_SENT in found
    outcome = found.get(records.OUTCOME, b"").decode(errors="replace")
    if told and not outcome:
        abort, _ = parse_statement(Envelope.from_json(found[records.ABORT_SENT]).payload, Abort)
        return Left(abort.reason, told)
    if told or outcome.startswith(records.WE_LEFT):
        return Left(outcome.removeprefix(records.WE_LEFT).removesuffix(records.NEVER_AGAIN), told)
    return None


def without_us(step: Step, spec: Spec, members: int, joined: int) -> str:
    """Return whether enough institutions are left when we leave, as far as this site knows; "" where that is no question.

    Args:
        step: how far we are.
        spec: of the session.
        members: institutions in its roster, ours included.
        joined: institutions in its seal, ours included; 0 before it is there.
    """
    if step is Step.JOINED:
        few, able, needed = members - 1 < spec.cohort.minimum, f"{members - 1} others can join", spec.cohort.minimum
    elif step in _IN_THE_ROUNDS:
        needed = smallest_cohort(joined, spec.cohort.collusion, spec.cohort.dropout)
        few, able = joined - 1 < needed, f"{joined - 1} others joined"
    else:
        return ""
    end = "without us the session ends without a result" if few else "it goes on without us, if they stay"
    return f"{able} and {needed} are needed: {end}."
