"""Random sessions of a malicious coordinator with colluders against honest participants, over any number of attempts.

Each participant keeps the durable layer's rules: it goes forward only, signs one T3, reveals once, complains once. The
coordinator shows each of them what it likes, restarts some and not others, and alters pairs; colluders sign whatever it wants.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from testkit.adversary import Equivocator, unmask_sum
from testkit.consortium import inputs_for, parameters, signer
from vdb_participant.rounds import Advertised, Agreed, Masked, SharedKeys
from vdb_shared import labels
from vdb_shared.errors import ProtocolError, SessionAbortedError, UnusableShareError
from vdb_shared.secagg.messages import ConsistencyStatement, Signed, UnmaskingShares
from vdb_shared.secagg.parameters import Seat, share_threshold
from vdb_shared.secagg.restarts import Restart, verify_restart
from vdb_shared.secagg.sealing import SharePair
from vdb_shared.secagg.transcript import COORDINATOR, Transcript

N, C = 8, 2
SEALED = parameters(N, collusion=C, lanes=2, dropout="0.4")
INPUTS = inputs_for(SEALED)
HONEST = range(N - C)
COLLUDERS = range(N - C, N)
REFUSALS = (ProtocolError, SessionAbortedError)
GROUP = st.frozensets(st.sampled_from(HONEST), min_size=1)
SUBSET = st.frozensets(st.integers(0, N - 1), min_size=1, max_size=2)
"""Who is missing from a view."""


@dataclass
class Attempt:
    """What the coordinator knows of one attempt; several may run beside each other.

    Attributes:
        story: its parties and messages.
        complaints: signed, by complainer.
        views: U1 as each participant saw it.
        revealed: the answers of honest participants.
    """

    story: Equivocator
    complaints: dict[Seat, Signed] = field(default_factory=dict)
    views: dict[Seat, frozenset[Seat]] = field(default_factory=dict)
    revealed: dict[Seat, UnmaskingShares] = field(default_factory=dict)


class HostileCoordinator(RuleBasedStateMachine):
    """Honest participants in random attempts; `seals` and `tries` are the coordinator's."""

    @initialize()
    def seal(self) -> None:
        first = Attempt(Equivocator(SEALED, INPUTS))
        self.attempts: dict[bytes, Attempt] = {SEALED.session: first}
        self.present = dict.fromkeys(HONEST, SEALED.session)
        self.signed: dict[Seat, bytes] = {}
        self.complained: set[Seat] = set()

    @rule(data=st.data(), rounds=st.integers(1, 4))
    def some_rounds_in_one_view(self, data: st.DataObject, rounds: int) -> None:
        attempt = self.some_attempt(data)
        for _ in range(rounds):
            self.play(attempt, {}, frozenset())

    @rule(data=st.data(), group=GROUP, missing=SUBSET)
    def next_round_in_two_views(self, data: st.DataObject, group: frozenset[Seat], missing: frozenset[Seat]) -> None:
        self.play(self.some_attempt(data), dict.fromkeys(group, missing), frozenset())

    @rule(data=st.data(), missing=SUBSET)
    def next_round_without_some(self, data: st.DataObject, missing: frozenset[Seat]) -> None:
        self.play(self.some_attempt(data), dict.fromkeys(range(N), missing), frozenset())

    @rule(data=st.data(), group=GROUP)
    def next_round_with_pairs_altered(self, data: st.DataObject, group: frozenset[Seat]) -> None:
        self.play(self.some_attempt(data), {}, group)

    def some_attempt(self, data: st.DataObject) -> Attempt:
        return self.attempts[data.draw(st.sampled_from(sorted(self.attempts)))]

    def play(self, attempt: Attempt, lacking: Mapping[Seat, frozenset[Seat]], spoiled: frozenset[Seat]) -> None:
        """Bring everybody of an attempt one round further; each view may lack some seats, each seat's pairs be altered."""
        for seat in [*COLLUDERS, *self.members(attempt)]:
            try:
                self.advance(attempt, seat, lacking.get(seat, frozenset()) - {seat}, spoiled=seat in spoiled)
            except REFUSALS:
                continue

    def members(self, attempt: Attempt) -> list[Seat]:
        session = attempt.story.parameters.session
        return [seat for seat in HONEST if self.present[seat] == session and seat not in attempt.complaints]

    def advance(self, attempt: Attempt, seat: Seat, lacking: frozenset[Seat], *, spoiled: bool) -> None:
        story = attempt.story
        match story.participants.phases[seat]:
            case Advertised():
                view = story.parameters.seats - lacking
                story.share_keys({seat: view})
                attempt.views[seat] = view
            case SharedKeys():
                self.mask(attempt, seat, story.shared.keys() - lacking, spoiled=spoiled)
            case Masked():
                if seat not in self.signed:
                    story.agree({seat: story.masked.keys() - lacking})
                    self.signed.update({seat: story.agreed[seat].body} if seat in HONEST else {})
            case Agreed() if seat in HONEST:
                attempt.revealed[seat] = self.reveal(story, seat)

    def mask(self, attempt: Attempt, seat: Seat, view: Iterable[Seat], *, spoiled: bool) -> None:
        story = attempt.story
        seats = sorted(view)
        pairs = {peer: story.shared[peer].sealed.get(seat, b"") for peer in seats if peer != seat}
        if spoiled:
            pairs[min(pairs)] = bytes(80)
        try:
            story.masked[seat] = story.participants.mask_input(seat, story.headers(seats), pairs)
        except UnusableShareError as error:
            if seat in HONEST and seat not in self.complained:
                self.complained.add(seat)
                attempt.complaints[seat] = story.participants.complain(seat, error.dealer)

    def reveal(self, story: Equivocator, seat: Seat) -> UnmaskingShares:
        body = story.agreed[seat].body
        survivors = ConsistencyStatement.decode(body).masked
        signatures = {
            peer: story.agreed[peer].signature
            for peer in HONEST
            if peer in story.agreed and story.agreed[peer].body == body
        }
        for peer in survivors & set(COLLUDERS):
            signatures[peer] = signer(0, peer).sign(labels.TYPE_CONSISTENCY, body)
        return UnmaskingShares.decode(story.participants.reveal(seat, signatures).body)

    @rule(data=st.data())
    def colluders_complain(self, data: st.DataObject) -> None:
        attempt = self.some_attempt(data)
        colluder, dealer = data.draw(st.sampled_from(COLLUDERS)), data.draw(st.sampled_from(HONEST))
        if isinstance(attempt.story.participants.phases[colluder], SharedKeys):
            attempt.complaints[colluder] = attempt.story.participants.complain(colluder, dealer)

    @precondition(lambda self: any(attempt.complaints for attempt in self.attempts.values()))
    @rule(data=st.data(), moving=st.one_of(st.just(frozenset(HONEST)), GROUP))
    def some_are_restarted(self, data: st.DataObject, moving: frozenset[Seat]) -> None:
        attempt = data.draw(st.sampled_from([a for a in self.attempts.values() if a.complaints]))
        complainer = data.draw(st.sampled_from(sorted(attempt.complaints)))
        story = attempt.story
        view = attempt.views[complainer]
        record = Restart({seat: story.advertised[seat] for seat in view}, complainer, attempt.complaints[complainer])
        try:
            following = verify_restart(story.parameters, record, COORDINATOR)
        except REFUSALS:
            return
        if following.session not in self.attempts:
            self.attempts[following.session] = Attempt(Equivocator(following, INPUTS))
        for seat in moving & following.seats:
            if self.present[seat] == story.parameters.session and seat not in self.signed:
                self.present[seat] = following.session

    # What must never come about.

    @invariant()
    def at_most_one_view_of_the_session_has_a_quorum(self) -> None:
        bodies = list(getattr(self, "signed", {}).values())
        reached = {body for body in bodies if bodies.count(body) + C >= SEALED.quorum}
        assert len(reached) <= 1

    @invariant()
    def nobody_answers_without_a_quorum(self) -> None:
        for attempt in getattr(self, "attempts", {}).values():
            for shares in attempt.revealed.values():
                signers = [body for body in self.signed.values() if ConsistencyStatement.decode(body).t3 == shares.t3]
                assert len(signers) + C >= SEALED.quorum

    @invariant()
    def nobodys_seeds_can_both_be_rebuilt(self) -> None:
        for attempt in getattr(self, "attempts", {}).values():
            for dealer in HONEST:
                threshold = share_threshold(len(attempt.views.get(dealer, range(N))), C)
                both = [shares.self_mask.keys() & shares.mask_key.keys() for shares in attempt.revealed.values()]
                assert not any(both)
                of_b = [dealer in shares.self_mask for shares in attempt.revealed.values()]
                of_k = [dealer in shares.mask_key for shares in attempt.revealed.values()]
                assert min(sum(of_b), sum(of_k)) + C < threshold

    @invariant()
    def what_can_be_unmasked_is_one_exact_sum_over_enough(self) -> None:
        found: set[frozenset[Seat]] = set()
        for attempt in getattr(self, "attempts", {}).values():
            for t3 in {shares.t3 for shares in attempt.revealed.values()}:
                answers = [shares for shares in attempt.revealed.values() if shares.t3 == t3]
                statement = next(
                    ConsistencyStatement.decode(b)
                    for b in self.signed.values()
                    if ConsistencyStatement.decode(b).t3 == t3
                )
                if len(answers) + C < share_threshold(len(statement.advertised), C):
                    continue
                assert len(statement.masked) >= SEALED.smallest_cohort
                found.add(statement.masked)
                check_sum(attempt.story, statement, answers)
        assert len(found) <= 1


def check_sum(story: Equivocator, statement: ConsistencyStatement, answers: list[UnmaskingShares]) -> None:
    """Check that the coordinator and its colluders get the exact sum of the survivors."""
    whole = transcript_of(story, statement)
    for colluder in COLLUDERS:
        phase = story.participants.phases[colluder]
        if isinstance(phase, Masked | Agreed) and phase.held.keys() == statement.shared:
            answers = [*answers, everything_held(colluder, statement, phase.held)]
    if len(answers) >= whole.advertised.threshold:
        expected = np.sum([INPUTS[seat] for seat in statement.masked], axis=0)
        assert unmask_sum(story, whole, answers).tolist() == expected.tolist()


def everything_held(colluder: Seat, statement: ConsistencyStatement, held: Mapping[Seat, SharePair]) -> UnmaskingShares:
    """Return a colluder's shares in the form of an answer."""
    return UnmaskingShares(
        statement.t3,
        colluder,
        {seat: held[seat].self_mask for seat in statement.masked},
        {seat: held[seat].mask_key for seat in statement.shared - statement.masked},
    )


def transcript_of(story: Equivocator, statement: ConsistencyStatement) -> Transcript:
    return story.transcript(statement.advertised, statement.masked, statement.shared)


TestHostileCoordinator = HostileCoordinator.TestCase
TestHostileCoordinator.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
