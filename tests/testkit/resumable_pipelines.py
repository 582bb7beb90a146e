"""Tiny pipelines of several diffusers classes and schedulers, made in memory, and a generator that runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from testkit import tiny_pipelines
from testkit.specs import small_spec
from testkit.tiny_pipelines import deeper
from vdb_participant.data.video import Frames
from vdb_participant.generation.settings import Clip, GenerationError
from vdb_shared.canonical import sha256_digest
from vdb_shared.spec import Prompt, Spec

_FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}


def _pipeline(name: str, scheduler: Callable[[], Any] | None = None, *, experts: int = 1) -> Any:
    """Return a pipeline with the same weights every time."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        parts = deeper(tiny_pipelines.BUILDERS[name](), 2)
        if experts == 2:
            parts |= {"transformer_2": deeper(tiny_pipelines.BUILDERS[name](), 2)["transformer"], "boundary_ratio": 0.8}
    if scheduler is not None:
        parts["scheduler"] = scheduler()
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    pipeline = getattr(diffusers, name)(**parts)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


_euler = partial(FlowMatchEulerDiscreteScheduler, shift=3.0)

BUILDERS: dict[str, Callable[[], Any]] = {
    "wan-euler": partial(_pipeline, "WanPipeline", _euler),
    "wan-unipc": partial(_pipeline, "WanPipeline", partial(UniPCMultistepScheduler, **_FLOW)),
    "wan-dpm": partial(_pipeline, "WanPipeline", partial(DPMSolverMultistepScheduler, **_FLOW)),
    "wan-sde": partial(
        _pipeline, "WanPipeline", partial(DPMSolverMultistepScheduler, algorithm_type="sde-dpmsolver++", **_FLOW)
    ),
    "wan-two-experts": partial(_pipeline, "WanPipeline", _euler, experts=2),
    "cogvideox": partial(_pipeline, "CogVideoXPipeline", diffusers.CogVideoXDPMScheduler),
    "ltx": partial(_pipeline, "LTXPipeline"),
    "text-to-video-sd": partial(_pipeline, "TextToVideoSDPipeline"),
    "animatediff": partial(
        _pipeline, "AnimateDiffPipeline", partial(diffusers.EulerAncestralDiscreteScheduler, beta_schedule="linear")
    ),
}
"""A pipeline of each kind."""

CALLS: dict[str, dict[str, Any]] = {
    "wan": {"num_frames": 5, "height": 16, "width": 16, "max_sequence_length": 64, "guidance_scale": 2.0},
    "cogvideox": {"num_frames": 5, "height": 16, "width": 16, "max_sequence_length": 64},
    "ltx": {"num_frames": 9, "height": 32, "width": 32, "max_sequence_length": 64},
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
