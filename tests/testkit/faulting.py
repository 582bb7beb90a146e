"""Faults of a coordinator in the middle of a session, one at a time, and what becomes of the session.

    python -m testkit.faulting [--json FILE] [--places PLACE …] [--times 1 2 5] FOLDER

A `vdb-coordinator serve` runs with one failpoint. Four members that try again and again play a session with it, a supervisor
starts it anew when it dies, and at the end everybody's notes are compared: receipts of the members, events and receipts of the
database, the transparency log, the bundle. Prints a table of faults and outcomes; exits with 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final, get_args

import grpc
import numpy as np
from sqlalchemy import select

from testkit.bundles import small_spec
from testkit.coordinator import RunningCoordinator
from testkit.coordinator_process import Process, persistently
from testkit.crowd import crowd
from testkit.members import PHASES, STEPS, TestMember
from testkit.refusals import reason_of
from vdb_coordinator.commands.upkeep import held
from vdb_coordinator.serving.failpoints import VARIABLE, Action, Place
from vdb_coordinator.serving.fsck import Holdings, look
from vdb_coordinator.store import schema
from vdb_shared.audit.log_files import fetch_from
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.record import AGGREGATE
from vdb_shared.layout import layout_of
from vdb_shared.secagg.encoding import LANE_OFFSET, Lanes
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase, Receipt

MEMBERS: Final = 4
RECOVERY_SECONDS: Final = 5.0
PATIENCE: Final = 120.0
"""Seconds after which a session that has not ended counts as standing still."""

SPEC: Final = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")
PLACES: Final = get_args(Place)
ACTIONS: Final = get_args(Action)
_PASSING: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True)
class Fault:
    """What happens at a place, and the how many-th time that it is passed."""

    place: Place
    action: Action
    time: int

    @property
    def setting(self) -> str:
        """As the environment variable has it."""
        return f"{self.place}={self.action}@{self.time}"


@dataclass
class Outcome:
    """What became of a session.

    Attributes:
        fault: that was set.
        deaths: of the coordinator.
        recovery: seconds from its death until it listened again, the longest.
        broken: promises, in words.
    """

    fault: str
    deaths: int = 0
    recovery: float = 0.0
    broken: list[str] = field(default_factory=list)


@dataclass
class Notes:
    """What the members write down: every receipt that they were given."""

    receipts: dict[tuple[int, str], list[Receipt]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def add(self, seat: int, step: str, receipt: Receipt) -> None:
        """Write a receipt down."""
        self.receipts.setdefault((seat, step), []).append(receipt)


def suffer(fault: Fault, folder: Path) -> Outcome:
    """Return what becomes of a session under a fault."""
    coordinator = RunningCoordinator(folder / "coordinator")
    identities = crowd(coordinator, MEMBERS)
    coordinator.start()
    session = coordinator.admin.create_session(SPEC)
    coordinator.stop()
    outcome, notes = Outcome(fault.setting), Notes()
    with ExitStack() as stack:
        supervisor = stack.enter_context(_Supervisor(coordinator, fault, outcome))
        members = [stack.enter_context(TestMember(coordinator, one, session, one_hot(one.seat))) for one in identities]
        threads = [threading.Thread(target=_play, args=[member, notes], daemon=True) for member in members]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        if any(thread.is_alive() for thread in threads):
            outcome.broken.append(f"the session stood still for {PATIENCE:.0f} s")
        else:
            bundle = persistently(members[0].bundle)
            outcome.broken += [*notes.errors, *broken_receipts(members, notes)]
            supervisor.stop()
            outcome.broken += [*broken_store(coordinator, session, notes), *broken_result(coordinator, bundle)]
    if fault.action == "kill" and outcome.deaths > 1:
        outcome.broken.append(f"died {outcome.deaths} times of one kill")
    return outcome


class _Supervisor:
    """Starts the coordinator, and again without its failpoint when it has died."""

    def __init__(self, coordinator: RunningCoordinator, fault: Fault, outcome: Outcome) -> None:
        self._coordinator, self._outcome = coordinator, outcome
        self._process = Process(coordinator, environment={VARIABLE: fault.setting})
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def __enter__(self) -> _Supervisor:
        return self

    def __exit__(self, *_error: object) -> None:
        if not self._gone.is_set():
            self.stop()

    def stop(self) -> None:
        """End the coordinator in good order."""
        self._gone.set()
        self._thread.join()
        self._process.stop()

    def _look(self) -> None:
        while not self._gone.wait(0.02):
            if not self._process.runs():
                died = time.monotonic()
                self._process = Process(self._coordinator)
                self._process.wait_until_it_listens()
                self._outcome.deaths += 1
                self._outcome.recovery = max(self._outcome.recovery, time.monotonic() - died)


def _play(member: TestMember, notes: Notes) -> None:
    try:
        for step, phase in zip(STEPS, PHASES, strict=True):
            _again_and_again(member, partial(member.wait, phase))
            receipt = _again_and_again(member, getattr(member, step))
            if isinstance(receipt, Receipt):
                notes.add(member.seat, step, receipt)
        _again_and_again(member, lambda: member.wait(Phase.PUBLISHED))
    except (grpc.RpcError, AssertionError) as error:
        notes.errors.append(f"seat {member.seat}: {error}")


def _again_and_again(member: TestMember, call: Callable[[], object]) -> object:
    """Return what a call returns, made again with the same bytes for as long as the coordinator is away or cannot store."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() not in _PASSING:
                if reason_of(error) == reasons.TOO_LATE and call == member.reveal:
                    return None
                raise
            if time.monotonic() > end:
                raise
        time.sleep(0.1)
        member.reconnect()


def broken_receipts(members: Sequence[TestMember], notes: Notes) -> Iterator[str]:
    """Yield what is wrong with the receipts: whatever is sent again must be answered as the first time."""
    for member in members:
        for step in STEPS:
            first = notes.receipts.get((member.seat, step))
            if first is not None and _again_and_again(member, getattr(member, step)) != first[0]:
                yield f"seat {member.seat}, {step}: the same bytes got another receipt"


def broken_store(coordinator: RunningCoordinator, session: str, notes: Notes) -> Iterator[str]:
    """Yield what is wrong with database and log."""
    with held(coordinator.home) as database:
        yield from (
            f"fsck: {item.what}: {item.problem}" for item in look(Holdings(coordinator.home, database)) if item.problem
        )
        columns = schema.receipts.c
        query = select(columns.seat, columns.kind, columns.digest, columns.sequence).where(columns.session == session)
        rows = database.run_now(lambda connection: list(connection.execute(query)))
    stored = {(row.seat, row.sequence): row.digest for row in rows}
    if len(rows) != len({(row.seat, row.kind) for row in rows}):
        yield "a seat has two receipts of one kind"
    for (seat, step), receipts in notes.receipts.items():
        if any(stored.get((seat, receipt.event)) != receipt.digest for receipt in receipts):
            yield f"seat {seat}, {step}: acknowledged and not stored"


def broken_result(coordinator: RunningCoordinator, bundle: bytes) -> Iterator[str]:
    """Yield what is wrong with the published result: each member's one must be counted once."""
    report = verify(bundle, root=coordinator.root_fingerprint, fetch=fetch_from(str(coordinator.home.log)))
    yield from (f"audit: {line.id}: {line.detail}" for line in report.lines if line.status.value == "FAIL")
    total = np.frombuffer(read_archive(bundle)[AGGREGATE], dtype="<u8")
    counted = (total - np.uint64(MEMBERS * LANE_OFFSET)).view(np.int64)
    if list(counted[-MEMBERS:]) != [1] * MEMBERS or np.any(counted[:-MEMBERS]):
        yield f"the sum holds {counted[-MEMBERS:].tolist()}, expected each member once"


def one_hot(seat: int) -> Lanes:
    """Return lanes that are zero but for a one in a place of the seat's own."""
    lanes = np.zeros(layout_of(SPEC).lanes, dtype=np.int64)
    lanes[len(lanes) - MEMBERS + seat] = 1
    return lanes


def main() -> int:
    """Suffer all faults, print what became of each, and return 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, help="also write the outcomes here")
    parser.add_argument("--places", nargs="+", choices=PLACES, default=PLACES)
    parser.add_argument("--actions", nargs="+", choices=ACTIONS, default=ACTIONS)
    parser.add_argument("--times", nargs="+", type=int, default=(1, 5))
    chosen = parser.parse_args()
    outcomes = []
    for place, action, number in product(chosen.places, chosen.actions, chosen.times):
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            outcomes.append(suffer(Fault(place, action, number), Path(folder)))
        one = outcomes[-1]
        if one.recovery > RECOVERY_SECONDS:
            one.broken.append(f"listened again only after {one.recovery:.1f} s")
        words = "; ".join(one.broken) or "published"
        deaths = f"{one.deaths} deaths" if one.deaths or action != "kill" else "not reached"
        sys.stdout.write(f"{one.fault:<32} {deaths:<12} {one.recovery:5.2f} s  {words}\n")
        sys.stdout.flush()
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(one) for one in outcomes], indent=1) + "\n")
    return 1 if any(one.broken for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
