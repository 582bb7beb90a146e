"""Objecting to a result: from a bundle and a key to a signed objection, and to where it stands in the log.

Promises that an objection names the very result in the bundle, and that what a coordinator says of its place in the log is
believed only of an entry that says what the objection says, behind the result, in a log that the coordinator signed. Leaves
carrying it, and seeing that this log is the one that everybody reads, to the programs of members and leads.

Source: protos/README.md §9.7.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.logged import ObjectionRecord, parse_record
from vdb_shared.bundle.objections import Objection, check_about, made, objector_of, read_objection, sign_objection
from vdb_shared.bundle.witnessed import check_logged, log_key
from vdb_shared.errors import FormatError
from vdb_shared.identity import Signer
from vdb_shared.roster import Roster
from vdb_shared.transparency.proof import Witnessed, parse_proof, verify_proof

_COORDINATORS_OWN: Final = frozenset({"received", "salt"})
"""Fields of an objection's entry that follow from nothing which the objector signed."""


@dataclass(frozen=True, slots=True)
class Target:
    """A result that somebody objects to.

    Attributes:
        session: its id.
        result: digest of its statement's payload.
        roster: of the session, whose participants and auditors may object.
        evidence: the bundle, believed in nothing else yet.
    """

    session: str
    result: str
    roster: Roster
    evidence: Evidence = field(repr=False, compare=False)

    @property
    def opened_entry(self) -> bytes:
        """What the log must hold of the session's opening."""
        return self.evidence.opened_entry

    def published(self) -> Witnessed:
        """Return where the result stands in the log, as enough institutions saw it there.

        Raises:
            VdbError: the bundle's own proof of that, or what it rests on, does not hold; `vdb-audit verify` names the check.
        """
        known = self.evidence
        return check_logged(known.result_proof, known.published_entry, self.roster, known.joins, known.quorum)


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
    session, result = evidence.record.open.payload_digest, evidence.result_envelope.payload_digest
    return Target(session, result, evidence.roster, evidence)


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


def place_of(target: Target, objection: bytes, entry: bytes, proof: bytes) -> Witnessed:
    """Return the place of an objection in the log, and the checkpoint that shows it.

    The coordinator signs the checkpoint alone, and can sign one for each who asks: the place is worth something once the
    checkpoint is seen to be of the log that others read.

    Args:
        target: the result.
        objection: the envelope.
        entry: the log's, as a coordinator says.
        proof: of the entry, likewise.

    Raises:
        FormatError: the entry says something else than the objection, stands before the result, or the proof is not of it.
        IdentityError, SignatureError: nobody who may object signed, or the log did not sign.
        VdbError: as `Target.published`.
    """
    _check_entry(target, Envelope.from_json(objection), entry)
    found = verify_proof(parse_proof(proof), entry, log_key(target.roster), (), 0)
    published = target.published()
    if found.index < published.checkpoint.size:
        raise FormatError(
            f"the coordinator places the objection at entry {found.index} of the log, among the {published.checkpoint.size} "
            "that stood there before the result was published; no reader counts it there, so keep both and ask the lead"
        )
    return found


def _check_entry(target: Target, objection: Envelope, entry: bytes) -> None:
    """Check that an entry says all that follows from an objection, each field on its own."""
    stated = read_objection(objection, target.roster)
    check_about(stated, target.session, target.result)
    record = parse_record(entry)
    expected = {
        "kind": ObjectionRecord.model_fields["kind"].default,
        "version": ObjectionRecord.model_fields["version"].default,
        "session": target.session,
        "result": target.result,
        "objector": stated.objector,
        "objection": objection.payload_digest,
    }
    found = {name: value for name, value in record.model_dump(mode="json").items() if name not in _COORDINATORS_OWN}
    other = sorted(name for name in expected | found if expected.get(name) != found.get(name))
    if other:
        raise FormatError(
            "the coordinator answered with an entry of the log that is not of this objection: it says something else as "
            f"{', '.join(other)}; keep both and ask the lead"
        )
