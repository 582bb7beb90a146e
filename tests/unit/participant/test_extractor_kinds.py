"""Every architecture, tiny and random: what an extractor says is what the library's class says of the same pixels."""

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

from testkit.tiny_extractors import CLASSES, FRAMES, READERS, dimension_of, extractor_at, loaded_from, write_extractor
from vdb_participant.data.video import Frames
from vdb_participant.embedded.scenes import render, scenes
from vdb_participant.measure.extractors.computing import FRAMES_AT_ONCE, Computing, FrameModel
from vdb_participant.measure.extractors.interface import (
    Classifier,
    ClipEmbedder,
    FrameEmbedder,
    FrameScorer,
    LoadedExtractor,
    PairScorer,
    SoundEmbedder,
    TextEmbedder,
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("extractors")
    for architecture in ARCHITECTURES:
        write_extractor(place, architecture)
    return place


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Mapping[str, LoadedExtractor]:
    return {name: loaded_from(folder / name.lower(), name) for name in ARCHITECTURES}


def _model(folder: Path, kind: str, architecture: str | None = None) -> Any:
    place = folder / (architecture or kind).lower()
    return getattr(transformers, kind).from_pretrained(place, local_files_only=True).eval()


def _pixels(frames: Frames) -> torch.Tensor:
    return (torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() * (1 / 255) - 0.5) / 0.5


def _tokens(folder: Path, architecture: str, text: str = PROMPT, **how: Any) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / architecture.lower(), local_files_only=True)
    return tokenizer(text, return_tensors="pt", **how)


def _unit(rows: torch.Tensor) -> Vector:
    found = rows.double().numpy()
    return np.asarray(found / np.linalg.norm(found, axis=-1, keepdims=True))


@torch.no_grad()
def _rows(folder: Path, architecture: str) -> torch.Tensor:
    model = _model(folder, architecture)
    if architecture in ("CLIPModel", "SiglipModel"):
        found: torch.Tensor = model.get_image_features(pixel_values=_pixels(CLIP)).pooler_output
        return found
    hidden: torch.Tensor = model(pixel_values=_pixels(CLIP)).last_hidden_state
    return hidden[:, 0]


def test_every_known_architecture_has_a_loader_and_no_other() -> None:
    assert set(LOADERS) == set(ARCHITECTURES)


@pytest.mark.parametrize("architecture", OF_FRAMES)
def test_frames_are_the_librarys_features_divided_by_their_lengths(
    folder: Path, loaded: Mapping[str, LoadedExtractor], architecture: str
) -> None:
    extractor = loaded[architecture]
    assert isinstance(extractor, FrameEmbedder)
    assert isinstance(extractor, ClipEmbedder)
    found = extractor.embed_frames(CLIP)
    assert found.dtype == np.float64
    assert found.shape == (17, extractor.description.dimension)
    np.testing.assert_allclose(found, _unit(_rows(folder, architecture)), atol=1e-6)
    np.testing.assert_array_equal(extractor.embed_clip(CLIP), found.mean(axis=0))
    assert np.abs(extractor.embed_clip(OTHER) - found.mean(axis=0)).max() > 1e-3


@torch.no_grad()
def test_words_of_clip_are_the_librarys(folder: Path, loaded: Mapping[str, LoadedExtractor]) -> None:
    extractor = loaded["CLIPModel"]
    assert isinstance(extractor, TextEmbedder)
    theirs = _model(folder, "CLIPModel").get_text_features(**_tokens(folder, "CLIPModel")).pooler_output
    np.testing.assert_allclose(extractor.embed_text(PROMPT), _unit(theirs)[0], atol=1e-6)


@torch.no_grad()
def test_words_of_siglip_are_filled_up_and_cut_off(folder: Path, loaded: Mapping[str, LoadedExtractor]) -> None:
    extractor, model = loaded["SiglipModel"], _model(folder, "SiglipModel")
    assert isinstance(extractor, TextEmbedder)
    for text in (PROMPT, "long " * 40):
        ids = _tokens(folder, "SiglipModel", text, padding="max_length", max_length=40, truncation=True)["input_ids"]
        theirs = _unit(model.get_text_features(input_ids=ids).pooler_output)[0]
        np.testing.assert_allclose(extractor.embed_text(text), theirs, atol=1e-6)
    unfilled = model.get_text_features(input_ids=_tokens(folder, "SiglipModel")["input_ids"]).pooler_output
    assert np.abs(extractor.embed_text(PROMPT) - _unit(unfilled)[0]).max() > 1e-3


@torch.no_grad()
def _clip_features(folder: Path, architecture: str) -> torch.Tensor:
    pixels = _pixels(CLIP[CHOSEN])[None]
    found: torch.Tensor
    match architecture:
        case "VideoMAEModel":
            found = _model(folder, architecture)(pixel_values=pixels).last_hidden_state[0].double().mean(dim=0)
        case "VJEPA2Model":
            found = _model(folder, architecture).get_vision_features(pixels)[0].double().mean(dim=0)
        case _:
            model = _model(folder, "VideoMAEForVideoClassification", architecture)
            states = model(pixel_values=pixels, output_hidden_states=True).hidden_states[-1]
            found = model.fc_norm(states.mean(1))[0]
    return found


@pytest.mark.parametrize("architecture", OF_CLIPS)
def test_clips_are_the_mean_of_the_last_layer(
    folder: Path, loaded: Mapping[str, LoadedExtractor], architecture: str
) -> None:
    extractor = loaded[architecture]
    assert isinstance(extractor, ClipEmbedder)
    assert extractor.description.frames == FRAMES
    found = extractor.embed_clip(CLIP)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, _clip_features(folder, architecture).numpy(), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_features_without_the_head_are_what_the_head_reads(folder: Path, loaded: Mapping[str, LoadedExtractor]) -> None:
    extractor = loaded["VideoMAEFineTuned"]
    assert isinstance(extractor, ClipEmbedder)
    model = _model(folder, "VideoMAEForVideoClassification", "VideoMAEFineTuned")
    logits = model.classifier(torch.from_numpy(extractor.embed_clip(CLIP)).float())
    theirs = model(pixel_values=_pixels(CLIP[CHOSEN])[None]).logits[0]
    np.testing.assert_allclose(logits, theirs, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_x_clip_is_the_librarys_alone_and_with_words(folder: Path, loaded: Mapping[str, LoadedExtractor]) -> None:
    extractor = loaded["XCLIPModel"]
    model, tokens = _model(folder, "XCLIPModel"), _tokens(folder, "XCLIPModel")
    pixels = _pixels(CLIP[CHOSEN])[None]
    assert isinstance(extractor, ClipEmbedder)
    assert isinstance(extractor, TextEmbedder)
    assert isinstance(extractor, PairScorer)
    theirs = _unit(model.get_video_features(pixel_values=pixels).pooler_output)[0]
    np.testing.assert_allclose(extractor.embed_clip(CLIP), theirs, atol=1e-6)
    theirs = _unit(model.get_text_features(**tokens).pooler_output)[0]
    np.testing.assert_allclose(extractor.embed_text(PROMPT), theirs, atol=1e-6)
    both = model(pixel_values=pixels, **tokens)
    logit = float(both.logits_per_video[0, 0] / model.logit_scale.exp())
    assert extractor.cosine(CLIP, PROMPT) == pytest.approx(logit, abs=1e-6)
    alone = float(extractor.embed_clip(CLIP) @ extractor.embed_text(PROMPT))
    assert abs(extractor.cosine(CLIP, PROMPT) - alone) > 1e-4


@torch.no_grad()
def test_kinds_of_clips_are_the_librarys(folder: Path, loaded: Mapping[str, LoadedExtractor]) -> None:
    extractor = loaded["VideoMAEForVideoClassification"]
    assert isinstance(extractor, Classifier)
    model = _model(folder, "VideoMAEForVideoClassification")
    theirs = model(pixel_values=_pixels(CLIP[CHOSEN])[None]).logits[0].double().softmax(dim=0)
    np.testing.assert_allclose(extractor.probabilities(CLIP), theirs, atol=1e-6)
    assert extractor.probabilities(CLIP).sum() == pytest.approx(1, abs=1e-12)


@torch.no_grad()
def test_kinds_of_frames_are_the_librarys(folder: Path, loaded: Mapping[str, LoadedExtractor]) -> None:
    extractor = loaded["ViTForImageClassification"]
    assert isinstance(extractor, Classifier)
    theirs = _model(folder, "ViTForImageClassification")(pixel_values=_pixels(CLIP)).logits.double().softmax(dim=1)
    assert extractor.probabilities(CLIP).shape == (17, len(CLASSES))
    np.testing.assert_allclose(extractor.probabilities(CLIP), theirs, atol=1e-6)


@torch.no_grad()
def test_flagged_frames_are_those_of_flagged_kinds(folder: Path, loaded: Mapping[str, LoadedExtractor]) -> None:
    extractor = loaded["SafetyClassifier"]
    assert isinstance(extractor, FrameScorer)
    model = _model(folder, "ViTForImageClassification", "SafetyClassifier")
    theirs = model(pixel_values=_pixels(CLIP)).logits.double().softmax(dim=1)
    nude, violent = CLASSES.index("nude"), CLASSES.index("violent")
    np.testing.assert_allclose(extractor.scores(CLIP), theirs[:, nude] + theirs[:, violent], atol=1e-6)


@torch.no_grad()
def test_aesthetics_are_the_head_on_unit_vectors_over_ten(folder: Path, loaded: Mapping[str, LoadedExtractor]) -> None:
    extractor = loaded["AestheticPredictor"]
    assert isinstance(extractor, FrameScorer)
    model = _model(folder, "CLIPVisionModelWithProjection", "AestheticPredictor")
    rows = _unit(model(pixel_values=_pixels(CLIP)).image_embeds)
    head = load_file(folder / "aestheticpredictor" / "head.safetensors")
    np.testing.assert_allclose(extractor.scores(CLIP), (rows @ head["weight"][0] + head["bias"][0]) / 10, atol=1e-6)


@torch.no_grad()
def test_quality_is_the_one_output(folder: Path, loaded: Mapping[str, LoadedExtractor]) -> None:
    extractor = loaded["ImageQualityPredictor"]
    assert isinstance(extractor, FrameScorer)
    model = _model(folder, "ViTForImageClassification", "ImageQualityPredictor")
    theirs = model(pixel_values=_pixels(CLIP)).logits[:, 0]
    np.testing.assert_allclose(extractor.scores(CLIP), theirs, atol=1e-5)


@torch.no_grad()
def test_antonyms_share_one_probability(folder: Path, loaded: Mapping[str, LoadedExtractor]) -> None:
    extractor = loaded["CLIPIQA"]
    assert isinstance(extractor, FrameScorer)
    model = _model(folder, "CLIPModel", "CLIPIQA")
    pictures = _unit(model.get_image_features(pixel_values=_pixels(CLIP)).pooler_output)
    words = [
        _unit(model.get_text_features(**_tokens(folder, "CLIPIQA", text)).pooler_output)[0]
        for text in ("Good photo.", "Bad photo.")
    ]
    logits = torch.from_numpy(100 * pictures @ np.stack(words, axis=1))
    np.testing.assert_allclose(extractor.scores(CLIP), logits.softmax(dim=1)[:, 0], atol=1e-4)


def test_every_extractor_gives_what_the_table_says(loaded: Mapping[str, LoadedExtractor]) -> None:
    protocols: Mapping[str, Any] = {
        "frames": FrameEmbedder,
        "text": TextEmbedder,
        "clip": ClipEmbedder,
        "sound": SoundEmbedder,
        "pair": PairScorer,
        "probabilities": Classifier,
        "scores": FrameScorer,
    }
    for name, extractor in loaded.items():
        assert {kind for kind, protocol in protocols.items() if isinstance(extractor, protocol)} == set(
            ARCHITECTURES[name].gives
        ), name


def test_every_extractor_describes_itself(folder: Path, loaded: Mapping[str, LoadedExtractor]) -> None:
    for name, extractor in loaded.items():
        known, wanted = extractor.description, extractor_at(folder / name.lower(), name)
        assert (known.id, known.architecture, known.manifest) == (wanted.id, name, wanted.manifest)
        assert (known.dimension, known.precision) == (dimension_of(name), "float32")
        assert known.device.startswith("CPU ")


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


SEEING = sorted(set(ARCHITECTURES) - {"ClapModel"})


@pytest.mark.parametrize("architecture", SEEING)
def test_answers_do_not_depend_on_what_came_before(loaded: Mapping[str, LoadedExtractor], architecture: str) -> None:
    """Bitwise."""
    extractor = loaded[architecture]
    first = [_answers(extractor, clip) for clip in (CLIP, OTHER)]
    again = [_answers(extractor, clip) for clip in (OTHER, CLIP)][::-1]
    for one, two in zip(first, again, strict=True):
        for earlier, later in zip(one, two, strict=True):
            np.testing.assert_array_equal(earlier, later)


@pytest.mark.parametrize("architecture", SEEING)
def test_threads_change_answers_by_rounding_only(
    loaded: Mapping[str, LoadedExtractor], architecture: str, with_threads: Callable[[int], None]
) -> None:
    """Within 1e-6 of the largest number: sums are split among threads, and rounded in another order."""
    with_threads(1)
    one = _answers(loaded[architecture], CLIP)
    with_threads(2)
    two = _answers(loaded[architecture], CLIP)
    for single, double in zip(one, two, strict=True):
        np.testing.assert_allclose(single, double, rtol=0, atol=1e-6 * max(1, np.abs(single).max()))


@pytest.fixture
def with_threads() -> Any:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


LONG = np.concatenate([render(scene, 9, frames=17, size=32) for scene in scenes(9, 5)])[:77]


@pytest.mark.parametrize("architecture", [*OF_FRAMES, *OF_SCORES])
def test_a_long_clip_is_the_sum_of_its_chunks(loaded: Mapping[str, LoadedExtractor], architecture: str) -> None:
    """Bitwise where the clip is cut between chunks; within 1e-6 where it is cut elsewhere."""
    extractor = loaded[architecture]

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
    tolerance = 2e-4 if architecture == "CLIPIQA" else 1e-5  # CLIP-IQA multiplies by a hundred
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
    loaded: Mapping[str, LoadedExtractor], architecture: str
) -> None:
    changed = CLIP.copy()
    changed[[number for number in range(17) if number not in CHOSEN]] = 99
    for before, after in zip(
        _answers(loaded[architecture], CLIP), _answers(loaded[architecture], changed), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    with pytest.raises(ModelError, match="takes 8 frames, the clip has 7"):
        _answers(loaded[architecture], CLIP[:7])


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


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_another_dimension_than_the_specs_is_refused(folder: Path, architecture: str) -> None:
    place = folder / architecture.lower()
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
        for architecture in sorted(set(ARCHITECTURES) - set(SCRIPTS))
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


@pytest.mark.parametrize(
    ("written", "asked", "missing"),
    [
        ("VideoMAEModel", "VideoMAEForVideoClassification", "classifier.bias"),
        ("VideoMAEModel", "VideoMAEFineTuned", "classifier.bias"),
        ("CLIPModel", "SiglipModel", "of the right shape"),
        ("ViTModel", "ViTForImageClassification", "classifier.bias"),
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
        ("nude", "expected a list of labels"),
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


def test_the_cpu_computes_in_float32_whatever_is_asked_for(folder: Path) -> None:
    place = folder / "dinov2model"
    extractor = extractor_at(place, "Dinov2Model")
    plain, asked = (
        load_extractor(inspect_weights(place), extractor, "cpu", precision) for precision in ("float32", "float16")
    )
    assert isinstance(plain, FrameEmbedder)
    assert isinstance(asked, FrameEmbedder)
    assert asked.description.precision == "float32"
    np.testing.assert_array_equal(asked.embed_frames(CLIP), plain.embed_frames(CLIP))


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", sorted(LOADERS))
def test_a_gpu_gives_the_same_but_for_rounding(
    folder: Path, loaded: Mapping[str, LoadedExtractor], architecture: str
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    place = folder / architecture.lower()
    weights = inspect_weights(place, ARCHITECTURES[architecture].script)
    for precision, tolerance in (("float32", 1e-4), ("float16", 5e-2)):
        there = load_extractor(weights, extractor_at(place, architecture), "cuda", precision)  # type: ignore[arg-type]  # the loop's strings are Precisions
        for ours, theirs in zip(_answers(loaded[architecture], CLIP), _answers(there, CLIP), strict=True):
            scale = max(1, np.abs(ours).max())
            if architecture != "CLIPIQA":
                np.testing.assert_allclose(theirs / scale, ours / scale, atol=tolerance)
