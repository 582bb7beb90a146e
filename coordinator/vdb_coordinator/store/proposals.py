"""Proposals and their signatures, as the database keeps them.

Promises that a name signs a proposal once, and that a proposal is taken to be done once.

Source: protos/README.md §11.11.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, select, update

from vdb_coordinator.approvals import parse_proposal, proposal_digest
from vdb_coordinator.store import schema


@dataclass(frozen=True, slots=True)
class Kept:
    """A proposal.

    Attributes:
        body: its bytes.
        expires: when, UTC.
        done: when it was taken to be done, or None.
        signatures: by name.
    """

    body: bytes
    expires: str
    done: str | None
    signatures: dict[str, bytes] = field(repr=False)


def store(connection: Connection, body: bytes, expires: str) -> None:
    """Store a new proposal."""
    row = {"proposal": proposal_digest(body), "body": body, "expires": expires, "done": None}
    connection.execute(insert(schema.proposals), row)


def load(connection: Connection, digest: bytes) -> Kept | None:
    """Return a proposal, or None if there is none of this name."""
    table = schema.proposals
    row = connection.execute(select(table).where(table.c.proposal == digest)).one_or_none()
    return None if row is None else Kept(row.body, row.expires, row.done, _signatures(connection, digest))


def open_ones(connection: Connection, now: str) -> list[Kept]:
    """Return the proposals that were not done and have not expired, by the end of their time."""
    table = schema.proposals
    query = (
        select(table).where(table.c.done.is_(None), table.c.expires > now).order_by(table.c.expires, table.c.proposal)
    )
    rows = connection.execute(query).all()
    return [Kept(row.body, row.expires, row.done, _signatures(connection, row.proposal)) for row in rows]


def waiting_of(connection: Connection, proposer: str, now: str) -> int:
    """Return how many proposals of a lead wait."""
    table = schema.proposals
    bodies = connection.scalars(select(table.c.body).where(table.c.done.is_(None), table.c.expires > now))
    return sum(parse_proposal(body).proposer == proposer for body in bodies)


def approve(connection: Connection, digest: bytes, name: str, signature: bytes) -> None:
    """Store a signature that was checked, of a name that has not signed."""
    connection.execute(insert(schema.approvals), {"proposal": digest, "name": name, "signature": signature})


def take(connection: Connection, digest: bytes, now: str) -> None:
    """Note that a proposal is done from now on."""
    table = schema.proposals
    connection.execute(update(table).where(table.c.proposal == digest).values(done=now))


def void(connection: Connection) -> None:
    """Forget all proposals that were not done, as far as is known here, with their signatures."""
    table = schema.proposals
    undone = select(table.c.proposal).where(table.c.done.is_(None))
    connection.execute(delete(schema.approvals).where(schema.approvals.c.proposal.in_(undone)))
    connection.execute(delete(table).where(table.c.done.is_(None)))


def _signatures(connection: Connection, digest: bytes) -> dict[str, bytes]:
    table = schema.approvals
    rows = connection.execute(select(table.c.name, table.c.signature).where(table.c.proposal == digest))
    return {row.name: row.signature for row in rows}
