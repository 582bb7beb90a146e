"""The consortium's roster over time: each version is stored beside the metadata that vouches for it.

Promises that versions only grow and that the newest one verifies under the root. Leaves who becomes a member to
`enrolment.py`.

Source: protos/README.md §3.3, §11.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, insert, select

from vdb_coordinator.identity.trust import roster_needs_renewal, sign_roster
from vdb_coordinator.store import schema
from vdb_shared.roster import Member, Roster, SignedRoster, parse_roster


@dataclass(frozen=True, slots=True)
class StoredRoster:
    """One version of the roster.

    Attributes:
        version: its number.
        signed: with what vouches for it.
        roster: parsed.
        keys: institution and statement key of every member.
    """

    version: int
    signed: SignedRoster
    roster: Roster
    keys: frozenset[tuple[str, str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Collect the keys once: every session looks for its members among them before each of its duties."""
        keys = frozenset((member.institution, member.statement_key) for member in self.roster.members)
        object.__setattr__(self, "keys", keys)


@dataclass(frozen=True, slots=True)
class RosterAuthority:
    """Signs new versions: the chain of roots, oldest first, and the key that the last one names for the roster."""

    roots: tuple[bytes, ...]
    _key: Ed25519PrivateKey = field(repr=False)

    def newest(self, connection: Connection) -> StoredRoster:
        """Return the newest version."""
        query = select(schema.rosters).order_by(schema.rosters.c.version.desc()).limit(1)
        row = connection.execute(query).one()
        return StoredRoster(row.version, SignedRoster(self.roots, row.targets, row.roster), parse_roster(row.roster))

    def store(self, connection: Connection, roster: Roster, version: int, now: datetime) -> StoredRoster:
        """Sign and store a version, and return it."""
        content = roster.canonical()
        targets = sign_roster(self._key, content, version, now)
        connection.execute(insert(schema.rosters), {"version": version, "targets": targets, "roster": content})
        return StoredRoster(version, SignedRoster(self.roots, targets, content), roster)

    def renewed(self, connection: Connection, now: datetime) -> StoredRoster:
        """Return the newest version, signed anew when its signature is close to expiry or of a key that was replaced."""
        current = self.newest(connection)
        if not roster_needs_renewal(self.roots, current.signed.targets, now):
            return current
        return self.store(connection, current.roster, current.version + 1, now)


def with_member(roster: Roster, member: Member) -> Roster:
    """Return a roster with one more member; one of the same name is replaced."""
    others = [other for other in roster.members if other.institution != member.institution]
    members = tuple(sorted([*others, member], key=lambda item: item.institution))
    return Roster(version=roster.version, consortium=roster.consortium, members=members)


def without_member(roster: Roster, institution: str) -> Roster:
    """Return a roster without the member of this name."""
    members = tuple(member for member in roster.members if member.institution != institution)
    return Roster(version=roster.version, consortium=roster.consortium, members=members)


class Seats:
    """Who has which seat: no seat is given twice, also not one whose holder left.

    Looks at each version of the roster once.
    """

    def __init__(self) -> None:
        self._seen = -1
        self._highest = -1

    def seat_for(self, connection: Connection, roster: Roster, institution: str) -> int:
        """Return the seat of an institution: the one it has, or the next that nobody ever had."""
        for member in roster.members:
            if member.institution == institution and member.seat is not None:
                return member.seat
        columns = schema.rosters.c
        for row in connection.execute(select(columns.version, columns.roster).where(columns.version > self._seen)):
            self._highest = max(self._highest, *_seats(parse_roster(row.roster)), -1)
            self._seen = max(self._seen, row.version)
        return self._highest + 1


def _seats(roster: Roster) -> list[int]:
    return [member.seat for member in roster.members if member.seat is not None]
