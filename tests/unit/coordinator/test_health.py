"""Who asks whether the coordinator serves, and who stops listening."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from unittest.mock import AsyncMock

import grpc
import pytest
from grpc_health.v1 import health_pb2

from vdb_coordinator.service.health import Health

STATUS = health_pb2.HealthCheckResponse
SERVICES = ("", "vdb.v1.SessionService")


def asked(service: str = "") -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


def test_what_is_here_is_told_and_what_is_not_is_not_found() -> None:
    async def story() -> None:
        health, context = Health(SERVICES), AsyncMock()
        context.abort.side_effect = grpc.aio.AbortError
        for serving, status in ((True, STATUS.SERVING), (False, STATUS.NOT_SERVING), (True, STATUS.SERVING)):
            health.show(serving=serving)
            for service in SERVICES:
                assert (await health.Check(asked(service), context)).status == status
        with pytest.raises(grpc.aio.AbortError):
            await health.Check(asked("vdb.v1.Other"), context)
        assert context.abort.await_args.args[0] is grpc.StatusCode.NOT_FOUND

    asyncio.run(story())


def test_watchers_are_told_of_changes_whoever_of_them_takes_nothing_or_goes() -> None:
    async def story() -> None:
        health = Health(SERVICES)
        async with aclosing(health.Watch(asked(), AsyncMock())) as stalled:
            goes, stays = (health.Watch(asked(), AsyncMock()) for _ in range(2))
            for watcher in (stalled, goes, stays):
                assert (await anext(watcher)).status == STATUS.SERVING
            await goes.aclose()
            for serving, status in ((False, STATUS.NOT_SERVING), (True, STATUS.SERVING)):
                news = asyncio.ensure_future(anext(stays))
                await asyncio.sleep(0)
                assert not news.done(), "what has not changed is not told again"
                health.show(serving=serving)
                assert (await asyncio.wait_for(news, 5)).status == status
            await stays.aclose()

    asyncio.run(story())


def test_who_watches_what_is_not_here_is_told_so_and_waits() -> None:
    async def story() -> None:
        health = Health(SERVICES)
        async with aclosing(health.Watch(asked("vdb.v1.Other"), AsyncMock())) as stream:
            assert (await anext(stream)).status == STATUS.SERVICE_UNKNOWN
            more = asyncio.ensure_future(anext(stream))
            for serving in (False, True):
                health.show(serving=serving)
                await asyncio.sleep(0.01)
            assert not more.done()
            more.cancel()
            await asyncio.wait([more])

    asyncio.run(story())
