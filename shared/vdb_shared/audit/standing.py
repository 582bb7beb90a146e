"""How a result stands since it was published: who objects to it, whether it was withdrawn, and what replaced it.

Promises that an objection or a withdrawal whose words are shown was signed by whom it names, and is about this very result;
that one which the log alone names is shown as that; and that nothing of this fails a bundle, which shows what was computed and
by whom, not who is right about it. Pure. Leaves reading files to `reading.py`.

Source: protos/README.md §9.7, §10.9.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vdb_shared.audit.monitor import LoggedSession, Monitored
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.objections import (
    Objection,
    Withdrawal,
    check_about,
    names_withdrawal,
    parse_envelope,
    read_objection,
    read_withdrawal,
)
from vdb_shared.errors import VdbError
from vdb_shared.roster import Roster


@dataclass(frozen=True, slots=True)
class Objected:
    """One objection.

    Attributes:
        objector: who.
        statement: digest of what it signed.
        logged: when the coordinator received it, as the log says; "" where the log was not read, or does not have it.
        reason, text: why, as the objector signed it; "" where the statement is not at hand.
    """

    objector: str
    statement: str
    logged: str = ""
    reason: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The withdrawal.

    Attributes:
        at: when, as the coordinator says.
        statement: digest of what it signed.
        logged: whether the log has it; False also where the log was not read.
        reason: why, in the coordinator's words; "" where the statement is not at hand.
        superseded_by: session whose result replaces it, or "".
    """

    at: str
    statement: str
    logged: bool
    reason: str
    superseded_by: str


@dataclass(frozen=True, slots=True)
class Successor:
    """A session that replaces a result, or one that replaces that: its id, its state, and whether it was withdrawn itself."""

    session: str
    state: str
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """How a result stands.

    Attributes:
        read: whether the log was read.
        objections: those of the log in its order, then those that it has not.
        withdrawn: the withdrawal, or None.
        successors: from the direct ones on, each once.
        supersedes: session whose result this one was opened to replace, or "".
        refused: statement files that say nothing about this result, by name, and why.
        faults: what the log says of it and never should.
    """

    read: bool
    objections: tuple[Objected, ...]
    withdrawn: Withdrawn | None
    successors: tuple[Successor, ...]
    supersedes: str
    refused: Mapping[str, str]
    faults: tuple[str, ...]

    @property
    def superseded(self) -> bool:
        """Whether a session that replaces it has published its own result."""
        return any(item.state == "published" for item in self.successors)

    @property
    def mark(self) -> str:
        """What stands beside every figure of it: "withdrawn", "superseded", "objected to", or ""."""
        if self.withdrawn is not None:
            return "withdrawn"
        return "superseded" if self.superseded else "objected to" if self.objections else ""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "log_read": self.read,
            "mark": self.mark,
            "objections": [_plain(item) for item in self.objections],
            "withdrawn": None if self.withdrawn is None else _plain(self.withdrawn),
            "successors": [_plain(item) for item in self.successors],
            "supersedes": self.supersedes,
            "refused": dict(self.refused),
            "faults": list(self.faults),
        }


def _plain(item: Objected | Withdrawn | Successor) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__slots__}


@dataclass(frozen=True, slots=True)
class Published:
    """A published result: its session, the digest of its statement, whose roster counts, and whom its opening replaces."""

    session: str
    result: str
    roster: Roster
    supersedes: str


def standing_of(about: Published, found: Monitored | None, statements: Mapping[str, bytes]) -> Standing:
    """Return how a result stands.

    Args:
        about: the result.
        found: what the log says, all of it; None where it was not read.
        statements: files with objections and withdrawals, by name, as received.
    """
    read = _Statements(about)
    for name, data in statements.items():
        read.take(name, data)
    session = None if found is None else found.session(about.session)
    return Standing(
        read=found is not None,
        objections=tuple(_objections(session, read.objections)),
        withdrawn=_withdrawn(session, read.withdrawals),
        successors=() if found is None else _successors(found, about.session),
        supersedes=about.supersedes,
        refused=read.refused,
        faults=()
        if found is None
        else tuple(fault.sentence for fault in found.faults if fault.afterwards and fault.session == about.session),
    )


class _Statements:
    """Statement files that hold, by digest of what was signed."""

    def __init__(self, about: Published) -> None:
        self._about = about
        self.objections: dict[str, Objection] = {}
        self.withdrawals: dict[str, Withdrawal] = {}
        self.refused: dict[str, str] = {}

    def take(self, name: str, data: bytes) -> None:
        try:
            self._take(parse_envelope(data))
        except VdbError as error:
            self.refused[name] = str(error)

    def _take(self, envelope: Envelope) -> None:
        about = self._about
        if names_withdrawal(envelope):
            withdrawal = read_withdrawal(envelope, about.roster)
            check_about(withdrawal, about.session, about.result)
            self.withdrawals[envelope.payload_digest] = withdrawal
        else:
            objection = read_objection(envelope, about.roster)
            check_about(objection, about.session, about.result)
            self.objections[envelope.payload_digest] = objection


def _objections(session: LoggedSession | None, stated: Mapping[str, Objection]) -> Iterator[Objected]:
    logged = () if session is None else session.objections
    for record in logged:
        known = stated.get(record.objection)
        if known is None or known.objector != record.objector:
            yield Objected(record.objector, record.objection, record.received)
        else:
            yield Objected(known.objector, record.objection, record.received, known.reason, known.text)
    names = {(record.objection, record.objector) for record in logged}
    for digest, objection in sorted(stated.items(), key=lambda item: (item[1].objected, item[0])):
        if (digest, objection.objector) not in names:
            yield Objected(objection.objector, digest, "", objection.reason, objection.text)


def _withdrawn(session: LoggedSession | None, stated: Mapping[str, Withdrawal]) -> Withdrawn | None:
    record = None if session is None else session.withdrawal
    if record is not None:
        known = stated.get(record.withdrawal)
        reason = "" if known is None else known.reason
        return Withdrawn(record.withdrawn, record.withdrawal, True, reason, record.superseded_by or "")
    for digest, known in sorted(stated.items(), key=lambda item: (item[1].withdrawn, item[0])):
        return Withdrawn(known.withdrawn, digest, False, known.reason, known.superseded_by or "")
    return None


def _successors(found: Monitored, first: str) -> tuple[Successor, ...]:
    by_id = {item.session: item for item in found.sessions}
    reached: dict[str, Successor] = {}
    waiting = [first]
    while waiting:
        known = by_id.get(waiting.pop(0))
        for session in () if known is None else known.successors:
            other = by_id.get(session)
            if session != first and session not in reached and other is not None:
                reached[session] = Successor(session, other.state, other.withdrawal is not None)
                waiting.append(session)
    return tuple(reached.values())


def words_of(standing: Standing) -> Sequence[str]:
    """Return in words all that speaks about a result: its withdrawal first, then what replaces it, then objections."""
    return (
        *_withdrawal_words(standing),
        *(_successor_words(item) for item in standing.successors),
        *(_objection_words(item, read=standing.read) for item in standing.objections),
        *(f"The log is not in order: {fault}." for fault in standing.faults),
        *(f"{name} was not counted: {why}." for name, why in standing.refused.items()),
    )


def _withdrawal_words(standing: Standing) -> Iterator[str]:
    known = standing.withdrawn
    if known is None:
        return
    why = f": “{known.reason}”" if known.reason else f"; why stands in the statement {known.statement}."
    where = "" if known.logged or not standing.read else " (The log does not have this withdrawal.)"
    yield f"WITHDRAWN by the coordinator, as it says at {known.at}{why}{where}"
    if known.superseded_by and not any(item.session == known.superseded_by for item in standing.successors):
        yield f"Session {known.superseded_by} is to replace it."


def _successor_words(item: Successor) -> str:
    verb = "replaces" if item.state == "published" else "is to replace"
    state = {"published": "has a result", "aborted": "was aborted", "open": "is open", "overdue": "is overdue"}[
        item.state
    ]
    return f"Session {item.session} {verb} it; that session {state}{', which was withdrawn too' if item.withdrawn else ''}."


def _objection_words(item: Objected, *, read: bool) -> str:
    if not item.text:
        return (
            f"{item.objector} objects, as the log says at {item.logged}; why stands in the statement {item.statement}."
        )
    where = f"logged {item.logged}" if item.logged else "not in the log" if read else "signed"
    return f"{item.objector} objects ({item.reason}; {where}): “{item.text}”"
