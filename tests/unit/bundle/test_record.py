from __future__ import annotations

import pytest

from testkit.bundles import small_session
from vdb_shared.bundle.record import (
    AGGREGATE,
    BLINDERS,
    RELEASED,
    RESTARTS,
    TRANSCRIPT,
    VERSION,
    SessionRecord,
    decode_transcript,
    subjects_of,
)
from vdb_shared.canonical import canonical_json, parse_canonical_json
from vdb_shared.errors import FormatError
from vdb_shared.secagg.field import FIELD_ORDER, encode_scalar


def test_reads_what_it_writes() -> None:
    record = small_session().record
    members = record.members()
    assert not members.keys() & RELEASED
    assert SessionRecord.from_members(members).members() == members


def test_aggregate_is_little_endian() -> None:
    record = small_session().record
    assert int.from_bytes(record.members()[AGGREGATE][:8], "little") == int(record.aggregate[0])


@pytest.mark.parametrize("name", sorted(small_session().record.members().keys() - {"joins/film-studio.dsse.json"}))
def test_a_missing_member_is_named(name: str) -> None:
    members = small_session().record.members()
    del members[name]
    if name.startswith(("joins/", "contributions/")):
        SessionRecord.from_members(members)  # whether all are there is for the audit to say
        return
    with pytest.raises(FormatError, match=name.replace(".", r"\.")):
        SessionRecord.from_members(members)


@pytest.mark.parametrize(
    "name", ["notes.txt", "joins/x.json", "roster/root.0.json", "roster/root.3.json", "metrics.json"]
)
def test_a_member_too_many_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        SessionRecord.from_members({**small_session().record.members(), name: b"{}"})


def test_another_version_is_refused() -> None:
    with pytest.raises(FormatError, match="knows only"):
        SessionRecord.from_members({**small_session().record.members(), VERSION: b"vdb-bundle/2\n"})


@pytest.mark.parametrize("size", [0, 7, 9])
def test_an_aggregate_of_broken_lanes_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match=AGGREGATE):
        SessionRecord.from_members({**small_session().record.members(), AGGREGATE: bytes(size)})


def test_blinders_are_little_endian() -> None:
    record = small_session().record
    assert int.from_bytes(record.members()[BLINDERS][:32], "little") == record.blinders[0]


@pytest.mark.parametrize("data", [bytes(31), bytes(33), encode_scalar(FIELD_ORDER)])
def test_blinders_that_are_no_scalars_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match=BLINDERS):
        SessionRecord.from_members({**small_session().record.members(), BLINDERS: data})


def test_malformed_restarts_are_refused_by_name() -> None:
    with pytest.raises(FormatError, match=RESTARTS):
        SessionRecord.from_members({**small_session().record.members(), RESTARTS: b"{}"})


def _transcript_with(**item: object) -> bytes:
    rounds = parse_canonical_json(small_session().record.members()[TRANSCRIPT])
    rounds["share-keys"][0].update(item)
    return canonical_json(rounds)


@pytest.mark.parametrize(
    "item",
    [
        {"seat": True},
        {"seat": -1},
        {"seat": 65535},
        {"seat": 1},
        {"seat": "0"},
        {"extra": 1},
        {"body": "AA"},
        {"body": 1},
    ],
)
def test_a_malformed_header_is_refused(item: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        decode_transcript(_transcript_with(**item))


def test_a_round_is_a_list() -> None:
    rounds = parse_canonical_json(small_session().record.members()[TRANSCRIPT])
    with pytest.raises(FormatError, match="form a list"):
        decode_transcript(canonical_json({**rounds, "share-keys": {}}))


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"advertise-keys":[],"masked-input":[]}', b"1"])
def test_a_transcript_has_three_rounds(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_transcript(data)


def test_subjects_are_sorted_and_leave_out_result_and_countersignatures() -> None:
    subjects = [item.name for item in subjects_of(small_session().members)]
    assert subjects == sorted(
        small_session().members.keys() - {"result.dsse.json", "countersign.dsse.json", "result.proof"}
    )
