"""Whether the coordinator serves, as programs that watch over it ask.

Promises that telling it waits for nobody who listens: a watcher that takes nothing, or goes away, delays neither the upkeep nor
the stop nor what other watchers are told. Leaves finding it out to `serving/server.py`.

The library's own servicer writes to its watchers under the lock that setting a status waits for, and forgets all watchers of a
service when one of them ends.

Source: gRPC Health Checking Protocol, `grpc.health.v1`; protos/README.md §11.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from vdb_coordinator.service.boundary import Context

_STATUSES = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # the library has no types
    """One state for all services of this process; implements the generated service."""

    def __init__(self, services: tuple[str, ...]) -> None:
        """Begin as serving; "" among the services stands for the process."""
        self._services = frozenset(services)
        self._serving = True
        self._changed = asyncio.Event()

    def show(self, *, serving: bool) -> None:
        """Show whether the coordinator serves, and let watchers look."""
        if serving is not self._serving:
            self._serving = serving
            self._changed.set()
            self._changed = asyncio.Event()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """Return the present status; NOT_FOUND for a service that is not here."""
        if request.service not in self._services:
            await context.abort(StatusCode.NOT_FOUND, "no service of this name")
        return self._status(request.service)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse, None]:
        """Yield the present status and then every change; SERVICE_UNKNOWN, and nothing after it, for what is not here."""
        told = None
        while True:
            changed, status = self._changed, self._status(request.service)
            if status != told:
                told = status
                yield status
            await changed.wait()

    def _status(self, service: str) -> health_pb2.HealthCheckResponse:
        if service not in self._services:
            return _STATUSES(status=_STATUSES.SERVICE_UNKNOWN)
        return _STATUSES(status=_STATUSES.SERVING if self._serving else _STATUSES.NOT_SERVING)
