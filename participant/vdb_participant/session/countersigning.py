"""The participant's own audit of a draft result, and its countersignature.

Promises that nothing is countersigned that fails any check of `vdb-audit`, or that does not hold what this participant itself
sent and signed: its join, its seal, its header, its contribution, its view of the survivors. Pure.

Source: protos/README.md §9.5, §10.2, §12.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from vdb_participant.session.terms import Opening, SealedTerms
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY, Policy
from vdb_shared.audit.report import Report, Status
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.bundle.record import RESULT, SessionRecord, of_record, read_envelope
from vdb_shared.errors import VerificationError
from vdb_shared.identity import Signer
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.spec import Spec

_NOISE_CHECK: Final = "V42"


@dataclass(frozen=True, slots=True)
class OwnPart:
    """What of a session we know at first hand.

    Attributes:
        institution, seat: ours.
        session, seal: digests of the opening and the seal.
        spec: canonical bytes.
        join, contribution: envelopes that we signed.
        header: our round-2 header.
        survivors: body of the consistency statement that we signed, or None if the others finished without our signature.
    """

    institution: str
    seat: Seat
    session: str
    seal: str
    spec: bytes = field(repr=False)
    join: bytes = field(repr=False)
    contribution: bytes = field(repr=False)
    header: Signed = field(repr=False)
    survivors: bytes | None = field(repr=False)


def audit_draft(data: bytes, own: OwnPart, sealed: SealedTerms, root: str, now: datetime) -> None:
    """Check a result to which countersignatures are still to come.

    Readers judge expiry at the time that the result states, which is the coordinator's word. So whoever countersigns checks it
    by its own clock too: a membership that had expired cannot be used by stating an earlier time.

    Args:
        data: the bundle.
        own: what we know at first hand.
        sealed: the terms we agreed to; they are what the audit demands.
        root: the pinned trust root.
        now: UTC, for the expiry of root and roster.

    Raises:
        VerificationError: the first check that failed, or which own part is missing.
        IdentityError: root or roster have expired.
    """
    _audit(data, sealed, root, draft=True)
    members = read_archive(data)
    found = SessionRecord.from_members(of_record(members))
    found.roster.verify(root, now)
    contribution = found.contributions.get(own.institution)
    join = found.joins.get(own.institution)
    for what, same in (
        ("spec", found.spec == own.spec),
        ("session", found.open.payload_digest == own.session),
        ("seal", found.seal.payload_digest == own.seal),
        ("join of ours", join is not None and join.to_json() == own.join),
        ("masked input of ours", found.masked.get(own.seat) == own.header),
        ("contribution of ours", contribution is not None and contribution.to_json() == own.contribution),
        ("survivor set", own.survivors in (None, found.survivors.payload)),
    ):
        if not same:
            raise VerificationError(
                f"the result has not the {what} that we know; we do not stand for it", check="own part"
            )


def audit_published(data: bytes, countersigned: bytes, sealed: SealedTerms, root: str) -> None:
    """Check a published result: it passes, and is the one that we countersigned, which names our own part by digests.

    Args:
        data: the bundle.
        countersigned: the envelope that we sent.
        sealed: the terms we agreed to.
        root: the pinned trust root.

    Raises:
        VerificationError: the first check that failed, or it is another result.
    """
    _audit(data, sealed, root, draft=False)
    result = read_envelope(read_archive(data), RESULT)
    if result.payload != Envelope.from_json(countersigned).payload:
        raise VerificationError("the published result is not the one that we countersigned", check="publication")


def audit_without_us(data: bytes, opening: Opening, root: str) -> None:
    """Check a published result that we have no part in: it passes, and is of the session that we consented to.

    Args:
        data: the bundle.
        opening: the session, verified.
        root: the pinned trust root.

    Raises:
        VerificationError: the first check that failed, or it is of another session.
    """
    evidence = Evidence(data, root, DEFAULT_POLICY, draft=False)
    if evidence.record.open.payload_digest != opening.session:
        raise VerificationError("the published result is of another session", check="publication")
    policy = agreed_policy(opening.spec, evidence.terms.smallest_cohort, root)
    _require(verify(data, root=root, policy=policy), unnoised=opening.spec.privacy.mechanism == "none")


def _audit(data: bytes, sealed: SealedTerms, root: str, *, draft: bool) -> None:
    spec = sealed.opening.spec
    policy = agreed_policy(spec, sealed.terms.smallest_cohort, root)
    _require(verify(data, root=root, policy=policy, draft=draft), unnoised=spec.privacy.mechanism == "none")


def agreed_policy(spec: Spec, smallest_cohort: int, root: str) -> Policy:
    """Return the policy of an institution that agreed to a spec: what was agreed, and no less.

    Args:
        spec: of the session.
        smallest_cohort: that the seal demands.
        root: the pinned trust root.
    """
    return Policy(
        maximum_epsilon=spec.privacy.epsilon,
        maximum_delta=spec.privacy.delta,
        minimum_cohort=smallest_cohort,
        root=root,
    )


def countersignature(data: bytes, signer: Signer) -> bytes:
    """Return the envelope with our signature alone over the result statement of an audited draft."""
    result = read_envelope(read_archive(data), RESULT)
    return sign_envelope(result.payload_type, result.payload, signer).to_json()


def _require(report: Report, *, unnoised: bool) -> None:
    """Check that every line passed, but for the one that a test without noise cannot pass."""
    if not unnoised:
        report.require()
        return
    for line in report.lines:
        if line.status is Status.FAIL and line.id != _NOISE_CHECK:
            raise VerificationError(f"{line.sentence} {line.detail}".strip(), check=line.id)
