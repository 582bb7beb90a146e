from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.consortium import entropy
from vdb_shared.canonical import decode_fields, encode_fields
from vdb_shared.errors import FormatError
from vdb_shared.secagg.agreement import public_key
from vdb_shared.secagg.field import FIELD_ORDER
from vdb_shared.secagg.messages import (
    AdvertisedKeys,
    Complaint,
    ConsistencyStatement,
    MaskedInputHeader,
    SharedKeysHeader,
    UnmaskingShares,
)

D = [entropy("digest", i, size=32) for i in range(4)]
Body = AdvertisedKeys | SharedKeysHeader | MaskedInputHeader | Complaint | ConsistencyStatement | UnmaskingShares

EXAMPLES: list[Body] = [
    AdvertisedKeys(D[0], 7, public_key(D[1]), public_key(D[2]), D[3]),
    SharedKeysHeader(D[0], 7, D[1], D[2], D[3]),
    MaskedInputHeader(D[0], 7, D[1], bytes(96), D[2]),
    ConsistencyStatement(D[0], frozenset({1, 2, 300}), frozenset({1, 300}), frozenset({300})),
    UnmaskingShares(D[0], 7, {1: 5, 300: FIELD_ORDER - 1}, {2: 0}),
    Complaint(D[0], 7, 300),
]


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: type(value).__name__)
def test_what_is_encoded_reads_back(value: Body) -> None:
    assert type(value).decode(value.encode()) == value


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: type(value).__name__)
def test_decoding_accepts_only_what_encoding_writes(value: Body) -> None:
    body = value.encode()
    decode: Callable[[bytes], Body] = type(value).decode
    for changed in _neighbours(body):
        try:
            found = decode(changed)
        except FormatError:
            continue
        assert found.encode() == changed
        assert found != value


def _neighbours(body: bytes) -> list[bytes]:
    flipped = [body[:i] + bytes([body[i] ^ bit]) + body[i + 1 :] for i in range(len(body)) for bit in (1, 128)]
    return [*flipped, *(body[:i] for i in range(len(body))), body + b"\x00", body + bytes(8)]


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_declared_error(data: bytes) -> None:
    for value in EXAMPLES:
        with pytest.raises(FormatError):
            type(value).decode(data)


def _with_field(value: Body, place: int, field: bytes) -> bytes:
    fields = list(decode_fields(value.encode()))
    fields[place] = field
    return encode_fields(*fields)


@pytest.mark.parametrize(
    ("value", "place", "field"),
    [
        (EXAMPLES[0], 1, (65535).to_bytes(4, "little")),
        (EXAMPLES[0], 1, b"\x01\x00"),
        (EXAMPLES[0], 2, bytes(32)),
        (EXAMPLES[0], 3, bytes(32)),
        (EXAMPLES[2], 3, b""),
        (EXAMPLES[2], 3, bytes(47)),
        (EXAMPLES[2], 4, bytes(31)),
        (EXAMPLES[3], 1, bytes.fromhex("020000000100000000000001")),
        (EXAMPLES[3], 1, bytes.fromhex("0100000001000000")),
        (EXAMPLES[3], 1, b"\x01\x00\x00"),
        (EXAMPLES[3], 1, bytes.fromhex("010000002c010000ffff0000")),
        (EXAMPLES[3], 2, bytes.fromhex("01000000050000002c010000")),
        (EXAMPLES[3], 3, bytes.fromhex("02000000")),
        (EXAMPLES[4], 2, bytes.fromhex("01000000") + FIELD_ORDER.to_bytes(32, "little")),
        (EXAMPLES[4], 2, bytes(35)),
        (EXAMPLES[4], 2, bytes(36) + bytes(36)),
        (EXAMPLES[5], 2, (65535).to_bytes(4, "little")),
        (EXAMPLES[5], 0, bytes(31)),
    ],
    ids=[
        "seat_too_large",
        "seat_too_short",
        "channel_key_of_small_order",
        "mask_key_of_small_order",
        "no_commitment",
        "commitment_cut",
        "contribution_cut",
        "seats_not_ascending",
        "seat_twice",
        "seats_cut",
        "listed_seat_too_large",
        "shared_not_within_advertised",
        "masked_not_within_shared",
        "share_not_below_order",
        "shares_cut",
        "share_twice",
        "dealer_too_large",
        "t1_cut",
    ],
)
def test_faulty_fields_are_refused(value: Body, place: int, field: bytes) -> None:
    with pytest.raises(FormatError):
        type(value).decode(_with_field(value, place, field))


@pytest.mark.parametrize(
    ("value", "place"),
    [(value, place) for value in EXAMPLES for place in range(len(decode_fields(value.encode())))],
    ids=lambda item: item if isinstance(item, int) else type(item).__name__,
)
def test_no_field_may_be_a_byte_shorter_or_longer(value: Body, place: int) -> None:
    """Not one that nothing is compared with either, such as a nonce: other readers would refuse what ours accepts."""
    field = decode_fields(value.encode())[place]
    for changed in (field[:-1], field + b"\x00"):
        with pytest.raises(FormatError):
            type(value).decode(_with_field(value, place, changed))


def test_both_kinds_of_share_for_one_seat_cannot_be_written() -> None:
    with pytest.raises(FormatError, match="both kinds of share for seat 3"):
        UnmaskingShares(D[0], 7, {1: 5, 3: 6}, {3: 7})


def test_both_kinds_of_share_for_one_seat_cannot_be_read() -> None:
    shares = bytes.fromhex("03000000") + bytes(32)
    with pytest.raises(FormatError, match="both kinds of share for seat 3"):
        UnmaskingShares.decode(encode_fields(D[0], bytes(4), shares, shares))


def test_revealed_shares_do_not_print() -> None:
    assert "987654321" not in repr(UnmaskingShares(D[0], 7, {1: 987654321}, {}))
