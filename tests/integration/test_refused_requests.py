"""What refused requests leave behind: nothing, whether or not the interpreter looks for cycles."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import grpc
import pytest

from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.refusals import reason_of
from testkit.waiting import until
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire import reasons

LARGE = 2**20
TIMES = 20
AGGREGATION, SESSIONS = "/vdb.v1.AggregationService/", "/vdb.v1.SessionService/"
REFUSED: dict[str, tuple[str, bytes]] = {
    "an upload without a beginning": (
        AGGREGATION + "UploadMaskedInput",
        pb.UploadMaskedInputRequest(chunk=bytes(LARGE)).SerializeToString(),
    ),
    "a session that is not there": (
        SESSIONS + "Join",
        pb.JoinRequest(session="sha256:x", join=bytes(LARGE)).SerializeToString(),
    ),
    "a field too large": (
        SESSIONS + "Countersign",
        pb.CountersignRequest(session="x" * 200, countersignature=bytes(LARGE)).SerializeToString(),
    ),
    "too many fields": (AGGREGATION + "AdvertiseKeys", b"\x12\0" * (LARGE // 2)),
    "too many bytes": (SESSIONS + "ListSessions", pb.JoinRequest(join=bytes(LARGE)).SerializeToString()),
}


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path_factory.mktemp("refused"), institutions=1) as coordinator:
        yield coordinator


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nobody looks for cycles, and what is allocated is counted."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


def alive() -> int:
    """Return how many requests there are in this process."""
    return sum(type(one).__name__.endswith("Request") and hasattr(one, "FromString") for one in gc.get_objects())


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_request_lies_nowhere_once_it_is_refused(
    coordinator: RunningCoordinator, name: str, no_collector: None
) -> None:
    method, data = REFUSED[name]
    with coordinator.channel(coordinator.identities[0]) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)

        def again() -> str | None:
            with pytest.raises(grpc.RpcError) as caught:
                call(data, timeout=CALL)
            return reason_of(caught.value)

        assert again() in (reasons.INVALID, reasons.NO_SUCH_SESSION)
        before, (taken, _) = alive(), tracemalloc.get_traced_memory()
        for _ in range(TIMES):
            again()
        until(lambda: alive() <= before, "requests stay as messages")
        until(lambda: tracemalloc.get_traced_memory()[0] < taken + TIMES * LARGE / 4, "requests stay as bytes")
