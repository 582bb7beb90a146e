"""Clips as they are guessed to be, and the sums that a session of them would have.

A population is a few thousand clips ("atoms") that follow from the guess; a session draws its clips among them with
replacement, sums what each contributes and adds noise. Promises sums with the blocks of the real layout and the noise of the
real calibration, the same for the same guess and number of the draw. Leaves what follows from the sums to evaluation.py.

The cuts of sums to a grid (2^-28 or finer) and the rounding of lanes are left out: they are far below the noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import betaincinv

from vdb_shared.layout import feature_dimension
from vdb_shared.metrics.catalogue import COUNT, definition_of
from vdb_shared.metrics.features import HISTOGRAM_BINS, Vector, posterior, standard_normals, uniforms
from vdb_shared.metrics.statistic import Layout
from vdb_shared.metrics.uncertainty import draw_seed
from vdb_shared.planning.assumptions import Scenario
from vdb_shared.planning.atoms import ATOMS, Atoms, counted_into, power_law, quantiles, summed_by
from vdb_shared.planning.features import features_of
from vdb_shared.planning.guess import CellGuess, FeatureGuess, Guess, Guesses, PosteriorGuess, RateGuess, ScoreGuess
from vdb_shared.privacy.mechanism import NoiseLevel
from vdb_shared.spec import Metric, Spec
from vdb_shared.sums import Side

_COUNTED_ONE_BY_ONE: Final = 2**20
"""Clips up to which each is drawn; above, the multinomial counts of the atoms are as good as normal."""

_SCORE_EDGE: Final = 1e-4
"""Scores' means stay so far inside their range when models are put far apart."""

_WIDEST: Final = 0.98
"""Largest deviation of a beta distribution, by the one that no distribution of its mean exceeds."""


@dataclass(frozen=True, slots=True)
class Population:
    """All clips that a session may draw, by what is measured of them.

    Attributes:
        reference: atoms of the reference clips, by metric.
        generated: by metric, inputs and model.
    """

    reference: Mapping[str, Atoms]
    generated: Mapping[tuple[str, str, str], Atoms]


def population_of(spec: Spec, guesses: Guesses) -> Population:
    """Return the clips that are guessed."""
    reference: dict[str, Atoms] = {}
    generated: dict[tuple[str, str, str], Atoms] = {}
    for metric in spec.metrics:
        guess = guesses[metric.id, metric.inputs]
        if definition_of(metric.id).compares_with_reference and metric.id not in reference:
            reference[metric.id] = _atoms(spec, metric, guess, 0)
        for place, model in enumerate(spec.models, start=1):
            generated[metric.id, metric.inputs, model.id] = _atoms(spec, metric, guess, place)
    return Population(reference, generated)


@dataclass(frozen=True, slots=True)
class Draw:
    """Which session is drawn.

    Attributes:
        counts: number of the draw whose noise the counts carry.
        metrics: number of the draw of each metric's clips and noise.
    """

    counts: int
    metrics: Mapping[str, int]


def draw_session(scenario: Scenario, population: Population, noise: NoiseLevel, draw: Draw | int) -> dict[str, Vector]:
    """Return the sums of one session.

    Args:
        scenario: how many clips there are; what is drawn follows from the digest of its spec.
        population: what they may be.
        noise: in the sums; of private blocks only.
        draw: which one; a number stands for that number throughout.
    """
    seed = scenario.spec.digest
    sums: dict[str, Vector] = {}
    counted: dict[tuple[str, str, str], Vector] = {}
    for block in scenario.layout.blocks:
        side, model, metric, *part = block.name.split("/")
        clips = scenario.counts.of(side_named(side), model)
        if metric == COUNT:
            number = draw if isinstance(draw, int) else draw.counts
            values = np.zeros(block.dims)
            values[0] = clips
        else:
            number = draw if isinstance(draw, int) else draw.metrics[metric]
            atoms = population.reference[metric] if side == "reference" else population.generated[metric, side, model]
            key = side, model, metric
            if key not in counted:
                counted[key] = _drawn(draw_seed("plan", seed, *key, replicate=number), clips, atoms.size)
            values = atoms.parts[part[0]](counted[key])
        sums[block.name] = values + _noise(f"{seed}/{block.name}", block.dims, noise.of(block.name), number)
    return sums


def only(noise: NoiseLevel, layout: Layout, *, counts: bool) -> NoiseLevel:
    """Return the noise of counts alone, or that of all other blocks alone."""
    kept = {block.name for block in layout.blocks if (block.name.split("/")[2] == COUNT) == counts}
    return NoiseLevel({name: deviation for name, deviation in noise.deviations.items() if name in kept})


def side_named(name: str) -> Side:
    """Return a side of clips by its name in a block."""
    match name:
        case "reference" | "public" | "private":
            return name
        case _:
            raise ValueError(f"no side is named {name}")


def _noise(name: str, dims: int, deviation: float, draw: int) -> Vector:
    if not deviation:
        return np.zeros(dims)
    return deviation * standard_normals(draw_seed("plan", "noise", name, replicate=draw), dims)


def _drawn(seed: bytes, clips: int, atoms: int) -> Vector:
    """Return how often each atom is drawn when so many clips are, (atoms,)."""
    if clips <= _COUNTED_ONE_BY_ONE:
        places = (uniforms(seed, clips) * atoms).astype(np.int64)
        return np.bincount(places, minlength=atoms).astype(np.float64)
    normals = standard_normals(seed, atoms)
    return np.asarray(clips / atoms + np.sqrt(clips / atoms) * (normals - normals.mean()), dtype=np.float64)


def _atoms(spec: Spec, metric: Metric, guess: Guess, place: int) -> Atoms:
    """Return the clips of the reference (place 0) or of a model (places from 1, in the spec's order)."""
    match guess:
        case ScoreGuess():
            return _scores(guess, place, len(spec.models))
        case RateGuess():
            return _outcomes(guess, place, len(spec.models))
        case FeatureGuess():
            return features_of(spec, metric, guess, place)
        case CellGuess():
            return _cells(guess, place, metric.features or 1)
        case PosteriorGuess():
            return _posteriors(guess, place, feature_dimension(spec, metric))


def _offset(place: int, models: int) -> float:
    """Return how many steps a model lies from the middle of all."""
    return place - (models + 1) / 2


def _scores(guess: ScoreGuess, place: int, models: int) -> Atoms:
    mean = min(max(guess.mean + guess.apart * _offset(place, models), _SCORE_EDGE), 1.0 - _SCORE_EDGE)
    most = mean * (1.0 - mean)
    variance = min(guess.deviation**2, _WIDEST**2 * most)
    concentration = most / variance - 1.0
    scores = betaincinv(mean * concentration, (1.0 - mean) * concentration, quantiles(ATOMS))
    bins = np.minimum((scores * HISTOGRAM_BINS).astype(np.int64), HISTOGRAM_BINS - 1)
    moments = np.stack([scores, scores**2], axis=1)
    return Atoms(
        ATOMS,
        {
            "moments": summed_by(moments),
            "histogram": counted_into(bins, HISTOGRAM_BINS),
        },
    )


def _outcomes(guess: RateGuess, place: int, models: int) -> Atoms:
    rate = min(max(guess.rate + guess.apart * _offset(place, models), 0.0), 1.0)
    return Atoms(ATOMS, {"events": summed_by((quantiles(ATOMS) < rate).astype(np.float64)[:, np.newaxis])})


def _cells(guess: CellGuess, place: int, anchors: int) -> Atoms:
    """A model's clips fall to anchors as the reference's do, but for a share that falls to them in the reverse order."""
    shares = power_law(guess.exponent, anchors)
    most = float(np.abs(shares - shares[::-1]).sum()) / 2.0
    mixed = min(guess.apart * place / most, 1.0) if most > 0 else 0.0
    ends = np.cumsum((1.0 - mixed) * shares + mixed * shares[::-1])
    size = max(ATOMS, 16 * anchors)
    cells = np.minimum(np.searchsorted(ends, quantiles(size)), anchors - 1).astype(np.int64)
    return Atoms(size, {"cells": counted_into(cells, anchors)})


def _posteriors(guess: PosteriorGuess, place: int, classes: int) -> Atoms:
    confidence = min(max(guess.confidence - guess.apart * (place - 1), 1.0 / classes), 1.0)
    shown = np.minimum(
        np.searchsorted(np.cumsum(power_law(guess.exponent, classes)), quantiles(ATOMS)), classes - 1
    ).astype(np.int64)
    rest = (1.0 - confidence) / max(classes - 1, 1)
    chances = np.full(classes, rest)
    chances[0] = confidence
    negentropy = float(posterior(chances)[1][0])

    of_class = counted_into(shown, classes)

    def summed(counts: Vector) -> Vector:
        return np.asarray(rest * counts.sum() + (confidence - rest) * of_class(counts), dtype=np.float64)

    return Atoms(ATOMS, {"posterior": summed, "negentropy": lambda counts: np.array([negentropy * counts.sum()])})
