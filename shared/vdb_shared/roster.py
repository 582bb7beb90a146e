"""The roster: who belongs to a consortium, under a trust root that participants and auditors pin.

Root and roster are TUF metadata: a chain of root files, each signed by a threshold of the one before, and a targets file
that names `roster.json` by digest. Promises that a roster it returns was signed as the pinned root demands, and that no key
counts twice towards a threshold. Leaves the clock to callers: expiry is judged at a time they pass; and memory: that a chain
begins with the roots that were seen before is seen by who kept them.

Source: The Update Framework specification 1.0, §5.3 (root rotation) and §5.6 (targets); protos/README.md §3.3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from tuf.api.exceptions import LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import Metadata, Root, Targets
from tuf.api.serialization import DeserializationError

from vdb_shared.canonical import canonical_json, parse_canonical_json, sha256_digest
from vdb_shared.errors import FormatError, IdentityError
from vdb_shared.fields import Name
from vdb_shared.identity import StatementPublicKey
from vdb_shared.schema_words import first_mistake

ROSTER_TARGET: Final = "roster.json"

Role = Literal["participant", "coordinator", "auditor"]


class Member(BaseModel):
    """An institution, or the coordinator itself.

    Attributes:
        institution: its name.
        role: what its statement key may sign.
        seat: a participant's number in the protocol, from 0; None for other roles.
        statement_key: its Ed25519 public key, 64 hex digits.
        spiffe_id: the name in its TLS certificate.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    institution: Name
    role: Role
    seat: Annotated[int, Field(ge=0, lt=65535)] | None
    statement_key: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    spiffe_id: Annotated[str, StringConstraints(pattern=r"^spiffe://[a-z0-9._-]+/[a-z0-9._/-]+$", max_length=256)]

    @property
    def public_key(self) -> StatementPublicKey:
        """The key that verifies this member's statements."""
        return StatementPublicKey(bytes.fromhex(self.statement_key))

    @model_validator(mode="after")
    def _seated(self) -> Self:
        if (self.seat is not None) != (self.role == "participant"):
            raise ValueError("a participant has a seat and nobody else has one")
        return self


class Roster(BaseModel):
    """All members of a consortium, sorted by name."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: Literal["vdb-roster/1"]
    consortium: Name
    members: tuple[Member, ...]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [member.institution for member in self.members]
        if names != sorted(set(names)):
            raise ValueError("members must be sorted by institution, each once")
        for what, values in (
            ("seat", [member.seat for member in self.members if member.seat is not None]),
            ("statement key", [member.statement_key for member in self.members]),
            ("SPIFFE id", [member.spiffe_id for member in self.members]),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"two members share a {what}")
        if sum(member.role == "coordinator" for member in self.members) != 1:
            raise ValueError("a roster has exactly one coordinator")
        return self

    def canonical(self) -> bytes:
        """Return the roster's RFC 8785 bytes."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """Digest of the canonical bytes."""
        return sha256_digest(self.canonical())

    @property
    def coordinator(self) -> Member:
        """The member that runs the coordinator."""
        return next(member for member in self.members if member.role == "coordinator")

    @property
    def participants(self) -> tuple[Member, ...]:
        """The participants, in order of seat."""
        return tuple(sorted((m for m in self.members if m.seat is not None), key=lambda m: m.seat or 0))

    def member(self, institution: str) -> Member:
        """Return the member of this name.

        Raises:
            IdentityError: there is none.
        """
        for member in self.members:
            if member.institution == institution:
                return member
        raise IdentityError(
            f"{institution} is not a member of consortium {self.consortium}; ask the lead to approve it"
        )

    def seated(self, seat: int) -> Member:
        """Return the participant in this seat.

        Raises:
            IdentityError: the seat is empty.
        """
        for member in self.members:
            if member.seat == seat:
                return member
        raise IdentityError(f"seat {seat} of consortium {self.consortium} is empty")


def parse_roster(data: bytes) -> Roster:
    """Return the roster whose canonical bytes are exactly `data`.

    Raises:
        FormatError: it is not one.
    """
    parse_canonical_json(data)
    try:
        roster = Roster.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(f"roster: {first_mistake(error)}") from error
    if roster.canonical() != data:
        raise FormatError("roster is not in its canonical form")
    return roster


@dataclass(frozen=True, slots=True)
class SignedRoster:
    """A roster with the TUF metadata that vouches for it, as bytes received.

    Attributes:
        roots: the root chain, oldest first; the first is the one that is pinned.
        targets: the targets metadata.
        roster: `roster.json`.
    """

    roots: tuple[bytes, ...]
    targets: bytes
    roster: bytes

    @property
    def root_fingerprint(self) -> str:
        """Digest of the first root file: what invitations and auditors pin."""
        return sha256_digest(self.roots[0])

    @property
    def root_fingerprints(self) -> tuple[str, ...]:
        """Digests of all root files, oldest first."""
        return tuple(sha256_digest(root) for root in self.roots)

    @property
    def version(self) -> int:
        """Version of the targets metadata, which grows with every roster; to be read after `verify`.

        Raises:
            IdentityError: the metadata is malformed.
        """
        try:
            return Metadata[Targets].from_bytes(self.targets).signed.version
        except (RepositoryError, DeserializationError, ValueError, AttributeError) as error:
            raise IdentityError(f"the roster's metadata is malformed: {error}") from error

    def verify(self, pinned: str | None, at: datetime | None) -> Roster:
        """Return the roster if the pinned root vouches for it.

        Args:
            pinned: digest of a root file trusted beforehand, which the chain must contain: of the first one, or of a later
                one, and then what was signed under its predecessors alone is refused. None takes the first one on its own
                word (an auditor without a pin: the caller must say so).
            at: moment at which root and targets must not have expired, or None to leave the clock out.

        Raises:
            IdentityError: no chain from the pinned root, too few signatures, expired, or another roster than signed.
            FormatError: the roster itself is malformed.
        """
        if pinned is not None and pinned not in self.root_fingerprints:
            raise IdentityError(f"trust root is {self.root_fingerprint}, but {pinned} is pinned")
        try:
            root = last_root(self.roots)
            targets: Metadata[Targets] = _read(self.targets, Targets)
            root.signed.verify_delegate(Targets.type, targets.signed_bytes, targets.signatures)
            target = targets.signed.targets[ROSTER_TARGET]
            if set(target.hashes) != {"sha256"}:
                raise ValueError("the roster must be named by its SHA-256 alone")
            target.verify_length_and_hashes(self.roster)
        except (RepositoryError, DeserializationError, LengthOrHashMismatchError, KeyError, ValueError) as error:
            raise IdentityError(f"the roster is not signed as the trust root demands: {error}") from error
        for name, signed in (("root", root.signed), ("roster", targets.signed)):
            if at is not None and signed.is_expired(at):
                raise IdentityError(
                    f"the {name} metadata expired on {signed.expires} (clock: {at:%Y-%m-%dT%H:%M:%SZ}); check the clock, or "
                    "ask the lead to renew it"
                )
        return parse_roster(self.roster)


def last_root(chain: Sequence[bytes]) -> Metadata[Root]:
    """Return the newest of a chain of root files, each signed by the thresholds of the one before and of itself.

    Args:
        chain: oldest first; the first one is trusted as it is.

    Raises:
        RepositoryError, DeserializationError, KeyError, ValueError: it is no such chain; the caller says what that means.
    """
    current = read_root(chain[0])
    current.signed.verify_delegate(Root.type, current.signed_bytes, current.signatures)
    for data in chain[1:]:
        successor = read_root(data)
        current.signed.verify_delegate(Root.type, successor.signed_bytes, successor.signatures)
        successor.signed.verify_delegate(Root.type, successor.signed_bytes, successor.signatures)
        if successor.signed.version != current.signed.version + 1:
            raise ValueError(f"root version {successor.signed.version} does not follow {current.signed.version}")
        current = successor
    return current


def read_root(data: bytes) -> Metadata[Root]:
    """Return the root metadata in a file, whoever signed it.

    Raises:
        RepositoryError, DeserializationError, KeyError, ValueError: it is none, or a key is no Ed25519 key or stands twice.
    """
    metadata: Metadata[Root] = _read(data, Root)
    for name in (Root.type, Targets.type):
        keys = [metadata.signed.keys[key] for key in metadata.signed.roles[name].keyids]
        publics = [str(key.keyval.get("public")) for key in keys]
        if not all(
            key.keytype == "ed25519" and _ED25519.fullmatch(text) for key, text in zip(keys, publics, strict=True)
        ):
            raise ValueError(f"the {name} role has a key that is no Ed25519 key")
        if len(set(publics)) != len(publics):
            raise ValueError(f"the {name} role has a key under two names: its holder would count twice")
    return metadata


_ED25519: Final = re.compile("[0-9a-f]{64}")


def _read(data: bytes, kind: type[Root] | type[Targets]) -> Any:
    """Return metadata of this kind: the library reads any kind, whatever it was asked for."""
    metadata = Metadata.from_bytes(data)
    if not isinstance(metadata.signed, kind):
        raise ValueError(f"expected {kind.type} metadata, found {metadata.signed.type}")
    return metadata
