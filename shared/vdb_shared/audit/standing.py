"""How a result stands since it was published: who objects to it, whether it was withdrawn, and what replaced it.

Promises that an objection or a withdrawal whose words are shown was signed with the key of whom it names, and is about this
very result; that one which the log alone names is shown as that; that one which somebody else may have signed, because the
key was revoked, is shown and not counted; and that nothing of this fails a bundle, which shows what was computed and by whom,
not who is right about it. Pure. Leaves reading files to `reading.py`, and words to `standing_words.py`.

Source: protos/README.md §9.7, §10.9.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vdb_shared.audit.monitor import LoggedSession, Monitored
from vdb_shared.audit.revocations import LoggedRevocation
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.logged import ObjectionRecord
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
from vdb_shared.roster import Member, Roster


@dataclass(frozen=True, slots=True)
class Objected:
    """One objection.

    Attributes:
        objector: who.
        statement: digest of what it signed.
        logged: when the coordinator received it, as the log says; "" where the log was not read, or does not have it.
        reason, text: why, as the objector signed it; "" where the statement is not at hand.
        entry: of the log, or None where `logged` is "".
        doubt: why it does not count as the member's, or "".
    """

    objector: str
    statement: str
    logged: str = ""
    reason: str = ""
    text: str = ""
    entry: int | None = None
    doubt: str = ""


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
        further: withdrawals that the coordinator signed beside it.
        successors: from the direct ones on, each once.
        supersedes: session whose result this one was opened to replace, or "".
        refused: statement files that say nothing about this result, by name, and why.
        faults: what the log says of it and never should.
        unreadable: numbers of the log's entries of which nothing is known; any may be about this result.
    """

    read: bool
    objections: tuple[Objected, ...]
    withdrawn: Withdrawn | None
    further: tuple[Withdrawn, ...]
    successors: tuple[Successor, ...]
    supersedes: str
    refused: Mapping[str, str]
    faults: tuple[str, ...]
    unreadable: tuple[int, ...] = ()

    @property
    def counted(self) -> tuple[Objected, ...]:
        """Objections that nothing speaks against being their members'."""
        return tuple(item for item in self.objections if not item.doubt)

    @property
    def superseded(self) -> bool:
        """Whether a session that replaces it has published its own result."""
        return any(item.state == "published" for item in self.successors)

    @property
    def mark(self) -> str:
        """What stands beside every figure of it: "withdrawn", "superseded", "objected to", or ""."""
        if self.withdrawn is not None:
            return "withdrawn"
        return "superseded" if self.superseded else "objected to" if self.counted else ""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "log_read": self.read,
            "mark": self.mark,
            "objections": [_plain(item) for item in self.objections],
            "withdrawn": None if self.withdrawn is None else _plain(self.withdrawn),
            "further_withdrawals": [_plain(item) for item in self.further],
            "successors": [_plain(item) for item in self.successors],
            "supersedes": self.supersedes,
            "refused": dict(self.refused),
            "faults": list(self.faults),
            "unreadable_entries": list(self.unreadable),
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
    withdrawals = tuple(_withdrawals(session, read.withdrawals))
    revoked = {} if found is None else {item.key: item for item in reversed(found.revocations)}
    return Standing(
        read=found is not None,
        objections=tuple(_Objections(about.roster, revoked, read.objections).of(session)),
        withdrawn=withdrawals[0] if withdrawals else None,
        further=withdrawals[1:],
        successors=() if found is None else _successors(found, about.session),
        supersedes=about.supersedes,
        refused=read.refused,
        faults=() if found is None else (*_faults(found, about.session), *_contradictions(session, read.withdrawals)),
        unreadable=() if found is None else found.unreadable,
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


@dataclass(frozen=True, slots=True)
class _Objections:
    """What is needed to say whose an objection is.

    Attributes:
        roster: of the session.
        revoked: first revocation of each key that is revoked, by key id.
        stated: objections whose statements are at hand, by digest.
    """

    roster: Roster
    revoked: Mapping[str, LoggedRevocation]
    stated: Mapping[str, Objection]

    def of(self, session: LoggedSession | None) -> Iterator[Objected]:
        """Yield the objections of the log in its order, then those that it has not."""
        logged = () if session is None else session.objections
        for item in logged:
            yield self._logged(item.index, item.record)
        names = {(item.record.objection, item.record.objector) for item in logged}
        for digest, said in sorted(self.stated.items(), key=lambda item: (item[1].objected, item[0])):
            if (digest, said.objector) not in names:
                yield Objected(said.objector, digest, "", said.reason, said.text, doubt=self._unplaced(said.objector))

    def _logged(self, index: int, record: ObjectionRecord) -> Objected:
        said = self.stated.get(record.objection)
        plain = Objected(record.objector, record.objection, record.received, entry=index)
        if said is None:
            return replace(plain, doubt=self._placed(record.objector, index))
        if said.objector != record.objector:
            return replace(plain, doubt=f"the statement that the log names is signed by {said.objector}")
        return replace(plain, reason=said.reason, text=said.text, doubt=self._placed(record.objector, index))

    def _placed(self, objector: str, index: int) -> str:
        """Return what speaks against an objection that is this entry of the log."""
        member = self._member(objector)
        if member is None:
            return "the session's roster has no participant or auditor of this name"
        known = self.revoked.get(member.public_key.key_id)
        if known is None or known.index > index:
            return ""
        return f"logged after its key was revoked in entry {known.index} ({known.reason})"

    def _unplaced(self, objector: str) -> str:
        """Return what speaks against an objection that is signed and not logged."""
        member = self._member(objector)
        known = None if member is None else self.revoked.get(member.public_key.key_id)
        if known is None:
            return ""
        return (
            f"its key was revoked in entry {known.index} ({known.reason}), and nothing shows that it was signed before"
        )

    def _member(self, name: str) -> Member | None:
        found = (item for item in self.roster.members if item.institution == name and item.role != "coordinator")
        return next(found, None)


def _withdrawals(session: LoggedSession | None, stated: Mapping[str, Withdrawal]) -> Iterator[Withdrawn]:
    """Yield the withdrawal that the log has, then those that are signed and not logged."""
    record = None if session is None else session.withdrawal
    if record is not None:
        known = stated.get(record.withdrawal)
        reason = "" if known is None else known.reason
        yield Withdrawn(record.withdrawn, record.withdrawal, True, reason, record.superseded_by or "")
    for digest, known in sorted(stated.items(), key=lambda item: (item[1].withdrawn, item[0])):
        if record is None or digest != record.withdrawal:
            yield Withdrawn(known.withdrawn, digest, False, known.reason, known.superseded_by or "")


def _faults(found: Monitored, session: str) -> Iterator[str]:
    return (fault.sentence for fault in found.faults if fault.afterwards and fault.session == session)


def _contradictions(session: LoggedSession | None, stated: Mapping[str, Withdrawal]) -> Iterator[str]:
    """Yield in what the log's entry of the withdrawal says something else than the statement that it names."""
    record = None if session is None else session.withdrawal
    known = None if record is None else stated.get(record.withdrawal)
    if record is None or known is None:
        return
    for what, in_log, signed in (
        ("when", record.withdrawn, known.withdrawn),
        ("for which session", record.superseded_by or "none", known.superseded_by or "none"),
    ):
        if in_log != signed:
            yield f"{what} the result was withdrawn: {in_log} as its entry says, {signed} as the coordinator signed"


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
