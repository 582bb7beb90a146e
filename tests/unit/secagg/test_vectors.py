"""Lanes and blinders under one key stream."""

import numpy as np
import pytest

from testkit.consortium import entropy
from vdb_shared.errors import FormatError
from vdb_shared.secagg.field import FIELD_ORDER, reduce_uniform
from vdb_shared.secagg.masking import expand
from vdb_shared.secagg.parameters import BLOCK_LANES, blocks_of
from vdb_shared.secagg.vectors import Vector, vector_bytes

KEY = entropy("mask", size=32)


def some_vector(lanes: int, seed: int = 0) -> Vector:
    values = np.frombuffer(entropy("lanes", seed, size=8 * lanes), dtype="<u8").copy()
    return Vector(values, reduce_uniform(entropy("blinders", seed, size=64 * blocks_of(lanes))))


@pytest.mark.parametrize("lanes", [1, 2, 4095, 4096, 4097, 2**16, 2**16 + 1, 2**17 + 3])
def test_mask_is_lanes_then_blinders_of_one_key_stream(lanes: int) -> None:
    vector = Vector.zeros(lanes)
    vector.add_mask(KEY, 1)
    stream = expand(KEY, 8 * lanes + 64 * blocks_of(lanes))
    assert np.array_equal(vector.lanes, np.frombuffer(stream[: 8 * lanes], dtype="<u8"))
    assert vector.reduced_blinders() == reduce_uniform(stream[8 * lanes :])


@pytest.mark.parametrize("lanes", [1, 4097, 2**15 + 5])
def test_masks_come_off(lanes: int) -> None:
    vector = some_vector(lanes)
    plain = vector.to_bytes()
    vector.add_mask(KEY, 1)
    assert vector.to_bytes() != plain
    vector.add_mask(KEY, -1)
    assert vector.to_bytes() == plain


@pytest.mark.parametrize("threads", [1, 2, 3, 50])
def test_threads_change_no_byte(threads: int) -> None:
    lanes, keys = 2**17 + 1, [(entropy("mask", place, size=32), (-1) ** place) for place in range(49)]
    vector, one_by_one = some_vector(lanes), some_vector(lanes)
    vector.add_masks(keys, threads)
    for key, sign in keys:
        one_by_one.add_mask(key, sign)
    assert vector.to_bytes() == one_by_one.to_bytes()


def test_sum_is_taken_in_both_rings() -> None:
    one, two = some_vector(5, 1), some_vector(5, 2)
    total = one.plus(two)
    for lane, (a, b) in enumerate(zip(one.lanes.tolist(), two.lanes.tolist(), strict=True)):
        assert int(total.lanes[lane]) == (a + b) % 2**64
    assert total.reduced_blinders() == [(one.blinders[0] + two.blinders[0]) % FIELD_ORDER]


@pytest.mark.parametrize("lanes", [1, 4096, 4097])
def test_bytes_come_back_and_have_the_promised_size(lanes: int) -> None:
    data = some_vector(lanes).to_bytes()
    assert len(data) == vector_bytes(lanes)
    assert Vector.from_bytes(data, lanes).to_bytes() == data


def test_upload_at_1e5_lanes_is_hardly_larger_than_the_plain_vector() -> None:
    assert 1000 * vector_bytes(100_000) <= 1001 * 8 * 100_000


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + bytes(1), lambda _data: b""])
def test_other_lengths_are_refused(change) -> None:  # type: ignore[no-untyped-def]  # a lambda of pytest's table
    with pytest.raises(FormatError, match=r"has .* bytes, not"):
        Vector.from_bytes(change(some_vector(5).to_bytes()), 5)


def test_a_blinder_that_is_not_reduced_is_refused() -> None:
    data = some_vector(5).to_bytes()[:40] + FIELD_ORDER.to_bytes(32, "little")
    with pytest.raises(FormatError, match="below the order"):
        Vector.from_bytes(data, 5)


def test_blocks() -> None:
    assert [blocks_of(lanes) for lanes in (1, BLOCK_LANES, BLOCK_LANES + 1, 100_000)] == [1, 1, 2, 25]
