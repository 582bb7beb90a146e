"""The engine: nothing is made twice, failures are tried again once and then counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from testkit.specs import small_spec
from testkit.tiny import PaintingGenerator
from vdb_participant.generation.engine import Engine, Outcome
from vdb_participant.generation.store import ClipStore
from vdb_shared.spec import Spec
from vdb_shared.tasks import ClipTask, clip_seed, public_tasks, shard

SHAPE = (9, 32, 32, 3)


@pytest.fixture
def spec() -> Spec:
    return small_spec()


@pytest.fixture
def tasks(spec: Spec) -> list[ClipTask]:
    return [task for task in public_tasks(spec) if task.model == "tiny-wan-a"]


def _ignore(done: int, total: int) -> None:
    pass


def _never() -> PaintingGenerator:
    raise RuntimeError("no model may be loaded when nothing is missing")


def test_every_task_is_made_with_its_own_seed(tmp_path: Path, spec: Spec, tasks: list[ClipTask]) -> None:
    generator = PaintingGenerator(SHAPE)
    store = ClipStore(tmp_path)
    reports: list[tuple[int, int]] = []
    outcomes = Engine(spec, store).run(tasks, lambda: generator, lambda done, total: reports.append((done, total)))
    assert [outcome.task for outcome in outcomes] == tasks
    assert generator.calls == [(task.prompt, clip_seed(spec.digest, task)) for task in tasks]
    assert generator.warmed == 1
    assert reports == [(0, 2), (1, 2), (2, 2)]
    clips = [store.get(outcome.key) for outcome in outcomes]
    assert all(clip is not None and clip.seconds > 0 for clip in clips)
    assert len({clip.digest for clip in clips if clip}) == 2


def test_a_finished_clip_is_never_made_again(tmp_path: Path, spec: Spec, tasks: list[ClipTask]) -> None:
    first = Engine(spec, ClipStore(tmp_path)).run(tasks, lambda: PaintingGenerator(SHAPE), _ignore)
    again = Engine(spec, ClipStore(tmp_path)).run(tasks, _never, _ignore)
    assert again == first


def test_a_damaged_entry_is_made_again_and_only_that(tmp_path: Path, spec: Spec, tasks: list[ClipTask]) -> None:
    store = ClipStore(tmp_path)
    outcomes = Engine(spec, store).run(tasks, lambda: PaintingGenerator(SHAPE), _ignore)
    before = [store.get(outcome.key) for outcome in outcomes]
    (path,) = tmp_path.glob(f"??/{outcomes[1].key.name}.clip")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    generator = PaintingGenerator(SHAPE)
    Engine(spec, store).run(tasks, lambda: generator, _ignore)
    assert [prompt for prompt, _ in generator.calls] == [tasks[1].prompt]
    after = [store.get(outcome.key) for outcome in outcomes]
    assert [clip and clip.digest for clip in after] == [clip and clip.digest for clip in before]


def test_a_failure_is_tried_again_once(tmp_path: Path, spec: Spec, tasks: list[ClipTask]) -> None:
    generator = PaintingGenerator(SHAPE, failing={tasks[0].prompt: 1})
    outcomes = Engine(spec, ClipStore(tmp_path)).run(tasks, lambda: generator, _ignore)
    assert [outcome.failure for outcome in outcomes] == [None, None]
    assert len(generator.calls) == 3
    assert generator.calls[0] == generator.calls[1]


def test_a_clip_that_fails_twice_is_given_up_with_its_reason(tmp_path: Path, spec: Spec, tasks: list[ClipTask]) -> None:
    generator = PaintingGenerator(SHAPE, failing={tasks[0].prompt: 99})
    outcomes = Engine(spec, ClipStore(tmp_path)).run(tasks, lambda: generator, _ignore)
    assert [outcome.failure for outcome in outcomes] == ["out of paint", None]
    assert len(generator.calls) == 3
    assert Engine(spec, ClipStore(tmp_path)).run(tasks, _never, _ignore) == outcomes


def test_equal_tasks_are_one_clip(tmp_path: Path, spec: Spec, tasks: list[ClipTask]) -> None:
    generator = PaintingGenerator(SHAPE)
    reports: list[tuple[int, int]] = []
    twice = [*tasks, *tasks]
    outcomes = Engine(spec, ClipStore(tmp_path)).run(
        twice, lambda: generator, lambda done, total: reports.append((done, total))
    )
    assert len(generator.calls) == len(tasks)
    assert len(outcomes) == len(twice)
    assert reports[-1] == (2, 2)


def test_order_and_split_do_not_change_a_clip(tmp_path: Path, spec: Spec) -> None:
    everything = [task for task in public_tasks(spec) if task.model == "tiny-wan-a"]

    def digests(name: str, *parts: list[ClipTask]) -> dict[ClipTask, str]:
        made: list[tuple[ClipStore, Outcome]] = []
        for number, part in enumerate(parts):
            store = ClipStore(tmp_path / name / str(number))
            made += [
                (store, outcome) for outcome in Engine(spec, store).run(part, lambda: PaintingGenerator(SHAPE), _ignore)
            ]
        clips = ((outcome.task, store.get(outcome.key)) for store, outcome in made)
        return {task: clip.digest for task, clip in clips if clip is not None}

    whole = digests("whole", everything)
    assert digests("reversed", everything[::-1]) == whole
    assert digests("split", *(list(shard(everything, site, 2)) for site in range(2))) == whole


def test_private_failures_decide_about_no_other_clip(tmp_path: Path, spec: Spec, tasks: list[ClipTask]) -> None:
    """Counted, three private prompts that a model cannot take would turn everybody's public clips into failures."""
    mine = [ClipTask("tiny-wan-a", f"private {number}", 0) for number in range(5)]
    bad = {task.prompt: 99 for task in mine}
    for number in (2, 3, 4):  # with one record more and one more
        engine = Engine(spec, ClipStore(tmp_path / str(number)))
        some = mine[:number]
        made = engine.run([*some, *tasks], lambda: PaintingGenerator(SHAPE, failing=bad), _ignore, private=some)
        assert [outcome.failure for outcome in made] == ["out of paint"] * number + [None] * len(tasks)


def test_a_private_success_lets_no_stopped_model_go_on(tmp_path: Path, spec: Spec) -> None:
    public = [ClipTask("tiny-wan-a", f"public {number}", 0) for number in range(5)]
    private = [ClipTask("tiny-wan-a", "private", 0)]
    bad = {task.prompt: 99 for task in public}

    def outcomes(name: str, tasks: list[ClipTask]) -> dict[str, str | None]:
        engine = Engine(spec, ClipStore(tmp_path / name))
        made = engine.run(tasks, lambda: PaintingGenerator(SHAPE, failing=bad), _ignore, private=private)
        return {outcome.task.prompt: outcome.failure for outcome in made if outcome.task in public}

    with_it = outcomes("with", [*public[:2], *private, *public[2:]])
    assert with_it == outcomes("without", public)
    assert "stopped after 3 clips" in (with_it["public 4"] or "")


def test_why_clips_were_given_up_is_said_once_for_each_reason(
    tmp_path: Path, spec: Spec, tasks: list[ClipTask], capsys: pytest.CaptureFixture[str]
) -> None:
    generator = PaintingGenerator(SHAPE, failing={task.prompt: 99 for task in tasks})
    Engine(spec, ClipStore(tmp_path)).run(tasks, lambda: generator, _ignore)
    said = capsys.readouterr()
    assert (said.out + said.err).count("out of paint") == 1
