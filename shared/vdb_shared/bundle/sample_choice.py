"""The growth of the log that chooses the lines of a spot check, as a file that an auditor hands to an institution.

What decides is the state of the log that ends with the first entry behind the result's whose bytes nobody could
foresee. Every kind of entry has such bytes, but for results: whoever countersigns one knows it before it is logged.
There is one such state, whoever looks and whenever, so that asking again opens nothing new. Promises that a file is
accepted only if it shows all entries from the result's to the one that chooses, and if the log signed for that state.
Leaves reading the log to `transparency/tiles.py`. Pure.

Source: protos/README.md §10.14; RFC 6962 §2.1.1, §2.1.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from vdb_shared import labels
from vdb_shared.bundle.logged import PublishedRecord, parse_record
from vdb_shared.canonical import canonical_json, decode_base64, encode_base64, parse_canonical_json
from vdb_shared.errors import FormatError
from vdb_shared.transparency.checkpoint import Checkpoint, read_checkpoint
from vdb_shared.transparency.merkle import HASH_BYTES, MAX_PROOF, check_consistency, check_inclusion, leaf_hash
from vdb_shared.transparency.note import NoteKey
from vdb_shared.transparency.proof import LogProof
from vdb_shared.transparency.tiles import MAX_ENTRY_BYTES, TiledLog

MAX_CHOICE_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class ResultPlace:
    """Where a result stands in the log.

    Attributes:
        index: of its entry.
        checkpoint: of a log that has it, as the result's proof shows it.
    """

    index: int
    checkpoint: Checkpoint


def place_of(proof: LogProof, key: NoteKey) -> ResultPlace:
    """Return where a result's proof says that it stands; that it does is for the audit to verify (V60).

    Raises:
        FormatError, SignatureError: the log of that key did not sign.
    """
    return ResultPlace(proof.index, read_checkpoint(proof.checkpoint, key)[0])


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """An entry behind the result's, and the proof that it has its place in the log that ends with the last of them."""

    entry: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SampleChoice:
    """A state of the log, and proof that the log has been in it.

    Attributes:
        checkpoint: a signed note of the log in this state or a later one, bytes as served.
        root: of the log in this state, 32 bytes.
        entries: all behind the result's, in order; the last one chooses.
        grown: proof that this state and that of the result's proof are of one log.
        continued: proof that the log of the checkpoint grew from it.
    """

    checkpoint: bytes
    root: bytes
    entries: tuple[ShownEntry, ...] = field(repr=False)
    grown: tuple[bytes, ...] = field(repr=False)
    continued: tuple[bytes, ...] = field(repr=False)

    def encode(self) -> bytes:
        """Return the file: canonical JSON."""
        return canonical_json(
            {
                "checkpoint": encode_base64(self.checkpoint),
                "continued": [encode_base64(found) for found in self.continued],
                "entries": [
                    {"entry": encode_base64(shown.entry), "path": [encode_base64(found) for found in shown.path]}
                    for shown in self.entries
                ],
                "grown": [encode_base64(found) for found in self.grown],
                "root": encode_base64(self.root),
                "version": labels.SAMPLES_VERSION,
            }
        )


def parse_choice(data: bytes) -> SampleChoice:
    """Return the choice in a file; nothing of it is verified.

    Raises:
        FormatError: it holds none.
    """
    if len(data) > MAX_CHOICE_BYTES:
        raise FormatError(f"a file of {len(data)} bytes; one that chooses lines has at most {MAX_CHOICE_BYTES}")
    match parse_canonical_json(data):
        case {
            "checkpoint": str(checkpoint),
            "continued": list(continued),
            "entries": list(entries),
            "grown": list(grown),
            "root": str(root),
            "version": labels.SAMPLES_VERSION,
            **rest,
        } if not rest:
            head, shown = _hashes([root])[0], tuple(_shown(item) for item in entries)
            return SampleChoice(decode_base64(checkpoint), head, shown, _hashes(grown), _hashes(continued))
        case _:
            raise FormatError("not a file that chooses lines; make one with `vdb-audit choose-sample`")


def may_choose(entry: bytes) -> bool:
    """Return whether an entry of the log has bytes that nobody could foresee or set.

    The id of a session rests on 32 random bytes of the coordinator, and every other record but a result has a salt. What is no
    record of this version chooses nothing.
    """
    try:
        record = parse_record(entry)
    except FormatError:
        return False
    return not isinstance(record, PublishedRecord)


def choice_of(log: TiledLog, note: bytes, result: ResultPlace) -> SampleChoice:
    """Return what a log says of the choice.

    Args:
        log: read through its files.
        note: of its checkpoint.
        result: where the result stands.

    Raises:
        FormatError: nothing in it chooses yet, it is another log or an older copy, or the file would be too large.
    """
    size, known = log.checkpoint.size, result.checkpoint
    if size < known.size:
        raise FormatError(
            f"the log has {size} entries and had {known.size} when the result was witnessed: an older copy; read the log anew"
        )
    if log.root_at(known.size) != known.root:
        raise FormatError(
            f"its first {known.size} entries are not those that the result's witnesses signed: give the log of this "
            "consortium, and if this is it, keep both, for their signatures prove a fork"
        )
    entries = list(_up_to_choice(log, result.index + 1))
    following = result.index + 1 + len(entries)
    older, newer = sorted((known.size, following))
    choice = SampleChoice(
        note,
        log.root_at(following),
        tuple(
            ShownEntry(entry, tuple(log.inclusion(index, following)))
            for index, entry in enumerate(entries, result.index + 1)
        ),
        tuple(log.growth(older, newer)),
        tuple(log.growth(following)),
    )
    if len(choice.encode()) > MAX_CHOICE_BYTES:
        raise FormatError(
            f"{len(entries)} entries of the log choose, more than a file of {MAX_CHOICE_BYTES} bytes holds"
        )
    return choice


def verify_choice(choice: SampleChoice, result: ResultPlace, key: NoteKey) -> tuple[Checkpoint, Checkpoint]:
    """Return the state of the log that chooses, and the later one that the log signed.

    Args:
        choice: as it came.
        result: where the result stands.
        key: of the log.

    Raises:
        FormatError: it is of another log, ends with another entry than the one that chooses, or does not fit together.
        SignatureError: the log did not sign.
    """
    signed, _ = read_checkpoint(choice.checkpoint, key)
    *passed_over, last = [may_choose(shown.entry) for shown in choice.entries] or [False]
    if any(passed_over) or not last:
        raise FormatError("it does not end with the first entry behind the result's that nobody could foresee")
    head = Checkpoint(signed.origin, result.index + 1 + len(choice.entries), choice.root)
    if signed.size < head.size:
        raise FormatError(f"its checkpoint has {signed.size} entries, fewer than the {head.size} that choose")
    older, newer = sorted((result.checkpoint, head), key=lambda state: state.size)
    try:
        for index, shown in enumerate(choice.entries, result.index + 1):
            check_inclusion(leaf_hash(shown.entry), index, head.size, shown.path, head.root)
        check_consistency(older.size, older.root, newer.size, newer.root, choice.grown)
        check_consistency(head.size, head.root, signed.size, signed.root, choice.continued)
    except FormatError as error:
        raise FormatError(
            f"{error}: it is of another log or result; use what `vdb-audit choose-sample` writes of this very bundle"
        ) from error
    return head, signed


def _up_to_choice(log: TiledLog, start: int) -> Iterator[bytes]:
    """Yield the entries from an index to the one that chooses.

    Raises:
        FormatError: none does.
    """
    for entry in log.entries(start):
        yield entry
        if may_choose(entry):
            return
    raise FormatError(
        f"the log has {log.checkpoint.size} entries, and none behind the result's, {start - 1}, chooses lines: nothing chooses "
        "lines yet; wait until another session is opened or aborted"
    )


def _shown(item: Any) -> ShownEntry:
    match item:
        case {"entry": str(entry), "path": list(path), **rest} if not rest:
            found = decode_base64(entry)
        case _:
            raise FormatError("an entry of the log stands there as `entry` and `path`, and nothing else")
    if len(found) > MAX_ENTRY_BYTES:
        raise FormatError(f"an entry of {len(found)} bytes; the log's have at most {MAX_ENTRY_BYTES}")
    return ShownEntry(found, _hashes(path))


def _hashes(items: list[Any]) -> tuple[bytes, ...]:
    found = tuple(decode_base64(item) if isinstance(item, str) else b"" for item in items)
    if len(found) > MAX_PROOF + 1 or any(len(item) != HASH_BYTES for item in found):
        raise FormatError(f"a proof is at most {MAX_PROOF + 1} hashes of {HASH_BYTES} bytes")
    return found
