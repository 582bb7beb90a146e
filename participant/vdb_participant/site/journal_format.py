"""The bytes of a session's journal: framed, hash-chained records.

Promises that a journal is read back exactly as written, or refused: what was cut short by a crash at its end is told apart
from damage anywhere else. Leaves files, fsync and what the records mean to `journal.py`.

    journal = magic ‖ session (32 bytes) ‖ frame*
    frame   = length (8 bytes, little-endian) ‖ check (8) ‖ body ‖ link (32) ‖ 0x2E
    body    = fields(name, kind, value)
    check   = first 8 bytes of H(label, previous link, length)
    link    = H(label, previous link, length, body)

The end mark is not zero, so a frame of which a file system kept only the size (trailing zeros) is never taken for whole.

Source: protos/README.md §12.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, cast, get_args

from vdb_shared import labels
from vdb_shared.canonical import decode_fields, encode_fields, labelled_hash
from vdb_shared.errors import FormatError, StoreError

MAGIC: Final = b"vdb-journal/1\n"
SESSION_BYTES: Final = 32
PREAMBLE_BYTES: Final = len(MAGIC) + SESSION_BYTES
HEAD_BYTES: Final = 16
LINK_BYTES: Final = 32
END: Final = b"."

Kind = Literal["public", "secret", "erased"]
"""public: kept for ever; secret: erased once nothing needs it any more; erased: the SHA-256 of what was a secret."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its name, unique in the journal, its kind, and the bytes."""

    name: str
    kind: Kind
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a journal's bytes hold.

    Attributes:
        records: in the order written.
        link: the last link, from which the next frame goes on.
        size: bytes of all whole frames and the preamble; what lies beyond was cut short and never counted as written.
    """

    records: tuple[Record, ...]
    link: bytes = field(repr=False)
    size: int


def preamble(session: bytes) -> bytes:
    """Return the first bytes of a session's journal."""
    if len(session) != SESSION_BYTES:
        raise ValueError(f"a session id has {SESSION_BYTES} bytes, not {len(session)}")
    return MAGIC + session


def first_link(session: bytes) -> bytes:
    """Return the link before the first frame."""
    return labelled_hash(labels.HASH_JOURNAL, preamble(session))


def encode_frame(link: bytes, record: Record) -> tuple[bytes, bytes]:
    """Return the frame of a record that follows `link`, and the next link."""
    body = encode_fields(record.name.encode(), record.kind.encode(), record.value)
    length = len(body).to_bytes(8, "little")
    following = labelled_hash(labels.HASH_JOURNAL, link, length, body)
    return length + _check(link, length) + body + following + END, following


def encode_journal(session: bytes, records: Sequence[Record]) -> tuple[bytes, bytes]:
    """Return a whole journal and its last link."""
    parts, link = [preamble(session)], first_link(session)
    for record in records:
        frame, link = encode_frame(link, record)
        parts.append(frame)
    return b"".join(parts), link


def read_journal(data: bytes, session: bytes) -> Reading:
    """Return the records of a journal.

    A frame that the end of the bytes cuts short is left out: its write never finished, so nothing was done on its strength.

    Raises:
        StoreError: another session's, or damaged before its end.
    """
    start = preamble(session)
    if len(data) <= len(start) and data != start and start.startswith(data.rstrip(b"\0")):
        return Reading((), first_link(session), 0)
    if not data.startswith(start):
        raise StoreError("the journal is not one of this session; restore the folder or leave the session")
    records: list[Record] = []
    link, position = first_link(session), len(start)
    while position < len(data):
        end = _frame_end(data, position, link)
        if end is None:
            break
        record, link = _decode_frame(data[position:end], link)
        if any(record.name == earlier.name for earlier in records):
            raise StoreError(f"the journal holds record {record.name!r} twice")
        records.append(record)
        position = end
    return Reading(tuple(records), link, position)


def _check(link: bytes, length: bytes) -> bytes:
    return labelled_hash(labels.HASH_JOURNAL, link, length)[:8]


def _cut_short(rest: bytes, size: int) -> bool:
    """Return whether fewer than `size` bytes were written; trailing zeros are size without content."""
    return len(rest.rstrip(b"\0")) < size


def _frame_end(data: bytes, position: int, link: bytes) -> int | None:
    """Return where the frame at `position` ends, or None when the end of the bytes cuts it short."""
    head = data[position : position + HEAD_BYTES]
    if len(head) < HEAD_BYTES or not data[position:].rstrip(b"\0"):
        return None
    if head[8:] != _check(link, head[:8]):
        if _cut_short(data[position:], HEAD_BYTES):
            return None
        raise _damaged(position)
    end = position + HEAD_BYTES + int.from_bytes(head[:8], "little") + LINK_BYTES + len(END)
    if _cut_short(data[position:], end - position):
        return None
    return end


def _decode_frame(frame: bytes, link: bytes) -> tuple[Record, bytes]:
    body = frame[HEAD_BYTES : -LINK_BYTES - len(END)]
    following = labelled_hash(labels.HASH_JOURNAL, link, frame[:8], body)
    if frame[-LINK_BYTES - len(END) :] != following + END:
        raise _damaged(None)
    try:
        name, kind, value = decode_fields(body, 3)
        text = kind.decode("ascii")
    except (FormatError, UnicodeDecodeError) as error:
        raise _damaged(None) from error
    if text not in get_args(Kind):
        raise _damaged(None)
    return Record(name.decode(), cast(Kind, text), value), following


def _damaged(position: int | None) -> StoreError:
    where = "" if position is None else f" at byte {position}"
    return StoreError(
        f"the journal is damaged{where}; this session cannot go on here: check the disk, then join another"
    )
