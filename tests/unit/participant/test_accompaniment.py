"""Sound that comes with motion is told from sound that comes later, and from noise."""

from __future__ import annotations

import numpy as np
import pytest

from vdb_participant.data.video import Frames
from vdb_participant.generation.settings import Sound
from vdb_participant.measure.accompaniment import audio_video_correlation, audio_video_offset
from vdb_shared.errors import StatisticError

FPS, RATE, SIZE = 8.0, 800, 48
JUMPS = (3, 8, 9, 15, 19, 26)


def jumping(count: int = 32) -> Frames:
    """A textured square that jumps a few pixels between some frames and stands still otherwise."""
    texture = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    frames = np.full((count, SIZE, SIZE, 3), 90, dtype=np.uint8)
    x = 4
    for number in range(count):
        frames[number, 12:32, x : x + 20] = texture
        x += 3 if number in JUMPS else 0
    return frames


def knocks(late: int = 0, loud: float = 1.0, count: int = 32) -> Sound:
    """A burst in the interval of every jump, or so many frames later."""
    samples = np.full(int(count * RATE / FPS), 0.01)
    for jump in JUMPS:
        begin = int((jump + late) * RATE / FPS)
        samples[begin : begin + int(RATE / FPS)] = 0.5
    return Sound(np.atleast_2d(samples * loud).astype(np.float32), RATE)


def test_knocks_with_the_jumps_correlate_and_have_no_offset() -> None:
    assert audio_video_correlation(jumping(), knocks(), FPS) > 0.9
    assert audio_video_offset(jumping(), knocks(), FPS) == 0.0


@pytest.mark.parametrize("late", [1, 2, 3])
def test_late_knocks_are_found_as_late_as_they_are(late: int) -> None:
    assert audio_video_offset(jumping(), knocks(late), FPS) == pytest.approx(late / FPS)
    assert audio_video_correlation(jumping(), knocks(late), FPS) < audio_video_correlation(jumping(), knocks(), FPS)


def test_loudness_does_not_matter_and_stereo_is_averaged() -> None:
    quiet = audio_video_correlation(jumping(), knocks(loud=0.1), FPS)
    assert quiet == pytest.approx(audio_video_correlation(jumping(), knocks(), FPS), abs=1e-6)
    once = knocks()
    both = Sound(np.repeat(once.waveform, 2, axis=0), RATE)
    assert audio_video_correlation(jumping(), both, FPS) == pytest.approx(audio_video_correlation(jumping(), once, FPS))


@pytest.mark.parametrize(
    ("frames", "sound", "words"),
    [
        (jumping(), None, "no sound"),
        (jumping(), Sound(np.zeros((1, 3200), dtype=np.float32), RATE), "nothing moves, or nothing sounds"),
        (np.zeros_like(jumping()), knocks(), "nothing moves, or nothing sounds"),
        (jumping(), Sound(np.ones((1, 100), dtype=np.float32), RATE), "less than the clip's frames"),
        (jumping(4), knocks(), "need 7 frames"),
    ],
)
def test_what_cannot_be_compared_is_an_error(frames: Frames, sound: Sound | None, words: str) -> None:
    for score in (audio_video_correlation, audio_video_offset):
        with pytest.raises(StatisticError, match=words):
            score(frames, sound, FPS)
