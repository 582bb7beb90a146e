"""Progress of generation: told without waiting, with a fair estimate, and with nothing private for the coordinator."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import structlog

from testkit.resumable_pipelines import TinyGenerator, spec_of
from testkit.specs import small_spec
from testkit.tiny import PaintingGenerator
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.progress import MOST_WAITING, Estimate, Event, LogLines, Stream
from vdb_participant.generation.store import ClipStore
from vdb_shared.tasks import ClipTask, public_tasks


def test_every_step_and_clip_is_told(tmp_path: Path) -> None:
    spec = spec_of(["wan-unipc"], prompts=2, steps=3)
    events: list[Event] = []
    engine = Engine(spec, ClipStore(tmp_path), tell=events.append)
    engine.run(public_tasks(spec), lambda: TinyGenerator("wan-unipc", 3, engine.watch), lambda _done, _total: None)
    assert [(event.kind, event.done, event.total, event.step, event.steps) for event in events] == [
        ("begun", 0, 2, 0, 0),
        ("step", 0, 2, 1, 3),
        ("step", 0, 2, 2, 3),
        ("step", 0, 2, 3, 3),
        ("finished", 1, 2, 0, 0),
        ("step", 1, 2, 1, 3),
        ("step", 1, 2, 2, 3),
        ("step", 1, 2, 3, 3),
        ("finished", 2, 2, 0, 0),
    ]
    assert events[0].seconds_left is None
    assert all(event.seconds_left is not None for event in events[1:])
    assert events[-1].seconds_left == 0


def test_failed_clips_are_told_as_such(tmp_path: Path) -> None:
    spec = small_spec()
    tasks = [ClipTask("tiny-wan-a", "x", 0), ClipTask("tiny-wan-a", "y", 0)]
    events: list[Event] = []
    generator = PaintingGenerator((9, 32, 32, 3), failing={"x": 2})
    Engine(spec, ClipStore(tmp_path), tell=events.append).run(tasks, lambda: generator, lambda _done, _total: None)
    assert [event.kind for event in events] == ["begun", "failed", "finished"]


def test_the_estimate_is_the_mean_of_the_clips_made_so_far() -> None:
    estimate = Estimate()
    assert estimate.left(10) is None
    assert estimate.left(10, step=5, steps=50, elapsed=2.0) == pytest.approx(10 * 20 - 2)
    estimate.made(10.0)
    estimate.made(20.0)
    assert estimate.left(4, elapsed=5.0) == pytest.approx(4 * 15 - 5)
    assert estimate.left(1, elapsed=99.0) == 0
    assert estimate.left(0) == 0


def test_a_slow_consumer_holds_nothing_up_and_misses_no_clip() -> None:
    heard: list[Event] = []
    may_go_on = threading.Event()

    def slow(event: Event) -> None:
        may_go_on.wait()
        heard.append(event)

    stream = Stream([slow])
    with stream.flowing():
        for clip in range(10):
            for step in range(3 * MOST_WAITING):
                stream(Event("step", "m", clip, 10, step, 3 * MOST_WAITING))
            stream(Event("finished", "m", clip + 1, 10))
        may_go_on.set()
    assert [event.done for event in heard if event.kind == "finished"] == list(range(1, 11))
    assert len(heard) < 10 * MOST_WAITING


def test_a_consumer_that_fails_is_heard_of_at_the_end() -> None:
    def failing(_event: Event) -> None:
        raise OSError("the terminal is gone")

    def tell(stream: Stream) -> None:
        with stream.flowing():
            stream(Event("finished", "m", 1, 2))
            stream(Event("finished", "m", 2, 2))

    with pytest.raises(OSError, match="the terminal is gone"):
        tell(Stream([failing]))


def test_what_a_coordinator_may_hear_says_nothing_of_counts() -> None:
    heard = {Event("step", "m", done, total, 1, 2, 3.0).stage for done, total in ((0, 1), (5, 9), (400, 400))}
    assert heard == {"generating with m"}


def test_lines_for_people() -> None:
    assert Event("begun", "m", 0, 20).line == "generating with m: 0 of 20 clips"
    assert Event("step", "m", 3, 20, 12, 50, 610.0).line == (
        "generating with m: 3 of 20 clips, step 12 of 50, 10 min left"
    )
    assert Event("finished", "m", 3, 20, seconds_left=21_600.0).line.endswith("6.0 h left")
    assert Event("finished", "m", 3, 20, seconds_left=2.0).line.endswith("under a minute left")


def test_the_log_has_beginnings_failures_and_ends_and_little_between() -> None:
    """A thousand quick clips are not a thousand lines."""
    with structlog.testing.capture_logs() as logs:
        lines = LogLines()
        for clip in range(100):
            for step in range(10):
                lines(Event("step", "m", clip, 100, step, 10))
            lines(Event("failed" if clip == 50 else "finished", "m", clip + 1, 100))
    found = [entry["event"] for entry in logs]
    assert len(found) == 2
    assert found[0].startswith("generating with m: 51 of 100 clips")
    assert found[1] == "generating with m: 100 of 100 clips"
