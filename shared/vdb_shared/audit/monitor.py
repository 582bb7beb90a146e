"""What the transparency log of a consortium tells to who reads all of it.

Promises that a session which was opened and of which nothing was published is seen, that a second end of one session is an
error, that what each institution has spent is added up over all results, and that nobody reads of a result without reading of
objections to it, of its withdrawal, and of the session that replaces it. Pure. Leaves reading files to log_files.py.

What it cannot show: a coordinator that shows this reader another log than others. Who keeps the checkpoint of every
reading, and compares it with others', sees that.

Source: protos/README.md §9.7, §10.11.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from vdb_shared.audit.entries import Fault, LoggedObjection, Reading
from vdb_shared.audit.revocations import LoggedResult, LoggedRevocation, logged_revocation, questions
from vdb_shared.bundle.logged import (
    AbortedRecord,
    OpenedRecord,
    PublishedRecord,
    WithdrawalRecord,
    parse_record,
)
from vdb_shared.canonical import decimal_string
from vdb_shared.errors import FormatError
from vdb_shared.privacy.conversion import epsilon_of_rho
from vdb_shared.transparency.checkpoint import Checkpoint

LONG: Final = timedelta(days=60)
"""A session that may take longer is remarked."""

State = Literal["open", "overdue", "published", "aborted"]


@dataclass(frozen=True, slots=True)
class LoggedSession:
    """One session as the log has it.

    Attributes:
        session: its id.
        spec: digest of its spec.
        opened: when.
        state: how it stands; "overdue": not ended although it should have; "published": the log names a result, which only its
            bundle shows.
        ended: when it ended, or should have; "" while it is open.
        statement: digest of the statement that ended it, or "".
        supersedes: session whose result it was opened to replace, or "".
        objections: to its result, in the order in which they were logged.
        withdrawal: of its result, or None.
        successors: sessions that were opened to replace its result, or that its withdrawal names, in the order of opening.
    """

    session: str
    spec: str
    opened: str
    state: State
    ended: str
    statement: str
    supersedes: str = ""
    objections: tuple[LoggedObjection, ...] = ()
    withdrawal: WithdrawalRecord | None = None
    successors: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        plain = ("session", "spec", "opened", "state", "ended", "statement", "supersedes")
        return {name: getattr(self, name) for name in plain} | {
            "objections": [item.to_json() for item in self.objections],
            "withdrawal": None if self.withdrawal is None else self.withdrawal.model_dump(mode="json"),
            "successors": list(self.successors),
        }


@dataclass(frozen=True, slots=True)
class Spent:
    """What the published results of an institution cost each of its records, by composition.

    Attributes:
        institution: its name.
        results: number of results with its records.
        rho: sum; None if one of them had no noise.
        epsilon: that this is at `delta`; None likewise.
        delta: the smallest of the results' own.
    """

    institution: str
    results: int
    rho: Decimal | None
    epsilon: Decimal | None
    delta: Decimal

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "institution": self.institution,
            "results": self.results,
            "rho": None if self.rho is None else decimal_string(self.rho),
            "epsilon": None if self.epsilon is None else decimal_string(self.epsilon),
            "delta": decimal_string(self.delta),
        }


@dataclass(frozen=True, slots=True)
class Monitored:
    """All that the log says.

    Attributes:
        checkpoint: of the log that was read.
        sessions: in the order of their opening.
        spent: by institution.
        faults: what is wrong.
        remarks: what a reader should ask about.
        revocations: in the order of their entries.
        unreadable: numbers of entries of which nothing is known, not even the session.
    """

    checkpoint: Checkpoint
    sessions: tuple[LoggedSession, ...]
    spent: tuple[Spent, ...]
    faults: tuple[Fault, ...]
    remarks: tuple[str, ...]
    revocations: tuple[LoggedRevocation, ...]
    unreadable: tuple[int, ...] = ()

    @property
    def wrong(self) -> tuple[str, ...]:
        """What is wrong, in words."""
        return tuple(fault.sentence for fault in self.faults)

    def session(self, session: str) -> LoggedSession | None:
        """Return what the log says of a session, or None if it does not announce it."""
        return next((item for item in self.sessions if item.session == session), None)

    @property
    def alarming(self) -> bool:
        """Whether something is wrong, or a session has not ended that should have."""
        return bool(self.wrong) or any(session.state == "overdue" for session in self.sessions)

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "version": "vdb-log-monitor/1",
            "origin": self.checkpoint.origin,
            "size": self.checkpoint.size,
            "root": self.checkpoint.root.hex(),
            "sessions": [session.to_json() for session in self.sessions],
            "spent": [item.to_json() for item in self.spent],
            "wrong": list(self.wrong),
            "remarks": list(self.remarks),
            "revocations": [item.to_json() for item in self.revocations],
        }


def monitor(checkpoint: Checkpoint, entries: Iterable[bytes], now: str) -> Monitored:
    """Return what a whole log says.

    Args:
        checkpoint: of the log, verified.
        entries: all of them in order, verified.
        now: the time, as statements write it.
    """
    reading = Reading()
    for index, entry in enumerate(entries):
        try:
            reading.take(index, parse_record(entry))
        except FormatError as error:
            reading.leave(index, str(error))
    sessions = tuple(_session(opened, reading, now) for opened in reading.opened.values())
    results: defaultdict[str, list[LoggedResult]] = defaultdict(list)
    for result in reading.results():
        for institution in result.survivors:
            results[institution].append(result)
    revocations = tuple(
        logged_revocation(index, record, results[record.institution]) for index, record in reading.revoked
    )
    remarks = (
        *_overdue(sessions),
        *_patient(reading.opened.values()),
        *_chosen(sessions),
        *_disputed(sessions, revocations),
        *questions(revocations),
    )
    spent = _spent(reading.ends.values())
    unreadable = tuple(reading.unreadable)
    return Monitored(checkpoint, sessions, spent, tuple(reading.faults), remarks, revocations, unreadable)


def _session(opened: OpenedRecord, reading: Reading, now: str) -> LoggedSession:
    session = opened.session
    said = LoggedSession(
        session,
        opened.spec,
        opened.opened,
        "open",
        ended="",
        statement="",
        supersedes=opened.supersedes or "",
        objections=tuple(reading.objections[session].values()),
        withdrawal=reading.withdrawals.get(session),
        successors=reading.successors_of(session),
    )
    match reading.ends.get(session):
        case PublishedRecord() as end:
            return replace(said, state="published", ended=end.published, statement=end.result)
        case AbortedRecord() as end:
            return replace(said, state="aborted", ended=end.aborted, statement=end.abort)
        case _:
            return replace(said, state="overdue", ended=opened.due) if now > opened.due else said


def _overdue(sessions: Iterable[LoggedSession]) -> Iterable[str]:
    for session in sessions:
        if session.state == "overdue":
            yield (
                f"session {session.session} was opened {session.opened}, should have ended by {session.ended}, and neither a "
                "result nor an abort was logged: ask the lead what became of it"
            )


def _patient(opened: Iterable[OpenedRecord]) -> Iterable[str]:
    """Sessions that may take so long that nobody would ask: the lead chooses the deadlines."""
    for record in opened:
        try:
            long = datetime.fromisoformat(record.due) - datetime.fromisoformat(record.opened) > LONG
        except ValueError:
            long = True  # a month 13: as good as never
        if long:
            yield f"session {record.session} was opened {record.opened} and need not end before {record.due}: ask the lead why"


def _chosen(sessions: Iterable[LoggedSession]) -> Iterable[str]:
    """Specs that were run more than once: somebody could publish the nicest of several results."""
    by_spec: dict[str, list[LoggedSession]] = defaultdict(list)
    for session in sessions:
        by_spec[session.spec].append(session)
    for spec, runs in by_spec.items():
        if len(runs) > 1:
            counts = [f"{sum(run.state == state for run in runs)} {state}" for state in _STATES]
            yield f"spec {spec} was run in {len(runs)} sessions: {', '.join(counts)}"


def _disputed(sessions: Sequence[LoggedSession], revocations: Sequence[LoggedRevocation]) -> Iterator[str]:
    """Objections, withdrawals, and what replaces a result."""
    announced = {session.session: session for session in sessions}
    for session in sessions:
        for objection in session.objections:
            item = objection.record
            yield (
                f"{item.objector} objects to the result of session {session.session}, logged {item.received}: ask for the "
                f"statement {item.objection}, which says why{_under_revoked(objection, revocations)}"
            )
        if session.withdrawal is not None:
            known = session.withdrawal
            yield (
                f"the result of session {session.session} was withdrawn {known.withdrawn}: ask for the statement "
                f"{known.withdrawal}, which says why"
            )
        if len(session.successors) > 1:
            yield (
                f"{len(session.successors)} sessions were opened to replace the result of session {session.session}: ask which "
                "one counts"
            )
        for successor in session.successors:
            if successor in announced and announced[successor].supersedes != session.session:
                yield (
                    f"session {successor}, which is to replace the result of session {session.session}, did not say so when it "
                    "was opened: ask the lead why"
                )


def _under_revoked(objection: LoggedObjection, revocations: Iterable[LoggedRevocation]) -> str:
    """Return that a key of the objector was revoked before, or ""; a bundle's roster tells whether that one signed."""
    for known in revocations:
        if known.institution == objection.record.objector and known.index < objection.index:
            revoked = f"a key of {known.institution} was revoked before (entry {known.index}, {known.reason})"
            return f"; {revoked}, and V63.standing says whether it is the one that signed"
    return ""


_STATES: tuple[State, ...] = ("published", "aborted", "open", "overdue")


def _spent(ends: Iterable[PublishedRecord | AbortedRecord]) -> tuple[Spent, ...]:
    costs: dict[str, list[PublishedRecord]] = defaultdict(list)
    for end in ends:
        if isinstance(end, PublishedRecord):
            for institution in end.survivors:
                costs[institution].append(end)
    return tuple(_sum(institution, results) for institution, results in sorted(costs.items()))


def _sum(institution: str, results: list[PublishedRecord]) -> Spent:
    delta = min(result.delta for result in results)
    known = [result.rho for result in results if result.rho is not None]
    if len(known) < len(results):
        return Spent(institution, len(results), None, None, delta)
    rho = sum(known, Decimal(0))
    try:
        return Spent(institution, len(results), rho, epsilon_of_rho(rho, delta), delta)
    except ArithmeticError:  # costs that no honest session has: nothing is known of what they protect
        return Spent(institution, len(results), rho, None, delta)
