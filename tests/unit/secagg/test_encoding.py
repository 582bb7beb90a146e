import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_shared.errors import FormatError, StatisticError
from vdb_shared.secagg.encoding import (
    LANE_OFFSET,
    decode_totals,
    encode_lanes,
    ring_from_bytes,
    ring_to_bytes,
)

LANE = st.integers(-LANE_OFFSET, LANE_OFFSET - 1)


@given(st.lists(st.lists(LANE, min_size=3, max_size=3), min_size=1, max_size=6))
def test_ring_sum_is_the_integer_sum(vectors: list[list[int]]) -> None:
    total = np.zeros(3, dtype=np.uint64)
    for vector in vectors:
        total += encode_lanes(np.array(vector, dtype=np.int64))
    assert decode_totals(total, len(vectors)).tolist() == [sum(column) for column in zip(*vectors, strict=True)]


@pytest.mark.parametrize("value", [-LANE_OFFSET, LANE_OFFSET - 1])
def test_no_sum_of_the_largest_cohort_wraps(value: int) -> None:
    total = encode_lanes(np.array([value], dtype=np.int64)) * np.uint64(65535)
    assert decode_totals(total, 65535).tolist() == [65535 * value]


@pytest.mark.parametrize("value", [-LANE_OFFSET - 1, LANE_OFFSET, -(2**63), 2**63 - 1])
def test_overflowing_lane_is_an_error_that_names_its_place_only(value: int) -> None:
    with pytest.raises(StatisticError, match="lane 1 is outside") as caught:
        encode_lanes(np.array([0, value], dtype=np.int64))
    assert str(value) not in str(caught.value)  # a lane is private


def test_sum_that_no_cohort_can_reach_is_an_error() -> None:
    with pytest.raises(StatisticError, match="lane 0"):
        decode_totals(np.array([3 * (2**48 - 1) + 1], dtype=np.uint64), 3)


@pytest.mark.parametrize("survivors", [0, 65536])
def test_survivors_out_of_range_are_our_misuse(survivors: int) -> None:
    with pytest.raises(ValueError, match="survivors"):
        decode_totals(np.zeros(1, dtype=np.uint64), survivors)


def test_other_dtypes_are_our_misuse() -> None:
    with pytest.raises(ValueError, match="int64"):
        encode_lanes(np.zeros(3, dtype=np.int32))


def test_bytes_are_little_endian_u64() -> None:
    ring = np.array([1, 2**64 - 2], dtype=np.uint64)
    assert ring_to_bytes(ring).hex() == "0100000000000000feffffffffffffff"
    assert ring_from_bytes(ring_to_bytes(ring), 2).tolist() == ring.tolist()


@pytest.mark.parametrize("size", [0, 15, 17, 24])
def test_bytes_of_another_length_are_refused(size: int) -> None:
    with pytest.raises(FormatError, match="2 lanes"):
        ring_from_bytes(bytes(size), 2)
