"""What the transparency log says of keys that were revoked, and of results that name their institutions afterwards.

Promises that what counts is the order of entries in the log, never a stated time. Entries name institutions and not keys: an
institution that came back with a new key looks here like one whose revoked key signed, and only the bundle tells (V65). Pure.

Source: protos/README.md §9.7, §10.11.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vdb_shared.bundle.logged import RevocationReason, RevokedRecord


@dataclass(frozen=True, slots=True)
class LoggedRevocation:
    """One revocation as the log has it.

    Attributes:
        index: of its entry.
        institution: whose key it was.
        key: its key id.
        reason: "compromised", "left" or "replaced".
        revoked: when, by the coordinator's clock.
        opened_later: published sessions that were opened after it and name the institution among their survivors.
        under_way: those that were opened before it and published after it.
    """

    index: int
    institution: str
    key: str
    reason: RevocationReason
    revoked: str
    opened_later: tuple[str, ...]
    under_way: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        lists = {"opened_later": list(self.opened_later), "under_way": list(self.under_way)}
        return {name: getattr(self, name) for name in self.__slots__} | lists


@dataclass(frozen=True, slots=True)
class LoggedResult:
    """Where a published session stands: the entries of its opening and of its result, and who is in the sum."""

    session: str
    opened: int
    published: int
    survivors: tuple[str, ...]


def logged_revocation(index: int, record: RevokedRecord, results: Iterable[LoggedResult]) -> LoggedRevocation:
    """Return a revocation with those results that came after it, of all that name the institution."""
    after = [item for item in results if item.published > index]
    return LoggedRevocation(
        index=index,
        institution=record.institution,
        key=record.key,
        reason=record.reason,
        revoked=record.revoked,
        opened_later=tuple(item.session for item in after if item.opened > index),
        under_way=tuple(item.session for item in after if item.opened < index),
    )


def questions(revocations: Iterable[LoggedRevocation]) -> Iterator[str]:
    """Yield what a reader should ask about results that name a revoked institution."""
    for item in revocations:
        for session in item.opened_later:
            yield (
                f"session {session} was opened after the key {item.key[:16]}… of {item.institution} was revoked (entry "
                f"{item.index}, {item.reason}), and {item.institution} is in its result: audit the bundle, which names the key "
                "(V65)"
            )
        for session in item.under_way:
            yield (
                f"session {session} was under way when the key {item.key[:16]}… of {item.institution} was revoked (entry "
                f"{item.index}, {item.reason}), and {item.institution} is in its result: its part may have been signed before"
            )
