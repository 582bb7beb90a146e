"""Run the campaign, or parts of it, and report: a table of faults and outcomes, and the same as JSON.

    python -m testkit.faults [--parts PART …] [--seed 1] [--seeds 200] [--cuts 600] [--plays 20] --report FOLDER SCRATCH

Each part is written to FOLDER/<part>.json when it has ended, and the table, FOLDER/faults.md, is made of all parts that lie
there: a long campaign can be run in pieces. Exits with 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from testkit.faults import (
    certificates,
    clocks,
    failpoints,
    messages,
    network,
    postgresql,
    power_losses,
    random_kills,
    site_clocks,
    storage,
)
from testkit.faults.outcomes import Outcome, from_json, to_json, to_table
from testkit.faults.tracing import tracer

Run = Callable[[Path], Outcome]
"""Suffers one fault in an empty folder."""


def _failpoints(_: argparse.Namespace, _scratch: Path) -> Iterator[Run]:
    return (partial(failpoints.suffer, fault) for fault in failpoints.all_faults())


def _kills(chosen: argparse.Namespace, _scratch: Path) -> Iterator[Run]:
    return (partial(random_kills.suffer, chosen.seed + number) for number in range(chosen.seeds))


def _power(chosen: argparse.Namespace, scratch: Path) -> Iterator[Run]:
    strace = tracer()
    if strace is None:
        raise SystemExit("power losses need strace, and a system on which it may trace")
    recording = power_losses.record(strace, scratch)
    for cut in power_losses.cuts(recording, chosen.cuts, chosen.seed):
        yield lambda _, cut=cut: power_losses.suffer(recording, cut)  # type: ignore[misc]  # bound where it is made
    for cut in power_losses.cuts(recording, chosen.plays, chosen.seed + 1):
        yield lambda _, cut=cut: power_losses.suffer(recording, cut, go_on=True)  # type: ignore[misc]  # the same


def _messages(_: argparse.Namespace, _scratch: Path) -> Iterator[Run]:
    return (partial(messages.suffer, fault) for fault in messages.FAULTS)


def _network(chosen: argparse.Namespace, _scratch: Path) -> Iterator[Run]:
    return (partial(network.suffer, weather, chosen.seed) for weather in network.WEATHERS)


def _clocks(_: argparse.Namespace, _scratch: Path) -> Iterator[Run]:
    return (partial(clocks.suffer, jump) for jump in clocks.FAULTS)


def _site_clocks(_: argparse.Namespace, _scratch: Path) -> Iterator[Run]:
    if site_clocks.compiler() is None:
        raise SystemExit("institutions' clocks need a C compiler (cc)")
    return (partial(site_clocks.suffer, wrong) for wrong in site_clocks.FAULTS)


def _postgresql(_: argparse.Namespace, _scratch: Path) -> Iterator[Run]:
    return (partial(postgresql.suffer, fault) for fault in postgresql.FAULTS)


def _disks(_: argparse.Namespace, _scratch: Path) -> Iterator[Run]:
    yield from (partial(storage.suffer, refusal) for refusal in storage.FAULTS)
    if storage.may_mount():
        yield storage.suffer_full
    else:
        sys.stderr.write("no file system can be mounted here: a full one is left out\n")


def _certificates(_: argparse.Namespace, _scratch: Path) -> Iterator[Run]:
    return (partial(certificates.suffer, fault) for fault in certificates.FAULTS)


PARTS: Final[dict[str, Callable[[argparse.Namespace, Path], Iterator[Run]]]] = {
    "failpoints": _failpoints,
    "random-kills": _kills,
    "power-losses": _power,
    "messages": _messages,
    "network": _network,
    "clocks": _clocks,
    "site-clocks": _site_clocks,
    "disks": _disks,
    "certificates": _certificates,
    "postgresql": _postgresql,
}


def main() -> int:
    """Suffer what was chosen, print what became of each, and return 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m testkit.faults", description="Runs the fault campaign.")
    parser.add_argument("scratch", type=Path, help="an empty folder; what happens in it is lost")
    parser.add_argument("--report", type=Path, required=True, help="folder of the JSON of each part, and of the table")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=200, help="sessions with random kills")
    parser.add_argument("--cuts", type=int, default=600, help="replays of power losses")
    parser.add_argument("--plays", type=int, default=20, help="replays that go on to the session's end")
    chosen = parser.parse_args()
    chosen.report.mkdir(parents=True, exist_ok=True)
    broken = 0
    for part in chosen.parts:
        with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch:
            outcomes = [_suffered(run, chosen.scratch) for run in PARTS[part](chosen, Path(scratch))]
        (chosen.report / f"{part}.json").write_text(to_json(outcomes, chosen.seed))
        broken += sum(bool(one.broken) for one in outcomes)
    found = [(chosen.report / f"{part}.json") for part in PARTS]
    table = to_table([one for file in found if file.exists() for one in from_json(file.read_text())])
    (chosen.report / "faults.md").write_text(table)
    sys.stdout.write(f"{broken} broken; {chosen.report / 'faults.md'}\n")
    return 1 if broken else 0


def _suffered(run: Run, scratch: Path) -> Outcome:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        outcome = run(Path(folder))
    outcome.judge(busy=os.getloadavg()[0] > (os.cpu_count() or 1))
    sys.stdout.write(outcome.line + "\n")
    sys.stdout.flush()
    return outcome


if __name__ == "__main__":
    sys.exit(main())
