"""Messages that come twice, late, from another session or from somebody else: whole sessions of members under each of them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from testkit.coordinator import CALL, Identity, RunningCoordinator, running_coordinator
from testkit.faults.crew import MEMBERS, SPEC, Crew
from testkit.faults.outcomes import Outcome
from vdb_shared.wire import federation_pb2 as pb

PART: Final = "messages"

SUBMISSIONS: Final = (
    "Join",
    "AdvertiseKeys",
    "ShareKeys",
    "UploadMaskedInput",
    "SignConsistency",
    "RevealShares",
    "Countersign",
)
FAULTS: Final = (
    "every call is made twice at once",
    "answers are lost",
    "messages of another session, in every phase",
    "messages under another's certificate",
)
_FAULTY: Final = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNIMPLEMENTED)
"""What an error of the program looks like; a refusal has another code."""

Continuation = Callable[[Any, Any], Any]


class LostAnswerError(grpc.RpcError):
    """An answer that never came: what the library makes of a connection that breaks."""

    def code(self) -> grpc.StatusCode:
        """Return UNAVAILABLE."""
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        """Return words."""
        return "the answer was lost"

    def trailing_metadata(self) -> tuple[()]:
        """Return nothing."""
        return ()


@dataclass
class Tampering(grpc.UnaryUnaryClientInterceptor, grpc.StreamUnaryClientInterceptor):
    """Passes calls on, and does something to them before or after; that does nothing yet.

    Attributes:
        done: how often it did something.
        broken: what was done and should have been refused.
    """

    done: int = 0
    broken: list[str] = field(default_factory=list)

    def intercept_unary_unary(self, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
        """Tamper with a call of one message."""
        return self.tamper(continuation, client_call_details, lambda: request)

    def intercept_stream_unary(
        self, continuation: Continuation, client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Tamper with a call of many messages."""
        messages = list(request_iterator)
        return self.tamper(continuation, client_call_details, lambda: iter(messages))

    def tamper(self, continuation: Continuation, details: Any, request: Callable[[], Any]) -> Any:
        """Return the answer of a call."""
        return continuation(details, request())


class Twice(Tampering):
    """Makes every call twice, both at once."""

    def tamper(self, continuation: Continuation, details: Any, request: Callable[[], Any]) -> Any:
        """Return the answer of the second."""
        self.done += 1
        first = threading.Thread(target=lambda: continuation(details, request()).exception())
        first.start()
        answer = continuation(details, request())
        first.join()
        return answer


class Losing(Tampering):
    """Loses every other answer."""

    def tamper(self, continuation: Continuation, details: Any, request: Callable[[], Any]) -> Any:
        """Return the answer, or lose it."""
        answer = continuation(details, request())
        if answer.exception() is None and random.random() < 0.5:  # noqa: S311 (which one is lost matters to nobody)
            self.done += 1
            raise LostAnswerError
        return answer


@dataclass
class Recording(Tampering):
    """Keeps what is submitted."""

    kept: list[tuple[str, list[Any]]] = field(default_factory=list)

    def intercept_unary_unary(self, continuation: Continuation, client_call_details: Any, request: Any) -> Any:
        """Keep a message."""
        self._keep(client_call_details.method, [request])
        return continuation(client_call_details, request)

    def intercept_stream_unary(
        self, continuation: Continuation, client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Keep the messages of an upload."""
        messages = list(request_iterator)
        self._keep(client_call_details.method, messages)
        return continuation(client_call_details, iter(messages))

    def _keep(self, method: str, messages: list[Any]) -> None:
        if method.rpartition("/")[2] in SUBMISSIONS:
            self.kept.append((method, messages))


@dataclass
class Stealing(Recording):
    """Lets somebody else submit whatever a member submits, before it does.

    Attributes:
        thief: the other's channel.
    """

    thief: grpc.Channel | None = None

    def _keep(self, method: str, messages: list[Any]) -> None:
        if method.rpartition("/")[2] in SUBMISSIONS and self.thief is not None:
            self.done += 1
            self.broken += accepted(self.thief, method, messages)


def accepted(channel: grpc.Channel, method: str, messages: Sequence[Any]) -> Iterator[str]:
    """Yield a sentence if messages are not refused that must be, or by an error of the program."""
    answer = getattr(pb, f"{method.rpartition('/')[2]}Response")
    serialise = type(messages[0]).SerializeToString
    try:
        if method.endswith("UploadMaskedInput"):
            channel.stream_unary(method, serialise, answer.FromString)(iter(messages), timeout=CALL)
        else:
            channel.unary_unary(method, serialise, answer.FromString)(messages[0], timeout=CALL)
    except grpc.RpcError as error:
        if error.code() in _FAULTY:
            yield f"{method}: {error.code().name}: {error.details()}"
        return
    yield f"{method} of somebody else was accepted"


@dataclass
class Between:
    """A coordinator whose channels are tampered with; implements Reachable."""

    coordinator: RunningCoordinator
    tampering: Callable[[Identity], Tampering]

    def channel(self, identity: Identity) -> grpc.Channel:
        """Return a new channel of an institution."""
        return grpc.intercept_channel(self.coordinator.channel(identity), self.tampering(identity))


def suffer(fault: str, folder: Path) -> Outcome:
    """Return what becomes of a session under a fault."""
    outcome = Outcome(PART, fault, ended="published")
    with running_coordinator(folder, MEMBERS) as coordinator:
        first, second = (coordinator.admin.create_session(SPEC) for _ in range(2))
        if fault == FAULTS[2]:
            done = _foreign(coordinator, first, second, outcome)
        else:
            done = _tampered(coordinator, fault, second, outcome)
    if not done:
        outcome.broken.append("nothing was done to any message")
    return outcome


def _tampered(coordinator: RunningCoordinator, fault: str, session: str, outcome: Outcome) -> int:
    thief = coordinator.channel(coordinator.identities[-1])
    kinds: dict[str, Callable[[Identity], Tampering]] = {
        FAULTS[0]: lambda _: Twice(),
        FAULTS[1]: lambda _: Losing(),
        FAULTS[3]: lambda one: Stealing(thief=thief) if one is not coordinator.identities[-1] else Tampering(),
    }
    made: list[Tampering] = []

    def tampering(identity: Identity) -> Tampering:
        made.append(kinds[fault](identity))
        return made[-1]

    with thief, Crew(Between(coordinator, tampering), coordinator.identities, session) as crew:
        _conclude(coordinator, crew, outcome)
    outcome.broken += [words for one in made for words in one.broken]
    return sum(one.done for one in made)


def _foreign(coordinator: RunningCoordinator, first: str, second: str, outcome: Outcome) -> int:
    """Play one session, and send all its messages to another one again and again, until that has ended."""
    kept: dict[str, Recording] = {one.institution: Recording() for one in coordinator.identities}
    with Crew(Between(coordinator, lambda one: kept[one.institution]), coordinator.identities, first) as crew:
        _, broken = crew.finish()
        outcome.broken += broken
    rounds = 0
    with Crew(coordinator, coordinator.identities, second) as crew:
        while not crew.ended:
            for identity in coordinator.identities:
                with coordinator.channel(identity) as channel:
                    for method, messages in kept[identity.institution].kept:
                        outcome.broken += accepted(channel, method, [moved(one, second) for one in messages])
            rounds += 1
        _conclude(coordinator, crew, outcome)
    return rounds


def moved(message: Any, session: str) -> Any:
    """Return a message that names another session."""
    copy = type(message)()
    copy.CopyFrom(message)
    if isinstance(copy, pb.UploadMaskedInputRequest):
        if copy.HasField("start"):
            copy.start.session = session
    else:
        copy.session = session
    return copy


def _conclude(coordinator: RunningCoordinator, crew: Crew, outcome: Outcome) -> None:
    bundle, broken = crew.finish()
    outcome.broken += broken
    coordinator.stop()
    if bundle is not None:
        outcome.broken += crew.compare(coordinator, bundle)
