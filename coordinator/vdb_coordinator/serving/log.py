"""Structured logs of the coordinator: one JSON object or one readable line for each event, with allow-listed fields only.

Promises that nothing but short values of the named fields is ever written: no payload, no measurement, no secret. A field
that is not on the list is left out and counted.
"""

from __future__ import annotations

import sys
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

ALLOWED: Final = frozenset(
    {
        "address",
        "attempt",
        "bytes",
        "count",
        "error",
        "event",
        "institution",
        "kind",
        "level",
        "method",
        "phase",
        "reason",
        "seat",
        "sequence",
        "session",
        "stage",
        "timestamp",
        "version",
    }
)
_LONGEST: Final = 400


def allow_listed(_logger: WrappedLogger, _method: str, fields: EventDict) -> EventDict:
    """Return the allowed fields, shortened; how many others there were stands under "withheld"."""
    kept: EventDict = {}
    for name, value in fields.items():
        if name in ALLOWED:
            kept[name] = value if isinstance(value, int) else str(value)[:_LONGEST]
    if len(kept) < len(fields):
        kept["withheld"] = len(fields) - len(kept)
    return kept


def make_log(*, as_json: bool, stream: TextIO = sys.stderr) -> FilteringBoundLogger:
    """Return a log that writes to a stream."""
    render: Processor = (
        structlog.processors.JSONRenderer(sort_keys=True)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0)
    )
    log: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            allow_listed,
            render,
        ],
    )
    return log
