"""Clips that count at another site decide about no clip that counts here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from testkit.specs import small_spec
from testkit.tiny import PaintingGenerator
from vdb_participant.generation.engine import Engine, Outcome
from vdb_participant.generation.settings import Generator
from vdb_participant.generation.store import ClipStore
from vdb_participant.generation.watching import Watch
from vdb_participant.generation.workers import Job
from vdb_participant.measure.generating import Generation
from vdb_participant.measure.site import SECOND
from vdb_shared.tasks import ClipTask

MODEL = "tiny-wan-a"
SECONDS = [ClipTask(MODEL, f"second {number}", 0) for number in range(4)]
PUBLIC = [ClipTask(MODEL, f"public {number}", 0) for number in range(3)]


@dataclass
class Noting:
    """Measures nothing; notes what comes in."""

    timed: bool = False
    failed: list[tuple[str, str]] = field(default_factory=list)
    made: list[tuple[str, str]] = field(default_factory=list)

    def generated(self, side: str, made: Outcome) -> None:
        (self.failed if made.failure else self.made).append((side, made.task.prompt))


@dataclass(frozen=True)
class Painting:
    """Loads a generator that cannot make certain clips."""

    failing: tuple[str, ...]

    def __call__(self, model: str, device: str, watch: Watch) -> Generator:
        return PaintingGenerator((9, 32, 32, 3), failing=dict.fromkeys(self.failing, 10))


@pytest.mark.parametrize("first", [True, False])
def test_second_clips_that_fail_stop_no_model(tmp_path: Path, first: bool) -> None:
    """Counted, the third would turn every later clip into a failure, and exact counts would depend on the share."""
    spec, store, noting = small_spec(), ClipStore(tmp_path), Noting()
    engine = Engine(spec, store)
    load = Painting(tuple(task.prompt for task in SECONDS))
    job = Job(spec, store.directory, (), load, engine.settings)
    generation = Generation(engine, job, ("cpu",), lambda _stage, _done, _total: None, lambda _event: None)
    seconds, public = [(SECOND, task) for task in SECONDS], [("public", task) for task in PUBLIC]
    generation.and_measure(MODEL, seconds + public if first else public + seconds, noting)
    assert noting.made == [("public", task.prompt) for task in PUBLIC]
    assert noting.failed == [(SECOND, task.prompt) for task in SECONDS]
