"""Checkpoints: the size and root of a log at one moment, signed by the log and cosigned by witnesses.

Promises one text for each checkpoint, and that a cosignature counts only for the witness, the time and the text it was made
for. A cosignature says that this is the longest log its witness has seen, grown from all it saw before. Leaves to witnesses
when to sign, and to a policy how many of them suffice.

Source: C2SP tlog-checkpoint v1.0.0; C2SP tlog-cosignature v1 (Ed25519).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vdb_shared.canonical import decode_base64, encode_base64
from vdb_shared.errors import FormatError, SignatureError
from vdb_shared.transparency.merkle import EMPTY_ROOT, HASH_BYTES
from vdb_shared.transparency.note import (
    COSIGNATURE,
    Note,
    NoteKey,
    NoteSignature,
    NoteSigner,
    parse_note,
    sign_text,
    verified_by,
)

MAX_SIZE: Final = 2**63 - 1

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log at one moment.

    Attributes:
        origin: name of the log.
        size: number of its entries.
        root: of its Merkle tree, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text of its note: three lines. Extension lines, which no monitor can audit, are neither made nor read."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint that a note's text is.

    Raises:
        FormatError: it is none.
    """
    lines = text.split("\n")
    if len(lines) != 4 or not lines[0] or lines[3]:
        raise FormatError("a checkpoint has three lines, each with its end: origin, size, root")
    origin, size, root, _ = lines
    found = Checkpoint(origin, parse_number(size), decode_base64(root))
    if len(found.root) != HASH_BYTES:
        raise FormatError(f"the root of a checkpoint has {HASH_BYTES} bytes, not {len(found.root)}")
    if found.size == 0 and found.root != EMPTY_ROOT:
        raise FormatError("the root of an empty log is the hash of nothing")
    return found


def parse_number(text: str) -> int:
    """Return a number below 2^63 in decimal digits without leading zeros.

    Raises:
        FormatError: it is none.
    """
    if not _NUMBER.fullmatch(text) or int(text) > MAX_SIZE:
        raise FormatError(f"{text[:40]!r} is no number of entries")
    return int(text)


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> Note:
    """Return a checkpoint signed by its log, under the log's origin as name."""
    return Note(checkpoint.text, (sign_text(checkpoint.text, checkpoint.origin, signer),))


def read_checkpoint(data: bytes, log: NoteKey) -> tuple[Checkpoint, Note]:
    """Return the checkpoint of a log, its signature verified, and its note.

    Args:
        data: the note.
        log: key of the log; its name is the origin.

    Raises:
        FormatError: it is no checkpoint of this log.
        SignatureError: the log did not sign it.
    """
    note = parse_note(data)
    found = parse_checkpoint(note.text)
    if found.origin != log.name:
        raise FormatError(f"a checkpoint of {found.origin}, expected one of {log.name}")
    if not verified_by(note, [log]):
        raise SignatureError(f"the checkpoint bears no signature of its log {log.name}")
    return found, note


def cosign(checkpoint: Checkpoint, name: str, signer: NoteSigner, moment: int) -> NoteSignature:
    """Return a witness's cosignature.

    Args:
        checkpoint: grown from all that the witness saw before, which it has recorded durably.
        name: of the witness.
        signer: its key, which cosigns under this name alone.
        moment: POSIX time in seconds.
    """
    if not 0 < moment <= MAX_SIZE:
        raise ValueError(f"{moment} is no time")
    key = NoteKey(name, COSIGNATURE, signer.public_key.raw)
    value = moment.to_bytes(_TIME_BYTES, "big") + signer.sign_note(_cosigned(checkpoint.text, moment))
    return NoteSignature(name, key.id, value)


def cosigned_by(note: Note, witnesses: Sequence[NoteKey]) -> Mapping[str, int]:
    """Return which witnesses cosigned a checkpoint: their names, and when each says that it did, in POSIX seconds.

    Raises:
        SignatureError: a cosignature claims to be of a known witness and does not verify.
    """
    found: dict[str, int] = {}
    for witness in witnesses:
        for signature in note.by(witness):
            moment = int.from_bytes(signature.value[:_TIME_BYTES], "big")
            message = _cosigned(note.text, moment).encode()
            complete = len(signature.value) == _TIME_BYTES + _SIGNATURE_BYTES and moment <= MAX_SIZE
            if not complete or not witness.verifies(message, signature.value[_TIME_BYTES:]):
                raise SignatureError(f"a cosignature of {witness.name} below a checkpoint does not verify")
            found[witness.name] = min(moment, found.get(witness.name, moment))
    return found


def _cosigned(text: str, moment: int) -> str:
    return f"cosignature/v1\ntime {moment}\n{text}"
