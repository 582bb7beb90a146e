"""From zero-concentrated privacy to (epsilon, delta), in digits that every party computes alike.

Promises upward rounding only: what is stated is never less than what was spent. dp-accounting converts; the participant
checks the same claim with another code base.

Source: Bun & Steinke 2016 (zCDP); Canonne, Kamath & Steinke 2020, proposition 12; protos/README.md §8.3.
"""

from __future__ import annotations

import importlib
import math
from decimal import ROUND_CEILING, Context, Decimal
from typing import Any, Final

RHO_DIGITS: Final = 10
"""Significant digits of rho."""

_EPSILON_ZCDP_STEP: Final = Decimal("0.000001")
_EPSILON_PLD_STEP: Final = Decimal("0.0001")
_PLD_INTERVAL: Final = 1e-4
"""Discretisation of the privacy loss at epsilon 1; grows with epsilon so that the work does not."""

_UPWARD: Final = Context(prec=50, rounding=ROUND_CEILING)


def round_rho(rho: Decimal) -> Decimal:
    """Return rho rounded up to 10 significant digits."""
    return Context(prec=RHO_DIGITS, rounding=ROUND_CEILING).plus(rho)


def rho_of_multiplier(noise_multiplier: Decimal) -> Decimal:
    """Return rho = 1 / (2 z^2) of a Gaussian release with noise multiplier z, rounded up to 10 significant digits."""
    return round_rho(_UPWARD.divide(Decimal(1), 2 * noise_multiplier * noise_multiplier))


def epsilon_of_rho(rho: Decimal, delta: Decimal) -> Decimal:
    """Return the epsilon at delta that rho-zCDP implies, rounded up to 6 decimals: the claim that is made."""
    if rho == 0:
        return Decimal(0)
    library = _library()
    accountant = library.rdp.RdpAccountant(neighboring_relation=library.NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(library.ZCDpEvent(float(rho)))
    return Decimal(float(accountant.get_epsilon(float(delta)))).quantize(_EPSILON_ZCDP_STEP, rounding=ROUND_CEILING)


def gaussian_epsilon_of_rho(rho: Decimal, delta: Decimal) -> Decimal:
    """Return the epsilon at delta by the privacy loss distribution of a Gaussian with this rho, rounded up to 4 decimals.

    The tighter figure beside the claim. The discrete Gaussian of deviation 2^20 differs from the rounded continuous
    one by a privacy loss below 1e-8, which the upward rounding covers but for cases closer to it than that.
    """
    if rho == 0:
        return Decimal(0)
    interval = _PLD_INTERVAL * max(1.0, float(epsilon_of_rho(rho, delta)))
    library = _library()
    accountant = library.pld.PLDAccountant(
        neighboring_relation=library.NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=interval
    )
    accountant.compose(library.GaussianDpEvent(1.0 / math.sqrt(2.0 * float(rho))))
    return Decimal(float(accountant.get_epsilon(float(delta)))).quantize(_EPSILON_PLD_STEP, rounding=ROUND_CEILING)


def _library() -> Any:
    """Return dp-accounting, loaded when it is first needed: that takes most of a second, and most commands convert nothing."""
    return importlib.import_module("dp_accounting")
