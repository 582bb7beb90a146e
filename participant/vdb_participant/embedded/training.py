"""What all trainings share: rendered clips, an optimiser with its schedule, and running averages of weights.

Promises the same numbers for the same seed, library versions, device and number of threads. Leaves losses to the models' own
modules.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import nn

from vdb_participant.data.video import Frames
from vdb_participant.embedded.scenes import FRAMES, SIZE, Scene, every_scene, render

MOMENTUM: Final = 0.95
LARGEST_GRADIENT: Final = 1.0
WARM_UP: Final = 0.03
"""Share of the steps in which the learning rate rises to its full size."""

LINES: Final = 20
"""Lines of progress that a training prints."""


@dataclass(frozen=True, slots=True)
class Clips:
    """Rendered clips and what they show.

    Attributes:
        frames: uint8 (N, T, H, W, 3).
        scenes: one for each.
    """

    frames: Frames
    scenes: tuple[Scene, ...]

    @classmethod
    def rendered(cls, name: str, count: int, *, held_out: bool = False) -> Clips:
        """Return clips of scenes drawn evenly from those for training, or from those held out of it; `name` is the seed."""
        chosen = drawn_scenes(name, count, held_out=held_out)
        frames = np.empty((count, FRAMES, SIZE, SIZE, 3), dtype=np.uint8)
        for number, scene in enumerate(chosen):
            frames[number] = render(scene, f"{name}/{number}")
        return cls(frames, chosen)

    def pixels(self, places: torch.Tensor, device: str) -> torch.Tensor:
        """Return some clips as a video model takes them: float32 (B, 3, T, H, W) in [-1, 1]."""
        chosen = torch.from_numpy(self.frames[places.numpy()]).to(device)
        return chosen.permute(0, 4, 1, 2, 3).to(torch.float32) / 127.5 - 1


def drawn_scenes(name: str, count: int, *, held_out: bool = False) -> tuple[Scene, ...]:
    """Return what the clips of `Clips.rendered` show, without rendering them."""
    known = [scene for scene in every_scene() if scene.held_out == held_out]
    order = np.random.default_rng(list(name.encode()))
    return tuple(known[place] for place in order.integers(len(known), size=count))


class Optimiser:
    """Muon for matrices (convolutions are read as matrices), Adam for everything else, cosine decay after a warm-up.

    Source: Jordan et al. 2024 (Muon); Liu et al. 2025 for the common size of both updates.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, rate: float, steps: int, rounds: int = 5) -> None:
        """Start.

        Args:
            parameters: what is trained.
            rate: highest learning rate of both.
            steps: how many there will be.
            rounds: of Newton and Schulz's iteration in a step of Muon.
        """
        self._parameters = list(parameters)
        self._matrices = [(each, each.data.view(each.shape[0], -1)) for each in self._parameters if _is_matrix(each)]
        rest = [each for each in self._parameters if not _is_matrix(each)]
        self._optimisers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(
                [view for _, view in self._matrices],
                lr=rate,
                weight_decay=0.0,
                momentum=MOMENTUM,
                ns_steps=rounds,
                adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.Adam(rest, lr=rate, betas=(0.9, 0.99)),
        )
        self._rate, self._steps, self._step = rate, steps, 0

    def step(self, loss: torch.Tensor) -> None:
        """Differentiate a loss and take one step."""
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        torch.nn.utils.clip_grad_norm_(self._parameters, LARGEST_GRADIENT)
        for parameter, view in self._matrices:
            view.grad = None if parameter.grad is None else parameter.grad.view_as(view)
        for optimiser in self._optimisers:
            optimiser.param_groups[0]["lr"] = self._rate * schedule(self._step, self._steps)
            optimiser.step()
        for parameter in self._parameters:
            parameter.grad = None
        self._step += 1


def schedule(step: int, steps: int) -> float:
    """Return the share of the full learning rate in a step: a linear warm-up, then half a cosine to 0."""
    done = (step + 1) / steps
    return min(done / WARM_UP, 1.0) * 0.5 * (1 + math.cos(math.pi * done))


def _is_matrix(parameter: nn.Parameter) -> bool:
    """Whether a parameter maps vectors to vectors; gains and biases, also those written with sides of 1, do not."""
    return parameter.ndim >= 2 and min(parameter.shape[0], parameter.numel() // parameter.shape[0]) > 1


class Average:
    """Exponential running average of weights, with a horizon that grows with the steps taken."""

    def __init__(self, modules: Sequence[nn.Module], decay: float = 0.998) -> None:
        self._parameters = [each for module in modules for each in module.parameters()]
        self._mean = [each.detach().clone() for each in self._parameters]
        self._decay, self._step = decay, 0

    def update(self) -> None:
        """Take the weights of this step into the average."""
        self._step += 1
        share = 1 - min(self._decay, self._step / (self._step + 10))
        torch._foreach_lerp_(self._mean, [each.detach() for each in self._parameters], share)

    def put(self) -> None:
        """Put the average in the weights' place."""
        for parameter, mean in zip(self._parameters, self._mean, strict=True):
            parameter.data.copy_(mean)


class Log:
    """Lines about a training's progress on the terminal."""

    def __init__(self, name: str, steps: int) -> None:
        self._name, self._steps, self._began = name, steps, time.monotonic()
        self._sum, self._count = 0.0, 0

    def loss(self, step: int, value: torch.Tensor) -> None:
        """Note the loss of a step, and print the mean since the last line when a line is due."""
        self._sum, self._count = self._sum + float(value.detach()), self._count + 1
        if (step + 1) % max(1, self._steps // LINES) == 0 or step + 1 == self._steps:
            self.say(f"step {step + 1} of {self._steps}: loss {self._sum / self._count:.4f}")
            self._sum, self._count = 0.0, 0

    @property
    def seconds(self) -> float:
        """Since the training began."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """Print a line with the seconds since the training began."""
        print(f"{self._name:<20} {self.seconds:6.0f} s  {text}", flush=True)  # noqa: T201 (a command's progress)


def generator(seed: int) -> torch.Generator:
    """Return a source of random numbers on the CPU, the same on all devices."""
    return torch.Generator("cpu").manual_seed(seed)
