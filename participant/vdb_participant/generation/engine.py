"""Making the clips of one model: what is finished is kept, what fails is tried again once, then counted.

Promises that a finished clip is never generated again and that at most one clip of work is lost when the process dies.
Leaves loading to `pipelines.py` and keeping to `store.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from vdb_participant.device import device_name, synchronize
from vdb_participant.generation.settings import GenerationError, GenerationSettings, Generator
from vdb_participant.generation.store import ClipKey, ClipStore
from vdb_shared.registry.rows import Registry
from vdb_shared.spec import Spec
from vdb_shared.tasks import ClipTask, clip_seed

ATTEMPTS: Final = 2
"""A clip that fails twice is given up: a passing fault of a machine is over by then, any other fault stays."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task: a clip in the store, or the reason why there is none."""

    task: ClipTask
    key: ClipKey
    failure: str | None


class Engine:
    """Makes clips of a spec's tasks into a store."""

    def __init__(self, spec: Spec, store: ClipStore, registry: Registry | None = None) -> None:
        """Bind a spec to a store.

        Args:
            spec: what clips to make.
            store: where they are kept.
            registry: rows of models; the packaged ones by default.

        Raises:
            SpecError: clips of a shape that a model's class cannot make.
        """
        self.settings = {model.id: GenerationSettings.of(spec, model, registry) for model in spec.models}
        self._spec_digest = spec.digest
        self._manifests = {model.id: model.manifest for model in spec.models}
        self._store = store

    def key(self, task: ClipTask) -> ClipKey:
        """Return the store's key of a task."""
        settings = tuple(sorted(self.settings[task.model].to_json().items()))
        return ClipKey(self._manifests[task.model], task.prompt, clip_seed(self._spec_digest, task), settings)

    def run(
        self, tasks: Sequence[ClipTask], load: Callable[[], Generator], finished: Callable[[int, int], None]
    ) -> tuple[Outcome, ...]:
        """Make what is missing of one model's clips and return what became of each task, in the order given.

        Args:
            tasks: of one model.
            load: gives the model's generator; called only when a clip is missing.
            finished: told how many different clips are done and how many there are, after each.

        Raises:
            ModelError: the model cannot be loaded.
            StoreError: a clip cannot be kept.
        """
        keys = [self.key(task) for task in tasks]
        failures: dict[ClipKey, str | None] = {}
        missing: dict[ClipKey, str] = {}
        for task, key in zip(tasks, keys, strict=True):
            if self._store.has(key):
                failures[key] = None
            elif (reason := self._store.failure(key)) is not None:
                failures[key] = reason
            else:
                missing[key] = task.prompt
        total = len(failures) + len(missing)
        finished(len(failures), total)
        if missing:
            generator = load()
            generator.warm_up()
            for key, prompt in missing.items():
                failures[key] = self._make(key, prompt, generator)
                finished(len(failures), total)
        return tuple(Outcome(task, key, failures[key]) for task, key in zip(tasks, keys, strict=True))

    def _make(self, key: ClipKey, prompt: str, generator: Generator) -> str | None:
        """Make and keep one clip; return None, or why it was given up."""
        reason = ""
        for _ in range(ATTEMPTS):
            started = time.perf_counter()
            try:
                clip = generator.generate(prompt, key.seed)
            except GenerationError as error:
                reason = str(error)
                continue
            synchronize(generator.device)
            seconds = time.perf_counter() - started
            self._store.put(key, clip.frames, seconds=seconds, device=device_name(generator.device))
            return None
        self._store.give_up(key, reason)
        return reason
