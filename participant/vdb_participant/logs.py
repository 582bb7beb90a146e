"""The agent's log: lines on the standard error stream, so that programs can read what commands print."""

from __future__ import annotations

import sys

import structlog


def log_to_stderr() -> None:
    """Send the log of this process to whatever the standard error stream is when a line is written."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
        ],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
