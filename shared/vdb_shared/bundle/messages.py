"""What the profile `full` adds to a bundle: the masked vectors, and the shares that were revealed, as the coordinator got them.

With the headers in the transcript and the signatures below the survivor set these are all messages from which the total was
made. Each is bound by its sender's signature, so the result need not name them. The sealed pairs of round 1 are left out:
nobody can check anything with them but a digest, and with the keys of t institutions they would open single vectors. Promises
that nothing of an attempt before the last one, and of nobody outside the sum, is in it.

Who has such a bundle has the coordinator's view (§4.7). Pure.

Source: protos/README.md §9.4.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from vdb_shared.canonical import decode_fields, encode_fields
from vdb_shared.errors import FormatError
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat

_FOLDER: Final = "messages/"
_MEMBER: Final = re.compile(r"messages/([a-z0-9][a-z0-9._-]{0,63})\.(masked|shares)")


@dataclass(frozen=True, slots=True)
class KeptMessages:
    """What the total was made of.

    Attributes:
        masked: masked vector of each survivor, as sent (§4.3).
        revealed: signed round-4 messages that were used, by seat.
    """

    masked: Mapping[Seat, bytes] = field(repr=False)
    revealed: Mapping[Seat, Signed] = field(repr=False)

    def members(self, names: Mapping[Seat, str]) -> dict[str, bytes]:
        """Return the members of a bundle that hold them.

        Args:
            names: institution of each survivor.
        """
        vectors = {f"{_FOLDER}{names[seat]}.masked": data for seat, data in self.masked.items()}
        shares = {
            f"{_FOLDER}{names[seat]}.shares": encode_fields(signed.body, signed.signature)
            for seat, signed in self.revealed.items()
        }
        return vectors | shares


def is_message(name: str) -> bool:
    """Return whether a member's name is of those that only the profile `full` has."""
    return name.startswith(_FOLDER)


def check_messages(members: Iterable[str], survivors: Collection[str], *, draft: bool) -> None:
    """Check that a bundle of the profile `full` has exactly the members that it may have.

    Args:
        members: names of all members.
        survivors: institutions in the sum.
        draft: whether countersignatures are still to come; then nothing of the rounds is shown to anybody.

    Raises:
        FormatError: one is missing or is none of them; the message begins with its name.
    """
    found = {name: _MEMBER.fullmatch(name) for name in members if is_message(name)}
    for name in sorted(found):
        matched = found[name]
        if draft or matched is None or matched.group(1) not in survivors:
            raise FormatError(f"{name}: a bundle has no such member")
    for survivor in sorted(survivors):
        if f"{_FOLDER}{survivor}.masked" not in found:
            raise FormatError(f"{_FOLDER}{survivor}.masked: this member is missing")


def read_messages(members: Mapping[str, bytes], names: Mapping[Seat, str]) -> KeptMessages:
    """Return the messages in a bundle of the profile `full`; nothing of them is verified.

    Args:
        members: of the bundle.
        names: institution of each survivor.

    Raises:
        FormatError: one is missing or malformed; the message begins with the member's name.
    """
    check_messages(members, frozenset(names.values()), draft=False)
    revealed = {}
    for seat, name in names.items():
        member = f"{_FOLDER}{name}.shares"
        if member in members:
            try:
                body, signature = decode_fields(members[member], 2)
            except FormatError as error:
                raise FormatError(f"{member}: {error}") from error
            revealed[seat] = Signed(body, signature)
    return KeptMessages({seat: members[f"{_FOLDER}{name}.masked"] for seat, name in names.items()}, revealed)
