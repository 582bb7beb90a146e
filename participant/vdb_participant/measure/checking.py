"""What a site says of a public clip that another site makes too.

Promises that it follows from the clip and the spec alone: nothing of private records, nothing of the device but what it did to
the clip. Leaves choosing the clips to `vdb_shared/tasks.py` and comparing to `vdb_shared/checked_clips.py`.

Source: protos/README.md §7.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.video import Frames
from vdb_shared.bundle.statement import CheckedClip
from vdb_shared.canonical import encode_base64, parse_decimal
from vdb_shared.checked_clips import compared_metrics, compared_vector
from vdb_shared.layout import generated_block
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.spec import Spec
from vdb_shared.sums import rounded

_FRAMES: Final = 4
_CELLS: Final = 8


def checked_clip(
    spec: Spec, model: str, digest: str, frames: Frames, shares: Mapping[str, NDArray[np.float64]]
) -> CheckedClip:
    """Return what is said of a clip that was made and measured; its task is 0 and filled in by whoever knows it.

    Args:
        spec: the spec.
        model: id.
        digest: of the clip.
        frames: uint8 (T, H, W, 3), H and W at least 8.
        shares: what the clip adds, or would add, to the blocks of public clips, by name.
    """
    scores, distances = compared_metrics(spec)
    vectors = {}
    for metric in distances:
        (part, *_) = definition_of(metric.id).parts(private=False)
        share = shares[generated_block("public", model, metric.id, part.name)]
        vectors[metric.id] = encode_base64(compared_vector(spec, metric, share).astype("<f4").tobytes())
    return CheckedClip(
        task=0,
        clip=digest,
        thumbnail=encode_base64(thumbnail(frames)),
        scores={
            metric.id: parse_decimal(rounded(float(shares[generated_block("public", model, metric.id, "moments")][0])))
            for metric in scores
        },
        vectors=vectors,
    )


def thumbnail(frames: Frames) -> bytes:
    """Return four frames at 8 x 8 cells, 768 bytes: the mean of each cell and channel, rounded, halves up.

    Of T frames those numbered ⌊(2i+1)T/8⌋; cell j of n pixels begins at ⌊jn/8⌋.
    """
    count, height, width, _ = frames.shape
    chosen = frames[[(2 * number + 1) * count // (2 * _FRAMES) for number in range(_FRAMES)]].astype(np.int64)
    rows, columns = (np.arange(_CELLS + 1) * size // _CELLS for size in (height, width))
    sums: NDArray[np.int64] = np.add.reduceat(np.add.reduceat(chosen, rows[:-1], axis=1), columns[:-1], axis=2)
    pixels = (np.diff(rows)[:, None] * np.diff(columns)[None, :])[None, :, :, None]
    means: NDArray[np.uint8] = ((2 * sums + pixels) // (2 * pixels)).astype(np.uint8)
    return means.tobytes()
