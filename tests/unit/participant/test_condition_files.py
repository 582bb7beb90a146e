"""Files that clips start from: pictures and videos as they are coded, in a clip's size, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vdb_participant.data.conditions import can_start, starting_frames, verify_condition
from vdb_participant.data.resize import resize
from vdb_participant.data.video import Frames, Limits, decode, encode_mp4
from vdb_participant.embedded.scenes import Scene, render
from vdb_participant.generation.settings import GenerationSettings
from vdb_participant.generation.starts import Starts
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import DatasetError

SETTINGS = GenerationSettings(9, 32, 64, 2, 2.0, "", "exact", start="picture")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    frames = render(Scene("circle", "red", "circling", "dark"), 0, frames=12, size=48)
    encode_mp4(tmp_path / "video.mp4", frames, fps=8)
    return tmp_path / "video.mp4"


def starts(path: Path, settings: GenerationSettings = SETTINGS) -> Frames:
    digest = sha256_digest(path.read_bytes())
    found = Starts({digest: path}).frames(digest, settings)
    assert found is not None
    return found


def test_a_picture_has_the_size_of_the_clip(picture: Path) -> None:
    expected = resize(np.array(Image.open(picture))[np.newaxis], 32, 64)
    np.testing.assert_array_equal(starts(picture), expected)


def test_a_video_gives_its_first_frame_or_its_first_frames_as_a_reference_clip_does(video: Path) -> None:
    expected = resize(decode(video, frames=9).frames, 32, 64)
    np.testing.assert_array_equal(starts(video, replace(SETTINGS, start="video")), expected)
    np.testing.assert_array_equal(starts(video), expected[:1])


def test_words_alone_start_from_nothing() -> None:
    assert Starts().frames("", SETTINGS) is None


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", "png"), ("RGBA", "png"), ("P", "png"), ("1", "png"), ("CMYK", "jpg"), ("RGBA", "webp")]
)
def test_pictures_of_all_kinds_are_seen_in_three_colours(mode: str, suffix: str, picture: Path) -> None:
    path = picture.with_name(f"other.{suffix}")
    Image.open(picture).convert(mode).save(path)
    assert starting_frames(path, "picture", 9).frames.shape == (1, 20, 30, 3)


def test_a_turned_picture_is_taken_as_it_is_coded(picture: Path) -> None:
    image = Image.open(picture)
    exif = image.getexif()
    exif[0x0112] = 6  # turn by a quarter
    image.save(picture, exif=exif)
    assert starting_frames(picture, "picture", 9).frames.shape == (1, 20, 30, 3)


def test_what_is_no_start_is_refused_by_name(picture: Path, video: Path, tmp_path: Path) -> None:
    deep, lying, cut = tmp_path / "deep.png", tmp_path / "lying.jpg", tmp_path / "cut.png"
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(deep)
    Image.open(picture).save(lying, format="GIF")
    cut.write_bytes(picture.read_bytes()[:200])
    for path, start, frames, reason in (
        (picture, "video", 9, "is a picture, a video of 9 frames is needed"),
        (video, "video", 17, "has 12 frames, 17 are needed"),
        (deep, "picture", 9, "is of mode I;16; save it with 8 bits for each channel"),
        (lying, "picture", 9, "cannot be read as a picture: cannot identify image file"),
        (cut, "picture", 9, "cannot be read as a picture: "),
        (tmp_path / "none.png", "picture", 9, "cannot be read as a picture: "),
        (tmp_path / "none.mp4", "picture", 9, "cannot be decoded: "),
    ):
        with pytest.raises(DatasetError) as refusal:
            starting_frames(path, start, frames)  # type: ignore[arg-type]
        assert str(refusal.value).startswith(f"{path}: {reason}")
        assert "\n" not in str(refusal.value)
        assert not can_start(path, start, frames)  # type: ignore[arg-type]


def test_a_picture_takes_no_more_than_the_limits(picture: Path) -> None:
    with pytest.raises(DatasetError, match="30x20 is larger than 599 pixels"):
        starting_frames(picture, "picture", 9, Limits(pixels=599))
    with pytest.raises(DatasetError, match="more than the 100 allowed"):
        starting_frames(picture, "picture", 9, Limits(file_bytes=100))


def test_a_file_that_changed_or_is_gone_is_named(picture: Path) -> None:
    digest = sha256_digest(picture.read_bytes())
    verify_condition(picture, digest)
    picture.write_bytes(picture.read_bytes() + b"x")
    with pytest.raises(DatasetError, match=rf"picture\.png: expected {digest}, found sha256:\w+; put the file back"):
        Starts({digest: picture}).frames(digest, SETTINGS)
    picture.unlink()
    with pytest.raises(DatasetError, match=r"picture\.png: cannot be read: No such file or directory; put it back"):
        Starts({digest: picture}).frames(digest, SETTINGS)
