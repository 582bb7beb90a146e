"""How often a connection may ping: once in ten seconds, twice more than that, and then it is told to calm down and closed.

What pings too often is sent away by gRPC's own default too, but so would be an agent that asks every ten seconds whether the
coordinator is still there: the default allows that every five minutes, and without calls every two hours. So it is looked at
from both sides.

Source: RFC 9113 §6.7, §7 (ENHANCE_YOUR_CALM); protos/README.md §11.7.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.coordinator import CALL, RunningCoordinator, running_coordinator
from testkit.raw_http2 import ENHANCE_YOUR_CALM, PING, RawPeer, frame
from vdb_coordinator.commands import administration
from vdb_coordinator.serving import limits
from vdb_participant.network import connection

APART = 10.0
"""Seconds, as §11.7 promises them."""

FORGIVEN = 2
"""Pings that come too early before one is too many."""


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[RunningCoordinator]:
    with running_coordinator(tmp_path, institutions=1) as running:
        yield running


def ping(peer: RawPeer, count: int) -> None:
    """Ping so often at once, and wait for the answers, or until we are sent away."""
    wanted, end = peer.pongs + count, time.monotonic() + CALL
    peer.send(count * frame(PING, 0, 0, bytes(8)))
    while peer.pongs < wanted and not peer.closed and not peer.dismissed and time.monotonic() < end:
        peer.listen(0.05)


def test_pings_are_answered_every_ten_seconds_and_not_more_often(coordinator: RunningCoordinator) -> None:
    """The one that comes after ten seconds costs nothing, and so does not use up what is forgiven; the next one does."""
    with RawPeer(coordinator.address, coordinator.identities[0]) as peer:
        ping(peer, 1 + FORGIVEN)
        assert (peer.pongs, peer.dismissed) == (1 + FORGIVEN, False)
        peer.listen(APART + 0.3)
        ping(peer, 1)
        assert (peer.pongs, peer.dismissed) == (2 + FORGIVEN, False), "sent away for asking every ten seconds"
        ping(peer, 1)
        peer.listen(CALL)
        assert peer.dismissed
        assert peer.why == ENHANCE_YOUR_CALM
        assert peer.closed
    with RawPeer(coordinator.address, coordinator.identities[0]) as again:
        ping(again, 1)
        assert again.pongs == 1, "a new connection begins anew"


def test_without_the_limit_pings_have_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack that the limit holds off: answers at no cost to whoever asks for them."""
    unlimited = (*limits.OPTIONS, ("grpc.http2.max_ping_strikes", 0))
    monkeypatch.setattr(limits, "OPTIONS", unlimited)
    with (
        running_coordinator(tmp_path, institutions=1) as running,
        RawPeer(running.address, running.identities[0]) as peer,
    ):
        ping(peer, 1000)
        assert (peer.pongs, peer.dismissed) == (1000, False)


@pytest.mark.parametrize(
    "options",
    [limits.OPTIONS, administration._OPTIONS, connection._OPTIONS],
    ids=["coordinator", "lead", "participant"],
)
def test_the_library_knows_every_option_that_is_set(options: tuple[tuple[str, object], ...]) -> None:
    """One that it does not know it ignores without a word."""
    library = importlib.util.find_spec("grpc._cython.cygrpc")
    assert library is not None
    known = Path(str(library.origin)).read_bytes()
    assert [name for name, _ in options if b"%s\0" % name.encode() not in known] == []
