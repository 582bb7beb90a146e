"""Wan 2.1 1.3B and SVD-XT at full size with random weights: what profiles gain on a GPU.

The arithmetic is that of the real weights; nothing can be said about the clips. Text and image embeddings are random, so
that a text encoder of five billion parameters need not be built. Without a CUDA device every row says so.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    AutoencoderKLWan,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from PIL import Image
from rows import Row
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from vdb_participant.device import exact_arithmetic
from vdb_participant.generation.profiles import PROFILES, apply
from vdb_participant.generation.record import peak, reset_peak
from vdb_shared.errors import UsageError

DEVICE: Final = "cuda"
STEPS: Final = 10
"""Fewer than a real clip has, decoding included: the gain of fast steps is understated."""

CLIPS: Final = 3
LEAST_GAIN: Final = 2.1
MOST_MEMORY: Final = 55.0


@dataclass(frozen=True)
class FullSize:
    """A model.

    Attributes:
        name: for the table.
        build: makes the pipeline with denoiser and encoder in a precision, on the present device.
        call: makes a clip.
    """

    name: str
    build: Callable[[torch.dtype], Any]
    call: Callable[[Any], Any]


def full_size_rows() -> list[Row]:
    """Return the figures of all models, or why there are none."""
    if not torch.cuda.is_available():
        return [
            Row(f"{model.name} at full size: not measured, there is no CUDA device", None, "times") for model in MODELS
        ]
    return [row for model in MODELS for row in _rows_of(model)]


def _rows_of(model: FullSize) -> list[Row]:
    rows: list[Row] = []
    seconds: dict[str, float] = {}
    peaks: dict[str, int] = {}
    for name in PROFILES:
        try:
            seconds[name], peaks[name] = _measure(model, name)
        except UsageError as error:
            rows.append(Row(f"{model.name}, {error}"[:72], None, "s"))
            continue
        rows.append(Row(f"{model.name}, {name}, one clip of {STEPS} steps, median", seconds[name], "s"))
        rows.append(Row(f"{model.name}, {name}, peak allocated", peaks[name] / 2**30, "GiB"))
    if {"exact", "fast"} <= set(seconds):
        gain = seconds["exact"] / seconds["fast"]
        rows.append(Row(f"{model.name}, throughput of fast over exact", gain, "times", LEAST_GAIN, at_least=True))
    if {"exact", "low-memory"} <= set(peaks):
        share = 100 * peaks["low-memory"] / peaks["exact"]
        rows.append(Row(f"{model.name}, peak of low-memory over exact", share, "%", MOST_MEMORY))
    return rows


def _measure(model: FullSize, profile: str) -> tuple[float, int]:
    """Return median seconds for a clip and peak bytes under a profile."""
    torch.cuda.empty_cache()
    torch.manual_seed(0)
    pipeline = model.build(PROFILES[profile].dtype)
    pipeline.set_progress_bar_config(disable=True)
    apply(profile, pipeline, DEVICE)
    taken = []
    with exact_arithmetic():
        model.call(pipeline)
        reset_peak(DEVICE)
        for _ in range(CLIPS):
            torch.cuda.synchronize()
            began = time.perf_counter()
            model.call(pipeline)
            torch.cuda.synchronize()
            taken.append(time.perf_counter() - began)
    return statistics.median(taken), peak(DEVICE) or 0


def build_wan_1_3b(dtype: torch.dtype) -> Any:
    """Return Wan 2.1 1.3B without its text encoder."""
    transformer = WanTransformer3DModel(
        num_attention_heads=12,
        attention_head_dim=128,
        in_channels=16,
        out_channels=16,
        text_dim=4096,
        freq_dim=256,
        ffn_dim=8960,
        num_layers=30,
    )
    return WanPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=AutoencoderKLWan().eval(),
        transformer=transformer.to(dtype).eval(),
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    )


def _call_wan(pipeline: Any) -> Any:
    generator = torch.Generator("cpu").manual_seed(0)
    embeddings = torch.randn((2, 512, 4096), generator=generator).to(pipeline.transformer.dtype).to(DEVICE)
    return pipeline(
        prompt_embeds=embeddings[:1],
        negative_prompt_embeds=embeddings[1:],
        height=480,
        width=832,
        num_frames=81,
        num_inference_steps=STEPS,
        generator=generator,
        output_type="np",
    ).frames


def build_svd_xt(dtype: torch.dtype) -> Any:
    """Return SVD-XT: its UNet, temporal decoder and CLIP ViT-H image encoder."""
    encoder = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=1280,
            intermediate_size=5120,
            num_hidden_layers=32,
            num_attention_heads=16,
            image_size=224,
            patch_size=14,
            projection_dim=1024,
        )
    )
    unet = UNetSpatioTemporalConditionModel(num_frames=25, sample_size=96, num_attention_heads=(5, 10, 20, 20))
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
    )
    return StableVideoDiffusionPipeline(
        vae=vae.to(dtype).eval(),
        image_encoder=encoder.to(dtype).eval(),
        unet=unet.to(dtype).eval(),
        scheduler=EulerDiscreteScheduler(
            prediction_type="v_prediction", use_karras_sigmas=True, timestep_type="continuous", sigma_max=700.0
        ),
        feature_extractor=CLIPImageProcessor(),
    )


def _call_svd(pipeline: Any) -> Any:
    return pipeline(
        Image.new("RGB", (1024, 576), (120, 90, 60)),
        num_frames=25,
        num_inference_steps=STEPS,
        decode_chunk_size=5,
        generator=torch.Generator("cpu").manual_seed(0),
        output_type="np",
    ).frames


MODELS: Final = (
    FullSize("Wan 2.1 1.3B, 81x480x832", build_wan_1_3b, _call_wan),
    FullSize("SVD-XT, 25x576x1024", build_svd_xt, _call_svd),
)
