"""The boundary of the server: every call passes here before any service sees it.

Promises that a call has a deadline and an authorised caller before a byte of its request is read, that a caller takes no more
than its share, that calls end when their caller is a member no more, and that errors of the tree leave as statuses. Leaves the
rules to `callers.py`, `quotas.py` and `answers.py`.

For the library every method takes a stream of requests, also where the schema has one request, which is the same on the wire:
only so is a handler called before its request has come.

Source: protos/README.md §11.1, §11.5, §11.7.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from inspect import isasyncgenfunction
from traceback import extract_tb
from typing import Any, Final, TypeAlias, TypeVar

import grpc
from grpc.aio import ServicerContext
from structlog.typing import FilteringBoundLogger

from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.answers import reason_for, status_of, status_of_fault
from vdb_coordinator.service.callers import Caller, Roles, authorised, set_caller
from vdb_coordinator.service.compatibility import check_version
from vdb_coordinator.service.quotas import Quotas
from vdb_coordinator.service.sizes import check_sizes
from vdb_coordinator.serving.metrics import Metrics
from vdb_shared.errors import FormatError, StoreError, VdbError
from vdb_shared.roster import Roster
from vdb_shared.wire import reasons
from vdb_shared.wire.clock import told
from vdb_shared.wire.versions import OLDEST, Version, stated

Context: TypeAlias = ServicerContext[Any, Any]
T = TypeVar("T")

MayCall: TypeAlias = Callable[[str, bytes], bool]
"""Whether a SPIFFE id may call with a certificate, PEM."""

REQUEST_SECONDS: Final = 10.0
"""How long the request of a call may take after the call has begun."""

_PEER: Final = "peer_spiffe_id"
_CERTIFICATE: Final = "x509_pem_cert"
_LASTING: Final = ("/WatchSession", "/Watch")


class Boundary(grpc.aio.ServerInterceptor):
    """Wraps the handler of every method."""

    def __init__(
        self,
        roster: Callable[[], Roster],
        admins: tuple[str, ...],
        may_call: MayCall,
        metrics: Metrics,
        log: FilteringBoundLogger,
        oldest: Version = OLDEST,
    ) -> None:
        """Prepare the boundary; programs that speak an older protocol than `oldest` are refused."""
        self._oldest = oldest
        self._roster = roster
        self._admins = admins
        self._known: tuple[Roster, Roles] | None = None
        self._quotas = Quotas()
        self._serialised: dict[str, _SerialisedOnce] = {}
        self._metrics = metrics
        self._log = log
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
            return grpc.stream_unary_rpc_method_handler(self._unary(handler.unary_unary, method), *codec)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(self._upload(handler.stream_unary, method), *codec)
        if codec[1] is not None and method.endswith(_LASTING):
            codec = (codec[0], self._serialised.setdefault(method, _SerialisedOnce(codec[1])))
        return grpc.stream_stream_rpc_method_handler(self._watch(handler.unary_stream, method), *codec)

    def _enter(self, context: Context, method: str) -> Caller:
        caller = self._authorised(context, method)
        set_caller(caller)
        check_version(method, context.invocation_metadata() or (), self._oldest)
        context.set_trailing_metadata(told(datetime.now(UTC)))
        if context.time_remaining() is None:
            raise RefusedError(reasons.NO_DEADLINE, "the call has no deadline; set one")
        return caller

    def _authorised(self, context: Context, method: str) -> Caller:
        known = context.auth_context()
        peer, certificate = (next(iter(known.get(name, ())), None) for name in (_PEER, _CERTIFICATE))
        name = peer.decode() if peer else None
        caller = authorised(name, method, self._roles())
        if certificate is None or not self._may_call(caller.spiffe_id, certificate):
            raise RefusedError(reasons.NOT_A_MEMBER, f"the certificate of {caller.spiffe_id} was revoked; ask the lead")
        return replace(caller, certificate=certificate)

    def _roles(self) -> Roles:
        """Return the roles under the newest roster."""
        roster = self._roster()
        if self._known is None or self._known[0] is not roster:
            self._known = (roster, Roles.of(roster, self._admins))
        return self._known[1]

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
        async def call(requests: AsyncIterator[Any], context: Context) -> Any:
            async with self._measured(context, method), self._share(context, method) as (caller, turns):
                work = self._read_and_answer(inner, requests, context, turns)
                return await self._while_a_member(work, caller, context, method)

        return call

    async def _read_and_answer(
        self, inner: Any, requests: AsyncIterator[Any], context: Context, turns: asyncio.Semaphore
    ) -> Any:
        async with turns:
            return await inner(await _only(requests), context)

    def _upload(self, inner: Any, method: str) -> Any:
        async def call(requests: AsyncIterator[Any], context: Context) -> Any:
            async with self._measured(context, method), self._share(context, method) as (caller, turns):
                work = inner(_in_turn(requests, turns), context)
                return await self._while_a_member(work, caller, context, method)

        return call

    def _watch(self, inner: Any, method: str) -> Any:
        async def call(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
            async with self._measured(context, method), self._share(context, method) as (caller, turns):
                async with turns:
                    request = await self._while_a_member(_only(requests), caller, context, method)
                if not isasyncgenfunction(inner):
                    await self._while_a_member(inner(request, context), caller, context, method)
                    return
                end = object()
                async with aclosing(inner(request, context)) as responses:
                    while True:
                        # What waits for news waits outside its caller's turns; what is read for an answer is read in one.
                        async with nullcontext() if method.endswith(_LASTING) else turns:
                            response = await self._while_a_member(anext(responses, end), caller, context, method)
                        if response is end:
                            return
                        self._authorised(context, method)
                        yield response

        return call

    @asynccontextmanager
    async def _measured(self, context: Context, method: str) -> AsyncIterator[None]:
        """Count a call, and answer it with the status of the error that it ends with."""
        with self._metrics.call(method, lasting=method.endswith(_LASTING)) as outcome:
            try:
                yield
            except VdbError as error:
                if isinstance(error, StoreError):
                    self._log.error("storage refuses", method=method, error=str(error))
                code, message, details = status_of(error)
                outcome.code, outcome.reason = code.name, reason_for(error)
                await context.abort(code, message, details)
            except grpc.aio.BaseError:
                raise  # of the library: the call is over
            except Exception as error:  # whatever else it is, its text may name files, addresses and values of others
                self._log.critical("a call failed", method=method, error=_place(error))
                code, message, details = status_of_fault(_stated(context))
                outcome.code = code.name
                await context.abort(code, message, details)
            outcome.code = "OK"

    @asynccontextmanager
    async def _share(self, context: Context, method: str) -> AsyncIterator[tuple[Caller, asyncio.Semaphore]]:
        """Let a caller in, and yield it with the semaphore of its turns.

        Raises:
            RefusedError: it may not call, or has too many calls open.
        """
        caller = self._enter(context, method)
        async with self._quotas.call(caller.spiffe_id) as turns:
            yield caller, turns


class _SerialisedOnce:
    """Bytes of a message, made once when many streams send the same one after another."""

    def __init__(self, serialise: Callable[[Any], bytes]) -> None:
        self._serialise = serialise
        self._last: tuple[Any, bytes] | None = None

    def __call__(self, message: Any) -> bytes:
        if self._last is None or self._last[0] is not message:
            self._last = (message, self._serialise(message))
        return self._last[1]


def _stated(context: Context) -> Version:
    """Return the version that the caller states; the oldest if it states none that can be read."""
    try:
        return stated(context.invocation_metadata() or ())
    except FormatError:
        return OLDEST


def _place(error: Exception) -> str:
    """Return where something went wrong that nobody thought of, and what it was."""
    last = extract_tb(error.__traceback__)[-1]
    return f"{last.name} ({last.filename.rpartition('/')[2]}, line {last.lineno}): {type(error).__name__}: {error}"


async def _only(requests: AsyncIterator[Any]) -> Any:
    """Return the one message of a call that has one.

    Raises:
        RefusedError: it did not come.
        FormatError: a field of it is larger than any session can want.
    """
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            request = await anext(requests)
    except (TimeoutError, StopAsyncIteration) as error:
        raise RefusedError(reasons.INVALID, f"no request came within {REQUEST_SECONDS:.0f} s of the call") from error
    check_sizes(request)
    return request


async def _in_turn(requests: AsyncIterator[Any], turns: asyncio.Semaphore) -> AsyncIterator[Any]:
    """Yield the messages of a call, each read in its caller's turn."""
    end = object()
    while True:
        async with turns:
            message: Any = await anext(requests, end)
        if message is end:
            return
        check_sizes(message)
        yield message
