"""What a release costs, as it is published and as every participant and auditor recomputes it.

Promises the same digits from the same calibration, all rounded against us. Leaves the second opinion to the
participant.

Source: protos/README.md §8.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import Final

from vdb_shared.canonical import decimal_string
from vdb_shared.errors import PrivacyError
from vdb_shared.privacy.calibration import LOCAL_SIGMA, Calibration
from vdb_shared.privacy.conversion import DP_ACCOUNTING, Accountant, epsilon_of_rho, round_rho

_UP: Final = Context(prec=60, rounding=ROUND_CEILING)
_SENSITIVITY_STEP: Final = Decimal("0.000001")
_RHO_STEPS: Final = 10**6
"""Steps of a filter's cap in 1: it has 6 decimals."""


@dataclass(frozen=True, slots=True)
class Accounting:
    """The cost of one session for one record.

    Attributes:
        calibration: what it is computed from.
        rho: zCDP parameter, 10 significant digits; None when private lanes carry no noise.
        epsilon: at delta, from rho, 6 decimals; None likewise.
        epsilon_pld: the tighter figure by the privacy loss distribution, 4 decimals; None likewise.
    """

    calibration: Calibration
    rho: Decimal | None
    epsilon: Decimal | None
    epsilon_pld: Decimal | None

    def to_json(self) -> dict[str, object]:
        """Return the JSON form of accounting.json; reals are decimal strings, null stands for no protection."""
        promise = self.calibration.promise
        return {
            **self.calibration.to_json(),
            "unit": "record",
            "neighbours": "add or remove one",
            "sensitivity": decimal_string(self.calibration.sensitivity.quantize(_SENSITIVITY_STEP, ROUND_CEILING)),
            "smallest_cohort": promise.smallest_cohort,
            "collusion": promise.collusion,
            "joined": promise.joined,
            "maximum_records": promise.maximum_records,
            "delta": decimal_string(promise.delta),
            "rho": _decimal_or_null(self.rho),
            "epsilon_zcdp": _decimal_or_null(self.epsilon),
            "epsilon_pld": _decimal_or_null(self.epsilon_pld),
        }


def account(calibration: Calibration, accountant: Accountant = DP_ACCOUNTING) -> Accounting:
    """Return what a session with this calibration costs any record, in the worst admitted survivor set.

    rho = Delta_2^2 / (2 (n_min - c) 2^40); the term tau d of the sum of discrete Gaussians is below 10^(-10^12) and
    vanishes. Without private lanes the cost is 0.

    Args:
        calibration: of the session.
        accountant: who turns rho into epsilon; dp-accounting but for an auditor.

    Raises:
        PrivacyError: the calibration does not keep its promise, so it was not made by `calibrate`; or delta is too small for
            the accountant's arithmetic.
    """
    promise = calibration.promise
    if calibration.private_lanes == 0:
        return Accounting(calibration, Decimal(0), Decimal(0), Decimal(0))
    if not calibration.noised:
        return Accounting(calibration, None, None, None)
    sensitivity = calibration.sensitivity
    square = _UP.multiply(sensitivity, sensitivity)
    rho = round_rho(_UP.divide(square, Decimal(2 * promise.honest * LOCAL_SIGMA**2)))
    try:
        epsilon, tighter = accountant.zcdp(rho, promise.delta), accountant.gaussian(rho, promise.delta)
    except ArithmeticError as error:
        raise PrivacyError(
            f"privacy.delta: {promise.delta} is too small to account for; raise it, to 1e-15 or more"
        ) from error
    if epsilon > promise.epsilon:
        raise PrivacyError(f"privacy.epsilon: promised {promise.epsilon}, but the release costs {epsilon}")
    return Accounting(calibration, rho, epsilon, tighter)


def rho_within(epsilon: Decimal, delta: Decimal) -> Decimal:
    """Return the largest rho of 6 decimals that implies at most epsilon at delta: a site's cap as a ledger filter uses it.

    Raises:
        PrivacyError: epsilon or delta is not positive.
    """
    if not (epsilon > 0 and 0 < delta < 1):
        raise PrivacyError(f"expected epsilon above 0 and delta in (0, 1), found {epsilon} and {delta}")
    low, high = 0, 1
    while epsilon_of_rho(Decimal(high) / _RHO_STEPS, delta) <= epsilon:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        within = epsilon_of_rho(Decimal(middle) / _RHO_STEPS, delta) <= epsilon
        low, high = (middle, high) if within else (low, middle)
    return Decimal(low) / _RHO_STEPS


def _decimal_or_null(value: Decimal | None) -> str | None:
    return None if value is None else decimal_string(value)
