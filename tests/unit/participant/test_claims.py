"""Several agents on one store: a clip is made once, and the dead hold nothing."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from testkit.specs import small_spec
from testkit.tiny import PaintingGenerator
from vdb_participant.data.video import Frames
from vdb_participant.generation.claims import FRESH_SECONDS
from vdb_participant.generation.engine import Engine
from vdb_participant.generation.settings import Clip
from vdb_participant.generation.store import ClipKey, ClipStore
from vdb_shared.errors import StoreError
from vdb_shared.tasks import ClipTask, public_tasks

KEY = ClipKey("sha256:" + "0" * 64, "a red circle", 7, (("steps", 4),))


def child(work: Callable[[], None]) -> int:
    """Run something in a forked process and return its id."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return process


def test_one_claim_at_a_time_and_no_file_stays(tmp_path: Path) -> None:
    one, other = ClipStore(tmp_path), ClipStore(tmp_path)
    with one.claim(KEY) as mine:
        assert mine
        with other.claim(KEY) as too:
            assert not too
    with other.claim(KEY) as mine:
        assert mine
    assert not list(tmp_path.glob("??/*.lock"))


def test_a_dead_process_holds_no_claim(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    reading, writing = os.pipe()

    def hold() -> None:
        with ClipStore(tmp_path).claim(KEY):
            os.write(writing, b".")
            time.sleep(600)

    process = child(hold)
    os.read(reading, 1)
    with store.claim(KEY) as mine:
        assert not mine
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert list(tmp_path.glob("??/*.lock"))
    with store.claim(KEY) as mine:
        assert mine
    assert not list(tmp_path.glob("??/*.lock"))


def test_waiting_for_a_claim_ends_when_its_holder_lets_go(tmp_path: Path) -> None:
    store, order = ClipStore(tmp_path), list[str]()

    def wait() -> None:
        with ClipStore(tmp_path).claim(KEY, wait=True):
            order.append("second")

    with store.claim(KEY):
        thread = threading.Thread(target=wait)
        thread.start()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_two_agents_make_each_clip_once(tmp_path: Path) -> None:
    """Both begin together, each in a process of its own; every clip is made by one of them."""
    spec = small_spec()
    tasks = [task for task in public_tasks(spec) if task.model == "tiny-wan-a"] * 1
    tasks = [ClipTask(task.model, f"{task.prompt} {number}", 0) for task in tasks for number in range(10)]

    def agent(name: str) -> Callable[[], None]:
        class Noting(PaintingGenerator):
            def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
                with (tmp_path / name).open("a") as stream:
                    stream.write(prompt + "\n")
                return super().generate(prompt, seed)

        def work() -> None:
            engine = Engine(spec, ClipStore(tmp_path / "store"))
            outcomes = engine.run(tasks, lambda: Noting((9, 32, 32, 3)), lambda _done, _total: None)
            assert [outcome.task for outcome in outcomes] == tasks
            assert not any(outcome.failure for outcome in outcomes)

        return work

    processes = [child(agent(name)) for name in ("one", "other")]
    assert [os.waitpid(process, 0)[1] for process in processes] == [0, 0]
    lines = [line for name in ("one", "other") for line in _lines(tmp_path / name)]
    assert sorted(lines) == sorted(task.prompt for task in tasks)
    assert not list((tmp_path / "store").glob("??/*.lock"))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_an_agent_takes_other_clips_while_one_is_under_way_elsewhere(tmp_path: Path) -> None:
    spec = small_spec()
    tasks = [task for task in public_tasks(spec) if task.model == "tiny-wan-a"]
    store = ClipStore(tmp_path)
    engine = Engine(spec, store)
    generator = PaintingGenerator((9, 32, 32, 3))
    with store.claim(engine.key(tasks[0])):
        worker = threading.Thread(target=lambda: engine.run(tasks, lambda: generator, lambda _done, _total: None))
        worker.start()
        while not store.has(engine.key(tasks[1])):
            time.sleep(0.01)
        store.put(engine.key(tasks[0]), generator.generate("made elsewhere", 1), seconds=1.0, device="elsewhere")
    worker.join()
    assert [prompt for prompt, _ in generator.calls] == [tasks[1].prompt, "made elsewhere"]


def test_what_the_dead_left_half_written_is_removed(tmp_path: Path) -> None:
    ClipStore(tmp_path).put(KEY, Clip(_frames()), seconds=1.0, device="d")
    folder = next(tmp_path.glob("??"))
    (folder / ".partial-dead").write_bytes(b"half of a clip")
    (folder / ".partial-just-made").touch()
    (folder / ".partial-empty-and-old").touch()
    old = time.time() - 2 * FRESH_SECONDS
    os.utime(folder / ".partial-empty-and-old", (old, old))
    with (folder / ".partial-living").open("wb") as stream:
        stream.write(b"being written")
        stream.flush()
        fcntl.flock(stream, fcntl.LOCK_EX)
        store = ClipStore(tmp_path)
        left = sorted(path.name for path in folder.glob(".partial-*"))
    assert left == [".partial-just-made", ".partial-living"]
    assert store.has(KEY)


def test_what_the_dead_left_beside_finished_clips_is_removed(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    other = ClipKey(KEY.model, "unfinished", 8, ())
    store.put(KEY, Clip(_frames()), seconds=1.0, device="d")
    store.keep_steps(KEY, b"head", b"tensors")
    store.keep_steps(other, b"head", b"tensors")
    (tmp_path / KEY.name[:2] / f"{KEY.name}.lock").touch()
    with store.claim(other):
        again = ClipStore(tmp_path)
        assert [path.stem for path in tmp_path.glob("??/*.lock")] == [other.name]
        with again.claim(other) as mine:
            assert not mine
    assert [path.stem for path in tmp_path.glob("??/*.steps")] == [other.name]


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on the size of files, set for a process of its own: the kernel refuses the write in the middle."""
    store = ClipStore(tmp_path)
    store.put(KEY, Clip(_frames()), seconds=1.0, device="d")
    store.keep_steps(KEY, b"head", b"old")
    other = ClipKey(KEY.model, "another", 8, ())

    def write() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(StoreError, match=r"cannot be written: .*; free space and start again"):
            store.put(other, Clip(_frames()), seconds=1.0, device="d")
        with pytest.raises(StoreError, match="cannot be written"):
            store.keep_steps(KEY, b"head", bytes(2000))

    assert os.waitpid(child(write), 0)[1] == 0
    assert store.has(KEY)
    assert store.steps(KEY) == (b"head", b"old")
    assert store.get(other) is None
    assert not list(tmp_path.glob("??/.partial-*"))
    store.put(other, Clip(_frames()), seconds=1.0, device="d")
    assert store.has(other)


def test_a_finished_or_given_up_clip_keeps_no_steps(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    store.keep_steps(KEY, b"head", b"tensors")
    store.put(KEY, Clip(_frames()), seconds=1.0, device="d")
    assert store.steps(KEY) is None
    store.keep_steps(KEY, b"head", b"tensors")
    store.give_up(KEY, "why")
    assert store.steps(KEY) is None


def test_the_record_stays_with_the_clip(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    store.put(KEY, Clip(_frames()), seconds=1.0, device="d", record={"profile": "exact"})
    found = store.get(KEY)
    assert found is not None
    assert found.record == {"profile": "exact"}
    other = ClipStore(tmp_path / "other")
    other.merge(store)
    merged = other.get(KEY)
    assert merged is not None
    assert merged.record == {"profile": "exact"}


def _frames() -> Frames:
    return np.random.default_rng(1).integers(0, 256, (5, 16, 32, 3), dtype=np.uint8)
