"""The sum is exactly that of the survivors' inputs, for any pattern of dropouts, or there is none."""

from collections.abc import Mapping

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from testkit.consortium import STAGES, Consortium, consortium, inputs_for, parameters
from vdb_coordinator.rounds import Failed, InputMasked, Summed
from vdb_shared.secagg.parameters import Seat, share_threshold
from vdb_shared.secagg.transcript import Stage


@st.composite
def stories(draw: st.DrawFn) -> tuple[int, int, dict[Seat, Stage]]:
    joined = draw(st.integers(3, 7))
    collusion = draw(st.integers(1, max(1, (joined - 1) // 3)))
    leaving = draw(st.lists(st.integers(0, joined - 1), unique=True, max_size=joined // 2))
    return joined, collusion, {seat: draw(st.sampled_from(STAGES)) for seat in leaving}


def expected_end(joined: int, collusion: int, smallest: int, dropouts: Mapping[Seat, Stage]) -> Stage | None:
    """Return the round in which the session must fail, or None when it must succeed."""
    staying = [joined - sum(STAGES.index(last) <= place for last in dropouts.values()) for place in range(5)]
    threshold = share_threshold(staying[0], collusion)
    for stage, size, needed in zip(STAGES, staying, [smallest] * 3 + [threshold] * 2, strict=True):
        if size < needed:
            return stage
    return None


@settings(max_examples=60, deadline=None)
@given(stories())
def test_sum_is_exact_or_absent(story: tuple[int, int, dict[Seat, Stage]]) -> None:
    joined, collusion, dropouts = story
    all_parties = consortium(joined, collusion=collusion, lanes=3)
    end = all_parties.run(dropouts)
    failing = expected_end(joined, collusion, all_parties.parameters.smallest_cohort, dropouts)
    if isinstance(end, Summed):
        assert failing is None
        before_input = {Stage.ADVERTISE_KEYS, Stage.SHARE_KEYS, Stage.MASKED_INPUT}
        survivors = {seat for seat in range(joined) if dropouts.get(seat) not in before_input}
        assert end.survivors == survivors
        assert end.totals.tolist() == all_parties.total(survivors).tolist()
        assert end.dropped == {seat: stage for seat, stage in dropouts.items() if stage != Stage.UNMASKING}
    else:
        assert isinstance(end, Failed)
        assert end.stage == failing


def test_seats_of_a_roster_need_not_be_consecutive_nor_low() -> None:
    sealed = parameters(4, first_seat=65531, lanes=2)
    all_parties = Consortium(sealed, inputs_for(sealed))
    end = all_parties.run({65532: Stage.MASKED_INPUT})
    assert isinstance(end, Summed)
    assert end.totals.tolist() == all_parties.total([65531, 65533, 65534]).tolist()


def test_one_hot_inputs_show_that_nobody_is_counted_twice() -> None:
    sealed = parameters(5, lanes=5)
    inputs = {seat: np.eye(5, dtype=np.int64)[seat] for seat in range(5)}
    end = Consortium(sealed, inputs).run({3: Stage.MASKED_INPUT})
    assert isinstance(end, Summed)
    assert end.totals.tolist() == [1, 1, 1, 0, 1]


def test_masked_input_of_one_participant_looks_like_nothing() -> None:
    all_parties = consortium(4, lanes=4096)
    all_parties.run_until(Stage.CONSISTENCY)
    for message in all_parties.sent:
        if isinstance(message, InputMasked):
            ones = int(np.unpackbits(np.frombuffer(message.masked, dtype=np.uint8)).sum())
            assert abs(ones - 4096 * 32) < 6 * 256  # six standard deviations of 2^18 fair bits
