"""Rosters and the statements of a session up to its seal, as a lead and five institutions sign them; keys come from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer._crypto_signer import CryptoSigner
from tuf.api._payload import Root
from tuf.api.metadata import Metadata

from testkit.consortium import entropy, signer
from vdb_coordinator.identity.trust import make_root, sign_roster
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import (
    Contribution,
    Join,
    Predicate,
    RunManifest,
    Seal,
    SealedJoin,
    SessionOpen,
    Statement,
)
from vdb_shared.canonical import sha256_digest
from vdb_shared.identity import Signer, StatementKey
from vdb_shared.roster import Member, Roster, SignedRoster
from vdb_shared.seal import SealTerms
from vdb_shared.secagg.parameters import Seat
from vdb_shared.spec import Spec
from vdb_shared.transparency.proof import LogProof

INSTITUTIONS = ("archive-oslo", "clinic-lyon", "film-studio", "lab-kyoto", "museum-lima")
COORDINATOR = "lead-geneva"
AUDITOR = "court-of-audit"
MADE = datetime(2026, 1, 31, 12, tzinfo=UTC)
SOFTWARE = "video-diffusion-bench 0"


@dataclass(frozen=True)
class Twist:
    """A wrong field in a statement of one kind, or in a run manifest; of one institution, where institutions make it."""

    kind: type[Predicate]
    field: str
    value: object
    institution: str = "lab-kyoto"


def twisted(predicate: Predicate, twist: Twist | None) -> Predicate:
    """Return a predicate with the wrong field, if it is the one that is meant."""
    if twist is None or (isinstance(predicate, Join | Contribution) and predicate.institution != twist.institution):
        return predicate
    wrong = {twist.field: twist.value}
    if isinstance(predicate, Contribution) and twist.kind is RunManifest:
        return predicate.model_copy(update={"manifest": predicate.manifest.model_copy(update=wrong)})
    return predicate.model_copy(update=wrong) if isinstance(predicate, twist.kind) else predicate


def make_roster(seed: object = 0, *, auditor: bool = False) -> SignedRoster:
    """Return the roster of five institutions, a coordinator and perhaps an auditor, under a root of its own."""
    root, targets = (Ed25519PrivateKey.from_private_bytes(entropy(name, seed, size=32)) for name in ("root", "targets"))
    members = [
        Member(
            institution=name,
            role="participant",
            seat=seat,
            statement_key=signer(seed, seat).public_key.raw.hex(),
            spiffe_id=f"spiffe://testbed/participant/{name}",
        )
        for seat, name in enumerate(INSTITUTIONS)
    ]
    lead = Member(
        institution=COORDINATOR,
        role="coordinator",
        seat=None,
        statement_key=coordinator_key(seed).public_key.raw.hex(),
        spiffe_id=f"spiffe://testbed/coordinator/{COORDINATOR}",
    )
    if auditor:
        members.append(
            Member(
                institution=AUDITOR,
                role="auditor",
                seat=None,
                statement_key=auditor_key(seed).public_key.raw.hex(),
                spiffe_id=f"spiffe://testbed/auditor/{AUDITOR}",
            )
        )
    ordered = tuple(sorted((*members, lead), key=lambda member: member.institution))
    roster = Roster(version="vdb-roster/1", consortium="testbed", members=ordered).canonical()
    return SignedRoster((make_root(root, targets, MADE),), sign_roster(targets, roster, 1, MADE), roster)


def root_signed_as_roster(seed: object = 0) -> bytes:
    """Return root metadata that bears the signature of the roster key."""
    metadata: Metadata[Root] = Metadata.from_bytes(make_roster(seed).roots[0])
    metadata.sign(CryptoSigner(Ed25519PrivateKey.from_private_bytes(entropy("targets", seed, size=32))))
    return metadata.to_bytes()


def coordinator_key(seed: object) -> StatementKey:
    """Return the coordinator's statement key."""
    return StatementKey.from_seed(entropy("coordinator", seed, size=32))


def auditor_key(seed: object) -> StatementKey:
    """Return the auditor's key."""
    return StatementKey.from_seed(entropy("auditor", seed, size=32))


def sign(predicate: Predicate, *keys: Signer) -> Envelope:
    """Return a statement without subjects, signed."""
    return Statement((), predicate).sign(*keys)


def make_opening(
    spec: Spec, roster: SignedRoster, seed: object, twist: Twist | None = None, supersedes: str | None = None
) -> Envelope:
    """Return the opening of a session."""
    opening = SessionOpen(
        protocol="vdb-secagg/1",
        consortium="testbed",
        spec=spec.digest,
        roster=sha256_digest(roster.roster),
        root=roster.root_fingerprint,
        nonce=entropy("nonce", seed, size=32).hex(),
        opened="2026-01-31T12:00:00Z",
        software=SOFTWARE,
        supersedes=supersedes,
    )
    return sign(twisted(opening, twist), coordinator_key(seed))


def make_join(
    opening: Envelope, spec: Spec, roster: SignedRoster, seat: Seat, seed: object, twist: Twist | None = None
) -> Envelope:
    """Return the JOIN of a seat."""
    join = Join(
        session=opening.payload_digest,
        spec=spec.digest,
        roster=sha256_digest(roster.roster),
        institution=INSTITUTIONS[seat],
        seat=seat,
        consent=sha256_digest(b"the plan"),
    )
    return sign(twisted(join, twist), signer(seed, seat))


def make_seal(
    opening: Envelope,
    spec: Spec,
    roster: SignedRoster,
    joins: Mapping[str, Envelope],
    terms: SealTerms,
    seen: LogProof,
) -> Seal:
    """Return the seal that follows from the joins and from what institutions saw of the log."""
    return Seal(
        session=opening.payload_digest,
        spec=spec.digest,
        roster=sha256_digest(roster.roster),
        joins=tuple(
            SealedJoin(institution=name, seat=seat, join=joins[name].payload_digest)
            for seat, name in enumerate(INSTITUTIONS)
        ),
        smallest_cohort=terms.smallest_cohort,
        layout=terms.layout.digest,
        lanes=terms.layout.lanes,
        private_lanes=terms.layout.private_lanes,
        noise_multiplier=terms.noise_multiplier,
        scale=terms.scale,
        public_tasks=terms.public_tasks,
        generators=terms.generators,
        log=sha256_digest(seen.to_bytes()),
        sealed="2026-01-31T12:10:00Z",
    )
