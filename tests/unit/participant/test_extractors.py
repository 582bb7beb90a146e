"""Extractors: against transformers' own processors and torchmetrics, and independent of company."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torchmetrics.functional.multimodal import clip_score as torchmetrics_clip_score
from transformers import AutoTokenizer, CLIPModel, VideoMAEModel
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from vdb_participant.data.video import Frames
from vdb_participant.embedded.scenes import Scene, render, scenes
from vdb_participant.measure.alignment import clip_score
from vdb_participant.measure.extractors.images import ImageTextExtractor
from vdb_participant.measure.extractors.interface import LoadedExtractor
from vdb_participant.measure.extractors.table import load_extractor
from vdb_participant.measure.extractors.video import VideoExtractor, pooled_features
from vdb_participant.measure.preprocessing import Preprocessing
from vdb_participant.models import inspect_weights
from vdb_shared.errors import ModelError
from vdb_shared.spec import Extractor

PROMPT = "a red circle moving left on a dark background"
FRAMES = render(Scene("circle", "red", "moving left", "dark"), 0, frames=9, size=48)

CLIP_CONSTANTS = {
    "crop_size": {"height": 24, "width": 24},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 30},
}


def _extractor(folder: Path, architecture: str, dimension: int) -> Extractor:
    return Extractor.model_validate(
        {
            "id": folder.name,
            "architecture": architecture,
            "manifest": inspect_weights(folder).manifest,
            "dimension": dimension,
        }
    )


def _load(folder: Path, architecture: str, dimension: int) -> LoadedExtractor:
    return load_extractor(inspect_weights(folder), _extractor(folder, architecture, dimension), "cpu")


@pytest.fixture(scope="session")
def words(tiny_models: Path) -> ImageTextExtractor:
    loaded = _load(tiny_models / "tiny-clip", "CLIPModel", 32)
    assert isinstance(loaded, ImageTextExtractor)
    return loaded


@pytest.fixture(scope="session")
def video(tiny_models: Path) -> VideoExtractor:
    loaded = _load(tiny_models / "tiny-videomae", "VideoMAEModel", 16)
    assert isinstance(loaded, VideoExtractor)
    return loaded


@pytest.mark.parametrize("height", [48, 37])
def test_clip_preprocessing_is_transformers(tmp_path: Path, height: int) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(CLIP_CONSTANTS))
    frames = np.ascontiguousarray(FRAMES[:, :height])
    ours = Preprocessing.load(tmp_path)(frames, "cpu").numpy()
    theirs = CLIPImageProcessorPil(**CLIP_CONSTANTS)(list(frames), return_tensors="np")["pixel_values"]
    # Where Pillow takes the columns first, a byte may differ by one.
    assert ours.shape == theirs.shape == (9, 3, 24, 24)
    assert np.abs(ours - theirs).max() <= 1.01 / 255 / 0.26
    assert np.abs(ours - theirs).mean() < 1e-3


def test_videomae_preprocessing_is_transformers(tmp_path: Path) -> None:
    constants = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(constants | {"resample": 2}))
    frames = np.ascontiguousarray(FRAMES[:, :40])
    ours = Preprocessing.load(tmp_path)(frames, "cpu").numpy()
    theirs = VideoMAEImageProcessorPil(**constants, resample=2)(list(frames), return_tensors="np")["pixel_values"][0]
    assert ours.shape == theirs.shape == (9, 3, 32, 32)
    assert np.abs(ours - theirs).max() <= 1.01 / 255 / 0.5


@pytest.mark.parametrize(
    ("processor", "constants"),
    [
        (SiglipImageProcessorPil, {"size": {"height": 28, "width": 28}, "resample": 3}),
        (ViTImageProcessorPil, {"size": {"height": 28, "width": 28}, "resample": 2}),
        (
            BitImageProcessorPil,
            {
                "size": {"shortest_edge": 30},
                "crop_size": {"height": 28, "width": 28},
                "do_center_crop": True,
                "resample": 3,
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
            },
        ),
    ],
)
def test_preprocessing_of_other_families_is_transformers(
    tmp_path: Path, processor: Any, constants: dict[str, Any]
) -> None:
    """SigLIP, ViT and DINO, DINOv2."""
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(constants))
    frames = np.ascontiguousarray(FRAMES[:, :40])
    ours = Preprocessing.load(tmp_path)(frames, "cpu").numpy()
    theirs = processor(**constants)(list(frames), return_tensors="np")["pixel_values"]
    assert ours.shape == theirs.shape == (9, 3, 28, 28)
    assert np.abs(ours - theirs).max() <= 1.01 / 255 / 0.224
    assert np.abs(ours - theirs).mean() < 1e-3


@pytest.mark.parametrize(("height", "width"), [(40, 64), (20, 48)])
def test_content_debiased_fvd_can_be_written_as_constants(tmp_path: Path, height: int, width: int) -> None:
    """Stretched to a square without antialiasing, [0, 1], neither mean nor deviation; theirs rounds to no bytes."""
    constants = {"size": {"height": 28, "width": 28}, "resample": 2, "do_normalize": False, "antialias": False}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(constants))
    frames = np.random.default_rng(6).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    ours = Preprocessing.load(tmp_path)(frames, "cpu")
    planes = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    theirs = torch.nn.functional.interpolate(planes, size=(28, 28), mode="bilinear", align_corners=False)
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= 1.01 / 255
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(constants | {"antialias": True}))
    smooth = Preprocessing.load(tmp_path)(frames, "cpu")
    assert float((smooth - theirs).abs().max()) > 5 / 255


@pytest.mark.parametrize(
    ("constants", "problem"),
    [
        ({"num_frames": 0}, "expected an extractor's preprocessing"),
        ({"resample": 0}, "resample 0 is not known"),
        ({"size": {"longest_edge": 3}}, "is not known"),
        ({"size": {"shortest_edge": 3, "longest_edge": 3}}, "is not known"),
        ({"image_mean": [0.5]}, "expected an extractor's preprocessing"),
        ({"do_resize": "yes"}, "expected an extractor's preprocessing"),
    ],
)
def test_unknown_constants_are_refused(tmp_path: Path, constants: dict[str, Any], problem: str) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(constants))
    with pytest.raises(ModelError, match=problem):
        Preprocessing.load(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match="expected an extractor's preprocessing"):
        Preprocessing.load(tmp_path)


def test_a_crop_larger_than_the_frames_is_refused(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(CLIP_CONSTANTS | {"size": 20}))
    with pytest.raises(ModelError, match="keeps 24x24"):
        Preprocessing.load(tmp_path)(FRAMES, "cpu")


class _Model(torch.nn.Module):
    """A CLIPModel whose features are plain tensors, as torchmetrics expects them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def get_image_features(self, pixel_values: torch.Tensor) -> Any:
        return self.model.get_image_features(pixel_values=pixel_values).pooler_output

    def get_text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask).pooler_output


def test_clip_score_is_torchmetrics(tiny_models: Path, words: ImageTextExtractor) -> None:
    folder = tiny_models / "tiny-clip"
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    image_processor = CLIPImageProcessorPil(**json.loads((folder / "preprocessor_config.json").read_text()))

    def processor(*, return_tensors: str, padding: bool, images: Any = None, text: Any = None) -> Any:
        return image_processor(images, return_tensors="pt") if text is None else tokenizer(text, return_tensors="pt")

    model = _Model(CLIPModel.from_pretrained(folder, local_files_only=True).eval())
    by_frame = []
    for scene in scenes(5, 6):
        frames = render(scene, 5, frames=4, size=32)
        for frame in frames:
            with torch.no_grad():
                picture = torch.from_numpy(frame).permute(2, 0, 1)
                by_frame.append(float(torchmetrics_clip_score(picture, scene.caption, lambda: (model, processor))))
        ours = clip_score(words.embed_frames(frames), words.embed_text(scene.caption))
        assert ours == pytest.approx(np.mean(by_frame[-4:]), abs=2e-4)
    assert max(by_frame) > 20
    assert min(by_frame) == 0


def test_embeddings_have_length_one(words: ImageTextExtractor) -> None:
    frames = words.embed_frames(FRAMES)
    assert frames.shape == (9, 32)
    assert frames.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(frames, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(words.embed_text(PROMPT)), 1, atol=1e-12)


def test_words_beyond_the_models_length_are_cut_off(words: ImageTextExtractor) -> None:
    np.testing.assert_array_equal(words.embed_text("x" * 76), words.embed_text("x" * 76 + "and more" * 200))


def test_words_point_to_their_own_pictures(words: ImageTextExtractor) -> None:
    pairs = [(render(scene, 3, frames=5, size=32), scene.caption) for scene in scenes(3, 40)]
    frames = [words.embed_frames(clip) for clip, _ in pairs]
    texts = [words.embed_text(text) for _, text in pairs]
    scores = np.array([[clip_score(clip, text) for text in texts] for clip in frames])
    assert np.diag(scores).mean() > scores.mean() + 3


def test_video_features_are_the_projected_mean_of_the_last_states(tiny_models: Path, video: VideoExtractor) -> None:
    folder = tiny_models / "tiny-videomae"
    model = VideoMAEModel.from_pretrained(folder, local_files_only=True).eval()
    pixels = torch.from_numpy(FRAMES[[0, 1, 2, 3, 5, 6, 7, 8]][:, 8:40, 8:40]).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        states = model(pixel_values=(pixels[None] - 0.5) / 0.5).last_hidden_state[0].double().numpy()
    public = load_file(folder / "projection.safetensors")
    expected = (states.mean(axis=0) - public["centre"]) @ public["basis"] / public["radius"]
    np.testing.assert_allclose(video.embed_clip(np.ascontiguousarray(FRAMES[:, 8:40, 8:40])), expected, atol=1e-5)


def test_features_do_not_depend_on_what_came_before(words: ImageTextExtractor, video: VideoExtractor) -> None:
    clips = [render(scene, 1, frames=9, size=32) for scene in scenes(1, 5)]
    first = [(video.embed_clip(clip), words.embed_frames(clip)) for clip in clips]
    for clip, (features, embeddings) in zip(clips[::-1], first[::-1], strict=True):
        np.testing.assert_array_equal(video.embed_clip(clip), features)
        np.testing.assert_array_equal(words.embed_frames(clip), embeddings)


def test_too_few_frames_are_refused(video: VideoExtractor) -> None:
    with pytest.raises(ModelError, match="takes 8 frames, the clip has 7"):
        video.embed_clip(FRAMES[:7])


def test_half_of_the_public_features_lie_in_the_unit_ball(tiny_models: Path, video: VideoExtractor) -> None:
    public = [render(scene, 1000, frames=9, size=32) for scene in scenes(1000, 320)]
    norms = [float(np.linalg.norm(video.embed_clip(clip))) for clip in public]
    assert np.median(norms) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("what", ["dimension", "no projection", "radius", "shape", "no weights"])
def test_extractors_that_do_not_fit_are_refused(tiny_models: Path, tmp_path: Path, what: str) -> None:
    folder = Path(shutil.copytree(tiny_models / "tiny-videomae", tmp_path / "x"))
    dimension = 16
    tensors = load_file(folder / "projection.safetensors")
    match what:
        case "dimension":
            dimension = 8
        case "no projection":
            (folder / "projection.safetensors").unlink()
        case "radius":
            save_file(tensors | {"radius": np.array(0.0)}, folder / "projection.safetensors")
        case "shape":
            save_file(tensors | {"basis": tensors["basis"][:, :5].copy()}, folder / "projection.safetensors")
        case _:
            (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=str(folder)):
        _load(folder, "VideoMAEModel", dimension)


def test_another_architecture_is_refused(tiny_models: Path) -> None:
    with pytest.raises(ModelError, match="expected features of dimension 16, found 32"):
        _load(tiny_models / "tiny-clip", "CLIPModel", 16)


def _pooled(folder: Path, frames: Frames, threads: int) -> Any:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        model = VideoMAEModel.from_pretrained(folder, local_files_only=True).eval()
        return pooled_features(model, Preprocessing.load(folder), frames, "cpu")
    finally:
        torch.set_num_threads(before)


def test_threads_change_features_by_rounding_only(tiny_models: Path) -> None:
    folder = tiny_models / "tiny-videomae"
    np.testing.assert_allclose(_pooled(folder, FRAMES, 1), _pooled(folder, FRAMES, 2), atol=1e-5)
