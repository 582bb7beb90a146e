"""Clips that models start from: one record more or less changes at most its own share of them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testkit.specs import small_spec
from vdb_participant.data.dataset import Dataset
from vdb_participant.data.inputs import inputs_of
from vdb_shared.canonical import sha256_digest
from vdb_shared.spec import Model, Spec
from vdb_shared.tasks import ClipTask, select_private_prompts

TWIN = 3
"""Number of the clip that is a copy of the first."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, site_data: Path) -> Path:
    place = tmp_path_factory.mktemp("captioned")
    (place / "kept").mkdir()
    for number in (0, 1, 2, TWIN):
        shutil.copy(site_data / "clips" / f"site5-000{number % TWIN}.mp4", place / "kept" / f"{number}.mp4")
    return place


def spec(share: str = "1") -> Spec:
    """Return a spec with a model for words and one that starts from a picture, over all private prompts."""
    starting = Model(id="i2v", pipeline="CogVideoXImageToVideoPipeline", manifest="sha256:" + "a" * 64)
    plain = small_spec()
    generation = plain.generation.model_copy(update={"private_share": Decimal(share), "samples": 2})
    return plain.model_copy(update={"models": (plain.models[0], starting), "generation": generation})


Line = dict[str, Any]


def written(lines: Sequence[tuple[int, int | None]]) -> list[Line]:
    """Return lines with words and clip of these numbers."""
    return [
        {"id": f"line{number}", "prompt": f"prompt {word}"} | ({} if clip is None else {"clip": f"clips/{clip}.mp4"})
        for number, (word, clip) in enumerate(lines)
    ]


def opened(folder: Path, lines: Sequence[Line], clips: Sequence[int] = (0, 1, 2, TWIN)) -> Dataset:
    """Write lines and clips, and open them."""
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    (data / "clips").mkdir(parents=True)
    for number in clips:
        shutil.copy(folder / "kept" / f"{number}.mp4", data / "clips")
    (data / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Dataset.open(data)


def tasks(dataset: Dataset, chosen: Spec) -> dict[str, Counter[ClipTask]]:
    """Return the private tasks of each model; none where the spec refuses data without prompts."""
    if not dataset.prompts:
        return {model.id: Counter() for model in chosen.models}
    inputs = inputs_of(chosen, dataset)
    return {model.id: Counter(inputs.tasks(chosen, model, 9)) for model in chosen.models}


def differing(before: Counter[ClipTask], after: Counter[ClipTask]) -> set[tuple[str, str]]:
    """Return words and condition of the tasks that came or went."""
    return {(task.prompt, task.condition) for task in ((before - after) + (after - before))}


LINES = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([None, 0, 1, 2, TWIN])), min_size=1, max_size=7)


@settings(max_examples=60, deadline=None)
@example(lines=[(0, 0), (0, 1), (1, 0)], chosen=0, share="1")  # words with one neighbour, clip with another
@example(lines=[(0, 0), (1, 0)], chosen=0, share="1")
@given(lines=LINES, chosen=st.integers(min_value=0), share=st.sampled_from(["1", "0.5"]))
def test_a_line_less_changes_one_share_of_each_model(
    folder: Path, lines: list[tuple[int, int | None]], chosen: int, share: str
) -> None:
    """Whatever words and clips the lines have in common."""
    every = written(lines)
    removed = every[chosen % len(every)]
    rest = [line for line in every if line is not removed]
    before, after = (tasks(opened(folder, part), spec(share)) for part in (every, rest))
    for model in before:
        assert len(differing(before[model], after[model])) <= 1
        assert all(count == 1 for count in before[model].values())


@settings(max_examples=60, deadline=None)
@example(lines=[(0, 0), (1, TWIN)], chosen=0)
@example(lines=[(0, 0), (0, 1)], chosen=0)
@given(lines=LINES, chosen=st.integers(min_value=0))
def test_a_line_less_with_its_clip_changes_one_share_of_each_model(
    folder: Path, lines: list[tuple[int, int | None]], chosen: int
) -> None:
    every = written(lines)
    removed = every[chosen % len(every)]
    gone = lines[chosen % len(lines)][1]
    rest = [
        {key: value for key, value in line.items() if key != "clip" or value != removed.get("clip")}
        for line in every
        if line is not removed
    ]
    clips = [number for number in (0, 1, 2, TWIN) if number != gone]
    before = tasks(opened(folder, every), spec())
    after = tasks(opened(folder, rest, clips), spec())
    for model in before:
        assert len(differing(before[model], after[model])) <= 1


@settings(max_examples=40, deadline=None)
@given(lines=LINES, chosen=st.integers(min_value=0))
def test_a_pair_of_its_own_takes_its_own_tasks_along_and_no_others(
    folder: Path, lines: list[tuple[int, int | None]], chosen: int
) -> None:
    own = [line for line in written(lines) if line.get("clip") != "clips/1.mp4"]
    pair = {"id": "own", "prompt": "words of its own", "clip": "clips/1.mp4"}
    at = chosen % (len(own) + 1)
    before = tasks(opened(folder, [*own[:at], pair, *own[at:]]), spec())
    after = tasks(opened(folder, own), spec())
    digest = sha256_digest((folder / "kept" / "1.mp4").read_bytes())
    assert differing(before["tiny-wan-a"], after["tiny-wan-a"]) == {("words of its own", "")}
    assert differing(before["i2v"], after["i2v"]) == {("words of its own", digest)}


def test_a_clip_belongs_to_the_words_of_the_one_line_that_names_it(folder: Path) -> None:
    found = opened(folder, written([(0, 0), (1, 1), (2, 1), (3, None), (0, 2)]))
    assert [(item.prompt.text, item.clip.name) for item in found.captioned] == [
        ("prompt 0", "0.mp4"),
        ("prompt 0", "2.mp4"),
    ]


def test_a_pair_is_used_if_its_words_are_chosen(folder: Path) -> None:
    chosen = 0
    for word in range(10):
        dataset = opened(folder, written([(word, 0)]))
        words = [prompt.text for prompt in select_private_prompts(spec("0.5"), dataset.prompts)]
        found = tasks(dataset, spec("0.5"))
        assert {task.prompt for task in found["i2v"]} == {task.prompt for task in found["tiny-wan-a"]} == set(words)
        chosen += len(words)
    assert 0 < chosen < 10


def test_copies_of_a_clip_are_one_clip(folder: Path) -> None:
    assert opened(folder, written([(0, 0), (1, TWIN)])).captioned == ()
    (item,) = opened(folder, written([(1, TWIN)])).captioned
    assert (item.prompt.text, item.clip.name) == ("prompt 1", "0.mp4")
    assert item.digest == sha256_digest(item.clip.read_bytes())


def test_a_clip_that_cannot_be_used_starts_nothing(folder: Path) -> None:
    (folder / "kept" / "9.mp4").write_bytes(b"no video")
    assert opened(folder, written([(0, 9)]), (9, 1)).captioned == ()
