"""A second opinion on the promised privacy, before consenting: another formula in other code than the coordinator's.

Promises that a session whose rho does not imply the promised epsilon, by the conversion written out here, is refused. The
coordinator and the auditor account with dp-accounting.

Source: Canonne, Kamath & Steinke 2020, proposition 12 (from rho to delta); Kairouz, Liu & Steinke 2021, proposition 14;
protos/README.md §8.3.
"""

from __future__ import annotations

import math
from typing import Final

from scipy.optimize import minimize_scalar

from vdb_shared.errors import PrivacyError
from vdb_shared.privacy.accountant import Accounting
from vdb_shared.privacy.calibration import LOCAL_SIGMA

TOLERANCE: Final = 1e-3
"""Relative excess of our epsilon over the claimed one that numerical minimisation may cause. The other way round more is
allowed: dp-accounting minimises over a grid of Renyi orders and overstates small epsilons by up to some percent."""


def delta_of_rho(rho: float, epsilon: float) -> float:
    """Return the smallest delta for which rho-zCDP implies (epsilon, delta).

    Infimum over alpha > 1 of exp((alpha - 1)(alpha rho - epsilon)) / (alpha - 1) (1 - 1/alpha)^alpha.
    """

    def log_delta(excess: float) -> float:
        alpha = 1 + math.exp(excess)
        return (alpha - 1) * (alpha * rho - epsilon) - math.log(alpha - 1) + alpha * math.log1p(-1 / alpha)

    found = minimize_scalar(
        log_delta, bounds=(math.log(1e-6), math.log(1e6)), method="bounded", options={"xatol": 1e-9}
    )
    return math.exp(min(float(found.fun), 0.0))


def epsilon_of_rho(rho: float, delta: float) -> float:
    """Return the smallest epsilon for which rho-zCDP implies (epsilon, delta), to 12 digits."""
    low, high = 0.0, rho + 2 * math.sqrt(rho * math.log(1 / delta)) + 1e-12
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if delta_of_rho(rho, middle) <= delta else (middle, high)
    return high


def check_claim(accounting: Accounting) -> None:
    """Check the accounting of a session by our own computation from its calibration.

    Raises:
        PrivacyError: the session costs more than it promises, or the two accountants differ.
    """
    if accounting.rho is None or accounting.epsilon is None:
        raise PrivacyError("the spec adds no noise (mechanism none); such a session is refused")
    calibration = accounting.calibration
    promise = calibration.promise
    if calibration.scale is None:
        return
    sensitivity = float(calibration.scale) * math.sqrt(calibration.clip_norm_squared) + math.sqrt(
        calibration.private_lanes
    )
    rho = sensitivity**2 / (2 * promise.honest * LOCAL_SIGMA**2)
    epsilon = epsilon_of_rho(rho, float(promise.delta))
    claimed = float(accounting.epsilon)
    if epsilon > min(float(promise.epsilon), claimed) * (1 + TOLERANCE):
        raise PrivacyError(
            f"our own accountant finds epsilon {epsilon:.6f} where {promise.epsilon} is promised and {claimed} claimed; "
            "decline, and tell the lead"
        )
