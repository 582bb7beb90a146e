"""The sampler `opendp`: exact discrete Gaussian samples from OpenDP, a library that others maintain and review.

Promises samples of the discrete Gaussian with sigma = 2^20 from OpenDP's exact sampler and the operating system's entropy.
Takes about 10 microseconds for each lane; `integer_sampler.py` is the fast one.

Source: Canonne, Kamath & Steinke 2020, algorithm 3 (as OpenDP implements it); protos/README.md §8.2.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import opendp.prelude as opendp
from numpy.typing import NDArray

from vdb_shared.errors import PrivacyError
from vdb_shared.privacy.calibration import LOCAL_SIGMA

BLOCK: Final = 2**16
"""Lanes sampled at a time; OpenDP takes Python lists, which are eight times the size of the lanes."""


def sample_noise(count: int) -> NDArray[np.int64]:
    """Return independent samples of the discrete Gaussian with sigma = 2^20.

    Args:
        count: how many, >= 0.

    Returns:
        (count,), int64, in lane units.

    Raises:
        PrivacyError: the sampler refuses.
    """
    opendp.enable_features("contrib")
    space = opendp.vector_domain(opendp.atom_domain(T=int)), opendp.l2_distance(T=float)
    try:
        sampler = opendp.m.make_gaussian(*space, scale=float(LOCAL_SIGMA))
        blocks = [sampler([0] * min(BLOCK, count - start)) for start in range(0, count, BLOCK)]
    except opendp.OpenDPException as error:
        raise PrivacyError(f"OpenDP's noise sampler refuses: {error}") from error
    return np.concatenate([np.asarray(block, dtype=np.int64) for block in blocks] or [np.zeros(0, dtype=np.int64)])
