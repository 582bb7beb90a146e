"""How long the noise of one institution takes: both samplers side by side.

    python benchmarks/noise.py [--json FILE]

The samplers take turns, so that what else the machine does meets both; figures are medians. Prints a table; with --json also
writes a list of rows {name, value, unit, bound, holds}, bound null where none is asked.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Final

from rows import Row, report

from vdb_participant.noise.samplers import SAMPLERS
from vdb_shared.privacy.calibration import NOISE_EXPONENT
from vdb_shared.spec import Sampler

TURNS: Final = {1_000: 51, 100_000: 7, 1_000_000: 1}
"""Lanes, and how often each sampler draws them."""

DECISIVE_LANES: Final = 100_000
LEAST_RATIO: Final = 10.0
"""How many times as fast as OpenDP the integer sampler is to be at DECISIVE_LANES."""

Seconds = dict[Sampler, float]


def main() -> int:
    """Measure, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    chosen = parser.parse_args()
    rows = [row for lanes, turns in TURNS.items() for row in rows_of(lanes, measure(lanes, turns))]
    return report(rows, f"sigma = 2^{NOISE_EXPONENT}", chosen.json)


def measure(lanes: int, turns: int) -> Seconds:
    """Return the median seconds that each sampler takes for so many lanes."""
    taken: dict[Sampler, list[float]] = {name: [] for name in SAMPLERS}
    for sampler in SAMPLERS.values():
        sampler(1)
    for _ in range(turns):
        for name, sampler in SAMPLERS.items():
            began = time.perf_counter()
            sampler(lanes)
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def rows_of(lanes: int, seconds: Seconds) -> list[Row]:
    """Return the figures for one number of lanes."""
    ratio = seconds["opendp"] / seconds["integer"]
    bound = LEAST_RATIO if lanes == DECISIVE_LANES else None
    return [
        *(Row(f"{lanes:,} lanes, {name}, median", 1000 * value, "ms") for name, value in seconds.items()),
        Row(f"{lanes:,} lanes, opendp / integer", ratio, "times", bound, at_least=True),
    ]


if __name__ == "__main__":
    sys.exit(main())
