"""How calls to a coordinator are made: the seam between what is called and the way it takes.

`connection.py` makes them over gRPC with mutual TLS, `offline/channel.py` as files that are carried. Leaves what is called to
`client.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import grpc

T = TypeVar("T")


class Calls(Protocol):
    """A channel, and the discipline of calls on it."""

    @property
    def channel(self) -> grpc.Channel:
        """The channel, opened when first used; every message on it is recorded before it leaves."""

    @property
    def call_seconds(self) -> float:
        """Deadline of the next short call."""

    @property
    def pause(self) -> Callable[[float], None]:
        """Sleeps before the same is asked again."""

    def close(self) -> None:
        """Close the channel."""

    def announce(self, session: str, attempt: int, masked: bytes) -> None:
        """Record the vector whose parts are about to leave."""

    def heard(self) -> None:
        """Note that the coordinator answers, in the middle of a call that lasts."""

    def attempt(self, call: Callable[[], T], *, patient: bool = True) -> T:
        """Return what a call returns, or raise what went wrong in the one tree of errors."""
