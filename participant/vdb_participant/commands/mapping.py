"""What `vdb-participant metrics fit-map` does: from a raw extractor and public clips to a folder that specs can name.

Promises one answer, as text or JSON, that holds all that a spec needs. Loads a machine learning framework; what is refused
without one is in `mapping_wishes.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from vdb_participant.commands.mapping_wishes import Granted, Plan
from vdb_participant.measure.extractors.fitting import PublicFeatures, features_of, load_raw, write_mapped
from vdb_shared.metrics.dimension import DIMENSIONS, planned_noise, recommended_dimension
from vdb_shared.privacy.calibration import noise_multiplier

DELTA: Final = Decimal("0.000001")
"""Of the planned session: the presets' own."""


def fit_map(asked: Granted, tell: Callable[[int, int], None] = lambda _, __: None) -> dict[str, Any]:
    """Fit the map, write the folder, and return what a spec's author must know, as JSON without reals.

    Args:
        asked: what is wanted.
        tell: told of clips done and clips in all.

    Raises:
        UsageError, DatasetError, ModelError: what cannot be used, in one line.
    """
    wish, files, noise = asked.wish, asked.clips, tau_of(asked.plan)
    extractor, weights = load_raw(asked.raw, wish.device)
    features = features_of(extractor, files, wish.shape, lambda done: tell(done, len(files)))
    recommended = None if noise is None else _recommended(features, noise)
    chosen = asked.dimension or recommended or DIMENSIONS[0]
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


def tau_of(plan: Plan) -> float | None:
    """Return the noise that a plan comes to, as `recommended_dimension` takes it, or None where nothing is planned."""
    if plan.records is None or plan.epsilon is None:
        return plan.noise
    return planned_noise(plan.records, float(noise_multiplier(plan.epsilon, DELTA)), plan.private_models)


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
            f"every institution puts this folder into its folder of models, under the name {name}; lines for the spec:",
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


def _recommended(features: PublicFeatures, noise: float) -> int:
    """Return the recommendation among the dimensions that there are clips for."""
    if features.largest_dimension < DIMENSIONS[0]:
        features.tensors(DIMENSIONS[0])  # says what is missing
    return recommended_dimension(features.eigenvalues[: features.largest_dimension].tolist(), noise)
