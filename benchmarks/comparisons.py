"""How often models are falsely told apart: by a single comparison of few clips, and anywhere in a session of many.

    python benchmarks/comparisons.py [--json FILE] [--runs 2000] [--seeds 500]

Single comparisons, at a nominal 5 % and at the first step of a session of 30 pairs: two models have the same population, or
populations of other shapes with the same mean, and as many clips or not. Finishes are called as `evaluate` calls them. Numbers
of clips below which `evaluate` compares nothing are shown without bounds, to see why it does not. Then whole sessions of five
models and three metrics, through everything that is shipped (`simulated.py`).

The bound is 6 % and the binomial error of so many runs: Student's t is not exact for scores that are not normal.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from coverage import POOL, SPECS, Plan, clustered, kernel_case, scored
from dp_estimators import moment_sums
from numpy.typing import NDArray
from rows import Row, report
from simulated import MANIFEST, Case, Points, Session, check_the_shortcut, make_session

from vdb_participant.measure.shares import kernel_share
from vdb_shared.canonical import sha256_digest
from vdb_shared.evaluation import FEWEST_COMPARED, FEWEST_COMPARED_OTHERWISE
from vdb_shared.families import family_of
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.covariance import CovarianceSums, covariance_share, covariance_sketch
from vdb_shared.metrics.features import clip_to_ball, second_moment, unsvec
from vdb_shared.metrics.frechet import MomentSums
from vdb_shared.metrics.frechet_intervals import frechet_family
from vdb_shared.metrics.kernel import EmbeddingSums, kernel_family
from vdb_shared.metrics.multiplicity import told_apart
from vdb_shared.metrics.preference import PreferenceSums, preference_family, preference_problem
from vdb_shared.metrics.scores import RateSums, ScoreSums, rate_family, score_family
from vdb_shared.metrics.sketch import Sketch, sketch_share
from vdb_shared.metrics.uncertainty import CONFIDENCE, Comparison, Family
from vdb_shared.privacy.mechanism import NoiseLevel
from vdb_shared.sums import SessionSums

LEVEL: Final = 0.05
AT_MOST: Final = 6.0
STRICT: Final = 0.05 / 30
"""Of both directions, in the first step of 30 pairs."""

MODELS: Final = 5
FALSE_AT_MOST: Final = 5.0

Compared = Callable[[np.random.Generator], Comparison | None]


def main() -> int:
    """Simulate, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--runs", type=int, default=2000, help="of each single comparison; of distances a fifth")
    parser.add_argument("--seeds", type=int, default=500, help="whole sessions")
    chosen = parser.parse_args()
    check_the_shortcut(_graded(1.0, 0))
    rows = [*_scores(chosen.runs), *_rates(chosen.runs), *_preferences(chosen.runs)]
    rows += [*_kernels(max(chosen.runs // 5, 1)), *_frechet(max(chosen.runs // 5, 1))]
    rows += multiplicity(chosen.seeds)
    return report(rows, f"{chosen.runs} runs, {chosen.seeds} sessions", chosen.json)


def _false(name: str, compare: Compared, runs: int, *, bounded: bool) -> Iterator[Row]:
    """Return how often two equal models are told apart."""
    generator = np.random.default_rng(0)
    chances = [2.0 * found.chance for _ in range(runs) if (found := compare(generator)) is not None]
    share = 100.0 * float(np.mean([chance <= LEVEL for chance in chances]))
    error = 196.0 * math.sqrt(LEVEL * (1 - LEVEL) / len(chances))
    print(f"{name}: {share:.1f} %", file=sys.stderr)
    yield Row(f"{name}: told apart at 5 %", share, "%", AT_MOST + error if bounded else None)
    strict = float(np.mean([chance <= STRICT for chance in chances])) / STRICT
    yield Row(f"{name}: told apart as the first of 30 pairs, over what it may be", strict, "times")


def _only(family: Family) -> Comparison:
    return next(iter(family.comparisons.values()))


SIZES: Final = ((2, 2), (5, 5), (5, 50), (8, 8), (8, 100), (15, 15), (15, 500), (50, 50), (500, 500))


def _score_populations() -> dict[str, Points]:
    draws, size = np.random.default_rng(11), 100_000
    return {
        "normal, narrow": np.clip(0.31 + 0.02 * draws.normal(size=size), 0, 1),
        "normal, wide": np.clip(0.5 + 0.1 * draws.normal(size=size), 0, 1),
        "binary, 2 %": (np.arange(size) < 0.02 * size).astype(np.float64),
        "binary, 30 %": (np.arange(size) < 0.3 * size).astype(np.float64),
        "uniform": draws.uniform(size=size),
        "lognormal, 1": np.minimum(np.exp(-2.5 + draws.normal(size=size)), 1),
        "lognormal, 2": np.minimum(np.exp(-4 + 2 * draws.normal(size=size)), 1),
    }


def _scores(runs: int) -> Iterator[Row]:
    """Scores of one population, and of other shapes of the same mean: all alike, and hardly spread."""
    fewest = FEWEST_COMPARED["mean"]
    for name, pool in _score_populations().items():
        mean = float(pool.mean())
        alike = np.full(2, mean)
        narrow = mean + 0.05 * min(mean, 1 - mean) * np.random.default_rng(12).normal(size=100_000)
        for words, other in (("", pool), (" against scores all alike", alike), (" against narrow scores", narrow)):
            for few, many in SIZES if not words else [size for size in SIZES if size[0] == size[1]]:

                def compare(
                    draws: np.random.Generator, *, a: Points = pool, b: Points = other, n: int = few, m: int = many
                ) -> Comparison:
                    sides = {"a": _score_sums(draws.choice(a, n)), "b": _score_sums(draws.choice(b, m))}
                    return _only(score_family(sides, low=0, high=1))

                title = f"scores, {name}{words}, {few} and {many} clips"
                yield from _false(title, compare, runs, bounded=few >= fewest)


def _score_sums(scores: Points) -> ScoreSums:
    return ScoreSums(np.array([scores.sum(), float(scores @ scores)]), float(scores.size))


def _rates(runs: int) -> Iterator[Row]:
    for share, (few, many) in itertools.product((0.02, 0.3, 0.5), SIZES):

        def compare(draws: np.random.Generator, *, share: float = share, n: int = few, m: int = many) -> Comparison:
            sides = {
                name: RateSums(float(draws.binomial(size, share)), float(size))
                for name, size in zip("ab", (n, m), strict=True)
            }
            return _only(rate_family(sides))

        title = f"rates, {share}, {few} and {many} clips"
        yield from _false(title, compare, runs, bounded=few >= FEWEST_COMPARED["rate"])


def _preferences(runs: int) -> Iterator[Row]:
    """Votes of people of whom each compares one pair, or 20: two of three models are equal."""
    for count, votes in ((10, 1), (20, 1), (50, 1), (200, 1), (50, 20)):

        def compare(draws: np.random.Generator, *, count: int = count, votes: int = votes) -> Comparison | None:
            sums = PreferenceSums(_wins(draws, count, votes)[~np.eye(3, dtype=bool)], 3)
            if preference_problem(sums, "abc"):
                return None
            return preference_family(sums, "abc").comparisons["a", "b"]

        yield from _false(f"preference, {count} people, {votes} votes each", compare, runs, bounded=True)


def _wins(draws: np.random.Generator, people: int, votes: int) -> Points:
    """Return summed shares of people who like three models equally, with as good a chance for either in a single vote."""
    pairs, table = np.array([(0, 1), (0, 2), (1, 2)]), np.zeros((3, 3))
    shown = pairs[draws.integers(0, 3, size=people * votes)]
    turned = draws.uniform(size=len(shown)) < 1 / 2
    winners = np.where(turned, shown[:, 1], shown[:, 0])
    np.add.at(table, (winners, shown.sum(axis=1) - winners), 1.0 / votes)
    return table


def _feature_populations() -> dict[str, tuple[Points, Points]]:
    """Reference and model: all spread along the way between them; a rare far cluster; a long tail; eight dimensions."""
    draws, size = np.random.default_rng(13), POPULATION
    small = 0.1 * draws.normal(size=(2, size))
    away = (draws.uniform(size=size) < 0.1).astype(np.float64)
    return {
        "a line": (
            np.column_stack([0.6 * draws.normal(size=size), small[0]]),
            np.column_stack([2 + 0.6 * draws.normal(size=size), small[1]]),
        ),
        "a rare cluster": (
            np.column_stack([0.2 * draws.normal(size=size), small[0]]),
            np.column_stack([1 + 0.2 * draws.normal(size=size) + 4 * away, small[1]]),
        ),
        "a long tail": (
            np.column_stack([0.5 * np.exp(draws.normal(size=size)), small[0]]),
            np.column_stack([1.5 + 0.5 * np.exp(draws.normal(size=size)), small[1]]),
        ),
        "8-d": (0.5 * draws.normal(size=(size, 8)), np.eye(8)[0] + 0.5 * draws.normal(size=(size, 8))),
    }


DISTANCE_SIZES: Final = ((3, 3), (8, 8), (15, 15), (15, 200), (40, 40))
REFERENCES: Final = 200
POPULATION: Final = 1000
FEATURES: Final = 128
LIMIT: Final = 8.0

SKETCHES: Final = 10
"""Of the covariance; every comparison takes any of them, as every session has another one."""

Summed = Callable[[NDArray[np.int64], int], EmbeddingSums]
"""A side's sums of the clips that were drawn, by the number of the sketch."""


def _kernels(runs: int) -> Iterator[Row]:
    for metric, make in (("mmd-rff", _by_features), ("kvd3", _by_sketch), ("jedi", _by_second_moment)):
        for name, (reference, model) in _feature_populations().items():
            sides = make(reference), make(model)
            for few, many in DISTANCE_SIZES:

                def compare(
                    draws: np.random.Generator, *, sides: tuple[Summed, Summed] = sides, n: int = few, m: int = many
                ) -> Comparison:
                    sketch = int(draws.integers(SKETCHES))
                    found = {
                        name: sides[1](draws.integers(POPULATION, size=size), sketch)
                        for name, size in zip("ab", (n, m), strict=True)
                    }
                    return _only(kernel_family(sides[0](draws.integers(POPULATION, size=REFERENCES), sketch), found))

                title = f"{metric}, {name}, {few} and {many} clips"
                yield from _false(title, compare, runs, bounded=few >= FEWEST_COMPARED_OTHERWISE)


def _by_features(points: Points) -> Summed:
    embedded = np.array([kernel_share(point, MANIFEST, FEATURES, 2.0) for point in points])
    sketches = [covariance_sketch(sha256_digest(bytes([place])), MANIFEST, FEATURES) for place in range(SKETCHES)]
    products = [np.array([covariance_share(one, sketch) for one in embedded]) for sketch in sketches]

    def summed(chosen: NDArray[np.int64], sketch: int) -> EmbeddingSums:
        covariance = CovarianceSums(products[sketch][chosen].sum(axis=0), sketches[sketch])
        return EmbeddingSums(embedded[chosen].sum(axis=0), float(chosen.size), covariance=covariance)

    return summed


def _by_sketch(points: Points) -> Summed:
    sketch = Sketch.of(MANIFEST, points.shape[1], 2 * FEATURES)
    shares = np.array([sketch_share(point, LIMIT, sketch) for point in points])

    def summed(chosen: NDArray[np.int64], _: int) -> EmbeddingSums:
        total = shares[chosen].sum(axis=0)
        return EmbeddingSums(total[:-1], float(chosen.size), squares=float(total[-1]))

    return summed


def _by_second_moment(points: Points) -> Summed:
    shares = np.array([second_moment(clip_to_ball(point / LIMIT)[0]) for point in points])

    def summed(chosen: NDArray[np.int64], _: int) -> EmbeddingSums:
        total = shares[chosen].sum(axis=0)
        trace = float(np.trace(unsvec(total, points.shape[1])))
        return EmbeddingSums(total, float(chosen.size), squares=trace, with_itself=True)

    return summed


def _frechet(runs: int) -> Iterator[Row]:
    """Clips from Gaussians, as the bootstrap takes them to be; and with long tails, which it does not know, for the record."""
    for tails, (few, many) in itertools.product((False, True), ((5, 5), (15, 15), (15, 200), (40, 40))):

        def compare(draws: np.random.Generator, *, tails: bool = tails, n: int = few, m: int = many) -> Comparison:
            def side(size: int, shift: float) -> MomentSums:
                long = np.sqrt(3 / draws.chisquare(3, size=(size, 1))) if tails else 1.0
                return MomentSums(
                    moment_sums(0.1 * long * draws.normal(size=(size, 4)) + shift * np.eye(4)[0]), float(size)
                )

            sides = {name: side(size, 0.5) for name, size in zip("ab", (n, m), strict=True)}
            seed = str(draws.integers(2**31))
            return _only(frechet_family(side(REFERENCES, 0.0), sides, name=seed, replicates=50))

        title = f"Fréchet, {'long tails' if tails else 'Gaussians'}, {few} and {many} clips"
        yield from _false(title, compare, runs, bounded=few >= FEWEST_COMPARED_OTHERWISE and not tails)


def multiplicity(seeds: int) -> list[Row]:
    """Return how often any of five equal models is told from another by any of three metrics, and the power of the steps."""
    false, _, _ = _told(seeds, spread=0.0)
    _, steps, single = _told(max(seeds // 5, 1), spread=1.0)
    names = f"{MODELS} models, 3 metrics, {3 * MODELS * (MODELS - 1) // 2} pairs"
    error = 196.0 * math.sqrt(0.05 * 0.95 / seeds)
    return [
        Row(f"sessions with a false difference, {names}, all equal", 100 * false, "%", FALSE_AT_MOST + error),
        Row(f"pairs told apart, {names}, graded", 100 * steps, "%", 100 * single, at_least=True),
        Row("the same by Bonferroni over all pairs", 100 * single, "%"),
    ]


def _told(seeds: int, spread: float) -> tuple[float, float, float]:
    """Return shares: of sessions with any pair apart; of pairs apart by Holm's steps; of pairs apart by Bonferroni."""
    sessions = [_graded(spread, variant) for variant in range(min(SPECS // 5, seeds))]
    any_apart, steps, single, pairs = 0, 0, 0, 0
    for seed in range(seeds):
        session = sessions[seed % len(sessions)]
        statistics, noise = session.simulate(np.random.default_rng(10_000 + seed))
        sums = SessionSums(session.spec, statistics, noise or NoiseLevel({}))
        compared: dict[tuple[str, tuple[str, str]], Comparison] = {}
        for metric in session.spec.metrics:
            family = family_of(sums, metric, definition_of(metric.id), [model.id for model in session.spec.models])
            compared |= {(metric.id, pair): found for pair, found in family.comparisons.items()}
        apart = told_apart(compared, len(compared))
        bound = (1 - CONFIDENCE) / (2 * len(compared))
        any_apart += bool(apart)
        steps += len(apart)
        single += sum(found.chance <= bound for found in compared.values())
        pairs += len(compared)
    return any_apart / seeds, steps / pairs, single / pairs


def _graded(spread: float, variant: int) -> Session:
    """Return a session of five models, each a little worse than the one before, or all equal."""
    generator = np.random.default_rng(3)
    grades = spread * np.arange(MODELS) / MODELS
    worse = [np.clip(generator.beta(2, 5, size=POOL) * (1 - 0.4 * grade), 0, 1) for grade in grades]
    fewer = [(np.arange(POOL) < round(POOL * (0.8 - 0.4 * grade))).astype(np.float64) for grade in grades]
    if not spread:
        worse = [worse[0]] * MODELS
    models = [clustered(2, 16, shift=0.5 + 2 * grade) for grade in grades]
    kernel = kernel_case("", clustered(1, 16), models, Plan(1000, 200, "8", "public"), features=128)
    means = [scored("latency@1", "", values, 200).models[0] for values in worse]
    rated = [scored("dynamic-degree-dis@1", "", values, 200).models[0] for values in fewer]
    return make_session(
        [
            kernel,
            Case("", {"id": "latency@1", "inputs": "public", "limit": "1"}, means, 0.0, 200),
            Case("", {"id": "dynamic-degree-dis@1", "inputs": "public"}, rated, 0.0, 200),
        ],
        variant,
    )


if __name__ == "__main__":
    sys.exit(main())
