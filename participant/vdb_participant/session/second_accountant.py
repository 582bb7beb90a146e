"""The second accountant: opacus' view of a session, from the lanes as they would be scaled and from nothing that was derived.

Promises an epsilon whose every step is other code than the first accountant's: sensitivity and noise multiplier are computed
here in float64 from the blocks, their scales and the cohort, and opacus turns the multiplier into epsilon. Promises silence:
what opacus would print or warn of is kept from the operator's terminal. Leaves the comparison to `claim.py`. opacus loads
torch, so it is imported when it is first asked.

Source: Mironov 2017 and Balle et al. 2020 (opacus' RDPAccountant); Gopi, Lee & Wutschitz 2021 (its PRVAccountant);
protos/README.md §8.3.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from typing import Final

import numpy as np

from vdb_shared.errors import PrivacyError
from vdb_shared.seal import SealTerms
from vdb_shared.spec import Spec

ORDERS: Final[tuple[float, ...]] = (
    *(tenths / 10 for tenths in range(11, 110)),
    *(float(order) for order in range(11, 64)),
    128.0,
    256.0,
    512.0,
    1024.0,
)
"""Renyi orders of the conversion in protos/README.md §8.1, so that no difference between the accountants comes from a grid."""

PRV_ERROR: Final = 1e-4
"""Error of epsilon that PRVAccountant is asked for, times max(1, epsilon): its memory and time depend on the quotient alone."""

PRV_DELTA_SHARE: Final = 1e-3
"""Share of delta that PRVAccountant may lose to truncation."""

LOCAL_DEVIATION: Final = 1048576.0
"""2^20 lane units, the deviation of one institution's noise (§8.2); written out, not taken from the first accountant."""

_FILTERS: Final = threading.Lock()
"""Filters of warnings are the whole process's: two threads that changed and restored them at once could leave them changed."""


class NotComputedError(PrivacyError):
    """opacus cannot compute a figure; the message says why, in its words."""


def noise_multiplier(spec: Spec, terms: SealTerms) -> float:
    """Return z = 2^20 sqrt(n_min - c) / Delta_2 of the worst survivor set, with Delta_2 = sqrt(sum a^2 b^2) + sqrt(d).

    Here a is the scale that the lanes of a private block really have (§8.2), b the L2 bound of a record's share in it, d the
    number of private lanes.

    Args:
        spec: names c.
        terms: layout, scales and n_min; their noise multiplier is not looked at.

    Raises:
        PrivacyError: nobody's noise would count, or no private lane has a scale.
    """
    honest = terms.smallest_cohort - spec.cohort.collusion
    blocks = [block for block in terms.layout.blocks if block.private]
    scales = terms.calibration.block_scales(terms.layout)
    square = math.fsum((scales[block.name] * math.sqrt(block.bound_squared)) ** 2 for block in blocks)
    if honest < 1 or not square > 0:
        raise PrivacyError(
            f"the noise of {honest} institutions would hide {len(blocks)} private blocks; decline, and tell the lead"
        )
    sensitivity = math.sqrt(square) + math.sqrt(sum(block.dims for block in blocks))
    return LOCAL_DEVIATION * math.sqrt(honest) / sensitivity


def epsilon_by_renyi(multiplier: float, delta: float) -> float:
    """Return epsilon at delta of one Gaussian release by opacus' RDPAccountant over `ORDERS`.

    Raises:
        NotComputedError: there is no finite one in float64.
    """
    from opacus.accountants import RDPAccountant  # noqa: PLC0415 - loads torch

    def compute() -> float:
        accountant = RDPAccountant()
        accountant.step(noise_multiplier=multiplier, sample_rate=1.0)
        return float(accountant.get_epsilon(delta, alphas=list(ORDERS)))

    return _computed(compute)


def epsilon_by_privacy_loss(multiplier: float, delta: float, about: float) -> float:
    """Return an upper bound of the exact epsilon at delta of one Gaussian release by opacus' PRVAccountant; never below 0.

    It is above the exact value by at most 2 `PRV_ERROR` max(1, about), and by what `PRV_DELTA_SHARE` of delta is worth.

    Args:
        multiplier: z.
        delta: in (0, 1).
        about: any epsilon of the same size, which fixes the resolution.

    Raises:
        NotComputedError: PRVAccountant gives up: delta below some 5e-14, or a loss too large for its arithmetic.
    """
    from opacus.accountants import PRVAccountant  # noqa: PLC0415 - loads torch

    def compute() -> float:
        accountant = PRVAccountant()
        accountant.step(noise_multiplier=multiplier, sample_rate=1.0)
        error = PRV_ERROR * max(1.0, about)
        return float(accountant.get_epsilon(delta, eps_error=error, delta_error=PRV_DELTA_SHARE * delta))

    return _computed(compute)


def _computed(compute: Callable[[], float]) -> float:
    """Return a figure of opacus, at least 0, with warnings kept from the terminal; its errors end in ours."""
    try:
        # At sampling rate 1 PRVAccountant takes the logarithm of 0, rightly, and numpy would say so.
        with _FILTERS, warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = compute()
    except (RuntimeError, ValueError, ArithmeticError) as error:
        raise NotComputedError(" ".join(str(error).split())) from error
    if not math.isfinite(found):
        raise NotComputedError(f"it finds {found}")
    return max(found, 0.0)
