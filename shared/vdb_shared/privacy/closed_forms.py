"""Conversions to epsilon as formulas: the smallest code that an auditor can check against the papers by eye.

Promises float64 values of the formulas and no rounding of its own. Leaves to `conversion.py` the digits, and to decide
where a formula in float64 cannot tell them.

Source: Canonne, Kamath & Steinke 2020, proposition 12, over the orders of protos/README.md §8.1; Balle & Wang 2018, theorem 8.
"""

from __future__ import annotations

import math
from typing import Final

from scipy.special import log_ndtr

ORDERS: Final[tuple[float, ...]] = (
    *(1 + tenths / 10 for tenths in range(1, 100)),
    *(float(order) for order in range(11, 64)),
    128.0,
    256.0,
    512.0,
    1024.0,
)
"""Renyi orders that the claim may use (§8.1)."""


def zcdp_epsilon(rho: float, delta: float) -> float:
    """Return the least epsilon at delta that one of `ORDERS` proves of a rho-zCDP release; 0 where total variation does.

    Args:
        rho: above 0.
        delta: in (0, 1).
    """
    if any(delta**2 + math.expm1(-order * rho) > 0 for order in ORDERS):
        return 0.0
    least = min(order * rho + math.log1p(-1 / order) - math.log(delta * order) / (order - 1) for order in ORDERS)
    return max(0.0, least)


def gaussian_epsilon(rho: float, delta: float) -> float:
    """Return the exact epsilon at delta of a Gaussian release of this rho, whose sensitivity is sqrt(2 rho) deviations.

    With m = sqrt(2 rho), the root of Phi(m/2 - e/m) - exp(e) Phi(-m/2 - e/m) = delta; 0 where delta suffices without.

    Args:
        rho: above 0.
        delta: in (0, 1).
    """
    shift = math.sqrt(2.0 * rho)
    low, high = 0.0, 1.0
    if _log_delta(0.0, shift) <= math.log(delta):
        return 0.0
    while _log_delta(high, shift) > math.log(delta):
        low, high = high, 2.0 * high
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if _log_delta(middle, shift) > math.log(delta) else (low, middle)
    return high


def _log_delta(epsilon: float, shift: float) -> float:
    """Return the logarithm of the exact delta, from logarithms: both of its terms vanish in float64 long before it does."""
    gain = float(log_ndtr(shift / 2 - epsilon / shift))
    loss = epsilon + float(log_ndtr(-shift / 2 - epsilon / shift))
    return gain + math.log1p(-math.exp(loss - gain)) if loss < gain else -math.inf
