"""Random sessions of a malicious coordinator with colluders against honest institutions, over any number of attempts.

The institutions run their durable code, each step in a life of its own. The coordinator shows each of them what it likes,
restarts some and not others, alters pairs and makes signatures up; colluders sign whatever it wants, in every view. At the end
it computes all that its shares give it. With any one guard taken out, the same machine finds the breach.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from testkit.hostile import REFUSALS, Attempt, Colluder, Offer, Standoff, standoff
from testkit.learning import seeds_in, sums_in, true_sum
from vdb_participant import rounds as participant_rounds
from vdb_participant.session import attempts as durable
from vdb_shared.secagg import transcript
from vdb_shared.secagg.messages import Complaint, ConsistencyStatement
from vdb_shared.secagg.parameters import Parameters, Seat, share_threshold
from vdb_shared.secagg.restarts import Restart, verify_restart
from vdb_shared.secagg.transcript import COORDINATOR

World = tuple[int, int, str]
SMALL, LARGE = (5, 1, "0.4"), (6, 1, "0.17")
"""n, c, and the dropout allowed: n_min = q = 4, where no view may be smaller than a quorum; and n_min = 5 above q = 4."""

STARTS = tuple((world, before) for world in (SMALL, LARGE) for before in (2, 1, 0))
"""How many rounds all play in one view before the coordinator shows its face; after none U1 is split, after two U3."""

SEATS = st.integers(0, 5)
MISSING = st.frozensets(SEATS, max_size=3)
"""Who is never heard of again: as many as n - t + 1, which is 2 and 3."""

GROUP = st.frozensets(st.integers(0, 4), min_size=1, max_size=4)
VIEW = st.one_of(SEATS.map(lambda seat: frozenset({seat})), st.frozensets(SEATS, max_size=2))
VIEWS = st.one_of(
    VIEW.map(lambda missing: (frozenset[Seat](), missing)),
    VIEW.map(lambda missing: (missing, missing)),
    st.tuples(VIEW, VIEW),
)
"""Who is missing from everybody's view, or from that of the others and that of a group."""

NOBODY: frozenset[Seat] = frozenset()


class HostileCoordinator(RuleBasedStateMachine):
    """All rules are the coordinator's; the honest only live."""

    starts = STARTS

    @initialize(data=st.data(), after=st.sampled_from((2, 1, 0)), careless=st.booleans(), group=GROUP, views=VIEWS)
    def begin(
        self,
        data: st.DataObject,
        after: int,
        careless: bool,
        group: Collection[Seat],
        views: tuple[frozenset[Seat], frozenset[Seat]],
    ) -> None:
        """Bring all to where the views part, part them, and go on for some rounds in one view."""
        world, before = data.draw(st.sampled_from(self.starts))
        self.played: Standoff = standoff(*world, before).copy()
        self.careless = careless
        self.altered: set[tuple[bytes, Seat, Seat]] = set()
        self.quorum = share_threshold(world[0], world[1])
        self.collusion = world[1]
        (first,) = self.played.attempts.values()
        self.step(first, dict.fromkeys(range(6), views[0]) | dict.fromkeys(group, views[1]))
        for _ in range(after):
            self.step(first, {})

    @rule(data=st.data(), rounds=st.integers(1, 3))
    def all_in_one_view(self, data: st.DataObject, rounds: int) -> None:
        attempt = self.some_attempt(data)
        for _ in range(rounds):
            self.step(attempt, {})

    @rule(data=st.data(), group=GROUP, views=VIEWS)
    def some_views(
        self, data: st.DataObject, group: Collection[Seat], views: tuple[frozenset[Seat], frozenset[Seat]]
    ) -> None:
        self.step(self.some_attempt(data), dict.fromkeys(range(6), views[0]) | dict.fromkeys(group, views[1]))

    @rule(missing=MISSING)
    def some_are_lost(self, missing: frozenset[Seat]) -> None:
        self.played.gone |= missing

    @precondition(
        lambda self: any(attempt.shared.keys() - attempt.masked.keys() for attempt in self.played.attempts.values())
    )
    @rule(data=st.data(), group=GROUP)
    def pairs_are_altered(self, data: st.DataObject, group: Collection[Seat]) -> None:
        self.step(self.some_attempt(data), {}, spoiled=group)

    @precondition(
        lambda self: any(attempt.signed.keys() - self.played.gone for attempt in self.played.attempts.values())
    )
    @rule(data=st.data(), group=GROUP)
    def signatures_are_made_up(self, data: st.DataObject, group: Collection[Seat]) -> None:
        attempt = self.some_attempt(data)
        for seat in sorted(attempt.signed.keys() & set(group)):
            self.live(attempt, seat, attempt.offer(seat, (), careless=False, forged=True))

    def some_attempt(self, data: st.DataObject) -> Attempt:
        return self.played.attempts[data.draw(st.sampled_from(sorted(self.played.attempts)))]

    def step(self, attempt: Attempt, lacking: Mapping[Seat, frozenset[Seat]], spoiled: Collection[Seat] = ()) -> None:
        """Bring everybody of an attempt one round further, each in a view that lacks some; then nobody sees later messages."""
        offers = {
            seat: attempt.offer(seat, lacking.get(seat, NOBODY) - {seat}, careless=self.careless)
            for seat in self.played.honest
            if self.played.attempt_of(seat) is attempt and seat not in attempt.complaints
        }
        for seat, offer in offers.items():
            self.live(attempt, seat, self.spoil(attempt, seat, offer) if seat in spoiled else offer)

    def live(self, attempt: Attempt, seat: Seat, offer: Offer) -> None:
        done = self.played.gone | attempt.answered.keys()
        if seat not in done and self.played.attempt_of(seat) is attempt:
            self.played.live(seat, offer)

    def spoil(self, attempt: Attempt, seat: Seat, offer: Offer) -> Offer:
        if not offer.sealed:
            return offer
        dealer = min(offer.sealed)
        self.altered.add((attempt.parameters.session, dealer, seat))
        return replace(offer, sealed={**offer.sealed, dealer: bytes(80)})

    @precondition(lambda self: any(attempt.round0 for attempt in self.played.attempts.values()))
    @rule(data=st.data(), moving=st.one_of(st.just(frozenset(range(6))), GROUP))
    def some_are_restarted(self, data: st.DataObject, moving: frozenset[Seat]) -> None:
        """For the complaint of an honest seat, or of a colluder about anybody."""
        attempt = data.draw(st.sampled_from([a for a in self.played.attempts.values() if a.round0]))
        honest = sorted(attempt.parameters.seats & set(self.played.honest))
        for colluder in attempt.colluders.values():
            complain_once(attempt, colluder, data.draw(st.sampled_from(honest)))
        if not attempt.complaints:
            return
        complainer = data.draw(st.sampled_from(sorted(attempt.complaints)))
        shown = attempt.round0.get(complainer, next(iter(attempt.round0.values())))
        record = Restart(shown, complainer, attempt.complaints[complainer])
        try:
            following = verify_restart(attempt.parameters, record, COORDINATOR)
        except REFUSALS:
            return
        target = self.played.restarted(following, (*attempt.restarts, record))
        for seat in sorted(moving & set(self.played.honest) - self.played.gone):
            if self.played.attempt_of(seat) is attempt:
                self.played.live(seat, Offer(), target)

    # What must never come about.

    @property
    def statements(self) -> list[tuple[Seat, ConsistencyStatement]]:
        return [(seat, a.statement(seat)) for a in self.played.attempts.values() for seat in a.signed]

    @invariant()
    def everybody_signs_one_view_of_the_session(self) -> None:
        seats = [seat for seat, _ in self.statements]
        assert len(seats) == len(set(seats))
        assert all(self.played.attempt_of(seat) is a for a in self.played.attempts.values() for seat in a.signed)
        answers = [seat for attempt in self.played.attempts.values() for seat in attempt.answered]
        assert len(answers) == len(set(answers))

    @invariant()
    def what_is_signed_is_over_enough_and_reaches_a_quorum_once(self) -> None:
        found = [statement for _, statement in self.statements]
        assert all(len(statement.masked) >= self.played.sealed.smallest_cohort for statement in found)
        assert len({s.t3 for s in found if found.count(s) + self.collusion >= self.quorum}) <= 1

    @invariant()
    def nobody_answers_without_a_quorum(self) -> None:
        signed = [statement.t3 for _, statement in self.statements]
        for attempt in self.played.attempts.values():
            for answer in attempt.answers.values():
                assert signed.count(answer.t3) + self.collusion >= self.quorum

    @invariant()
    def nobody_honest_is_accused_of_what_the_coordinator_showed(self) -> None:
        for session, attempt in self.played.attempts.items():
            for seat in attempt.complaints.keys() & set(self.played.honest):
                dealer = Complaint.decode(attempt.complaints[seat].body).dealer
                assert (session, dealer, seat) in self.altered

    def teardown(self) -> None:
        """Compute what can be: one exact sum over enough honest inputs, and nobody's both seeds."""
        if not hasattr(self, "played"):
            return
        sums = [found for attempt in self.played.attempts.values() for found in self.learned(attempt)]
        assert len(sums) <= 1
        assert all(len(found) >= self.played.sealed.smallest_cohort - self.collusion for found in sums)

    def learned(self, attempt: Attempt) -> list[frozenset[Seat]]:
        known = seeds_in(attempt)
        assert not known.self_mask.keys() & known.mask_key.keys()
        found = sums_in(attempt, known)
        assert all(totals.tolist() == true_sum(attempt, seats).tolist() for seats, totals in found.items())
        for seat in attempt.answered:
            self.check_that_answers_are_of_use(attempt, attempt.statement(seat), found.keys())
        return list(found)

    def check_that_answers_are_of_use(
        self, attempt: Attempt, statement: ConsistencyStatement, sums: Collection[frozenset[Seat]]
    ) -> None:
        """Check that a threshold of answers gives the sum of just those whom they name."""
        answers = [answer for answer in attempt.answers.values() if answer.t3 == statement.t3]
        holders = len(answers) + len(statement.advertised & attempt.colluders.keys())
        if holders >= share_threshold(len(statement.advertised), self.collusion):
            assert statement.masked & set(self.played.honest) in sums


def complain_once(attempt: Attempt, colluder: Colluder, dealer: Seat) -> None:
    """Let a colluder complain in the first view that was shown to anybody, unless it did."""
    dealt = colluder.deal(next(iter(attempt.round0.values())))
    if dealt is not None:
        attempt.complaints.setdefault(colluder.seat, participant_rounds.complain(dealt[0], dealer))


TestHostileCoordinator = HostileCoordinator.TestCase
TestHostileCoordinator.settings = settings(max_examples=30, stateful_step_count=8, deadline=None)


# The machine finds what it looks for.


def unless(name: str, check: Callable[..., None]) -> Callable[..., None]:
    """Return a check that lets what has this name pass."""
    return lambda *found: None if found[0] == name else check(*found)


BROKEN: dict[str, tuple[tuple[object, str, object], tuple[World, int]]] = {
    "a quorum of one less": (
        (Parameters, "quorum", property(lambda p: share_threshold(len(p.roster), p.collusion) - 1)),
        (SMALL, 2),
    ),
    "a U3 of any size": (
        (participant_rounds, "_check_set", unless("U3", participant_rounds._check_set)),
        (LARGE, 2),
    ),
    "signatures of T3 are not verified": ((participant_rounds, "verify_consistency", lambda *_: None), (SMALL, 2)),
    "a threshold of two less": ((transcript, "share_threshold", lambda n, c: share_threshold(n, c) - 2), (SMALL, 0)),
    "messages for another T1 are taken": ((transcript, "_same", unless("T1", transcript._same)), (SMALL, 0)),
    "messages for another T2 are taken": ((transcript, "_same", unless("T2", transcript._same)), (SMALL, 1)),
    "a restart is followed after T3 was signed": ((durable, "AGREE_SENT", "no record"), (SMALL, 2)),
}
"""What is put in a guard's place, and from where the search begins."""

SEARCH = settings(
    max_examples=150,
    stateful_step_count=4,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
    deadline=None,
    print_blob=False,
)


@pytest.mark.parametrize("guard", BROKEN)
def test_with_a_guard_taken_out_the_breach_is_found(guard: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, start = BROKEN[guard]
    standoff.cache_clear()
    monkeypatch.setattr(*patch)
    monkeypatch.setattr(HostileCoordinator, "starts", (start,))
    try:
        with pytest.raises(AssertionError):
            run_state_machine_as_test(HostileCoordinator, settings=SEARCH)
    finally:
        standoff.cache_clear()
