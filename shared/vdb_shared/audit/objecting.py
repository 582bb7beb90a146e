"""Objecting to a result: from a bundle and a key to a signed objection, and to where it stands in the log.

Promises that an objection names the very result in the bundle, and that what a coordinator says of its place in the log is
believed only with the log's own signature. Leaves carrying it to the programs of members and leads.

Source: protos/README.md §9.7.
"""

from __future__ import annotations

from dataclasses import dataclass

from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.logged import ObjectionRecord, parse_record
from vdb_shared.bundle.objections import Objection, made, objector_of, sign_objection
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.errors import FormatError
from vdb_shared.identity import Signer
from vdb_shared.roster import Roster
from vdb_shared.transparency.proof import parse_proof, verify_proof


@dataclass(frozen=True, slots=True)
class Target:
    """A result that somebody objects to: its session, the digest of its statement, and who may object."""

    session: str
    result: str
    roster: Roster


def target_of(bundle: bytes, root: str | None = None) -> Target:
    """Return the result in a bundle.

    Args:
        bundle: the whole file; whether it passes an audit does not matter.
        root: digest of the trust root known from elsewhere, or None to take the bundle's own.

    Raises:
        FormatError: it is no bundle.
        IdentityError: its roster is not what its root, or the pinned one, vouches for.
    """
    evidence = Evidence(bundle, root, DEFAULT_POLICY, draft=False)
    return Target(evidence.record.open.payload_digest, evidence.result_envelope.payload_digest, evidence.roster)


def object_to(target: Target, signer: Signer, reason: str, text: str, now: str) -> bytes:
    """Return a signed objection to a result.

    Args:
        target: the result.
        signer: of the objector, a participant or an auditor in the session's roster.
        reason: class of the reason.
        text: the reason in words.
        now: the time, as statements write it.

    Raises:
        IdentityError: the key's owner may not object.
        UsageError: no such class, or no such words.
    """
    objector = objector_of(target.roster, signer.public_key)
    objection = made(
        Objection,
        session=target.session,
        result=target.result,
        objector=objector,
        reason=reason,
        text=text,
        objected=now,
    )
    return sign_objection(objection, signer)


def place_of(target: Target, objection: bytes, entry: bytes, proof: bytes) -> int:
    """Return the place of an objection in the log.

    Args:
        target: the result.
        objection: the envelope.
        entry: the log's, as a coordinator says.
        proof: of the entry, likewise.

    Raises:
        FormatError: the entry is not of this objection, or the proof not of the entry.
        SignatureError: the log did not sign.
    """
    record, digest = parse_record(entry), Envelope.from_json(objection).payload_digest
    if not isinstance(record, ObjectionRecord) or (record.session, record.objection) != (target.session, digest):
        raise FormatError("the coordinator answered with an entry of the log that is not of this objection")
    return verify_proof(parse_proof(proof), entry, log_key(target.roster), (), 0).index
