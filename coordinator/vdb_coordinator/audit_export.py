"""The audit log as a file that anybody can check: a line for each entry, and the coordinator's signature over the end.

Promises that a file which is read is whole and in its order, under the key that is given, and that an earlier export is its
beginning. Cannot tell what the holder of that key wrote anew from the beginning: only earlier exports, or ends that somebody
noted, can.

Source: protos/README.md §11.10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vdb_coordinator.store.attempts import End, Entry
from vdb_shared.canonical import canonical_json, parse_canonical_json
from vdb_shared.errors import FormatError, SignatureError, VdbError
from vdb_shared.transparency.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from vdb_shared.transparency.note import ED25519, NoteKey, NoteSigner, parse_key

ORIGIN_SUFFIX: Final = "/vdb-audit"
VERSION: Final = "vdb-audit/1"
MAX_BYTES: Final = 2**30

_WORDS: Final = ("at", "who", "action", "outcome")


def audit_key(log_key: str) -> NoteKey:
    """Return the key of an audit log, given that of the same coordinator's transparency log as text.

    Raises:
        FormatError: it is none.
    """
    found = parse_key(log_key)
    consortium, slash, _ = found.name.partition("/")
    if not slash:
        raise FormatError(f"{log_key!r} is not the key of a consortium's log; `vdb-coordinator log` prints it")
    return NoteKey(consortium + ORIGIN_SUFFIX, ED25519, found.public)


def sign_end(consortium: str, end: End, signer: NoteSigner) -> bytes:
    """Return the signed note that names the end of an audit log."""
    return sign_checkpoint(Checkpoint(consortium + ORIGIN_SUFFIX, end.size, end.digest), signer).to_bytes()


def read_end(note: bytes, key: NoteKey) -> End:
    """Return the end that a signed note names.

    Raises:
        FormatError, SignatureError: it is no note of this audit log.
    """
    checkpoint, _ = read_checkpoint(note, key)
    return End(checkpoint.size, checkpoint.root)


def encode_export(entries: list[Entry], note: bytes) -> bytes:
    """Return the file."""
    last, lines = End(), list[bytes]()
    for entry in entries:
        last = last.after(entry)
        words = {word: getattr(entry, word) for word in _WORDS}
        lines.append(canonical_json({"number": last.size, "digest": last.digest.hex(), **words}))
    lines.append(canonical_json({"version": VERSION, "end": note.decode()}))
    return b"".join(line + b"\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Export:
    """An export that was checked: its entries, oldest first, and its end."""

    entries: tuple[Entry, ...]
    end: End


def read_export(data: bytes, key: NoteKey) -> Export:
    """Return what a file holds.

    Raises:
        FormatError: it is no export; an entry was changed, moved, taken out or added.
        SignatureError: the coordinator did not sign its end.
    """
    if len(data) > MAX_BYTES or not data.endswith(b"\n"):
        raise FormatError("the file is no whole export of an audit log: its last line is cut short")
    *lines, closing = data[:-1].split(b"\n")
    last, entries = End(), list[Entry]()
    for line in lines:
        fields = _fields(line, {"number", "digest", *_WORDS}, len(entries) + 1)
        entry = Entry(*(str(fields[word]) for word in _WORDS))
        last = last.after(entry)
        if (fields["number"], fields["digest"]) != (last.size, last.digest.hex()):
            raise FormatError(f"entry {last.size} is not the one that was written, or one before it is missing")
        entries.append(entry)
    note = str(_fields(closing, {"version", "end"}, len(entries) + 1)["end"])
    try:
        signed = read_end(note.encode(), key)
    except (FormatError, SignatureError) as error:
        raise SignatureError(f"the end is not signed by {key.name}: {error}") from error
    if signed != last:
        raise FormatError(f"{last.size} entries are here, the coordinator signed {signed.size} or others")
    return Export(tuple(entries), last)


def check_continues(export: Export, earlier: Export) -> None:
    """Check that an earlier export is the beginning of a later one.

    Raises:
        FormatError: it is not: the log was written anew, or cut.
    """
    if len(export.entries) < len(earlier.entries):
        raise FormatError(
            f"has {len(export.entries)} entries, an earlier export {len(earlier.entries)}: entries were cut off"
        )
    for number, (now, then) in enumerate(zip(export.entries, earlier.entries, strict=False), start=1):
        if now != then:
            raise FormatError(f"entry {number} differs from that of an earlier export: the log was written anew")


def _fields(line: bytes, names: set[str], number: int) -> dict[str, Any]:
    try:
        value = parse_canonical_json(line)
    except VdbError as error:
        raise FormatError(f"line {number} is damaged: {error}") from error
    if not isinstance(value, dict) or set(value) != names or not all(isinstance(value[k], str | int) for k in names):
        raise FormatError(f"line {number} is no line of an audit log")
    return value
