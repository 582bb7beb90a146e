"""Phase congruency: how far the frequencies at a pixel agree in phase, whatever the contrast.

Promises a number in [0, 1] for each pixel, 0 where a frame is flat. One orientation is in work at a time.

Source: Kovesi, Image features from phase congruency, 1999, with the filters and constants of Zhang et al., FSIM, 2011,
section II: four scales, four orientations, and the second measure, PC2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_participant.measure.paired.pairs import Plane

SCALES: Final = 4
ORIENTATIONS: Final = 4
SMALLEST: Final = 3
"""Shortest side; frequencies of a line of one pixel do not exist."""

_SHORTEST_WAVE: Final = 6.0
"""Wavelength of the finest scale in pixels; each further scale doubles it."""
_BANDWIDTH: Final = 0.55
"""Standard deviation of a log-Gabor filter over its centre frequency."""
_ANGULAR_RATIO: Final = 1.2
"""Distance between orientations over the standard deviation of a filter's angle."""
_CUTOFF: Final = 0.45
_SHARPNESS: Final = 15
"""Low-pass filter 1 / (1 + (f / 0.45)^30) that rounds the corners of the spectrum."""
_EPSILON: Final = 1e-4
"""Added to the length of the summed response, in grey levels: where there is no energy but rounding, none is found."""
_DEVIATIONS: Final = 2.0
"""Standard deviations above the mean of the noise's energy where noise is taken to end."""
_RESCALED: Final = 1.7
"""Kovesi's empirical divisor of the noise threshold for PC2."""


@dataclass(frozen=True, slots=True)
class _Bank:
    """The log-Gabor filters of one frame size.

    Attributes:
        filters: gains in the order of Fourier coefficients, (orientations, scales, H, W).
        noise: (orientations,): threshold over the root of the median squared amplitude at the finest scale.
    """

    filters: Plane
    noise: Plane


def phase_congruency(plane: Plane) -> Plane:
    """Return the phase congruency of each pixel, (H, W), in [0, 1].

    Args:
        plane: one channel (H, W) in grey levels, H and W >= 3.
    """
    spectrum = np.fft.fft2(plane)
    bank = _bank(*plane.shape)
    energy, amplitude = np.zeros_like(plane), np.zeros_like(plane)
    for filters, noise in zip(bank.filters, bank.noise, strict=True):
        responses = np.fft.ifft2(spectrum * filters)
        amplitudes = np.abs(responses)
        threshold = float(noise) * math.sqrt(float(np.median(amplitudes[0] ** 2)))
        energy += np.maximum(_energy(responses) - threshold, 0)
        amplitude += amplitudes.sum(axis=0)
    return np.divide(energy, amplitude, out=np.zeros_like(plane), where=amplitude > 0)


def _energy(responses: NDArray[np.complex128]) -> Plane:
    """Return the sum over scales of A (cos d - |sin d|), d the distance of a response's phase from the mean phase."""
    total = responses.sum(axis=0)
    turned = responses * (total / (np.abs(total) + _EPSILON)).conj()
    return np.asarray((turned.real - np.abs(turned.imag)).sum(axis=0), dtype=np.float64)


@lru_cache(maxsize=2)
def _bank(height: int, width: int) -> _Bank:
    down, right = np.meshgrid(_frequencies(height), _frequencies(width), indexing="ij")
    radius, angle = np.hypot(down, right), np.arctan2(-down, right)
    radius[0, 0] = 1.0  # the mean of the frame, which no filter lets pass
    radial = np.stack([_radial(radius, _SHORTEST_WAVE * 2**scale) for scale in range(SCALES)])
    angular = np.stack([_angular(angle, math.pi * turn / ORIENTATIONS) for turn in range(ORIENTATIONS)])
    filters = angular[:, None] * radial[None]
    return _Bank(filters, np.array([_noise(of_orientation) for of_orientation in filters]))


def _frequencies(length: int) -> Plane:
    """Return the frequency of each Fourier coefficient of a line; an odd line's are stretched to end at +-1/2."""
    steps = np.fft.ifftshift(np.arange(length) - length // 2)
    return np.asarray(steps / (length - length % 2), dtype=np.float64)


def _radial(radius: Plane, wavelength: float) -> Plane:
    gain = np.exp(-(np.log(radius * wavelength) ** 2) / (2 * math.log(_BANDWIDTH) ** 2))
    gain = gain / (1 + (radius / _CUTOFF) ** (2 * _SHARPNESS))
    gain[0, 0] = 0.0
    return np.asarray(gain, dtype=np.float64)


def _angular(angle: Plane, centre: float) -> Plane:
    distance = np.abs(np.arctan2(np.sin(angle - centre), np.cos(angle - centre)))
    spread = math.pi / ORIENTATIONS / _ANGULAR_RATIO
    return np.asarray(np.exp(-(distance**2) / (2 * spread**2)), dtype=np.float64)


def _noise(filters: Plane) -> float:
    """Return the noise threshold of an orientation for a median squared amplitude of 1 at the finest scale.

    Amplitudes of noise have a Rayleigh distribution: its mean squared amplitude is median / ln 2, which divided by the
    power of the finest filter is the power of the noise; that times the power of the filters' summed impulse responses
    is the squared Rayleigh parameter of the summed energy.
    """
    impulse = np.fft.ifft2(filters).real.sum(axis=0) * math.sqrt(filters[0].size)
    parameter = math.sqrt(float((impulse**2).sum()) / float((filters[0] ** 2).sum()) / math.log(2))
    mean, deviation = math.sqrt(math.pi / 2), math.sqrt(2 - math.pi / 2)
    return parameter * (mean + _DEVIATIONS * deviation) / _RESCALED
