"""What the coordinator itself contributes to a session: opening, seal, draft, bundle, abort, withdrawal. Pure but for the key.

Promises that each statement follows from the state alone. Leaves when to make them to the conductor.

Source: protos/README.md §9.2, §11.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import vdb_shared
from vdb_coordinator.events import (
    DraftMade,
    Event,
    ResultWithdrawn,
    SessionAborted,
    SessionOpened,
    SessionPublished,
    SessionSealed,
)
from vdb_coordinator.release import draft_archive, final_archive, record_of
from vdb_coordinator.rounds import Summed
from vdb_coordinator.serving.clock import timestamp
from vdb_coordinator.states import Aggregating, Duty, Ending, Published, Publishing, Sealing, SessionState
from vdb_shared import labels
from vdb_shared.bundle.objections import Withdrawal, made
from vdb_shared.bundle.statement import Abort, Seal, SealedJoin, SessionOpen, Statement
from vdb_shared.canonical import sha256_digest
from vdb_shared.identity import Signer
from vdb_shared.privacy.accountant import account
from vdb_shared.roster import SignedRoster, parse_roster
from vdb_shared.seal import seal_terms
from vdb_shared.spec import Spec
from vdb_shared.transparency.proof import LogProof

LONGEST_REASON = 900
"""A statement's line has 1000 characters."""


def software() -> str:
    """Return how statements name this program."""
    return f"video-diffusion-bench {vdb_shared.__version__}"


@dataclass(frozen=True, slots=True)
class Coordinator:
    """The coordinator as a party: its key, and how it reads stored bundles."""

    signer: Signer = field(repr=False)
    read_blob: Callable[[str], bytes]

    def open_session(
        self, spec: Spec, roster: SignedRoster, nonce: bytes, at: datetime, supersedes: str | None = None
    ) -> SessionOpened:
        """Return the opening of a session.

        Args:
            spec: the spec.
            roster: whom it counts on.
            nonce: 32 fresh bytes, so that two sessions never share an id.
            at: the time.
            supersedes: session whose result this one is to replace, or None.
        """
        members = parse_roster(roster.roster)
        predicate = SessionOpen(
            protocol=labels.PROTOCOL,
            consortium=members.consortium,
            spec=spec.digest,
            roster=members.digest,
            root=roster.root_fingerprint,
            nonce=nonce.hex(),
            opened=timestamp(at),
            software=software(),
            supersedes=supersedes,
        )
        return SessionOpened(at, spec.canonical(), roster, Statement((), predicate).sign(self.signer))

    def perform(
        self, duty: Duty, state: SessionState, at: datetime, salt: bytes, proof: LogProof | None = None
    ) -> Event:
        """Return the event by which the coordinator does its duty.

        Args:
            duty: of the state.
            state: of the session.
            at: the time.
            salt: SALT_BYTES fresh random bytes, for the log's entry where the duty makes one that is salted.
            proof: what enough institutions saw of the log, where the duty waits for that.

        Raises:
            SpecError, PrivacyError, StatisticError: the session cannot go on; the message says why.
            StoreError: a stored bundle cannot be read.
        """
        match duty, state:
            case Duty.SEAL, Sealing() if proof is not None:
                return self._seal(state, at, proof)
            case Duty.DRAFT, Aggregating(rounds=Summed() as summed):
                archive = draft_archive(record_of(state, summed), timestamp(at), self.signer, software())
                return DraftMade(at, archive)
            case Duty.PUBLISH, Publishing() if proof is not None:
                draft = self.read_blob(state.draft.archive)
                return SessionPublished(at, final_archive(draft, state.countersignatures.values(), proof))
            case Duty.ABORT, Ending():
                return self._abort(state, at, salt)
            case _:
                raise ValueError(f"{duty} is no duty in state {type(state).__name__}")

    def withdraw(
        self, state: Published, reason: str, superseded_by: str | None, at: datetime, salt: bytes
    ) -> ResultWithdrawn:
        """Return the withdrawal of a result.

        Args:
            state: of the session.
            reason: why, in words.
            superseded_by: session whose result replaces it, or None.
            at: the time.
            salt: SALT_BYTES fresh random bytes, for the log's entry.

        Raises:
            UsageError: these are no words of a withdrawal.
        """
        predicate = made(
            Withdrawal,
            session=state.opening.session,
            result=state.result,
            reason=reason,
            superseded_by=superseded_by,
            withdrawn=timestamp(at),
        )
        return ResultWithdrawn(at, Statement((), predicate).sign(self.signer), salt)

    def _seal(self, state: Sealing, at: datetime, proof: LogProof) -> SessionSealed:
        opening = state.opening
        terms = seal_terms(opening.spec, sorted(state.joins))
        account(terms.calibration)  # nobody computes for a session whose cost dp-accounting finds above its promise
        predicate = Seal(
            session=opening.session,
            spec=opening.spec.digest,
            roster=opening.roster.digest,
            joins=tuple(
                SealedJoin(
                    institution=opening.member(seat).institution, seat=seat, join=state.joins[seat].payload_digest
                )
                for seat in terms.seats
            ),
            smallest_cohort=terms.smallest_cohort,
            layout=terms.layout.digest,
            lanes=terms.layout.lanes,
            private_lanes=terms.layout.private_lanes,
            noise_multiplier=terms.noise_multiplier,
            scale=terms.scale,
            public_tasks=terms.public_tasks,
            generators=terms.generators,
            log=sha256_digest(proof.to_bytes()),
            sealed=timestamp(at),
        )
        return SessionSealed(at, Statement((), predicate).sign(self.signer), proof)

    def _abort(self, state: Ending, at: datetime, salt: bytes) -> SessionAborted:
        predicate = Abort(
            session=state.opening.session,
            institution=state.opening.roster.coordinator.institution,
            stage=state.stage.words,
            reason=state.reason[:LONGEST_REASON],
            aborted=timestamp(at),
        )
        return SessionAborted(at, Statement((), predicate).sign(self.signer), salt)
