"""Tiny random instances of the pipeline classes that share little with each other; see `tiny_pipelines.py`."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from testkit import tiny_parts as parts

Parts = dict[str, Any]

TOKENS = 64
"""Of a prompt."""

ALLEGRO_TILE = 144
"""Side of a tile; the published weights have 320, and one clip would take half a minute. The overlap of 120 is fixed."""


def mochi() -> Parts:
    transformer = diffusers.MochiTransformer3DModel(
        patch_size=2,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=12,
        text_embed_dim=parts.WIDTH,
        time_embed_dim=4,
        activation_fn="swiglu",
        max_sequence_length=TOKENS,
    )
    transformer.pos_frequencies.data.zero_()  # made uninitialised
    return {
        "transformer": transformer,
        "vae": diffusers.AutoencoderKLMochi(
            latent_channels=12,
            encoder_block_out_channels=(32, 32, 32, 32),
            decoder_block_out_channels=(32, 32, 32, 32),
            layers_per_block=(1, 1, 1, 1, 1),
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(),
        "text_encoder": parts.t5(),
        "tokenizer": parts.words(TOKENS),
    }


def allegro() -> Parts:
    return {
        "transformer": diffusers.AllegroTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            cross_attention_dim=24,
            sample_width=8,
            sample_height=8,
            sample_frames=8,
            caption_channels=24,
        ),
        "vae": diffusers.AutoencoderKLAllegro(
            down_block_types=("AllegroDownBlock3D",) * 4,
            up_block_types=("AllegroUpBlock3D",) * 4,
            block_out_channels=(4, 4, 4, 4),
            sample_size=ALLEGRO_TILE,
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            temporal_compression_ratio=4,
        ),
        "scheduler": diffusers.EulerAncestralDiscreteScheduler(),
        "text_encoder": parts.t5(24),
        "tokenizer": parts.words(TOKENS),
    }


def stable_video() -> Parts:
    encoder, processor = parts.clip_vision(width=32, size=224, patch=32)
    return {
        "unet": diffusers.UNetSpatioTemporalConditionModel(
            block_out_channels=(32, 32),
            layers_per_block=1,
            sample_size=32,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            cross_attention_dim=32,
            num_attention_heads=4,
            projection_class_embeddings_input_dim=96,
            addition_time_embed_dim=32,
        ),
        "vae": diffusers.AutoencoderKLTemporalDecoder(
            block_out_channels=[32, 32, 32, 32], down_block_types=["DownEncoderBlock2D"] * 4, latent_channels=4
        ),
        "image_encoder": encoder,
        "feature_extractor": processor,
        "scheduler": diffusers.EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            sigma_max=700.0,
            sigma_min=0.002,
            timestep_spacing="leading",
            timestep_type="continuous",
            use_karras_sigmas=True,
        ),
    }


def modelscope() -> Parts:
    return {
        "unet": diffusers.UNet3DConditionModel(
            block_out_channels=(8, 8),
            layers_per_block=1,
            sample_size=32,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            cross_attention_dim=8,
            attention_head_dim=4,
            norm_num_groups=2,
        ),
        "vae": parts.picture_vae(),
        "text_encoder": parts.clip_text(),
        "tokenizer": parts.words(77),
        "scheduler": DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False),
    }


def animatediff() -> Parts:
    return {
        "unet": diffusers.UNet2DConditionModel(
            block_out_channels=(8, 8),
            layers_per_block=1,
            sample_size=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=8,
            norm_num_groups=2,
        ),
        "motion_adapter": diffusers.MotionAdapter(
            block_out_channels=(8, 8), motion_layers_per_block=1, motion_norm_num_groups=2, motion_num_attention_heads=4
        ),
        "vae": parts.picture_vae(),
        "text_encoder": parts.clip_text(),
        "tokenizer": parts.words(77),
        "scheduler": DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False),
    }


def latte() -> Parts:
    return {
        "transformer": diffusers.LatteTransformer3DModel(
            sample_size=8,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=3,
            caption_channels=parts.WIDTH,
            in_channels=4,
            cross_attention_dim=24,
            out_channels=8,
            attention_bias=True,
            activation_fn="gelu-approximate",
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            norm_eps=1e-6,
        ),
        "vae": parts.picture_vae(),
        "scheduler": DDIMScheduler(),
        "text_encoder": parts.t5(),
        "tokenizer": parts.words(120),
    }


def easyanimate() -> Parts:
    return {
        "transformer": diffusers.EasyAnimateTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4,
            out_channels=4,
            time_embed_dim=2,
            text_embed_dim=16,
            num_layers=1,
            sample_width=16,
            sample_height=16,
            patch_size=2,
        ),
        "vae": diffusers.AutoencoderKLMagvit(
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            spatial_group_norm=False,
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(),
        "text_encoder": parts.qwen_vision_language(16, "Qwen2VL"),
        "tokenizer": parts.words(256),
    }


def _cosmos_transformer(channels: int, extra: int, text: int, *, mask: bool = False) -> Any:
    return diffusers.CosmosTransformer3DModel(
        in_channels=channels + extra,
        out_channels=channels,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        mlp_ratio=2,
        text_embed_dim=text,
        adaln_lora_dim=4,
        max_size=(4, 32, 32),
        patch_size=(1, 2, 2),
        rope_scale=(2.0, 1.0, 1.0),
        concat_padding_mask=mask,
        extra_pos_embed_type="learnable",
    )


def cosmos(*, mask: bool = False) -> Parts:
    """Return the parts of a Cosmos pipeline.

    Args:
        mask: as in the published weights; it needs torchvision.
    """
    return {
        "transformer": _cosmos_transformer(4, 0, parts.WIDTH, mask=mask),
        "vae": diffusers.AutoencoderKLCosmos(
            latent_channels=4,
            encoder_block_out_channels=(8, 8, 8, 8),
            decode_block_out_channels=(8, 8, 8, 8),
            attention_resolutions=(8,),
            resolution=64,
            num_layers=1,
            spatial_compression_ratio=8,
            temporal_compression_ratio=8,
        ),
        "scheduler": diffusers.EDMEulerScheduler(
            sigma_min=0.002, sigma_max=80, sigma_data=0.5, final_sigmas_type="sigma_min"
        ),
        "text_encoder": parts.t5(),
        "tokenizer": parts.words(TOKENS),
    }


def cosmos_predict() -> Parts:
    return {
        "transformer": _cosmos_transformer(16, 1, 32),
        "vae": parts.wan_vae(),
        "scheduler": diffusers.UniPCMultistepScheduler(),
        "text_encoder": parts.qwen_vision_language(16),
        "tokenizer": parts.words(256),
    }


def kandinsky(*, picture: bool) -> Parts:
    return {
        "transformer": diffusers.Kandinsky5Transformer3DModel(
            in_visual_dim=16,
            in_text_dim=32,
            in_text_dim2=16,
            time_dim=16,
            out_visual_dim=16,
            patch_size=(1, 2, 2),
            model_dim=16,
            ff_dim=32,
            num_text_blocks=1,
            num_visual_blocks=1,
            axes_dims=(1, 1, 2),
            visual_cond=picture,
            attention_type="regular",
        ),
        "vae": parts.hunyuan_vae(16),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
        "text_encoder": parts.qwen_vision_language(32),
        "tokenizer": parts.words(1024),
        "text_encoder_2": parts.clip_text(16),
        "tokenizer_2": parts.words(77),
    }


def sana() -> Parts:
    config = transformers.Gemma2Config(
        vocab_size=259,
        head_dim=16,
        hidden_size=8,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
    )
    return {
        "transformer": diffusers.SanaVideoTransformer3DModel(
            in_channels=16,
            out_channels=16,
            num_attention_heads=2,
            attention_head_dim=12,
            num_layers=1,
            num_cross_attention_heads=2,
            cross_attention_head_dim=12,
            cross_attention_dim=24,
            caption_channels=8,
            mlp_ratio=2.5,
            sample_size=8,
            patch_size=(1, 2, 2),
            norm_elementwise_affine=False,
            norm_eps=1e-6,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=32,
        ),
        "vae": parts.wan_vae(),
        "scheduler": diffusers.DPMSolverMultistepScheduler(),
        "text_encoder": transformers.Gemma2Model(config),
        "tokenizer": parts.words(TOKENS),
    }


def motif() -> Parts:
    text = transformers.T5Gemma2TextConfig(
        vocab_size=259,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        head_dim=16,
        num_key_value_heads=2,
        dropout_rate=0.0,
    )
    vision = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
    }
    encoder = transformers.T5Gemma2EncoderConfig(text_config=text, vision_config=vision | {"patch_size": 8})
    return {
        "transformer": diffusers.MotifVideoTransformer3DModel(
            in_channels=33,
            out_channels=16,
            num_attention_heads=2,
            attention_head_dim=12,
            num_layers=1,
            num_single_layers=1,
            mlp_ratio=4.0,
            patch_size=2,
            patch_size_t=1,
            qk_norm="rms_norm",
            text_embed_dim=32,
            rope_axes_dim=(4, 4, 4),
        ),
        "vae": parts.wan_vae(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
        "text_encoder": transformers.models.t5gemma2.modeling_t5gemma2.T5Gemma2Encoder(encoder),
        "tokenizer": parts.words(TOKENS),
        "guider": diffusers.AdaptiveProjectedGuidance(),
    }
