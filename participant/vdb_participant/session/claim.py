"""A second opinion on the promised privacy, before consenting: another code base than the coordinator's and the auditor's.

Promises that a session for which opacus finds another epsilon than dp-accounting, beyond the tolerances stated here, is
refused, whichever of the two is larger: less privacy than promised is a false claim, more is a mistake in one of them. Leaves
what opacus is given to `second_accountant.py`.

Source: protos/README.md §8.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from vdb_participant.session.second_accountant import (
    NotComputedError,
    epsilon_by_privacy_loss,
    epsilon_by_renyi,
    noise_multiplier,
)
from vdb_shared.canonical import decimal_string
from vdb_shared.errors import PrivacyError
from vdb_shared.privacy.accountant import Accounting
from vdb_shared.privacy.conversion import DP_ACCOUNTING
from vdb_shared.seal import SealTerms
from vdb_shared.spec import Spec

TOLERANCE: Final = 2e-6
"""Largest difference of the two accountants' zCDP figures, which use the same orders: the claim is rounded up to 6 decimals.
Over epsilon 0.01 to 64 and delta 1e-12 to 0.009 the claim is above opacus' figure by 0 to 1.0e-6."""

TIGHT_TOLERANCE: Final = 5e-4
"""Largest difference of the tighter figures, times max(1, epsilon): both are upper bounds of the same exact value, computed on
grids of 1e-4 max(1, epsilon). Over the same range dp-accounting's is below opacus' by 0 to 3.0e-4 of it."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """One figure that both accountants were asked for.

    Attributes:
        subject: what it is the epsilon of.
        delta: where.
        claimed: dp-accounting's.
        found: opacus'; None if it cannot be computed, which is only admitted where the claim does not rest on it.
        missing: why not; "" otherwise.
    """

    subject: str
    delta: Decimal
    claimed: Decimal
    found: float | None
    missing: str = ""


def check_claim(spec: Spec, terms: SealTerms, accounting: Accounting) -> tuple[Opinion, ...]:
    """Return what both accountants say of a session, if they agree and the spec's promise holds by either.

    Args:
        spec: the promise.
        terms: the lanes, their scales and the cohort.
        accounting: the first accountant's figures.

    Returns:
        The claim by zCDP and the tighter figure; nothing where no lane is private.

    Raises:
        PrivacyError: the spec adds no noise, the session costs more than it promises, or the two accountants differ.
    """
    if accounting.rho is None or accounting.epsilon is None or accounting.epsilon_pld is None:
        raise PrivacyError("the spec adds no noise (mechanism none); such a session is refused")
    if terms.layout.private_lanes == 0:
        return ()
    delta = spec.privacy.delta
    multiplier = noise_multiplier(spec, terms)
    claim = _agreed("this session", delta, accounting.epsilon, multiplier)
    if claim.found is None or claim.found > float(spec.privacy.epsilon) + TOLERANCE:
        raise PrivacyError(
            f"opacus finds epsilon {claim.found} at delta {decimal_string(delta)} where the spec promises "
            f"{decimal_string(spec.privacy.epsilon)}; decline, and tell the lead"
        )
    return claim, _tighter(delta, accounting.epsilon, accounting.epsilon_pld, multiplier)


def check_cost_at(delta: Decimal, spec: Spec, terms: SealTerms, cost: Decimal) -> Opinion:
    """Return what both accountants say of a cost at the delta of a site's own policy, if they agree.

    Args:
        delta: of the policy.
        spec: names c.
        terms: the lanes, their scales and the cohort, with as many institutions as may join.
        cost: the rho that the site debits, the first accountant's; at least that of these terms.

    Raises:
        PrivacyError: the two differ.
    """
    return _agreed("what this site books", delta, DP_ACCOUNTING.zcdp(cost, delta), noise_multiplier(spec, terms))


def _agreed(subject: str, delta: Decimal, claimed: Decimal, multiplier: float) -> Opinion:
    """Compare the figures that the promise rests on.

    An epsilon of 0 comes from a bound on the total variation that only dp-accounting has; the exact figure must then be 0 too.
    """
    tolerance = TOLERANCE if claimed else TIGHT_TOLERANCE
    try:
        found = (
            epsilon_by_renyi(multiplier, float(delta))
            if claimed
            else epsilon_by_privacy_loss(multiplier, float(delta), 0.0)
        )
    except NotComputedError as error:
        raise PrivacyError(
            f"opacus cannot account for {subject} at delta {decimal_string(delta)} ({error}), so the claim of epsilon "
            f"{decimal_string(claimed)} rests on one accountant; decline, and tell the lead"
        ) from error
    _compare(subject, delta, claimed, found, tolerance)
    return Opinion(subject, delta, claimed, found)


def _tighter(delta: Decimal, about: Decimal, claimed: Decimal, multiplier: float) -> Opinion:
    subject = "this session, by a closer estimate"
    try:
        found = epsilon_by_privacy_loss(multiplier, float(delta), float(about))
    except NotComputedError as error:
        return Opinion(subject, delta, claimed, None, str(error))
    _compare(subject, delta, claimed, found, TIGHT_TOLERANCE * max(1.0, float(about)))
    return Opinion(subject, delta, claimed, found)


def _compare(subject: str, delta: Decimal, claimed: Decimal, found: float, tolerance: float) -> None:
    if abs(float(claimed) - found) > tolerance:
        raise PrivacyError(
            f"two accountants differ on {subject}: dp-accounting finds epsilon {decimal_string(claimed)} at delta "
            f"{decimal_string(delta)}, opacus {found:.6f}; they may be {tolerance:.6f} apart; decline, and tell the lead"
        )
