"""How many people's votes a federation needs under privacy, and whether the intervals hold.

    python benchmarks/ratings.py [--json FILE] [--sessions 100]

Made-up people with tastes of their own each compare 20 random pairs of models whose log strengths lie 0.4 apart. Their
votes are summed as sites do it, and the noise is that of a session of eight institutions at the epsilon named, the spec
asking for nothing else. For each number of people in all: the share of sessions that publish strengths, the share of 95 %
intervals that hold the truth among them, and the share of pairs of models that they tell apart in the right order. For
correlations of 0.5 likewise, scores of metric and people spread over a fifth of their ranges.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rows import Row, report
from scipy.special import expit

from vdb_shared.canonical import canonical_json
from vdb_shared.layout import rating_block
from vdb_shared.metrics.correlation import CorrelationSums, correlation_family, correlation_problem
from vdb_shared.metrics.multiplicity import told_apart
from vdb_shared.metrics.preference import PreferenceSums, preference_family, preference_problem
from vdb_shared.privacy.mechanism import noise_level
from vdb_shared.seal import seal_terms
from vdb_shared.spec import Spec

SITES: Final = 8
VOTES: Final = 20
APART: Final = 0.4
TASTE: Final = 0.7
"""Deviation of what one person adds to a model's log strength."""

HELD: Final = 0.93
"""Of the intervals at least, wherever ten sessions or more publish; they are upper bounds, so most rows show more."""

ENOUGH: Final = 10

CHEAP: Final = 20
"""Times as many sessions of correlations, each of which takes a millisecond."""

CROWD: Final = 200_000
"""People whose pooled votes stand for the truth."""


def main() -> int:
    """Run, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--sessions", type=int, default=100)
    chosen = parser.parse_args()
    rows = []
    for epsilon, models in itertools.product(("2", "8"), (3, 6)):
        rows += preference_rows(epsilon, models, chosen.sessions)
    for epsilon in ("2", "8"):
        rows += correlation_rows(epsilon, CHEAP * chosen.sessions)
    return report(rows, f"{chosen.sessions} sessions of {SITES} institutions each", chosen.json)


def deviation_of(metric: dict[str, str], part: str, epsilon: str, models: int) -> float:
    """Return the deviation of the noise in a metric's block, in a session that asks for nothing else."""
    digest = "sha256:" + "a" * 64
    spec = Spec.model_validate_json(
        canonical_json(
            {
                "version": "vdb-spec/1",
                "title": "Ratings",
                "purpose": "A benchmark of the federation",
                "cohort": {"minimum": SITES, "collusion": 1, "dropout": "0"},
                "privacy": {"epsilon": epsilon, "delta": "0.000001", "maximum_records": 10_000},
                "deadlines": {"joining": 1, "computing": 1, "round": 1, "countersigning": 1},
                "video": {"frames": 9, "height": 32, "width": 32, "fps": 8},
                "generation": {"steps": 2, "guidance": "1"},
                "prompts": [{"id": "p", "text": "p"}],
                "models": [
                    {"id": f"m{place}", "pipeline": "WanPipeline", "manifest": digest} for place in range(models)
                ],
                "metrics": [metric],
            }
        )
    )
    terms = seal_terms(spec, range(SITES))
    level = noise_level(terms.layout, terms.calibration, SITES)
    if level is None:
        raise ValueError("a spec with private lanes has no noise")
    return level.of(rating_block(metric["id"], part))


def people(generator: np.random.Generator, count: int, models: int) -> NDArray[np.float64]:
    """Return the summed shares of so many people, by preferred and other model, shape (M, M)."""
    pairs = np.array(list(itertools.combinations(range(models), 2)))
    total = np.zeros((models, models))
    for size in [min(10_000, count - begin) for begin in range(0, count, 10_000)]:
        strengths = -APART * np.arange(models) + TASTE * generator.normal(size=(size, models))
        shown = pairs[generator.integers(0, len(pairs), size=(size, VOTES))]
        rows = np.arange(size)[:, None]
        odds = strengths[rows, shown[..., 0]] - strengths[rows, shown[..., 1]]
        liked = generator.uniform(size=odds.shape) < expit(odds)
        winners, losers = np.where(liked, shown[..., 0], shown[..., 1]), np.where(liked, shown[..., 1], shown[..., 0])
        np.add.at(total, (winners, losers), 1.0 / VOTES)
    return total


def preference_rows(epsilon: str, models: int, sessions: int) -> list[Row]:
    """Return the rows of one epsilon and number of models."""
    names = [f"m{place}" for place in range(models)]
    lanes = ~np.eye(models, dtype=bool)
    level = deviation_of({"id": "preference-bt@1", "inputs": "ratings"}, "wins", epsilon, models)
    generator = np.random.default_rng(models)
    truth = preference_family(PreferenceSums(people(generator, CROWD, models)[lanes], models), names).estimates
    rows = []
    for count in (100, 300, 1000, 3000):
        published = held = ordered = 0
        for _ in range(sessions):
            wins = people(generator, count, models)[lanes]
            sums = PreferenceSums(wins + level * generator.normal(size=wins.shape), models, level)
            if preference_problem(sums, names) is not None:
                continue
            family = preference_family(sums, names)
            published += 1
            held += sum(
                family.estimates[name].low <= truth[name].value <= family.estimates[name].high for name in names
            )
            apart = told_apart(family.comparisons, len(family.comparisons))
            ordered += sum(family.comparisons[pair].difference > 0 for pair in apart)
        where = f"preference, epsilon {epsilon}, {models} models, {count} people: "
        pairs = models * (models - 1) // 2
        rows += _rows(where, sessions, published, held / models)
        rows.append(Row(where + "pairs told apart rightly", ordered / (pairs * published) if published else None, ""))
    return rows


def correlation_rows(epsilon: str, sessions: int, truth: float = 0.5) -> list[Row]:
    """Return the rows of one epsilon, of one model."""
    metric = {"id": "human-correlation@1", "inputs": "ratings", "of": "temporal-flickering@1"}
    level = deviation_of(metric, "moments", epsilon, 1)
    generator = np.random.default_rng(1)
    rows = []
    for count in (100, 300, 1000, 3000):
        published = held = 0
        for _ in range(sessions):
            x, other = 0.2 * generator.normal(size=(2, count))
            y = truth * x + np.sqrt(1 - truth**2) * other
            moments = np.array([np.ones(count), x, y, x * x, y * y, x * y]).sum(axis=1)
            sums = CorrelationSums(moments + level * generator.normal(size=6), level)
            if correlation_problem(sums, "m") is None:
                published += 1
                found = correlation_family({"m": sums}).estimates["m"]
                held += found.low <= truth <= found.high
        rows += _rows(f"correlation, epsilon {epsilon}, {count} people: ", sessions, published, float(held))
    return rows


def _rows(where: str, sessions: int, published: int, held: float) -> list[Row]:
    share = held / published if published else None
    bound = HELD if published >= ENOUGH else None
    return [
        Row(where + "sessions that publish", published / sessions, ""),
        Row(where + "intervals that hold the truth", share, "", bound, at_least=True),
    ]


if __name__ == "__main__":
    sys.exit(main())
