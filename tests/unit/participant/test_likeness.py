"""Clips that look alike are found, those that do not are not, and what the promise leaves out is left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import dctn

from testkit.photographs import blurred, panned, with_noise
from vdb_participant.data.decoding.decoder import process_decoder
from vdb_participant.data.likeness import ALIKE, NOTHING, Fingerprint, distance, fingerprint, groups, pairs
from vdb_participant.data.video import Frames, encode_mp4

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Frames], Fingerprint]:
    """What returns the fingerprint of frames once they are a file."""
    folder = tmp_path_factory.mktemp("likeness")
    decoder = process_decoder()

    def encoded(frames: Frames) -> Fingerprint:
        path = folder / "clip.mp4"
        even = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
        encode_mp4(path, np.ascontiguousarray(even), fps=16)
        return fingerprint(decoder.glance(path).pictures)

    return encoded


@pytest.fixture(scope="module")
def clips() -> dict[str, Frames]:
    return {name: panned(frames=24, height=160, width=200, photograph=name) for name in PHOTOGRAPHS}


def _smaller(frames: Frames) -> Frames:
    size = (frames.shape[2] // 2, frames.shape[1] // 2)
    return np.stack([np.asarray(Image.fromarray(frame).resize(size)) for frame in frames])


PROMISED: dict[str, Callable[[Frames], Frames]] = {
    "coded again": lambda clip: clip,
    "smaller": _smaller,
    "half the frames": lambda clip: clip[::2],
    "brighter": lambda clip: np.clip(clip * 1.2 + 10, 0, 255).astype(np.uint8),
    "grey": lambda clip: np.repeat(clip.mean(-1, keepdims=True), 3, -1).astype(np.uint8),
    "noise": lambda clip: with_noise(clip, 10),
    "blurred": lambda clip: blurred(clip, 2),
}


@pytest.fixture(scope="module")
def plain(clips: dict[str, Frames], seen: Callable[[Frames], Fingerprint]) -> dict[str, Fingerprint]:
    return {name: seen(clip) for name, clip in clips.items()}


@pytest.mark.parametrize("version", PROMISED)
def test_versions_of_a_clip_are_alike(
    version: str,
    clips: dict[str, Frames],
    plain: dict[str, Fingerprint],
    seen: Callable[[Frames], Fingerprint],
) -> None:
    for name, clip in clips.items():
        assert distance(plain[name], seen(PROMISED[version](clip))) <= ALIKE, name


def test_different_clips_are_not(plain: dict[str, Fingerprint]) -> None:
    found = list(plain.values())
    assert groups(found) == []
    assert pairs(found, found) == [(number, number) for number in range(len(found))]


def test_mirrored_clips_are_missed_as_is_said(
    clips: dict[str, Frames], plain: dict[str, Fingerprint], seen: Callable[[Frames], Fingerprint]
) -> None:
    for name, clip in clips.items():
        assert distance(plain[name], seen(clip[:, :, ::-1])) > ALIKE


def test_pictures_that_show_nothing_are_like_no_other() -> None:
    black = np.zeros((8, 90, 160, 3), dtype=np.uint8)
    noise = with_noise(black + np.uint8(16), 0.5)
    for empty in (black, noise):
        assert len(fingerprint(empty)) == 0
    assert distance(fingerprint(black), fingerprint(black)) == 64.0
    assert groups([fingerprint(black), fingerprint(noise), NOTHING]) == []


def test_bits_are_the_signs_of_low_frequencies() -> None:
    """Written out, for pictures that are 32 x 32 already."""
    picture = np.random.default_rng(3).integers(0, 256, (32, 32), dtype=np.uint8)
    (found,) = fingerprint(np.repeat(picture[np.newaxis, :, :, np.newaxis], 3, axis=3))
    low = dctn(picture.astype(np.float64), norm="ortho")[:9, :9].ravel()[1:65]
    bits = np.unpackbits(np.array([found]).view(np.uint8))
    assert bits.tolist() == (low > np.median(low)).astype(int).tolist()
    assert bits.sum() == 32


FINGERPRINTS = st.lists(st.integers(0, 2**64 - 1), max_size=5).map(lambda bits: np.array(bits, dtype=np.uint64))


@given(st.lists(FINGERPRINTS, max_size=5), st.lists(FINGERPRINTS, max_size=5), st.data())
def test_pairs_are_those_within_the_distance(
    ones: list[Fingerprint], others: list[Fingerprint], data: st.DataObject
) -> None:
    if ones and others:  # some that are near
        copied = data.draw(st.sampled_from(ones))
        others = [*others, copied ^ np.uint64(data.draw(st.integers(0, 2**12 - 1)))]
    assert pairs(ones, others) == [
        (first, second)
        for first, one in enumerate(ones)
        for second, other in enumerate(others)
        if distance(one, other) <= ALIKE
    ]


def _one(*set_bits: int) -> Fingerprint:
    return np.array([sum(1 << bit for bit in set_bits)], dtype=np.uint64)


def test_likeness_goes_from_clip_to_clip() -> None:
    first, second, third, other = _one(), _one(*range(8)), _one(*range(16)), _one(*range(40))
    assert groups([third, other, first, second]) == [(0, 2, 3)]
    assert groups([third, other, first]) == []


def test_a_piece_is_alike_to_its_whole() -> None:
    whole = np.array([0, 2**64 - 1, 2**32 - 1, 5], dtype=np.uint64)
    assert distance(whole, whole[1:2]) == distance(whole[1:2], whole) == 0.0


def test_fingerprints_do_not_depend_on_the_folder(tmp_path: Path, clips: dict[str, Frames]) -> None:
    places = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    found = []
    for path in places:
        encode_mp4(path, clips["coffee"], fps=16)
        found.append(fingerprint(process_decoder().glance(path).pictures).tolist())
    assert found[0] == found[1]
