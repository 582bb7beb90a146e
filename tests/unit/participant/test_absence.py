"""A coordinator that stops answering: one line when it went, few while it is away, one when it is back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.recorded import Recorded
from vdb_participant.commands.reaching import calls_of
from vdb_participant.network import absence, client, connection, diagnosis
from vdb_participant.network.absence import QUIET_SECONDS, REMINDER_SECONDS, SETTLED_SECONDS, Absence
from vdb_participant.network.client import Client
from vdb_participant.network.connection import FIRST_PAUSE, LONGEST_PAUSE, Connection
from vdb_participant.offline import relay
from vdb_participant.offline.channel import WATCH
from vdb_participant.offline.files import Call
from vdb_participant.offline.relay import Relay, _Calling
from vdb_participant.site.keys import TlsIdentity
from vdb_shared.errors import UnreachableError
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.status import Phase, SessionStatus

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ADDRESS = "vdb.example.org:7443"
NOBODY = TlsIdentity(b"", b"", b"")


@dataclass
class Days:
    """An absence, its clocks, and what was said."""

    seconds: float = 0.0
    said: list[str] = field(default_factory=list)

    def absence(self) -> Absence:
        return Absence(ADDRESS, self.said.append, lambda: self.seconds, lambda: NOON + timedelta(seconds=self.seconds))


def test_a_person_is_told_who_is_away_since_when_until_when_it_is_asked_and_that_nothing_is_lost() -> None:
    days = Days(3.0)
    away = days.absence()
    away.failed(300)
    days.seconds += 7.0
    away.failed(293)
    assert days.said == [
        f"the coordinator at {ADDRESS} does not answer since 12:00:03; nothing is lost, and this agent goes on asking until "
        "12:05:03 (after that, run the same command again)"
    ]
    days.seconds += 30.0
    away.answered()
    assert days.said[1:] == [f"the coordinator at {ADDRESS} answers again (12:00:40, after 37 s); going on"]


def test_a_coordinator_that_is_there_and_cannot_serve_is_quoted() -> None:
    days = Days()
    away = days.absence()
    away.failed(300, "the disk is full")
    days.seconds = QUIET_SECONDS
    away.failed(298, "the disk is full")
    assert "cannot serve us (the disk is full) since 12:00:00" in days.said[0]


@given(st.lists(st.tuples(st.floats(0.01, 60), st.booleans()), max_size=200))
def test_whatever_comes_there_is_no_line_for_each_try(calls: list[tuple[float, bool]]) -> None:
    """One when it went, reminders far apart, one when it is back; none for a moment's absence."""
    days = Days()
    away = days.absence()
    first: float | None = None  # failure of this absence
    back: float | None = None  # first answer since the last failure
    gone: list[float] = []
    for pause, answers in calls:
        days.seconds += pause
        before, told_away = len(days.said), bool(days.said) and "answers again" not in days.said[-1]
        if answers:
            away.answered()
            back = days.seconds if back is None else back
            assert len(days.said) - before <= told_away
            assert all("answers again" in line for line in days.said[before:])
            if days.said and days.seconds - back >= SETTLED_SECONDS:
                assert "answers again" in days.said[-1], "what was said last is true"
            continue
        if first is None or (back is not None and days.seconds - back >= SETTLED_SECONDS):
            first, gone = days.seconds, []
        back = None
        away.failed(300)
        due = days.seconds - (gone[-1] if gone else first) >= (REMINDER_SECONDS if gone else QUIET_SECONDS)
        assert len(days.said) == before + due
        if due:
            gone.append(days.seconds)


def test_who_answers_and_breaks_off_over_and_over_is_told_and_is_not_said_to_be_back_each_time() -> None:
    days = Days()
    away = days.absence()
    for _ in range(600):
        away.failed(300)
        days.seconds += 0.5
        away.answered()
        days.seconds += 0.5
    assert ["answers and breaks off again since 12:00:00" in line for line in days.said] == [True] * 5
    days.seconds += SETTLED_SECONDS
    away.answered()
    assert days.said[5:] == [f"the coordinator at {ADDRESS} answers again (12:10:05, after 10 min); going on"]
    away.failed(300)
    days.seconds += QUIET_SECONDS
    away.failed(300)
    assert "does not answer since 12:10:05" in days.said[6], "another absence"


def test_lines_of_two_threads_stand_in_their_order() -> None:
    """While one thread says that it is away, another one that was answered waits until that is said."""
    days = Days()
    away = days.absence()
    away.failed(300)
    days.seconds = QUIET_SECONDS
    asked: list[Future[None]] = []
    with ThreadPoolExecutor(1) as other:

        def slow(line: str) -> None:
            away.say = days.said.append
            asked.append(other.submit(away.answered))
            with pytest.raises(TimeoutError):
                asked[0].result(timeout=0.2)
            days.said.append(line)

        away.say = slow
        away.failed(300)
        asked[0].result()
    assert ["answers again" in line for line in days.said] == [False, True]


class Restarting(grpc.GenericRpcHandler):
    """A coordinator whose streams break after their first status, until it is told to publish."""

    def __init__(self) -> None:
        self.opened = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_stream_rpc_method_handler(
            self._watch, pb.WatchSessionRequest.FromString, pb.WatchSessionResponse.SerializeToString
        )

    def _watch(self, request: pb.WatchSessionRequest, context: Any) -> Iterator[pb.WatchSessionResponse]:
        self.opened += 1
        if self.opened in {2, 3}:
            context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
        phase = Phase.PUBLISHED if self.opened > 4 else Phase.ACCEPTING
        yield pb.WatchSessionResponse(status=convert.status_to_wire(SessionStatus(phase, 1, "", ())))
        if self.opened in {1, 4}:
            context.abort(grpc.StatusCode.UNAVAILABLE, "going away")


def test_who_waits_hears_that_it_went_and_that_it_is_back_before_anything_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stream that is opened anew lasts until something happens, perhaps for hours: its first status is an answer."""
    monkeypatch.setattr(absence, "QUIET_SECONDS", 0.0)
    said: list[str] = []
    pauses: list[float] = []
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Restarting()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            reached = Connection(
                f"127.0.0.1:{port}", NOBODY, Recorded(), pause=pauses.append, say=said.append, _channel=channel
            )
            found = Client(reached).wait("sha256:" + "0" * 64, Phase.PUBLISHED)
    finally:
        server.stop(None)
    assert found.phase is Phase.PUBLISHED
    assert ["does not answer" if "does not answer" in line else "again" for line in said] == [
        "does not answer",  # streams 1, 2, 3
        "again",  # stream 4, which breaks too, and is not told apart from the absence before
    ]
    assert all(f"127.0.0.1:{port}" in line for line in said)
    assert pauses == sorted(pauses), "whoever breaks streams is not asked faster for it"
    assert (pauses[0], max(pauses) <= LONGEST_PAUSE) == (FIRST_PAUSE, True)


class Silent(grpc.GenericRpcHandler):
    """A coordinator, or what stands before it, that opens streams and sends nothing, until the fourth."""

    def __init__(self) -> None:
        self.opened = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_stream_rpc_method_handler(
            self._watch, pb.WatchSessionRequest.FromString, pb.WatchSessionResponse.SerializeToString
        )

    def _watch(self, request: pb.WatchSessionRequest, context: Any) -> Iterator[pb.WatchSessionResponse]:
        self.opened += 1
        over = threading.Event()
        if self.opened < 4 and context.add_callback(over.set):
            over.wait()
            return
        status = SessionStatus(Phase.PUBLISHED, 1, "", ())
        yield pb.WatchSessionResponse(status=convert.status_to_wire(status))


def by_the_agent(reached: Connection) -> None:
    assert Client(reached).wait("sha256:" + "0" * 64, Phase.PUBLISHED).phase is Phase.PUBLISHED


def by_the_relay(reached: Connection) -> None:
    at_work = Relay(cast(Any, None), Path())
    at_work._connection = reached
    call = Call(WATCH, (pb.WatchSessionRequest(session="sha256:" + "0" * 64).SerializeToString(),))
    reply = _Calling(at_work, cast(Any, SimpleNamespace(cosigned=0)))._watched(call, None)
    assert pb.WatchSessionResponse.FromString(reply.parts[0]).status.phase == int(Phase.PUBLISHED)


@pytest.mark.parametrize("wait", [by_the_agent, by_the_relay])
@pytest.mark.parametrize("patience", [300.0, -1.0])
def test_a_stream_in_which_nothing_came_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, patience: float, wait: Callable[[Connection], None]
) -> None:
    """Its own deadline passes: that is an absence, which is told and ends with patience."""
    monkeypatch.setattr(absence, "QUIET_SECONDS", 0.0)
    monkeypatch.setattr(client, "WATCH_SECONDS", 0.2)
    monkeypatch.setattr(relay, "WATCH_SECONDS", 0.2)
    monkeypatch.setattr(Connection, "diagnose", lambda _, detail: detail)
    monkeypatch.setattr(diagnosis, "check_own_certificate", lambda *_: None)
    said: list[str] = []
    server = grpc.server(ThreadPoolExecutor(4), handlers=[Silent()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            reached = Connection(
                ADDRESS, NOBODY, Recorded(), patience, lambda _: None, say=said.append, _channel=channel
            )
            reached.attempt(lambda: None)
            if patience > 0:
                wait(reached)
            else:
                with pytest.raises(UnreachableError, match="it takes connections and sends nothing; nothing is lost"):
                    wait(reached)
    finally:
        server.stop(None)
    kinds = ["does not answer" if "does not answer" in line else "again" for line in said]
    assert kinds == (["does not answer", "again"] if patience > 0 else [])


class Gone(grpc.RpcError):
    """What gRPC says where nothing listens."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "nothing there"

    def trailing_metadata(self) -> Any:
        return ()


def test_patience_is_counted_from_the_last_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that was open for an hour after a short absence leaves all of the patience for the next one, from the start."""
    seconds = [0.0]
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    pauses: list[float] = []
    reached = Connection(ADDRESS, NOBODY, Recorded(), pause=pauses.append)
    reached.attempt(lambda: None)
    tries: list[float] = []

    def broken() -> str:
        tries.append(seconds[0])
        if len(tries) == 1:
            raise Gone
        if len(tries) == 2:
            seconds[0] += 1
            reached.heard()
            seconds[0] += 3600
            raise Gone
        return "answer"

    seconds[0] = 1.0
    assert reached.attempt(broken) == "answer"
    assert len(tries) == 3
    assert pauses == [FIRST_PAUSE, FIRST_PAUSE]


def test_when_patience_ends_the_error_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for answered in (True, False):
        reached = Connection("127.0.0.1:1", NOBODY, Recorded(), patience=-1)
        monkeypatch.setattr(Connection, "diagnose", lambda *_: "cannot reach it")
        monkeypatch.setattr(diagnosis, "check_own_certificate", lambda *_: None)
        if answered:
            reached.attempt(lambda: None)

        def gone() -> None:
            raise Gone

        with pytest.raises(UnreachableError) as caught:
            reached.attempt(gone)
        rest = "; nothing is lost: run the same command again to go on" if answered else ""
        assert str(caught.value) == f"cannot reach it{rest}"


def test_a_command_that_looks_or_leaves_says_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absence, "QUIET_SECONDS", 0.0)
    said: list[str] = []
    site = SimpleNamespace(config=SimpleNamespace(address=ADDRESS), tls=NOBODY, egress=Recorded())
    calls = calls_of(cast(Any, site), None, said.append)
    assert isinstance(calls, Connection)
    calls.pause = lambda _: None
    calls.attempt(lambda: None)
    failures = [Gone()]

    def gone() -> None:
        while failures:
            raise failures.pop()

    calls.attempt(gone)
    assert ["answers again" in line for line in said] == [False, True]
