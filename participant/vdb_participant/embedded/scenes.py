"""Procedural captioned clips: coloured shapes that move over backgrounds, a different mixture at every site.

Promises real H.264 files whose words tell what they show, and the same clips for the same arguments. What the embedded
models are trained on, and the data of demos and tests; such clips say nothing about real video. Loads no torch.

    python -m vdb_participant.embedded.scenes DIR --site 0 --clips 200
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.folder import CLIPS_FOLDER, PROMPTS_FILE
from vdb_participant.data.video import Frames, encode_mp4

Choice = TypeVar("Choice")
Values = NDArray[np.float64]

SIZE: Final = 32
FRAMES: Final = 9
FPS: Final = 8

SHAPES: Final = ("circle", "square", "triangle", "cross")
COLOURS: Final = {
    "red": (215, 35, 35),
    "green": (30, 165, 55),
    "blue": (45, 65, 220),
    "yellow": (240, 215, 30),
    "purple": (160, 45, 190),
    "cyan": (30, 195, 215),
}
MOTIONS: Final = (
    "moving left",
    "moving right",
    "moving up",
    "moving down",
    "bouncing",
    "circling",
    "growing",
    "shrinking",
)
BACKGROUNDS: Final = {"dark": 30, "grey": 110, "light": 215}
"""Mean brightness, of 255. Its tint and the direction in which it brightens are not in the words."""

PROPERTIES: Final = (SHAPES, tuple(COLOURS), MOTIONS, tuple(BACKGROUNDS))
"""The values of shape, colour, motion and background."""

HELD_OUT: Final = 12
"""One combination of shape, colour and motion in so many is never trained on: a model must put it together."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a clip shows."""

    shape: str
    colour: str
    motion: str
    background: str

    @property
    def caption(self) -> str:
        """The clip's words."""
        return f"a {self.colour} {self.shape} {self.motion} on a {self.background} background"

    @property
    def held_out(self) -> bool:
        """Whether its combination of shape, colour and motion is kept from training."""
        places = SHAPES.index(self.shape), list(COLOURS).index(self.colour), MOTIONS.index(self.motion)
        # Every shape, colour and motion is held out in some company: 5 and 7 have no factor in common with 12.
        return (places[0] + 5 * places[1] + 7 * places[2]) % HELD_OUT == 0


def labels_of(scene: Scene) -> list[int]:
    """Return the places of shape, colour, motion and background in `PROPERTIES`."""
    shown = scene.shape, scene.colour, scene.motion, scene.background
    return [values.index(value) for values, value in zip(PROPERTIES, shown, strict=True)]


class Draws:
    """Numbers that follow from a name: SHAKE-256 read as 32-bit words."""

    def __init__(self, *name: object) -> None:
        self._stream = hashlib.shake_256("/".join(map(str, name)).encode()).digest(256)
        self._position = 0

    def unit(self) -> float:
        """Return the next number of [0, 1)."""
        word = self._stream[self._position : self._position + 4]
        self._position = (self._position + 4) % len(self._stream)
        return int.from_bytes(word, "little") / 2**32

    def between(self, low: float, high: float) -> float:
        """Return the next number of [low, high)."""
        return low + (high - low) * self.unit()

    def one_of(self, choices: Sequence[Choice]) -> Choice:
        """Return the next choice."""
        return choices[int(self.unit() * len(choices))]


def every_scene() -> list[Scene]:
    """Return all scenes, always in the same order."""
    return [Scene(*parts) for parts in itertools.product(SHAPES, COLOURS, MOTIONS, BACKGROUNDS)]


def scenes(site: int, count: int) -> list[Scene]:
    """Return the scenes of a site, no two alike.

    Sites differ in what they mostly show: each has its favourites among shapes, motions and backgrounds, three times as
    likely as the others.

    Raises:
        ValueError: more scenes than there are.
    """
    every = every_scene()
    if not 0 < count <= len(every):
        raise ValueError(f"there are {len(every)} scenes, {count} cannot be chosen")

    def rank(scene: Scene) -> float:
        favoured = (
            SHAPES.index(scene.shape) == site % len(SHAPES),
            MOTIONS.index(scene.motion) % 4 == site % 4,
            list(BACKGROUNDS).index(scene.background) == site % len(BACKGROUNDS),
        )
        # Exponential races (Efraimidis & Spirakis 2006): the smallest keys are a weighted sample without replacement.
        return -math.log(1 - Draws("scene", site, scene.caption).unit()) / 3.0 ** sum(favoured)

    return sorted(every, key=rank)[:count]


def render(scene: Scene, variant: object, *, frames: int = FRAMES, size: int = SIZE) -> Frames:
    """Return the frames of a scene, uint8 (frames, size, size, 3).

    Args:
        scene: what is shown.
        variant: what else there is to see follows from its text: place, speed, radius, angle, shades. A site's number
            for its clips.
        frames: of the clip, at least 2.
        size: height and width.
    """
    draws = Draws("render", variant, scene.caption)
    colour = np.array(COLOURS[scene.colour], dtype=np.float64) + draws.between(-12, 12)
    picture = _backdrop(BACKGROUNDS[scene.background], draws, size)
    angle = draws.between(-0.2, 0.2)
    column, row, radius = (values[:, None, None] for values in _path(scene.motion, draws, frames))
    rows, columns = np.mgrid[0:size, 0:size] / (size - 1) * 2 - 1
    u, v = (columns - column) / radius, (rows - row) / radius
    turned = u * math.cos(angle) + v * math.sin(angle), v * math.cos(angle) - u * math.sin(angle)
    # One pixel of soft edge, in units of the radius.
    cover = np.clip(0.5 - _distance(scene.shape, *turned) * radius * size / 2, 0, 1)[..., None]
    return np.clip(np.rint(picture * (1 - cover) + colour * cover), 0, 255).astype(np.uint8)


def _backdrop(brightness: int, draws: Draws, size: int) -> Values:
    """Return a nearly grey plane that brightens in one direction, (size, size, 3)."""
    tint = np.array([draws.between(-12, 12) for _ in range(3)])
    direction, slope = draws.between(0, 2 * math.pi), draws.between(0, 18)
    rows, columns = np.mgrid[0:size, 0:size] / (size - 1) * 2 - 1
    plane = slope * (columns * math.cos(direction) + rows * math.sin(direction))
    return np.asarray(brightness + tint + plane[..., None], dtype=np.float64)


def _path(motion: str, draws: Draws, frames: int) -> tuple[Values, Values, Values]:
    """Return column, row (both in [-1, 1]) and radius of the shape in each frame, each (frames,)."""
    column, row = draws.between(-0.25, 0.25), draws.between(-0.25, 0.25)
    radius, speed, phase = draws.between(0.34, 0.44), draws.between(0.85, 1.15), draws.between(0, 2 * math.pi)
    time = speed * (np.arange(frames) / (frames - 1) - 0.5)
    still = np.zeros(frames)
    match motion.split():
        case ["moving", way]:
            across, down = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[way]
            return column + across * time, row + down * time, still + radius
        case ["bouncing"]:
            return still + column, 0.45 - 0.9 * np.abs(np.sin(2 * math.pi * time)), still + radius
        case ["circling"]:
            return 0.4 * np.cos(6 * time + phase), 0.4 * np.sin(6 * time + phase), still + radius
        case ["growing"]:
            return still + column, still + row, radius * (1 + time)
        case _:
            return still + column, still + row, radius * (1 - time)


def _distance(shape: str, u: Values, v: Values) -> Values:
    """Return a signed distance to a shape's edge, about in units of its radius; negative inside."""
    square = np.maximum(np.abs(u), np.abs(v))
    match shape:
        case "circle":
            return np.asarray(np.hypot(u, v) - 1)
        case "square":
            return np.asarray(square - 0.9)
        case "triangle":
            return np.asarray(np.maximum(np.abs(u) * 0.87 - v * 0.5, v) - 0.6)
        case _:
            return np.asarray(np.maximum(np.minimum(np.abs(u), np.abs(v)) - 0.3, square - 1))


def write_site(directory: Path, *, site: int, clips: int, frames: int = FRAMES, size: int = SIZE) -> None:
    """Write a site's data directory: clips/*.mp4, and prompts.jsonl whose lines name them.

    Args:
        directory: made where missing; what is there is overwritten.
        site: number of the site, which decides its mixture.
        clips: how many.
        frames: of each clip.
        size: height and width, even.
    """
    folder = directory / CLIPS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, scene in enumerate(scenes(site, clips)):
        name = f"site{site}-{number:04d}.mp4"
        encode_mp4(folder / name, render(scene, site, frames=frames, size=size), fps=FPS)
        line = {"id": f"site{site}-{number:04d}", "prompt": scene.caption, "clip": f"{CLIPS_FOLDER}/{name}"}
        lines.append(json.dumps(line) + "\n")
    (directory / PROMPTS_FILE).write_text("".join(lines), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a site's synthetic data; return the exit code."""
    most = len(every_scene())
    parser = argparse.ArgumentParser(description="Write captioned synthetic clips, for demos and tests.")
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--site", type=int, default=0, help="number of the site; each has a mixture of its own")
    parser.add_argument("--clips", type=int, default=200, help=f"how many, at most {most}")
    chosen = parser.parse_args(arguments)
    if not 0 < chosen.clips <= most:
        parser.error(f"--clips must be 1 to {most}, not {chosen.clips}")
    try:
        write_site(chosen.directory, site=chosen.site, clips=chosen.clips)
    except OSError as error:
        parser.error(f"{chosen.directory}: cannot be written ({error.strerror}); choose another folder")
    sys.stdout.write(f"{chosen.directory}: {chosen.clips} clips with their words, for --data\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
