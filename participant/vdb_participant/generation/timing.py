"""A short timing run: one clip of few steps at its full size, made as the engine makes clips and thrown away.

Promises that nothing of it is kept, that it ends with the step in which its limit is passed, even where a whole clip would
take hours, and that the first clip, which pays for what only a first one pays, is not the one that is timed where both fit
the limit. A single step, and loading, are not cut short. Words and pictures are made up, nobody's data; they change no
arithmetic. Leaves keeping figures to `timings.py`.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from vdb_participant.data.video import Frames
from vdb_participant.device import device_name, exact_kernels, release_memory
from vdb_participant.generation.checkpoints import Checkpoints, Interval
from vdb_participant.generation.record import Taken
from vdb_participant.generation.settings import Clip, GenerationSettings, Generator
from vdb_participant.generation.stopwatch import Stopwatch
from vdb_participant.generation.store import ClipKey, ClipStore
from vdb_participant.generation.timings import Timing
from vdb_participant.generation.watching import Watch

FEW_STEPS: Final = 2
"""Some schedulers cannot do fewer."""

ALL_STEPS: Final = 8
"""A clip of so few steps is timed whole: nothing of it is extrapolated."""

LIMIT_SECONDS: Final = 120.0
"""After the step in which it is passed the run stops; what a step takes is known by then."""

_PROMPT: Final = "a timing run"

Load = Callable[[GenerationSettings, Watch], Generator]
"""Loads the model that is timed, for clips of these settings, under this watch."""


class _LimitError(Exception):
    """The limit was passed; no fault that a pipeline may take for its own."""


class _Sizes(ClipStore):
    """A store that keeps no unfinished clips, and says how many bytes one would take."""

    checkpoint_bytes = 0

    def keep_steps(self, key: ClipKey, head: bytes, tensors: bytes) -> None:
        """Note the size of what would be kept."""
        del key
        self.checkpoint_bytes = max(self.checkpoint_bytes, len(head) + len(tensors))


@dataclass(frozen=True, slots=True)
class _Made:
    """A clip that was timed.

    Attributes:
        taken: what it took.
        steps: that were made.
        clip: the clip; None where the run was stopped.
    """

    taken: Taken
    steps: int
    clip: Clip | None = field(repr=False)


def time_model(settings: GenerationSettings, load: Load, limit: float = LIMIT_SECONDS) -> Timing:
    """Return what a clip of a model takes on this machine.

    Args:
        settings: of its clips.
        load: loads it.
        limit: seconds for the first clip.

    Raises:
        GenerationError: a clip could not be made.
        ModelError, UsageError: the model cannot be loaded, or not as the profile says.
    """
    few = settings if settings.steps <= ALL_STEPS else replace(settings, steps=FEW_STEPS)
    with tempfile.TemporaryDirectory(prefix="vdb-timing-") as folder, exact_kernels():
        store = _Sizes(Path(folder))
        watch = Watch(Checkpoints(store, Interval(steps=1, seconds=0.0)))
        generator = load(few, watch)
        try:
            made = _make(generator, few, watch, seed=0, limit=limit)
            if made.clip is not None and made.taken.seconds < limit:
                made = _make(generator, few, watch, seed=1, limit=None)
            size = 0 if made.clip is None else _kept_size(store, made.clip, generator.device)
            timed = made.steps or few.steps
            return _timing(
                made,
                (timed, timed if few == settings and made.clip is not None else settings.steps),
                generator.device,
                (size, store.checkpoint_bytes),
            )
        finally:
            device = generator.device
            del generator
            gc.collect()
            release_memory(device)


def _make(generator: Generator, settings: GenerationSettings, watch: Watch, *, seed: int, limit: float | None) -> _Made:
    """Make one clip, or as much of it as the limit allows."""
    clock, steps, clip = Stopwatch(generator.device), 0, None

    def stepped(step: int, _of: int) -> None:
        nonlocal steps
        steps = max(steps, step)
        if limit is not None and clock.seconds() > limit:
            raise _LimitError

    switches: tuple[str, ...] = getattr(generator, "switches", ())
    with watch.clip(_key(settings, seed), generator.device, switches, stepped) as taken:
        with suppress(_LimitError):
            clip = generator.generate(_PROMPT, seed, _black(settings))
        return _Made(taken(), steps, clip)


def _black(settings: GenerationSettings) -> Frames | None:
    """Return what a clip starts from, or None where words are enough."""
    if not settings.start:
        return None
    pictures = settings.frames if settings.start == "video" else 1
    return np.zeros((pictures, *settings.shape[1:]), dtype=np.uint8)


def _key(settings: GenerationSettings, seed: int) -> ClipKey:
    return ClipKey("", _PROMPT, seed, tuple(sorted(settings.to_json().items())))


def _kept_size(store: ClipStore, clip: Clip, device: str) -> int:
    """Return the bytes of a clip in a store."""
    store.put(ClipKey("", _PROMPT, 0, ()), clip, seconds=0.0, device=device_name(device))
    return sum(path.stat().st_size for path in store.directory.glob("??/*.clip"))


def _timing(made: _Made, steps: tuple[int, int], device: str, sizes: tuple[int, int]) -> Timing:
    """Return the figures of a model.

    All seconds that are not known to be something else's count as the steps', so that what is extrapolated is not too little.

    Args:
        made: the clip.
        steps: that were timed, and of a whole clip.
        device: where it was made.
        sizes: bytes of the clip, and of an unfinished one.
    """
    other = sum(seconds for stage, seconds in made.taken.stages.items() if stage != "denoising")
    timed, whole = steps
    inside = max(made.taken.seconds - other, 0.0)
    return Timing(
        device=device_name(device),
        place=device,
        timed=timed,
        steps=whole,
        step_seconds=inside / timed,
        other_seconds=made.taken.seconds - inside,
        whole=made.clip is not None,
        clip_bytes=sizes[0],
        checkpoint_bytes=sizes[1],
        day=datetime.now(UTC).strftime("%Y-%m-%d"),
    )
