"""Lists of private records: one for the same content, another for any other, and nothing but lists is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_shared.errors import FormatError
from vdb_shared.privacy.record_list import NONE, PART_BYTES, RECORD_BYTES, RecordList, part_of_file, part_of_words

PARTS = st.integers(1, 9).map(lambda number: bytes([number]) * PART_BYTES)
RECORDS = st.lists(
    st.tuples(st.one_of(st.just(NONE), PARTS), st.one_of(st.just(NONE), PARTS)).filter(
        lambda pair: any(map(any, pair))
    ),
    max_size=8,
)


@given(RECORDS, st.randoms())
def test_order_and_repetition_change_nothing(records: list[tuple[bytes, bytes]], dice: object) -> None:
    one = RecordList.of(records)
    assert one == RecordList.of([*reversed(records), *records])
    assert list(one) == sorted(set(records))
    assert len(one) == len(set(records))
    assert RecordList.decode(one.body) == one


@given(RECORDS, RECORDS)
def test_digests_tell_lists_apart_and_content_ids_contents(
    some: list[tuple[bytes, bytes]], others: list[tuple[bytes, bytes]]
) -> None:
    one, other = RecordList.of(some), RecordList.of(others)
    assert (one.digest == other.digest) == (set(some) == set(others))
    assert (one.dataset == other.dataset) == (one.parts == other.parts)


def test_what_goes_with_what_is_in_the_list_and_not_in_the_content_id() -> None:
    a, b = part_of_words("a"), part_of_words("b")
    c, d = part_of_file(bytes(32)), part_of_file(bytes([1]) * 32)
    one, other = RecordList.of([(a, c), (b, d)]), RecordList.of([(a, d), (b, c)])
    assert one.dataset == other.dataset
    assert one.digest != other.digest


def test_words_are_no_file() -> None:
    assert part_of_words("x") != part_of_file(b"x".ljust(32))
    assert len(part_of_words("x")) == len(part_of_file(bytes(32))) == PART_BYTES


@pytest.mark.parametrize(
    "body",
    [
        bytes(RECORD_BYTES),
        b"\1" * (RECORD_BYTES + 1),
        b"\1" * (2 * RECORD_BYTES),
        b"\2" * RECORD_BYTES + b"\1" * RECORD_BYTES,
        b"\1" * (RECORD_BYTES - 1),
    ],
)
def test_what_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(FormatError):
        RecordList.decode(body)


def test_a_list_does_not_print_its_records() -> None:
    assert "\\x" not in repr(RecordList.of([(part_of_words("secret"), NONE)]))
