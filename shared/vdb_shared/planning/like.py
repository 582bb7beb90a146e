"""Guesses from the result of an earlier session: what its published sums say of scores, shares and features.

Promises to use only what the bundle publishes to everybody. A bundle is not verified here: a plan is a guess, and a forged
bundle spoils it no more than a wrong guess would; `vdb-audit verify` says whether to believe one. Metrics that the earlier
session did not measure, or withheld, keep the guess they had.

What is read: of scores and shares, mean, deviation and distance between models; of Fréchet distances, norm, centre, spectrum
and distance, from sums without noise (clips of public prompts); of kernel distances the distance between models. A deviation
that noise drowns keeps the guess it had.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.errors import UsageError, VdbError
from vdb_shared.evaluation import Evaluation, evaluate
from vdb_shared.families import moments_of_model
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.frechet import Moments, moments_of
from vdb_shared.planning.assumptions import of_clips
from vdb_shared.planning.guess import (
    FeatureGuess,
    Guess,
    Guesses,
    RateGuess,
    ScoreGuess,
    checked_guess,
    kind_of,
    range_of,
)
from vdb_shared.privacy.mechanism import NoiseLevel, decode, noise_level
from vdb_shared.spec import Metric, Spec
from vdb_shared.sums import SessionSums

_LATENCY: Final = "latency@1"
_LEAST_DEVIATION: Final = 1e-4
_CLEAR: Final = 0.1
"""Largest noise in a mean of squared scores, by their variance, that leaves the variance readable."""

_LEAST_SHARE: Final = 1e-4
"""Eigenvalues below this share of the largest are left out of the fit of a spectrum."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier session.

    Attributes:
        spec: its spec.
        sums: its sums, taken apart.
        evaluation: what follows from them.
    """

    spec: Spec
    sums: SessionSums
    evaluation: Evaluation

    def metric(self, wanted: Metric) -> Metric | None:
        """Return its metric of this id, on the same inputs rather than on the others, or None."""
        found = [metric for metric in self.spec.metrics if metric.id == wanted.id]
        return next((metric for metric in found if metric.inputs == wanted.inputs), found[0] if found else None)

    def values(self, metric: Metric) -> dict[str, float]:
        """Return its published values of a metric, by model."""
        return {
            item.model: item.value
            for item in self.evaluation.results
            if (item.metric, item.inputs) == (metric.id, metric.inputs) and item.value is not None
        }


def read_bundle(data: bytes, *, file: str) -> Earlier:
    """Return the session of a result bundle.

    Raises:
        UsageError: it is no bundle that can be read; says why.
    """
    evidence = Evidence(data, None, DEFAULT_POLICY, draft=False)
    try:
        spec, terms = evidence.spec, evidence.terms
        sums = decode(terms.layout, terms.calibration, evidence.totals)
        noise = noise_level(terms.layout, terms.calibration, len(evidence.survivors))
        return Earlier(spec, SessionSums(spec, sums, noise or NoiseLevel({})), evaluate(spec, sums, noise))
    except VdbError as error:
        raise UsageError(f"{file}: cannot be read as a result bundle: {error}") from error


def guesses_like(earlier: Earlier, spec: Spec, before: Guesses) -> tuple[dict[tuple[str, str], Guess], tuple[str, ...]]:
    """Return guesses with those laid over them that an earlier session gives, and the metrics of which it says nothing."""
    guesses, silent = dict(before), []
    for metric in of_clips(spec):
        key = metric.id, metric.inputs
        source = earlier.metric(metric)
        values = {} if source is None else earlier.values(source)
        if source is None or not values:
            silent.append(f"{metric.id} on {metric.inputs} inputs")
            continue
        guesses[key] = checked_guess(_like(earlier, source, metric, guesses[key], values))
    return guesses, tuple(silent)


def seconds_like(earlier: Earlier) -> dict[str, float]:
    """Return the seconds of a clip that an earlier session measured, by model; none where it did not."""
    metric = next((metric for metric in earlier.spec.metrics if metric.id == _LATENCY), None)
    return {} if metric is None else earlier.values(metric)


def _like(earlier: Earlier, source: Metric, metric: Metric, guess: Guess, values: Mapping[str, float]) -> Guess:
    ordered = list(values.values())
    match guess:
        case ScoreGuess():
            low, width = range_of(metric, definition_of(metric.id))
            mean = min(max((statistics.fmean(ordered) - low) / width, 0.0), 1.0)
            apart = _step([(value - low) / width for value in ordered], guess.apart)
            return ScoreGuess(mean, _deviation(earlier, source, mean, guess.deviation), apart)
        case RateGuess():
            return RateGuess(statistics.fmean(ordered), _step(ordered, guess.apart))
        case FeatureGuess() if kind_of(definition_of(metric.id)) == "frechet":
            return _features(earlier, source, guess)
        case FeatureGuess() if kind_of(definition_of(metric.id)) == "kernel":
            return replace(guess, apart=_apart_of_kernel(ordered, guess))
        case _:
            return guess


def _deviation(earlier: Earlier, source: Metric, mean: float, otherwise: float) -> float:
    """Return the root of the models' mean variance, on [0, 1], as far as noise leaves it readable."""
    variances = []
    for model in earlier.values(source):
        block = earlier.sums.block(source, "moments", model)
        first, second = (float(value) / block.count.succeeded for value in block.values)
        variance = max(second - first**2, 0.0)
        if block.noise_of_mean <= _CLEAR * variance:
            variances.append(variance)
    most = 0.9 * math.sqrt(mean * (1.0 - mean))
    found = math.sqrt(statistics.fmean(variances)) if variances else otherwise
    return min(max(found, _LEAST_DEVIATION), most)


def _step(values: Sequence[float], otherwise: float) -> float:
    """Return the mean distance between neighbours; the guess before where there is one model."""
    return (max(values) - min(values)) / (len(values) - 1) if len(values) > 1 else otherwise


def _features(earlier: Earlier, source: Metric, guess: FeatureGuess) -> FeatureGuess:
    """Return what models' own sums say, if they carry no noise; the guess before where they do."""
    definition = definition_of(source.id)
    sides = [moments_of_model(earlier.sums, source, definition, model) for model in earlier.values(source)]
    if any(side.deviation for side in sides):
        return guess
    found = [moments_of(side) for side in sides]
    trace = statistics.fmean(float(np.trace(item.covariance)) for item in found)
    centre = statistics.fmean(float(item.mean @ item.mean) for item in found)
    if trace <= 0.0:
        return guess
    gaps = [
        float(np.linalg.norm(one.mean - other.mean)) / math.sqrt(trace)
        for place, one in enumerate(found)
        for other in found[:place]
    ]
    steps = (len(found) + 1) / 3.0  # how many steps a pair of models is apart on average, if they lie on a line
    return FeatureGuess(
        exponent=_exponent(found, round(min(side.count for side in sides)), guess.exponent),
        norm=math.sqrt(trace + centre),
        centre=min(centre / (trace + centre), 0.999),
        apart=statistics.fmean(gaps) / steps if gaps else guess.apart,
    )


def _exponent(found: Sequence[Moments], clips: int, otherwise: float) -> float:
    """Return the slope of the eigenvalues in a double logarithmic plot, of the first half of those that the clips fill."""
    mean = np.mean([item.covariance for item in found], axis=0)
    values = np.linalg.eigvalsh(mean)[::-1]
    kept = values[: max(2, min(values.size, clips * len(found) - 1) // 2)]
    kept = kept[kept > _LEAST_SHARE * values[0]]
    if kept.size < 2:
        return otherwise
    places = np.log(np.arange(1, kept.size + 1))
    return float(min(max(-np.polyfit(places, np.log(kept), 1)[0], 0.0), 10.0))


def _apart_of_kernel(values: Sequence[float], guess: FeatureGuess) -> float:
    """Return by how much models' means are apart: to first order a squared discrepancy is k a^2 T.

    T is the trace over the squared bandwidth, a the distance of the means over root(T), and k, the mean kernel value of two
    clips of one side, about 1 / (1 + T).
    """
    trace = guess.norm**2 * (1.0 - guess.centre)
    farthest = max(*values, 0.0) if len(values) > 1 else max(values[0], 0.0)
    return min(math.sqrt(farthest * (1.0 + trace) / trace) / len(values), 10.0)
