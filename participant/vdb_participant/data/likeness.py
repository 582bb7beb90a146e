"""Clips that look alike: fingerprints of a few small pictures, and how far two clips' fingerprints are apart.

Promises the same fingerprint for the same pictures, and one that hardly changes when a clip is coded again, made smaller, given
another frame rate, or made brighter or grey. Often finds a piece of a clip too, less often where the camera moves fast. Misses
what was mirrored, turned, cropped by a tenth or put into a larger picture; and takes shots of one scene by a camera that does
not move for alike. So it is for a person to look at, and nothing is left out for it.

Source: the perceptual hash by the signs of low frequencies (Zauner 2010, section 3.2.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from vdb_participant.data.decoding.media import Frames

Fingerprint = NDArray[np.uint64]
"""(k,): 64 bits of each picture of a clip that shows something; k may be 0."""

NOTHING: Final[Fingerprint] = np.array([], dtype=np.uint64)
"""Of a clip that could not be seen."""

ALIKE: Final = 8.0
"""Bits of 64 in which alike clips differ at most, on average over pictures. Of 14 clips (benchmarks/decoding.py says which), no
version that is promised above was further away than 7.2, and no two shots without a scene in common nearer than 13.5; of pieces
of two thirds the median was 4.4 away. Pictures with nothing in common differ in 32 bits on average."""

_SIDE: Final = 32
_LOW: Final = 9
_FLAT: Final = 2.0
"""Standard deviation, of 255, below which a picture shows nothing but noise: fades, black."""


def fingerprint(pictures: Frames) -> Fingerprint:
    """Return the fingerprint of a clip's pictures.

    Each picture is made grey, brought to 32 x 32 by averaging, transformed by a cosine transform, and its 64 lowest frequencies
    above the constant, along the rows first, are compared with their median.

    Args:
        pictures: uint8 (n, H, W, 3).
    """
    found = []
    for picture in pictures:
        grey = np.asarray(
            Image.fromarray(picture).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float64
        )
        if grey.std() >= _FLAT:
            low = dctn(grey, norm="ortho")[:_LOW, :_LOW].ravel()[1:65]
            found.append(np.packbits(low > np.median(low)).view(np.uint64)[0])
    return np.array(found, dtype=np.uint64)


def distance(one: Fingerprint, other: Fingerprint) -> float:
    """Return the mean number of bits, 0 to 64, in which one clip's pictures differ from the most similar ones of the other.

    The pictures of the one that fits into the other better count; 64 if a clip shows nothing.
    """
    if not len(one) or not len(other):
        return 64.0
    bits = np.bitwise_count(one[:, np.newaxis] ^ other[np.newaxis, :])
    return float(min(bits.min(axis=1).mean(), bits.min(axis=0).mean()))


def pairs(ones: Sequence[Fingerprint], others: Sequence[Fingerprint]) -> list[tuple[int, int]]:
    """Return the places of all pairs of alike clips, one of each sequence, ascending."""
    places = [place for place, found in enumerate(others) if len(found)]
    if not places:
        return []
    width = max(len(others[place]) for place in places)
    # A clip with fewer pictures repeats its last one: the nearest picture stays the nearest.
    table = np.stack([np.pad(others[place], (0, width - len(others[place])), mode="edge") for place in places])
    found = []
    for first, one in enumerate(ones):
        if len(one):
            bits = np.bitwise_count(one[np.newaxis, :, np.newaxis] ^ table[:, np.newaxis, :])
            near = bits.min(axis=(1, 2)) <= ALIKE  # no mean is below the least
            found += [
                (first, places[row]) for row in np.flatnonzero(near) if distance(one, others[places[row]]) <= ALIKE
            ]
    return found


def groups(fingerprints: Sequence[Fingerprint]) -> list[tuple[int, ...]]:
    """Return the places of clips that look alike, each clip in one group, with all that are alike to one of it."""
    leader = list(range(len(fingerprints)))

    def leader_of(place: int) -> int:
        while leader[place] != place:
            place = leader[place]
        return place

    for one, other in pairs(fingerprints, fingerprints):
        first, second = sorted((leader_of(one), leader_of(other)))
        leader[second] = first
    members: dict[int, list[int]] = {}
    for place in range(len(fingerprints)):
        members.setdefault(leader_of(place), []).append(place)
    return [tuple(group) for group in members.values() if len(group) > 1]
