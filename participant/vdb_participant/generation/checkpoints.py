"""Checkpoints inside a clip: what a denoising loop remembers, kept every few steps, so that a dead machine costs no more.

A pipeline cannot be entered at step k, so it is run again from its beginning and fooled: until the kept step its
denoisers return zeros without computing, and its scheduler returns what it returned then, with the state it had then. From
there on all is as it was: scheduler, generators, global random state.

Promises a clip with the very bytes of an undisturbed one, on the same device with the same libraries, and that a
checkpoint of anything else is ignored. Pipelines for which that cannot be promised get no checkpoint, which is logged once:
several denoising loops in a clip, two steps for one prediction, caches between steps, state of unknown types. Leaves
durability to `store.py`.

Source: design/generation.md, "Determinism and resume".
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final

import structlog
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from vdb_participant.device import device_name, random_state, set_random_state
from vdb_participant.generation.codec import CodecError, Json, Packer, Unpacker, output_classes, shape_only
from vdb_participant.generation.instruments import Method, denoisers_of, overridden, reason_against, replaced
from vdb_participant.generation.stopwatch import Stopwatch
from vdb_participant.generation.store import ClipKey, ClipStore
from vdb_shared.canonical import canonical_json, parse_canonical_json
from vdb_shared.errors import FormatError

FORMAT: Final = "vdb-steps/1"

_LOG = structlog.get_logger("vdb_participant")

_CONFIGURATION: Final = "_internal_dict"
"""A scheduler's attribute with its configuration, which does not change while a clip is made."""


@dataclass(frozen=True, slots=True)
class Interval:
    """How often a checkpoint is kept: when so many steps and so many seconds have passed since the last.

    The seconds keep a disk from slowing clips down whose steps take no time; a crash costs at most these steps or,
    where they pass faster, these seconds.
    """

    steps: int = 5
    seconds: float = 20.0


class ReplayError(RuntimeError):
    """A pipeline did not do what it did when its checkpoint was kept."""


@dataclass(slots=True)
class _Loop:
    """What a pipeline has done of its denoising loop.

    Attributes:
        finished: steps of all schedulers.
        order: number of the scheduler of each finished step, in the order in which they first stepped.
        calls: for each finished step and the one under way, denoiser and shape of each call: numbers into the next two.
        names, shapes: denoisers, and JSON of what they return with zeros for values.
    """

    finished: int = 0
    order: list[int] = field(default_factory=list)
    calls: list[list[list[int]]] = field(default_factory=lambda: [[]])
    names: list[str] = field(default_factory=list)
    shapes: list[Json] = field(default_factory=list)

    def numbers(self, name: str, shape: Json) -> list[int]:
        """Return the numbers of a denoiser and of the shape of what it makes."""
        return [_number(self.names, name), _number(self.shapes, shape)]

    def stepped(self, scheduler: int) -> None:
        """Note a step of a scheduler."""
        self.finished += 1
        self.order.append(scheduler)
        self.calls.append([])


def _number(items: list[Any], item: Any) -> int:
    if item not in items:
        items.append(item)
    return items.index(item)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A checkpoint that was read back."""

    head: dict[str, Any]
    tensors: list[torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Left:
    """What a scheduler's last step left: its state, or itself as long as it is in that state, and what it returned."""

    scheduler: Any
    made: Any

    @property
    def state(self) -> dict[str, Any]:
        return self.scheduler if isinstance(self.scheduler, dict) else _state(self.scheduler)


class Checkpoints:
    """Keeps and takes up checkpoints of clips in a store."""

    def __init__(self, store: ClipStore, interval: Interval | None = None) -> None:
        self._store = store
        self._interval = interval or Interval()
        self._said: set[str] = set()
        self._libraries = {name: version(name) for name in ("diffusers", "torch", "transformers")}

    @contextmanager
    def watch(
        self, pipeline: Any, generator: Any, key: ClipKey, clock: Stopwatch, switches: tuple[str, ...] = ()
    ) -> Iterator[_Watched]:
        """Resume a pipeline's one call inside the block where its checkpoint is, and keep new ones.

        Args:
            pipeline: a diffusers pipeline.
            generator: its torch.Generator, or a list of them.
            key: of the clip; its claim is held.
            clock: of the clip.
            switches: of speed and memory that are on; part of a checkpoint's identity.
        """
        generators = generator if isinstance(generator, list) else [generator]
        identity = {"libraries": self._libraries} | _identity(pipeline, clock.device, switches)
        watched = _Watched(self, pipeline, generators, key, clock, identity)
        with ExitStack() as stack:
            stack.enter_context(overridden(pipeline.scheduler, step=watched.stepping, set_timesteps=watched.beginning))
            for name, module in denoisers_of(pipeline).items():
                stack.enter_context(replaced(module, "forward", watched.denoising(name)))
            try:
                yield watched
            finally:
                if watched.replaying:  # it failed before it came to where the checkpoint was kept
                    self._store.drop_steps(key)

    def read(self, key: ClipKey, identity: Json) -> _Kept | None:
        """Return a clip's checkpoint, or None where there is none of this identity."""
        fields = self._store.steps(key)
        if fields is None:
            return None
        try:
            head = parse_canonical_json(fields[0])
            if head["identity"] != identity:
                return None
            found = load(fields[1])
            return _Kept(head, [found[str(number)] for number in range(len(found))])
        except (FormatError, SafetensorError, KeyError, TypeError) as error:
            _LOG.warning("a checkpoint cannot be read and is ignored", clip=key.name, reason=str(error))
            return None

    def write(self, key: ClipKey, head: Json, tensors: list[torch.Tensor]) -> None:
        """Keep a clip's checkpoint."""
        self._store.keep_steps(key, canonical_json(head), save({str(at): item for at, item in enumerate(tensors)}))

    def due(self, steps: int, seconds: float) -> bool:
        """Return whether a checkpoint is to be kept after so much work since the last."""
        return steps >= self._interval.steps and seconds >= self._interval.seconds

    def say(self, pipeline: str, reason: str) -> None:
        """Log once why a pipeline has no checkpoints."""
        text = f"{pipeline}: {reason}"
        if text not in self._said:
            self._said.add(text)
            _LOG.warning("no checkpoints inside clips", pipeline=pipeline, reason=reason)


class _Watched:
    """One call of a pipeline under watch.

    Attributes:
        replaying: whether steps of the checkpoint are being passed.
        resumed: number of steps that were not computed again.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        pipeline: Any,
        generators: list[torch.Generator],
        key: ClipKey,
        clock: Stopwatch,
        identity: Json,
    ) -> None:
        self._checkpoints = checkpoints
        self._pipeline = pipeline
        self._generators = generators
        self._key = key
        self._clock = clock
        self._identity = identity
        self._outputs: dict[str, type[Any]] = {}
        self._schedulers: list[Any] = []
        self._left: list[_Left | None] = []  # of each scheduler
        self._pending: tuple[Json, list[torch.Tensor]] | None = None
        self._loop = _Loop()
        self._known: dict[tuple[Any, ...], list[int]] = {}
        self._passed = 0
        self._skipped = 0
        self._last = (0, time.perf_counter())
        self._refused = reason_against(pipeline)
        if self._refused:
            checkpoints.say(type(pipeline).__name__, self._refused)
        self._kept = None if self._refused else checkpoints.read(key, identity)
        self.resumed = 0
        if self._kept is not None:
            self._loop = _Loop(**self._kept.head["loop"])
            self.resumed = self._loop.finished
            self._outputs = output_classes([pipeline.scheduler, *denoisers_of(pipeline).values()])

    @property
    def replaying(self) -> bool:
        return self._passed < self.resumed

    def denoising(self, name: str) -> Method:
        """Return what makes a denoiser's `forward` one that replays."""

        def make(forward: Method) -> Method:
            def denoise(*args: Any, **kwargs: Any) -> Any:
                if self.replaying:
                    return self._skip(name)
                self._keep_pending()
                made = forward(*args, **kwargs)
                if not self._refused:
                    self._called(name, made)
                return made

            return denoise

        return make

    def _called(self, name: str, made: Any) -> None:
        """Note a call of a denoiser; what it makes nearly always has the shape it had before."""
        known: tuple[Any, ...] | None = None
        if type(made) is tuple and len(made) == 1 and isinstance(made[0], torch.Tensor):
            known = (name, made[0].shape, made[0].stride(), made[0].dtype)
        numbers = self._known.get(known) if known else None
        if numbers is None:
            try:
                numbers = self._loop.numbers(name, shape_only(made))
            except CodecError as error:
                return self._refuse(str(error))
            if known:
                self._known[known] = numbers
        self._loop.calls[-1].append(numbers)
        return None

    def stepping(self, step: Method) -> Method:
        """Return what makes a scheduler's `step` one that replays and keeps."""

        def take(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            number = self._scheduler(scheduler)
            if self.replaying:
                return self._pass(number, scheduler)
            made = step(scheduler, *args, **kwargs)
            if self._loop.order[-1:] == [number] and not self._loop.calls[-1]:
                self._refuse("it steps its scheduler twice for one prediction")
            self._loop.stepped(number)
            if not self._refused:
                self._note(number, scheduler, made)
                self._pending = self._checkpoint_if_due()
            return made

        return take

    def beginning(self, set_timesteps: Method) -> Method:
        """Return what makes a scheduler's `set_timesteps` notice a second loop."""

        def begin(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            if self.replaying and self._passed:
                raise ReplayError("a second denoising loop began before the checkpoint was reached")
            if self._loop.finished and not self.replaying:
                self._refuse("it makes a clip in several denoising loops")
            return set_timesteps(scheduler, *args, **kwargs)

        return begin

    def _scheduler(self, scheduler: Any) -> int:
        for number, known in enumerate(self._schedulers):
            if known is scheduler:
                return number
        if len(self._schedulers) < self._loop.finished and not self.replaying:
            self._refuse("another scheduler begins in the middle of its denoising loop")
        self._schedulers.append(scheduler)
        self._left.append(None)
        return len(self._schedulers) - 1

    def _note(self, number: int, scheduler: Any, made: Any) -> None:
        """Remember what a step leaves: a copy, where the pipeline may alter it before another scheduler's step is kept."""
        several = len(self._schedulers) > 1 or self._loop.finished == 1
        self._left[number] = _Left(*copy.deepcopy((_state(scheduler), made))) if several else _Left(scheduler, made)

    def _skip(self, name: str) -> Any:
        calls = self._loop.calls[self._passed]
        if self._skipped >= len(calls) or self._loop.names[calls[self._skipped][0]] != name:
            raise ReplayError(f"{name} is called where the checkpoint has no such call")
        shape = self._loop.shapes[calls[self._skipped][1]]
        self._skipped += 1
        return Unpacker([], self._outputs).unpack(shape)

    def _pass(self, number: int, scheduler: Any) -> Any:
        kept = self._kept
        if kept is None:
            raise ReplayError("there is no checkpoint to replay")
        if self._skipped != len(self._loop.calls[self._passed]) or self._loop.order[self._passed] != number:
            raise ReplayError(f"step {self._passed} is not the one that the checkpoint has")
        unpacker = Unpacker(kept.tensors, self._outputs)
        state = unpacker.unpack(kept.head["states"][number])
        configuration = vars(scheduler)[_CONFIGURATION]
        vars(scheduler).clear()
        vars(scheduler).update(state | {_CONFIGURATION: configuration})
        made = unpacker.unpack(kept.head["returns"][number])
        self._left[number] = _Left(state, made)
        self._passed, self._skipped = self._passed + 1, 0
        if not self.replaying:
            self._take_up(unpacker, kept.head)
        return made

    def _take_up(self, unpacker: Unpacker, head: dict[str, Any]) -> None:
        """Restore what is no scheduler's; from here on all is computed."""
        for generator, state in zip(self._generators, unpacker.unpack(head["generators"]), strict=True):
            generator.set_state(state)
        set_random_state(self._clock.device, unpacker.unpack(head["random"]))
        self._clock.set_back(unpacker.unpack(head["seconds"]), unpacker.unpack(head["stages"]))
        self._last = (self._loop.finished, time.perf_counter())

    def _checkpoint_if_due(self) -> tuple[Json, list[torch.Tensor]] | None:
        """Return the state after a step; copies, since the pipeline goes on to alter what it holds."""
        steps, moment = self._last
        done = (self._loop.finished - steps) // len(self._schedulers)
        if not self._checkpoints.due(done, time.perf_counter() - moment):
            return None
        packer = Packer()
        try:
            return self._head(packer), packer.tensors
        except CodecError as error:
            self._refuse(str(error))
            return None

    def _keep_pending(self) -> None:
        """Keep the state after the last step, now that a denoiser begins the next.

        Where several schedulers step one after the other (LTX-2: pictures, then sound), a replay that ended between them would
        give the later ones the zeros of a denoiser that was skipped.
        """
        if self._pending is not None and not self._refused:
            self._checkpoints.write(self._key, *self._pending)
            self._last = (self._loop.finished, time.perf_counter())
        self._pending = None

    def _head(self, packer: Packer) -> Json:
        loop = self._loop
        left = [item for item in self._left if item is not None]
        return {
            "format": FORMAT,
            "identity": self._identity,
            "loop": {name: getattr(loop, name) for name in ("finished", "order", "calls", "names", "shapes")},
            "states": [packer.pack(item.state) for item in left],
            "returns": [packer.pack(item.made) for item in left],
            "generators": packer.pack([generator.get_state() for generator in self._generators]),
            "random": packer.pack(random_state(self._clock.device)),
            "seconds": packer.pack(self._clock.seconds()),
            "stages": packer.pack(self._clock.stages()),
        }

    def _refuse(self, reason: str) -> None:
        if not self._refused:
            self._refused = reason
            self._checkpoints.say(type(self._pipeline).__name__, reason)


def _identity(pipeline: Any, device: str, switches: tuple[str, ...]) -> Json:
    """Return all besides the clip's key on which the state of a loop depends."""
    return {
        "format": FORMAT,
        "device": [device, device_name(device), str(torch.get_num_threads())],
        "pipeline": type(pipeline).__name__,
        "scheduler": type(pipeline.scheduler).__name__,
        "denoisers": {name: str(next(part.parameters()).dtype) for name, part in denoisers_of(pipeline).items()},
        "switches": list(switches),
    }


def _state(scheduler: Any) -> dict[str, Any]:
    """Return what a scheduler remembers at this moment; the values themselves are not copied."""
    return {name: value for name, value in vars(scheduler).items() if name != _CONFIGURATION}
