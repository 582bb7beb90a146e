"""One encoding for each element of the field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_shared.errors import FormatError
from vdb_shared.secagg.field import (
    FIELD_ORDER,
    decode_scalar,
    decode_scalars,
    encode_scalar,
    encode_scalars,
    reduce_uniform,
)

SCALAR = st.integers(0, FIELD_ORDER - 1)


@given(st.lists(SCALAR, max_size=4))
def test_elements_read_back(scalars: list[int]) -> None:
    data = encode_scalars(scalars)
    assert decode_scalars(data) == scalars
    assert [decode_scalar(data[start : start + 32]) for start in range(0, len(data), 32)] == scalars


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33), FIELD_ORDER.to_bytes(32, "little"), b"\xff" * 32])
def test_an_element_out_of_range_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="below the order of the field"):
        decode_scalar(data)


def test_a_list_with_one_element_out_of_range_is_refused() -> None:
    with pytest.raises(FormatError, match="below the order"):
        decode_scalars(encode_scalar(1) + FIELD_ORDER.to_bytes(32, "little"))


@given(st.binary(min_size=128, max_size=128))
def test_reduction_is_that_of_little_endian_integers(data: bytes) -> None:
    assert reduce_uniform(data) == [int.from_bytes(part, "little") % FIELD_ORDER for part in (data[:64], data[64:])]
