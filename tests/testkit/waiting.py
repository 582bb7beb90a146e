"""Waiting for what happens in another thread or program."""

from __future__ import annotations

import threading
from collections.abc import Callable


def until(holds: Callable[[], bool], why: str) -> None:
    """Return once something holds; after more than ten seconds fail, and say why."""
    for _ in range(500):
        if holds():
            return
        threading.Event().wait(0.02)
    raise AssertionError(why)
