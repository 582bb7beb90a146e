"""From frames to an extractor's input, by the constants of its preprocessor_config.json.

Promises the same bytes on all hardware up to the last step, the normalisation in float32. No image library takes part:
what a preprocessor of another version or back end would do differently cannot happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vdb_participant.data.resize import Filter, resize
from vdb_participant.data.video import Frames
from vdb_shared.errors import ModelError

CONFIG_NAME: Final = "preprocessor_config.json"
VIDEO_CONFIG_NAME: Final = "video_preprocessor_config.json"
"""Under which some models of clips have it; read where the other is missing."""

_KERNELS: Final[Mapping[int, Filter]] = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the kernels, as preprocessors write them."""


class PreprocessorFile(BaseModel):
    """The fields of preprocessor_config.json that matter here; a file has others."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    do_resize: bool = True
    size: int | dict[str, int] = 224
    resample: int = 2
    do_center_crop: bool = False
    crop_size: int | dict[str, int] = 224
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    antialias: bool = True
    num_frames: int | None = Field(default=None, ge=1)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What happens to frames before an extractor sees them.

    Attributes:
        shortest: length of the shorter side after resizing, or None.
        size: (height, width) after resizing when `shortest` is None, or None for no resizing.
        crop: (height, width) of the central part that is kept, or None for all.
        kernel: of the resizing.
        scale, mean, std: x becomes (x scale - mean) / std, per channel.
        antialias: whether the kernel is widened when frames shrink.
        frames: how many of a clip a model that takes any number is to see, or None.
    """

    shortest: int | None
    size: tuple[int, int] | None
    crop: tuple[int, int] | None
    kernel: Filter
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    antialias: bool = True
    frames: int | None = None

    @classmethod
    def load(cls, directory: Path) -> Preprocessing:
        """Return the preprocessing of an extractor directory.

        Raises:
            ModelError: no such file, or constants that this does not know.
        """
        path = directory / CONFIG_NAME
        if not path.is_file() and (directory / VIDEO_CONFIG_NAME).is_file():
            path = directory / VIDEO_CONFIG_NAME
        try:
            file = PreprocessorFile.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ModelError(f"{path}: expected an extractor's preprocessing: {str(error).splitlines()[0]}") from error
        if file.resample not in _KERNELS:
            raise ModelError(f"{path}: resample {file.resample} is not known; 2 (bilinear) and 3 (bicubic) are")
        resized = _shortest_or_size(path, file.size) if file.do_resize else (None, None)
        unit = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        mean, std = (file.image_mean, file.image_std) if file.do_normalize else unit
        return cls(
            shortest=resized[0],
            size=resized[1],
            crop=_square_or_size(path, file.crop_size) if file.do_center_crop else None,
            kernel=_KERNELS[file.resample],
            scale=file.rescale_factor if file.do_rescale else 1.0,
            mean=mean,
            std=std,
            antialias=file.antialias,
            frames=file.num_frames,
        )

    @property
    def output(self) -> tuple[int, int] | None:
        """Height and width that an extractor sees whatever the frames are, or None where they depend on them."""
        return self.crop if self.crop is not None else self.size

    def __call__(self, frames: Frames, device: str) -> torch.Tensor:
        """Return frames as an extractor takes them: float32 (T, 3, H, W) on the device.

        Raises:
            ModelError: the part to be kept is larger than the resized frames.
        """
        height, width = self._resized(*frames.shape[1:3])
        pixels = resize(frames, height, width, kernel=self.kernel, device=device, antialias=self.antialias)
        if self.crop is not None:
            top, left = (height - self.crop[0]) // 2, (width - self.crop[1]) // 2
            if top < 0 or left < 0:
                raise ModelError(
                    f"the extractor keeps {self.crop[0]}x{self.crop[1]} of frames of {height}x{width} only"
                )
            pixels = pixels[:, top : top + self.crop[0], left : left + self.crop[1]]
        planes = torch.from_numpy(pixels.copy()).to(device).permute(0, 3, 1, 2).to(torch.float32)
        mean = torch.tensor(self.mean, device=device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=device).view(1, 3, 1, 1)
        return (planes * self.scale - mean) / std

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.shortest is not None:
            shorter = min(height, width)
            return height * self.shortest // shorter, width * self.shortest // shorter
        return self.size if self.size is not None else (height, width)


def _shortest_or_size(path: Path, value: int | dict[str, int]) -> tuple[int | None, tuple[int, int] | None]:
    match value:
        case int():
            return value, None
        case {"shortest_edge": shortest} if len(value) == 1:
            return shortest, None
        case _:
            return None, _square_or_size(path, value)


def _square_or_size(path: Path, value: int | dict[str, int]) -> tuple[int, int]:
    match value:
        case int():
            return value, value
        case {"height": height, "width": width} if len(value) == 2:
            return height, width
        case _:
            raise ModelError(f"{path}: size {value!r} is not known; a number, shortest_edge, or height and width are")
