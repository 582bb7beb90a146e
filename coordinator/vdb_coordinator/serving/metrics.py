"""What an operator may watch of a running coordinator, as Prometheus reads it.

Promises that the names are those of protos/README.md §11.8 and no others, that no label can take more values than the program
has words for, and that nothing is shown of one institution, session or measurement. Leaves HTTP to `metrics_server.py`.

Source: OpenMetrics and Prometheus text formats; protos/README.md §11.8.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

import vdb_shared
from vdb_shared.wire.status import Phase

_SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Upper ends of the histograms' buckets."""

CANCELLED: Final = "CANCELLED"
UNEXPECTED: Final = "UNKNOWN"


@dataclass(slots=True)
class Outcome:
    """What becomes of a call: the name of its status code, and the reason of a refusal."""

    code: str = "OK"
    reason: str = ""


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Gauge("vdb_build", "1, with the version as a label.", ["version"], registry=registry)
        build.labels(vdb_shared.__version__).set(1)
        self._calls = Counter("vdb_calls", "Calls that ended.", ["method", "code"], registry=registry)
        self._call_seconds = Histogram(
            "vdb_call_seconds", "Duration of calls but WatchSession and Watch.", buckets=_SECONDS, registry=registry
        )
        self._open = Gauge("vdb_calls_open", "Calls that have not ended.", registry=registry)
        self._refusals = Counter("vdb_refusals", "Calls that were refused.", ["reason"], registry=registry)
        self._events = Counter("vdb_events", "Events that were stored.", ["kind"], registry=registry)
        self._event_seconds = Histogram(
            "vdb_event_seconds", "Duration of storing an event durably.", buckets=_SECONDS, registry=registry
        )
        self._uploaded = Counter("vdb_uploaded_bytes", "Bytes of masked inputs that came in.", registry=registry)
        self._failures = Counter("vdb_storage_failures", "Refusals by the storage.", registry=registry)
        self._writable = Gauge("vdb_storage_writable", "Whether the last attempt to write worked.", registry=registry)
        self._sessions = Gauge("vdb_sessions", "Sessions that have not ended.", ["phase"], registry=registry)
        self._members = Gauge("vdb_participants", "Participants in the newest roster.", registry=registry)
        self._refused: Tally[str] = Tally()
        self._entries = Gauge("vdb_log_entries", "Published entries of the transparency log.", registry=registry)

    def look_at(
        self, phases: Callable[[], Iterable[Phase]], participants: Callable[[], int], entries: Callable[[], int]
    ) -> None:
        """Name what is counted only when somebody asks; each is called from the thread that asks.

        Args:
            phases: of the sessions that have not ended.
            participants: in the newest roster.
            entries: of the log.
        """

        def in_phase(phase: Phase) -> Callable[[], float]:
            return lambda: float(Tally(phases())[phase])

        for phase in Phase:
            if not phase.ended:
                self._sessions.labels(phase.words.replace(" ", "_")).set_function(in_phase(phase))
        self._members.set_function(lambda: float(participants()))
        self._entries.set_function(lambda: float(entries()))

    @contextmanager
    def call(self, method: str, *, lasting: bool) -> Iterator[Outcome]:
        """Count a call, and note its outcome; one that is left with an error was cancelled or failed.

        Args:
            method: package.Service/Method, one that the server has.
            lasting: whether it lasts until somebody ends it, so that its duration says nothing.
        """
        outcome, began = Outcome(CANCELLED), time.monotonic()
        self._open.inc()
        try:
            yield outcome
        except Exception:
            outcome.code = UNEXPECTED if outcome.code == CANCELLED else outcome.code
            raise
        finally:
            self._open.dec()
            self._calls.labels(method.rpartition(".")[2], outcome.code).inc()
            if outcome.reason:
                self._refusals.labels(outcome.reason).inc()
                self._refused[outcome.reason] += 1
            if not lasting:
                self._call_seconds.observe(time.monotonic() - began)

    def take_refused(self) -> Mapping[str, int]:
        """Return how many calls were refused since this was asked last, by reason."""
        found, self._refused = self._refused, Tally()
        return found

    def stored(self, kind: str, seconds: float) -> None:
        """Count an event that is durable."""
        self._events.labels(kind).inc()
        self._event_seconds.observe(seconds)

    def uploaded(self, size: int) -> None:
        """Count bytes of a masked input."""
        self._uploaded.inc(size)

    def storage(self, *, works: bool) -> None:
        """Note whether the storage took what it was given."""
        self._writable.set(works)
        if not works:
            self._failures.inc()

    def text(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        return generate_latest(self._registry)
