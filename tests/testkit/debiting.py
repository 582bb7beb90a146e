"""Sites that are killed again and again while they pay and send: what left, and what their ledgers say of it.

    PYTHONPATH=tests python -m testkit.debiting --seeds 500 DIR

Each seed is a site with three sessions one after the other, over data that overlap or not, under a cap that two of them reach.
Each life of a session is a process with the real journal, ledger, statements and rounds, that SIGKILL ends at a random moment;
the last is left alone. The coordinator and the other institutions are in this process, which lives on; what has come to it
through a pipe has left the site, so it knows the truth. A coordinator may end the session just before the input leaves, or just
after. Prints one line of JSON and returns 1 when something left that is not debited once, was refunded, or came in two
versions; when the ledger is not sound; or when a record is charged more than the cap. `--breach` breaks the site's promise
on purpose, to see that it is found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NoReturn, get_args

from testkit.charges import list_of
from testkit.consortium import Participants, inputs_for
from testkit.crashes import MemoryLink
from testkit.lives import SEALED, SEAT
from testkit.paying import COST, POLICY, Breach, live, site_in
from vdb_participant.network.link import Upload
from vdb_participant.site.journal_format import read_journal
from vdb_participant.site.ledger import Ledger
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import Contribution, parse_statement
from vdb_shared.canonical import digest_bytes, sha256_digest
from vdb_shared.errors import SessionAbortedError, StoreError
from vdb_shared.privacy.ledger import LedgerEntry
from vdb_shared.privacy.record_list import RecordList
from vdb_shared.wire.status import Phase

Fate = Literal["through", "ended before", "ended after"]

SESSIONS = 3
MOST_KILLS = 6
FIRST_PACE = 0.25
"""Seconds from the shares to the end of a life that nobody disturbs, until one was seen; kills fall evenly into them."""

WHOLE = 1.6
"""The whole of such a life, in the same measure."""

UNDISTURBED = 3600.0
"""Seconds that a life may take that is left alone."""

PAYING = 0.75
"""Share of the kills that are aimed at the second."""

CHECKED = 0.5
"""Share of the kills after which the ledger is looked at; else the next life finds what the kill left of a transaction."""

DATA = (list_of("a", "b/1", "/2"), list_of("b", "c"), list_of("/1"), list_of("y/8", "z"))
"""The first three overlap."""


@dataclass
class Coordinator:
    """The coordinator and the other institutions in one session; knows what has left the site.

    Attributes:
        fate: whether and when it ends the session.
        link: plays their parts.
        left: the inputs that came; two would be two versions.
        shown: whether the site was shown the shares, so that it may pay.
    """

    fate: Fate
    link: MemoryLink = field(default_factory=lambda: MemoryLink(Participants(SEALED, inputs_for(SEALED)), SEAT))
    left: set[bytes] = field(default_factory=set)
    shown: bool = False

    def answer(self, method: str, arguments: tuple[Any, ...]) -> object:
        """Return what a call returns, or raises."""
        ended = SessionAbortedError("the lead ended the session")
        if method == "upload":
            upload: Upload = arguments[3]
            self.left.add(upload.header.body + upload.header.signature + upload.masked + upload.contribution)
        waits = method == "wait" and arguments[1] == Phase.MASKING_INPUT
        if self.fate == "ended before" and self.shown and waits and not self.left:
            return ended
        if self.fate == "ended after" and self.left:
            return ended
        answer = getattr(self.link, method)(*arguments)
        self.shown = self.shown or method == "shared_keys"
        return answer

    @property
    def receipts(self) -> set[str]:
        """The ledger entries that the inputs' contribution statements name."""
        found = set()
        for content in self.left:
            statement = Envelope.from_json(content[content.rindex(b'{"payload"') :])
            found.add(parse_statement(statement.payload, Contribution)[0].ledger_entry)
        return found


@dataclass
class Kill:
    """When a life is killed.

    Attributes:
        left: seconds of its own work that are left to it; waiting for answers is none.
        paying: whether they begin only when it was shown the shares, after which it pays.
    """

    left: float
    paying: bool

    def survived(self, pipe: Connection, coordinator: Coordinator) -> bool:
        """Wait for the life's next call, or its end; return False when its time has come."""
        counts = coordinator.shown or not self.paying
        began = time.monotonic()
        found = pipe.poll(max(0.0, self.left) if counts else None)
        if counts:
            self.left -= time.monotonic() - began
        return found


def life(coordinator: Coordinator, kill: Kill, run: Callable[[Connection], None]) -> bool:
    """Live once in a process of its own; return whether it was killed.

    Args:
        coordinator: answers.
        kill: when it is killed.
        run: what the life does, given its end of the pipe.
    """
    ours, theirs = Pipe()
    child = os.fork()
    if child == 0:
        ours.close()
        _child(run, theirs)
    theirs.close()
    while kill.survived(ours, coordinator):
        if not _answered(ours, coordinator):
            break
    else:
        os.kill(child, signal.SIGKILL)
        while _answered(ours, coordinator):
            pass  # what is in the pipe has left the site
    ours.close()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError("a life failed by itself")
    return False


def _answered(pipe: Connection, coordinator: Coordinator) -> bool:
    """Answer one call; return whether there was one before the end."""
    try:
        method, arguments = pipe.recv()
    except (EOFError, ConnectionResetError):
        return False
    answer = coordinator.answer(method, arguments)
    with suppress(BrokenPipeError):
        pipe.send(answer)
    return True


def _child(run: Any, pipe: Connection) -> NoReturn:
    code = 1
    try:
        run(pipe)
        code = 0
    except Exception as error:  # the process ends here, and says why
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        os._exit(code)


@dataclass
class Session:
    """A session of a site, and the data it is over."""

    coordinator: Coordinator
    data: RecordList

    def paid(self, chain: Sequence[LedgerEntry], name: str) -> bool:
        """Return whether the ledger debits it once, for its data, and keeps the debit."""
        entries = [entry for entry in chain if entry.charge.session == name]
        return [(entry.kind, entry.charge.records) for entry in entries] == [("debit", self.data.digest)]


@dataclass(slots=True)
class Findings:
    """What was found out about all sites.

    Attributes:
        seeds, sessions: how many.
        kills: lives that were killed.
        kills_after: the same by the last record of the session's journal.
        pace: seconds of work from the shares to the end of a life, as lately seen.
        left, refunded, refused: sessions whose input left, whose debit was taken back, that were never debited.
        undercounts: what left and is not debited once; the breach that this is about.
        second_versions: sessions of which two different inputs left.
        unsound: broken chains and lists, entries that are missing, records above the cap.
        overcounts: debits that stand although nothing left; they cost a site its budget and nobody's privacy.
    """

    seeds: int = 0
    sessions: int = 0
    kills: int = 0
    kills_after: dict[str, int] = field(default_factory=dict)
    pace: float = FIRST_PACE
    left: int = 0
    refunded: int = 0
    refused: int = 0
    undercounts: list[str] = field(default_factory=list)
    second_versions: list[str] = field(default_factory=list)
    overcounts: list[str] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not (self.undercounts or self.second_versions or self.unsound)


def campaign(folder: Path, seeds: range, breach: Breach = "none") -> Findings:
    """Run so many sites."""
    found = Findings()
    for seed in seeds:
        with TemporaryDirectory(dir=folder) as place:
            run_site(Path(place), seed, breach, found)
        found.seeds += 1
    return found


def run_site(folder: Path, seed: int, breach: Breach, found: Findings) -> None:
    """Let one site take part in its sessions, and count what became of them."""
    dice = random.Random(seed)  # noqa: S311 (moments, no secrets)
    sessions: dict[str, Session] = {}
    for number in range(SESSIONS):
        name = sha256_digest(f"{seed}/{number}".encode())
        session = sessions[name] = Session(Coordinator(dice.choice(get_args(Fate))), dice.choice(DATA))
        run = partial(live, folder, name, session.data, breach=breach)
        kills = dice.randint(1, MOST_KILLS)
        kill = _kill(dice, found.pace)
        while life(session.coordinator, kill, run):
            kills, found.kills = max(0, kills - 1), found.kills + 1
            last = _last_record(folder, name)
            found.kills_after[last] = found.kills_after.get(last, 0) + 1
            if dice.random() < CHECKED:
                _check(folder, sessions, f"seed {seed}, after a kill", found)
            kill = _kill(dice, found.pace) if kills else Kill(UNDISTURBED, paying=True)
        if not kills:
            found.pace = (found.pace + UNDISTURBED - kill.left) / 2
        found.sessions += 1
    chain = _check(folder, sessions, f"seed {seed}", found)
    for name, session in sessions.items():
        kinds = _kinds(chain, name)
        found.left += bool(session.coordinator.left)
        found.refunded += kinds == ["debit", "refund"]
        found.refused += not kinds
        if kinds == ["debit"] and not session.coordinator.left:
            found.overcounts.append(f"seed {seed}, session {name[7:15]}")


def _last_record(folder: Path, session: str) -> str:
    """Return the name of the last record in a session's journal: how far it had come."""
    journal = site_in(folder).folder.session(session) / "journal"
    data = journal.read_bytes() if journal.exists() else b""
    return next((record.name for record in reversed(read_journal(data, digest_bytes(session)).records)), "")


def _kill(dice: random.Random, pace: float) -> Kill:
    paying = dice.random() < PAYING
    return Kill(dice.uniform(0, pace if paying else WHOLE * pace), paying)


def _kinds(chain: Sequence[LedgerEntry], session: str) -> list[str]:
    return [entry.kind for entry in chain if entry.charge.session == session]


def _check(folder: Path, sessions: Mapping[str, Session], place: str, found: Findings) -> Sequence[LedgerEntry]:
    """Compare the ledger with what has left; return its entries."""
    try:
        with Ledger(site_in(folder).folder.ledger) as ledger:
            chain = ledger.verify()
    except StoreError as error:
        found.unsound.append(f"{place}: {error}")
        return ()
    for name, session in sessions.items():
        words = f"{place}, session {name[7:15]} ({session.coordinator.fate})"
        if len(session.coordinator.left) > 1:
            found.second_versions.append(words)
        if session.coordinator.left and not session.paid(chain, name):
            found.undercounts.append(f"{words}: left, and the ledger has {_kinds(chain, name)}")
        if not session.coordinator.receipts <= {entry.digest for entry in chain}:
            found.unsound.append(f"{words}: what left names an entry that is not there")
    standing = [session.data for name, session in sessions.items() if _kinds(chain, name) == ["debit"]]
    for part in {part for data in standing for part in data.parts}:
        if sum(part in data.parts for data in standing) * COST > POLICY.rho_cap:
            found.unsound.append(f"{place}: a record is charged more than the cap")
    return chain


def main() -> int:
    """Run the campaign; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description="Kill sites again and again while they pay and send.")
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--breach", choices=get_args(Breach), default="none")
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    found = campaign(chosen.folder, range(chosen.first, chosen.first + chosen.seeds), chosen.breach)
    sys.stdout.write(json.dumps({item.name: getattr(found, item.name) for item in fields(found)}) + "\n")
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
