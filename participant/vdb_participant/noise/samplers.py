"""Which sampler draws a session's noise: the one that the spec names.

All of them draw from the same distribution with the operating system's entropy, so the privacy claim is the same; they differ
in whose code is trusted and in speed. Leaves where the noise is added to `session/contribution.py`. Noise cannot be drawn
again: whoever calls a sampler records the samples before use.

Source: protos/README.md §8.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_participant.noise import integer_sampler, opendp_sampler
from vdb_shared.spec import Sampler

SAMPLERS: Final[Mapping[Sampler, Callable[[int], NDArray[np.int64]]]] = MappingProxyType(
    {"opendp": opendp_sampler.sample_noise, "integer": integer_sampler.sample_noise}
)
"""By the name in a spec: count -> independent samples of the discrete Gaussian with sigma = 2^20, (count,), int64."""
