"""The entries of a log, sorted by session as they are read, and what no honest coordinator writes.

Promises that only a first opening and a first end of a session count, and that an objection or a withdrawal counts only for
the very result that the log named before it. What is wrong about the latter is kept apart: it speaks against whoever keeps the
log, not against the result. Leaves what is worth asking to `monitor.py`.

Source: protos/README.md §9.7, §10.11.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from vdb_shared.audit.revocations import LoggedResult
from vdb_shared.bundle.logged import (
    AbortedRecord,
    ObjectionRecord,
    OpenedRecord,
    PublishedRecord,
    Record,
    RevokedRecord,
    WithdrawalRecord,
)

MOST_FAULTS: Final = 100
"""Of one session that are kept; what comes after them says nothing new."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What an honest coordinator's log never holds.

    Attributes:
        session: of which, or "" where that cannot be told.
        sentence: what it is.
        afterwards: whether it is about what was said of a result, and not about opening and end.
    """

    session: str
    sentence: str
    afterwards: bool = False


@dataclass(frozen=True, slots=True)
class LoggedObjection:
    """An objection as the log has it: the number of its entry, and what it says."""

    index: int
    record: ObjectionRecord

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"entry": self.index} | self.record.model_dump(mode="json")


class Reading:
    """What was read so far.

    Attributes:
        opened, ends: first opening and first end of each session, by its id.
        objections: to the result of each session, by digest.
        withdrawals: of results, by session.
        revoked: keys, with the numbers of their entries.
        unreadable: numbers of entries that hold no record which this version knows.
        faults: what is wrong.
    """

    def __init__(self) -> None:
        self.opened: dict[str, OpenedRecord] = {}
        self.ends: dict[str, PublishedRecord | AbortedRecord] = {}
        self.objections: defaultdict[str, dict[str, LoggedObjection]] = defaultdict(dict)
        self.withdrawals: dict[str, WithdrawalRecord] = {}
        self.revoked: list[tuple[int, RevokedRecord]] = []
        self.unreadable: list[int] = []
        self._places: dict[tuple[str, str], int] = {}
        self._faulty: Counter[tuple[str, bool]] = Counter()
        self._successors: defaultdict[str, list[str]] = defaultdict(list)
        self.faults: list[Fault] = []

    def take(self, index: int, record: Record) -> None:
        """Take the next record, which is this entry."""
        match record:
            case OpenedRecord():
                self._open(index, record)
            case PublishedRecord() | AbortedRecord():
                self._end(index, record)
            case ObjectionRecord():
                self._object(index, record)
            case WithdrawalRecord():
                self._withdraw(index, record)
            case RevokedRecord():
                self.revoked.append((index, record))
            case _:
                assert_never(record)

    def leave(self, index: int, why: str) -> None:
        """Leave an entry that is no record: what it says, and of which session, is not known."""
        self.unreadable.append(index)
        self._wrong(index, "", why)

    def results(self) -> Iterator[LoggedResult]:
        """Yield where the sessions stand that were opened and published."""
        for session, end in self.ends.items():
            if isinstance(end, PublishedRecord) and session in self.opened:
                opened, published = self._places[session, "session-opened"], self._places[session, end.kind]
                yield LoggedResult(session, opened, published, end.survivors)

    def successors_of(self, session: str) -> tuple[str, ...]:
        """Return the sessions that were opened to replace a result, and the one that its withdrawal names."""
        said = self._successors[session]
        withdrawal = self.withdrawals.get(session)
        named = None if withdrawal is None else withdrawal.superseded_by
        return tuple(said) if named is None or named in said else (*said, named)

    def _open(self, index: int, record: OpenedRecord) -> None:
        session = record.session
        self._places.setdefault((session, record.kind), index)
        if session in self.opened:
            self._wrong(index, session, f"session {session} is opened again")
        elif record.supersedes is not None and not isinstance(self.ends.get(record.supersedes), PublishedRecord):
            words = f"session {session} is to replace the result of {record.supersedes}, which has none before it"
            self._wrong(index, session, words, afterwards=True)
        if record.supersedes is not None and session not in self.opened:
            self._successors[record.supersedes].append(session)
        self.opened.setdefault(session, record)

    def _end(self, index: int, record: PublishedRecord | AbortedRecord) -> None:
        session = record.session
        self._places.setdefault((session, record.kind), index)
        if session not in self.opened:
            self._wrong(index, session, f"session {session} ends and was never announced")
        if session in self.ends:
            self._wrong(index, session, f"session {session} ends a second time; only its first end counts")
        self.ends.setdefault(session, record)

    def _object(self, index: int, record: ObjectionRecord) -> None:
        known = self.objections[record.session]
        if not self._names_result(record):
            words = f"an objection of {record.objector} is to no result that session {record.session} has before it"
        elif record.objection in known:
            words = f"an objection of {record.objector} to the result of session {record.session} is logged again"
        else:
            known[record.objection] = LoggedObjection(index, record)
            return
        self._wrong(index, record.session, words, afterwards=True)

    def _withdraw(self, index: int, record: WithdrawalRecord) -> None:
        session, successor = record.session, record.superseded_by
        if not self._names_result(record):
            words = f"a withdrawal is of no result that session {session} has before it"
        elif session in self.withdrawals:
            words = f"the result of session {session} is withdrawn a second time; only the first counts"
        else:
            self.withdrawals[session] = record
            if successor is None or successor in self.opened:
                return
            words = f"the result of session {session} is withdrawn for session {successor}, which is not announced before it"
        self._wrong(index, session, words, afterwards=True)

    def _names_result(self, record: ObjectionRecord | WithdrawalRecord) -> bool:
        end = self.ends.get(record.session)
        return isinstance(end, PublishedRecord) and end.result == record.result

    def _wrong(self, index: int, session: str, words: str, *, afterwards: bool = False) -> None:
        """Keep a fault; of one session and kind no more than anybody would read, lest a log of nothing else fill the memory."""
        self._faulty[session, afterwards] += 1
        if self._faulty[session, afterwards] <= MOST_FAULTS:
            self.faults.append(Fault(session, f"entry {index}: {words}", afterwards))
