"""The growth of the log that chooses the lines of a spot check, as a file that an auditor hands to an institution.

What decides is the state of the log with exactly one entry more than the checkpoint in the result's proof. There is one such
state, whoever looks and whenever, so that asking again opens nothing new. Promises that a file is accepted only if the log
signed for that state: it lies, provably, between what the bundle shows and a checkpoint that bears the log's signature.
Leaves reading the log to `transparency/tiles.py`. Pure.

Source: protos/README.md §10.14; RFC 6962 §2.1.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from vdb_shared import labels
from vdb_shared.canonical import canonical_json, decode_base64, encode_base64, parse_canonical_json
from vdb_shared.errors import FormatError
from vdb_shared.transparency.checkpoint import Checkpoint, read_checkpoint
from vdb_shared.transparency.merkle import HASH_BYTES, MAX_PROOF, check_consistency
from vdb_shared.transparency.note import NoteKey
from vdb_shared.transparency.tiles import TiledLog

MAX_CHOICE_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class SampleChoice:
    """A state of the log, and proof that the log has been in it.

    Attributes:
        checkpoint: a later signed note of the log, bytes as served.
        root: of the log with one entry more than at the result, 32 bytes.
        grown: proof that it grew from the log at the result.
        continued: proof that the log of the checkpoint grew from it.
    """

    checkpoint: bytes
    root: bytes
    grown: tuple[bytes, ...] = field(repr=False)
    continued: tuple[bytes, ...] = field(repr=False)

    def encode(self) -> bytes:
        """Return the file: canonical JSON."""
        return canonical_json(
            {
                "checkpoint": encode_base64(self.checkpoint),
                "continued": [encode_base64(found) for found in self.continued],
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
            "grown": list(grown),
            "root": str(root),
            "version": labels.SAMPLES_VERSION,
            **rest,
        } if not rest:
            head = _hashes([root])[0]
            return SampleChoice(decode_base64(checkpoint), head, _hashes(grown), _hashes(continued))
        case _:
            raise FormatError("not a file that chooses lines; make one with `vdb-audit choose-sample`")


def choice_of(log: TiledLog, note: bytes, result: Checkpoint) -> SampleChoice:
    """Return what a log says of the choice.

    Args:
        log: read through its files.
        note: of its checkpoint.
        result: checkpoint in the result's proof.

    Raises:
        FormatError: the log has not grown since, or is another one.
    """
    following = result.size + 1
    if log.checkpoint.size < following:
        raise FormatError(
            f"the log has {log.checkpoint.size} entries and had {result.size} at the result: nothing chooses lines yet; wait "
            "until another session is opened or ends"
        )
    choice = SampleChoice(
        note, log.root_at(following), tuple(log.growth(result.size, following)), tuple(log.growth(following))
    )
    check_consistency(result.size, result.root, following, choice.root, choice.grown)
    return choice


def verify_choice(choice: SampleChoice, result: Checkpoint, key: NoteKey) -> tuple[Checkpoint, Checkpoint]:
    """Return the state of the log that chooses, and the later one that the log signed.

    Args:
        choice: as it came.
        result: checkpoint in the result's proof.
        key: of the log.

    Raises:
        FormatError: it is of another log, is not later than the result, or does not fit together.
        SignatureError: the log did not sign.
    """
    signed, _ = read_checkpoint(choice.checkpoint, key)
    following = result.size + 1
    if signed.size < following:
        raise FormatError(f"a checkpoint of {signed.size} entries is not later than the result's, of {result.size}")
    check_consistency(result.size, result.root, following, choice.root, choice.grown)
    check_consistency(following, choice.root, signed.size, signed.root, choice.continued)
    return Checkpoint(signed.origin, following, choice.root), signed


def _hashes(items: list[Any]) -> tuple[bytes, ...]:
    found = tuple(decode_base64(item) if isinstance(item, str) else b"" for item in items)
    if len(found) > MAX_PROOF + 1 or any(len(item) != HASH_BYTES for item in found):
        raise FormatError(f"a proof is at most {MAX_PROOF + 1} hashes of {HASH_BYTES} bytes")
    return found
