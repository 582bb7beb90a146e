"""Functions that compute each value once, for tests that audit thousands of bundles of one session.

The cost to privacy and the figures are functions of their arguments alone (protos/README.md §9.5). Nearly all of an audit's
time goes into them, and forgeries of one session ask for the same ones again and again.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

REMEMBERED: Final = (
    ("vdb_shared.audit.figures", "account"),
    ("vdb_shared.audit.figures", "evaluate"),
    ("vdb_shared.audit.evidence", "seal_terms"),
)
"""What an audit spends its time on, by the module that calls it."""


def remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that computes each value once; arguments are compared by what they hold."""
    known: dict[bytes, Any] = {}

    def remembered(*args: Any) -> Any:
        key = pickle.dumps(args)
        if key not in known:
            known[key] = function(*args)
        return known[key]

    return remembered


def remember(put: Callable[[object, str, Any], None]) -> None:
    """Let audits remember.

    Args:
        put: sets an attribute: `setattr`, or pytest's, which takes it back.
    """
    for path, name in REMEMBERED:
        module = import_module(path)
        put(module, name, remembering(getattr(module, name)))
