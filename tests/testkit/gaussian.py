"""What is known in closed form of one Gaussian release of noise multiplier z: the oracle of accountants and of attacks.

Nothing here is an accountant's code: normal distribution functions and a root or a minimum of one variable.

Source: Balle & Wang 2018, theorem 8 (equation 6); Canonne, Kamath & Steinke 2020, proposition 12.
"""

from __future__ import annotations

import math

from scipy import optimize, stats


def delta_of(epsilon: float, multiplier: float) -> float:
    """Return the exact delta: Phi(1/2z - epsilon z) - e^epsilon Phi(-1/2z - epsilon z)."""
    first = stats.norm.cdf(0.5 / multiplier - epsilon * multiplier)
    second = math.exp(epsilon + stats.norm.logcdf(-0.5 / multiplier - epsilon * multiplier))
    return float(first - second)


def epsilon_of(delta: float, multiplier: float) -> float:
    """Return the exact epsilon, 0 where delta alone suffices."""
    if delta_of(0.0, multiplier) <= delta:
        return 0.0
    highest = 1.0
    while delta_of(highest, multiplier) > delta:
        highest *= 2
    return float(optimize.brentq(lambda epsilon: delta_of(epsilon, multiplier) - delta, 0, highest, xtol=1e-13))


def best_advantage(multiplier: float) -> float:
    """Return true less false positives of the best test: the total variation 2 Phi(1/2z) - 1."""
    return float(2 * stats.norm.cdf(0.5 / multiplier) - 1)


def delta_of_zcdp(epsilon: float, rho: float) -> float:
    """Return the smallest delta that rho-zCDP implies: proposition 12, minimised over the orders alpha > 1.

    exp((alpha - 1)(alpha rho - epsilon)) / (alpha - 1) (1 - 1/alpha)^alpha; the minimum is the only one.
    """

    def log_delta(log_excess: float) -> float:
        excess = math.exp(log_excess)
        order = 1 + excess
        return excess * (order * rho - epsilon) - math.log(excess) + order * math.log(excess / order)

    found = optimize.minimize_scalar(log_delta, bounds=(-14, 14), method="bounded", options={"xatol": 1e-9})
    return math.exp(min(float(found.fun), 0.0))


def epsilon_of_zcdp(delta: float, rho: float) -> float:
    """Return the smallest epsilon that rho-zCDP implies at delta, by inverting `delta_of_zcdp`."""
    highest = simple_bound(delta, rho)
    return float(optimize.brentq(lambda epsilon: delta_of_zcdp(epsilon, rho) - delta, 0, highest, xtol=1e-12))


def simple_bound(delta: float, rho: float) -> float:
    """Return rho + 2 sqrt(rho ln(1/delta)), which Bun & Steinke 2016 (proposition 1.3) prove and a pocket calculator has."""
    return rho + 2 * math.sqrt(rho * math.log(1 / delta))
