"""Which generator makes the clips of a model: a diffusers pipeline, or something that runs elsewhere."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from vdb_participant.generation.external import ExternalGenerator
from vdb_participant.generation.pipelines import DiffusersGenerator
from vdb_participant.generation.settings import GenerationSettings, Generator
from vdb_participant.generation.watching import Watch
from vdb_participant.models import Weights
from vdb_shared.errors import ModelError
from vdb_shared.registry.classes import EXTERNAL
from vdb_shared.registry.rows import Row
from vdb_shared.spec import Model


def load_generator(  # noqa: PLR0913, PLR0917 - what a generator of either kind needs
    weights: Weights,
    model: Model,
    settings: GenerationSettings,
    device: str,
    row: Row | None,
    watch: Watch | None = None,
    egress: Path | None = None,
    withheld: Collection[str] = (),
) -> Generator:
    """Return the generator of a verified model.

    Args:
        weights: verified.
        model: of the spec.
        settings: of its clips.
        device: where to compute.
        row: of the site's registry.
        watch: opened around every call of a pipeline; what runs elsewhere cannot be watched.
        egress: journal of what leaves for an endpoint.
        withheld: variables that a command does not get; see `environment.for_child`.

    Raises:
        ModelError: it cannot be loaded, or nothing says how to run it.
    """
    if model.pipeline != EXTERNAL:
        return DiffusersGenerator.load(weights, model, settings, device, row=row, watch=watch)
    if row is None or row.external is None:
        raise ModelError(f"{model.id}: is external, but no registry file here says how to run it; see `models add`")
    return ExternalGenerator(row, settings, egress, withheld)
