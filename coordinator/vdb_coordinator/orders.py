"""Orders of several people that are carried out while nobody serves: a restoration, a new version of the trust root.

Promises that what the policy names is done only with a proposal of exactly these parameters which enough people have signed and
which has not expired, and, in one database, once. There is no server that could write the proposal down: whoever wants it
done writes it, and hands it in with the signatures. Leaves keeping to `store/proposals.py`.

Source: protos/README.md §11.11.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from vdb_coordinator.approvals import (
    NONCE_BYTES,
    Action,
    ApprovalPolicy,
    Proposal,
    SignedOrder,
    counted,
    parse_proposal,
    proposal_digest,
)
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.serving.clock import parse_timestamp, timestamp
from vdb_coordinator.store import attempts, proposals
from vdb_shared.errors import UsageError
from vdb_shared.wire import reasons

WHO: Final = "vdb-coordinator approvals propose"


@dataclass(frozen=True, slots=True)
class Handed:
    """A proposal with signatures, as somebody hands them in; nothing of it was checked."""

    body: bytes
    signatures: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody is about to do: the action, with what a proposal must say of it."""

    consortium: str
    action: Action
    parameters: Mapping[str, str]


def restoration(consortium: str, backup: str, entries: int, *, nothing_lost: bool) -> Deed:
    """Return the deed of restoring a backup.

    Args:
        consortium: whose.
        backup: digest of the backup.
        entries: how many entries the newest log at least has that it goes on from.
        nothing_lost: whether nobody served after the backup.
    """
    said = {"backup": backup, "entries": str(entries), "nothing_lost": "yes" if nothing_lost else "no"}
    return Deed(consortium, "restore", said)


def installation(consortium: str, version: int, root: str) -> Deed:
    """Return the deed of installing a version of the trust root; `root` is the digest of what its holders sign."""
    return Deed(consortium, "install_root", {"version": str(version), "root": root})


def propose(deed: Deed, hours: int, now: datetime) -> bytes:
    """Return a proposal of a deed, to be signed."""
    return Proposal(
        consortium=deed.consortium,
        action=deed.action,
        parameters=dict(deed.parameters),
        proposer=WHO,
        proposed=timestamp(now),
        expires=timestamp(now + timedelta(hours=hours)),
        nonce=secrets.token_hex(NONCE_BYTES),
    ).encode()


def ordered(policy: ApprovalPolicy, deed: Deed, handed: Handed | None, now: datetime) -> SignedOrder | None:
    """Return the order by which a deed may be done, or None where the policy leaves it to one person.

    Raises:
        UsageError: several people must sign this, and no order was handed in; or nobody must.
        RefusedError: the order is of something else, has expired, or too few have signed it.
        FormatError: it is no proposal.
    """
    needed = policy.needed(deed.action)
    if handed is None:
        if not needed:
            return None
        raise UsageError(
            f"{needed} of {len(policy.keys)} people must sign this: write it down with `vdb-coordinator approvals propose`, "
            "let them sign that, and give it with --order"
        )
    if not needed:
        raise UsageError("--order: nobody must sign this in this consortium; leave it out")
    _check_same(parse_proposal(handed.body), deed)
    _check_time(parse_proposal(handed.body), policy, now)
    signatures = {name: handed.signatures[name] for name in counted(policy, handed.body, handed.signatures)}
    order = SignedOrder(handed.body, needed, policy.keys, signatures)
    order.check()
    return order


def record_done(
    connection: Connection, order: SignedOrder | None, now: datetime, who: str, action: str, outcome: str
) -> None:
    """Write into the audit log what was done, and keep the order by which it was, in the transaction that does it.

    Raises:
        RefusedError: it was done before.
    """
    if order is None:
        attempts.record(connection, now, who, action, outcome)
        return
    keep(connection, order, now)
    head = f"{outcome}; sha256:{proposal_digest(order.body).hex()}: approved by "
    attempts.record_list(connection, now, who, action, head, order.signers)


def keep(connection: Connection, order: SignedOrder, now: datetime) -> None:
    """Keep an order as done, in the transaction that does it.

    Raises:
        RefusedError: it was done before.
    """
    digest = proposal_digest(order.body)
    kept = proposals.load(connection, digest)
    if kept is not None:
        raise RefusedError(reasons.TOO_LATE, f"it was done on {kept.done}; a proposal is done once")
    proposals.store(connection, order.body, order.proposal.expires)
    for name, signature in order.signatures.items():
        proposals.approve(connection, digest, name, signature)
    proposals.take(connection, digest, timestamp(now))


def _check_same(proposal: Proposal, deed: Deed) -> None:
    if (proposal.consortium, proposal.action) != (deed.consortium, deed.action):
        raise RefusedError(
            reasons.INVALID,
            f"--order: it is of {proposal.action} in {proposal.consortium}, not of {deed.action} in {deed.consortium}",
        )
    for name in sorted(proposal.parameters.keys() | deed.parameters.keys()):
        signed, now = proposal.parameters.get(name, "nothing"), deed.parameters.get(name, "nothing")
        if signed != now:
            raise RefusedError(
                reasons.INVALID, f"--order: {name}: {signed} was signed, this is {now}; propose it again"
            )


def _check_time(proposal: Proposal, policy: ApprovalPolicy, now: datetime) -> None:
    try:
        proposed, expires = parse_timestamp(proposal.proposed), parse_timestamp(proposal.expires)
    except ValueError as error:
        raise RefusedError(reasons.INVALID, f"--order: {error}") from error
    if now >= expires or now >= proposed + timedelta(hours=policy.hours):
        raise RefusedError(
            reasons.TOO_LATE,
            f"--order: proposed on {proposal.proposed}, until {proposal.expires}, and an order lives {policy.hours} hours: "
            "it has expired; propose it again",
        )
    if proposed > now + timedelta(hours=1):
        raise RefusedError(
            reasons.INVALID, f"--order: it is dated {proposal.proposed}, which has not come; look at the clocks"
        )
