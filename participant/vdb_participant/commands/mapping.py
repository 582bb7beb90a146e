"""What `vdb-participant metrics fit-map` does: from a raw extractor and public clips to a folder that specs can name.

Promises one answer, as text or JSON, that holds all that a spec needs. Loads a machine learning framework.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from vdb_participant.measure.extractors.fitting import (
    PublicFeatures,
    Shape,
    check_new,
    features_of,
    load_raw,
    public_clips,
    write_mapped,
)
from vdb_shared.errors import UsageError
from vdb_shared.metrics.dimension import DIMENSIONS, planned_noise, recommended_dimension
from vdb_shared.privacy.calibration import noise_multiplier

AUTO: Final = "auto"

DELTA: Final = Decimal("0.000001")
"""Of the planned session: the presets' own."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of the session that the map is for.

    Attributes:
        noise: tau as `recommended_dimension` takes it, or None to compute it from the rest.
        records: reference clips of all institutions together.
        epsilon: of the session.
        private_models: models whose clips are private too; 0 with public prompts.
    """

    noise: float | None = None
    records: int | None = None
    epsilon: Decimal | None = None
    private_models: int = 0

    def tau(self) -> float | None:
        """Return the noise, or None where nothing is planned.

        Raises:
            UsageError: half of a plan.
        """
        if self.noise is not None:
            if self.records is not None or self.epsilon is not None:
                raise UsageError("--noise: excludes --records and --epsilon; give either")
            return self.noise
        if self.records is None and self.epsilon is None:
            return None
        if self.records is None or self.epsilon is None:
            raise UsageError("--records and --epsilon: go together; give both, or --noise")
        if not (self.epsilon.is_finite() and self.epsilon > 0):
            raise UsageError(f"--epsilon {self.epsilon}: expected a number above 0")
        return planned_noise(self.records, float(noise_multiplier(self.epsilon, DELTA)), self.private_models)


@dataclass(frozen=True, slots=True)
class Wish:
    """Which map of which extractor is wanted, and where.

    Attributes:
        source: folder of the raw extractor.
        clips: folder of public clips.
        output: new folder.
        dimension: 16, 32, 64, 128 or auto.
        shape: of the clips, as the spec's `video` says.
        architecture: as specs write it, or "" to take it from the folder.
        device: to compute on.
    """

    source: Path
    clips: Path
    output: Path
    dimension: str
    shape: Shape = field(default_factory=Shape)
    architecture: str = ""
    device: str = "auto"


def fit_map(wish: Wish, plan: Plan, tell: Callable[[int, int], None] = lambda _, __: None) -> dict[str, Any]:
    """Fit the map, write the folder, and return what a spec's author must know, as JSON without reals.

    Args:
        wish: what is wanted.
        plan: what auto chooses by, and what the recommendation is for.
        tell: told of clips done and clips in all.

    Raises:
        UsageError, DatasetError, ModelError: what cannot be used, in one line.
    """
    wanted, noise = _wanted(wish.dimension), plan.tau()
    if wanted is None and noise is None:
        raise UsageError("--dimension auto: needs --records and --epsilon of the planned session, or --noise")
    check_new(wish.output)
    files = public_clips(wish.clips)
    extractor, weights = load_raw(wish.source, wish.architecture, wish.device)
    features = features_of(extractor, files, wish.shape, lambda done: tell(done, len(files)))
    recommended = None if noise is None else _recommended(features, noise)
    chosen = wanted or recommended or DIMENSIONS[0]
    tensors = features.tensors(chosen)
    written = write_mapped(weights, tensors, wish.output)
    return {
        "folder": str(wish.output),
        "architecture": extractor.description.architecture,
        "manifest": written.manifest,
        "dimension": chosen,
        "clips": len(files),
        "explained": f"{features.explained(chosen):.4f}",
        "radius": f"{float(tensors['radius']):.6g}",
        "recommended": recommended,
        "noise": None if noise is None else f"{noise:.3g}",
    }


def lines_of(facts: dict[str, Any]) -> str:
    """Return the facts as text, with the lines for a spec."""
    plan = (
        "no session was described, so no dimension is recommended; give --records and --epsilon, or --noise"
        if facts["recommended"] is None
        else f"recommended dimension {facts['recommended']} under noise of {facts['noise']}"
    )
    name = Path(facts["folder"]).name
    return "\n".join(
        (
            f"wrote {facts['folder']}",
            f"  {facts['dimension']} axes of {facts['clips']} public clips explain {float(facts['explained']):.1%} of the "
            f"variance; clipping norm {facts['radius']}",
            f"  {plan}",
            "",
            "[[extractors]]",
            f'id = "{name}"',
            f'architecture = "{facts["architecture"]}"',
            f'manifest = "{facts["manifest"]}"',
            f"dimension = {facts['dimension']}",
            "",
            "[[metrics]]",
            'id = "dp-fvd@1"',
            'inputs = "public"',
            f'extractor = "{name}"',
            "",
            "[[metrics]]            # its companion",
            'id = "mmd-rff@1"',
            'inputs = "public"',
            f'extractor = "{name}"',
            "features = 1024",
            "bandwidth = 1",
        )
    )


def _wanted(dimension: str) -> int | None:
    if dimension == AUTO:
        return None
    if dimension not in {str(known) for known in DIMENSIONS}:
        names = ", ".join(map(str, DIMENSIONS))
        raise UsageError(f"--dimension {dimension}: expected {names} or {AUTO}")
    return int(dimension)


def _recommended(features: PublicFeatures, noise: float) -> int:
    """Return the recommendation among the dimensions that there are clips for."""
    if features.largest_dimension < DIMENSIONS[0]:
        features.tensors(DIMENSIONS[0])  # says what is missing
    return recommended_dimension(features.eigenvalues[: features.largest_dimension].tolist(), noise)
