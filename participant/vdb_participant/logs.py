"""The agent's log: lines on the standard error stream, so that programs can read what commands print.

Where that is a terminal somebody reads them as they come: sentences, without moments and levels. Elsewhere they are a log.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog


def log_to_stderr() -> None:
    """Send the log of this process to whatever the standard error stream is when a line is written."""
    structlog.configure(
        processors=[sentence] if sys.stderr.isatty() else _lines(),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _lines() -> list[Any]:
    return [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0),
    ]


def sentence(_logger: object, level: str, event: MutableMapping[str, Any]) -> str:
    """Return an event of the log as people read it: "warning: a worker died (device cuda:0)"."""
    facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in event.items() if name != "event")
    told = f"{event['event']} ({facts})" if facts else str(event["event"])
    return told if level == "info" else f"{level}: {told}"
