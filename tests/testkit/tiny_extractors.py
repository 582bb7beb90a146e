"""Tiny random extractors of every architecture, written as a site keeps them: folders that load offline."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from safetensors.torch import save_file

from vdb_participant.measure.extractors.interface import LoadedExtractor
from vdb_participant.measure.extractors.table import load_extractor
from vdb_participant.models import inspect_weights
from vdb_participant.synthetic.models import byte_tokenizer, write_preprocessing
from vdb_shared.metrics.extractors import ARCHITECTURES
from vdb_shared.spec import Extractor

SIZE: Final = 32
"""Of the pixels that all of them see."""

WIDTH: Final = 32
CLASSES: Final = ("calm", "nude", "violent", "blank")
FRAMES: Final = 8
"""That the models of clips take, but for the TorchScript ones."""

RATE: Final = 8000
"""Samples per second that the model of sound hears, one second at a time."""

_TOWER: Final = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_SIGHT: Final = {**_TOWER, "image_size": SIZE, "patch_size": 8}
_WORDS: Final = {
    **_TOWER,
    "vocab_size": 259,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


def _clip() -> Any:
    return transformers.CLIPModel(
        transformers.CLIPConfig(text_config=_WORDS, vision_config=_SIGHT, projection_dim=24, initializer_factor=2.0)
    )


def _siglip() -> Any:
    model = transformers.SiglipModel(
        transformers.SiglipConfig(text_config=_WORDS | {"projection_size": WIDTH}, vision_config=_SIGHT)
    )
    return _shaken(model)


def _clip_vision() -> Any:
    config = transformers.CLIPVisionConfig(**_SIGHT, projection_dim=24, initializer_factor=2.0)
    return transformers.CLIPVisionModelWithProjection(config)


def _videomae_config(**more: Any) -> Any:
    return transformers.VideoMAEConfig(**_SIGHT, num_frames=FRAMES, tubelet_size=2, initializer_range=0.3, **more)


def _vit(labels: tuple[str, ...]) -> Any:
    config = transformers.ViTConfig(**_SIGHT, initializer_range=0.3, num_labels=len(labels))
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    return transformers.ViTForImageClassification(config)


def _vjepa2() -> Any:
    return transformers.VJEPA2Model(
        transformers.VJEPA2Config(
            patch_size=8,
            crop_size=SIZE,
            frames_per_clip=FRAMES,
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            mlp_ratio=2.0,
            num_pooler_layers=1,
            pred_hidden_size=24,
            pred_num_attention_heads=2,
            pred_num_hidden_layers=1,
            pred_num_mask_tokens=2,
            initializer_range=0.3,
        )
    )


def _xclip() -> Any:
    config = transformers.XCLIPConfig(
        text_config=_WORDS,
        vision_config=_SIGHT
        | {
            "num_frames": FRAMES,
            "mit_hidden_size": 24,
            "mit_intermediate_size": 24,
            "mit_num_hidden_layers": 1,
            "mit_num_attention_heads": 4,
        },
        projection_dim=24,
        prompt_layers=1,
        prompt_num_attention_heads=4,
        initializer_factor=2.0,
    )
    return transformers.XCLIPModel(config)


def clap(*, fusion: bool = False) -> Any:
    config = transformers.ClapConfig(
        text_config=_WORDS | {"max_position_embeddings": 42},
        audio_config={
            "num_mel_bins": 16,
            "spec_size": 64,
            "window_size": 4,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "patch_embeds_hidden_size": 8,
            "hidden_size": 16,
            "enable_fusion": fusion,
            "projection_dim": 24,
        },
        projection_dim=24,
    )
    return _shaken(transformers.ClapModel(config))


def hearing(*, fusion: bool = False) -> Any:
    return transformers.ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=RATE,
        hop_length=80,
        max_length_s=1,
        fft_window_size=256,
        frequency_max=4000,
        truncation="fusion" if fusion else "rand_trunc",
    )


def _shaken(model: Any) -> Any:
    """Return a model whose features depend on what it is shown: with the library's small weights they hardly do."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.3)
    return model


class TinyI3D(torch.nn.Module):
    """The signature of the I3D of the StyleGAN-V convention, over a few thousand weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3 * 4 * 16, 10)

    def forward(
        self, x: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        if rescale:
            x = x / 255 * 2 - 1
        if resize:
            frames = x.permute(0, 2, 1, 3, 4).flatten(0, 1)
            frames = torch.nn.functional.interpolate(frames, size=[16, 16], mode="bilinear", align_corners=False)
            x = frames.reshape(x.size(0), x.size(2), x.size(1), 16, 16).permute(0, 2, 1, 3, 4)
        pooled = torch.nn.functional.adaptive_avg_pool3d(x, (4, 4, 4)).flatten(1)
        logits: torch.Tensor = self.layer(pooled)
        return logits if return_features else logits.softmax(dim=1)


class TinyC3D(torch.nn.Module):
    """The signature of the C3D of the video inception score."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.layer = torch.nn.Linear(3 * 4 * 16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = torch.nn.functional.adaptive_avg_pool3d(x / 255, (4, 4, 4)).flatten(1)
        found: torch.Tensor = self.layer(pooled).softmax(dim=1) * self.scale
        return found


_MODELS: Final[Mapping[str, tuple[Callable[[], Any], int]]] = {
    "CLIPModel": (_clip, 24),
    "CLIPIQA": (_clip, 1),
    "SiglipModel": (_siglip, WIDTH),
    "Dinov2Model": (
        lambda: transformers.Dinov2Model(transformers.Dinov2Config(**_without_mlp(_SIGHT), initializer_range=0.3)),
        WIDTH,
    ),
    "ViTModel": (lambda: transformers.ViTModel(transformers.ViTConfig(**_SIGHT, initializer_range=0.3)), WIDTH),
    "VideoMAEModel": (lambda: transformers.VideoMAEModel(_videomae_config()), WIDTH),
    "VideoMAEFineTuned": (
        lambda: transformers.VideoMAEForVideoClassification(_videomae_config(num_labels=5)),
        WIDTH,
    ),
    "VideoMAEForVideoClassification": (
        lambda: transformers.VideoMAEForVideoClassification(_videomae_config(num_labels=5)),
        5,
    ),
    "VJEPA2Model": (_vjepa2, 48),
    "XCLIPModel": (_xclip, 24),
    "ClapModel": (clap, 24),
    "SafetyClassifier": (lambda: _vit(CLASSES), 1),
    "ImageQualityPredictor": (lambda: _vit(("quality",)), 1),
    "AestheticPredictor": (_clip_vision, 1),
}

_SCRIPTS: Final = {"I3D": (TinyI3D, 10), "C3D": (TinyC3D, 5)}

SMALL: Final = tuple(name for name, row in ARCHITECTURES.items() if row.gives != ("distances",))
"""Architectures that have a tiny form; learned distances have their real shapes, see `perceptual.py`."""

READERS: Final = ("CLIPModel", "CLIPIQA", "SiglipModel", "XCLIPModel", "ClapModel")
"""Architectures that read words, and so have a tokenizer."""


def _without_mlp(tower: Mapping[str, int]) -> dict[str, int]:
    return {name: value for name, value in tower.items() if name != "intermediate_size"}


def write_extractor(folder: Path, architecture: str, *, seed: int = 1) -> Path:
    """Write a tiny extractor of an architecture and return its directory."""
    torch.manual_seed(seed)
    place = folder / architecture.lower()
    write_preprocessing(place)
    if architecture in _SCRIPTS:
        (place / "preprocessor_config.json").unlink()
        save_script(_SCRIPTS[architecture][0](), place / ARCHITECTURES[architecture].script)
        return place
    _MODELS[architecture][0]().eval().save_pretrained(place)
    if architecture in READERS:
        byte_tokenizer(40).save_pretrained(place)
    match architecture:
        case "ClapModel":
            hearing().save_pretrained(place)
        case "AestheticPredictor":
            save_file({"weight": torch.randn(1, 24), "bias": torch.randn(1)}, place / "head.safetensors")
        case "SafetyClassifier":
            (place / "flagged_labels.json").write_text(json.dumps(["nude", "violent"]))
    return place


def save_script(module: torch.nn.Module, path: Path) -> None:
    """Write a module as a TorchScript program."""
    jit: Any = torch.jit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        jit.script(module.eval()).save(str(path))


def dimension_of(architecture: str) -> int:
    """The dimension that a spec names for a tiny extractor."""
    return (_SCRIPTS if architecture in _SCRIPTS else _MODELS)[architecture][1]


def extractor_at(place: Path, architecture: str, dimension: int | None = None) -> Extractor:
    """An extractor as a spec names it."""
    return Extractor.model_validate(
        {
            "id": place.name,
            "architecture": architecture,
            "manifest": inspect_weights(place, ARCHITECTURES[architecture].script).manifest,
            "dimension": dimension_of(architecture) if dimension is None else dimension,
        }
    )


def loaded_from(place: Path, architecture: str, dimension: int | None = None) -> LoadedExtractor:
    """The extractor of a directory, on the CPU."""
    weights = inspect_weights(place, ARCHITECTURES[architecture].script)
    return load_extractor(weights, extractor_at(place, architecture, dimension), "cpu")
