"""A whole session of a thousand participants on one machine, with the real rounds of both sides.

    python benchmarks/simulation.py [--json FILE] [--participants 1000] [--lanes 10000] [--collusion 100] [--processes N]

One in twenty drops out after sharing keys and one in twenty after its masked input. Checks that the sum is exact and that the
survivors' commitments open to it, and prints wall seconds of each round. With `--processes 1` all parties run in this
process. Otherwise the coordinator runs here and the participants in N others, by default one for each core: X25519 holds the
interpreter's lock, so threads would not help.

A thousand participants check the same signatures a thousand times, on a thousand machines; here, and only here, a process does
each check once and remembers it. Two small caches of the product, which serve one party in earnest, serve all of a process
here: powers of the holders' points and Lagrange coefficients; a participant alone would need some 30 ms more.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from rehearsal import Crew, Players, Received, Rehearsal, Sent, consortium, here, random_lanes
from rows import Row, report

from vdb_coordinator.rounds import Summed
from vdb_participant import rounds
from vdb_shared.secagg.commitments import commitments_open
from vdb_shared.secagg.encoding import LANE_OFFSET
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import SharedRound

BOUND: Final = 120.0
"""Seconds that 1000 participants with 1e4 lanes may take on two cores."""

REMEMBERED: Final = ("open_advertised", "open_shared", "open_masked", "verify_consistency")


def main() -> int:
    """Run, print, and return 1 when the bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--participants", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=10_000)
    parser.add_argument("--collusion", type=int, help="c; by default a tenth of the participants")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    collusion = chosen.participants // 10 if chosen.collusion is None else chosen.collusion
    rows = simulate(chosen.participants, chosen.lanes, collusion, chosen.processes)
    return report(rows, "wall seconds, one run", chosen.json)


def simulate(participants: int, lanes: int, collusion: int, processes: int) -> list[Row]:
    """Run a session and return the seconds of its rounds."""
    parameters, keys = consortium(participants, collusion, lanes)
    inputs = {seat: random_lanes(lanes) for seat in keys}
    leaving = participants // 20
    spent: dict[str, float] = {}
    before = _cpu_seconds()
    crew = Crew(parameters, keys, inputs)
    with _collector_at_rest(), _here(crew) if processes == 1 else _elsewhere(crew, processes) as players:
        rehearsal = Rehearsal(parameters, inputs, players)
        _lap(spent, "advertise keys", rehearsal.advertise)
        _lap(spent, "commit and share keys", rehearsal.share_keys)
        _lap(spent, "masked input", lambda: rehearsal.mask_inputs(range(leaving)))
        _lap(spent, "consistency", lambda: rehearsal.agree(range(leaving, 2 * leaving)))
        _lap(spent, "unmasking", rehearsal.reveal)
        _lap(spent, "audit of sum and commitments", lambda: _audit(rehearsal.summed()))
    where = "one process" if processes == 1 else f"{processes} processes"
    title = f"n={participants}, d={lanes:g}, {leaving}+{leaving} dropouts, {where}"
    bound = BOUND if participants <= 1000 and lanes <= 10_000 else None
    return [
        *(Row(f"{title}: {name}", seconds, "s") for name, seconds in spent.items()),
        Row(f"{title}: whole session", sum(spent.values()), "s", bound),
        Row(f"{title}: CPU of all processes", _cpu_seconds() - before, "s"),
    ]


def _lap(spent: dict[str, float], name: str, work: Callable[[], object]) -> None:
    began = time.perf_counter()
    work()
    spent[name] = time.perf_counter() - began


def _cpu_seconds() -> float:
    """Return what this process and those that it made and that have ended took."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _audit(end: Summed) -> None:
    headers = end.transcript.masked.headers
    offsets = LANE_OFFSET * len(end.survivors)
    encoded = end.totals.view(np.uint64) + np.uint64(offsets)
    if not commitments_open([headers[seat].commitments for seat in sorted(headers)], encoded, end.blinders):
        raise RuntimeError("the commitments do not open to the sum")


@contextmanager
def _here(crew: Crew) -> Iterator[Players]:
    """Yield participants that run in this process."""
    checks = {name: getattr(rounds, name) for name in REMEMBERED}
    _memoise_checks()
    try:
        yield here(crew)
    finally:
        for name, check in checks.items():
            setattr(rounds, name, check)


@contextmanager
def _elsewhere(crew: Crew, processes: int) -> Iterator[Players]:
    """Yield participants that run in other processes; each is always in the same one."""
    with ExitStack() as open_pools:
        context = multiprocessing.get_context("fork")
        pools = [
            open_pools.enter_context(ProcessPoolExecutor(1, context, initializer=_adopt, initargs=(crew,)))
            for _ in range(processes)
        ]

        def players(name: str, seats: Sequence[Seat], received: Received) -> Iterator[Sent]:
            for place, pool in enumerate(pools):
                pool.submit(_listen, _part(received, place, processes)).result()
            sending = [pools[seat % processes].submit(_play, name, seat) for seat in seats]
            return (future.result() for future in sending)

        yield players


_adopted: Final[list[Crew]] = []
"""The crew of a process that was made for it."""


def _adopt(crew: Crew) -> None:
    _adopted.append(crew)
    _memoise_checks()


def _memoise_checks() -> None:
    for name in REMEMBERED:
        setattr(rounds, name, _remember(getattr(rounds, name)))


def _listen(received: Received) -> None:
    _adopted[0].listen(received)


def _play(name: str, seat: Seat) -> Sent:
    return _adopted[0].play(name, seat)


def _part(received: Received, place: int, processes: int) -> Received:
    """Leave out of the sealed pairs those for participants in other processes."""
    match received:
        case headers, sealed:
            return headers, {seat: pairs for seat, pairs in sealed.items() if seat % processes == place}
        case _:
            return received


def _remember(check: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[tuple[Any, ...], list[Any]] = {}

    def remembered(parameters: Any, *what: Any) -> Any:
        *context, seat, signed, _ = what
        before = context[0] if context else b""
        transcript = before.t2 if isinstance(before, SharedRound) else before
        key = (seat, transcript, signed.body, signed.signature)
        found = known.get(key)
        if found is None:
            found = known[key] = [check(parameters, *what)]
        return found[0]

    return remembered


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Walk no million live objects in search of cycles, of which there are none; processes made meanwhile do the same."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
