"""`models retry`: a model that was stopped, or whose clips failed, is given another chance.

Promises that finished clips stay. Leaves making clips to the next run.
"""

from __future__ import annotations

from pathlib import Path

from vdb_participant.generation.breaker import try_again
from vdb_participant.generation.store import ClipStore
from vdb_participant.models import weights_of
from vdb_participant.site.config import StateFolder
from vdb_shared.registry.rows import load_registry


def retry(state: StateFolder, name: str, folder: Path) -> int:
    """Forget the failures of a model and return how many there were.

    Args:
        state: of the site; its clips.
        name: id of the model.
        folder: with one <id>/ folder of weights for each model.

    Raises:
        ModelError: no usable weights under this id.
        StoreError: the clips cannot be read.
    """
    registry = load_registry(state.registry)
    row = registry.get(name)
    external = row is not None and row.external is not None
    digest = row.external_digest() if row is not None and external else weights_of(name, folder, registry).manifest
    return try_again(ClipStore(state.clips), digest)
