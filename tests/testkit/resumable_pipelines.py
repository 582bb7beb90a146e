"""Tiny pipelines of several diffusers classes with random weights, made in memory, and a generator that runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKL,
    AutoencoderKLCogVideoX,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    CogVideoXDPMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    MotionAdapter,
    TextToVideoSDPipeline,
    UNet2DConditionModel,
    UNet3DConditionModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from testkit.specs import small_spec
from vdb_participant.data.video import Frames
from vdb_participant.generation.settings import Clip, GenerationError
from vdb_participant.synthetic.models import byte_tokenizer
from vdb_shared.canonical import sha256_digest
from vdb_shared.spec import Prompt, Spec

PROMPT_TOKENS = 32


def _seeded(build: Callable[[], Any]) -> Callable[[], Any]:
    def make() -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(5)
            pipeline = build()
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return make


def _t5() -> Any:
    tokenizer = byte_tokenizer(PROMPT_TOKENS)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4}
    return tokenizer, T5EncoderModel(T5Config(vocab_size=len(tokenizer), relative_attention_num_buckets=8, **sizes))


def _clip_text() -> Any:
    tokenizer = byte_tokenizer(77)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, CLIPTextModel(config)


def _wan_transformer() -> Any:
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
    )


def _wan(scheduler: Any, *, experts: int = 1) -> Any:
    tokenizer, text_encoder = _t5()
    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        transformer=_wan_transformer(),
        transformer_2=_wan_transformer() if experts == 2 else None,
        boundary_ratio=0.8 if experts == 2 else None,
        scheduler=scheduler,
    )


def _cogvideox() -> Any:
    tokenizer, text_encoder = _t5()
    return CogVideoXPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=AutoencoderKLCogVideoX(
            in_channels=3,
            out_channels=3,
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            temporal_compression_ratio=4,
        ),
        transformer=CogVideoXTransformer3DModel(
            num_attention_heads=4,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            time_embed_dim=2,
            text_embed_dim=32,
            num_layers=1,
            sample_width=4,
            sample_height=4,
            sample_frames=9,
            patch_size=2,
            temporal_compression_ratio=4,
            max_text_seq_length=PROMPT_TOKENS,
        ),
        scheduler=CogVideoXDPMScheduler(),
    )


def _ltx() -> Any:
    tokenizer, text_encoder = _t5()
    vae = AutoencoderKLLTXVideo(
        in_channels=3,
        out_channels=3,
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False, False, False, False, False),
        upsample_residual=(False, False, False, False),
        upsample_factor=(1, 1, 1, 1),
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    vae.use_framewise_encoding = vae.use_framewise_decoding = False
    return LTXPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        transformer=LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            patch_size=1,
            patch_size_t=1,
            num_attention_heads=4,
            attention_head_dim=8,
            cross_attention_dim=32,
            num_layers=1,
            caption_channels=32,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def _kl() -> Any:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=2,
    )


def _text_to_video_sd() -> Any:
    tokenizer, text_encoder = _clip_text()
    return TextToVideoSDPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=_kl(),
        unet=UNet3DConditionModel(
            block_out_channels=(8, 8),
            layers_per_block=1,
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=2,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False
        ),
    )


def _animatediff() -> Any:
    tokenizer, text_encoder = _clip_text()
    return AnimateDiffPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=_kl(),
        unet=UNet2DConditionModel(
            block_out_channels=(8, 8),
            layers_per_block=1,
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            norm_num_groups=2,
        ),
        motion_adapter=MotionAdapter(
            block_out_channels=(8, 8),
            motion_layers_per_block=1,
            motion_norm_num_groups=2,
            motion_num_attention_heads=4,
            use_motion_mid_block=True,
        ),
        scheduler=EulerAncestralDiscreteScheduler(beta_schedule="linear"),
        feature_extractor=None,
        image_encoder=None,
    )


BUILDERS: dict[str, Callable[[], Any]] = {
    "wan-euler": _seeded(lambda: _wan(FlowMatchEulerDiscreteScheduler(shift=3.0))),
    "wan-unipc": _seeded(
        lambda: _wan(UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0))
    ),
    "wan-dpm": _seeded(
        lambda: _wan(
            DPMSolverMultistepScheduler(
                algorithm_type="dpmsolver++",
                prediction_type="flow_prediction",
                use_flow_sigmas=True,
                flow_shift=3.0,
                solver_order=2,
            )
        )
    ),
    "wan-sde": _seeded(
        lambda: _wan(
            DPMSolverMultistepScheduler(
                algorithm_type="sde-dpmsolver++",
                prediction_type="flow_prediction",
                use_flow_sigmas=True,
                flow_shift=3.0,
            )
        )
    ),
    "wan-two-experts": _seeded(lambda: _wan(FlowMatchEulerDiscreteScheduler(shift=3.0), experts=2)),
    "cogvideox": _seeded(_cogvideox),
    "ltx": _seeded(_ltx),
    "text-to-video-sd": _seeded(_text_to_video_sd),
    "animatediff": _seeded(_animatediff),
}
"""A pipeline of each kind; the same weights every time."""

CALLS: dict[str, dict[str, Any]] = {
    "wan": {"num_frames": 5, "height": 16, "width": 16, "max_sequence_length": PROMPT_TOKENS, "guidance_scale": 2.0},
    "cogvideox": {"num_frames": 5, "height": 16, "width": 16, "max_sequence_length": PROMPT_TOKENS},
    "ltx": {"num_frames": 9, "height": 32, "width": 32, "max_sequence_length": PROMPT_TOKENS},
    "text-to-video-sd": {"num_frames": 4, "height": 16, "width": 16},
    "animatediff": {"num_frames": 4, "height": 16, "width": 16},
}
"""How each class is called, by the beginning of the kind."""


def call_of(kind: str) -> dict[str, Any]:
    """Return the arguments of a kind of pipeline, but for prompt, steps and generator."""
    return next(call for beginning, call in CALLS.items() if kind.startswith(beginning))


def frames_of(pipeline: Any, kind: str, prompt: str, seed: int, steps: int, watch: Any = None) -> Any:
    """Return a clip's frames, uint8 (T, H, W, 3)."""
    generator = torch.Generator("cpu").manual_seed(seed)

    @contextmanager
    def unwatched(_pipeline: Any, _generator: Any) -> Iterator[None]:
        yield

    # Some pipelines leave their generator out of scheduler.step, so noise comes from the global one.
    with torch.random.fork_rng(), torch.inference_mode(), (watch or unwatched)(pipeline, generator):
        torch.manual_seed(seed)
        video = pipeline(
            prompt=prompt,
            negative_prompt="dull",
            num_inference_steps=steps,
            generator=generator,
            output_type="np",
            **call_of(kind),
        ).frames[0]
    return np.rint(np.clip(np.asarray(video), 0.0, 1.0) * np.float32(255)).astype(np.uint8)


class TinyGenerator:
    """Clips of a tiny pipeline; what the engine needs of a generator.

    Attributes:
        pipeline: the pipeline.
        switches: none are on.
    """

    device = "cpu"

    def __init__(self, kind: str, steps: int, watch: Any = None) -> None:
        self.pipeline = BUILDERS[kind]()
        self.switches: tuple[str, ...] = ()
        self._kind = kind
        self._steps = steps
        self._watch = watch

    def generate(self, prompt: str, seed: int, condition: Frames | None = None) -> Clip:
        """Return a clip."""
        try:
            return Clip(frames_of(self.pipeline, self._kind, prompt, seed, self._steps, self._watch))
        except (RuntimeError, ValueError, ArithmeticError, MemoryError) as error:
            raise GenerationError(str(error)) from error

    def warm_up(self) -> None:
        """Make a clip that nobody wants."""
        frames_of(self.pipeline, self._kind, "warm-up", 0, 1)


def spec_of(kinds: Sequence[str], *, prompts: int, steps: int) -> Spec:
    """Return a spec with a model of each kind; its digests name no weights."""
    spec = small_spec()
    model = spec.models[0]
    generation = spec.generation.model_copy(update={"steps": steps, "samples": 1})
    return spec.model_copy(
        update={
            "models": tuple(
                model.model_copy(update={"id": kind, "manifest": sha256_digest(kind.encode())}) for kind in kinds
            ),
            "prompts": tuple(Prompt(id=f"p{number}", text=f"prompt number {number}") for number in range(prompts)),
            "generation": generation,
        }
    )
