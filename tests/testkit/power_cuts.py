"""Power cuts while a ledger is debited: every file operation of two debits, replayed up to each one with unsynced ones lost.

    PYTHONPATH=tests python -m testkit.power_cuts [--synchronous FULL] [--seed 1]

strace records what a process that debits does to the ledger's folder. The replay's disk (`faults/disks.py`) keeps only what it
was asked to keep. Prints one line of JSON and returns 1 when some disk so left holds a ledger that cannot be used, or lacks a
debit that had been returned. SQLite's weaker settings are chosen with --synchronous, to see that they are found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from testkit.charges import CAP, NOW, charge, list_of
from testkit.faults.disks import Chance, Disk, Operation, write_out
from testkit.faults.tracing import command, operations, tracer
from vdb_participant.site.ledger import Ledger
from vdb_shared.errors import StoreError

DISKS = 6
"""Disks that are tried for each moment, besides those on which all or nothing is left."""

FILE = "ledger.sqlite"


def record(strace: str, synchronous: str) -> list[Operation]:
    """Return what two debits do to an empty folder."""
    with TemporaryDirectory() as place:
        folder, before, told, log = (Path(place).resolve() / name for name in ("ledger", "before", "told", "log"))
        folder.mkdir()
        before.mkdir()
        program = [sys.executable, "-m", "testkit.power_cuts", "--debit", str(folder), "--synchronous", synchronous]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        with told.open("wb") as stream:
            traced = command(strace, log, program)
            subprocess.run(traced, check=True, stdout=stream, stderr=subprocess.PIPE, env=environment)
        return list(operations(log.read_text().splitlines(), folder, told, before))


def debit_twice(folder: Path, synchronous: str) -> None:
    """Debit two sessions over data that take several pages, and say the digest of each entry when it was returned."""
    with Ledger(folder / FILE) as ledger:
        ledger._database.execute(f"PRAGMA synchronous={synchronous}")
        for number in range(2):
            data = list_of("common", *(f"words {item} of {number}/{item}" for item in range(40)))
            entry = ledger.debit(data, charge(number, data), CAP, "overlapping", NOW)
            sys.stdout.write(entry.digest + "\n")
            sys.stdout.flush()


@dataclass(slots=True)
class Findings:
    """What was found out: operations replayed, different disks opened, and what was wrong with them."""

    operations: int = 0
    disks: int = 0
    undercounts: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not (self.undercounts or self.unusable)


def campaign(done: Sequence[Operation], seed: int, disks: int = DISKS) -> Findings:
    """Cut the power after every operation, in several ways, and open what is left."""
    dice = random.Random(seed)  # noqa: S311 (losses, no secrets)
    disk, found, tried = Disk(), Findings(), set[tuple[tuple[str, bytes | None], ...]]()
    for number, operation in enumerate(done):
        disk.do(operation)
        ways: list[Chance] = [False, True, *[dice] * disks]
        for chance in ways:
            files = disk.after_a_cut(chance, below="")
            state = (*files.items(), ("said", str(len(disk.said)).encode()))
            if state not in tried:
                tried.add(state)
                said = [line.decode() for line in disk.said]
                _open(files, said, f"after operation {number} ({operation.kind} {operation.path})", found)
        found.operations += 1
    found.disks = len(tried)
    return found


def _open(files: Mapping[str, bytes | None], said: Sequence[str], place: str, found: Findings) -> None:
    memory = Path("/dev/shm")  # noqa: S108 - only to be quick; an own folder is made there
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        write_out(files, Path(folder) / "ledger")
        try:
            with Ledger(Path(folder) / "ledger" / FILE) as ledger:
                digests = [entry.digest for entry in ledger.verify()]
        except StoreError as error:
            found.unusable.append(f"{place}: {str(error).removeprefix(folder)}")
            return
        if digests[: len(said)] != list(said):
            found.undercounts.append(f"{place}: {len(said)} debits were returned, the ledger has {len(digests)}")


def main() -> int:
    """Record and replay; return 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description="Cut the power while a ledger is debited.")
    parser.add_argument("--synchronous", default="EXTRA", choices=["OFF", "NORMAL", "FULL", "EXTRA"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--disks", type=int, default=DISKS)
    parser.add_argument("--debit", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.debit is not None:
        debit_twice(chosen.debit, chosen.synchronous)
        return 0
    strace = tracer()
    if strace is None:
        sys.stderr.write("needs strace, and a system on which it may trace\n")
        return 2
    found = campaign(record(strace, chosen.synchronous), chosen.seed, chosen.disks)
    sys.stdout.write(json.dumps({item.name: getattr(found, item.name) for item in fields(found)}) + "\n")
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())
