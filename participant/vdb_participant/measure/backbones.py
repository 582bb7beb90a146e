"""The convolutions of AlexNet and VGG16, on which perceptual distances stand.

Promises features of one frame after each stage, from tensors with torchvision's names: features.N.weight and
features.N.bias, where N counts convolutions, rectifiers and poolings. Leaves weights and scaling to `perceptual.py`.

Source: Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014 (AlexNet); Simonyan &
Zisserman, ICLR 2015, configuration D (VGG16).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch.nn import functional

BackboneName = Literal["alex", "vgg"]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution with bias, and the rectifier after it.

    Attributes:
        place: N of its tensors' names.
        inputs, outputs: channels.
        kernel, stride, padding: in pixels, the same both ways.
    """

    place: int
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1

    def __call__(self, pixels: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return rectified features, float32 (1, outputs, H', W')."""
        weight, bias = tensors[f"features.{self.place}.weight"], tensors[f"features.{self.place}.bias"]
        return functional.relu(functional.conv2d(pixels, weight, bias, self.stride, self.padding))


@dataclass(frozen=True, slots=True)
class Backbone:
    """Stages of convolutions; features are taken after each.

    Attributes:
        stages: the convolutions, by stage.
        pooled: stages, counted from 0, before which features are pooled.
        window: of the maximum pooling of stride 2 that is the network's own.
        smallest: shorter side of a frame that leaves a pixel after every stage.
    """

    stages: tuple[tuple[Convolution, ...], ...]
    pooled: frozenset[int]
    window: int
    smallest: int

    @property
    def channels(self) -> tuple[int, ...]:
        """Number of features after each stage."""
        return tuple(stage[-1].outputs for stage in self.stages)

    def shapes(self) -> dict[str, Shape]:
        """Return the shape of each tensor by its name."""
        shapes: dict[str, Shape] = {}
        for convolution in (convolution for stage in self.stages for convolution in stage):
            kernel = (convolution.kernel, convolution.kernel)
            shapes[f"features.{convolution.place}.weight"] = (convolution.outputs, convolution.inputs, *kernel)
            shapes[f"features.{convolution.place}.bias"] = (convolution.outputs,)
        return shapes

    def features(
        self,
        pixels: torch.Tensor,
        tensors: Mapping[str, torch.Tensor],
        pool: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> Iterator[torch.Tensor]:
        """Yield the features after each stage, float32 (1, C, H', W'), when they are asked for.

        Args:
            pixels: float32 (1, 3, H, W), H and W at least `smallest`.
            tensors: by name.
            pool: takes the place of the maximum pooling.
        """
        for index, stage in enumerate(self.stages):
            if index in self.pooled:
                pixels = functional.max_pool2d(pixels, self.window, 2) if pool is None else pool(pixels)
            for convolution in stage:
                pixels = convolution(pixels, tensors)
            yield pixels


ALEX: Final = Backbone(
    stages=(
        (Convolution(0, 3, 64, kernel=11, stride=4, padding=2),),
        (Convolution(3, 64, 192, kernel=5, padding=2),),
        (Convolution(6, 192, 384),),
        (Convolution(8, 384, 256),),
        (Convolution(10, 256, 256),),
    ),
    pooled=frozenset((1, 2)),
    window=3,
    smallest=31,
)

VGG: Final = Backbone(
    stages=(
        (Convolution(0, 3, 64), Convolution(2, 64, 64)),
        (Convolution(5, 64, 128), Convolution(7, 128, 128)),
        (Convolution(10, 128, 256), Convolution(12, 256, 256), Convolution(14, 256, 256)),
        (Convolution(17, 256, 512), Convolution(19, 512, 512), Convolution(21, 512, 512)),
        (Convolution(24, 512, 512), Convolution(26, 512, 512), Convolution(28, 512, 512)),
    ),
    pooled=frozenset((1, 2, 3, 4)),
    window=2,
    smallest=16,
)

BACKBONES: Final[Mapping[BackboneName, Backbone]] = {"alex": ALEX, "vgg": VGG}
"""Each backbone by the name that config.json gives it."""
