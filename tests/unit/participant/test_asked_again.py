"""A coordinator that asks again gets the same bytes or nothing: one T3 is signed, and shares are revealed for it alone.

All other institutions collude here: they sign whatever the coordinator shows us. Only our own journal stands in the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from testkit.consortium import Participants, expect, inputs_for, parameters, signer
from testkit.crashes import Crash, Disk, Loss, MemoryLink
from testkit.lives import SEAT, DyingAt, World
from vdb_coordinator.phases import CollectingConsistency
from vdb_participant.session.correspondence import ACKNOWLEDGED
from vdb_participant.session.exchange import AGREE_RECEIVED, AGREE_SENT, MASK_SENT, REVEAL_RECEIVED
from vdb_shared import labels
from vdb_shared.secagg.messages import ConsistencyStatement, MaskedInputHeader, Signed, UnmaskingShares
from vdb_shared.secagg.parameters import Seat
from vdb_shared.wire.status import Phase, SessionStatus

SEVEN = parameters(7, lanes=6)
"""q = n_min = 5: two views of U3 may each lack a seat, and the six signers of one hold several quorums."""

Headers = Mapping[Seat, Signed]


def lacking_another(headers: Headers, asked: int) -> Headers:
    """Return the headers without the one or the other seat."""
    absent = sorted(headers.keys() - {SEAT})[asked % 6]
    return {seat: signed for seat, signed in headers.items() if seat != absent}


def with_another_header(headers: Headers, asked: int) -> Headers:
    """Return the headers of everybody, of which one colluder signs a new one each time."""
    body = replace(MaskedInputHeader.decode(headers[2].body), contribution=bytes([asked]) * 32).encode()
    return {**headers, 2: Signed(body, signer(0, 2).sign(labels.TYPE_MASKED_INPUT, body))}


VIEWS = {"another U3": lacking_another, "another header": with_another_header}


@dataclass
class Insatiable(MemoryLink):
    """Shows another set of round-2 headers whenever it is asked, and asks for unmasking with another quorum every time.

    Attributes:
        view: of all headers, the ones to show the so-manieth time.
        shown: how often headers and signatures were shown.
        submitted: how often each message of rounds 3 and 4 came.
        acknowledges: whether it says so; else the life that submits ends.
    """

    view: Callable[[Headers, int], Headers] = lacking_another
    shown: Counter[str] = field(default_factory=Counter)
    submitted: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    acknowledges: bool = True

    def masked_inputs(self, session: str, attempt: int) -> Headers:
        self.shown["headers"] += 1
        headers = expect(CollectingConsistency, self.phase).transcript.masked.messages
        return self.view(headers, self.shown["headers"])

    def sign_consistency(self, session: str, seat: Seat, attempt: int, statement: Signed) -> None:
        self._keep("consistency", statement)

    def consistency(self, session: str, attempt: int) -> Headers:
        """Return one of the quorums for the T3 that we signed last."""
        self.shown["signatures"] += 1
        *_, (_, body) = (key for key in self.submitted if key[0] == "consistency")
        others = sorted(ConsistencyStatement.decode(body).masked - {SEAT})
        turn = self.shown["signatures"] % len(others)
        signers = [SEAT, *(others[turn:] + others[:turn])[: SEVEN.quorum - 1]]
        return {seat: Signed(body, signer(0, seat).sign(labels.TYPE_CONSISTENCY, body)) for seat in signers}

    def reveal_shares(self, session: str, seat: Seat, attempt: int, shares: Signed) -> None:
        self._keep("unmasking", shares)

    def _keep(self, kind: str, signed: Signed) -> None:
        self.sent.setdefault(kind, set()).add(signed.body + signed.signature)
        self.submitted[kind, signed.body] += 1
        if not self.acknowledges:
            raise Crash

    def _status(self) -> SessionStatus:
        found = super()._status()
        return replace(found, phase=Phase.UNMASKING) if "consistency" in self.sent else found


def world(view: str, disk: Disk | None = None) -> World:
    link = Insatiable(Participants(SEVEN, inputs_for(SEVEN)), SEAT, view=VIEWS[view])
    return World(disk or Disk(), link, sealed=SEVEN)


def insatiable(played: World) -> Insatiable:
    return expect(Insatiable, played.link)


def assert_one_answer(played: World) -> None:
    """Check that one T3 was signed, that shares were revealed for it and no other, and that it is the one recorded."""
    assert played.versions == {"keys": 1, "shares": 1, "input": 1, "consistency": 1, "unmasking": 1}
    bodies = dict(insatiable(played).submitted)
    (signed,) = (ConsistencyStatement.decode(body) for kind, body in bodies if kind == "consistency")
    (revealed,) = (UnmaskingShares.decode(body) for kind, body in bodies if kind == "unmasking")
    assert revealed.t3 == signed.t3
    assert revealed.self_mask.keys() == signed.masked
    assert revealed.mask_key.keys() == signed.shared - signed.masked


def writes_of(view: str) -> tuple[int, int]:
    """Return the numbers of the first write of round 3 and of the one after the last."""
    played = world(view)
    played.live()
    return played.journal.names.index(MASK_SENT + ACKNOWLEDGED) + 1, played.disk.writes


ROUNDS = {view: writes_of(view) for view in VIEWS}


@pytest.mark.parametrize("view", VIEWS)
def test_asked_again_in_a_later_life_it_sends_nothing(view: str) -> None:
    played = world(view)
    for _ in range(3):
        played.live()
    assert_one_answer(played)
    assert set(insatiable(played).submitted.values()) == {1}


@pytest.mark.parametrize("view", VIEWS)
def test_unacknowledged_it_sends_the_same_bytes_again(view: str) -> None:
    """Both messages, three times each, while other headers and other signatures are on offer."""
    played = world(view)
    for kind in ("consistency", "unmasking"):
        insatiable(played).acknowledges = False
        for _ in range(3):
            with pytest.raises(Crash):
                played.live()
        assert {count for (sent, _), count in insatiable(played).submitted.items() if sent == kind} == {3}
        insatiable(played).acknowledges = True
        with pytest.raises(Crash):
            played.live(DyingAt(place="after-consistency" if kind == "consistency" else "after-unmask"))
    played.live()
    assert_one_answer(played)


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize(("view", "crash_at"), [(view, at) for view in VIEWS for at in range(*ROUNDS[view])])
def test_killed_at_any_record_between_two_questions_it_answers_one(view: str, crash_at: int, loss: Loss) -> None:
    played = world(view, Disk(crash_at=crash_at, loss=loss))
    with pytest.raises(Crash):
        played.live()
    played.disk.crash_at = None
    for _ in range(2):
        played.live()
    assert_one_answer(played)


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_on_offer_changes(view: str) -> None:
    """The stories above are not about nothing: a later life would be shown other headers and another quorum."""
    played = world(view)
    played.live()
    asked = insatiable(played)
    first, second = asked.masked_inputs("", 0), asked.masked_inputs("", 0)
    assert first != second
    assert len(first) >= SEVEN.smallest_cohort <= len(second)
    assert asked.consistency("", 0) != asked.consistency("", 0)


def test_a_set_of_signatures_is_taken_once() -> None:
    """The quorum that was recorded stays the one that our answer rests on, whatever a later life is shown."""
    played = world("another U3")
    with pytest.raises(Crash):
        played.live(DyingAt(place="after-unmask"))
    before = {name: played.journal.recall(name) for name in (AGREE_RECEIVED, AGREE_SENT, REVEAL_RECEIVED)}
    shown = Counter(insatiable(played).shown)
    played.live()
    assert insatiable(played).shown == shown, "it does not even ask"
    assert {name: played.journal.recall(name) for name in before} == before
