"""Specs whose models start from pictures and videos: what they say, what is refused, and what a clip's seed hears of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.specs import TOML, small_spec
from vdb_coordinator.commands.spec_checks import checked
from vdb_shared import labels
from vdb_shared.canonical import digest_bytes, labelled_hash
from vdb_shared.clips import check_clips
from vdb_shared.errors import SpecError
from vdb_shared.registry.classes import pipeline_classes, tasks_of
from vdb_shared.seal import seal_terms
from vdb_shared.spec import Spec, parse_spec_json, parse_spec_toml
from vdb_shared.tasks import ClipTask, clip_seed, public_tasks, tasks_for

CLASSES = pipeline_classes()
DIGESTS = ["sha256:" + digit * 64 for digit in "123"]
I2V = TOML.replace('id = "tiny-wan-b"\npipeline = "WanPipeline"', 'id = "i2v"\npipeline = "WanImageToVideoPipeline"')


def conditioned(text: str) -> str:
    """Return a spec's text with a condition for each prompt."""
    for digest, words in zip(DIGESTS, ("a red circle moving left", "a blue square bouncing"), strict=False):
        text = text.replace(f'text = "{words}"', f'text = "{words}"\ncondition = "{digest}"')
    return text


def test_a_condition_is_in_the_digest_and_its_absence_is_not() -> None:
    plain, with_conditions = parse_spec_toml(TOML), parse_spec_toml(conditioned(TOML))
    assert b"condition" not in plain.canonical()
    assert b"task" not in plain.canonical()
    assert [prompt.condition for prompt in with_conditions.prompts] == DIGESTS[:2]
    assert parse_spec_json(with_conditions.canonical()) == with_conditions
    assert plain.digest != with_conditions.digest
    with pytest.raises(SpecError, match="canonical"):
        parse_spec_json(plain.canonical().replace(b'{"id":"red-circle"', b'{"condition":null,"id":"red-circle"'))


@pytest.mark.parametrize(
    ("wrong", "found"), [("pictures/cat.png", "'pictures/cat.png'"), ("sha256:" + "A" * 64, "'sha256:AAAA")]
)
def test_a_path_or_another_digest_is_answered_with_how_to_get_the_right_one(wrong: str, found: str) -> None:
    text = conditioned(TOML).replace(DIGESTS[1], wrong)
    with pytest.raises(SpecError) as refusal:
        parse_spec_toml(text, file="spec.toml")
    line = next(number for number, line in enumerate(text.splitlines(), start=1) if wrong in line)
    assert str(refusal.value).startswith(f"spec.toml:{line}: prompts.1.condition: {found}")
    assert str(refusal.value).endswith("write sha256: and the 64 digits that `sha256sum FILE` prints")


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_model_does_what_its_class_does_first_or_what_the_spec_says(name: str) -> None:
    model = small_spec().models[0].model_copy(update={"pipeline": name})
    default = tasks_of(name)[0]
    assert (default == "text-to-video") == ("text-to-video" in CLASSES[name].tasks)
    assert set(tasks_of(name)) == set(CLASSES[name].tasks)
    for task in (None, *tasks_of(name)):
        start = model.model_copy(update={"task": task}).start
        arguments = CLASSES[name].arguments
        assert bool(start) == ((task or default) != "text-to-video")
        assert not start or {"picture": arguments.image, "video": arguments.video}[start]


@pytest.mark.parametrize(
    ("pipeline", "task", "able"),
    [
        ("WanPipeline", "image-to-video", "text-to-video"),
        ("HeliosPipeline", "edit", "text-to-video or image-to-video or video-to-video"),
        ("ChronoEditPipeline", "text-to-video", "edit or image-to-video"),
        ("external", "video-to-video", "text-to-video"),
    ],
)
def test_a_task_that_a_class_lacks_is_refused_with_those_it_has(pipeline: str, task: str, able: str) -> None:
    old = 'id = "tiny-wan-b"\npipeline = "WanPipeline"'
    text = TOML.replace(old, f'id = "tiny-wan-b"\ntask = "{task}"\npipeline = "{pipeline}"')
    with pytest.raises(SpecError) as refusal:
        parse_spec_toml(text)
    assert refusal.value.field == "models.1.task"
    assert refusal.value.problem == f"{pipeline} cannot do {task}; take {able}"
    first = able.split(" or ", maxsplit=1)[0]
    assert parse_spec_toml(text.replace(task, first)).models[1].task == first


def test_a_model_and_a_prompt_that_do_not_fit_are_both_named(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text(conditioned(I2V).replace(f'condition = "{DIGESTS[1]}"\n', ""))
    with pytest.raises(SpecError) as refusal:
        checked(tmp_path / "spec.toml")
    assert refusal.value.field == "prompts.1.condition"
    assert refusal.value.line
    assert refusal.value.problem.startswith("is missing, but models.1 (i2v) starts from a picture; write sha256: ")
    (tmp_path / "spec.toml").write_text(conditioned(I2V))
    found, terms = checked(tmp_path / "spec.toml")
    assert terms.public_tasks == len(public_tasks(found)) == 4


def test_no_public_metric_no_public_condition() -> None:
    spec = parse_spec_toml(I2V.replace('inputs = "public"', 'inputs = "private"'))
    check_clips(spec)
    spec = parse_spec_toml(I2V.replace('pipeline = "WanImageToVideoPipeline"', 'pipeline = "LTXConditionPipeline"'))
    check_clips(spec)


def test_only_models_that_start_from_something_get_the_condition() -> None:
    spec = parse_spec_toml(conditioned(I2V))
    assert [(task.model, task.condition) for task in public_tasks(spec)] == [
        ("tiny-wan-a", ""),
        ("tiny-wan-a", ""),
        ("i2v", DIGESTS[0]),
        ("i2v", DIGESTS[1]),
    ]
    assert [task.condition for task in tasks_for(spec, spec.models[0], [("x", DIGESTS[2])])] == [""]
    assert [task.condition for task in tasks_for(spec, spec.models[1], [("x", DIGESTS[2])])] == [DIGESTS[2]]
    assert seal_terms(spec, range(4)).public_tasks == seal_terms(small_spec(), range(4)).public_tasks


TASKS = st.builds(
    ClipTask, st.text(max_size=4), st.text(max_size=4), st.integers(0, 3), st.sampled_from(["", *DIGESTS])
)


@given(TASKS, TASKS)
def test_other_tasks_other_seeds(one: ClipTask, other: ClipTask) -> None:
    first, second = (clip_seed(small_spec().digest, task) for task in (one, other))
    assert (first == second) == (one == other)


@given(TASKS, st.sampled_from([small_spec(), parse_spec_toml(conditioned(I2V))]))
def test_a_seed_is_the_one_of_the_specification(task: ClipTask, spec: Spec) -> None:
    fields = [digest_bytes(spec.digest), task.model.encode(), task.prompt.encode(), task.sample.to_bytes(4, "little")]
    fields += [digest_bytes(task.condition)] if task.condition else []
    expected = int.from_bytes(labelled_hash(labels.HASH_CLIP_SEED, *fields)[:8], "little") >> 1
    assert clip_seed(spec.digest, task) == expected


def test_seeds_without_a_condition_are_what_they_always_were() -> None:
    assert clip_seed("sha256:" + "0" * 64, ClipTask("m", "p", 0)) == 7829225842030844240
