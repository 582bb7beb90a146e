"""A published session and the store of one of its institutions, with clips that a generator without a model painted."""

from __future__ import annotations

from functools import cache

import numpy as np

from testkit.bundles import SmallSession, small_session
from testkit.small_specs import SPEC, small_spec
from testkit.statements import INSTITUTIONS
from testkit.tiny import PaintingGenerator
from vdb_participant.data.video import Frames
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.settings import Clip
from vdb_participant.generation.store import ClipStore
from vdb_shared.spec import Spec, parse_spec_json
from vdb_shared.tasks import ClipTask, public_tasks, shard

US = "lab-kyoto"
HERE = INSTITUTIONS.index(US)
SECRET = "ventricle of patient 4711"
SECRET_COLOUR = (77, 1, 201)
QUICK = "\n".join(line for line in SPEC[SPEC.index("metrics = [") + 10 :].splitlines() if "frechet" not in line)
"""Without the Fréchet distance, whose interval takes most of an audit's time."""


@cache
def session_of(samples: int = 3, **changes: str) -> SmallSession:
    """Return a published session of five institutions in which not every model's clips fall to us."""
    generation = f"{{ steps = 2, guidance = 2.0, samples = {samples}, private_share = 1 }}"
    return small_session(4, small_spec(**{"generation": generation, "metrics": QUICK} | changes))


def spec_of(session: SmallSession) -> Spec:
    return parse_spec_json(session.record.spec)


def ours(session: SmallSession) -> tuple[ClipTask, ...]:
    return shard(public_tasks(spec_of(session)), HERE, len(INSTITUTIONS))


def make(store: ClipStore, spec: Spec, tasks: tuple[ClipTask, ...], failing: dict[str, int] | None = None) -> None:
    """Make clips as a session does."""
    engine = Engine(spec, store)
    for model in spec.models:
        mine = [task for task in tasks if task.model == model.id]
        generator = PaintingGenerator((9, 32, 32, 3), failing)
        engine.run(mine, lambda generator=generator: generator, lambda _done, _total: None)  # type: ignore[misc] # a default


def plant(store: ClipStore, spec: Spec, task: ClipTask) -> None:
    """Put a clip of the secret colour into a store."""
    frames: Frames = np.broadcast_to(np.array(SECRET_COLOUR, dtype=np.uint8), (9, 32, 32, 3)).copy()
    store.put(Engine(spec, store).key(task), Clip(frames), seconds=1.0, device="CPU")
