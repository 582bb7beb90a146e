"""The boundary of the server: every call passes here before any service sees it.

Promises that a call has a deadline and an authorised caller, that calls end when their caller is a member no more, and that
errors of the tree leave as statuses. Leaves the rules to `callers.py` and `answers.py`.

Source: protos/README.md §11.1, §11.5.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import isasyncgenfunction
from typing import Any, Final, TypeAlias, TypeVar

import grpc
from grpc.aio import ServicerContext

from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.answers import status_of
from vdb_coordinator.service.callers import Caller, authorised, set_caller
from vdb_shared.errors import VdbError
from vdb_shared.roster import Roster
from vdb_shared.wire import reasons

Context: TypeAlias = ServicerContext[Any, Any]
T = TypeVar("T")

MayCall: TypeAlias = Callable[[str, bytes], bool]
"""Whether a SPIFFE id may call with a certificate, PEM."""

_PEER: Final = "peer_spiffe_id"
_CERTIFICATE: Final = "x509_pem_cert"


class Boundary(grpc.aio.ServerInterceptor):
    """Wraps the handler of every method."""

    def __init__(self, roster: Callable[[], Roster], admins: tuple[str, ...], may_call: MayCall) -> None:
        self._roster = roster
        self._admins = admins
        self._may_call = may_call
        self._running: defaultdict[str, dict[asyncio.Timeout, tuple[Context, str]]] = defaultdict(dict)

    def dismiss(self, peer: str) -> None:
        """End every running call of a SPIFFE id that is not authorised any more."""
        for limit, (context, method) in self._running.get(peer, {}).items():
            try:
                self._authorised(context, method)
            except RefusedError:
                if not limit.expired():
                    limit.reschedule(asyncio.get_running_loop().time())

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

    def _enter(self, context: Context, method: str) -> Caller:
        caller = self._authorised(context, method)
        set_caller(caller)
        if context.time_remaining() is None:
            raise RefusedError(reasons.NO_DEADLINE, "the call has no deadline; set one")
        return caller

    def _authorised(self, context: Context, method: str) -> Caller:
        known = context.auth_context()
        peer, certificate = (next(iter(known.get(name, ())), None) for name in (_PEER, _CERTIFICATE))
        name = peer.decode() if peer else None
        caller = authorised(name, method, self._roster(), self._admins)
        if certificate is None or not self._may_call(caller.spiffe_id, certificate):
            raise RefusedError(reasons.NOT_A_MEMBER, f"the certificate of {caller.spiffe_id} was revoked; ask the lead")
        return caller

    async def _while_a_member(self, work: Awaitable[T], caller: Caller, context: Context, method: str) -> T:
        """Return what `work` returns, unless the caller is dismissed before.

        Raises:
            RefusedError: it was.
        """
        running = self._running[caller.spiffe_id]
        limit = asyncio.timeout(None)
        try:
            async with limit:
                running[limit] = (context, method)
                return await work
        except TimeoutError:
            if limit.expired():
                self._authorised(context, method)
            raise
        finally:
            running.pop(limit, None)
            if not running:
                self._running.pop(caller.spiffe_id, None)

    def _unary(self, inner: Any, method: str) -> Any:
        async def call(request: Any, context: Context) -> Any:
            try:
                caller = self._enter(context, method)
                return await self._while_a_member(inner(request, context), caller, context, method)
            except VdbError as error:
                return await context.abort(*status_of(error))

        return call

    def _stream(self, inner: Any, method: str) -> Any:
        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                caller = self._enter(context, method)
                if isasyncgenfunction(inner):
                    responses, end = inner(request, context), object()
                    while True:
                        following = anext(responses, end)
                        response = await self._while_a_member(following, caller, context, method)
                        if response is end:
                            return
                        self._authorised(context, method)
                        yield response
                else:
                    await self._while_a_member(inner(request, context), caller, context, method)
            except VdbError as error:
                await context.abort(*status_of(error))

        return call
