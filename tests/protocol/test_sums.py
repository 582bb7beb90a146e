"""The sum is exactly that of the survivors' inputs, for any pattern of dropouts, or there is none."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testkit.consortium import STAGES, Consortium, consortium, inputs_for, parameters
from vdb_coordinator.rounds import Failed, Summed
from vdb_shared.secagg.encoding import LANE_OFFSET
from vdb_shared.secagg.parameters import Seat, blocks_of, share_threshold
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
    quorum, threshold = share_threshold(joined, collusion), share_threshold(staying[0], collusion)
    for stage, size, needed in zip(STAGES, staying, [*[smallest] * 3, quorum, threshold], strict=True):
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


@st.composite
def large_stories(draw: st.DrawFn) -> tuple[int, int, dict[Seat, Stage]]:
    """Draw a consortium of up to 40 whose losses it may or may not survive."""
    joined = draw(st.integers(3, 40))
    collusion = draw(st.integers(1, max(1, joined // 3)))
    spared = joined - share_threshold(joined, collusion)
    leaving = draw(st.lists(st.integers(0, joined - 1), unique=True, max_size=spared + 1))
    return joined, collusion, {seat: draw(st.sampled_from(STAGES)) for seat in leaving}


LANE = st.one_of(st.integers(-LANE_OFFSET, LANE_OFFSET - 1), st.sampled_from((-LANE_OFFSET, LANE_OFFSET - 1, 0, -1)))


@settings(max_examples=12, deadline=None)
@given(large_stories(), st.integers(1, 4), st.data())
def test_sum_is_exact_for_any_size_and_any_lanes(
    story: tuple[int, int, dict[Seat, Stage]], lanes: int, data: st.DataObject
) -> None:
    joined, collusion, dropouts = story
    sealed = parameters(joined, collusion=collusion, lanes=lanes)
    vectors = data.draw(st.lists(st.lists(LANE, min_size=lanes, max_size=lanes), min_size=joined, max_size=joined))
    inputs = {seat: np.array(vector, dtype=np.int64) for seat, vector in enumerate(vectors)}
    all_parties = Consortium(sealed, inputs)
    end = all_parties.run(dropouts)
    assert isinstance(end, Failed) == (expected_end(joined, collusion, sealed.smallest_cohort, dropouts) is not None)
    if isinstance(end, Summed):
        assert end.totals.tolist() == all_parties.total(end.survivors).tolist()
        assert len(end.survivors) >= sealed.smallest_cohort


@pytest.mark.parametrize("value", [-LANE_OFFSET, LANE_OFFSET - 1])
@pytest.mark.parametrize("lanes", [4095, 4096, 4097, 3 * 4096 + 1])
def test_extremes_in_all_lanes_of_several_blocks_add_up_exactly(value: int, lanes: int) -> None:
    sealed = parameters(3, lanes=lanes)
    end = Consortium(sealed, {seat: np.full(lanes, value, dtype=np.int64) for seat in range(3)}).run()
    assert isinstance(end, Summed)
    assert set(end.totals.tolist()) == {3 * value}
    assert len(end.blinders) == blocks_of(lanes)


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
