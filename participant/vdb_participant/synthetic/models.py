"""Tiny models of the real classes with random weights: three WanPipelines, a CLIPModel and a VideoMAEModel.

Promises the same bytes for the same library versions on the same machine, and directories that load offline through the
same code as real weights. A self-test of everything around the models; scores of such models say nothing about video.

    python -m vdb_participant.synthetic.models DIR      writes DIR/tiny-wan-a, -b, -c, DIR/tiny-clip, DIR/tiny-videomae
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
    VideoMAEConfig,
    VideoMAEModel,
)
from transformers.utils import logging

from vdb_participant.data.video import Frames
from vdb_participant.device import exact_arithmetic
from vdb_participant.embedded.scenes import Scene, render, scenes
from vdb_participant.measure.extractors.projection import PROJECTION_NAME, projection_of
from vdb_participant.measure.extractors.video import pooled_features
from vdb_participant.measure.preprocessing import CONFIG_NAME, Preprocessing

PROMPT_TOKENS: Final = 64
FEATURES: Final = 16
"""Dimension d of the projected VideoMAE features."""

PUBLIC_SITE: Final = 1000
"""Number of the made-up site whose clips are public and calibrate the extractors; no institution has it."""

PUBLIC_CLIPS: Final = 320
"""Public clips: ten for each dimension of the hidden features, and a fifth of all scenes."""

_PAD, _END, _UNKNOWN = "<pad>", "</s>", "<unk>"


@dataclass(frozen=True, slots=True)
class TinyWan:
    """How one tiny pipeline differs from the others.

    Attributes:
        name: of its directory.
        seed: of its weights.
        gain: factor of the last layer: contrast and flicker.
        tint: added to red, green and blue, on the decoder's scale of [-1, 1].
    """

    name: str
    seed: int
    gain: float
    tint: tuple[float, float, float]


PIPELINES: Final = (
    TinyWan("tiny-wan-a", 11, 1.0, (-0.4, -0.4, -0.3)),
    TinyWan("tiny-wan-b", 12, 2.0, (0.1, -0.1, -0.2)),
    TinyWan("tiny-wan-c", 13, 4.0, (0.5, 0.4, 0.1)),
)


def byte_tokenizer(longest: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token for each byte, and an end token behind every text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: number for number, word in enumerate((_PAD, _END, _UNKNOWN, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=_UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {_END}", special_tokens=[(_END, vocabulary[_END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_PAD,
        eos_token=_END,
        unk_token=_UNKNOWN,
        model_max_length=longest,
    )


def build_wan(directory: Path, tiny: TinyWan) -> None:
    """Write a tiny text-to-video pipeline: latents of 8 channels, 1/8 of the size, 1/4 of the frames."""
    torch.manual_seed(tiny.seed)
    tokenizer = byte_tokenizer(PROMPT_TOKENS)
    text_encoder = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(tokenizer),
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            relative_attention_num_buckets=8,
        )
    )
    vae = AutoencoderKLWan(
        base_dim=8,
        z_dim=8,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],  # the library's spelling
        latents_mean=[0.0] * 8,
        latents_std=[1.0] * 8,
    )
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=8,
        out_channels=8,
        text_dim=32,
        freq_dim=32,
        ffn_dim=64,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(tiny.gain)
        vae.decoder.conv_out.bias.copy_(torch.tensor(tiny.tint))
    pipeline = WanPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder.eval(),
        vae=vae.eval(),
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    pipeline.save_pretrained(directory / tiny.name, safe_serialization=True)


def build_clip(directory: Path, name: str = "tiny-clip") -> None:
    """Write a tiny CLIPModel whose text side is fitted to its image side on public clips.

    The towers are random. Both are centred on public clips, since random towers send everything the same way; then the
    last linear layer of the text side is set, by ridge regression to the mean direction of a clip's frames, so that words
    and pictures of one clip point the same way.
    """
    torch.manual_seed(21)
    longest = 77
    tokenizer = byte_tokenizer(longest)
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config=tower
        | {
            "vocab_size": len(tokenizer),
            "max_position_embeddings": longest,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config=tower | {"image_size": 32, "patch_size": 8},
        projection_dim=32,
        initializer_factor=2.0,
    )
    model = CLIPModel(config).eval()
    target = directory / name
    tokenizer.save_pretrained(target)
    write_preprocessing(target)
    _fit_words_to_pictures(model, tokenizer, Preprocessing.load(target))
    model.save_pretrained(target)


def _fit_words_to_pictures(model: Any, tokenizer: Any, preprocessing: Preprocessing) -> None:
    with exact_arithmetic():
        pictures = []
        words = []
        for scene, frames in _public_clips():
            pictures.append(model.vision_model(pixel_values=preprocessing(frames, "cpu")).pooler_output.double())
            words.append(model.text_model(**tokenizer(scene.caption, return_tensors="pt")).pooler_output[0].double())
        seen, read = torch.stack(pictures), torch.stack(words)
        centres = seen.mean(dim=(0, 1)), read.mean(dim=0)
        directions = (seen - centres[0]) @ model.visual_projection.weight.double().T
        wanted = torch.nn.functional.normalize(directions, dim=-1).mean(dim=1)
        centred = read - centres[1]
        size = centred.shape[1]
        moments = centred.T @ centred
        ridge = 1e-3 * torch.trace(moments) / size * torch.eye(size, dtype=torch.float64)
        weights = torch.linalg.solve(moments + ridge, centred.T @ wanted)
    with torch.no_grad():
        model.vision_model.post_layernorm.bias.sub_(centres[0].float())
        model.text_model.final_layer_norm.bias.sub_(centres[1].float())
        model.text_projection.weight.copy_(weights.T.float())


def build_videomae(directory: Path, name: str = "tiny-videomae") -> None:
    """Write a tiny VideoMAEModel and the public projection of its features."""
    torch.manual_seed(31)
    model = VideoMAEModel(
        VideoMAEConfig(
            image_size=32,
            patch_size=8,
            num_frames=8,
            tubelet_size=2,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            # With the library's 0.02, attention is so even that the mean of all patches hardly depends on the clip.
            initializer_range=0.3,
        )
    ).eval()
    target = directory / name
    model.save_pretrained(target)
    write_preprocessing(target)
    preprocessing = Preprocessing.load(target)
    features = np.stack([pooled_features(model, preprocessing, frames, "cpu") for _, frames in _public_clips()])
    save_file(projection_of(features, FEATURES), target / PROJECTION_NAME)


def _public_clips() -> list[tuple[Scene, Frames]]:
    return [(scene, render(scene, PUBLIC_SITE, frames=9, size=32)) for scene in scenes(PUBLIC_SITE, PUBLIC_CLIPS)]


def write_preprocessing(directory: Path) -> None:
    """Write the constants that bring bytes to [-1, 1]; frames of another size than 32 x 32 are resized."""
    constants = {
        "do_resize": True,
        "size": {"height": 32, "width": 32},
        "resample": 2,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CONFIG_NAME).write_text(json.dumps(constants, indent=2) + "\n", encoding="utf-8")


def build_all(directory: Path) -> None:
    """Write all tiny models and extractors, one folder each."""
    logging.disable_progress_bar()
    directory.mkdir(parents=True, exist_ok=True)
    for tiny in PIPELINES:
        build_wan(directory, tiny)
    build_clip(directory)
    build_videomae(directory)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tiny models; return the exit code."""
    parser = argparse.ArgumentParser(description="Write tiny random models of the real classes, for demos and tests.")
    parser.add_argument("directory", type=Path, metavar="DIR")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(
        1
    )  # tiny tensors take ten times as long on many threads, and sums would depend on their number
    build_all(chosen.directory)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
