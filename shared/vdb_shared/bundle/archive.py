"""The container of a result bundle: a zip with exactly one encoding for each set of members.

Members are stored uncompressed, sorted by name, with fixed times and modes. Promises that reading accepts only the
bytes that writing gives, which rules out prefixes, trailers, duplicate names, compression and files that two readers
understand differently. Leaves the meaning of members to `record.py`. Nothing is ever unpacked to disk.

Source: PKWARE APPNOTE 6.3.10, §4.3 and §4.4; protos/README.md §9.3.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

from vdb_shared.errors import FormatError

MAX_BUNDLE_BYTES: Final = 2**30
MAX_MEMBERS: Final = 2**14
MAX_NAME_BYTES: Final = 160

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?")
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CHECKSUM: Final = range(14, 18)
"""Where the checksum stands in a local head."""

_LENGTHS: Final = 12
"""Bytes of a local head after the checksum: two sizes and two lengths, which say where the next member begins."""

_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")
_LOCAL_MAGIC: Final = b"PK\x03\x04"
_CENTRAL_MAGIC: Final = b"PK\x01\x02"
_END_MAGIC: Final = b"PK\x05\x06"

_VERSION: Final = 20
_UNIX: Final = 3 << 8
_MODE: Final = 0o100644 << 16
_MIDNIGHT: Final = 0
_NEW_YEAR_1980: Final = 0x21


def write_archive(members: Mapping[str, bytes]) -> bytes:
    """Return the one archive that holds these members.

    Raises:
        FormatError: a name outside [a-z0-9._-] with at most one folder, or too many or too large members.
    """
    return b"".join(_pieces(members))


def read_archive(data: bytes) -> dict[str, bytes]:
    """Return the members of an archive, by name.

    Raises:
        FormatError: not exactly what `write_archive` writes.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise FormatError(f"a bundle has at most {MAX_BUNDLE_BYTES} bytes, not {len(data)}")
    members: dict[str, bytes] = {}
    position = 0
    while data.startswith(_LOCAL_MAGIC, position):
        name, start, end = _local_entry(data, position)
        if name in members:
            raise FormatError(f"member {name} stands twice in the bundle")
        if len(members) == MAX_MEMBERS:
            raise FormatError(f"a bundle has at most {MAX_MEMBERS} members")
        members[name] = data[start:end]
        position = end
    if not members:
        raise FormatError("not a result bundle: it does not begin with a zip entry")
    _compare(data, members)
    return members


def _local_entry(data: bytes, position: int) -> tuple[str, int, int]:
    """Return the name of the entry at a position, and where its bytes begin and end."""
    body = position + _LOCAL.size
    if body > len(data):
        raise FormatError("the bundle is cut short in the head of a member")
    fields = _LOCAL.unpack_from(data, position)
    size, name_length, extra_length = fields[8], fields[9], fields[10]
    start = body + name_length
    if extra_length or name_length > MAX_NAME_BYTES or start + size > len(data):
        raise FormatError("the bundle is cut short in a member, or a member has a long name or extra fields")
    try:
        return data[body:start].decode("ascii"), start, start + size
    except UnicodeDecodeError as error:
        raise FormatError("a member's name is not ASCII") from error


def _compare(data: bytes, members: Mapping[str, bytes]) -> None:
    """Raise FormatError unless `data` is byte for byte the encoding of these members."""
    position = 0
    names = sorted(members)
    for number, piece in enumerate(_pieces(members)):
        if not data.startswith(piece, position):
            name = names[number // 2] if number < 2 * len(names) else ""
            raise FormatError(_difference(data, piece, position, (name, len(members.get(name, b"")))))
        position += len(piece)
    if position != len(data):
        raise FormatError(f"{len(data) - position} bytes follow the end of the bundle")


def _difference(data: bytes, expected: bytes, position: int, member: tuple[str, int]) -> str:
    """Return where and how a piece of an archive is not the expected one, as far as that can be known.

    A byte that changed inside a member shows as a checksum that does not fit, and one in a name as another name than the
    directory has: there the place is a range, or none.

    Args:
        data: the archive.
        expected: the piece.
        position: where it begins.
        member: name and size of the member whose head it is; the name is "" in the directory, and an order that is not that of
            names shows in the name.
    """
    name, size = member
    found = data[position : position + len(expected)]
    if expected.startswith(found):
        return f"the bundle is cut short (after {len(data)} bytes)"
    if expected.startswith(_CENTRAL_MAGIC) and not found.startswith(_CENTRAL_MAGIC):
        return f"neither another member nor the directory of the bundle begins where one should (at byte {position})"
    if not name:
        return f"the directory at the end of the bundle (from byte {position} on) does not fit its members"
    differing = [place for place, pair in enumerate(zip(found, expected, strict=True)) if pair[0] != pair[1]]
    fixed = [place for place in differing if place not in _CHECKSUM]
    if not fixed:
        end = position + len(expected) + size - 1
        return f"member {name} (bytes {position} to {end}) does not fit its checksum: it was damaged or changed"
    if fixed[0] >= _LOCAL.size - _LENGTHS:
        return "the members of the bundle do not stand in the order of their names"
    return f"the bundle is not in its one canonical encoding (at byte {position + fixed[0]})"


def _pieces(members: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield the archive: heads and contents, central directory, end record."""
    if not 0 < len(members) <= MAX_MEMBERS:
        raise FormatError(f"a bundle has between 1 and {MAX_MEMBERS} members, not {len(members)}")
    if sum(map(len, members.values())) > MAX_BUNDLE_BYTES:
        raise FormatError(f"the members of a bundle have at most {MAX_BUNDLE_BYTES} bytes together")
    directory: list[bytes] = []
    offset = 0
    for name in sorted(members):
        content = members[name]
        encoded = _encode_name(name)
        facts = (_VERSION, 0, 0, _MIDNIGHT, _NEW_YEAR_1980, zlib.crc32(content), len(content), len(content))
        head = _LOCAL.pack(_LOCAL_MAGIC, *facts, len(encoded), 0) + encoded
        directory.append(
            _CENTRAL.pack(_CENTRAL_MAGIC, _UNIX | _VERSION, *facts, len(encoded), 0, 0, 0, 0, _MODE, offset) + encoded
        )
        offset += len(head) + len(content)
        yield head
        yield content
    central = b"".join(directory)
    yield central
    yield _END.pack(_END_MAGIC, 0, 0, len(members), len(members), len(central), offset, 0)


def _encode_name(name: str) -> bytes:
    if len(name) > MAX_NAME_BYTES or not _NAME.fullmatch(name):
        raise FormatError(f"{name!r} is not a name that a member of a bundle may have")
    return name.encode("ascii")
