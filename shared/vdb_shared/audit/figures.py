"""The published figures, computed from nothing but a spec, the terms of its seal and an aggregate.

Promises the bytes of metrics.json and accounting.json: coordinator and auditor both come here, so that equal inputs give
equal bytes. Leaves the meaning of the figures to `evaluation.py` and `privacy/accountant.py`.

Source: protos/README.md §9.5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vdb_shared.canonical import canonical_json
from vdb_shared.checked_clips import Comparison
from vdb_shared.errors import PrivacyError, StatisticError
from vdb_shared.evaluation import evaluate
from vdb_shared.privacy.accountant import account
from vdb_shared.privacy.conversion import DP_ACCOUNTING, Accountant
from vdb_shared.privacy.mechanism import decode, noise_level
from vdb_shared.seal import SealTerms
from vdb_shared.spec import Spec


def metrics_json(
    spec: Spec, terms: SealTerms, totals: NDArray[np.int64], survivors: int, checked: Comparison | None = None
) -> bytes:
    """Return the bytes of metrics.json.

    Args:
        spec: the spec.
        terms: of the seal.
        totals: shape (lanes,), int64: sums over the survivors, offset removed.
        survivors: |U3|.
        checked: `compare_checked` of the contributions, which is None where the spec wants no clip made twice.

    Raises:
        StatisticError: totals that do not fit the terms, or from which no figure can be computed.
    """
    statistics = decode(terms.layout, terms.calibration, totals)
    noise = noise_level(terms.layout, terms.calibration, survivors)
    try:
        with np.errstate(all="ignore"):
            evaluation = evaluate(spec, statistics, noise)
        return canonical_json(evaluation.to_json() | ({} if checked is None else {"checked": checked.to_json()}))
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        raise StatisticError(f"no figures can be computed from these totals: {error}") from error


def accounting_json(terms: SealTerms, accountant: Accountant = DP_ACCOUNTING) -> bytes:
    """Return the bytes of accounting.json.

    Args:
        terms: of the seal.
        accountant: dp-accounting for whoever claims the cost, the formulas for whoever checks the claim.

    Raises:
        PrivacyError: the terms do not keep the spec's promise.
    """
    try:
        return canonical_json(account(terms.calibration, accountant).to_json())
    except ArithmeticError as error:
        raise PrivacyError(
            "the cost of these parameters cannot be computed; they are out of any sensible range"
        ) from error
