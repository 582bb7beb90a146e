"""How an institution fares while another one, or a stranger, attacks the coordinator, and what attacks leave behind.

    python benchmarks/abuse.py [--json FILE]

Each attack of `tests/testkit/abuse.py` is made against a `vdb-coordinator serve` of its own, after a quiet time, while a
neighbour makes one short call after another, every tenth over a new connection. The attackers run on the same machine and share
its cores with the coordinator, which no network would let them do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from rows import Row, report

from testkit.abuse import ATTACKS, Attack, neighbour
from testkit.coordinator import RunningCoordinator
from testkit.coordinator_process import Process
from testkit.crowd import crowd
from testkit.small_specs import small_spec

QUIET_SECONDS: Final = 3.0
P99_SECONDS: Final = 1.0
MEGABYTES: Final = 100.0
RECOVERY_SECONDS: Final = 60.0


def main() -> int:
    """Measure, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    chosen = parser.parse_args()
    rows = [row for name, (attack, expected) in ATTACKS.items() for row in attacked(name, attack, expected)]
    return report(rows, "one run of each attack, other work on the machine", chosen.json)


def attacked(name: str, attack: Attack, expected: str) -> list[Row]:
    """Return how one attack went."""
    with tempfile.TemporaryDirectory() as folder:
        coordinator = RunningCoordinator(Path(folder) / "coordinator")
        attacker, working = crowd(coordinator, 4)[:2]
        coordinator.start()
        coordinator.stop()
        process = Process(coordinator)
        try:
            process.wait_until_it_listens()
            coordinator.admin.create_session(small_spec())
            with neighbour(process.address, working) as quiet:
                time.sleep(QUIET_SECONDS)
            memory, descriptors = process.memory, process.descriptors
            with neighbour(process.address, working) as other:
                got = attack(process.address, attacker)
            recovery = _until(process, descriptors)
            grown = (process.memory - memory) / 1e6
        finally:
            coordinator.stop()
            process.kill()
    if got != expected or quiet.errors:
        raise RuntimeError(f"{name}: expected {expected}, got {got}; {quiet.errors[:1]}")
    return [
        Row(f"{name}: the neighbour's calls that failed", float(len(other.errors)), "", 0.0),
        Row(f"{name}: 99th percentile of its calls", p99(other.seconds), "s", P99_SECONDS),
        Row(f"{name}: the same before", p99(quiet.seconds), "s"),
        Row(f"{name}: growth of resident memory", grown, "MB", MEGABYTES),
        Row(f"{name}: until descriptors are as before", recovery, "s", RECOVERY_SECONDS),
    ]


def p99(seconds: list[float]) -> float:
    """Return the 99th percentile."""
    return sorted(seconds)[int(0.99 * (len(seconds) - 1))]


def _until(process: Process, descriptors: int) -> float | None:
    """Return the seconds until a process has no more descriptors than before, but for the neighbour's; None if it stays so."""
    began = time.monotonic()
    while time.monotonic() < began + RECOVERY_SECONDS:
        if process.descriptors <= descriptors + 1:
            return time.monotonic() - began
        time.sleep(0.05)
    return None


if __name__ == "__main__":
    sys.exit(main())
