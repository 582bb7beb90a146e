"""Every architecture, tiny and random: what an extractor says is what the library's class says of the same pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file

from testkit.tiny_extractors import CLASSES, FRAMES, dimension_of, extractor_at
from vdb_participant.data.video import Frames
from vdb_participant.embedded.scenes import render, scenes
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
from vdb_participant.measure.extractors.table import LOADERS
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
    extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor], architecture: str
) -> None:
    extractor = loaded_extractors[architecture]
    assert isinstance(extractor, FrameEmbedder)
    assert isinstance(extractor, ClipEmbedder)
    found = extractor.embed_frames(CLIP)
    assert found.dtype == np.float64
    assert found.shape == (17, extractor.description.dimension)
    np.testing.assert_allclose(found, _unit(_rows(extractor_folder, architecture)), atol=1e-6)
    np.testing.assert_array_equal(extractor.embed_clip(CLIP), found.mean(axis=0))
    assert np.abs(extractor.embed_clip(OTHER) - found.mean(axis=0)).max() > 1e-3


@torch.no_grad()
def test_words_of_clip_are_the_librarys(
    extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor]
) -> None:
    extractor = loaded_extractors["CLIPModel"]
    assert isinstance(extractor, TextEmbedder)
    theirs = (
        _model(extractor_folder, "CLIPModel").get_text_features(**_tokens(extractor_folder, "CLIPModel")).pooler_output
    )
    np.testing.assert_allclose(extractor.embed_text(PROMPT), _unit(theirs)[0], atol=1e-6)


@torch.no_grad()
def test_words_of_siglip_are_filled_up_and_cut_off(
    extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor]
) -> None:
    extractor, model = loaded_extractors["SiglipModel"], _model(extractor_folder, "SiglipModel")
    assert isinstance(extractor, TextEmbedder)
    for text in (PROMPT, "long " * 40):
        ids = _tokens(extractor_folder, "SiglipModel", text, padding="max_length", max_length=40, truncation=True)[
            "input_ids"
        ]
        theirs = _unit(model.get_text_features(input_ids=ids).pooler_output)[0]
        np.testing.assert_allclose(extractor.embed_text(text), theirs, atol=1e-6)
    unfilled = model.get_text_features(input_ids=_tokens(extractor_folder, "SiglipModel")["input_ids"]).pooler_output
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
    extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor], architecture: str
) -> None:
    extractor = loaded_extractors[architecture]
    assert isinstance(extractor, ClipEmbedder)
    assert extractor.description.frames == FRAMES
    found = extractor.embed_clip(CLIP)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, _clip_features(extractor_folder, architecture).numpy(), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_features_without_the_head_are_what_the_head_reads(
    extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor]
) -> None:
    extractor = loaded_extractors["VideoMAEFineTuned"]
    assert isinstance(extractor, ClipEmbedder)
    model = _model(extractor_folder, "VideoMAEForVideoClassification", "VideoMAEFineTuned")
    logits = model.classifier(torch.from_numpy(extractor.embed_clip(CLIP)).float())
    theirs = model(pixel_values=_pixels(CLIP[CHOSEN])[None]).logits[0]
    np.testing.assert_allclose(logits, theirs, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_x_clip_is_the_librarys_alone_and_with_words(
    extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor]
) -> None:
    extractor = loaded_extractors["XCLIPModel"]
    model, tokens = _model(extractor_folder, "XCLIPModel"), _tokens(extractor_folder, "XCLIPModel")
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
def test_kinds_of_clips_are_the_librarys(
    extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor]
) -> None:
    extractor = loaded_extractors["VideoMAEForVideoClassification"]
    assert isinstance(extractor, Classifier)
    model = _model(extractor_folder, "VideoMAEForVideoClassification")
    theirs = model(pixel_values=_pixels(CLIP[CHOSEN])[None]).logits[0].double().softmax(dim=0)
    np.testing.assert_allclose(extractor.probabilities(CLIP), theirs, atol=1e-6)
    assert extractor.probabilities(CLIP).sum() == pytest.approx(1, abs=1e-12)


@torch.no_grad()
def test_flagged_frames_are_those_of_flagged_kinds(
    extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor]
) -> None:
    extractor = loaded_extractors["SafetyClassifier"]
    assert isinstance(extractor, FrameScorer)
    model = _model(extractor_folder, "ViTForImageClassification", "SafetyClassifier")
    theirs = model(pixel_values=_pixels(CLIP)).logits.double().softmax(dim=1)
    nude, violent = CLASSES.index("nude"), CLASSES.index("violent")
    np.testing.assert_allclose(extractor.scores(CLIP), theirs[:, nude] + theirs[:, violent], atol=1e-6)


@torch.no_grad()
def test_aesthetics_are_the_head_on_unit_vectors_over_ten(
    extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor]
) -> None:
    extractor = loaded_extractors["AestheticPredictor"]
    assert isinstance(extractor, FrameScorer)
    model = _model(extractor_folder, "CLIPVisionModelWithProjection", "AestheticPredictor")
    rows = _unit(model(pixel_values=_pixels(CLIP)).image_embeds)
    head = load_file(extractor_folder / "aestheticpredictor" / "head.safetensors")
    np.testing.assert_allclose(extractor.scores(CLIP), (rows @ head["weight"][0] + head["bias"][0]) / 10, atol=1e-6)


@torch.no_grad()
def test_quality_is_the_one_output(extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor]) -> None:
    extractor = loaded_extractors["ImageQualityPredictor"]
    assert isinstance(extractor, FrameScorer)
    model = _model(extractor_folder, "ViTForImageClassification", "ImageQualityPredictor")
    theirs = model(pixel_values=_pixels(CLIP)).logits[:, 0]
    np.testing.assert_allclose(extractor.scores(CLIP), theirs, atol=1e-5)


@torch.no_grad()
def test_antonyms_share_one_probability(
    extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor]
) -> None:
    extractor = loaded_extractors["CLIPIQA"]
    assert isinstance(extractor, FrameScorer)
    model = _model(extractor_folder, "CLIPModel", "CLIPIQA")
    pictures = _unit(model.get_image_features(pixel_values=_pixels(CLIP)).pooler_output)
    words = [
        _unit(model.get_text_features(**_tokens(extractor_folder, "CLIPIQA", text)).pooler_output)[0]
        for text in ("Good photo.", "Bad photo.")
    ]
    logits = torch.from_numpy(100 * pictures @ np.stack(words, axis=1))
    np.testing.assert_allclose(extractor.scores(CLIP), logits.softmax(dim=1)[:, 0], atol=1e-4)


def test_every_extractor_gives_what_the_table_says(loaded_extractors: Mapping[str, LoadedExtractor]) -> None:
    protocols: Mapping[str, Any] = {
        "frames": FrameEmbedder,
        "text": TextEmbedder,
        "clip": ClipEmbedder,
        "sound": SoundEmbedder,
        "pair": PairScorer,
        "probabilities": Classifier,
        "scores": FrameScorer,
    }
    for name, extractor in loaded_extractors.items():
        assert {kind for kind, protocol in protocols.items() if isinstance(extractor, protocol)} == set(
            ARCHITECTURES[name].gives
        ), name


def test_every_extractor_describes_itself(
    extractor_folder: Path, loaded_extractors: Mapping[str, LoadedExtractor]
) -> None:
    for name, extractor in loaded_extractors.items():
        known, wanted = extractor.description, extractor_at(extractor_folder / name.lower(), name)
        assert (known.id, known.architecture, known.manifest) == (wanted.id, name, wanted.manifest)
        assert (known.dimension, known.precision) == (dimension_of(name), "float32")
        assert known.device.startswith("CPU ")
