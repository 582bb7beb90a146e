"""The server from which a campaign's processes are forked, and what it is prepared for."""

from __future__ import annotations

import threading
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Final

AGENTS: Final = 8
"""Institutions of a session."""

SMALLEST: Final = 5
"""Fewest of them in a result."""

FORKS: Final = get_context("forkserver")
FORKS.set_forkserver_preload(["testkit.faults.warm"])

_TURN: Final = threading.Lock()


def begin(process: BaseProcess) -> None:
    """Start a process; only here, since starting one also asks how all others have ended."""
    with _TURN:
        process.start()


def exit_status(process: BaseProcess, seconds: float = 0.0) -> int | None:
    """Return how a process has ended, within so many seconds; None if it has not.

    The server tells that once. Of two threads that ask at the same moment the library gives one the status 255, and keeps that.
    """
    wait([process.sentinel], seconds)
    with _TURN:
        return process.exitcode
