"""What institutions say of public clips that two of them make, made up: it follows from the task, as with real clips."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import numpy as np

from vdb_shared.bundle.statement import THUMBNAIL_BYTES, CheckedClip
from vdb_shared.canonical import encode_base64, sha256_digest
from vdb_shared.checked_clips import compared_metrics, compared_vector
from vdb_shared.layout import feature_dimension
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.features import standard_normals
from vdb_shared.spec import Spec
from vdb_shared.tasks import checked_tasks


def checked_clip(spec: Spec, task: int, maker: str = "honest") -> CheckedClip:
    """Return what a maker says of a task's clip; different makers say entirely different things."""
    seed = hashlib.sha256(f"{task}/{maker}".encode()).digest()
    scores, distances = compared_metrics(spec)
    vectors = {}
    for place, metric in enumerate(distances):
        kernel = definition_of(metric.id).finish == "kernel"
        dims = (metric.features or 0) if kernel else feature_dimension(spec, metric)
        values = standard_normals(hashlib.sha256(seed + bytes([place])).digest(), dims)
        share = values / np.linalg.norm(values)
        vectors[metric.id] = encode_base64(compared_vector(spec, metric, share).astype("<f4").tobytes())
    return CheckedClip(
        task=task,
        clip=sha256_digest(seed),
        thumbnail=encode_base64(seed * (THUMBNAIL_BYTES // len(seed))),
        scores={metric.id: Decimal(seed[place] % 100) / 100 for place, metric in enumerate(scores)},
        vectors=vectors,
    )


def checked_clips(spec: Spec, position: int, sites: int, maker: str = "honest") -> tuple[CheckedClip, ...]:
    """Return what the site at a place among those that joined says of all clips that it makes and another one too."""
    return tuple(
        checked_clip(spec, item.number, maker)
        for item in checked_tasks(spec, sites)
        if position in (item.first, item.second)
    )
