"""The run manifest: with what a site measured, in a form that may be published.

Promises that nothing in it depends on private records: no counts of them, no digests, no times finer than a minute.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vdb_participant.generation.profiles import profile
from vdb_participant.generation.versions import versions
from vdb_participant.models import Weights
from vdb_shared.bundle.statement import CheckedClip
from vdb_shared.spec import Spec


def run_manifest(
    spec: Spec,
    *,
    profiles: Mapping[str, str],
    models: Mapping[str, Weights],
    extractors: Mapping[str, Weights],
    public_devices: Mapping[str, int],
    checked: Sequence[CheckedClip] = (),
) -> dict[str, Any]:
    """Return the run manifest of a measurement that ends now, as a JSON value without reals.

    Args:
        spec: what was measured.
        profiles: under which each model's clips were made, by its id.
        models: weights of the models, by id.
        extractors: weights of the extractors that were used, by id.
        public_devices: number of public clips by the model of the device that made them; efficiency compares within one.
        checked: what is said of public clips that another site makes too.
    """
    return {
        "versions": {"python": platform.python_version(), **versions()},
        "platform": platform.machine(),
        "cuda": torch.version.cuda or "",
        "arithmetic": f"{_precisions(profiles)}, no TF32, deterministic kernels",
        "profile": spec.generation.profile,
        "profiles": dict(profiles),
        "models": {name: weights.manifest for name, weights in models.items()},
        "extractors": {name: weights.manifest for name, weights in extractors.items()},
        "public_clips": dict(sorted(public_devices.items())),
        "checked": [clip.model_dump(mode="json") for clip in checked],
    }


def _precisions(profiles: Mapping[str, str]) -> str:
    return " and ".join(sorted({str(profile(name).dtype).removeprefix("torch.") for name in profiles.values()}))
