"""Proofs that a session's opening and its result stand in the log, and that institutions saw them there.

Promises that a proof is accepted in one encoding only: the log's signature, then those of institutions in the order of their
names, every one of them known and valid, at least a quorum. Two logs that were both signed by a quorum share an honest
institution, which signs for one log alone; that is why the quorum is that of the survivor set. Pure.

Source: protos/README.md §9.8; C2SP tlog-proof, tlog-cosignature.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from vdb_shared.bundle.logged import log_origin
from vdb_shared.errors import FormatError
from vdb_shared.roster import Roster
from vdb_shared.transparency.note import COSIGNATURE, ED25519, NoteKey, parse_note
from vdb_shared.transparency.proof import LogProof, Witnessed, verify_proof


def log_key(roster: Roster) -> NoteKey:
    """Return the key of a consortium's log: the coordinator's statement key."""
    return NoteKey(log_origin(roster.consortium), ED25519, roster.coordinator.public_key.raw)


def witness_name(consortium: str, institution: str) -> str:
    """Return the name under which an institution signs checkpoints."""
    return f"{consortium}/witness/{institution}"


def witness_key(roster: Roster, institution: str) -> NoteKey:
    """Return the key with which an institution signs checkpoints: its statement key.

    Raises:
        IdentityError: no such member.
    """
    public = roster.member(institution).public_key.raw
    return NoteKey(witness_name(roster.consortium, institution), COSIGNATURE, public)


def check_logged(
    proof: LogProof, entry: bytes, roster: Roster, institutions: Collection[str], quorum: int
) -> Witnessed:
    """Return where an entry stands in the log, and which institutions saw it there: their names, and when, in POSIX seconds.

    Args:
        proof: that the entry stands in the log.
        entry: what the log must hold.
        roster: whose coordinator keeps the log.
        institutions: that may sign: those that joined.
        quorum: fewest of them that must have signed.

    Raises:
        FormatError: it is of another log, entry or place, or holds anything else.
        SignatureError: the log did not sign, too few institutions did, or a signature does not verify.
    """
    keys = {name: witness_key(roster, name) for name in sorted(institutions)}
    found = verify_proof(proof, entry, log_key(roster), tuple(keys.values()), quorum)
    times = {name: found.times[key.name] for name, key in keys.items() if key.name in found.times}
    signed = [(line.name, line.id) for line in parse_note(proof.checkpoint).signatures]
    expected = [(key.name, key.id) for key in (log_key(roster), *(keys[name] for name in times))]
    if signed != expected:
        raise FormatError(
            "the proof has other signatures than those of the log and of institutions that joined, in order"
        )
    return replace(found, times=times)
