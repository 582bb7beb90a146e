"""Making the clips of one model: what is finished is kept, what fails is tried again once, then counted.

Promises that a finished clip is never generated again, by however many agents; that at most a few denoising steps are lost when
the process dies; that memory which runs out is answered by switches of the same class, recorded with the clip; and that
a model which fails again and again is stopped and costs the others nothing. A clip is always made alone: in a batch its bytes
would depend on its neighbours (docs/decisions.md). Leaves loading to `generators.py` and keeping to `store.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import structlog

from vdb_participant.data.video import Frames
from vdb_participant.device import device_name, release_memory
from vdb_participant.generation.breaker import Breaker
from vdb_participant.generation.checkpoints import Checkpoints, Interval
from vdb_participant.generation.profiles import SWITCHES, is_out_of_memory, next_step_down, profile
from vdb_participant.generation.progress import Consumer, Tracker, nobody
from vdb_participant.generation.record import Circumstances, record_of
from vdb_participant.generation.settings import GenerationError, GenerationSettings, Generator, settings_of
from vdb_participant.generation.starts import Starts
from vdb_participant.generation.store import ClipKey, ClipStore, clip_key
from vdb_participant.generation.watching import Watch
from vdb_shared.spec import Spec
from vdb_shared.tasks import ClipTask

ATTEMPTS: Final = 2
"""A clip that fails twice is given up: a passing fault of a machine is over by then, any other fault stays."""

_LOG = structlog.get_logger("vdb_participant")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task: a clip in the store, or the reason why there is none."""

    task: ClipTask
    key: ClipKey
    failure: str | None


@runtime_checkable
class Switchable(Protocol):
    """A generator whose diffusers pipeline can be given switches.

    Attributes:
        pipeline: the pipeline.
        switches: names of those that are on.
    """

    pipeline: Any
    switches: tuple[str, ...]


@dataclass(slots=True)
class _Running:
    """A model that is loaded and warm."""

    generator: Generator
    settings: GenerationSettings
    stepped_down: tuple[str, ...] = ()

    @property
    def profile(self) -> str:
        return self.settings.profile

    @property
    def switches(self) -> tuple[str, ...]:
        own: tuple[str, ...] = getattr(self.generator, "switches", ())
        return tuple(sorted({*own, *self.stepped_down}))

    def step_down(self) -> bool:
        """Turn on the next switch of the profile's ladder; return whether there was one."""
        generator = self.generator
        if not isinstance(generator, Switchable):
            return False
        found = next_step_down(self.profile, self.switches, generator.pipeline, generator.device)
        if found is None:
            return False
        release_memory(generator.device)
        SWITCHES[found].turn_on(generator.pipeline, generator.device)
        self.stepped_down = (*self.stepped_down, found)
        _LOG.warning("memory ran out; the clip is made again with less", switched_on=found, profile=self.profile)
        return True


class Engine:
    """Makes clips of a spec's tasks into a store.

    Attributes:
        settings: of every clip of a model, by its id.
        watch: to be opened by generators around the call of their pipeline.
    """

    def __init__(  # noqa: PLR0913 - the last three are named
        self,
        spec: Spec,
        store: ClipStore,
        settings: Mapping[str, GenerationSettings] | None = None,
        interval: Interval | None = None,
        *,
        tell: Consumer = nobody,
        begun: Callable[[ClipKey], None] = nobody,
        starts: Starts | None = None,
    ) -> None:
        """Bind a spec to a store.

        Args:
            spec: the spec.
            store: of clips.
            settings: of each model's clips, as `settings_of` returns them for the site's registry and device; of the packaged
                registry and the spec's own profile by default.
            interval: of checkpoints.
            tell: told of every step and clip; must not wait.
            begun: told of every clip that is begun.
            starts: files that clips start from; none by default.

        Raises:
            SpecError: clips of a shape that a model's class cannot make.
        """
        self.settings = settings_of(spec) if settings is None else settings
        self.watch = Watch(Checkpoints(store, interval))
        self._spec_digest = spec.digest
        self._manifests = {model.id: model.manifest for model in spec.models}
        self._store = store
        self._tell = tell
        self._begun = begun
        self._starts = starts or Starts()
        self._said: set[tuple[str, str]] = set()

    def key(self, task: ClipTask) -> ClipKey:
        """Return the store's key of a task."""
        return clip_key(self._spec_digest, self._manifests[task.model], self.settings[task.model], task)

    def run(
        self,
        tasks: Sequence[ClipTask],
        load: Callable[[], Generator],
        finished: Callable[[int, int], None],
        settled: Callable[[ClipKey, str | None], None] = lambda _key, _failure: None,
        private: Collection[ClipTask] = (),
    ) -> tuple[Outcome, ...]:
        """Make what is missing of one model's clips and return what became of each task, in the order given.

        Args:
            tasks: of one model.
            load: gives the model's generator; called only when a clip is missing.
            finished: told how many different clips are done and how many there are, after each.
            settled: told what became of each different clip, as soon as it is known: None, or why it was given up.
            private: those of private prompts alone, or that count at another site. They neither stop a model nor let it go on:
                one private record must not decide about others, nor about public clips (protos/README.md §8.1).

        Raises:
            ModelError: the model cannot be loaded.
            DatasetError: what a clip starts from is gone or not what it was.
            StoreError: a clip cannot be kept.
        """
        keys = [self.key(task) for task in tasks]
        different = dict.fromkeys(keys)
        failures: dict[ClipKey, str | None] = {}
        missing: list[ClipKey] = []
        for key in different:
            found, reason = self._found(key)
            if found:
                failures[key] = reason
                settled(key, reason)
            else:
                missing.append(key)
        finished(len(failures), len(different))
        if missing:
            tracker = Tracker(tasks[0].model, len(different), self._tell)
            tracker.begin(len(failures))
            settings = self.settings[tasks[0].model]
            quiet = {self.key(task) for task in private}
            for key, reason in self._complete(missing, quiet, lambda: _warm(load(), settings), tracker):
                failures[key] = reason
                settled(key, reason)
                finished(len(failures), len(different))
        return tuple(Outcome(task, key, failures[key]) for task, key in zip(tasks, keys, strict=True))

    def _found(self, key: ClipKey) -> tuple[bool, str | None]:
        """Return whether a clip is settled, and why it was given up if it was."""
        if self._store.has(key):
            return True, None
        reason = self._store.failure(key)
        return reason is not None, reason

    def _complete(
        self, missing: Sequence[ClipKey], quiet: Collection[ClipKey], load: Callable[[], _Running], tracker: Tracker
    ) -> Iterator[tuple[ClipKey, str | None]]:
        """Yield what becomes of each clip; those that other agents are making come last, and `quiet` ones move no breaker."""
        running: _Running | None = None
        pending = dict.fromkeys(missing)
        wait = False
        while pending:
            before = len(pending)
            for key in list(pending):
                with self._store.claim(key, wait=wait) as mine:
                    wait = False
                    if not mine:
                        continue
                    found, reason = self._found(key)
                    if not found:
                        running = running or load()
                        reason = self._make(key, running, tracker, counted=key not in quiet)
                    else:
                        tracker.settled(failed=reason is not None)
                del pending[key]
                yield key, reason
            wait = len(pending) == before  # all that is left is under way elsewhere: wait for the first

    def _make(self, key: ClipKey, running: _Running, tracker: Tracker, *, counted: bool) -> str | None:
        """Make and keep one clip; return None, or why it was given up. Only what is `counted` moves the breaker."""
        breaker = Breaker(self._store, key.model)
        reason = told = breaker.stopped()
        attempt = 0 if reason is None else ATTEMPTS
        condition = None if reason is not None else self._starts.frames(key.condition, running.settings)
        while attempt < ATTEMPTS:
            attempt += 1
            try:
                self._attempt(key, condition, running, tracker, attempt)
            except GenerationError as error:
                reason, told = str(error), error.told
                self._store.drop_steps(key)  # what went wrong may stand in them
                if is_out_of_memory(error) and running.step_down():
                    attempt -= 1
                continue
            if counted:
                breaker.succeeded()
            return None
        self._store.give_up(key, reason or "")
        self._say_once(tracker.model, told or "")
        if counted and breaker.stopped() is None:
            breaker.failed(told or "")
        tracker.settled(failed=True)
        return reason

    def _say_once(self, model: str, reason: str) -> None:
        """Log why a clip was given up, once for each reason; what other programs said of it is in the store alone."""
        if (model, reason) not in self._said:
            self._said.add((model, reason))
            _LOG.warning(
                "a clip was given up; `vdb-participant models retry MODEL` tries again", model=model, reason=reason
            )

    def _attempt(
        self, key: ClipKey, condition: Frames | None, running: _Running, tracker: Tracker, attempt: int
    ) -> None:
        generator = running.generator
        self._begun(key)
        tracker.clip()
        with self.watch.clip(key, generator.device, running.switches, tracker.step) as taken:
            clip = generator.generate(key.prompt, key.seed, condition)
            took = taken()
        name = running.profile
        circumstances = Circumstances(name, profile(name).grade, running.switches, running.stepped_down, attempt)
        self._store.put(
            key,
            clip,
            seconds=took.seconds,
            device=device_name(generator.device),
            record=record_of(circumstances, took),
        )
        tracker.settled(failed=False, seconds=took.seconds)


def _warm(generator: Generator, settings: GenerationSettings) -> _Running:
    generator.warm_up()
    return _Running(generator, settings)
