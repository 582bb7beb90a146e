"""A timing run makes a clip of few steps, leaves nothing behind, ends in time, and is not made twice."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from testkit.conditioned import conditioned_spec, write_models
from testkit.resumable_pipelines import TinyGenerator
from testkit.tiny import tiny_spec
from vdb_participant.data.inputs import Inputs
from vdb_participant.data.video import Frames
from vdb_participant.generation.progress import nobody
from vdb_participant.generation.settings import Clip, GenerationSettings
from vdb_participant.generation.timing import ALL_STEPS, FEW_STEPS, time_model
from vdb_participant.generation.timings import Timing, Timings
from vdb_participant.generation.watching import Watch
from vdb_participant.models import manifest_digest, verify_model
from vdb_participant.session.effort import Timed
from vdb_participant.session.timing import Makers, TimingRun
from vdb_shared.registry.rows import load_registry
from vdb_shared.spec import Model, Spec

NOTHING = Inputs((), ())


class Counting(TinyGenerator):
    """A tiny generator that counts its clips and their steps."""

    def __init__(self, settings: GenerationSettings, watch: Watch) -> None:
        super().__init__("wan-unipc", settings.steps, watch)
        self.asked = settings.steps
        self.clips = 0

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        self.clips += 1
        return super().generate(prompt, seed, condition)


class Loading:
    """Loads it, once."""

    def __init__(self) -> None:
        self.loaded: list[Counting] = []

    def __call__(self, settings: GenerationSettings, watch: Watch) -> Counting:
        self.loaded.append(Counting(settings, watch))
        return self.loaded[0]


def settings(steps: int) -> GenerationSettings:
    return GenerationSettings(5, 16, 16, steps, 2.0, "", "exact")


def test_a_clip_of_few_steps_stands_for_one_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    load = Loading()
    found = time_model(settings(50), load)
    assert (load.loaded[0].asked, load.loaded[0].clips) == (FEW_STEPS, 2), "one to get warm, one under the clock"
    assert (found.timed, found.steps, found.whole, found.place) == (FEW_STEPS, 50, True, "cpu")
    assert found.step_seconds > 0
    assert found.seconds == pytest.approx(50 * found.step_seconds + found.other_seconds)
    assert found.clip_bytes > 0
    assert found.checkpoint_bytes > 0
    assert not list(tmp_path.iterdir()), "nothing of it is kept"


def test_a_clip_of_few_steps_is_timed_whole() -> None:
    load = Loading()
    found = time_model(settings(ALL_STEPS), load)
    assert load.loaded[0].asked == ALL_STEPS
    assert (found.timed, found.steps) == (ALL_STEPS, ALL_STEPS)


def test_a_run_ends_with_the_step_in_which_its_limit_passes() -> None:
    load = Loading()
    found = time_model(settings(50), load, limit=0.0)
    assert load.loaded[0].clips == 1
    assert (found.timed, found.steps, found.whole, found.clip_bytes) == (1, 50, False, 0)
    assert found.step_seconds > 0


@pytest.fixture(scope="module")
def starting(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Path:
    return write_models(tmp_path_factory.mktemp("starting"), tiny_models)


def run_of(
    spec: Spec,
    folder: Path,
    kept: Path,
    withheld: Mapping[str, str] | None = None,
    say: Callable[[str], None] = nobody,
) -> TimingRun:
    registry = load_registry(None)
    weights = {model.id: verify_model(model, folder, registry) for model in spec.models if model.pipeline != "external"}
    makers = Makers(("cpu",), {model.id: "exact" for model in spec.models})
    return TimingRun(spec, registry, weights, makers, Timings(kept), withheld or {}, say)


def timed(run: TimingRun) -> dict[str, Timed]:
    return {item.model: item.timed for item in run.effort(4, NOTHING, timed=True).models}


def test_models_that_start_from_a_picture_or_a_video_are_timed_with_a_black_one(starting: Path, tmp_path: Path) -> None:
    spec = conditioned_spec(starting, ("tiny-i2v", "tiny-v2v"), [("a circle", "sha256:" + "c" * 64)])
    found = timed(run_of(spec, starting, tmp_path / "timing.json"))
    assert all(isinstance(item, Timing) and item.whole for item in found.values()), found


def test_what_was_timed_is_not_timed_again_while_nothing_changed(tiny_models: Path, tmp_path: Path) -> None:
    kept, spec = tmp_path / "timing.json", tiny_spec(tiny_models, pipelines=("tiny-wan-a", "tiny-wan-b"))
    said: list[str] = []
    first = timed(run_of(spec, tiny_models, kept, say=said.append))
    assert said == [
        f"making one short clip with {model} on cpu to estimate the time (loading aside, 2 minutes at most; nothing leaves)"
        for model in ("tiny-wan-a", "tiny-wan-b")
    ]
    assert all(isinstance(item, Timing) for item in first.values())
    assert kept.stat().st_mode & 0o077 == 0
    assert timed(run_of(spec, tiny_models, kept, say=said.append)) == first, (
        "two runs never take the same to the last digit"
    )
    assert len(said) == 2, "what is known is not announced"
    longer = spec.model_copy(update={"generation": spec.generation.model_copy(update={"steps": 3})})
    assert timed(run_of(longer, tiny_models, kept))["tiny-wan-a"] != first["tiny-wan-a"]
    run = run_of(spec, tiny_models, kept)
    other = dataclasses.replace(run, makers=dataclasses.replace(run.makers, devices=("cpu:0",)))
    assert timed(other)["tiny-wan-a"] != first["tiny-wan-a"], "another device"
    kept.write_bytes(kept.read_bytes()[:-9])
    again = timed(run_of(spec, tiny_models, kept))
    assert again != first
    assert timed(run_of(spec, tiny_models, kept)) == again, "a damaged file was replaced"


def test_other_weights_under_the_same_name_are_timed_again(tiny_models: Path, tmp_path: Path) -> None:
    kept, own = tmp_path / "timing.json", tmp_path / "models"
    for name in ("tiny-wan-a", "tiny-clip", "tiny-videomae"):
        shutil.copytree(tiny_models / name, own / name)
    spec = tiny_spec(own, pipelines=("tiny-wan-a",))
    first = timed(run_of(spec, own, kept))
    (path,) = (own / "tiny-wan-a" / "transformer").glob("*.safetensors")
    save_file({name: value * 2 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    changed = spec.models[0].model_copy(update={"manifest": manifest_digest(own / "tiny-wan-a")})
    assert timed(run_of(spec.model_copy(update={"models": (changed,)}), own, kept)) != first


def test_a_model_that_makes_no_clip_says_why_and_is_tried_again(tiny_models: Path, tmp_path: Path) -> None:
    own = tmp_path / "models"
    for name in ("tiny-wan-a", "tiny-clip", "tiny-videomae"):
        shutil.copytree(tiny_models / name, own / name)
    (path,) = (own / "tiny-wan-a" / "transformer").glob("*.safetensors")
    save_file({name: value * torch.nan for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    found = timed(run_of(tiny_spec(own, pipelines=("tiny-wan-a",)), own, tmp_path / "timing.json"))
    assert found == {"tiny-wan-a": "a clip could not be made: the pipeline made values that are not finite"}
    assert not (tmp_path / "timing.json").exists()


def test_no_model_is_run_that_may_not_be_or_works_elsewhere(tiny_models: Path, tmp_path: Path) -> None:
    """The attack: a spec names a paid endpoint, or weights whose licence nobody accepted, and only waits for a dry run."""
    spec = tiny_spec(tiny_models, pipelines=("tiny-wan-a",))
    elsewhere = Model(id="paid", pipeline="external", manifest="sha256:" + "e" * 64)
    spec = spec.model_copy(update={"models": (*spec.models, elsewhere)})
    run = run_of(spec, tiny_models, tmp_path / "timing.json", {"tiny-wan-a": "licence: ours; not accepted here yet"})
    found = timed(run)
    assert found["tiny-wan-a"] == "licence: ours; not accepted here yet"
    assert "may cost money or send a prompt out" in str(found["paid"])
    assert not (tmp_path / "timing.json").exists(), "nothing was run"
    (allowed, _) = run.effort(4, NOTHING, timed=False).models
    assert allowed.timed == "left out (--no-timing)"
    on_cluster = dataclasses.replace(run, withheld={}, makers=Makers(("cpu",), run.makers.profiles, "on a cluster"))
    assert timed(on_cluster)["tiny-wan-a"] == "on a cluster"
