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
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from inspect import isasyncgenfunction
from traceback import clear_frames, extract_tb
from typing import Any, Final, TypeAlias, TypeVar, cast

import grpc
from grpc.aio import ServicerContext
from structlog.typing import FilteringBoundLogger

from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.service.answers import reason_for, status_of, status_of_fault
from vdb_coordinator.service.callers import Caller, Roles, authorised, set_caller
from vdb_coordinator.service.compatibility import check_version
from vdb_coordinator.service.quotas import INVITED_CALLS, MAX_CALLS, Quotas
from vdb_coordinator.service.reading import Read, reader
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
        self._running: defaultdict[str, dict[asyncio.Timeout, tuple[Caller, str]]] = defaultdict(dict)

    def dismiss(self, peer: str) -> None:
        """End every running call of a SPIFFE id that is not authorised any more."""
        for limit, (caller, method) in self._running.get(peer, {}).items():
            try:
                self._check_still(caller, method)
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
        read, written = reader(method, handler.request_deserializer or bytes), handler.response_serializer
        # Requests come here as bytes: what the library decodes is in memory before anybody can refuse it.
        if handler.unary_unary:
            return grpc.stream_unary_rpc_method_handler(self._unary(handler.unary_unary, method, read), None, written)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(self._upload(handler.stream_unary, method, read), None, written)
        if written is not None and method.endswith(_LASTING):
            written = self._serialised.setdefault(method, _SerialisedOnce(written))
        return grpc.stream_stream_rpc_method_handler(self._watch(handler.unary_stream, method, read), None, written)

    def _enter(self, context: Context, method: str) -> Caller:
        known = context.auth_context()
        peer, certificate = (next(iter(known.get(name, ())), None) for name in (_PEER, _CERTIFICATE))
        caller = self._authorised(peer.decode() if peer else None, certificate, method)
        set_caller(caller)
        check_version(method, context.invocation_metadata() or (), self._oldest)
        context.set_trailing_metadata(told(datetime.now(UTC)))
        if context.time_remaining() is None:
            raise RefusedError(reasons.NO_DEADLINE, "the call has no deadline; set one")
        return caller

    def _authorised(self, peer: str | None, certificate: bytes | None, method: str) -> Caller:
        caller = authorised(peer, method, self._roles())
        if certificate is None or not self._may_call(caller.spiffe_id, certificate):
            raise RefusedError(reasons.NOT_A_MEMBER, f"the certificate of {caller.spiffe_id} was revoked; ask the lead")
        return replace(caller, certificate=certificate)

    def _check_still(self, caller: Caller, method: str) -> None:
        """Check that who was let in may call still.

        Raises:
            RefusedError: it may not.
        """
        self._authorised(caller.spiffe_id, caller.certificate, method)

    def _roles(self) -> Roles:
        """Return the roles under the newest roster."""
        roster = self._roster()
        if self._known is None or self._known[0] is not roster:
            self._known = (roster, Roles.of(roster, self._admins))
        return self._known[1]

    async def _while_a_member(self, work: Awaitable[T], caller: Caller, method: str) -> T:
        """Return what `work` returns, unless the caller is dismissed before.

        Raises:
            RefusedError: it was.
        """
        running = self._running[caller.spiffe_id]
        limit = asyncio.timeout(None)
        try:
            async with limit:
                running[limit] = (caller, method)
                return await work
        except TimeoutError:
            if limit.expired():
                self._check_still(caller, method)
            raise
        finally:
            running.pop(limit, None)
            if not running:
                self._running.pop(caller.spiffe_id, None)

    def _unary(self, inner: Any, method: str, read: Read) -> Any:
        async def call(_requests: AsyncIterator[bytes], context: Context) -> Any:
            async with self._measured(context, method):
                caller, turns = self._let_in(context, method)
                work = self._read_and_answer(inner, read, context, turns)
                return await self._while_a_member(work, caller, method)

        return call

    async def _read_and_answer(self, inner: Any, read: Read, context: Context, turns: asyncio.Semaphore) -> Any:
        """Return the answer to a request; the caller's turn lasts until the answer was taken, which lies here until then."""
        await turns.acquire()
        _when_over(context, turns.release)
        return await inner(await _only(context, read), context)

    def _upload(self, inner: Any, method: str, read: Read) -> Any:
        async def call(_requests: AsyncIterator[bytes], context: Context) -> Any:
            async with self._measured(context, method):
                caller, turns = self._let_in(context, method)
                async with aclosing(_in_turn(context, turns, read)) as messages:
                    return await self._while_a_member(inner(messages, context), caller, method)

        return call

    def _watch(self, inner: Any, method: str, read: Read) -> Any:
        async def call(_requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            async with self._measured(context, method):
                caller, turns = self._let_in(context, method)
                async with turns:
                    request = await self._while_a_member(_only(context, read), caller, method)
                if not isasyncgenfunction(inner):
                    await self._while_a_member(inner(request, context), caller, method)
                    return
                end, answers = object(), inner(request, context)
                del request
                async with aclosing(answers) as responses:
                    while True:
                        # What waits for news waits outside its caller's turns; what is read for an answer is read in one.
                        async with nullcontext() if method.endswith(_LASTING) else turns:
                            response = await self._while_a_member(anext(responses, end), caller, method)
                        if response is end:
                            return
                        self._check_still(caller, method)
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
                refusal, outcome.reason = status_of(error), reason_for(error)
                _forget(error)
            except grpc.aio.BaseError:
                raise  # of the library: the call is over
            except Exception as error:  # whatever else it is, its text may name files, addresses and values of others
                self._log.critical("a call failed", method=method, error=_place(error))
                refusal = status_of_fault(_stated(context))
                _forget(error)
            else:
                outcome.code = "OK"
                return
            outcome.code = refusal[0].name
            await context.abort(*refusal)

    def _let_in(self, context: Context, method: str) -> tuple[Caller, asyncio.Semaphore]:
        """Let a caller in, and return it with the semaphore of its turns.

        Its call counts until the library is done with it: the answer was taken, or nobody is there any more who could.

        Raises:
            RefusedError: it may not call, or has too many calls open.
        """
        caller = self._enter(context, method)
        most = INVITED_CALLS if caller.role == "enrolment" else MAX_CALLS
        turns = self._quotas.begin(caller.spiffe_id, most)
        _when_over(context, partial(self._quotas.end, caller.spiffe_id))
        return caller, turns


class _SerialisedOnce:
    """Bytes of a message, made once when many streams send the same one after another."""

    def __init__(self, serialise: Callable[[Any], bytes]) -> None:
        self._serialise = serialise
        self._last: tuple[Any, bytes] | None = None

    def __call__(self, message: Any) -> bytes:
        if self._last is None or self._last[0] is not message:
            self._last = (message, self._serialise(message))
        return self._last[1]


def _when_over(context: Context, act: Callable[[], None]) -> None:
    """Have something done once, when the library is done with a call, however it ends."""

    def over(_context: object) -> None:
        act()

    context.add_done_callback(cast(Any, over))  # the library's types want an argument of a certain name


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


def _forget(error: BaseException) -> None:
    """Let go of all that the functions held through which an error came, requests of megabytes among it.

    The library keeps the exception with which a call is refused for as long as the call, which it points back to, and that one
    keeps this error: without this a request would lie here until the interpreter looks for cycles.
    """
    known: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is not None and one not in known:
            known.append(one)
            left += [one.__cause__, one.__context__]
            clear_frames(one.__traceback__)
            one.__traceback__ = None


async def _only(context: Context, read: Read) -> Any:
    """Return the one message of a call that has one.

    Not from the library's iterator, which points to itself and holds the last message that it gave out.

    Raises:
        RefusedError: it did not come.
        FormatError: it is none, or larger than any session can want.
    """
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            data = await context.read()
    except TimeoutError:
        data = grpc.aio.EOF
    if data is grpc.aio.EOF:
        raise RefusedError(reasons.INVALID, f"no request came within {REQUEST_SECONDS:.0f} s of the call")
    return read(data)


async def _in_turn(context: Context, turns: asyncio.Semaphore, read: Read) -> AsyncGenerator[Any]:
    """Yield the messages of a call, each read in its caller's turn; none is held here while the next one is waited for."""
    while True:
        async with turns:
            data = await context.read()
        if data is grpc.aio.EOF:
            return
        message = read(data)
        del data
        yield message
        del message
