"""What can be said of a spec's model ids without a network: the packaged registry knows some, and institutions add their own.

Promises advice alone: an id that is unknown here may be that of a model which every institution has.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from vdb_shared.registry.rows import Row, load_registry
from vdb_shared.spec import Spec

_ALIKE: Final = 0.75
"""How alike an id and a known name must be for one to be taken for the other; from 0 to 1, as difflib counts."""


def model_advice(spec: Spec) -> Iterator[str]:
    """Yield a sentence for each model whose id is not known here, or is known with another pipeline class."""
    registry = load_registry()
    for number, model in enumerate(spec.models):
        row = registry.get(model.id)
        if row is None:
            meant = nearest_model(model.id) or "see `vdb-participant models list`"
            yield (
                f"models.{number}.id: {model.id} is no model of the registry that comes with this program; {meant}. If it is a "
                "model of your own, every institution needs its weights in a folder of this name"
            )
        elif row.pipeline != model.pipeline:
            yield (
                f"models.{number}.pipeline: the registry has {model.id} as {row.pipeline}, the spec as {model.pipeline}; one "
                "is wrong, unless every institution has a row of its own for it"
            )


def nearest_model(name: str) -> str:
    """Return in words which known model a name was probably meant for, by its id or its repository, or ""."""
    known: dict[str, Row] = {}
    for row in load_registry().rows.values():
        repository = (row.repository or "").lower()
        for spelling in (row.id, repository, repository.rpartition("/")[2]):
            if spelling:
                known.setdefault(spelling, row)
    wanted = name.lower()
    for spelling in (wanted, wanted.replace("/", "-"), wanted.rpartition("/")[2]):
        if found := get_close_matches(spelling, known, n=1, cutoff=_ALIKE):
            row = known[found[0]]
            return f"did you mean {row.id}{f' ({row.repository})' if row.repository else ''}?"
    return ""
