"""Requests are looked at before they are decoded: what a message of two million parts would cost, nobody pays."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from vdb_coordinator.service.reading import Read, reader
from vdb_coordinator.service.sizes import LIMITS, longest
from vdb_shared.errors import FormatError
from vdb_shared.secagg.parameters import MAX_PARTICIPANTS
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb

ROUNDS, SESSIONS, ADMIN = "/vdb.v1.AggregationService/", "/vdb.v1.SessionService/", "/vdb.v1.AdminService/"
HALF = convert.MAX_MESSAGE_BYTES // 2 - 100
METHODS = [method for service in pb.DESCRIPTOR.services_by_name.values() for method in service.methods]


def counted(number: int, inner: bytes) -> bytes:
    """Return a field with its length: as a list's entry, a message or bytes."""
    length, rest = b"", len(inner)
    while rest > 127:
        length, rest = length + bytes([rest & 127 | 128]), rest >> 7
    return bytes([number << 3 | 2]) + length + bytes([rest]) + inner


def undecoded(_data: bytes) -> Message:
    raise AssertionError("it was decoded")


def sound(field: Any) -> Any:
    """Return as much as a field may have."""
    if field.type == field.TYPE_STRING:
        one: Any = "x" * min(LIMITS[field.name], 64 if field.is_repeated else 2**20)
        return [one] * LIMITS[field.name] if field.is_repeated else one
    if field.type == field.TYPE_BYTES:
        return bytes(min(LIMITS[field.name], 2**20))
    return 1 if field.type != field.TYPE_ENUM else 2


@pytest.mark.parametrize(
    ("method", "data"),
    [
        (ROUNDS + "ShareKeys", counted(3, b"") * HALF),
        (ROUNDS + "ShareKeys", counted(3, b"") * (MAX_PARTICIPANTS + 50)),
        (ROUNDS + "AdvertiseKeys", counted(2, b"") * HALF),
        (ROUNDS + "AdvertiseKeys", counted(15, b"") * 40),
        (ROUNDS + "AdvertiseKeys", counted(2, b"\x78\0" * HALF)),
        (ROUNDS + "UploadMaskedInput", counted(1, counted(2, b"\x78\0" * HALF))),
        (ADMIN + "ProposeAction", (counted(1, b"") + counted(2, b"")) * 10_000),
        (SESSIONS + "ListSessions", b"\x78\0" * 20),
    ],
    ids=[
        "shares",
        "more shares than seats",
        "again and again",
        "unknown",
        "unknown inside",
        "deep inside",
        "either",
        "none",
    ],
)
def test_what_has_more_fields_than_there_can_be_is_not_decoded(method: str, data: bytes) -> None:
    with pytest.raises(FormatError, match="more fields than there can be"):
        reader(method, undecoded)(data)


def test_what_is_longer_than_any_request_of_its_method_is_not_decoded() -> None:
    with pytest.raises(FormatError, match="of ListSessionsRequest at most 1024 are read"):
        reader(SESSIONS + "ListSessions", undecoded)(counted(15, bytes(2**20)))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: str(method.name))
def test_the_largest_request_of_each_method_is_read(method: Any) -> None:
    kind: Any = getattr(pb, method.input_type.name)
    singles = {field.name: sound(field) for field in method.input_type.fields if field.message_type is None}
    request = kind(**singles)
    read = reader(f"/{method.containing_service.full_name}/{method.name}", kind.FromString)
    assert read(request.SerializeToString()) == request
    assert len(request.SerializeToString()) < longest(method.input_type) <= convert.MAX_MESSAGE_BYTES


def test_shares_for_as_many_as_there_can_be_are_read() -> None:
    sealed = [pb.SealedShares(dealer=1, holder=holder, ciphertext=bytes(60)) for holder in range(MAX_PARTICIPANTS)]
    request = pb.ShareKeysRequest(
        session="x", header=pb.SignedMessage(seat=1, body=b"x", signature=bytes(64)), sealed=sealed
    )
    assert reader(ROUNDS + "ShareKeys", pb.ShareKeysRequest.FromString)(request.SerializeToString()) == request


def test_a_field_that_a_newer_agent_has_is_passed_over() -> None:
    data = pb.GetSessionRequest(session="sha256:x").SerializeToString() + counted(15, b"new")
    assert reader(SESSIONS + "GetSession", pb.GetSessionRequest.FromString)(data).session == "sha256:x"


def test_of_a_large_upload_only_the_fields_are_looked_at() -> None:
    """One step for each field: as many for a chunk of a megabyte as for one of a byte."""

    class Looked(bytes):
        """Bytes that count how often somebody looks at one of them."""

        looks = 0

        def __getitem__(self, place: Any) -> Any:
            Looked.looks += 1
            return super().__getitem__(place)

    data = pb.UploadMaskedInputRequest(chunk=bytes(2**20)).SerializeToString()
    reader(ROUNDS + "UploadMaskedInput", pb.UploadMaskedInputRequest.FromString)(Looked(data))
    assert Looked.looks < 10, "its number, and the three bytes of its length"


@pytest.mark.parametrize("data", [b"\xff" * 11, b"\x0a", b"\x0a\x05x", b"\x0b\x0c", b"\x09x", b"\x0a\x01\xff"])
def test_what_is_no_message_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(FormatError):
        reader(SESSIONS + "GetSession", pb.GetSessionRequest.FromString)(data)


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    for method, kind in (("GetSession", pb.GetSessionRequest), ("Join", pb.JoinRequest)):
        read: Read = reader(SESSIONS + method, kind.FromString)
        try:
            request = read(data)
        except FormatError:
            continue
        assert request == kind.FromString(data)
