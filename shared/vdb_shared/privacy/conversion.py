"""From zero-concentrated privacy to (epsilon, delta), in digits that every party computes alike.

Promises upward rounding only: what is stated is never less than what was spent. Two accountants give the same digits:
`DP_ACCOUNTING`, by which the coordinator claims and a participant consents, and `FORMULAS`, by which an auditor recomputes,
a session is planned and noise is solved for, which asks the library wherever a formula in float64 leaves a digit open. The
participant checks the same claim with a third code base.

Source: Bun & Steinke 2016 (zCDP); Canonne, Kamath & Steinke 2020, proposition 12; protos/README.md §8.1 and §8.3.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache
from typing import Any, Final

from vdb_shared.privacy.closed_forms import gaussian_epsilon, zcdp_epsilon

RHO_DIGITS: Final = 10
"""Significant digits of rho."""

_EPSILON_ZCDP_STEP: Final = Decimal("0.000001")
_EPSILON_PLD_STEP: Final = Decimal("0.0001")
_PLD_INTERVAL: Final = 1e-4
"""Discretisation of the privacy loss at epsilon 1; grows with epsilon so that the work does not."""

_FLOAT_SLACK: Final = 1e-11
"""What float64 may lose in a formula, as a share of max(1, epsilon): two orders of magnitude above what it was seen to."""

_SMALLEST_DELTA: Final = 1e-300
"""Below it float64 has no logarithm to take."""

_PLD_RHO: Final = (1e-5, 20.0)
_PLD_DELTA: Final = (1e-9, 0.1)
"""Where `_pld_slack` was measured."""

_KNOWN: Final = 256
"""Conversions of the library that are remembered: a coordinator asks for the same ones at the opening, seal and release."""

_UPWARD: Final = Context(prec=50, rounding=ROUND_CEILING)

Conversion = Callable[[Decimal, Decimal], Decimal]


@dataclass(frozen=True, slots=True)
class Accountant:
    """What turns rho and delta into the two figures of §8.3.

    Attributes:
        zcdp: the claim, 6 decimals.
        gaussian: the tighter figure, 4 decimals.
    """

    zcdp: Conversion
    gaussian: Conversion


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
    if delta >= _SMALLEST_DELTA:
        found = zcdp_epsilon(float(rho), float(delta))
        slack = _FLOAT_SLACK * max(1.0, found)
        certain = _certain(found, slack, slack, _EPSILON_ZCDP_STEP)
        if certain is not None:
            return certain
    return _library_epsilon_of_rho(rho, delta)


def gaussian_epsilon_of_rho(rho: Decimal, delta: Decimal) -> Decimal:
    """Return the epsilon at delta by the privacy loss distribution of a Gaussian with this rho, rounded up to 4 decimals.

    The tighter figure beside the claim. The discrete Gaussian of deviation 2^20 differs from the rounded continuous
    one by a privacy loss below 1e-8, which the upward rounding covers but for cases closer to it than that.
    """
    if rho == 0:
        return Decimal(0)
    if _PLD_RHO[0] <= rho <= _PLD_RHO[1] and _PLD_DELTA[0] <= delta <= _PLD_DELTA[1]:
        found = gaussian_epsilon(float(rho), float(delta))
        certain = _certain(found, _FLOAT_SLACK * max(1.0, found), _pld_slack(found), _EPSILON_PLD_STEP)
        if certain is not None:
            return certain
    return _library_gaussian_epsilon_of_rho(rho, delta)


def _pld_slack(exact: float) -> float:
    """Return how much dp-accounting's pessimistic figure is above the exact one at most; three fifths of it were seen."""
    return 2e-6 + 4e-7 * max(1.0, exact)


def _certain(found: float, below: float, above: float, step: Decimal) -> Decimal | None:
    """Return what every value from found - below to found + above rounds up to, or None if they do not agree."""
    if not math.isfinite(found):
        return None
    ends = {Decimal(end).quantize(step, rounding=ROUND_CEILING) for end in (found - below, found + above)}
    return ends.pop() if len(ends) == 1 else None


@lru_cache(_KNOWN)
def _library_epsilon_of_rho(rho: Decimal, delta: Decimal) -> Decimal:
    if rho == 0:
        return Decimal(0)
    library = _library()
    accountant = library.rdp.RdpAccountant(neighboring_relation=library.NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(library.ZCDpEvent(float(rho)))
    return Decimal(float(accountant.get_epsilon(float(delta)))).quantize(_EPSILON_ZCDP_STEP, rounding=ROUND_CEILING)


@lru_cache(_KNOWN)
def _library_gaussian_epsilon_of_rho(rho: Decimal, delta: Decimal) -> Decimal:
    if rho == 0:
        return Decimal(0)
    interval = _PLD_INTERVAL * max(1.0, float(_library_epsilon_of_rho(rho, delta)))
    library = _library()
    accountant = library.pld.PLDAccountant(
        neighboring_relation=library.NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=interval
    )
    accountant.compose(library.GaussianDpEvent(1.0 / math.sqrt(2.0 * float(rho))))
    return Decimal(float(accountant.get_epsilon(float(delta)))).quantize(_EPSILON_PLD_STEP, rounding=ROUND_CEILING)


def _library() -> Any:
    """Return dp-accounting, loaded when it is first needed: that takes most of a second, and most commands convert nothing."""
    return importlib.import_module("dp_accounting")


DP_ACCOUNTING: Final = Accountant(_library_epsilon_of_rho, _library_gaussian_epsilon_of_rho)
FORMULAS: Final = Accountant(epsilon_of_rho, gaussian_epsilon_of_rho)
