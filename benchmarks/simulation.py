"""A whole session of a thousand participants in one process, with the real rounds of both sides.

    python benchmarks/simulation.py [--json FILE] [--participants 1000] [--lanes 10000] [--collusion 100]

One in twenty drops out after sharing keys and one in twenty after its masked input. Checks that the sum is exact and that the survivors' commitments open to it, and
prints wall seconds of each round. A thousand participants check the same signatures a thousand times on a thousand machines; here, and only
here, each check is done once and remembered. Nothing else is shared between the participants.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from rehearsal import Rehearsal, consortium, random_lanes
from rows import Row, report

from vdb_coordinator.rounds import Summed
from vdb_participant import rounds
from vdb_shared.secagg.commitments import commitments_open
from vdb_shared.secagg.encoding import LANE_OFFSET

BOUND: Final = 120.0
"""Seconds that 1000 participants with 1e4 lanes may take on two cores."""

THREADS: Final = 3
"""Participants that work at a time: while two wait for multi-exponentiations, which need no interpreter, one goes on."""

REMEMBERED: Final = ("open_advertised", "open_shared", "open_masked", "verify_consistency")


def main() -> int:
    """Run, print, and return 1 when the bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--participants", type=int, default=1000)
    parser.add_argument("--lanes", type=int, default=10_000)
    parser.add_argument("--collusion", type=int, default=100)
    chosen = parser.parse_args()
    rows = simulate(chosen.participants, chosen.lanes, chosen.collusion)
    return report(rows, "wall seconds, one run", chosen.json)


def simulate(participants: int, lanes: int, collusion: int) -> list[Row]:
    """Run a session and return the seconds of its rounds."""
    parameters, keys = consortium(participants, collusion, lanes)
    inputs = {seat: random_lanes(lanes) for seat in keys}
    leaving = participants // 20
    rehearsal = Rehearsal(parameters, keys, inputs, threads=THREADS)
    spent: dict[str, float] = {}
    with _remembered_checks(), _no_garbage_collection():
        _lap(spent, "advertise keys", rehearsal.advertise)
        _lap(spent, "share keys", rehearsal.share_keys)
        _lap(spent, "masked input", lambda: rehearsal.mask_inputs(range(leaving)))
        _lap(spent, "consistency", lambda: rehearsal.agree(range(leaving, 2 * leaving)))
        _lap(spent, "unmasking", rehearsal.reveal)
        _lap(spent, "audit of sum and commitments", lambda: _audit(rehearsal.summed()))
    title = f"n={participants}, d={lanes:g}, {leaving}+{leaving} dropouts, all in one process"
    bound = BOUND if participants <= 1000 and lanes <= 10_000 else None
    return [
        *(Row(f"{title}: {name}", seconds, "s") for name, seconds in spent.items()),
        Row(f"{title}: whole session", sum(spent.values()), "s", bound),
    ]


def _lap(spent: dict[str, float], name: str, work: Callable[[], object]) -> None:
    began = time.perf_counter()
    work()
    spent[name] = time.perf_counter() - began


def _audit(end: Summed) -> None:
    headers = end.transcript.masked.headers
    offsets = LANE_OFFSET * len(end.survivors)
    encoded = end.totals.view(np.uint64) + np.uint64(offsets)
    if not commitments_open([headers[seat].commitments for seat in sorted(headers)], encoded, end.blinders):
        raise RuntimeError("the commitments do not open to the sum")


@contextmanager
def _remembered_checks() -> Iterator[None]:
    """Check each signature and decode each message once, whoever asks."""
    with ExitStack() as undo:
        for name in REMEMBERED:
            undo.callback(setattr, rounds, name, getattr(rounds, name))
            setattr(rounds, name, _remember(getattr(rounds, name)))
        yield


def _remember(check: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[tuple[Any, ...], Any] = {}

    def remembered(parameters: Any, *what: Any) -> Any:
        if what not in known:
            known[what] = check(parameters, *what)
        return known[what]

    return remembered


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Walk no million live objects in search of cycles, of which there are none."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
