"""The boundary of the server: every call passes here before any service sees it.

Promises that a call has a deadline and an authorised caller, and that errors of the tree leave as statuses. Leaves the rules
to `callers.py` and `answers.py`.

Source: protos/README.md §11.1, §11.5.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import isasyncgenfunction
from typing import Any, Final, TypeAlias

import grpc
from grpc.aio import ServicerContext

from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.answers import status_of
from vdb_coordinator.service.callers import authorised, set_caller
from vdb_shared.errors import VdbError
from vdb_shared.roster import Roster
from vdb_shared.wire import reasons

Context: TypeAlias = ServicerContext[Any, Any]

_PEER: Final = "peer_spiffe_id"


class Boundary(grpc.aio.ServerInterceptor):
    """Wraps the handler of every method."""

    def __init__(self, roster: Callable[[], Roster], admins: tuple[str, ...]) -> None:
        self._roster = roster
        self._admins = admins

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the method's handler behind the boundary."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        method = str(handler_call_details.method)
        codec = (handler.request_deserializer, handler.response_serializer)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._unary(handler.unary_unary, method), *codec)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(self._unary(handler.stream_unary, method), *codec)
        return grpc.unary_stream_rpc_method_handler(self._stream(handler.unary_stream, method), *codec)

    def _enter(self, context: Context, method: str) -> None:
        found = context.auth_context().get(_PEER)
        peer = next(iter(found)).decode() if found else None
        set_caller(authorised(peer, method, self._roster(), self._admins))
        if context.time_remaining() is None:
            raise RefusedError(reasons.NO_DEADLINE, "the call has no deadline; set one")

    def _unary(self, inner: Any, method: str) -> Any:
        async def call(request: Any, context: Context) -> Any:
            try:
                self._enter(context, method)
                return await inner(request, context)
            except VdbError as error:
                return await context.abort(*status_of(error))

        return call

    def _stream(self, inner: Any, method: str) -> Any:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                self._enter(context, method)
                if isasyncgenfunction(inner):
                    async for response in inner(request, context):
                        yield response
                else:
                    await inner(request, context)
            except VdbError as error:
                await context.abort(*status_of(error))

        return call
