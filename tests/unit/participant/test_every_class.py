"""Every pipeline class of the registry, tiny and for real: saved, loaded from its directory, and run.

No class is left out. Classes that need a package which is not installed are refused by name, and then skipped.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from testkit.crashes import Crash
from testkit.tiny_others import ALLEGRO_TILE, cosmos
from testkit.tiny_pipelines import BUILDERS, build, deeper
from testkit.tiny_sound import RATE
from vdb_participant.data.video import Frames
from vdb_participant.generation.checkpoints import Checkpoints, Interval
from vdb_participant.generation.pipelines import DiffusersGenerator
from vdb_participant.generation.settings import Clip, GenerationError, GenerationSettings
from vdb_participant.generation.store import ClipKey, ClipStore
from vdb_participant.generation.watching import Watch
from vdb_participant.models import inspect_weights
from vdb_shared.errors import ModelError
from vdb_shared.registry.classes import PipelineClass, pipeline_classes
from vdb_shared.spec import Model

PROMPT = "a red circle moving left"
CLASSES = pipeline_classes()
GUARDRAIL = Path(__file__).parents[2] / "testkit" / "guardrail"


@pytest.fixture(autouse=True)
def _guardrail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(GUARDRAIL))


def smallest(name: str, known: PipelineClass) -> GenerationSettings:
    """Return the settings of the smallest clips that a class makes, but no smaller than 32 x 32."""
    least = max(known.multiple, 32)
    sides = {side: known.sides[side].least if side in known.sides else least for side in ("height", "width")}
    if name == "AllegroPipeline":
        sides = dict.fromkeys(sides, ALLEGRO_TILE)
    fps = 8 if known.arguments.fps else 0
    return GenerationSettings(known.frames.least, sides["height"], sides["width"], 2, 2.0, "dull", "exact", fps)


def condition_for(known: PipelineClass, settings: GenerationSettings) -> Frames | None:
    """Return a random picture or video where a class cannot do without."""
    if not known.needs_condition:
        return None
    frames = settings.frames if known.arguments.video else 1
    return np.random.default_rng(0).integers(0, 256, (frames, *settings.shape[1:]), dtype=np.uint8)


def loaded(
    name: str,
    folder: Path,
    settings: GenerationSettings,
    kind: str = "",
    watch: Watch | None = None,
    parts: Callable[[], dict[str, Any]] | None = None,
) -> DiffusersGenerator:
    """Build a tiny instance, or one of another class whose directories it loads as well, and load it."""
    build(kind or name, folder, parts=parts)
    model = Model(id="tiny", pipeline=name, manifest="sha256:" + "a" * 64)
    weights = inspect_weights(folder)
    missing = [package for package in CLASSES[name].packages if importlib.util.find_spec(package) is None]
    if missing:
        with pytest.raises(ModelError, match=f"{name}: needs {missing[0]}; install it"):
            DiffusersGenerator.load(weights, model, settings, "cpu")
        pytest.skip(f"{missing[0]} is not installed")
    return DiffusersGenerator.load(weights, model, settings, "cpu", watch=watch)


def test_every_class_has_a_tiny_instance() -> None:
    assert set(BUILDERS) == set(CLASSES)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_same_seed_gives_the_same_clip(name: str, tmp_path: Path) -> None:
    known = CLASSES[name]
    settings = smallest(name, known)
    generator = loaded(name, tmp_path / "m", settings)
    condition = condition_for(known, settings)
    first, other, again = (generator.generate(PROMPT, seed, condition) for seed in (5, 6, 5))
    assert first.frames.dtype == np.uint8
    assert first.frames.shape == settings.shape
    np.testing.assert_array_equal(again.frames, first.frames)
    assert not np.array_equal(other.frames, first.frames)
    check_sound(known, first, again)
    if condition is not None:
        changed = generator.generate(PROMPT, 5, np.full_like(condition, 255))
        assert not np.array_equal(changed.frames, first.frames)


WITHOUT_CHECKPOINTS = ("CosmosTextToWorldPipeline",)
"""It steps its scheduler twice for one prediction."""

SCHEDULERS = {"LTX2Pipeline": 2, "LTX2ImageToVideoPipeline": 2, "SkyReelsV2DiffusionForcingPipeline": 2}
"""Of each step, where there are several: of pictures and sound, or of each latent frame."""


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_clip_that_was_interrupted_goes_on_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    known = CLASSES[name]
    settings = replace(smallest(name, known), steps=4)
    condition = condition_for(known, settings)
    key = ClipKey("sha256:" + "a" * 64, PROMPT, 5, ())
    watch = Watch(Checkpoints(ClipStore(tmp_path / "store"), Interval(1, 0)))
    generator = loaded(name, tmp_path / "m", settings, watch=watch)
    expected = generator.generate(PROMPT, 5, condition)
    steps: list[int] = []

    def die(step: int, _steps: int) -> None:
        steps.append(step)
        if len(steps) == 3:  # the state after the second is kept
            raise Crash

    with pytest.raises(Crash), watch.clip(key, "cpu", (), die):
        generator.generate(PROMPT, 5, condition)
    torch.manual_seed(99)
    again = loaded(name, tmp_path / "again", settings, watch=watch)
    with watch.clip(key, "cpu", (), lambda _step, _steps: None) as taken:
        made = again.generate(PROMPT, 5, condition)
        resumed = taken().resumed
    np.testing.assert_array_equal(made.frames, expected.frames)
    check_sound(known, expected, made)
    assert resumed == (0 if name in WITHOUT_CHECKPOINTS else 2 * SCHEDULERS.get(name, 1))


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_fast_profile_uses_what_a_class_has(name: str, tmp_path: Path) -> None:
    known = CLASSES[name]
    settings = replace(smallest(name, known), steps=3, profile="fast")
    generator = loaded(
        name, tmp_path / "m", settings, parts=lambda: deeper(BUILDERS[name](), 3)
    )  # a cache needs two blocks
    assert ("first-block-cache" in generator.switches) == known.cacheable
    assert generator.generate(PROMPT, 5, condition_for(known, settings)).frames.shape == settings.shape
    pinned = [part for part in known.float32 if generator.pipeline.components.get(part) is not None]
    assert all(generator.pipeline.components[part].dtype == torch.float32 for part in pinned)


def check_sound(known: PipelineClass, first: Clip, again: Clip) -> None:
    if not known.sound:
        assert first.sound is None
        return
    assert first.sound is not None
    assert again.sound is not None
    assert first.sound.rate == RATE
    assert first.sound.waveform.dtype == np.float32
    assert first.sound.waveform.shape[0] == 2
    np.testing.assert_array_equal(again.sound.waveform, first.sound.waveform)


@pytest.mark.parametrize(
    "name", ["HeliosPipeline", "HunyuanVideoFramepackPipeline", "CogVideoXPipeline", "MochiPipeline"]
)
def test_the_next_longer_clip_too(name: str, tmp_path: Path) -> None:
    known = CLASSES[name]
    settings = smallest(name, known)
    settings = replace(settings, frames=settings.frames + known.frames.step)
    generator = loaded(name, tmp_path / "m", settings)
    assert generator.generate(PROMPT, 5, condition_for(known, settings)).frames.shape == settings.shape


@pytest.mark.parametrize("name", [name for name in sorted(CLASSES) if CLASSES[name].loads_from])
def test_loads_the_directories_of_its_sisters(name: str, tmp_path: Path) -> None:
    known = CLASSES[name]
    settings = smallest(name, known)
    for kind in known.loads_from:
        generator = loaded(name, tmp_path / kind, settings, kind)
        assert generator.generate(PROMPT, 5, condition_for(known, settings)).frames.shape == settings.shape


OPTIONAL = [name for name in sorted(CLASSES) if CLASSES[name].arguments.video and not CLASSES[name].needs_condition]


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_picture_or_a_video_changes_the_clip(name: str, tmp_path: Path) -> None:
    known = CLASSES[name]
    settings = smallest(name, known)
    if known.needs is not None and importlib.util.find_spec(known.needs.package) is None:
        pytest.skip(f"{known.needs.package} is not installed")
    generator = loaded(name, tmp_path / "m", settings)
    video = np.random.default_rng(1).integers(0, 256, settings.shape, dtype=np.uint8)
    conditions = [None, video, video[::-1]] + ([video[:1]] if known.arguments.image else [])
    clips = [generator.generate(PROMPT, 5, condition).frames for condition in conditions]
    for number, clip in enumerate(clips):
        assert all(not np.array_equal(clip, other) for other in clips[:number])


@pytest.mark.parametrize(
    ("name", "shape", "problem"),
    [
        ("CogVideoXImageToVideoPipeline", None, "makes clips from a picture and words; the task gives words only"),
        ("CogVideoXVideoToVideoPipeline", None, "makes clips from a video and words; the task gives words only"),
        ("CogVideoXImageToVideoPipeline", (1, 16, 32, 3), "expected a condition of uint8 (1 or 9, 32, 32, 3)"),
        ("CogVideoXImageToVideoPipeline", (9, 32, 32, 3), "takes no condition of 9 frames for clips of 9"),
        ("CogVideoXVideoToVideoPipeline", (1, 32, 32, 3), "takes no condition of 1 frames for clips of 9"),
    ],
)
def test_a_condition_that_does_not_fit_is_a_failure(
    name: str, shape: tuple[int, ...] | None, problem: str, tmp_path: Path
) -> None:
    generator = loaded(name, tmp_path / "m", smallest(name, CLASSES[name]))
    condition = None if shape is None else np.zeros(shape, dtype=np.uint8)
    with pytest.raises(GenerationError) as refusal:
        generator.generate(PROMPT, 5, condition)
    assert problem in str(refusal.value)


def test_a_warm_up_needs_no_condition_and_changes_nothing(tmp_path: Path) -> None:
    known = CLASSES["CogVideoXVideoToVideoPipeline"]
    settings = smallest("CogVideoXVideoToVideoPipeline", known)
    generator = loaded("CogVideoXVideoToVideoPipeline", tmp_path / "m", settings)
    condition = condition_for(known, settings)
    first = generator.generate(PROMPT, 5, condition).frames
    generator.warm_up()
    np.testing.assert_array_equal(generator.generate(PROMPT, 5, condition).frames, first)


def test_a_guardrail_that_the_licence_demands_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(GUARDRAIL)])
    monkeypatch.delitem(sys.modules, "cosmos_guardrail", raising=False)
    settings = smallest("CosmosTextToWorldPipeline", CLASSES["CosmosTextToWorldPipeline"])
    with pytest.raises(ModelError, match="its licence demands the checker of cosmos_guardrail; install"):
        loaded("CosmosTextToWorldPipeline", tmp_path / "m", settings)


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_a_package_that_some_weights_need_is_named(tmp_path: Path) -> None:
    build("CosmosTextToWorldPipeline", tmp_path / "m", parts=lambda: cosmos(mask=True))
    settings = smallest("CosmosTextToWorldPipeline", CLASSES["CosmosTextToWorldPipeline"])
    model = Model(id="tiny", pipeline="CosmosTextToWorldPipeline", manifest="sha256:" + "a" * 64)
    with pytest.raises(ModelError, match="CosmosTextToWorldPipeline: needs torchvision; install it"):
        DiffusersGenerator.load(inspect_weights(tmp_path / "m"), model, settings, "cpu")
