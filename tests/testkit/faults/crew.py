"""Members that try again and again, without models or disks: each writes down every receipt that it was given.

For faults of the coordinator's side and of what lies between, where an agent's own disk plays no part.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self

import grpc
import numpy as np

from testkit.coordinator import Identity, RunningCoordinator
from testkit.coordinator_process import persistently
from testkit.faults.history import broken_result, broken_store, held_by, unacknowledged
from testkit.members import Reachable, TestMember
from testkit.playing import PHASES, STEPS
from testkit.refusals import reason_of
from testkit.small_specs import small_spec
from vdb_shared.layout import layout_of
from vdb_shared.secagg.encoding import Lanes
from vdb_shared.wire import reasons
from vdb_shared.wire.status import Phase, Receipt

MEMBERS: Final = 4
PATIENCE: Final = 150.0
"""Seconds after which a session that has not ended counts as standing still."""

SPEC: Final = small_spec(deadlines="{ joining = 3600, computing = 3600, round = 3600, countersigning = 3600 }")
_AGAIN: Final = (reasons.NOT_YET, reasons.TOO_MUCH, reasons.WRONG_OFFSET, reasons.STORAGE)
"""Refusals that an agent takes for a reason to run again (`network/answers.py`)."""

_PASSING: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass
class Notes:
    """What the members write down: every receipt that they were given."""

    receipts: dict[tuple[int, str], list[Receipt]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def add(self, seat: int, step: str, receipt: Receipt) -> None:
        """Write a receipt down."""
        self.receipts.setdefault((seat, step), []).append(receipt)


def one_hot(seat: int, members: int = MEMBERS) -> Lanes:
    """Return lanes that are zero but for a one in a place of the seat's own."""
    lanes = np.zeros(layout_of(SPEC).lanes, dtype=np.int64)
    lanes[place_of(seat, members)] = 1
    return lanes


def place_of(seat: int, members: int = MEMBERS) -> int:
    """Return the lane of a seat's one."""
    return layout_of(SPEC).lanes - members + seat


class Crew:
    """The members of one session, each in a thread of its own; `with Crew(…) as crew`.

    Attributes:
        members: by seat.
        notes: of all of them.
    """

    def __init__(self, coordinator: Reachable, identities: Sequence[Identity], session: str) -> None:
        self.session, self.notes = session, Notes()
        self._stack = ExitStack()
        self.members = [
            self._stack.enter_context(TestMember(coordinator, one, session, one_hot(one.seat, len(identities))))
            for one in identities
        ]
        self._threads = [threading.Thread(target=_play, args=[one, self.notes], daemon=True) for one in self.members]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    @property
    def ended(self) -> bool:
        """Whether nobody plays any more."""
        return not any(thread.is_alive() for thread in self._threads)

    def finish(self) -> tuple[bytes | None, list[str]]:
        """Return the published bundle once all have ended, and what was broken up to here."""
        end = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        if not self.ended:
            return None, [f"the session stood still for {PATIENCE:.0f} s", *self.notes.errors]
        broken = [*self.notes.errors, *self._broken_receipts()]
        return persistently(self.members[0].bundle), broken

    def compare(self, coordinator: RunningCoordinator, bundle: bytes) -> Iterator[str]:
        """Yield what the directory of a coordinator that does not run anymore does not bear out."""
        yield from broken_store(coordinator)
        yield from unacknowledged(self.notes.receipts, held_by(coordinator.home), self.session)
        expected = {place_of(member.seat, len(self.members)): 1 for member in self.members}
        yield from broken_result(coordinator, bundle, expected)

    def _broken_receipts(self) -> Iterator[str]:
        """Yield whose messages, sent again, are answered in another way than the first time."""
        for member in self.members:
            for step in STEPS:
                first = self.notes.receipts.get((member.seat, step))
                if first is not None and again_and_again(member, getattr(member, step)) != first[0]:
                    yield f"seat {member.seat}, {step}: the same bytes got another receipt"


def _play(member: TestMember, notes: Notes) -> None:
    try:
        for step, phase in zip(STEPS, PHASES, strict=True):
            again_and_again(member, partial(member.wait, phase))
            receipt = again_and_again(member, getattr(member, step))
            if isinstance(receipt, Receipt):
                notes.add(member.seat, step, receipt)
        again_and_again(member, partial(member.wait, Phase.PUBLISHED))
    except (grpc.RpcError, AssertionError) as error:
        notes.errors.append(f"seat {member.seat}: {error}")


def again_and_again(member: TestMember, call: Callable[[], object]) -> object:
    """Return what a call returns, made again with the same bytes for as long as the coordinator is away or cannot store."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() not in _PASSING and reason_of(error) not in _AGAIN:
                if reason_of(error) == reasons.TOO_LATE and call == member.reveal:
                    return None
                raise
            if time.monotonic() > end:
                raise
        time.sleep(0.1)
        member.reconnect()
