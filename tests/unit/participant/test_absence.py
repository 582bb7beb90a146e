"""A coordinator that stops answering: one line when it went, few while it is away, one when it is back."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.recorded import Recorded
from vdb_participant.network import absence, connection, diagnosis
from vdb_participant.network.absence import QUIET_SECONDS, REMINDER_SECONDS, Absence
from vdb_participant.network.client import Client
from vdb_participant.network.connection import FIRST_PAUSE, LONGEST_PAUSE, Connection
from vdb_participant.site.keys import TlsIdentity
from vdb_shared.errors import UnreachableError
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.status import Phase, SessionStatus

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ADDRESS = "vdb.example.org:7443"


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
    since: float | None = None
    told: list[float] = []
    for pause, answers in calls:
        days.seconds += pause
        before = len(days.said)
        if answers:
            away.answered()
            assert days.said[before:] == [line for line in days.said[-1:] if told and "answers again" in line]
            assert len(days.said) == before + bool(told)
            since, told = None, []
            continue
        since = days.seconds if since is None else since
        away.failed(300)
        due = days.seconds - (told[-1] if told else since) >= (REMINDER_SECONDS if told else QUIET_SECONDS)
        assert len(days.said) == before + due
        if due:
            told.append(days.seconds)


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
            nobody = TlsIdentity(b"", b"", b"")
            reached = Connection(
                f"127.0.0.1:{port}", nobody, Recorded(), pause=pauses.append, say=said.append, _channel=channel
            )
            found = Client(reached).wait("sha256:" + "0" * 64, Phase.PUBLISHED)
    finally:
        server.stop(None)
    assert found.phase is Phase.PUBLISHED
    assert ["does not answer" if "does not answer" in line else "again" for line in said] == [
        "does not answer",  # streams 1, 2, 3
        "again",  # stream 4, which breaks too
        "does not answer",
        "again",
    ]
    assert all(f"127.0.0.1:{port}" in line for line in said)
    assert pauses == sorted(pauses), "whoever breaks streams is not asked faster for it"
    assert (pauses[0], max(pauses) <= LONGEST_PAUSE) == (FIRST_PAUSE, True)


class Gone(grpc.RpcError):
    """What gRPC says where nothing listens."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "nothing there"

    def trailing_metadata(self) -> Any:
        return ()


def test_patience_is_counted_from_the_last_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that was open for an hour after a short absence leaves all of the patience for the next one."""
    seconds = [0.0]
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    reached = Connection(ADDRESS, TlsIdentity(b"", b"", b""), Recorded(), pause=lambda _: None)
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


def test_when_patience_ends_the_error_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for answered in (True, False):
        reached = Connection("127.0.0.1:1", TlsIdentity(b"", b"", b""), Recorded(), patience=-1)
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
