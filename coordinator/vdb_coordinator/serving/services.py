"""What the parts of a running server share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from structlog.typing import FilteringBoundLogger

from vdb_coordinator.duties import Coordinator
from vdb_coordinator.serving.clock import Clock
from vdb_coordinator.serving.failpoints import Failpoints
from vdb_coordinator.serving.history import SessionHistory
from vdb_coordinator.serving.metrics import Metrics
from vdb_coordinator.serving.transparency import TransparencyLog
from vdb_coordinator.store.blobs import UploadStore
from vdb_coordinator.store.database import Database
from vdb_shared.roster import Member


@dataclass(frozen=True, slots=True)
class Services:
    """What a conductor works with; `is_member` says whether a participant of a session is a member under its key still."""

    coordinator: Coordinator
    history: SessionHistory
    database: Database
    uploads: UploadStore
    transparency: TransparencyLog
    clock: Clock
    log: FilteringBoundLogger
    is_member: Callable[[Member], bool]
    metrics: Metrics = field(default_factory=Metrics)
    failpoints: Failpoints = field(default_factory=Failpoints)
