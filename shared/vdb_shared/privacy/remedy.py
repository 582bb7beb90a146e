"""What would bring the noise of a figure down to a wanted level, in words.

Promises round numbers that serve to plan a next session, not a calibration: all else equal, noise falls as records grow and as
the noise multiplier of a larger epsilon falls. Leaves which level is wanted to evaluation.py.

Source: protos/README.md §7.3.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache
from typing import Final

from vdb_shared.errors import PrivacyError
from vdb_shared.privacy.calibration import noise_multiplier
from vdb_shared.privacy.conversion import epsilon_of_rho, rho_of_multiplier

NAMES_REMEDY: Final = "times as many records"
"""Stands in all advice. Its words are those of published figures, which every audit makes again byte for byte: they stay."""

_ROUND_UP: Final = Context(prec=2, rounding=ROUND_CEILING)

_LARGEST_EPSILON: Final = Decimal(100)
"""Above this an epsilon protects nobody, and is no advice."""


def would_do(excess: float, epsilon: Decimal, delta: Decimal) -> str:
    """Return how many times as many records, or which epsilon, would divide the noise by `excess`.

    Args:
        excess: noise over the level that is wanted, above 1.
        epsilon: of this session.
        delta: of this session.
    """
    times = _ROUND_UP.plus(Decimal(excess))
    larger = _epsilon_for(times, epsilon, delta)
    if larger is None or larger > _LARGEST_EPSILON:
        return f"about {times:f} {NAMES_REMEDY} would do"
    return f"about {times:f} {NAMES_REMEDY}, or an epsilon of about {larger:f} instead of {epsilon:f}, would do"


@lru_cache(maxsize=64)
def _epsilon_for(times: Decimal, epsilon: Decimal, delta: Decimal) -> Decimal | None:
    """Return the epsilon, or None where that of this session can be kept by no noise, so that nothing follows from it."""
    try:
        multiplier = noise_multiplier(epsilon, delta) / times
    except PrivacyError:
        return None
    return _ROUND_UP.plus(epsilon_of_rho(rho_of_multiplier(multiplier), delta))
