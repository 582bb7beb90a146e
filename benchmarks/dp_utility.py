"""How well models are ranked and valued under privacy: dp-fvd@1 against what one would do first, and its companion.

    OMP_NUM_THREADS=1 python benchmarks/dp_utility.py [--json FILE] [--quick] [--seeds 16]

Made-up worlds whose true order is known (`dp_worlds.py`), estimators through the shipped finishes (`dp_estimators.py`),
features of rendered and generated clips through the packaged encoder (`dp_clips.py`), coverage of the intervals
(`dp_coverage.py`). Mechanism: one release of the sums of the reference and of five models, all private, by the noise
multiplier of the product's own calibration at delta 1e-6; numbers of clips are public, each estimator has the whole budget.
`recommended` is dp-fvd@1 with as many axes as `recommended_dimension` takes under the same noise. Approximated: the noise is a
continuous Gaussian of the real deviation, and the surplus for participants that may drop out or collude is left out. Whether
dp-fvd@1 is better than naive estimates is decided up to epsilon 4, in every cell, by the rule in `dp_leads.py`.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from dp_clips import clip_rows, made_pools
from dp_coverage import coverage_rows, run_seeds
from dp_estimators import Estimator, Map, standard
from dp_leads import Pairs, lead_rows, published_as, relative_error
from dp_worlds import DIMENSION, MODELS, Kind, Values, World
from rows import Row, report
from scipy.stats import kendalltau

from vdb_participant.measure.extractors.fitting import PublicFeatures
from vdb_shared.metrics.dimension import planned_noise, recommended_dimension
from vdb_shared.privacy.calibration import noise_multiplier

KINDS: Final[tuple[Kind, ...]] = ("mixed", "covariance")
COUNTS: Final = (500, 2000, 10000)
EPSILONS: Final = (1, 4, 8, 0)
"""0 stands for no noise."""

DELTA: Final = Decimal("0.000001")

NAIVE: Final = ("naive, 64 axes", "naive, 400 axes")
RECOMMENDED: Final = "recommended"
LEAST_TAU: Final = 0.90
PRIVATE_EPSILON: Final = 4
"""Up to this epsilon dp-fvd@1 is to rank better than naively."""

COVERAGE_SEEDS: Final = 500

VALUED: Final = ("dp-fvd, 16 axes", "dp-fvd, 64 axes", "dp-fvd, 128 axes", *NAIVE)


class Cell(NamedTuple):
    """One condition."""

    kind: Kind
    clips: int
    epsilon: int

    @property
    def words(self) -> str:
        """The condition in words."""
        noise = f"epsilon={self.epsilon}" if self.epsilon else "no noise"
        return f"{self.kind}, n={self.clips}, {noise}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one world gives.

    Attributes:
        tau: Kendall's tau with the true order, by cell and estimator.
        values: of the models, likewise.
        recommended: by cell, which estimator was recommended.
    """

    tau: Mapping[tuple[Cell, str], float]
    values: Mapping[tuple[Cell, str], Values]
    recommended: Mapping[Cell, str]

    def error(self, cell: Cell, name: str) -> float:
        """Return the median relative error of values, against the same axes at the most clips without noise."""
        own = self.recommended[cell] if name == RECOMMENDED else name
        return relative_error(self.values[cell, own], self.values[Cell(cell.kind, COUNTS[-1], 0), own])


@lru_cache(maxsize=8)
def multiplier(epsilon: int) -> float:
    """Return the noise multiplier of the product's calibration; 0 for no noise."""
    return float(noise_multiplier(Decimal(epsilon), DELTA)) if epsilon else 0.0


def tau_of(values: Values, truth: Values) -> float:
    """Return Kendall's tau; 0 where all values are the same and say nothing."""
    found = float(kendalltau(values, truth).statistic)
    return 0.0 if math.isnan(found) else found


def run_world(seed: int, kind: Kind, hard: bool) -> Outcome:
    """Return what every estimator makes of one world, with as many clips and as much noise as each cell has."""
    world = World.of(seed, kind, hard=hard)
    draws = np.random.default_rng([7, seed, hard, kind == "mixed"])
    truth = world.true_distances()
    public = PublicFeatures.of(world.public(draws))
    estimators = standard(_bandwidth(public))
    maps = {d: Map.of(public, d) for d in {estimator.dimension for estimator in estimators.values()}}
    tau: dict[tuple[Cell, str], float] = {}
    values: dict[tuple[Cell, str], Values] = {}
    recommended: dict[Cell, str] = {}
    for count in COUNTS:
        sides = [world.clips(draws, count), *(world.clips(draws, count, model) for model in world.models)]
        mapped = {d: [each(features) for features in sides] for d, each in maps.items()}
        for name, estimator in estimators.items():
            sums = [estimator.sums(features) for features in mapped[estimator.dimension]]
            for epsilon in EPSILONS:
                cell = Cell(kind, count, epsilon)
                same = np.random.default_rng([8, seed, hard, kind == "mixed", count, epsilon, sums[0].size])
                values[cell, name] = estimated(estimator, sums, count, multiplier(epsilon), same)
                tau[cell, name] = tau_of(values[cell, name], truth)
        for epsilon in EPSILONS:
            cell = Cell(kind, count, epsilon)
            noise = planned_noise(count, multiplier(epsilon), MODELS)
            chosen = f"dp-fvd, {recommended_dimension(public.eigenvalues.tolist(), noise)} axes"
            tau[cell, RECOMMENDED], recommended[cell] = tau[cell, chosen], chosen
    return Outcome(tau, values, recommended)


def estimated(
    estimator: Estimator, sums: list[Values], count: int, z: float, draws: np.random.Generator, *, private: bool = True
) -> Values:
    """Return an estimator's values of every model under noise.

    Args:
        estimator: the estimator.
        sums: of the reference, then of the models, without noise.
        count: clips on each side.
        z: noise multiplier.
        draws: of the noise.
        private: whether the models' clips are private too.
    """
    deviation = estimator.noise(z, len(sums) - 1 if private else 0)
    noise = (deviation, deviation if private else 0.0)
    noised = [
        side + noise[min(place, 1)] * draws.standard_normal(side.size) if noise[min(place, 1)] else side
        for place, side in enumerate(sums)
    ]
    return estimator.values(noised[0], noised[1:], count, noise)


def study_rows(outcomes: list[Outcome]) -> Iterator[Row]:
    """Return Kendall's tau of every estimator in every cell, the promised bounds, and errors of values."""
    cells = list(dict.fromkeys(cell for cell, _ in outcomes[0].tau))
    names = list(dict.fromkeys(name for _, name in outcomes[0].tau))
    found = {
        (cell, name): np.array([each.tau[cell, name] for each in outcomes if (cell, name) in each.tau])
        for kind in KINDS
        for cell, name in _keys(outcomes, kind)
    }
    cells = list(dict.fromkeys(cell for cell, _ in found))
    decisive = Cell("mixed", 2000, PRIVATE_EPSILON)
    for cell in cells:
        for name in (RECOMMENDED, *(name for name in names if name != RECOMMENDED)):
            bound = LEAST_TAU if (cell, name) == (decisive, RECOMMENDED) else None
            yield Row(f"{cell.words}: {name}", float(found[cell, name].mean()), "tau", bound, at_least=True)
    yield from _leads(outcomes, [cell for cell in cells if 0 < cell.epsilon <= PRIVATE_EPSILON])
    errors = [float(each.std(ddof=1) / math.sqrt(len(each))) for each in found.values() if len(each) > 1]
    yield Row("largest standard error of a cell", max(errors), "tau")
    for cell in (Cell("mixed", count, epsilon) for count in COUNTS for epsilon in EPSILONS):
        for name in VALUED:
            yield Row(
                f"n={cell.clips}, {cell.words.split(', ')[2]}: value of {name}", _error(outcomes, cell, name), "rel"
            )


def _leads(outcomes: list[Outcome], cells: list[Cell]) -> Iterator[Row]:
    """Return whether the recommended estimator is better than naive ones in these cells, world by world."""
    pairs: dict[str, dict[str, Pairs]] = {}
    for cell in cells:
        worlds = [each for each in outcomes if cell in each.recommended]
        tau = {name: np.array([each.tau[cell, name] for each in worlds]) for name in (RECOMMENDED, *NAIVE)}
        error = {name: np.array([each.error(cell, name) for each in worlds]) for name in (RECOMMENDED, *NAIVE)}
        pairs[cell.words] = {
            name: Pairs(tau[RECOMMENDED], tau[name], error[RECOMMENDED], error[name]) for name in NAIVE
        }
    yield from lead_rows(pairs, {cell.words: published_as(cell.clips, multiplier(cell.epsilon)) for cell in cells})


def _keys(outcomes: list[Outcome], kind: Kind) -> list[tuple[Cell, str]]:
    return list(dict.fromkeys(key for each in outcomes for key in each.tau if key[0].kind == kind))


def _error(outcomes: list[Outcome], cell: Cell, name: str) -> float:
    """Return the median error of values, relative to the same axes without noise at 10,000 clips, over all worlds."""
    errors: list[float] = []
    for each in outcomes:
        for kind in KINDS:
            if (cell._replace(kind=kind), name) in each.values:
                exact = each.values[Cell(kind, COUNTS[-1], 0), name]
                errors.extend(np.abs(each.values[cell._replace(kind=kind), name] - exact) / exact)
    return float(np.median(errors))


def _bandwidth(public: PublicFeatures) -> float:
    """Return the median distance between two public clips, mapped to 64 axes."""
    mapped = Map.of(public, 64)(public.values[:1000])
    return float(np.median(np.linalg.norm(mapped[:500] - mapped[500:], axis=1)))


def main() -> int:
    """Measure, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument(
        "--quick", action="store_true", help="few seeds, to see that it runs; bounds may break by chance"
    )
    parser.add_argument("--seeds", type=int, help="worlds of each of four sorts [default: 16, or 1 if quick]")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    chosen = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    seeds = chosen.seeds or (1 if chosen.quick else 16)
    coverage = 10 if chosen.quick else COVERAGE_SEEDS
    jobs = [(seed, kind, hard) for seed in range(seeds) for kind in KINDS for hard in (False, True)]
    with ProcessPoolExecutor(chosen.processes, mp_context=get_context("spawn")) as pool:
        made = pool.submit(made_pools, *((192, 24) if chosen.quick else (1000, 240)))
        worlds = [pool.submit(run_world, *job) for job in jobs]
        intervals = [pool.submit(run_seeds, range(start, coverage, 10), multiplier(EPSILONS[1])) for start in range(10)]
        rows = list(study_rows([each.result() for each in worlds]))
        rows += coverage_rows([held for each in intervals for held in each.result()], f"epsilon={EPSILONS[1]}")
        rows += clip_rows(made.result(), estimated, tau_of, multiplier(EPSILONS[1]), 4 if chosen.quick else 40)
    remark = f"{DIMENSION} features, {len(jobs)} worlds, z = {multiplier(1)}, {multiplier(4)}, {multiplier(8)}"
    return report(rows, remark, chosen.json)


if __name__ == "__main__":
    sys.exit(main())
