"""Sessions of clips that are drawn anew, institution by institution, through the real tally, encoding, noise and evaluation.

An oracle for plans: the distributions are those that `planning/guess.py` describes, drawn by numpy and with none of its code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from vdb_participant.noise.exact_draws import ExactDraws, key_stream
from vdb_participant.noise.integer_sampler import discrete_gaussian
from vdb_shared.evaluation import Evaluation, evaluate
from vdb_shared.layout import contributions_at_most, layout_of, promise_of
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.covariance import covariance_share, covariance_sketch
from vdb_shared.metrics.features import (
    clip_to_ball,
    feature_moments,
    one_hot,
    outcome,
    random_fourier_features,
    random_fourier_frequencies,
    score_histogram,
    score_moments,
)
from vdb_shared.metrics.statistic import Layout, Tally
from vdb_shared.planning.guess import CellGuess, FeatureGuess, Guess, RateGuess, ScoreGuess
from vdb_shared.privacy.calibration import NOISE_EXPONENT, calibrate
from vdb_shared.privacy.mechanism import decode, encode, noise_level, uniform_bytes_needed
from vdb_shared.secagg.parameters import smallest_cohort
from vdb_shared.spec import Metric, Spec

Generator = np.random.Generator
Key = tuple[str, str]


def simulate(
    spec: Spec, guesses: Mapping[Key, Guess], clips: Mapping[str, int], *, participants: int, seed: int
) -> Evaluation:
    """Return what one session publishes.

    Args:
        spec: the spec.
        guesses: how clips are distributed, by metric and inputs.
        clips: of each institution on the sides "reference", "public" and "private", of each model.
        participants: all of whom stay.
        seed: of everything that is drawn.
    """
    layout = layout_of(spec)
    smallest = smallest_cohort(participants, spec.cohort.collusion, spec.cohort.dropout)
    calibration = calibrate(promise_of(spec, joined=participants, smallest_cohort=smallest), layout)
    total = np.zeros(layout.lanes, dtype=np.int64)
    for institution in range(participants):
        generator = np.random.default_rng([seed, institution])
        tally = Tally(layout, capacity=contributions_at_most(spec))
        _fill(tally, spec, guesses, clips, generator)
        uniforms = generator.bytes(uniform_bytes_needed(layout, calibration))
        total += encode(layout, calibration, tally.sums(), uniforms)
        total += _discrete_noise(layout, f"{seed}/{institution}")
    return evaluate(spec, decode(layout, calibration, total), noise_level(layout, calibration, participants))


def _discrete_noise(layout: Layout, name: str) -> NDArray[np.int64]:
    private = np.concatenate([np.full(block.dims, block.private) for block in layout.blocks])
    draws = ExactDraws(key_stream(hashlib.sha256(name.encode()).digest()))
    noise = np.zeros(layout.lanes, dtype=np.int64)
    noise[private] = discrete_gaussian(draws, NOISE_EXPONENT, int(private.sum()))
    return noise


def _fill(
    tally: Tally, spec: Spec, guesses: Mapping[Key, Guess], clips: Mapping[str, int], generator: Generator
) -> None:
    distances = {item.id: item for item in spec.metrics if definition_of(item.id).compares_with_reference}
    for _ in range(clips["reference"] if distances else 0):
        tally.add("reference/clips/count", np.ones(1))
    for metric in distances.values():
        for part, values in _shares(spec, metric, guesses[metric.id, metric.inputs], 0, clips["reference"], generator):
            tally.add(f"reference/clips/{metric.id}/{part}", values)
    for side in ("public", "private"):
        _fill_side(tally, spec, guesses, side, clips[side], generator)


def _fill_side(
    tally: Tally, spec: Spec, guesses: Mapping[Key, Guess], side: str, count: int, generator: Generator
) -> None:
    metrics = [metric for metric in spec.metrics if metric.inputs == side]
    for place, model in enumerate(spec.models, start=1):
        for _ in range(count if metrics else 0):
            tally.add(f"{side}/{model.id}/count", outcome(True))
        for metric in metrics:
            for part, values in _shares(spec, metric, guesses[metric.id, side], place, count, generator):
                if part != "histogram" or side == "public":
                    tally.add(f"{side}/{model.id}/{metric.id}/{part}", values)


def _shares(
    spec: Spec, metric: Metric, guess: Guess, place: int, count: int, generator: Generator
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield what each clip adds to each block; place 0 is the reference."""
    offset = place - (len(spec.models) + 1) / 2
    match guess:
        case ScoreGuess():
            mean = guess.mean + guess.apart * offset
            size = mean * (1 - mean) / guess.deviation**2 - 1
            for score in generator.beta(mean * size, (1 - mean) * size, count):
                yield "moments", score_moments(float(score))
                yield "histogram", score_histogram(float(score))
        case RateGuess():
            for happened in generator.random(count) < guess.rate + guess.apart * offset:
                yield "events", np.array([float(happened)])
        case CellGuess():
            anchors = metric.features or 1
            shares = np.arange(1, anchors + 1) ** -guess.exponent
            shares /= shares.sum()
            mixed = min(guess.apart * place / (np.abs(shares - shares[::-1]).sum() / 2), 1.0)
            for cell in generator.choice(anchors, count, p=(1 - mixed) * shares + mixed * shares[::-1]):
                yield "cells", one_hot(int(cell), anchors)
        case FeatureGuess():
            yield from _of_features(spec, metric, guess, place, count, generator)
        case _:
            raise ValueError(f"{metric.id}: nothing is known of how its clips are drawn")


def _of_features(
    spec: Spec, metric: Metric, guess: FeatureGuess, place: int, count: int, generator: Generator
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    extractor = spec.extractor(str(metric.extractor))
    d = extractor.dimension
    spectrum = np.arange(1, d + 1) ** -guess.exponent
    trace = guess.norm**2 * (1 - guess.centre)
    mean = np.full(d, guess.norm * guess.centre**0.5 / d**0.5)
    mean += guess.apart * place * trace**0.5 * np.resize([1.0, -1.0], d) / d**0.5
    points = generator.normal(size=(count, d)) * np.sqrt(trace * spectrum / spectrum.sum()) + mean
    if definition_of(metric.id).finish == "kernel":
        bandwidth = float(metric.bandwidth or 1)
        frequencies = random_fourier_frequencies(extractor.manifest, d, metric.features or 2, bandwidth)
        sketch = covariance_sketch(spec.digest, extractor.manifest, metric.features or 2)
        for point in points:
            embedding = random_fourier_features(point * bandwidth, frequencies)
            yield "embedding", embedding
            yield "covariance", covariance_share(embedding, sketch)
        return
    for point in points:
        yield "moments", feature_moments(clip_to_ball(point)[0])
