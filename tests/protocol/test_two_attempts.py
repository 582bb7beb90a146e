"""A coordinator that brings two attempts of one session to a sum, and the quorum that stops it.

An honest participant follows a restart only before it signs a T3, and signs one T3 in all attempts; the durable layer sees to
that. So each signs in one attempt only, and the quorum must be so large that no two attempts can both have it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from testkit.adversary import Equivocator, equivocator, everyone, unmask_sum
from testkit.consortium import expect
from vdb_participant.rounds import Agreed
from vdb_shared.errors import ProtocolError
from vdb_shared.secagg.encoding import Lanes
from vdb_shared.secagg.messages import UnmaskingShares
from vdb_shared.secagg.parameters import Seat, share_threshold
from vdb_shared.secagg.restarts import Restart, verify_restart
from vdb_shared.secagg.transcript import COORDINATOR

CASES = [(10, 1), (10, 3), (14, 3)]
"""n_J and c for which the attack works if the quorum is counted on |U1|."""


@dataclass(frozen=True)
class Attempt:
    """One attempt up to round 2.

    Attributes:
        story: its parties.
        view: U1, U2 and U3.
        signers: who would sign T3 in it: honest participants that sign nothing in the other, and colluders.
    """

    story: Equivocator
    view: Sequence[Seat]
    signers: Sequence[Seat]

    def agree(self, quorum: int) -> None:
        """Let the signers sign T3, and count the quorum like this."""
        self.story.agree(everyone(self.signers, self.view))
        phases = self.story.participants.phases
        for seat in self.signers:
            phases[seat] = replace(expect(Agreed, phases[seat]), quorum=quorum)

    def sum(self) -> Lanes:
        """Reveal, and return the sum over the view."""
        answers = [UnmaskingShares.decode(self.story.reveal(seat, self.signers).body) for seat in self.signers]
        return unmask_sum(self.story, self.story.transcript(self.view, self.view), answers)


def two_attempts(n: int, c: int) -> tuple[Attempt, Attempt]:
    """Return both attempts; the last c seats collude, and one of them complains about seat 0, which signs in the first."""
    first = equivocator(n, c)
    size = first.parameters.smallest_cohort
    needed = share_threshold(size, c)
    honest, colluders = range(n - c), range(n - c, n)
    early = [*honest[: size - c], *colluders]
    first.share_keys(everyone(early, early))
    complaint = first.participants.complain(colluders[-1], 0)
    first.mask_inputs(everyone(early, early))
    record = Restart({seat: first.advertised[seat] for seat in early}, colluders[-1], complaint)
    second = Equivocator(verify_restart(first.parameters, record, COORDINATOR), first.inputs)
    late = [*honest[needed - c :], *colluders][-size:]
    second.share_keys(everyone(late, late))
    second.mask_inputs(everyone(late, late))
    return (
        Attempt(first, early, [*honest[: needed - c], *colluders]),
        Attempt(second, late, late[-needed:]),
    )


@pytest.mark.parametrize(("n", "c"), CASES)
def test_with_the_quorum_counted_on_u1_two_sums_hold_the_same_honest_participants(n: int, c: int) -> None:
    first, second = two_attempts(n, c)
    honest = set(range(n - c))
    assert not set(first.signers) & set(second.signers) & honest
    for attempt in (first, second):
        attempt.agree(quorum=share_threshold(len(attempt.view), c))
        expected = np.sum([attempt.story.inputs[seat] for seat in attempt.view], axis=0)
        assert attempt.sum().tolist() == expected.tolist()
    assert set(first.view) & set(second.view) & honest


@pytest.mark.parametrize(("n", "c"), CASES)
def test_counted_on_all_joins_neither_attempt_has_a_quorum(n: int, c: int) -> None:
    for attempt in two_attempts(n, c):
        quorum = attempt.story.parameters.quorum
        assert quorum == share_threshold(n, c)
        attempt.agree(quorum)
        for seat in attempt.signers:
            with pytest.raises(ProtocolError, match=f"no quorum: expected {quorum} signatures") as caught:
                attempt.story.reveal(seat, attempt.signers)
            assert caught.value.peer == "coordinator"


@pytest.mark.parametrize("n", range(3, 60))
def test_no_division_of_the_honest_gives_two_attempts_a_quorum(n: int) -> None:
    for c in range(1, n - 1):
        quorum = share_threshold(n, c)
        honest = n - c
        assert not any(early + c >= quorum and honest - early + c >= quorum for early in range(honest + 1))


def test_one_less_than_the_quorum_would_be_reached_twice() -> None:
    """The quorum is not larger than it must be."""
    for n in range(4, 60):
        for c in range(1, n // 2):
            quorum, honest = share_threshold(n, c) - 1, n - c
            assert any(early + c >= quorum and honest - early + c >= quorum for early in range(honest + 1))


def test_restarts_lower_neither_the_quorum_nor_the_smallest_cohort() -> None:
    first, second = two_attempts(10, 3)
    before, after = first.story.parameters, second.story.parameters
    assert (after.quorum, after.smallest_cohort) == (before.quorum, before.smallest_cohort)
