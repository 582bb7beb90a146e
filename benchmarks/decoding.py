"""Decoding outside the agent against decoding inside it, what a malformed file costs, and how far alike clips are apart.

    python benchmarks/decoding.py [--clips 100] [--json FILE]

Both ways read the same files in turn. The bound is for processor time, of all processes together: on a machine that does other
things, wall clock time counts how often a process waits for its turn. Frames are compared bit for bit. Distances are of
versions of photographs that a camera moves over, and, where the footage of `tests/testkit/footage.py` is, of shots of two
seconds each.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image
from rows import Row, report

from testkit.footage import CLIPS, FootageError, default_folder
from testkit.footage import clip as footage
from testkit.mutants import mutants
from testkit.photographs import blurred, panned, with_noise
from vdb_participant.data.decoding.decoder import Decoder
from vdb_participant.data.decoding.media import DEFAULT_LIMITS, Frames, Source, read_frames
from vdb_participant.data.likeness import ALIKE, Fingerprint, distance, fingerprint
from vdb_participant.data.video import encode_mp4
from vdb_shared.errors import DatasetError

SHAPES = ((64, 256), (16, 256), (64, 512), (9, 32))
"""Frames and side of clips whose decoding is timed; the bound is for the first."""

MOST = 1.15
"""Times as long as inside."""

Version = Callable[[Frames], Frames]


def _inside(path: Path, frames: int) -> Frames:
    shown: list[Frames] = []
    with Source(os.open(path, os.O_RDONLY), path.suffix) as source:
        read_frames(source, frames, DEFAULT_LIMITS, lambda _number, frame: shown.append(frame))
    return np.stack(shown)


def _noisy(frames: int, side: int) -> Frames:
    """Return a clip with motion and grain, as footage has."""
    rows, columns = np.mgrid[0:side, 0:side]
    grain = np.random.default_rng(0).integers(-8, 9, (frames, side, side, 3))
    times = np.arange(frames)[:, None, None]
    planes = (2 * columns + 3 * times, rows + columns + 5 * times, 2 * rows - times)
    values = np.stack([np.abs((plane % 512) - 256) for plane in planes], axis=-1)
    return np.clip(values + grain, 0, 255).astype(np.uint8)


def speed(folder: Path, clips: int) -> list[Row]:
    """Return how long clips take inside and outside."""
    rows = [Row("a decoder starts, once for each process of the agent", _starting(), "s")]
    for frames, side in SHAPES:
        path = folder / f"{frames}-{side}.mp4"
        encode_mp4(path, _noisy(frames, side), fps=16)
        inside, outside, equal = _in_turn(path, frames, clips)
        name = f"{frames} frames of {side} x {side}"
        rows += [
            Row(f"{name}: clips a second inside, median", 1 / statistics.median(inside), "1/s"),
            Row(f"{name}: clips a second outside, median", 1 / statistics.median(outside), "1/s"),
            Row(
                f"{name}: time outside over inside, medians", statistics.median(outside) / statistics.median(inside), ""
            ),
            Row(
                f"{name}: processor time outside over inside",
                _processor_seconds(path, frames, clips) / _processor_seconds_inside(path, frames, clips),
                "",
                MOST if (frames, side) == SHAPES[0] else None,
            ),
            Row(f"{name}: frames are the same", float(equal), "", 1.0, at_least=True),
        ]
    return rows


def _starting() -> float:
    with Decoder() as decoder:
        begun = time.perf_counter()
        decoder.started()
        return time.perf_counter() - begun


def _in_turn(path: Path, frames: int, clips: int) -> tuple[list[float], list[float], bool]:
    """Return the seconds of each reading inside and outside, and whether all frames were the same."""
    inside, outside, equal = [], [], True
    with Decoder() as decoder:
        decoder.video(path, frames=frames)
        for _ in range(clips):
            begun = time.perf_counter()
            expected = _inside(path, frames)
            between = time.perf_counter()
            found = decoder.video(path, frames=frames).frames
            outside.append(time.perf_counter() - between)
            inside.append(between - begun)
            equal &= np.array_equal(expected, found)
    return inside, outside, equal


def _processor_seconds_inside(path: Path, frames: int, clips: int) -> float:
    _inside(path, frames)
    begun = time.process_time()
    for _ in range(clips):
        _inside(path, frames)
    return (time.process_time() - begun) / clips


def _processor_seconds(path: Path, frames: int, clips: int) -> float:
    """Return processor time a clip of agent, program and decoders together, without what starting takes."""
    return (_all_seconds(path, frames, clips + 1) - _all_seconds(path, frames, 1)) / clips


def _all_seconds(path: Path, frames: int, clips: int) -> float:
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with Decoder() as decoder:
        for _ in range(clips):
            decoder.video(path, frames=frames)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    theirs = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.process_time() - begun + theirs


def malformed(folder: Path) -> list[Row]:
    """Return how long a malformed file takes, half of the time and in the worst of 330."""
    times = []
    with Decoder() as decoder:
        decoder.started()
        for mutant in mutants(330, 1):
            path = folder / mutant.name
            path.write_bytes(mutant.content)
            begun = time.perf_counter()
            try:
                decoder.video(path, frames=9)
            except DatasetError:
                times.append(time.perf_counter() - begun)
    return [
        Row("a malformed file is refused, median", statistics.median(times), "s"),
        Row(f"a malformed file is refused, longest of {len(times)}", max(times), "s"),
    ]


def _smaller(frames: Frames) -> Frames:
    size = (frames.shape[2] // 4 * 2, frames.shape[1] // 4 * 2)
    return np.stack([np.asarray(Image.fromarray(frame).resize(size)) for frame in frames])


PROMISED: Mapping[str, Version] = {
    "half the size": _smaller,
    "half the frames": lambda clip: clip[::2],
    "brighter": lambda clip: np.clip(clip * 1.2 + 10, 0, 255).astype(np.uint8),
    "grey": lambda clip: np.repeat(clip.mean(-1, keepdims=True), 3, -1).astype(np.uint8),
    "noise": lambda clip: with_noise(clip, 10),
    "blurred": lambda clip: blurred(clip, 2),
}

OTHERS: Mapping[str, Version] = {
    "nine tenths of it": lambda clip: clip[len(clip) // 10 :],
    "two thirds of it": lambda clip: clip[len(clip) * 3 // 10 :],
    "cropped by a tenth": lambda clip: clip[:, clip.shape[1] // 20 * 2 :, clip.shape[2] // 20 * 2 :],
    "mirrored": lambda clip: clip[:, :, ::-1],
}


def _shots(decoder: Decoder) -> dict[str, Frames]:
    """Return clips by "<scene>/<shot>"."""
    found = {
        f"{name}/0": panned(frames=24, height=160, width=200, photograph=name)
        for name in ("astronaut", "coffee", "chelsea", "rocket")
    }
    for name in CLIPS:
        try:
            frames = decoder.video(footage(name)).frames
        except FootageError:
            continue
        scene = name.partition("_")[0].removesuffix(".mp4")
        for start in range(0, min(len(frames), 240) - 59, 60):
            shot = frames[start : start + 60]
            found[f"{scene}/{name}-{start}"] = _smaller(shot) if shot.shape[1] > 400 else shot
    return found


def likeness(folder: Path) -> list[Row]:
    """Return how far versions of clips are from them, and different clips from each other."""
    with Decoder() as decoder:
        shots = _shots(decoder)

        def printed(frames: Frames) -> Fingerprint:
            path = folder / "version.mp4"
            even = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
            encode_mp4(path, np.ascontiguousarray(even), fps=16)
            return fingerprint(decoder.glance(path).pictures)

        plain = {name: printed(clip) for name, clip in shots.items()}
        apart = {
            word: [distance(plain[name], printed(version(clip))) for name, clip in shots.items()]
            for word, version in {**PROMISED, **OTHERS}.items()
        }
    scenes = [
        distance(plain[one], plain[other])
        for one, other in combinations(plain, 2)
        if one.partition("/")[0] != other.partition("/")[0]
    ]
    rows = [Row(f"likeness: {word}, farthest of {len(shots)}", max(apart[word]), "bits", ALIKE) for word in PROMISED]
    for word in OTHERS:
        rows += [
            Row(f"likeness: {word}, median", statistics.median(apart[word]), "bits"),
            Row(f"likeness: {word}, farthest", max(apart[word]), "bits"),
        ]
    return [*rows, Row("likeness: another scene, nearest", min(scenes), "bits", ALIKE, at_least=True)]


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Measure decoding.")
    parser.add_argument("--clips", type=int, default=100, help="how often each clip is read")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = [*speed(folder, chosen.clips), *malformed(folder), *likeness(folder)]
    remark = (
        "with footage" if (default_folder() / next(iter(CLIPS))).is_file() else "without footage (make test fetches it)"
    )
    return report(rows, remark, chosen.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
