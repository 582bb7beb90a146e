"""Made-up statistics of institutions, as lanes: they follow from a seed, and are such as real clips could give."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from testkit.consortium import entropy
from vdb_shared.layout import count_block
from vdb_shared.metrics.correlation import correlation_share
from vdb_shared.metrics.features import Vector, feature_moments, score_histogram, standard_normals
from vdb_shared.metrics.preference import preference_share
from vdb_shared.metrics.statistic import Statistics
from vdb_shared.privacy.calibration import LOCAL_SIGMA
from vdb_shared.privacy.mechanism import encode, uniform_bytes_needed
from vdb_shared.seal import SealTerms
from vdb_shared.secagg.encoding import Lanes
from vdb_shared.secagg.parameters import Seat
from vdb_shared.spec import Spec
from vdb_shared.tasks import public_tasks, shard

PRIVATE_PROMPTS: Final = 400
PEOPLE: Final = 400


def noised_lanes(spec: Spec, terms: SealTerms, seed: object, seat: Seat) -> Lanes:
    """Return the lanes of a seat: its statistics, encoded, with noise on private lanes."""
    layout, calibration = terms.layout, terms.calibration
    uniforms = entropy("rounding", seed, seat, size=uniform_bytes_needed(layout, calibration))
    lanes = encode(layout, calibration, site_statistics(spec, terms, seed, seat), uniforms)
    normals = standard_normals(entropy("noise", seed, seat, size=32), layout.lanes)
    private = np.concatenate([np.full(block.dims, block.private) for block in layout.blocks])
    noise = np.rint(LOCAL_SIGMA * normals).astype(np.int64) * private * calibration.noised
    return np.asarray(lanes + noise, dtype=np.int64)


def site_statistics(spec: Spec, terms: SealTerms, seed: object, seat: Seat) -> Statistics:
    """Return made-up sums of one institution: models differ a little, institutions too."""
    sums = {}
    tasks = shard(public_tasks(spec), terms.position(seat), len(terms.seats))
    for block in terms.layout.blocks:
        side, model, metric, *_ = block.name.split("/")
        if side == "reference":
            clips = spec.privacy.maximum_records
        elif side == "public":
            clips = sum(task.model == model for task in tasks)
        else:
            clips = PRIVATE_PROMPTS * spec.generation.samples
        if block.name == count_block("reference"):
            sums[block.name] = np.array([float(clips)])
        elif side == "ratings":
            sums[block.name] = _rating_sum(block.name, len(spec.models), f"{seed}/{seat}")
        elif metric == "count":
            sums[block.name] = np.array([clips, 0.0])
        else:
            sums[block.name] = _block_sum(block.name, block.dims, clips, f"{seed}/{seat}")
    return {name: np.trunc(values * 2.0**40) * 2.0**-40 for name, values in sums.items()}


def _rating_sum(name: str, models: int, context: str) -> Vector:
    """Return the sum over made-up people of one institution, who like earlier models a little better."""
    draws = np.random.default_rng(list(hashlib.sha256(f"{name}/{context}".encode()).digest()))
    total = np.zeros(models * ((models - 1) if name.endswith("/wins") else 6))
    for _ in range(PEOPLE):
        first, second = draws.choice(models, 2, replace=False)
        if name.endswith("/wins"):
            wins = np.zeros((models, models))
            liked = draws.uniform() < 0.5 + 0.15 * np.sign(second - first)
            wins[(first, second) if liked else (second, first)] = 1.0
            total += preference_share(wins)
        else:
            x = np.clip(0.4 * draws.normal(size=2), -1, 1)
            y = np.clip(0.7 * x + 0.2 * draws.normal(size=2), -1, 1)
            total += correlation_share(np.stack([x, y], axis=1), np.array([first, second]), models)
    return total


def _block_sum(name: str, dims: int, clips: int, context: str) -> Vector:
    """Return the sum of made-up contributions to one block; a metric's moments and histogram share their scores."""
    side, model, metric, part = name.split("/")
    seed = hashlib.sha256(f"{side}/{model}/{metric}/{context}".encode()).digest()
    shift = 0.03 * (hashlib.sha256(model.encode()).digest()[0] / 255 if model != "clips" else 0.0)
    match part:
        case "moments" if dims == 2:
            scores = _scores(seed, clips, shift)
            return np.array([scores.sum(), (scores**2).sum()])
        case "histogram":
            return np.asarray(np.sum([score_histogram(score) for score in _scores(seed, clips, shift)], axis=0))
        case "moments":
            features = round((np.sqrt(9 + 8 * dims) - 3) / 2)
            vectors = 0.2 * standard_normals(seed, clips * features).reshape(clips, features) + shift
            inside = vectors / np.maximum(1.0, 1.000001 * np.linalg.norm(vectors, axis=1, keepdims=True))
            return np.asarray(np.sum([feature_moments(vector) for vector in inside], axis=0))
        case _:
            phases = standard_normals(seed, clips * dims // 2).reshape(clips, dims // 2) + shift
            waves = np.concatenate([np.cos(phases), np.sin(phases)], axis=1)
            return np.asarray(waves.sum(axis=0) / np.sqrt(dims / 2), dtype=np.float64)


def _scores(seed: bytes, clips: int, shift: float) -> Vector:
    return np.asarray(np.clip(0.7 + 2 * shift + 0.05 * standard_normals(seed, clips), 0.0, 1.0))
