"""Malformed media files: real ones, each spoilt in one way, and what an agent makes of them all.

    PYTHONPATH=tests python -m testkit.mutants --mutants 3000 --seed 1 DIR

Promises the same files for the same seed and libraries. Writes a data directory, has `data check` and the reading of reference
clips and pictures go through all of it, prints one line of JSON, and returns 1 when the agent or its memory did not stay whole,
a file has no verdict, or a verdict depends on the files that were read before.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vdb_participant.data.conditions import PICTURE_SUFFIXES
from vdb_participant.data.dataset import CLIP_SUFFIXES, Dataset
from vdb_participant.data.decoding.decoder import Decoder
from vdb_participant.data.decoding.media import Clip, Frames, Limits
from vdb_participant.embedded.scenes import Scene, render
from vdb_shared.errors import DatasetError

FRAMES = 9
"""That clips are to have, as a spec says."""

LIMITS = Limits(seconds=20.0, memory=2**30, decoded_bytes=2**30)
MOST_MEMORY = 2**30 + 2**28
"""Bytes that any process may have held: the limit, and the program itself."""

MOST_GROWTH = 2**28
"""Bytes by which the agent may grow: the frames of one clip."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A malformed file.

    Attributes:
        name: says what was done to what.
        content: its bytes.
    """

    name: str
    content: bytes = field(repr=False)


_Spoil = Callable[[random.Random, bytes, Mapping[str, bytes]], bytes]


def mutants(count: int, seed: int) -> Iterator[Mutant]:
    """Yield so many mutants, of every kind of file and in every way in turn."""
    whole = originals()
    ways = list(_WAYS.items())
    for number in range(count):
        random_numbers = random.Random(f"{seed}/{number}")  # noqa: S311 (nothing is secret here)
        kind = list(whole)[number % len(whole)]
        way, spoil = ways[(number // len(whole)) % len(ways)]
        suffix = random_numbers.choice(_ENDINGS) if way == "ending" else kind.rpartition("-")[2]
        yield Mutant(
            f"{number:04d}-{kind.rpartition('-')[0]}-{way}.{suffix}", spoil(random_numbers, whole[kind], whole)
        )


def originals() -> dict[str, bytes]:
    """Return sound files by kind, "<codec>-<ending>"."""
    frames = render(Scene("circle", "red", "circling", "dark"), 0, frames=13, size=48)
    found = {
        f"{codec}-{ending}": _video(frames, codec, pixels, ending, sound)
        for codec, pixels, ending, sound in (
            ("libx264", "yuv420p", "mp4", ""),
            ("libx264", "yuv420p", "mp4", "aac"),
            ("libx264", "yuv420p", "mkv", "pcm_s16le"),
            ("ffv1", "yuv444p", "mkv", ""),
            ("libvpx-vp9", "yuv420p", "webm", ""),
            ("mpeg4", "yuv420p", "avi", "pcm_s16le"),
            ("mjpeg", "yuvj420p", "avi", ""),
            ("gif", "rgb8", "gif", ""),
        )
        if codec != "libx264" or sound != "aac"
    }
    found["h264+aac-mp4"] = _video(frames, "libx264", "yuv420p", "mp4", "aac")
    pictures = [Image.fromarray(frame) for frame in frames[:3]]
    for name, form in (("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")):
        stream = BytesIO()
        pictures[0].save(stream, form)
        found[f"picture-{name}"] = stream.getvalue()
    stream = BytesIO()
    pictures[0].save(stream, "PNG", save_all=True, append_images=pictures[1:])
    found["apng-png"] = stream.getvalue()
    return found


def _video(frames: Frames, codec: str, pixels: str, ending: str, sound: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip.{ending}"
        with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:  # Matroska's ids are random else
            stream = container.add_stream(codec, rate=8)
            stream.height, stream.width, stream.pix_fmt = 48, 48, pixels
            stream.thread_count = 1
            if codec == "libx264":
                stream.options = {"x264-params": "asm=0"}  # its look-ahead reads past what it wrote else: files differ
            heard = container.add_stream(sound, rate=8000) if sound else None
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=pixels)
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
            if heard is not None:
                noise = np.random.default_rng(0).integers(-9999, 9999, (1, 8000), dtype=np.int16)
                piece = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
                piece.sample_rate = 8000
                container.mux(heard.encode(piece))
                container.mux(heard.encode())
        return path.read_bytes()


def _cut(numbers: random.Random, content: bytes, _: Mapping[str, bytes]) -> bytes:
    return content[: numbers.randrange(1, len(content))]


def _flip_some(numbers: random.Random, content: bytes, _: Mapping[str, bytes]) -> bytes:
    return _flipped(numbers, content, len(content), numbers.choice((1, 4, 16, 64)))


def _flip_head(numbers: random.Random, content: bytes, _: Mapping[str, bytes]) -> bytes:
    return _flipped(numbers, content, min(len(content), 512), numbers.choice((1, 2, 4)))


def _flipped(numbers: random.Random, content: bytes, within: int, times: int) -> bytes:
    spoilt = bytearray(content)
    for _ in range(times):
        spoilt[numbers.randrange(within)] ^= 1 << numbers.randrange(8)
    return bytes(spoilt)


def _odd_lengths(numbers: random.Random, content: bytes, _: Mapping[str, bytes]) -> bytes:
    """Give some four-letter box or chunk another length, before its name or after it."""
    spoilt = bytearray(content)
    places = [place for place in range(4, len(content) - 8) if content[place : place + 4].isalpha()]
    for place in numbers.sample(places, min(2, len(places))):
        odd = numbers.choice((0, 1, 7, 8, 2**31 - 1, 2**31, 2**32 - 1, numbers.randrange(2**32)))
        start = place + numbers.choice((-4, 4))
        spoilt[start : start + 4] = struct.pack(numbers.choice("<>") + "I", odd)
    return bytes(spoilt)


def _other_head(numbers: random.Random, content: bytes, others: Mapping[str, bytes]) -> bytes:
    head = numbers.choice(list(others.values()))
    size = numbers.choice((4, 16, 64, 256, 600))
    return head[:size] + content[size:]


def _zeros(numbers: random.Random, content: bytes, _: Mapping[str, bytes]) -> bytes:
    start = numbers.randrange(len(content))
    size = min(len(content) - start, numbers.choice((8, 64, 1024, len(content))))
    return content[:start] + bytes(size) + content[start + size :]


def _huge(numbers: random.Random, content: bytes, _: Mapping[str, bytes]) -> bytes:
    """Declare enormous pictures wherever a size of 48 x 48 stands, of any width and byte order."""
    spoilt = content
    for form in (">HH", "<HH", ">II", "<II"):
        most = 2 ** (16 if "H" in form else 32) - 1 - numbers.choice((0, numbers.randrange(2**15)))
        spoilt = spoilt.replace(struct.pack(form, 48, 48), struct.pack(form, most, most))
    for element in (b"\xb0\x81\x30", b"\xba\x81\x30"):  # PixelWidth and PixelHeight of Matroska, a byte each
        spoilt = spoilt.replace(element, element[:2] + bytes((numbers.randrange(49, 256),)))
    return _with_sums(spoilt) if spoilt.startswith(b"\x89PNG") else spoilt


def _with_sums(png: bytes) -> bytes:
    """Return a PNG file whose first chunk's checksum is right again."""
    return png[:29] + struct.pack(">I", zlib.crc32(png[12:29])) + png[33:]


def _doubled(numbers: random.Random, content: bytes, _: Mapping[str, bytes]) -> bytes:
    start = numbers.randrange(len(content))
    piece = content[start : start + numbers.choice((16, 256, 4096))]
    return content[:start] + piece * numbers.choice((2, 50)) + content[start + len(piece) :]


def _without_piece(numbers: random.Random, content: bytes, _: Mapping[str, bytes]) -> bytes:
    start = numbers.randrange(len(content))
    return content[:start] + content[start + numbers.choice((1, 7, 128, 1024)) :]


def _noise(numbers: random.Random, content: bytes, _: Mapping[str, bytes]) -> bytes:
    """Keep the head alone, and let noise follow."""
    kept = numbers.choice((12, 48, 200))
    return content[:kept] + numbers.randbytes(max(1, len(content) - kept))


def _nothing_wrong(_: random.Random, content: bytes, __: Mapping[str, bytes]) -> bytes:
    return content


_WAYS: Mapping[str, _Spoil] = {
    "cut": _cut,
    "flipped": _flip_some,
    "head-flipped": _flip_head,
    "lengths": _odd_lengths,
    "other-head": _other_head,
    "zeros": _zeros,
    "huge": _huge,
    "doubled": _doubled,
    "piece-gone": _without_piece,
    "noise": _noise,
    "ending": _nothing_wrong,
}

_ENDINGS: Sequence[str] = (*(suffix.removeprefix(".") for suffix in CLIP_SUFFIXES + PICTURE_SUFFIXES), "mov", "txt")


def write_data(folder: Path, made: Sequence[Mutant]) -> None:
    """Write a data directory: mutants, folders of frames, and one sound clip between them and one at the end."""
    clips = folder / "clips"
    clips.mkdir(parents=True)
    for mutant in made:
        (clips / mutant.name).write_bytes(mutant.content)
    for number in range(3):
        place = clips / f"frames-{number}{'.mp4' if number == 2 else ''}"
        place.mkdir()
        for mutant in made:
            if number and mutant.name.endswith(".png"):
                (place / mutant.name).write_bytes(mutant.content)
    frames = render(Scene("square", "blue", "growing", "light"), 0, frames=13, size=48)
    (folder / "prompts.jsonl").write_text('{"id": "one", "prompt": "a red circle"}\n')
    (clips / "0100-whole.mp4").write_bytes(_video(frames, "libx264", "yuv420p", "mp4", ""))
    (clips / "zzzz-whole.webm").write_bytes(_video(frames, "libvpx-vp9", "yuv420p", "webm", ""))


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of files by name: their frames' shape and checksum, or the reason why there are none."""

    clips: Mapping[str, str]
    pictures: Mapping[str, str]


def verdicts(decoder: Decoder, files: Sequence[Path]) -> Verdicts:
    """Return what a decoder says of files in their order, as measuring and clips that start from pictures read them."""
    clips, pictures = {}, {}
    for path in files:
        if path.suffix in CLIP_SUFFIXES:
            clips[path.name] = _said(partial(decoder.video, path, frames=FRAMES, limits=LIMITS))
        elif path.suffix in PICTURE_SUFFIXES:
            pictures[path.name] = _said(partial(decoder.picture, path, limits=LIMITS))
    return Verdicts(clips, pictures)


def _said(decode: Callable[[], Clip]) -> str:
    try:
        frames = decode().frames
    except DatasetError as error:
        return str(error).rpartition("/")[2]
    return f"{frames.shape} {zlib.crc32(frames.tobytes())}"


def examine(folder: Path, count: int, seed: int) -> dict[str, object]:
    """Write mutants into a folder, read them all, and return what is printed."""
    made = list(mutants(count, seed))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_data(folder, made)
    data = Dataset.open(folder, frames=FRAMES)
    listed = {Path(problem.file).name: problem.reason for problem in data.problems}
    named = {path.name for path in data.clips} | listed.keys()
    files = sorted(item for item in (folder / "clips").iterdir() if item.is_file())
    with Decoder() as decoder:
        found = verdicts(decoder, files)
        again = verdicts(decoder, files[::-3])  # the other way round, and not after the same files
    same = again.clips.items() <= found.clips.items() and again.pictures.items() <= found.pictures.items()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    reasons = Counter(reason.split(":")[0] for reason in listed.values())
    unsaid = sorted({path.name for path in (folder / "clips").iterdir()} - named)
    return {
        "mutants": len(made),
        "different": len({mutant.content for mutant in made}),
        "usable": len(data.clips),
        "listed": len(listed),
        "unsaid": unsaid,
        "reasons": dict(reasons.most_common()),
        "ended": sum("the decoder " in said for said in (*found.clips.values(), *found.pictures.values())),
        "pictures": len(found.pictures),
        "order_matters": not same,
        "grown": grown,
        "most_memory": most,
        "holds": not unsaid and same and grown <= MOST_GROWTH and most <= MOST_MEMORY,
    }


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Read malformed media files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mutants", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    found = examine(chosen.folder / "data", chosen.mutants, chosen.seed)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if found["holds"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
