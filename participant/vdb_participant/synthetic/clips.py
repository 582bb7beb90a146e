"""Procedural captioned clips: coloured shapes that move over backgrounds, a different mixture at every site.

Promises real H.264 files whose words tell what they show, and the same clips for the same arguments. For demos and tests;
such clips say nothing about real video.

    python -m vdb_participant.synthetic.clips DIR --site 0 --clips 200
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from vdb_participant.data.dataset import CLIPS_FOLDER, PROMPTS_FILE
from vdb_participant.data.video import Frames, encode_mp4

Choice = TypeVar("Choice")
Mask = NDArray[np.float64]

SIZE: Final = 48
FRAMES: Final = 13
FPS: Final = 8

SHAPES: Final = ("circle", "square", "triangle", "ring", "cross")
COLOURS: Final = {
    "red": (220, 50, 40),
    "green": (40, 180, 70),
    "blue": (50, 80, 220),
    "yellow": (235, 210, 50),
    "purple": (150, 60, 190),
    "orange": (240, 140, 30),
    "white": (240, 240, 240),
    "cyan": (50, 200, 210),
}
MOTIONS: Final = (
    "moving left",
    "moving right",
    "moving up",
    "moving down",
    "bouncing",
    "rotating",
    "growing",
    "circling",
)
BACKGROUNDS: Final = ("a plain", "a shaded", "a striped", "a chequered", "a noisy")


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
        return f"a {self.colour} {self.shape} {self.motion} on {self.background} background"


class Draws:
    """Numbers that follow from a name: SHAKE-256 read as 32-bit words."""

    def __init__(self, *name: object) -> None:
        self._stream = hashlib.shake_256("/".join(map(str, name)).encode()).digest(4096)
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


def scenes(site: int, count: int) -> list[Scene]:
    """Return the scenes of a site, no two alike.

    Sites differ in what they mostly show: each has its favourites among shapes, motions and backgrounds, four times as
    likely as the others.

    Raises:
        ValueError: more scenes than there are.
    """
    every = [Scene(*parts) for parts in itertools.product(SHAPES, COLOURS, MOTIONS, BACKGROUNDS)]
    if not 0 < count <= len(every):
        raise ValueError(f"there are {len(every)} scenes, {count} cannot be chosen")

    def rank(scene: Scene) -> float:
        favoured = (
            SHAPES.index(scene.shape) == site % len(SHAPES),
            MOTIONS.index(scene.motion) % 4 == site % 4,
            BACKGROUNDS.index(scene.background) == (2 * site + 1) % len(BACKGROUNDS),
        )
        # Exponential races (Efraimidis & Spirakis 2006): the smallest keys are a weighted sample without replacement.
        return -math.log(1 - Draws("scene", site, scene.caption).unit()) / 4.0 ** sum(favoured)

    return sorted(every, key=rank)[:count]


def render(scene: Scene, site: int, *, frames: int = FRAMES, size: int = SIZE) -> Frames:
    """Return the frames of a scene, uint8 (frames, size, size, 3)."""
    draws = Draws("render", site, scene.caption)
    colour = np.array(COLOURS[scene.colour], dtype=np.float64) + draws.between(-12, 12)
    picture = _background(scene.background, draws, size, np.array(_backdrop(scene.colour, draws)))
    rows, columns = np.mgrid[0:size, 0:size] / (size - 1) * 2 - 1
    shown = []
    for column, row, angle, radius in _path(scene.motion, draws, frames):
        u, v = (columns - column) / radius, (rows - row) / radius
        turned = u * math.cos(angle) + v * math.sin(angle), v * math.cos(angle) - u * math.sin(angle)
        # One pixel of soft edge, in units of the radius.
        cover = np.clip(0.5 - _distance(scene.shape, *turned) * radius * size / 2, 0, 1)[..., None]
        shown.append(picture * (1 - cover) + colour * cover)
    return np.clip(np.rint(np.stack(shown)), 0, 255).astype(np.uint8)


def _backdrop(colour: str, draws: Draws) -> tuple[int, int, int]:
    """Return a darkened colour of the background that is not the shape's."""
    other = COLOURS[draws.one_of([name for name in COLOURS if name != colour])]
    shade = draws.between(0.25, 0.6)
    return int(other[0] * shade), int(other[1] * shade), int(other[2] * shade)


def _background(kind: str, draws: Draws, size: int, colour: Mask) -> Mask:
    """Return a background, float64 (size, size, 3)."""
    rows, columns = np.mgrid[0:size, 0:size]
    period = int(draws.between(6, 12))
    match kind.removeprefix("a "):
        case "plain":
            pattern = np.zeros((size, size))
        case "shaded":
            pattern = (rows + columns) / (2 * size) - 0.5
        case "striped":
            pattern = ((columns // (period // 2)) % 2) * 0.5 - 0.25
        case "chequered":
            pattern = ((rows // period + columns // period) % 2) * 0.5 - 0.25
        case _:
            grain = hashlib.shake_256(str(draws.unit()).encode()).digest(size * size)
            pattern = np.frombuffer(grain, dtype=np.uint8).reshape(size, size) / 255 * 0.6 - 0.3
    return np.asarray(colour * (1 + pattern[..., None]), dtype=np.float64)


def _path(motion: str, draws: Draws, frames: int) -> Iterator[tuple[float, float, float, float]]:
    """Yield column, row (both in [-1, 1]), angle and radius of the shape in each frame."""
    column, row = draws.between(-0.3, 0.3), draws.between(-0.3, 0.3)
    angle, radius, speed = draws.between(0, 0.6), draws.between(0.28, 0.42), draws.between(0.8, 1.2)
    for frame in range(frames):
        time = speed * (frame / (frames - 1) - 0.5)
        match motion.split():
            case ["moving", way]:
                across, down = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[way]
                yield column + across * time, row + down * time, angle, radius
            case ["bouncing"]:
                yield column, 0.5 - abs(math.sin(2 * math.pi * time)), angle, radius
            case ["rotating"]:
                yield column, row, angle + math.pi * time, radius
            case ["growing"]:
                yield column, row, angle, radius * (1 + 0.8 * time)
            case _:
                yield 0.45 * math.cos(6 * time), 0.45 * math.sin(6 * time), angle, radius


def _distance(shape: str, u: Mask, v: Mask) -> Mask:
    """Return a signed distance to a shape's edge, about in units of its radius; negative inside."""
    square = np.maximum(np.abs(u), np.abs(v))
    match shape:
        case "circle":
            return np.hypot(u, v) - 1
        case "square":
            return square - 0.85
        case "triangle":
            return np.maximum(np.abs(u) * 0.866 - v * 0.5, v) - 0.55
        case "ring":
            return np.abs(np.hypot(u, v) - 0.75) - 0.22
        case _:
            return np.maximum(np.minimum(np.abs(u), np.abs(v)) - 0.28, square - 0.95)


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
    parser = argparse.ArgumentParser(description="Write captioned synthetic clips, for demos and tests.")
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--site", type=int, default=0, help="number of the site; each has a mixture of its own")
    parser.add_argument("--clips", type=int, default=200, help="how many, at most 1600")
    chosen = parser.parse_args(arguments)
    most = len(SHAPES) * len(COLOURS) * len(MOTIONS) * len(BACKGROUNDS)
    if not 0 < chosen.clips <= most:
        parser.error(f"--clips must be 1 to {most}, not {chosen.clips}")
    write_site(chosen.directory, site=chosen.site, clips=chosen.clips)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
