"""Tiny pipelines whose processes die when a test wants it; loaded by workers, wherever these are."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testkit.resumable_pipelines import TinyGenerator
from vdb_participant.data.video import Frames
from vdb_participant.generation.instruments import denoisers_of
from vdb_participant.generation.settings import Clip, Generator
from vdb_participant.generation.watching import Watch
from vdb_shared.errors import ModelError, SpecError


@dataclass(frozen=True)
class Loading:
    """Loads tiny pipelines in a worker; writes down who made what in `diary`, and dies where `deadly` says."""

    steps: int
    diary: Path
    deadly: str = ""
    deaths: int = 0
    after: int = 0

    def __call__(self, model: str, device: str, watch: Watch) -> Generator:
        if model == "none":
            raise ModelError("there is no such model")
        if model == "misfit":
            raise SpecError("9 frames cannot be made", field="video.frames")
        return Mortal(self, model, watch)


class Mortal(TinyGenerator):
    """A generator that kills its process in the middle of a clip, a number of times in all."""

    def __init__(self, loading: Loading, kind: str, watch: Watch) -> None:
        super().__init__(kind, loading.steps, watch)
        self._loading = loading
        self._clip = ""
        self._computed = 0
        for module in denoisers_of(self.pipeline).values():
            part: Any = module
            inner = part.time_embed if hasattr(part, "time_embed") else part.condition_embedder
            inner.register_forward_pre_hook(self._compute)

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        self._clip, self._computed = prompt, 0
        self._write("begun")
        return super().generate(prompt, seed)

    def _compute(self, *_: object) -> None:
        if not self._clip:
            return
        loading = self._loading
        if loading.deadly == self._clip and self._computed == loading.after:
            dead = loading.diary.read_text().count(f"died {self._clip}")
            if dead < loading.deaths:
                self._write("died")
                os.kill(os.getpid(), signal.SIGKILL)
        self._computed += 1
        self._write("step")

    def _write(self, what: str) -> None:
        with self._loading.diary.open("a") as stream:
            stream.write(f"{what} {self._clip}\n")


@dataclass(frozen=True)
class Talkative(Loading):
    """Loads pipelines that say aloud what they are asked for, as libraries do."""

    def __call__(self, model: str, device: str, watch: Watch) -> Generator:
        return _Aloud(self, model, watch)


class _Aloud(Mortal):
    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        for stream in (1, 2):
            os.write(stream, f"asked for {prompt}\n".encode())
        return super().generate(prompt, seed, condition)


@dataclass(frozen=True)
class Telling(Loading):
    """Writes down which variables its worker has, and makes nothing."""

    def __call__(self, model: str, device: str, watch: Watch) -> Generator:
        self.diary.write_text(" ".join(sorted(os.environ)))
        raise ModelError("told")
