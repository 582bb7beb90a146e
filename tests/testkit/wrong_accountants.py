"""A first accountant with a fault that everybody shares: in the formulas and in dp-accounting alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from dp_accounting.rdp import rdp_privacy_accountant

from vdb_shared.privacy import closed_forms, conversion


def spoil_the_first_accountant(monkeypatch: pytest.MonkeyPatch, *, rho: float = 1.0, epsilon: float = 1.0) -> None:
    """Let both conversions of zCDP take so many times the rho, and give so many times the epsilon."""
    formula, library = closed_forms.zcdp_epsilon, rdp_privacy_accountant.compute_epsilon

    def compute(orders: Sequence[float], rdp: Sequence[float], delta: float) -> tuple[float, float]:
        found, order = library(orders, rho * np.asarray(rdp), delta)
        return epsilon * found, order

    monkeypatch.setattr(conversion, "zcdp_epsilon", lambda given, delta: epsilon * formula(rho * given, delta))
    monkeypatch.setattr(rdp_privacy_accountant, "compute_epsilon", compute)
