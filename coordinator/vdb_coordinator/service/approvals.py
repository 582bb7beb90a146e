"""Proposals of leads: made, signed by named people, and taken to be done, once.

Promises that an action for which the policy wants signatures is done only with so many of different people over exactly its
bytes, before it expires and once, also after a crash: what was taken and did not happen is proposed again. Leaves the doing to
`admin.py`. All of it, refusals too, stands in the audit log.

Source: protos/README.md §11.11.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from sqlalchemy import Connection

from vdb_coordinator.approvals import (
    NEVER_ALONE,
    NONCE_BYTES,
    Action,
    ApprovalPolicy,
    Proposal,
    SignedOrder,
    check_approval,
    counted,
    parse_proposal,
    proposal_digest,
)
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.serving.clock import Clock, timestamp
from vdb_coordinator.store import attempts, proposals
from vdb_coordinator.store.database import Database
from vdb_coordinator.store.proposals import Kept
from vdb_shared.errors import SignatureError
from vdb_shared.wire import reasons

MAX_OPEN: Final = 100
"""Proposals of one lead that wait at once: so one lead who fills its share keeps no other from proposing."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A proposal that waits: its bytes, who has signed, how many must."""

    body: bytes
    approved_by: tuple[str, ...]
    needed: int


class Approvals:
    """The proposals of one consortium."""

    def __init__(self, policy: ApprovalPolicy, consortium: str, database: Database, clock: Clock) -> None:
        self._policy = policy
        self._consortium = consortium
        self._database = database
        self._clock = clock

    def check_alone(self, action: Action) -> None:
        """Check that a lead may order an action alone.

        Raises:
            RefusedError: it needs signatures.
        """
        needed = self._policy.needed(action)
        if needed:
            raise RefusedError(
                reasons.NEEDS_APPROVAL,
                f"{needed} of {len(self._policy.keys)} people must sign this; see `vdb-coordinator approvals propose --help`",
            )

    def check_proposable(self, action: Action) -> None:
        """Check that the policy wants signatures for an action.

        Raises:
            RefusedError: it does not.
        """
        if not self._policy.needed(action):
            raise RefusedError(reasons.INVALID, _unnamed(action))

    async def propose(self, action: Action, parameters: dict[str, str], by: str) -> bytes:
        """Return a new proposal.

        Raises:
            RefusedError: the action needs no signatures, or too many proposals wait.
        """
        now = self._clock.now()
        self.check_proposable(action)
        proposal = Proposal(
            consortium=self._consortium,
            action=action,
            parameters=parameters,
            proposer=by,
            proposed=timestamp(now),
            expires=timestamp(now + timedelta(hours=self._policy.hours)),
            nonce=secrets.token_hex(NONCE_BYTES),
        )
        body = proposal.encode()
        parse_proposal(body)

        def store(connection: Connection) -> None:
            if proposals.waiting_of(connection, by, timestamp(now)) >= MAX_OPEN:
                raise RefusedError(reasons.TOO_MUCH, f"{MAX_OPEN} proposals of {by} wait; let some of them expire")
            proposals.store(connection, body, proposal.expires)
            attempts.record(connection, now, by, "propose", _named(body))

        await self._audited(by, "propose", store)
        return body

    async def waiting(self) -> list[Waiting]:
        """Return the proposals that wait."""
        now = timestamp(self._clock.now())
        found = await self._database.run(lambda connection: proposals.open_ones(connection, now))
        return [self._waiting(kept) for kept in found]

    async def approve(self, digest: bytes, name: str, signature: bytes, by: str) -> Waiting:
        """Take somebody's signature of a proposal.

        Raises:
            RefusedError: there is no such proposal, it has expired or is done, or that name has signed it.
            SignatureError: it is not that name's signature of these bytes.
        """
        now = self._clock.now()

        def store(connection: Connection) -> Waiting:
            kept = _open(connection, digest, now)
            check_approval(self._policy, kept.body, name, signature)
            if name in kept.signatures:
                raise RefusedError(reasons.CONFLICT, f"{name} has signed this; others must sign too")
            proposals.approve(connection, digest, name, signature)
            attempts.record(connection, now, by, "approve proposal", f"{name}: {_named(kept.body)}")
            return self._waiting(_open(connection, digest, now))

        return await self._audited(by, "approve proposal", store)

    async def take(self, digest: bytes, by: str) -> SignedOrder:
        """Return a proposal that is to be done now, and never again, with the signatures that it has.

        Raises:
            RefusedError: there is no such proposal, it has expired or is done, or too few have signed it.
        """
        now = self._clock.now()

        def store(connection: Connection) -> SignedOrder:
            kept = _open(connection, digest, now)
            waiting = self._waiting(kept)
            if not waiting.needed:
                raise RefusedError(
                    reasons.INVALID, f"the policy was changed: {_unnamed(parse_proposal(kept.body).action)}"
                )
            if len(waiting.approved_by) < waiting.needed:
                raise RefusedError(
                    reasons.NEEDS_APPROVAL, f"{waiting.needed} people must sign this, {len(waiting.approved_by)} have"
                )
            proposals.take(connection, digest, timestamp(now))
            signatures = {name: kept.signatures[name] for name in waiting.approved_by}
            order = SignedOrder(kept.body, waiting.needed, self._policy.keys, signatures)
            head = f"{_called(kept.body)}: approved by "
            attempts.record_list(connection, now, by, "execute proposal", head, [*order.signers, _told(kept.body)])
            return order

        return await self._audited(by, "execute proposal", store)

    async def failed(self, digest: bytes, by: str, why: str) -> None:
        """Note that what was taken could not be done."""
        now, outcome = self._clock.now(), f"failed: sha256:{digest.hex()}: {why}"
        await self._database.run(lambda connection: attempts.record(connection, now, by, "execute proposal", outcome))

    async def refused(self, by: str, action: str, why: str) -> None:
        """Note that something was refused."""
        now = self._clock.now()
        await self._database.run(lambda connection: attempts.record_refusal(connection, now, by, action, why))

    def _waiting(self, kept: Kept) -> Waiting:
        needed = self._policy.needed(parse_proposal(kept.body).action)
        return Waiting(kept.body, tuple(counted(self._policy, kept.body, kept.signatures)), needed)

    async def _audited(self, by: str, action: str, work: Callable[[Connection], T]) -> T:
        try:
            return await self._database.run(work)
        except (RefusedError, SignatureError) as error:
            await self.refused(by, action, str(error))
            raise


def _open(connection: Connection, digest: bytes, now: datetime) -> Kept:
    """Return a proposal that can still be signed and done."""
    kept = proposals.load(connection, digest)
    if kept is None:
        raise RefusedError(reasons.INVALID, "there is no such proposal here; see `vdb-coordinator approvals list`")
    if kept.done is not None:
        raise RefusedError(reasons.TOO_LATE, f"it was done on {kept.done}; a proposal is done once")
    if timestamp(now) >= kept.expires:
        raise RefusedError(reasons.TOO_LATE, f"the proposal expired on {kept.expires}; propose it again")
    return kept


def _unnamed(action: Action) -> str:
    """Return what to do about an action that the policy does not name."""
    if action in NEVER_ALONE:
        return f"nobody can order this alone: say in coordinator.toml, [approvals], how many must sign {action}"
    return "nobody must sign this; give the command itself"


def _named(body: bytes) -> str:
    """Return what a proposal says, in words."""
    return f"{_called(body)}: {_told(body)}"


def _called(body: bytes) -> str:
    return f"sha256:{proposal_digest(body).hex()}"


def _told(body: bytes) -> str:
    proposal = parse_proposal(body)
    told = ", ".join(f"{name} {value}" for name, value in proposal.parameters.items() if value)
    return f"{proposal.action}: {told}"
