"""How often two results over one population seem to differ, and how large a difference must be to be seen.

    python benchmarks/comparing.py [--json FILE] [--pairs N]

Scores, rates, kernel and Fréchet distances and coverage on public prompts, scores and rates on private ones, with other and
with the same institutions in both results. Sessions are simulated clip by clip (`tests/testkit/simulated.py`): the real tally,
encoding, discrete noise, decoding and evaluation. A pair counts as false if any of its figures is said to differ (`vdb-audit
compare`). The bound is 5 %, and what chance adds to that in 95 of 100 runs of so many pairs.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rows import Row, report

from testkit.metric_specs import make_spec
from testkit.simulated import simulate
from testkit.twins import ONE, OTHER, as_published
from vdb_shared.audit.compare import Comparison, compare
from vdb_shared.planning.guess import Guess, default_guesses
from vdb_shared.spec import Spec

FALSE: Final = 0.05

_METRICS: Final[Mapping[str, Mapping[str, object]]] = {
    "scores and rates": {"id": "clip-score@1", "extractor": "tiny-clip"},
    "rates": {"id": "dynamic-degree-dis@1"},
    "kernel distances": {"id": "mmd-rff@1", "extractor": "tiny-videomae", "features": 32, "bandwidth": "1"},
    "Fréchet distances": {"id": "frechet-videomae@1", "extractor": "tiny-videomae"},
    "coverage": {"id": "coverage@1", "extractor": "tiny-videomae", "features": 4},
}

CLIPS: Final = ({"reference": 60, "public": 8, "private": 40}, {"reference": 60, "public": 20, "private": 40})
"""Of each institution, in the first and in the second result: 32 and 80 public clips of each model."""


def spec_of(names: Sequence[str], inputs: str, place: int) -> Spec:
    """Return a spec of these metrics; those of the two results differ in the guidance, and so have other clips."""
    return make_spec(
        [{**_METRICS[name], "inputs": inputs} for name in names],
        generation={"private_share": "1", "guidance": str(1 + place)},
        privacy={"maximum_records": 200, "epsilon": "64"},
    )


def pair(
    specs: Sequence[Spec], guesses: Sequence[Mapping[tuple[str, str], Guess]], seed: int, *, same: bool
) -> Comparison:
    """Return the comparison of two sessions, whose records are drawn anew."""
    sites = (ONE, ONE if same else OTHER)
    drawn = (
        simulate(spec, guess, clips, participants=len(ONE), seed=2 * seed + place)
        for place, (spec, guess, clips) in enumerate(zip(specs, guesses, CLIPS, strict=True))
    )
    first, second = (
        as_published(str(place), spec, figures, names)
        for place, (spec, figures, names) in enumerate(zip(specs, drawn, sites, strict=True))
    )
    return compare(first, second)


def false_rows(names: Sequence[str], inputs: str, pairs: int) -> list[Row]:
    """Return in which share of pairs anything seems to differ."""
    specs = [spec_of(names, inputs, place) for place in range(2)]
    guesses = [default_guesses(spec) for spec in specs]
    rows = []
    slack = 1.645 * math.sqrt(FALSE * (1 - FALSE) / pairs)
    for same in (False, True):
        found = [pair(specs, guesses, seed, same=same) for seed in range(pairs)]
        compared = sum(len(item.compared) for item in found)
        where = "the same institutions" if same else "other institutions"
        name = f"{', '.join(names)}, {inputs}, {where}: any of {compared // pairs}"
        share = sum(bool(item.apart) for item in found) / pairs if compared else None
        rows.append(Row(name, share, "share", FALSE + slack))
    return rows


def main() -> int:
    """Measure, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--pairs", type=int, default=200, help="pairs of sessions for each row")
    chosen = parser.parse_args()
    rows = []
    for names in (["scores and rates", "rates"], ["kernel distances"], ["Fréchet distances"], ["coverage"]):
        rows += false_rows(names, "public", chosen.pairs)
    rows += false_rows(["scores and rates", "rates"], "private", chosen.pairs)
    return report(rows, f"{chosen.pairs} pairs of sessions for each row", chosen.json)


if __name__ == "__main__":
    sys.exit(main())
