"""How long a plan takes, and how far its predictions are from simulated sessions.

    python benchmarks/planning.py [--json FILE] [--sessions N]

Times `vdb-coordinator session plan demo` as a program: seconds of the best of three runs, wall and CPU. Then predicts the
half-widths of 95 % intervals for small specs of every kind of finish, public and private, and compares them with the medians
of simulated sessions: clips drawn anew, the real tally, encoding, discrete noise, decoding and evaluation
(`tests/testkit/simulated.py`, which shares no code with the prediction).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rows import Row, report

from testkit.metric_specs import make_spec
from testkit.simulated import simulate
from vdb_shared.planning.assumptions import assume, scenario_of
from vdb_shared.planning.guess import default_guesses, stretched
from vdb_shared.planning.plan import effort_of
from vdb_shared.planning.population import population_of
from vdb_shared.planning.prediction import forecast, half_width
from vdb_shared.spec import Spec

INSTITUTIONS: Final = 4
SECONDS: Final = 5.0
FACTOR: Final = 1.2
"""By how much a predicted half-width may be off."""

_PROGRAM: Final = "from vdb_coordinator.cli import main; main()"

_METRICS: Final[Mapping[str, Mapping[str, object]]] = {
    "mean": {"id": "clip-score@1", "extractor": "tiny-clip"},
    "rate": {"id": "dynamic-degree-dis@1"},
    "frechet": {"id": "frechet-videomae@1", "extractor": "tiny-videomae"},
    "kernel": {"id": "mmd-rff@1", "extractor": "tiny-videomae", "features": 32, "bandwidth": "1"},
    "coverage": {"id": "coverage@1", "extractor": "tiny-videomae", "features": 4},
}


@dataclass(frozen=True, slots=True)
class Case:
    """A spec to be predicted.

    Attributes:
        name: of the row.
        finishes: of its metrics.
        inputs: of all of them.
        records: of each institution, all of whose prompts are used.
        epsilon: promised.
        samples: clips of each prompt.
    """

    name: str
    finishes: Sequence[str]
    inputs: str
    records: int
    epsilon: str
    samples: int

    @property
    def spec(self) -> Spec:
        """The spec."""
        return make_spec(
            [{**_METRICS[finish], "inputs": self.inputs} for finish in self.finishes],
            generation={"private_share": "1", "samples": self.samples},
            privacy={"maximum_records": self.records, "epsilon": self.epsilon},
        )


CASES: Final = (
    Case("public prompts", ("mean", "rate", "frechet", "kernel", "coverage"), "public", 300, "16", 20),
    Case("private prompts, scores", ("mean", "rate"), "private", 150, "1", 2),
    Case("private prompts, distances", ("frechet", "kernel"), "private", 300, "64", 1),
)


def main() -> int:
    """Measure, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--sessions", type=int, default=40, help="simulated sessions for each spec")
    chosen = parser.parse_args()
    rows = duration()
    for case in CASES:
        rows += compared(case, chosen.sessions)
    return report(rows, f"{chosen.sessions} simulated sessions for each spec", chosen.json)


def duration() -> list[Row]:
    """Plan the demo preset three times."""
    walls, cpus = [], []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(3):
        before, began = os.times(), time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", _PROGRAM, "session", "plan", "demo", "--json"],
            check=True,
            capture_output=True,
            env=environment,
        )
        after = os.times()
        walls.append(time.perf_counter() - began)
        cpus.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return [
        Row("session plan demo, wall", min(walls), "s", SECONDS),
        Row("session plan demo, CPU", min(cpus), "s"),
    ]


def compared(case: Case, sessions: int) -> list[Row]:
    """Return by which factor each predicted half-width is off, the worst over models."""
    spec = case.spec
    guesses = default_guesses(spec)
    for key in guesses:
        if key[0] == "mmd-rff@1":
            guesses[key] = stretched(guesses[key], 2.0)  # near 0 the length of its interval is a matter of chance
    scenario = scenario_of(spec, assume(spec, participants=INSTITUTIONS))
    counts = scenario.counts
    clips = {
        "reference": counts.reference // INSTITUTIONS,
        "public": min(counts.public.values()) // INSTITUTIONS,
        "private": counts.private // INSTITUTIONS,
    }
    widths: dict[tuple[str, str], list[float]] = {}
    for seed in range(sessions):
        for result in simulate(spec, guesses, clips, participants=INSTITUTIONS, seed=seed).results:
            width = half_width(result)
            if width is not None:
                widths.setdefault((result.metric, result.model), []).append(width)
    factors: dict[str, float] = {}
    effort, population = effort_of(spec), population_of(spec, guesses)
    for item in forecast(scenario, population, sessions=effort.sessions, evaluated=effort.evaluated).expected:
        if item.half_width is not None:
            found = item.half_width / statistics.median(widths[item.metric, item.model])
            factors[item.metric] = max(factors.get(item.metric, 1.0), found, 1.0 / found)
    return [Row(f"{case.name}: {metric}, half-width off by", factor, "x", FACTOR) for metric, factor in factors.items()]


if __name__ == "__main__":
    sys.exit(main())
