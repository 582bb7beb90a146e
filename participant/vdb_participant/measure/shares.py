"""What a clip adds to each block of a metric: bounded vectors from its scores and features.

Promises that every share respects the L2 bound that finishes.py declares, whatever an extractor returns, and that what is not
finite makes the clip a failed one. Leaves the scores to `scores.py` and the features to `observation.py`.

Source: protos/README.md §7.1, §7.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_participant.measure.observation import Observation
from vdb_participant.measure.scores import SCORES
from vdb_shared.errors import StatisticError
from vdb_shared.metrics.catalogue import MetricDefinition, definition_of
from vdb_shared.metrics.covariance import covariance_share, covariance_sketch
from vdb_shared.metrics.features import (
    clip_to_ball,
    direction,
    feature_moments,
    one_hot,
    posterior,
    random_fourier_features,
    random_fourier_frequencies,
    rescale,
    score_histogram,
    score_moments,
    second_moment,
)
from vdb_shared.metrics.finishes import FinishName
from vdb_shared.metrics.sketch import Sketch, sketch_share
from vdb_shared.spec import Metric, Spec

Vector = NDArray[np.float64]
Share = Iterator[tuple[str, Vector]]


def shares(spec: Spec, metric: Metric, clip: Observation, *, private: bool) -> Share:
    """Yield what a clip adds to a metric: part and bounded vector of each of its blocks.

    Args:
        spec: the spec.
        metric: one of its metrics.
        clip: the clip.
        private: whether the clip is private; there is no histogram then.

    Raises:
        StatisticError: a score or feature is not finite or cannot be computed; the clip must count as failed.
    """
    definition = definition_of(metric.id)
    if definition.finish == "mean":
        return _score_shares(metric, definition, clip, private=private)
    return _SHARES[definition.finish](spec, metric, clip)


def frechet_share(features: Vector, limit: float) -> Vector:
    """Return [x, svec(x x^T)] of features divided by the limit and clipped to norm 1; L2 norm at most sqrt(2).

    Args:
        features: (d,).
        limit: the spec's limit, in the features' unit.
    """
    return feature_moments(clip_to_ball(features / limit)[0])


def kernel_share(features: Vector, manifest: str, count: int, bandwidth: float) -> Vector:
    """Return the random Fourier features of a clip, (count,); L2 norm 1.

    Args:
        features: (d,).
        manifest: digest of the extractor's weights, from which the frequencies follow.
        count: number of random features, even.
        bandwidth: of the Gaussian kernel, in the features' unit.
    """
    return random_fourier_features(features, _frequencies(manifest, len(features), count, bandwidth))


def nearest(features: Vector, anchors: Vector) -> int:
    """Return the place of the anchor that is nearest to features, the first of several.

    Args:
        features: (d,).
        anchors: (L, d).

    Raises:
        StatisticError: features are not finite or of another length.
    """
    if features.shape != anchors.shape[1:] or not np.isfinite(features).all():
        raise StatisticError(f"expected a finite feature vector of shape {anchors.shape[1:]}, found {features.shape}")
    return int(np.argmin(np.sum((anchors - features) ** 2, axis=1)))


def _score_shares(metric: Metric, definition: MetricDefinition, clip: Observation, *, private: bool) -> Share:
    high = definition.high if definition.high is not None else metric.limit
    if high is None:
        raise ValueError(f"{metric.id} without a limit passed the layout")
    score = rescale(SCORES[metric.id](clip, metric.extractor or ""), float(definition.low), float(high))
    yield "moments", score_moments(score)
    if not private:
        yield "histogram", score_histogram(score)


def _rate(_: Spec, metric: Metric, clip: Observation) -> Share:
    happened = SCORES[metric.id](clip, metric.extractor or "")
    if happened not in (0.0, 1.0):
        raise StatisticError(f"expected 0 or 1, found {happened}; the clip must count as failed")
    yield "events", np.array([happened])


def _frechet(_: Spec, metric: Metric, clip: Observation) -> Share:
    yield "moments", frechet_share(_features(metric, clip), _limit(metric))


def _kernel(spec: Spec, metric: Metric, clip: Observation) -> Share:
    if metric.features is None or metric.bandwidth is None:
        raise ValueError(f"{metric.id} without features or bandwidth passed the layout")
    manifest = _manifest(spec, metric)
    embedding = kernel_share(_features(metric, clip), manifest, metric.features, float(metric.bandwidth))
    yield "embedding", embedding
    yield (
        "covariance",
        covariance_share(embedding, _covariance(spec.digest, manifest, metric.features)),
    )


def _sketched(spec: Spec, metric: Metric, clip: Observation) -> Share:
    if metric.features is None:
        raise ValueError(f"{metric.id} without features passed the layout")
    features = _features(metric, clip)
    yield (
        "sketch",
        sketch_share(features, _limit(metric), _sketch(_manifest(spec, metric), len(features), metric.features)),
    )


def _second_moment(_: Spec, metric: Metric, clip: Observation) -> Share:
    yield "second", second_moment(clip_to_ball(_features(metric, clip) / _limit(metric))[0])


def _directions(_: Spec, metric: Metric, clip: Observation) -> Share:
    yield "second", second_moment(direction(_features(metric, clip)))


def _inception(_: Spec, metric: Metric, clip: Observation) -> Share:
    chances, negentropy = posterior(clip.probabilities(metric.extractor or ""))
    yield "posterior", chances
    yield "negentropy", negentropy


def _coverage(_: Spec, metric: Metric, clip: Observation) -> Share:
    anchors = clip.anchors(metric.extractor or "")
    if len(anchors) != metric.features:
        raise ValueError(f"{metric.id} with {len(anchors)} anchors, not {metric.features}, passed the checks")
    yield "cells", one_hot(nearest(_features(metric, clip), anchors), len(anchors))


def _features(metric: Metric, clip: Observation) -> Vector:
    match definition_of(metric.id).features_of:
        case "clip":
            return clip.clip_features(metric.extractor or "")
        case "frames":
            return np.asarray(clip.frame_embeddings(metric.extractor or "").mean(axis=0), dtype=np.float64)
        case "motion":
            return clip.motion_features()


def _limit(metric: Metric) -> float:
    return 1.0 if metric.limit is None else float(metric.limit)


def _manifest(spec: Spec, metric: Metric) -> str:
    return spec.extractor(metric.extractor or "").manifest


@lru_cache(maxsize=8)
def _frequencies(manifest: str, dimension: int, count: int, bandwidth: float) -> Vector:
    return random_fourier_frequencies(manifest, dimension, count, bandwidth)


@lru_cache(maxsize=8)
def _covariance(spec: str, manifest: str, features: int) -> Sketch:
    return covariance_sketch(spec, manifest, features)


@lru_cache(maxsize=8)
def _sketch(manifest: str, dimension: int, lanes: int) -> Sketch:
    return Sketch.of(manifest, dimension, lanes)


_SHARES: Final[Mapping[FinishName, Callable[[Spec, Metric, Observation], Share]]] = {
    "rate": _rate,
    "frechet": _frechet,
    "mapped-frechet": _frechet,
    "kernel": _kernel,
    "sketch": _sketched,
    "second-moment": _second_moment,
    "vendi": _directions,
    "rke": _directions,
    "inception": _inception,
    "coverage": _coverage,
}
