"""Every check of an audit, in numbered order."""

from __future__ import annotations

from typing import Final

from vdb_shared.audit.checks import (
    aggregation,
    agreement,
    assumptions,
    container,
    identity,
    numbers,
    publication,
    repetition,
)
from vdb_shared.audit.checks.base import Check

CHECKS: Final[tuple[Check, ...]] = (
    *container.CHECKS,
    *identity.CHECKS,
    *agreement.CHECKS,
    *aggregation.CHECKS,
    *repetition.CHECKS,
    *numbers.CHECKS,
    *publication.CHECKS,
    *assumptions.CHECKS,
)
