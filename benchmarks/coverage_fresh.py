"""Populations on which nothing was ever chosen: how often intervals of kernel distances hold the truth there.

Promises families, dimensions, distances and numbers of clips other than those of `coverage.py`, on whose clusters the form of
the interval was looked at while it was made: long tails, rare clusters, rings, correlated and sparse features, another scale,
and clips of the packaged encoder. Nothing in shared/ may be tuned on what comes out here; if it ever is, these populations
belong in `coverage.py`, and others have to take their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from simulated import Points

from vdb_participant.embedded import WEIGHTS
from vdb_participant.embedded.quality import fresh_clips, some_scenes
from vdb_participant.embedded.recipes import VIDEOMAE
from vdb_participant.measure.extractors.video import load_videomae, pooled_features
from vdb_participant.measure.preprocessing import Preprocessing
from vdb_participant.synthetic.degradations import DEGRADATIONS

CLIPS: Final = 500
"""Of a population."""

REAL: Final = 240
"""Rendered clips; their features take a quarter of a second each."""


@dataclass(frozen=True, slots=True)
class Family:
    """Two populations of features.

    Attributes:
        name: for the table.
        reference, model: (clips, dimension).
    """

    name: str
    reference: Points
    model: Points


def families() -> list[Family]:
    """Return all of them."""
    made = [Family(name, make(draws(0), False), make(draws(1), True)) for name, make in _MAKERS]
    return [*made, *_rendered()]


def draws(side: int) -> np.random.Generator:
    """Return the generator of one side's clips."""
    return np.random.default_rng([2026, side])


def _lognormal(generator: np.random.Generator, moved: bool) -> Points:
    return np.asarray(np.exp((0.9 if moved else 0.7) * generator.normal(size=(CLIPS, 4))))


def _student(generator: np.random.Generator, moved: bool) -> Points:
    tails = np.sqrt(3.0 / generator.chisquare(3, size=(CLIPS, 1)))
    return np.asarray(tails * generator.normal(size=(CLIPS, 32)) + (0.35 if moved else 0.0))


def _correlated(generator: np.random.Generator, moved: bool) -> Points:
    """Return a Gaussian whose neighbouring features are correlated, by 0.9 or 0.8: equal means."""
    places = np.arange(128)
    root = np.linalg.cholesky((0.8 if moved else 0.9) ** np.abs(places[:, None] - places))
    return np.asarray(generator.normal(size=(CLIPS, 128)) @ root.T)


def _rare(generator: np.random.Generator, moved: bool) -> Points:
    """Return one cluster, and another far from it with 4 % or 10 % of the clips."""
    away = generator.uniform(size=(CLIPS, 1)) < (0.10 if moved else 0.04)
    return np.asarray(0.5 * generator.normal(size=(CLIPS, 6)) + 6.0 * away * np.eye(6)[2])


def _ring(generator: np.random.Generator, moved: bool) -> Points:
    angle = generator.uniform(0, 2 * np.pi, size=CLIPS)
    radius = (1.6 if moved else 2.0) + 0.1 * generator.normal(size=CLIPS)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


def _sparse(generator: np.random.Generator, moved: bool) -> Points:
    """Return 200 features of which few are not 0: some more, and larger."""
    there = generator.uniform(size=(CLIPS, 200)) < (0.06 if moved else 0.04)
    return np.asarray(there * generator.gamma(1.5, 1.3 if moved else 1.0, size=(CLIPS, 200)))


def _line(generator: np.random.Generator, moved: bool) -> Points:
    """Return clips that vary along one line alone, and lie further along it: their trace is their variance that way."""
    along = generator.gumbel(1.2 if moved else 0.0, 1.0, size=CLIPS)
    return np.asarray(along[:, None] * np.eye(12)[0] + 0.05 * generator.normal(size=(CLIPS, 12)))


def _far(generator: np.random.Generator, moved: bool) -> Points:
    """Return two populations that hardly overlap."""
    return np.asarray(generator.laplace(size=(CLIPS, 24)) + (2.5 if moved else 0.0))


def _rendered() -> Sequence[Family]:
    """Return features of rendered clips by the packaged encoder, against the same scenes with noise, and with flicker."""
    encoder = load_videomae(WEIGHTS / VIDEOMAE, "cpu")
    preprocessing = Preprocessing.load(WEIGHTS / VIDEOMAE)
    scenes = some_scenes(REAL)
    clips = {word: fresh_clips(scenes, f"coverage {word}") for word in ("reference", "spoilt")}
    reference = np.stack([pooled_features(encoder, preprocessing, one, "cpu") for one in clips["reference"]])
    found = []
    for defect, strength in (("noise", 2), ("flicker", 3)):
        spoilt = [DEGRADATIONS[defect](one, strength, number) for number, one in enumerate(clips["spoilt"])]
        model = np.stack([pooled_features(encoder, preprocessing, one, "cpu") for one in spoilt])
        found.append(Family(f"rendered clips, {defect}", reference, model))
    return found


_MAKERS: Final[Sequence[tuple[str, Callable[[np.random.Generator, bool], Points]]]] = (
    ("4-d lognormal", _lognormal),
    ("32-d Student, 3 degrees", _student),
    ("128-d correlated", _correlated),
    ("6-d rare cluster", _rare),
    ("2-d rings", _ring),
    ("200-d sparse", _sparse),
    ("12-d line", _line),
    ("24-d far", _far),
)
