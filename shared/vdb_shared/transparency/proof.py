"""Proof files: that an entry is in a log, and that witnesses saw the log.

Promises that what `verify_proof` accepts is an entry of a log whose checkpoint the log signed and enough witnesses cosigned.
Leaves who the witnesses are to the roster.

Source: C2SP tlog-proof v1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vdb_shared.canonical import decode_base64, encode_base64
from vdb_shared.errors import FormatError, SignatureError
from vdb_shared.transparency.checkpoint import Checkpoint, cosigned_by, parse_number, read_checkpoint
from vdb_shared.transparency.merkle import HASH_BYTES, MAX_PROOF, check_inclusion, leaf_hash
from vdb_shared.transparency.note import NoteKey

_HEAD: Final = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES: Final = 520 * 1024


@dataclass(frozen=True, slots=True)
class LogProof:
    """Place of an entry in a log.

    Attributes:
        index: of the entry.
        path: proof of inclusion.
        checkpoint: the signed note, bytes as served.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes

    def to_bytes(self) -> bytes:
        """Return the proof file."""
        lines = [_HEAD, f"index {self.index}", *(encode_base64(found) for found in self.path), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.checkpoint


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What a proof shows.

    Attributes:
        checkpoint: of the log that has the entry.
        index: of the entry.
        times: when each witness says that it cosigned, POSIX seconds.
    """

    checkpoint: Checkpoint
    index: int
    times: Mapping[str, int]


def parse_proof(data: bytes) -> LogProof:
    """Return the proof that a file holds; extra data, which nothing authenticates, is refused.

    Raises:
        FormatError: it holds none.
    """
    if len(data) > MAX_PROOF_BYTES:
        raise FormatError(f"a proof of {len(data)} bytes; at most {MAX_PROOF_BYTES} are read")
    head, separator, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise FormatError("the lines of a proof are ASCII") from error
    if not separator or len(lines) < 2 or lines[0] != _HEAD or not lines[1].startswith("index "):
        raise FormatError(f"expected a proof that begins with {_HEAD} and an index")
    path = tuple(decode_base64(line) for line in lines[2:])
    if len(path) > MAX_PROOF or any(len(found) != HASH_BYTES for found in path):
        raise FormatError(f"a proof of inclusion is at most {MAX_PROOF} hashes of {HASH_BYTES} bytes")
    return LogProof(parse_number(lines[1].removeprefix("index ")), path, checkpoint)


def verify_proof(proof: LogProof, entry: bytes, log: NoteKey, witnesses: Sequence[NoteKey], quorum: int) -> Witnessed:
    """Return what a proof shows of an entry.

    Args:
        proof: the proof.
        entry: whose place it claims to show.
        log: key of the log.
        witnesses: keys of cosignatures, one for each witness.
        quorum: fewest of them that must have cosigned.

    Raises:
        FormatError: it is of another log, entry or place.
        SignatureError: the log did not sign, too few witnesses did, or a signature does not verify.
    """
    checkpoint, note = read_checkpoint(proof.checkpoint, log)
    check_inclusion(leaf_hash(entry), proof.index, checkpoint.size, proof.path, checkpoint.root)
    times = cosigned_by(note, witnesses)
    if len(times) < quorum:
        raise SignatureError(f"{len(times)} of {len(witnesses)} witnesses cosigned the log, {quorum} are needed")
    return Witnessed(checkpoint, proof.index, times)
