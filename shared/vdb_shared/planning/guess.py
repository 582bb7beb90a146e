"""What is guessed of clips that nobody has measured yet, by metric.

Promises that every plan rests on guesses that are written down: defaults by finish, an earlier result (`like.py`), or a file
(`guess_file.py`). Leaves what statistics follow from them to `population.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final, TypeAlias

from vdb_shared.errors import UsageError
from vdb_shared.metrics.catalogue import MetricDefinition, definition_of
from vdb_shared.metrics.finishes import FINISHES, FinishName
from vdb_shared.spec import Metric, Spec


@dataclass(frozen=True, slots=True)
class ScoreGuess:
    """Scores of one model's clips, which follow a beta distribution on the metric's range.

    Attributes:
        mean: of the scores over all models, on [0, 1]; in a file in the metric's unit.
        deviation: of one clip's score, likewise.
        apart: between the means of one model and the next, likewise.
    """

    mean: float
    deviation: float
    apart: float


@dataclass(frozen=True, slots=True)
class RateGuess:
    """Shares of clips of which something is true.

    Attributes:
        rate: over all models.
        apart: between one model and the next.
    """

    rate: float
    apart: float


@dataclass(frozen=True, slots=True)
class FeatureGuess:
    """Features: normal, the eigenvalues of their covariance falling as i^-exponent, then clipped as the metric clips.

    The unit is the norm to which features are clipped; for mmd-rff the bandwidth.

    Attributes:
        exponent: of the spectrum.
        norm: root of the mean squared norm before clipping.
        centre: share of it that is the squared norm of the mean.
        apart: by how much the mean of the next model lies farther from the reference clips', over the root of the
            covariance's trace; the first model is as far from them as the second from the first.
    """

    exponent: float
    norm: float
    centre: float
    apart: float


@dataclass(frozen=True, slots=True)
class CellGuess:
    """How clips fall to anchors: shares fall as i^-exponent.

    Attributes:
        exponent: of the shares.
        apart: total variation distance to the reference clips by which the next model is farther.
    """

    exponent: float
    apart: float


@dataclass(frozen=True, slots=True)
class PosteriorGuess:
    """Class probabilities: one class has `confidence`, the others share the rest; classes are taken as i^-exponent.

    Attributes:
        exponent: of the shares of classes.
        confidence: probability of the class that a clip shows.
        apart: by how much it is less with the next model.
    """

    exponent: float
    confidence: float
    apart: float


Guess: TypeAlias = ScoreGuess | RateGuess | FeatureGuess | CellGuess | PosteriorGuess

Guesses: TypeAlias = Mapping[tuple[str, str], Guess]
"""By metric and inputs."""

_FEATURES: Final = FeatureGuess(exponent=1.2, norm=0.8, centre=0.5, apart=0.25)

DEFAULTS: Final[Mapping[FinishName, Guess]] = {
    "mean": ScoreGuess(mean=0.5, deviation=0.08, apart=0.02),
    "rate": RateGuess(rate=0.5, apart=0.05),
    "frechet": _FEATURES,
    "kernel": FeatureGuess(exponent=1.2, norm=1.0, centre=0.0, apart=0.25),
    "sketch": _FEATURES,
    "second-moment": _FEATURES,
    "vendi": _FEATURES,
    "rke": _FEATURES,
    "inception": PosteriorGuess(exponent=1.0, confidence=0.8, apart=0.05),
    "coverage": CellGuess(exponent=1.0, apart=0.05),
}
"""What is guessed where nobody knows better: scores that spread over a third of their range, features with the spectrum that
networks for pictures commonly have, a kernel whose bandwidth is the root of the features' variance."""

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "mean": (0.0, 1.0),
    "deviation": (1e-6, 0.5),
    "rate": (0.0, 1.0),
    "exponent": (0.0, 10.0),
    "norm": (1e-3, 1e3),
    "centre": (0.0, 0.999999),
    "confidence": (1e-6, 1.0),
    "apart": (0.0, 1e3),
}
"""What each number of a guess may be; of scores on their range as [0, 1]."""


def kind_of(definition: MetricDefinition) -> FinishName:
    """Return the finish whose guess and clips a metric has: that of all Fréchet distances, which share their blocks, is one."""
    same = FINISHES[definition.finish].parts is FINISHES["frechet"].parts
    return "frechet" if same else definition.finish


def default_guesses(spec: Spec) -> dict[tuple[str, str], Guess]:
    """Return the defaults for every metric of a spec but those of people's ratings."""
    return {
        (metric.id, metric.inputs): DEFAULTS[kind_of(definition_of(metric.id))]
        for metric in spec.metrics
        if metric.inputs != "ratings"
    }


def checked_guess(guess: Guess) -> Guess:
    """Return a guess that a population can have.

    Raises:
        UsageError: a number is out of its range; begins with the field.
    """
    for name, value in asdict(guess).items():
        low, high = BOUNDS[name]
        if not (math.isfinite(value) and low <= value <= high):
            raise UsageError(f"{name}: expected {low:g} to {high:g} (scores on their range as [0, 1]), found {value:g}")
    if isinstance(guess, ScoreGuess) and guess.deviation**2 >= guess.mean * (1.0 - guess.mean):
        raise UsageError(
            f"deviation: scores of mean {guess.mean:g} on [0, 1] cannot spread by {guess.deviation:g}; lower it"
        )
    return guess


def stretched(guess: Guess, factor: float) -> Guess:
    """Return the guess with its models so many times as far apart."""
    return replace(guess, apart=guess.apart * factor)


def range_of(metric: Metric, definition: MetricDefinition) -> tuple[float, float]:
    """Return low end and width of a score's range, in the metric's unit."""
    high = definition.high if definition.high is not None else metric.limit
    low = float(definition.low)
    return low, float(high or 1) - low


def in_units(metric: Metric, guess: Guess) -> dict[str, float]:
    """Return a guess's numbers as a file has them."""
    values: dict[str, float] = asdict(guess)
    if isinstance(guess, ScoreGuess):
        low, width = range_of(metric, definition_of(metric.id))
        values = {name: value * width + (low if name == "mean" else 0.0) for name, value in values.items()}
    return values
