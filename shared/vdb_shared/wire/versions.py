"""Versions of the protocol and what a program can: how two programs find what both speak.

Promises that both sides come to the same answer, and that names which only one of them knows change nothing. What is agreed
decides which calls may be made, never how anything is signed, masked, debited or verified. Leaves who is refused, and in which
words, to the two sides.

Source: protos/README.md §11.9.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

import vdb_shared
from vdb_shared.errors import FormatError
from vdb_shared.wire import federation_pb2 as pb

KEY: Final = "vdb-protocol"
"""Name of a call's metadata whose value is the version that the caller speaks; 1.0 where it is missing."""

CERTIFICATE_RENEWAL: Final = "certificate-renewal"
"""RenewCertificate can be called."""

_MAX_NUMBER: Final = 9999
_MAX_CAPABILITIES: Final = 64
_MAX_PROGRAM: Final = 100
_VERSION = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")
_CAPABILITY = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version of the protocol: programs of one major version understand each other; a minor one adds calls and fields."""

    major: int
    minor: int

    def __str__(self) -> str:
        """Return the version as people and metadata write it: 1.1."""
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the version that a text holds.

        Raises:
            FormatError: it holds none.
        """
        found = _VERSION.fullmatch(text)
        if found is None:
            raise FormatError(f"{text[:40]!r} is no version of the protocol; expected MAJOR.MINOR, such as {CURRENT}")
        return cls(int(found[1]), int(found[2]))


CURRENT: Final = Version(1, 1)
OLDEST: Final = Version(1, 0)
"""The oldest version that this program still speaks."""

UNSTATED: Final = Version(1, 0)
"""What a program speaks that does not say so: metadata and Negotiate came with 1.1."""

METADATA: Final = ((KEY, str(CURRENT)),)
"""What every call of this program carries."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What one program speaks and can.

    Attributes:
        oldest, newest: it speaks these versions and all between them.
        capabilities: names.
        program: for people.
    """

    oldest: Version
    newest: Version
    capabilities: frozenset[str]
    program: str = ""

    def to_wire(self) -> pb.NegotiateRequest:
        """Return the message that makes the offer."""
        return pb.NegotiateRequest(
            oldest=_to_wire(self.oldest),
            newest=_to_wire(self.newest),
            capabilities=sorted(self.capabilities),
            program=self.program,
        )

    @classmethod
    def from_wire(cls, message: pb.NegotiateRequest) -> Self:
        """Return the offer in a message.

        Raises:
            FormatError: it makes none.
        """
        oldest, newest = _from_wire(message.oldest), _from_wire(message.newest)
        if newest < oldest:
            raise FormatError(f"an offer from version {oldest} down to {newest}")
        return cls(oldest, newest, _capabilities(message.capabilities), _program(message.program))


@dataclass(frozen=True, slots=True)
class Agreement:
    """What two programs have in common.

    Attributes:
        version: the newest that both speak.
        capabilities: what both can.
        program: of the other one, for people; "" if it did not say.
    """

    version: Version
    capabilities: frozenset[str]
    program: str = ""

    def to_wire(self, program: str) -> pb.NegotiateResponse:
        """Return the answer to an offer, from a program."""
        return pb.NegotiateResponse(
            version=_to_wire(self.version), capabilities=sorted(self.capabilities), program=program
        )

    @classmethod
    def from_wire(cls, message: pb.NegotiateResponse) -> Self:
        """Return the agreement in an answer, which says no more than what the other side holds for agreed.

        Raises:
            FormatError: it has none.
        """
        return cls(_from_wire(message.version), _capabilities(message.capabilities), _program(message.program))


def own_offer(program: str, oldest: Version = OLDEST) -> Offer:
    """Return what this program speaks and can.

    Args:
        program: its name.
        oldest: refuses older ones, though it could speak them.
    """
    known = frozenset({CERTIFICATE_RENEWAL})
    return Offer(max(OLDEST, oldest), CURRENT, known, f"{program} {vdb_shared.__version__}")


def agree(one: Offer, other: Offer) -> Agreement | None:
    """Return what two programs have in common, or None if they speak no common version."""
    version = min(one.newest, other.newest)
    if version < max(one.oldest, other.oldest):
        return None
    return Agreement(version, one.capabilities & other.capabilities, other.program)


def stated(metadata: Iterable[tuple[Any, ...]]) -> Version:
    """Return the version that a call's metadata state.

    Raises:
        FormatError: what stands there is no version.
    """
    for item in metadata:
        if item[0] == KEY:
            return Version.parse(str(item[1]))
    return UNSTATED


def _to_wire(version: Version) -> pb.ProtocolVersion:
    return pb.ProtocolVersion(major=version.major, minor=version.minor)


def _from_wire(message: pb.ProtocolVersion) -> Version:
    if max(message.major, message.minor) > _MAX_NUMBER or not message.major:
        raise FormatError(f"{message.major}.{message.minor} is no version of the protocol")
    return Version(message.major, message.minor)


def _capabilities(names: Iterable[str]) -> frozenset[str]:
    found = tuple(names)
    if len(found) > _MAX_CAPABILITIES or any(_CAPABILITY.fullmatch(name) is None for name in found):
        raise FormatError(f"expected at most {_MAX_CAPABILITIES} names of capabilities")
    return frozenset(found)


def _program(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:_MAX_PROGRAM]
