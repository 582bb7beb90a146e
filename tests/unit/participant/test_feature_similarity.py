"""FSIM: against the paper's formulas written down pixel by pixel, with a plain discrete Fourier transform."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np
import pytest

from testkit.photographs import blurred, panned, with_noise
from vdb_participant.data.video import Frames
from vdb_participant.measure.paired.feature import _shrunk, fsim, fsimc
from vdb_participant.measure.paired.phase import phase_congruency


def _transform(values: Any, sign: int) -> Any:
    height, width = values.shape
    rows, columns = (
        np.array([[cmath.exp(sign * 2j * math.pi * a * b / n) for b in range(n)] for a in range(n)])
        for n in (height, width)
    )
    return rows @ values @ columns


def _frequency(index: int, length: int) -> float:
    signed = index if index < (length + 1) // 2 else index - length
    return signed / length if length % 2 == 0 else signed / (length - 1)


def _gain(down: float, right: float, scale: int, orientation: int) -> float:
    if down == right == 0:
        return 0.0
    radius = math.hypot(down, right)
    wavelength = 6 * 2**scale
    radial = math.exp(-(math.log(radius * wavelength) ** 2) / (2 * math.log(0.55) ** 2))
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    apart = abs(math.remainder(math.atan2(-down, right) - orientation * math.pi / 4, 2 * math.pi))
    return radial * low_pass * math.exp(-(apart**2) / (2 * (math.pi / 4 / 1.2) ** 2))


def _plain_phase_congruency(plane: Any) -> Any:
    height, width = plane.shape
    spectrum = _transform(plane, -1)
    energies, amplitudes = np.zeros((height, width)), np.zeros((height, width))
    for orientation in range(4):
        responses, impulses = [], []
        for scale in range(4):
            gains = np.array(
                [
                    [_gain(_frequency(y, height), _frequency(x, width), scale, orientation) for x in range(width)]
                    for y in range(height)
                ]
            )
            if scale == 0:
                power = (gains**2).sum()
            responses.append(_transform(spectrum * gains, 1) / (height * width))
            impulses.append(_transform(gains, 1).real / (height * width) * math.sqrt(height * width))
        # Noise: 2 sum A_i^2 + 4 sum A_i A_j, with the noise's power from the median at the finest scale.
        noise_power = -np.median(np.abs(responses[0]) ** 2) / math.log(0.5) / power
        squares = sum((impulse**2).sum() for impulse in impulses)
        products = sum((impulses[i] * impulses[j]).sum() for i in range(4) for j in range(i + 1, 4))
        tau = math.sqrt((2 * noise_power * squares + 4 * noise_power * products) / 2)
        threshold = (tau * math.sqrt(math.pi / 2) + 2 * math.sqrt((2 - math.pi / 2) * tau**2)) / 1.7
        for y in range(height):
            for x in range(width):
                even, odd = (sum(getattr(response[y, x], part) for response in responses) for part in ("real", "imag"))
                length = math.sqrt(even**2 + odd**2) + 0.0001
                mean_even, mean_odd = even / length, odd / length
                energy = 0.0
                for response in responses:
                    e, o = response[y, x].real, response[y, x].imag
                    energy += e * mean_even + o * mean_odd - abs(e * mean_odd - o * mean_even)
                energies[y, x] += max(energy - threshold, 0)
                amplitudes[y, x] += sum(abs(response[y, x]) for response in responses)
    return energies / amplitudes


def _plain_shrunk(plane: Any, factor: int) -> Any:
    """A full convolution with an averaging kernel, its central part, every factor-th pixel."""
    height, width = plane.shape
    full = np.zeros((height + factor - 1, width + factor - 1))
    for y in range(factor):
        for x in range(factor):
            full[y : y + height, x : x + width] += plane / factor**2
    first = factor // 2
    return full[first : first + height : factor, first : first + width : factor]


def _plain_gradient(plane: Any) -> Any:
    padded = np.pad(plane, 1)
    magnitude = np.zeros_like(plane)
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            around = padded[y : y + 3, x : x + 3]
            across = sum(w * (around[i, 0] - around[i, 2]) for i, w in enumerate((3, 10, 3))) / 16
            along = sum(w * (around[0, i] - around[2, i]) for i, w in enumerate((3, 10, 3))) / 16
            magnitude[y, x] = math.sqrt(across**2 + along**2)
    return magnitude


def _plain_fsim(first: Frames, second: Frames) -> tuple[float, float]:
    """FSIM and FSIMc of two pictures."""
    shorter = min(first.shape[:2])
    factor = max(1, int(shorter / 256 + 0.5))
    colours, phases, gradients = [], [], []
    for picture in (first, second):
        red, green, blue = (picture[:, :, channel].astype(np.float64) for channel in range(3))
        y = _plain_shrunk(0.299 * red + 0.587 * green + 0.114 * blue, factor)
        i = _plain_shrunk(0.596 * red - 0.274 * green - 0.322 * blue, factor)
        q = _plain_shrunk(0.211 * red - 0.523 * green + 0.312 * blue, factor)
        colours.append((i, q))
        phases.append(_plain_phase_congruency(y))
        gradients.append(_plain_gradient(y))
    height, width = phases[0].shape
    total = colour_total = weight_total = 0.0
    for row in range(height):
        for column in range(width):
            at = (row, column)
            similarity = _plain_similarity(phases[0][at], phases[1][at], 0.85)
            similarity *= _plain_similarity(gradients[0][at], gradients[1][at], 160)
            chroma = _plain_similarity(colours[0][0][at], colours[1][0][at], 200)
            chroma *= _plain_similarity(colours[0][1][at], colours[1][1][at], 200)
            weight = max(phases[0][at], phases[1][at])
            total += similarity * weight
            colour_total += similarity * weight * (complex(chroma) ** 0.03).real
            weight_total += weight
    return total / weight_total, colour_total / weight_total


def _plain_similarity(one: float, other: float, constant: float) -> float:
    return (2 * one * other + constant) / (one**2 + other**2 + constant)


@pytest.mark.parametrize("size", [(40, 56), (41, 37), (40, 37)])
def test_fsim_is_the_paper_written_down(size: tuple[int, int]) -> None:
    clip = panned(frames=1, height=size[0], width=size[1], photograph="coffee")
    for worse in (with_noise(clip, 25), blurred(clip, 1.5), 255 - clip):
        expected, expected_colour = _plain_fsim(clip[0], worse[0])
        assert fsim(clip, worse) == pytest.approx(expected, abs=1e-10)
        assert fsimc(clip, worse) == pytest.approx(expected_colour, abs=1e-10)
        assert abs(expected - expected_colour) > 1e-6


@pytest.mark.parametrize("factor", [2, 3])
def test_large_frames_are_shrunk(factor: int) -> None:
    """Frames of 1.5 and 2.5 times 256 are shrunk by 2 and 3; blocks of equal pixels in their places are one pixel then."""
    shorter = 256 * factor - 128
    side = -(-shorter // factor)
    clip = panned(frames=1, height=side, width=side + 6)
    if factor == 3:
        clip[:, [0, -1]] = clip[:, :, [0, -1]] = 0  # the outermost blocks reach outside, where zeros are
    first = (factor - 1) // 2
    large, worse = (
        frames.repeat(factor, axis=1).repeat(factor, axis=2)[:, first : first + shorter, first:]
        for frames in (clip, with_noise(clip, 25) * (clip > 0))
    )
    for score in (fsim, fsimc):
        expected = score(clip, with_noise(clip, 25) * (clip > 0))
        assert score(large, worse) == pytest.approx(expected, abs=1e-9)
        assert abs(score(large[:, 1:], worse[:, 1:]) - expected) > 1e-4


def test_shrinking_is_a_convolution_of_which_every_nth_pixel_is_kept() -> None:
    plane = np.random.default_rng(0).random((23, 31))
    for factor in range(1, 8):
        np.testing.assert_allclose(_shrunk(plane, factor), _plain_shrunk(plane, factor), atol=1e-14)


def test_phase_congruency_finds_an_edge_whatever_its_contrast() -> None:
    plane = np.full((256, 256), 100.0)
    plane[:, 64:192] = 140.0
    congruency = phase_congruency(plane)
    assert congruency[128, 63:65].min() > 0.8
    assert congruency[128, [57, 70]].max() < 0.4
    np.testing.assert_allclose(phase_congruency(100 + (plane - 100) / 4), congruency, atol=0.01)
    assert congruency.min() >= 0
    assert congruency.max() <= 1


def test_phases_of_noise_do_not_agree() -> None:
    assert phase_congruency(np.random.default_rng(0).normal(100, 20, (256, 256))).mean() < 0.05


def test_a_flat_frame_has_no_features() -> None:
    for side in (37, 64, 97, 181):
        for level in (0.0, 0.1, 77.3, 255.0):
            assert not phase_congruency(np.full((side, side), level)).any()


def test_flat_frames_of_any_brightness_have_a_score() -> None:
    grey = np.full((1, 50, 70, 3), 128, dtype=np.uint8)
    black = np.zeros_like(grey)
    assert 0.5 < fsim(grey, black) < 1
    assert fsimc(grey, black) == pytest.approx(fsim(grey, black), abs=1e-12)
    picture = panned(frames=1, height=50, width=70)
    assert 0 < fsimc(picture, black) < fsim(picture, black) < 1


def test_only_fsimc_sees_colour() -> None:
    clip = panned(frames=1, height=64, width=64)
    luminance = clip @ np.array([0.299, 0.587, 0.114])
    grey = np.repeat(np.rint(luminance)[..., None], 3, axis=3).astype(np.uint8)
    assert fsim(clip, grey) > 0.995
    assert fsimc(clip, grey) < fsim(clip, grey) - 0.005
