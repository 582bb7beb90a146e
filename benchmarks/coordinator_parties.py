"""Simulated participants for measuring a coordinator: real keys, rounds and sockets, in processes of their own.

Promises that a party speaks the protocol as the agent does, over a connection that it shares with nobody, and that nothing of
it runs in the coordinator's process. A party has no models and no disk, and countersigns a draft without auditing it.
"""

from __future__ import annotations

import asyncio
import copyreg
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Final, Self

import grpc
import rows  # noqa: F401 - makes `testkit` importable, also in a process that begins here
from grpc_health.v1 import health_pb2, health_pb2_grpc

from testkit.coordinator import CALL, Identity, secure_channel
from testkit.made_up import noised_lanes
from testkit.members import TestMember
from testkit.playing import PHASES, STEPS
from testkit.refusals import reason_of
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import Seal
from vdb_shared.errors import VdbError
from vdb_shared.identity import StatementKey
from vdb_shared.seal import SealTerms, seal_terms
from vdb_shared.secagg.parameters import Parameters
from vdb_shared.spec import Spec, parse_spec_json
from vdb_shared.tasks import public_tasks, shard
from vdb_shared.wire import convert, reasons
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import SessionServiceStub
from vdb_shared.wire.status import Phase

PATIENCE: Final = 900.0
"""Seconds after which a session or a parked stream is taken to hang."""

AGAIN_SECONDS: Final = 0.1
"""Pause after the coordinator said that this institution has enough calls open."""

copyreg.pickle(StatementKey, lambda key: (StatementKey.from_pem, (key.to_pem(None), None)))


@dataclass(frozen=True)
class Place:
    """Where a coordinator is; its institutions connect from other processes than the one that started it."""

    address: str

    def channel(self, identity: Identity) -> grpc.Channel:
        """Return a new channel of an institution."""
        return secure_channel(self.address, identity.ca_certificate, identity.tls_key, identity.certificate_chain)


@dataclass(frozen=True)
class Job:
    """One participant of one session.

    Attributes:
        place: of the coordinator.
        identity: whose.
        session: its id.
        spec: of the session, and how many take part, for made-up statistics; None for a vector of zeros.
        waits_for: how many others must have sent their masked inputs before this one sends its own.
    """

    place: Place
    identity: Identity
    session: str
    spec: tuple[bytes, int] | None = None
    waits_for: int = 0


@dataclass(frozen=True)
class Played:
    """What became of a job: seconds of the machine's monotonic clock, or why it failed."""

    uploading: float
    uploaded: float
    ended: float
    error: str = ""


class Party(TestMember):
    """A participant that follows one stream of statuses from joining to the end, and looks up nothing twice."""

    @cached_property
    def spec(self) -> Spec:
        """The session's spec."""
        return parse_spec_json(self.known.spec)

    @cached_property
    def known(self) -> Any:
        """What GetSession told."""
        return super().details()

    def details(self) -> Any:
        """Return what GetSession told."""
        return self.known

    @cached_property
    def _sealed(self) -> tuple[Envelope, Seal]:
        return super().seal()

    def seal(self) -> tuple[Envelope, Seal]:
        """Return the seal."""
        return self._sealed

    @cached_property
    def _parameters(self) -> Parameters:
        return super().sealed_parameters()

    def sealed_parameters(self) -> Parameters:
        """Return the parameters of the first attempt."""
        return self._parameters

    def live(self, before_upload: Callable[[], None], after_upload: Callable[[], None]) -> Played:
        """Take part to the end."""
        times, todo, seen = {"upload": 0.0, "uploaded": 0.0, "ended": 0.0}, list(zip(STEPS, PHASES, strict=True)), 0
        for answer in self.sessions.WatchSession(pb.WatchSessionRequest(session=self.session), timeout=PATIENCE):
            status = convert.status_from_wire(answer.status)
            seen = self.witness() if status.witness > seen else seen
            while todo and status.reached(todo[0][1]) and not status.phase.ended:
                step, _ = todo.pop(0)
                if step == "mask":
                    self.prepare_mask()
                    before_upload()
                    times["upload"] = time.monotonic()
                self._do(step)
                if step == "mask":
                    times["uploaded"] = time.monotonic()
                    after_upload()
            if status.phase.ended:  # the stream itself ends a moment later
                times["ended"] = time.monotonic()
            if status.phase is Phase.ABORTED:
                raise RuntimeError(f"aborted: {status.reason}")
        return Played(times["upload"], times["uploaded"], times["ended"])

    def _do(self, step: str) -> None:
        while True:
            try:
                (self.sign_result if step == "countersign" else getattr(self, step))()
            except grpc.RpcError as error:
                reason = reason_of(error)
                if (
                    reason == reasons.TOO_MUCH
                ):  # one institution in a hundred sessions: it asks again, as the agent does
                    time.sleep(AGAIN_SECONDS)
                    continue
                if step != "reveal" or reason != reasons.TOO_LATE:
                    raise
            return


class Crew:
    """Processes of participants; `with Crew(2) as crew`."""

    def __init__(self, processes: int) -> None:
        context = get_context("spawn")
        self.sent, self.parked = context.Semaphore(0), context.Semaphore(0)
        self._processes = processes
        self._pool = ProcessPoolExecutor(processes, context, _arrive, (self.sent, self.parked))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def play(self, jobs: Sequence[Job]) -> list[Played]:
        """Let every job be played by a thread of its own, and return what became of them."""
        shares = [self._pool.submit(_play, jobs[start :: self._processes]) for start in range(self._processes)]
        return [played for share in shares for played in share.result()]

    def park(self, place: Place, identities: Sequence[Identity], session: str) -> list[Future[list[float]]]:
        """Let every institution watch a session over a connection of its own; each future holds when its share was told."""
        shares = [identities[start :: self._processes] for start in range(self._processes)]
        found = [self._pool.submit(_park, place, share, session) for share in shares]
        for _ in identities:
            if not self.parked.acquire(timeout=PATIENCE):
                raise TimeoutError("not everybody could be parked")
        return found

    def call(self, method: str, jobs: Sequence[Job], seconds: float, at_once: int) -> list[Called]:
        """Let one institution in each process call a method again and again, so many calls at once."""
        shares = [self._pool.submit(_call, method, job, seconds, at_once) for job in jobs[: self._processes]]
        return [share.result() for share in shares]


@dataclass(frozen=True)
class Called:
    """Calls of one process: how many, the median and the 99th percentile of their seconds, and errors by code."""

    count: int
    median: float
    p99: float
    errors: Mapping[str, int]


_GATES: dict[str, Any] = {}
_TERMS: dict[tuple[bytes, int], SealTerms] = {}


def _arrive(sent: Any, parked: Any) -> None:
    _GATES.update(sent=sent, parked=parked)


def _play(jobs: Sequence[Job]) -> list[Played]:
    for job in jobs:
        if job.spec is not None and job.spec not in _TERMS:
            _TERMS[job.spec] = seal_terms(parse_spec_json(job.spec[0]), range(job.spec[1]))
    with ThreadPoolExecutor(len(jobs)) as threads:
        return list(threads.map(_live, jobs))


def _live(job: Job) -> Played:
    def wait() -> None:
        for _ in range(job.waits_for):
            if not _GATES["sent"].acquire(timeout=PATIENCE):
                raise TimeoutError("the others did not send their masked inputs")

    try:
        with Party(job.place, job.identity, job.session, **_statistics(job)) as party:
            return party.live(wait, lambda: None if job.waits_for else _GATES["sent"].release())
    except (grpc.RpcError, VdbError, RuntimeError, TimeoutError) as error:
        return Played(0.0, 0.0, 0.0, error.details() if isinstance(error, grpc.Call) else repr(error))


def _statistics(job: Job) -> dict[str, Any]:
    if job.spec is None:
        return {}
    spec, terms, seat = parse_spec_json(job.spec[0]), _TERMS[job.spec], job.identity.seat
    clips = len(shard(public_tasks(spec), terms.position(seat), len(terms.seats)))
    return {"lanes": noised_lanes(spec, terms, "benchmark", seat), "clips": clips}


def _park(place: Place, identities: Sequence[Identity], session: str) -> list[float]:
    async def one(channel: grpc.aio.Channel) -> float:
        stream = SessionServiceStub(channel).WatchSession(pb.WatchSessionRequest(session=session), timeout=PATIENCE)
        begun = (await _read(stream)).status.event
        _GATES["parked"].release()
        while True:
            answer = await _read(stream)
            if answer.status.event != begun:
                return time.monotonic()

    async def everybody() -> list[float]:
        async with AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(_channel(place, identity)) for identity in identities]
            return list(await asyncio.gather(*map(one, channels)))

    return asyncio.run(everybody())


async def _read(stream: Any) -> Any:
    """Return the next message of a stream, which must not end."""
    answer = await stream.read()
    if answer is grpc.aio.EOF:
        raise RuntimeError("the watch ended without news")
    return answer


def _call(method: str, job: Job, seconds: float, at_once: int) -> Called:
    taken: list[float] = []
    errors: Counter[str] = Counter()

    async def again_and_again(call: Callable[[], Awaitable[Any]], end: float) -> None:
        while (began := time.monotonic()) < end:
            try:
                await call()
            except grpc.RpcError as error:
                errors[str(error.code())] += 1
            else:
                taken.append(time.monotonic() - began)

    async def run() -> None:
        async with _channel(job.place, job.identity) as channel:
            sessions, health = SessionServiceStub(channel), health_pb2_grpc.HealthStub(channel)
            calls: dict[str, Callable[[], Awaitable[Any]]] = {
                "Check": lambda: health.Check(health_pb2.HealthCheckRequest(), timeout=CALL),
                "GetSession": lambda: sessions.GetSession(pb.GetSessionRequest(session=job.session), timeout=CALL),
                "ListSessions": lambda: sessions.ListSessions(pb.ListSessionsRequest(), timeout=CALL),
                "ReportProgress": lambda: sessions.ReportProgress(
                    pb.ReportProgressRequest(session=job.session, stage="generating", done=1, total=2), timeout=CALL
                ),
            }
            await calls[method]()
            end = time.monotonic() + seconds
            await asyncio.gather(*(again_and_again(calls[method], end) for _ in range(at_once)))

    asyncio.run(run())
    ordered = sorted(taken)
    p99 = ordered[int(0.99 * (len(ordered) - 1))] if ordered else float("inf")
    return Called(len(taken), statistics.median(taken) if taken else float("inf"), p99, dict(errors))


def _channel(place: Place, identity: Identity) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(identity.ca_certificate, identity.tls_key, identity.certificate_chain)
    return grpc.aio.secure_channel(place.address, credentials, options=[("grpc.use_local_subchannel_pool", 1)])
