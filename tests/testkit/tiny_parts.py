"""Tiny random parts of pipelines: encoders, tokenizers and autoencoders of the real classes, made without a hub."""

from __future__ import annotations

from typing import Any

import diffusers
import torch
import transformers

from vdb_participant.synthetic.models import byte_tokenizer

WIDTH = 32
"""Of the hidden states of most text encoders."""

CHAT = (
    "{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}{% endfor %}"
)
"""A chat template that joins the texts."""


def words(longest: int = 64, *, known: str = "", special: tuple[str, ...] = ()) -> Any:
    """Return a tokenizer of bytes in which the words of a long template are one token each, as in a real one."""
    tokenizer = byte_tokenizer(longest)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.chat_template = CHAT
    tokenizer.add_tokens(sorted(set(known.split())))
    tokenizer.add_tokens(list(special), special_tokens=True)
    return tokenizer


def t5(width: int = WIDTH) -> Any:
    config = transformers.T5Config(
        vocab_size=259, d_model=width, d_kv=8, d_ff=37, num_layers=1, num_heads=4, relative_attention_num_buckets=8
    )
    return transformers.T5EncoderModel(config)


def umt5() -> Any:
    config = transformers.UMT5Config(
        vocab_size=259, d_model=WIDTH, d_kv=8, d_ff=37, num_layers=1, num_heads=4, relative_attention_num_buckets=8
    )
    return transformers.UMT5EncoderModel(config)


def clip_text(width: int = 8) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=259,
        hidden_size=width,
        projection_dim=width,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=1,
    )
    return transformers.CLIPTextModel(config)


def clip_vision(width: int = 4, size: int = 8, patch: int = 1) -> tuple[Any, Any]:
    """Return an image encoder and its processor."""
    config = transformers.CLIPVisionConfig(
        hidden_size=width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=size,
        intermediate_size=16,
        patch_size=patch,
    )
    return transformers.CLIPVisionModelWithProjection(config), image_processor(size)


def image_processor(size: int) -> Any:
    return transformers.CLIPImageProcessor(
        crop_size={"height": size, "width": size}, size={"shortest_edge": size}, do_convert_rgb=True
    )


def llama(vocabulary: int) -> Any:
    return transformers.LlamaModel(llama_config(vocabulary))


def llama_config(vocabulary: int) -> Any:
    return transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
    )


def _qwen_text(width: int) -> dict[str, Any]:
    rope = {"mrope_section": [1, 1, 2] if width == 16 else [2, 2, 4], "rope_type": "default", "rope_theta": 1e6}
    return {
        "vocab_size": 259,
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "rope_parameters": rope,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }


def qwen_text() -> Any:
    return transformers.Qwen2_5_VLTextModel(transformers.Qwen2_5_VLTextConfig(**_qwen_text(16)))


def qwen_vision_language(width: int, kind: str = "Qwen2_5_VL") -> Any:
    vision = {"depth": 1, "hidden_size": width, "intermediate_size": width, "num_heads": 2, "out_hidden_size": width}
    if kind == "Qwen2VL":
        vision = {"depth": 1, "embed_dim": width, "hidden_size": width, "num_heads": 2, "mlp_ratio": 1}
    config = getattr(transformers, kind + "Config")(
        text_config=_qwen_text(width),
        vision_config=vision,
        image_token_id=3,
        video_token_id=4,
        vision_start_token_id=5,
        vision_end_token_id=6,
    )
    return getattr(transformers, kind + "ForConditionalGeneration")(config)


def wan_vae() -> Any:
    """Return an autoencoder whose last layers are stronger than random ones, so that what goes in shows in bytes."""
    vae = diffusers.AutoencoderKLWan(
        base_dim=3,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],  # the library's spelling
    )
    with torch.no_grad():
        vae.encoder.conv_out.weight.mul_(32)
        vae.decoder.conv_out.weight.mul_(8)
    return vae


def hunyuan_vae(channels: int = 4) -> Any:
    return diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=channels,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        spatial_compression_ratio=8,
        temporal_compression_ratio=4,
        mid_block_add_attention=True,
    )


def ltx_vae() -> Any:
    return diffusers.AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, True, False),
        decoder_spatio_temporal_scaling=(True, True, True, False),
        decoder_inject_noise=(False, False, False, False, False),
        upsample_residual=(False, False, False, False),
        upsample_factor=(1, 1, 1, 1),
        timestep_conditioning=False,
        patch_size=4,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )


def picture_vae() -> Any:
    """Return an autoencoder of pictures that halves three times."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=2,
    )
