"""Every architecture, tiny and random: no answer hangs on company, and what does not fit is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from testkit.tiny_extractors import (
    CLASSES,
    FRAMES,
    READERS,
    SMALL,
    dimension_of,
    extractor_at,
    loaded_from,
    write_extractor,
)
from vdb_participant.data.video import Frames
from vdb_participant.embedded.scenes import render, scenes
from vdb_participant.measure.extractors.computing import FRAMES_AT_ONCE, Computing, FrameModel
from vdb_participant.measure.extractors.interface import (
    Classifier,
    ClipEmbedder,
    FrameEmbedder,
    FrameScorer,
    LoadedExtractor,
    Vector,
)
from vdb_participant.measure.extractors.table import LOADERS, load_extractor
from vdb_participant.measure.preprocessing import Preprocessing
from vdb_participant.models import inspect_weights
from vdb_shared.errors import ModelError
from vdb_shared.metrics.extractors import ARCHITECTURES

CLIP = render(scenes(7, 3)[1], 7, frames=17, size=32)
OTHER = render(scenes(7, 3)[2], 7, frames=17, size=32)
PROMPT = "a red circle moving left"
CHOSEN = [(2 * i + 1) * 17 // (2 * FRAMES) for i in range(FRAMES)]

OF_FRAMES = ("CLIPModel", "SiglipModel", "Dinov2Model", "ViTModel")
OF_CLIPS = ("VideoMAEModel", "VideoMAEFineTuned", "VJEPA2Model")
OF_SCORES = ("SafetyClassifier", "AestheticPredictor", "ImageQualityPredictor", "CLIPIQA")
SCRIPTS = ("I3D", "C3D")


def _model(folder: Path, kind: str, architecture: str | None = None) -> Any:
    place = folder / (architecture or kind).lower()
    return getattr(transformers, kind).from_pretrained(place, local_files_only=True).eval()


def _pixels(frames: Frames) -> torch.Tensor:
    return (torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() * (1 / 255) - 0.5) / 0.5


def _answers(extractor: LoadedExtractor, frames: Frames) -> list[Vector]:
    found: list[Vector] = []
    if isinstance(extractor, FrameEmbedder):
        found.append(extractor.embed_frames(frames))
    if isinstance(extractor, ClipEmbedder):
        found.append(extractor.embed_clip(frames))
    if isinstance(extractor, Classifier):
        found.append(extractor.probabilities(frames))
    if isinstance(extractor, FrameScorer):
        found.append(extractor.scores(frames))
    return found


SEEING = sorted(set(SMALL) - {"ClapModel"})


@pytest.mark.parametrize("architecture", SEEING)
def test_answers_do_not_depend_on_what_came_before(
    loaded_extractors: Mapping[str, LoadedExtractor], architecture: str
) -> None:
    """Bitwise."""
    extractor = loaded_extractors[architecture]
    first = [_answers(extractor, clip) for clip in (CLIP, OTHER)]
    again = [_answers(extractor, clip) for clip in (OTHER, CLIP)][::-1]
    for one, two in zip(first, again, strict=True):
        for earlier, later in zip(one, two, strict=True):
            np.testing.assert_array_equal(earlier, later)


@pytest.mark.parametrize("architecture", SEEING)
def test_threads_change_answers_by_rounding_only(
    loaded_extractors: Mapping[str, LoadedExtractor], architecture: str, with_threads: Callable[[int], None]
) -> None:
    """Within 1e-6 of the largest number: sums are split among threads, and rounded in another order."""
    with_threads(1)
    one = _answers(loaded_extractors[architecture], CLIP)
    with_threads(2)
    two = _answers(loaded_extractors[architecture], CLIP)
    for single, double in zip(one, two, strict=True):
        np.testing.assert_allclose(single, double, rtol=0, atol=1e-6 * max(1, np.abs(single).max()))


@pytest.fixture
def with_threads() -> Any:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


LONG = np.concatenate([render(scene, 9, frames=17, size=32) for scene in scenes(9, 5)])[:77]


@pytest.mark.parametrize("architecture", [*OF_FRAMES, *OF_SCORES])
def test_a_long_clip_is_the_sum_of_its_chunks(
    loaded_extractors: Mapping[str, LoadedExtractor], architecture: str
) -> None:
    """Bitwise where the clip is cut between chunks; within 1e-6 where it is cut elsewhere."""
    extractor = loaded_extractors[architecture]

    def answer(frames: Frames) -> Vector:
        if isinstance(extractor, FrameEmbedder):
            return extractor.embed_frames(frames)
        assert isinstance(extractor, FrameScorer)
        return extractor.scores(frames)

    whole = answer(LONG)
    chunks = [answer(LONG[start : start + FRAMES_AT_ONCE]) for start in range(0, len(LONG), FRAMES_AT_ONCE)]
    np.testing.assert_array_equal(np.concatenate(chunks), whole)
    longer = answer(np.concatenate([LONG, LONG]))
    np.testing.assert_array_equal(longer[: 2 * FRAMES_AT_ONCE], whole[: 2 * FRAMES_AT_ONCE])
    alone = np.concatenate([answer(LONG[[number]]) for number in (0, 40, 76)])
    tolerance = 1e-4 if architecture == "CLIPIQA" else 1e-6  # CLIP-IQA multiplies by a hundred
    np.testing.assert_allclose(alone, whole[[0, 40, 76]], atol=tolerance)


def test_no_more_frames_go_through_a_model_at_once(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{}")
    seen: list[tuple[int, ...]] = []

    def rows(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(pixels.shape))
        return pixels.mean(dim=(2, 3))

    model = FrameModel(Computing.on("cpu"), Preprocessing.load(tmp_path), rows)
    assert model(LONG).shape == (77, 3)
    assert [shape[0] for shape in seen] == [32, 32, 13]


@pytest.mark.parametrize("architecture", [*OF_CLIPS, "XCLIPModel", "VideoMAEForVideoClassification"])
def test_only_frames_at_the_middles_of_equal_parts_are_seen(
    loaded_extractors: Mapping[str, LoadedExtractor], architecture: str
) -> None:
    changed = CLIP.copy()
    changed[[number for number in range(17) if number not in CHOSEN]] = 99
    for before, after in zip(
        _answers(loaded_extractors[architecture], CLIP), _answers(loaded_extractors[architecture], changed), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    with pytest.raises(ModelError, match="takes 8 frames, the clip has 7"):
        _answers(loaded_extractors[architecture], CLIP[:7])


@pytest.mark.parametrize("architecture", [*OF_FRAMES, *OF_CLIPS, "I3D"])
def test_a_projection_is_used_where_there_is_one(tmp_path: Path, architecture: str) -> None:
    place = write_extractor(tmp_path, architecture)
    raw = loaded_from(place, architecture)
    assert isinstance(raw, ClipEmbedder)
    size = dimension_of(architecture)
    draws = np.random.default_rng(3)
    public = {
        "centre": draws.normal(size=size),
        "basis": np.linalg.qr(draws.normal(size=(size, 4)))[0],
        "radius": np.asarray(2.5),
    }
    save_file(public, place / "projection.safetensors")
    projected = loaded_from(place, architecture, 4)
    assert isinstance(projected, ClipEmbedder)
    expected = (raw.embed_clip(CLIP) - public["centre"]) @ public["basis"] / 2.5
    np.testing.assert_allclose(projected.embed_clip(CLIP), expected, rtol=0, atol=1e-12)
    if architecture in OF_FRAMES:
        assert isinstance(raw, FrameEmbedder)
        assert isinstance(projected, FrameEmbedder)
        np.testing.assert_array_equal(projected.embed_frames(CLIP), raw.embed_frames(CLIP))
    with pytest.raises(ModelError, match=str(place)):
        loaded_from(place, architecture, 5)
    save_file(public | {"centre": np.zeros(6), "basis": np.eye(6, 4)}, place / "projection.safetensors")
    with pytest.raises(ModelError, match=f"{place}: expected features"):
        loaded_from(place, architecture, 4)


@pytest.mark.parametrize("architecture", sorted(SMALL))
def test_another_dimension_than_the_specs_is_refused(extractor_folder: Path, architecture: str) -> None:
    place = extractor_folder / architecture.lower()
    with pytest.raises(ModelError, match=str(place)) as refusal:
        loaded_from(place, architecture, 7)
    assert "7" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def _spoil(place: Path, what: str) -> None:
    match what:
        case "weights":
            (place / "model.safetensors").write_bytes(b"no weights")
        case "no constants":
            (place / "config.json").unlink()
        case "constants":
            known = json.loads((place / "config.json").read_text())
            (place / "config.json").write_text(
                json.dumps(known | {"hidden_size": "large", "projection_dim": "large", "vision_config": 7})
            )
        case "preprocessing":
            (place / "preprocessor_config.json").write_text('{"size": "small", "hop_length": "small"}')
        case _:
            (place / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    ("architecture", "what"),
    [
        (architecture, what)
        for architecture in sorted(set(SMALL) - set(SCRIPTS))
        for what in ("weights", "no constants", "constants", "preprocessing", "words")
        if what != "words" or architecture in READERS
    ],
)
def test_directories_that_cannot_be_loaded_are_named_in_one_line(tmp_path: Path, architecture: str, what: str) -> None:
    place = write_extractor(tmp_path, architecture)
    _spoil(place, what)
    with pytest.raises(ModelError, match=str(place)) as refusal:
        loaded_from(place, architecture)
    assert "\n" not in str(refusal.value)
    assert what != "no constants" or "expected config.json, found none" in str(refusal.value)


@pytest.mark.parametrize(
    ("written", "asked", "missing"),
    [
        ("VideoMAEModel", "VideoMAEForVideoClassification", "classifier.bias"),
        ("VideoMAEModel", "VideoMAEFineTuned", "classifier.bias"),
        ("CLIPModel", "SiglipModel", "of the right shape"),
        ("ViTModel", "ImageQualityPredictor", "classifier.bias"),
    ],
)
def test_weights_that_are_not_there_are_not_made_up(tmp_path: Path, written: str, asked: str, missing: str) -> None:
    place = write_extractor(tmp_path, written)
    with pytest.raises(ModelError, match=rf"has no .*{missing}.* which a .* needs") as refusal:
        loaded_from(place, asked)
    assert "\n" not in str(refusal.value)


def test_vjepa2_takes_as_many_frames_as_its_preprocessing_says(tmp_path: Path) -> None:
    place = write_extractor(tmp_path, "VJEPA2Model")
    path = place / "preprocessor_config.json"
    constants = json.loads(path.read_text())
    path.write_text(json.dumps(constants | {"num_frames": 4}))
    extractor = loaded_from(place, "VJEPA2Model")
    assert isinstance(extractor, ClipEmbedder)
    assert extractor.description.frames == 4
    pixels = _pixels(CLIP[[2, 6, 10, 14]])[None]
    with torch.no_grad():
        theirs = _model(tmp_path, "VJEPA2Model").get_vision_features(pixels)[0].double().mean(dim=0)
    np.testing.assert_allclose(extractor.embed_clip(CLIP), theirs, rtol=1e-5, atol=1e-5)
    path.write_text(json.dumps(constants | {"num_frames": 3}))
    with pytest.raises(ModelError, match="expected num_frames to be a multiple of 2, found 3"):
        loaded_from(place, "VJEPA2Model")
    path.write_text(json.dumps(constants | {"size": {"shortest_edge": 32}}))
    with pytest.raises(ModelError, match=r"expected pixels of 32x32, .* found no fixed size"):
        loaded_from(place, "VJEPA2Model")
    path.write_text(json.dumps(constants))
    path.rename(place / "video_preprocessor_config.json")
    assert loaded_from(place, "VJEPA2Model").description.frames == FRAMES


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ('["nude", "gory"]', "'gory' is none of the classes calm, nude"),
        ('{"nude": 1}', "expected a list of labels"),
        ("[]", "expected a list of labels"),
        ("nude", "is not JSON, so that nobody can say what it names"),
    ],
)
def test_flags_are_labels_of_the_model(tmp_path: Path, flags: str, problem: str) -> None:
    place = write_extractor(tmp_path, "SafetyClassifier")
    (place / "flagged_labels.json").write_text(flags)
    with pytest.raises(ModelError, match=problem) as refusal:
        loaded_from(place, "SafetyClassifier")
    assert str(place / "flagged_labels.json") in str(refusal.value)
    assert "\n" not in str(refusal.value)
    (place / "flagged_labels.json").unlink()
    with pytest.raises(ModelError, match="expected a list of labels"):
        loaded_from(place, "SafetyClassifier")


def test_a_predictor_of_quality_has_one_output(extractor_folder: Path) -> None:
    place = extractor_folder / "safetyclassifier"
    with pytest.raises(ModelError, match="expected 1 classes, found 4"):
        loaded_from(place, "ImageQualityPredictor", len(CLASSES))


@pytest.mark.parametrize("what", ["no head", "no bias", "shape"])
def test_heads_that_do_not_fit_are_refused(tmp_path: Path, what: str) -> None:
    place = write_extractor(tmp_path, "AestheticPredictor")
    head = load_file(place / "head.safetensors")
    match what:
        case "no head":
            (place / "head.safetensors").unlink()
        case "no bias":
            save_file({"weight": head["weight"]}, place / "head.safetensors")
        case _:
            save_file({"weight": head["weight"][:, :5].copy(), "bias": head["bias"]}, place / "head.safetensors")
    with pytest.raises(ModelError, match=str(place / "head.safetensors")) as refusal:
        loaded_from(place, "AestheticPredictor")
    assert "\n" not in str(refusal.value)


def test_the_cpu_computes_in_float32_whatever_is_asked_for(extractor_folder: Path) -> None:
    place = extractor_folder / "dinov2model"
    extractor = extractor_at(place, "Dinov2Model")
    plain, asked = (
        load_extractor(inspect_weights(place), extractor.model_copy(update={"precision": precision}), "cpu")
        for precision in (None, "float16")
    )
    assert isinstance(plain, FrameEmbedder)
    assert isinstance(asked, FrameEmbedder)
    assert asked.description.precision == "float32"
    np.testing.assert_array_equal(asked.embed_frames(CLIP), plain.embed_frames(CLIP))


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", sorted(LOADERS))
def test_a_gpu_gives_the_same_but_for_rounding(
    extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor], architecture: str
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    place = extractor_folder / architecture.lower()
    weights = inspect_weights(place, ARCHITECTURES[architecture].script)
    for precision, tolerance in ((None, 1e-4), ("float16", 5e-2)):
        extractor = extractor_at(place, architecture).model_copy(update={"precision": precision})
        there = load_extractor(weights, extractor, "cuda")
        for ours, theirs in zip(_answers(loaded_extractors[architecture], CLIP), _answers(there, CLIP), strict=True):
            scale = max(1, np.abs(ours).max())
            if architecture != "CLIPIQA":
                np.testing.assert_allclose(theirs / scale, ours / scale, atol=tolerance)
