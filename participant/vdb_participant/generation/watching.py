"""The engine's eye on a pipeline: stages timed, steps told, checkpoints kept and taken up, memory and energy measured.

A generator opens it around the call of its pipeline:

    with watch(pipeline, generator): pipeline(…)

Promises that a clip's bytes are the same with it and without, and that of a warm-up nothing is noted. Leaves what becomes of a
clip to `engine.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from vdb_participant.generation.checkpoints import Checkpoints
from vdb_participant.generation.energy import Energy, Meter
from vdb_participant.generation.instruments import DENOISERS, Method, modules_of, overridden, parts_of, replaced
from vdb_participant.generation.record import Taken, peak, reset_peak
from vdb_participant.generation.stopwatch import Stopwatch
from vdb_participant.generation.store import ClipKey

Stepped = Callable[[int, int], None]
"""Told of each denoising step: steps done, steps in all."""

_CALLED: Final = {
    "text encoding": ("text_encoder",),
    "conditioning": ("image_encoder",),
    "denoising": DENOISERS,
    "decoding": ("vocoder",),
}
"""Stages by components whose calls they are."""


@dataclass(slots=True)
class _Clip:
    """The clip under way."""

    key: ClipKey
    clock: Stopwatch
    switches: tuple[str, ...]
    stepped: Stepped
    resumed: int = 0


class Watch:
    """Watches one clip after another."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._meters: dict[str, Meter] = {}
        self._clip: _Clip | None = None

    @contextmanager
    def clip(
        self, key: ClipKey, device: str, switches: tuple[str, ...], stepped: Stepped
    ) -> Iterator[Callable[[], Taken]]:
        """Watch the making of a clip inside the block.

        Args:
            key: of the clip; its claim is held.
            device: where it is made.
            switches: of the pipeline that are on.
            stepped: told of each step.

        Yields:
            What tells, when the clip is made, what it took.
        """
        meter = self._meters.get(device)
        if meter is None:
            meter = self._meters[device] = Meter.of(device)
        kind = reset_peak(device)
        with ExitStack() as stack:
            energy = stack.enter_context(meter.measuring())
            self._clip = clip = _Clip(key, Stopwatch(device), switches, stepped)

            def taken() -> Taken:
                seconds = clip.clock.seconds()
                stack.close()
                return Taken(
                    seconds, clip.clock.stages(), peak(device), kind, Energy(energy.joules, energy.source), clip.resumed
                )

            try:
                yield taken
            finally:
                self._clip = None

    @contextmanager
    def __call__(self, pipeline: Any, generator: Any) -> Iterator[None]:
        """Watch one call of a diffusers pipeline.

        Args:
            pipeline: the pipeline.
            generator: its torch.Generator, or a list of them.
        """
        clip = self._clip
        if clip is None:
            yield
            return
        with ExitStack() as stack:
            _time(pipeline, clip.clock, stack)
            watched = stack.enter_context(
                self._checkpoints.watch(pipeline, generator, clip.key, clip.clock, clip.switches)
            )
            clip.resumed = watched.resumed
            stack.enter_context(overridden(pipeline.scheduler, step=_told(clip.stepped)))
            yield


def _time(pipeline: Any, clock: Stopwatch, stack: ExitStack) -> None:
    """Count the calls of a pipeline's components under their stages."""
    for stage, beginnings in _CALLED.items():
        for module in modules_of(pipeline, beginnings).values():
            stack.enter_context(replaced(module, "forward", partial(clock.counted, stage)))
    for name, part in parts_of(pipeline).items():
        if name == "vae" or name.endswith("_vae"):
            for stage, method in (("conditioning", "encode"), ("decoding", "decode")):
                if hasattr(part, method):
                    stack.enter_context(replaced(part, method, partial(clock.counted, stage)))


def _told(stepped: Stepped) -> Callable[[Method], Method]:
    """Tell of the steps of the scheduler that steps first; some pipelines step copies only, some several, some begin again."""
    first: Any = None
    done = 0

    def make(step: Method) -> Method:
        def take(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal first, done
            made = step(scheduler, *args, **kwargs)
            first = first or scheduler
            if scheduler is first:
                steps = len(scheduler.timesteps)
                done = done % steps + 1
                stepped(done, steps)
            return made

        return take

    return make
