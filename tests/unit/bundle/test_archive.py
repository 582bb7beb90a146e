from __future__ import annotations

import io
import itertools
import re
import zipfile
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_shared.bundle import archive
from vdb_shared.bundle.archive import MAX_BUNDLE_BYTES, MAX_MEMBERS, MAX_NAME_BYTES, read_archive, write_archive
from vdb_shared.errors import FormatError

MEMBERS = {"vdb-bundle": b"vdb-bundle/1\n", "joins/a.json": b"", "aggregate.u64le": bytes(range(64))}
NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,20}(/[a-z0-9][a-z0-9._-]{0,20})?\Z")

HEAD = b"PK\x03\x04" + bytes(26)
"""Of a member without a name and without content."""


@given(st.dictionaries(NAMES, st.binary(max_size=50), min_size=1, max_size=8))
def test_reads_what_it_writes(members: dict[str, bytes]) -> None:
    assert read_archive(write_archive(members)) == members


def test_does_not_depend_on_the_order_of_members() -> None:
    assert write_archive(MEMBERS) == write_archive(dict(reversed(MEMBERS.items())))


def test_is_a_zip_that_others_read() -> None:
    with zipfile.ZipFile(io.BytesIO(write_archive(MEMBERS))) as zipped:
        assert zipped.testzip() is None
        assert zipped.namelist() == sorted(MEMBERS)
        assert {name: zipped.read(name) for name in zipped.namelist()} == MEMBERS
        assert {item.compress_type for item in zipped.infolist()} == {zipfile.ZIP_STORED}
        assert {item.date_time for item in zipped.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_every_changed_byte_is_refused() -> None:
    data = write_archive(MEMBERS)
    for position in range(len(data)):
        for change in (1, 0x80):
            changed = bytearray(data)
            changed[position] ^= change
            with pytest.raises(FormatError):
                read_archive(bytes(changed))


def test_every_truncation_is_refused() -> None:
    data = write_archive(MEMBERS)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            read_archive(data[:length])


@pytest.mark.parametrize(("before", "after"), [(b"MZ", b""), (b"", b"\0"), (b"#!/bin/sh\n", b""), (b"", b"PK\x05\x06")])
def test_nothing_may_stand_around_it(before: bytes, after: bytes) -> None:
    with pytest.raises(FormatError):
        read_archive(before + write_archive(MEMBERS) + after)


def test_a_duplicate_member_is_refused() -> None:
    data = write_archive({"a": b"1"})
    with pytest.raises(FormatError, match="stands twice"):
        read_archive(data[:32] + data)


def test_a_compressed_zip_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("bomb", bytes(100_000))
    with pytest.raises(FormatError):
        read_archive(file.getvalue())


def test_a_declared_size_beyond_the_file_is_refused_without_reading_it() -> None:
    data = bytearray(write_archive({"a": b"1"}))
    data[18:26] = b"\xff" * 8
    with pytest.raises(FormatError, match="cut short"):
        read_archive(bytes(data))


@pytest.mark.parametrize(
    "name", ["", "../x", "/x", "a/b/c", "A", "a\\b", "a b", ".hidden", "é", "x" * (MAX_NAME_BYTES + 1)]
)
def test_names_that_escape_or_surprise_are_refused(name: str) -> None:
    with pytest.raises(FormatError):
        write_archive({name: b""})


@given(st.binary(max_size=200))
def test_any_bytes_give_members_or_a_format_error(data: bytes) -> None:
    try:
        members = read_archive(b"PK\x03\x04" + data)
    except FormatError:
        return
    assert write_archive(members) == b"PK\x03\x04" + data


def test_nothing_at_all_is_no_bundle() -> None:
    with pytest.raises(FormatError, match="not a result bundle"):
        read_archive(b"")
    with pytest.raises(FormatError, match="between 1"):
        write_archive({})


def test_too_large_is_refused_unread() -> None:
    zeros = bytes(MAX_BUNDLE_BYTES + 1)  # never touched, so it costs no memory
    with pytest.raises(FormatError, match="at most"):
        read_archive(zeros)
    with pytest.raises(FormatError, match="together"):
        write_archive({"a": zeros})


def test_too_many_members_are_refused() -> None:
    with pytest.raises(FormatError, match="between 1"):
        write_archive({f"a{number}": b"" for number in range(MAX_MEMBERS + 1)})
    heads = (write_archive({f"a{number:05}": b""})[:36] for number in range(MAX_MEMBERS + 1))
    with pytest.raises(FormatError, match=f"at most {MAX_MEMBERS} members"):
        read_archive(b"".join(heads))


def test_limits_are_those_of_the_specification() -> None:
    """protos/README.md §9.3."""
    assert (MAX_BUNDLE_BYTES, MAX_MEMBERS, MAX_NAME_BYTES) == (1_073_741_824, 16_384, 160)


def test_as_much_as_is_allowed_is_written() -> None:
    longest = "x" * MAX_NAME_BYTES
    assert read_archive(write_archive({longest: b"1"})) == {longest: b"1"}
    many = {f"a{number:05}": b"" for number in range(MAX_MEMBERS)}
    assert read_archive(write_archive(many)) == many


def test_members_may_be_as_large_as_a_bundle() -> None:
    next(archive._pieces({"a": bytes(MAX_BUNDLE_BYTES)}))  # its zeros are read, never written


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (HEAD[:29], "the bundle is cut short in the head of a member"),
        (HEAD, "'' is not a name that a member of a bundle may have"),
        (
            write_archive({"a": b"1"})[:31],
            "the bundle is cut short in a member, or a member has a long name or extra fields",
        ),
        (write_archive({"a": b"1"})[:32], "the bundle is cut short (after 32 bytes)"),
        (write_archive({"a": b"1"}) + b"xyz", "3 bytes follow the end of the bundle"),
        (b"MZ" + write_archive({"a": b"1"}), "not a result bundle: it does not begin with a zip entry"),
    ],
)
def test_where_the_form_ends_is_told_to_the_byte(data: bytes, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_archive(data)
    assert str(caught.value) == problem


@pytest.mark.parametrize("length", [MAX_NAME_BYTES, MAX_NAME_BYTES + 1])
def test_a_longer_name_is_refused_where_it_is_read(length: int) -> None:
    data = bytearray(write_archive({"x" * MAX_NAME_BYTES: b"1"}))
    data[26:28] = length.to_bytes(2, "little")
    if length == MAX_NAME_BYTES:
        assert read_archive(bytes(data)) == {"x" * MAX_NAME_BYTES: b"1"}
        return
    with pytest.raises(FormatError, match="a long name"):
        read_archive(bytes(data))


def test_a_byte_that_changed_is_found_where_it_is_or_in_the_member_it_is_in() -> None:
    """Flip every bit of a bundle: whatever place is told, the flipped bit is there."""
    members = {"first.json": b"1" * 40, "second/third.json": b"PK\x03\x04" + bytes(30), "void": b""}
    good = write_archive(members)
    directory = sum(30 + len(name) + len(content) for name, content in members.items())
    told: Counter[str] = Counter()
    for place, bit in itertools.product(range(len(good)), range(8)):
        damaged = bytearray(good)
        damaged[place] ^= 1 << bit
        with pytest.raises(FormatError) as caught:
            read_archive(bytes(damaged))
        message = str(caught.value)
        if at := re.search(r"\(at byte (\d+)\)", message):
            told["at"] += 1
            assert place == int(at[1]) or ("begins" in message and 0 <= place - int(at[1]) < 4), message
        elif within := re.search(r"^member (\S+) \(bytes (\d+) to (\d+)\) does not fit its checksum", message):
            told["within"] += 1
            assert int(within[2]) <= place <= int(within[3]), message
        elif "the directory at the end of the bundle" in message:
            told["directory"] += 1
            assert f"(from byte {directory} on)" in message or f"(from byte {len(good) - 22} on)" in message
        else:
            told["no place"] += 1
    content, checksums = sum(map(len, members.values())), 4 * len(members)
    assert told["within"] >= 8 * (content + checksums), "each byte of each member"
    assert told["at"] >= 8 * 3 * 8
    assert told["directory"] >= 8 * (len(good) - directory)
