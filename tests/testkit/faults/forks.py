"""The server from which a campaign's processes are forked, and what it is prepared for."""

from __future__ import annotations

from multiprocessing import get_context
from typing import Final

AGENTS: Final = 8
"""Institutions of a session."""

SMALLEST: Final = 5
"""Fewest of them in a result."""

FORKS: Final = get_context("forkserver")
FORKS.set_forkserver_preload(["testkit.faults.warm"])
