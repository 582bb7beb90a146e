"""A tiny random instance of every pipeline class of the registry: real classes, one layer, no hub.

Autoencoders keep the compression of the real ones, so that frame rules and size multiples are those of the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.hunyuan_video import pipeline_hunyuan_video, pipeline_hunyuan_video_image2video

from testkit import tiny_others as others
from testkit import tiny_parts as parts
from testkit.tiny_sound import ltx2
from vdb_shared.registry.classes import pipeline_classes

Parts = dict[str, Any]


class _Absent:
    """Stands where a guardrail would; it is a package of its own, and no directory of weights holds it."""


def build(name: str, directory: Path, *, seed: int = 0, parts: Callable[[], Parts] | None = None) -> Path:
    """Write a tiny pipeline of a class into a directory and return it.

    Args:
        name: of the class.
        directory: to write.
        seed: of the weights.
        parts: to use instead of those in `BUILDERS`.
    """
    torch.manual_seed(seed)
    components = (parts or BUILDERS[name])()
    for component in components.values():
        if isinstance(component, torch.nn.Module):
            component.eval()
    guarded = bool(pipeline_classes()[name].guardrail)
    pipeline = getattr(diffusers, name)(**components, **({"safety_checker": _Absent()} if guarded else {}))
    if guarded:
        pipeline.register_modules(safety_checker=None)
    pipeline.save_pretrained(directory, safe_serialization=True)
    return directory


def deeper(parts: Parts, layers: int) -> Parts:
    """Return the parts with transformers of so many blocks."""
    found = dict(parts)
    for name in ("transformer", "transformer_2"):
        part = parts.get(name)
        if part is not None and "num_layers" in part.config:
            found[name] = type(part).from_config(dict(part.config) | {"num_layers": layers})
    return found


def _dit(**changes: Any) -> Parts:
    """Return what Wan's transformer and its relatives are made of."""
    return {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": parts.WIDTH,
        "freq_dim": 32,
        "ffn_dim": 32,
        "num_layers": 1,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": 32,
    } | changes


def _wan(transformer: Any, **changes: Any) -> Parts:
    return {
        "tokenizer": parts.words(),
        "text_encoder": parts.umt5(),
        "vae": parts.wan_vae(),
        "transformer": transformer,
        "scheduler": diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    } | changes


def _wan_t2v() -> Parts:
    return _wan(diffusers.WanTransformer3DModel(**_dit()))


def _wan_i2v() -> Parts:
    encoder, processor = parts.clip_vision()
    transformer = diffusers.WanTransformer3DModel(**_dit(in_channels=36, image_dim=4))
    return _wan(transformer, image_encoder=encoder, image_processor=processor)


def _vace() -> Parts:
    return _wan(diffusers.WanVACETransformer3DModel(**_dit(vace_layers=[0], vace_in_channels=96)))


def _lucy() -> Parts:
    return _wan(diffusers.WanTransformer3DModel(**_dit(in_channels=32)))


def _chronoedit() -> Parts:
    encoder, processor = parts.clip_vision()
    transformer = diffusers.ChronoEditTransformer3DModel(**_dit(in_channels=36, image_dim=4))
    scheduler = FlowMatchEulerDiscreteScheduler(shift=7.0)
    return _wan(transformer, image_encoder=encoder, image_processor=processor, scheduler=scheduler)


def _anyflow() -> Parts:
    sizes = _dit(gate_value=0.25, deltatime_type="r")
    del sizes["qk_norm"]
    scheduler = diffusers.FlowMapEulerDiscreteScheduler(num_train_timesteps=1000, shift=5.0)
    return _wan(diffusers.AnyFlowTransformer3DModel(**sizes), scheduler=scheduler)


def _skyreels(**changes: Any) -> Parts:
    scheduler = diffusers.UniPCMultistepScheduler(flow_shift=8.0, use_flow_sigmas=True)
    return _wan(diffusers.SkyReelsV2Transformer3DModel(**_dit(**changes)), scheduler=scheduler)


def _helios() -> Parts:
    sizes = _dit(
        rope_dim=(4, 4, 4),
        has_multi_term_memory_patch=True,
        guidance_cross_attn=True,
        zero_history_timestep=True,
        is_amplify_history=False,
    )
    del sizes["rope_max_seq_len"]
    scheduler = diffusers.HeliosScheduler(stage_range=[0, 1], stages=1, use_dynamic_shifting=True)
    return _wan(diffusers.HeliosTransformer3DModel(**sizes), scheduler=scheduler)


def _hunyuan_transformer(kind: str = "HunyuanVideoTransformer3DModel", **changes: Any) -> Any:
    sizes = {
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 10,
        "num_layers": 1,
        "num_single_layers": 1,
        "num_refiner_layers": 1,
        "patch_size": 2,
        "patch_size_t": 1,
        "guidance_embeds": True,
        "text_embed_dim": 16,
        "pooled_projection_dim": 8,
        "rope_axes_dim": (2, 4, 4),
    }
    return getattr(diffusers, kind)(**(sizes | changes))


def _hunyuan(**changes: Any) -> Parts:
    tokenizer = parts.words(256, known=pipeline_hunyuan_video.DEFAULT_PROMPT_TEMPLATE["template"])
    return {
        "transformer": _hunyuan_transformer(),
        "vae": parts.hunyuan_vae(),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
        "text_encoder": parts.llama(len(tokenizer)),
        "text_encoder_2": parts.clip_text(),
        "tokenizer": tokenizer,
        "tokenizer_2": parts.words(77),
    } | changes


def _hunyuan_i2v() -> Parts:
    template = pipeline_hunyuan_video_image2video.DEFAULT_PROMPT_TEMPLATE["template"]
    marks = ("<image>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    for mark in marks:
        template = template.replace(mark, " ")
    tokenizer = parts.words(256, known=template, special=marks)
    vision = {
        "hidden_size": 8,
        "intermediate_size": 16,
        "projection_dim": 8,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "image_size": 24,
        "patch_size": 1,  # 24 x 24 patches, as many as the template leaves room for
    }
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**vision),
        text_config=parts.llama_config(len(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=0,
    )
    return _hunyuan(
        transformer=_hunyuan_transformer(in_channels=9, guidance_embeds=False, image_condition_type="latent_concat"),
        text_encoder=transformers.LlavaForConditionalGeneration(config),
        tokenizer=tokenizer,
        image_processor=parts.image_processor(24),
    )


def _framepack() -> Parts:
    config = transformers.SiglipVisionConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
    )
    return _hunyuan(
        transformer=_hunyuan_transformer(
            "HunyuanVideoFramepackTransformer3DModel",
            image_condition_type=None,
            has_image_proj=True,
            image_proj_dim=8,
            has_clean_x_embedder=True,
        ),
        image_encoder=transformers.SiglipVisionModel(config),
        feature_extractor=transformers.SiglipImageProcessor(size={"height": 16, "width": 16}),
    )


def _hunyuan_15() -> Parts:
    return {
        "transformer": diffusers.HunyuanVideo15Transformer3DModel(
            in_channels=9,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_refiner_layers=1,
            mlp_ratio=2.0,
            patch_size=1,
            patch_size_t=1,
            text_embed_dim=16,
            text_embed_2_dim=parts.WIDTH,
            image_embed_dim=12,
            rope_axes_dim=(2, 2, 4),
            target_size=16,
            task_type="t2v",
        ),
        "vae": diffusers.AutoencoderKLHunyuanVideo15(
            latent_channels=4,
            block_out_channels=(16, 16, 16, 16, 16),
            layers_per_block=1,
            spatial_compression_ratio=16,
            temporal_compression_ratio=4,
            downsample_match_channel=False,
            upsample_match_channel=False,
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=7.0),
        "text_encoder": parts.qwen_text(),
        "text_encoder_2": parts.t5(),
        "tokenizer": parts.words(1000),
        "tokenizer_2": transformers.ByT5Tokenizer(),
        "guider": diffusers.ClassifierFreeGuidance(guidance_scale=1.0),
    }


def _cogvideox(channels: int = 4) -> Parts:
    return {
        "transformer": diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=4,
            attention_head_dim=8,
            in_channels=channels,
            out_channels=4,
            time_embed_dim=2,
            text_embed_dim=parts.WIDTH,
            num_layers=1,
            sample_width=4,
            sample_height=4,
            sample_frames=9,
            patch_size=2,
            temporal_compression_ratio=4,
            max_text_seq_length=64,
        ),
        "vae": diffusers.AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            temporal_compression_ratio=4,
        ),
        "scheduler": diffusers.CogVideoXDPMScheduler() if channels > 4 else diffusers.CogVideoXDDIMScheduler(),
        "text_encoder": parts.t5(),
        "tokenizer": parts.words(),
    }


def _ltx() -> Parts:
    return {
        "transformer": diffusers.LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            patch_size=1,
            patch_size_t=1,
            num_attention_heads=4,
            attention_head_dim=8,
            cross_attention_dim=32,
            num_layers=1,
            caption_channels=parts.WIDTH,
        ),
        "vae": parts.ltx_vae(),
        "scheduler": FlowMatchEulerDiscreteScheduler(),
        "text_encoder": parts.t5(),
        "tokenizer": parts.words(),
    }


BUILDERS: Mapping[str, Callable[[], Parts]] = {
    "WanPipeline": _wan_t2v,
    "WanImageToVideoPipeline": _wan_i2v,
    "WanVideoToVideoPipeline": _wan_t2v,
    "WanVACEPipeline": _vace,
    "LucyEditPipeline": _lucy,
    "ChronoEditPipeline": _chronoedit,
    "AnyFlowPipeline": _anyflow,
    "SkyReelsV2Pipeline": _skyreels,
    "SkyReelsV2DiffusionForcingPipeline": _skyreels,
    "HeliosPipeline": _helios,
    "HunyuanVideoPipeline": _hunyuan,
    "HunyuanVideoImageToVideoPipeline": _hunyuan_i2v,
    "HunyuanVideoFramepackPipeline": _framepack,
    "HunyuanVideo15Pipeline": _hunyuan_15,
    "CogVideoXPipeline": _cogvideox,
    "CogVideoXImageToVideoPipeline": lambda: _cogvideox(8),
    "CogVideoXVideoToVideoPipeline": _cogvideox,
    "LTXPipeline": _ltx,
    "LTXImageToVideoPipeline": _ltx,
    "LTXConditionPipeline": _ltx,
    "LTX2Pipeline": ltx2,
    "LTX2ImageToVideoPipeline": ltx2,
    "MochiPipeline": others.mochi,
    "AllegroPipeline": others.allegro,
    "StableVideoDiffusionPipeline": others.stable_video,
    "TextToVideoSDPipeline": others.modelscope,
    "AnimateDiffPipeline": others.animatediff,
    "AnimateDiffVideoToVideoPipeline": others.animatediff,
    "LattePipeline": others.latte,
    "EasyAnimatePipeline": others.easyanimate,
    "CosmosTextToWorldPipeline": others.cosmos,
    "Cosmos2_5_PredictBasePipeline": others.cosmos_predict,
    "Kandinsky5T2VPipeline": lambda: others.kandinsky(picture=False),
    "Kandinsky5I2VPipeline": lambda: others.kandinsky(picture=True),
    "SanaVideoPipeline": others.sana,
    "MotifVideoPipeline": others.motif,
}
"""How to make the parts of each class."""
