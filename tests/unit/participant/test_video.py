"""Decoding within limits, and encoding."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vdb_participant.data.decoding.media import Source, decoded
from vdb_participant.data.video import Frames, Limits, count_frames, decode, encode_mp4
from vdb_participant.embedded.scenes import Scene, render
from vdb_shared.errors import DatasetError

SCENE = Scene("circle", "red", "moving left", "dark")
PICTURES = render(SCENE, 0, frames=13, size=48)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    encode_mp4(path, PICTURES, fps=8)
    return path


def _encode(path: Path, codec: str, pixels: str) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8)
        stream.height = stream.width = 48
        stream.pix_fmt = pixels
        for picture in PICTURES:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def _opencv(path: Path) -> Frames:
    capture = cv2.VideoCapture(str(path))
    shown: list[Frames] = []
    while True:
        there, picture = capture.read()
        if not there:
            return np.stack(shown)[..., ::-1]
        shown.append(picture)


def test_frames_are_those_of_another_decoder(clip: Path) -> None:
    decoded = decode(clip)
    assert decoded.frames.dtype == np.uint8
    assert decoded.frames.shape == (13, 48, 48, 3)
    assert decoded.fps == 8
    np.testing.assert_array_equal(decoded.frames, _opencv(clip))


def test_a_clip_survives_encoding_but_for_the_codec(clip: Path) -> None:
    # Colours are kept at a quarter of the resolution, so edges differ; the picture as a whole must not.
    difference = np.abs(decode(clip).frames.astype(int) - PICTURES)
    assert difference.mean() < 6
    assert np.median(difference) <= 3


def test_only_the_wanted_frames_are_decoded(clip: Path) -> None:
    np.testing.assert_array_equal(decode(clip, frames=5).frames, decode(clip).frames[:5])
    assert count_frames(clip, at_most=5) == 5
    assert count_frames(clip, at_most=100) == 13


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".avi", ".gif"])
def test_every_container_is_read(tmp_path: Path, suffix: str) -> None:
    codec, pixels = {".webm": ("libvpx-vp9", "yuv420p"), ".gif": ("gif", "rgb8"), ".avi": ("mpeg4", "yuv420p")}.get(
        suffix, ("libx264", "yuv420p")
    )
    path = tmp_path / f"clip{suffix}"
    _encode(path, codec, pixels)
    decoded = decode(path)
    assert decoded.frames.shape == (13, 48, 48, 3)
    assert np.median(np.abs(decoded.frames.astype(int) - PICTURES)) <= 30


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(file_bytes=100), "more than the 100 allowed"),
        (Limits(pixels=48 * 48 - 1), "48x48 is larger"),
        (Limits(decoded_bytes=48 * 48 * 3 * 12), "cut it into clips"),
        (Limits(seconds=0.0), "took longer than 0 s"),
    ],
)
def test_limits_hold(clip: Path, limits: Limits, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason) as refusal:
        decode(clip, limits=limits)
    assert str(clip) in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty"), (b"not a video" * 100, "cannot be decoded"), (None, "cannot be decoded")]
)
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "odd.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=reason) as refusal:
        decode(path)
    assert str(path) in str(refusal.value)


def test_an_unknown_coding_is_named(clip: Path) -> None:
    clip.write_bytes(clip.read_bytes().replace(b"avc1", b"zzz1"))
    with pytest.raises(DatasetError, match="is coded in a way that is not known here"):
        decode(clip)


def test_sound_without_pictures_is_no_clip(tmp_path: Path) -> None:
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        for packet in (*stream.encode(sound), *stream.encode()):
            container.mux(packet)
    with pytest.raises(DatasetError, match="has no video stream"):
        decode(path)


def _frames_or_refusal(path: Path) -> int | str:
    try:
        return len(decode(path).frames)
    except DatasetError as error:
        return str(error)


def test_a_truncated_file_gives_its_frames_or_an_error_but_no_traceback(clip: Path) -> None:
    whole = clip.read_bytes()
    for kept in range(0, len(whole), max(1, len(whole) // 25)):
        clip.write_bytes(whole[:kept])
        found = _frames_or_refusal(clip)
        assert found in range(1, 14) or (isinstance(found, str) and str(clip) in found)


def test_a_playlist_in_disguise_opens_no_other_file(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "list.mp4"
    path.write_text(f"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/{clip.name}\n#EXT-X-ENDLIST\n")
    with pytest.raises(DatasetError, match="cannot be decoded"):
        decode(path)
    path.write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    with pytest.raises(DatasetError, match="cannot be decoded"):
        decode(path)


def test_other_formats_are_not_read_whatever_they_are_called(tmp_path: Path, clip: Path) -> None:
    _encode(tmp_path / "stream.ts", "libx264", "yuv420p")
    (tmp_path / "stream.ts").rename(tmp_path / "stream.mp4")
    with pytest.raises(DatasetError, match="cannot be decoded"):
        decode(tmp_path / "stream.mp4")
    clip.rename(tmp_path / "misnamed.mkv")
    assert len(decode(tmp_path / "misnamed.mkv").frames) == 13


def test_a_slow_file_is_given_up_between_frames(clip: Path) -> None:
    def slowly() -> Iterator[None]:
        with Source(os.open(clip, os.O_RDONLY), ".mp4") as source:
            for _ in decoded(source, Limits(seconds=0.3)):
                time.sleep(0.4)
                yield

    with pytest.raises(DatasetError, match=r"took longer than 0\.3 s"):
        list(slowly())


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    first, second = tmp_path / "1.mp4", tmp_path / "2.mp4"
    for path in (first, second):
        encode_mp4(path, PICTURES, fps=8)
    assert first.read_bytes() == second.read_bytes()
