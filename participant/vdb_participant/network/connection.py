"""One mutually authenticated channel to a coordinator, and the discipline of calls on it.

Promises that only UNAVAILABLE is retried, for as long as patience lasts, and that a coordinator which cannot be reached is an
error that names the cause. Leaves what is called to `client.py` and `enrolment.py`; the first failed call of an impatient
connection is reported within ten seconds.

Source: protos/README.md §11.4, §11.5.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

import grpc

from vdb_participant.network import diagnosis as network
from vdb_participant.network.answers import reason_of, refusal
from vdb_participant.site.keys import TlsIdentity
from vdb_shared.errors import FormatError, ProtocolError, UnreachableError, VdbError
from vdb_shared.wire import convert

FIRST_CALL_SECONDS: Final = 5.0
"""Deadline of a command's first short call, so that its error comes within ten seconds."""

CALL_SECONDS: Final = 60.0
"""Deadline of a short call once the coordinator has answered: it may be busy, but it is there."""

PATIENCE_SECONDS: Final = 300.0
"""How long UNAVAILABLE is retried once the coordinator has answered: it may be restarting."""

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 5.0

_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", convert.MAX_MESSAGE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),
)

T = TypeVar("T")


@dataclass(slots=True)
class Connection:
    """One channel to a coordinator, and how calls on it are made.

    Attributes:
        address: host:port.
        tls: what we show and trust.
        patience: seconds for which UNAVAILABLE is retried, once the coordinator has answered; before that it is not.
        pause: sleeps; a parameter so that tests need not wait.
    """

    address: str
    tls: TlsIdentity
    patience: float = PATIENCE_SECONDS
    pause: Callable[[float], None] = time.sleep
    _channel: grpc.Channel | None = None
    _answered: bool = False

    @property
    def channel(self) -> grpc.Channel:
        """The channel, opened when first used.

        Raises:
            IdentityError: our certificate is not valid now.
        """
        if self._channel is None:
            network.check_own_certificate(self.tls.certificate_chain, datetime.now(UTC))
            network.split_address(self.address)
            credentials = grpc.ssl_channel_credentials(
                self.tls.ca_certificate, self.tls.private_key, self.tls.certificate_chain
            )
            self._channel = grpc.secure_channel(self.address, credentials, options=_OPTIONS)
        return self._channel

    @property
    def call_seconds(self) -> float:
        """Deadline of the next short call."""
        return CALL_SECONDS if self._answered else FIRST_CALL_SECONDS

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def attempt(self, call: Callable[[], T], *, patient: bool = True) -> T:
        """Return what a call returns, retrying it for as long as it is UNAVAILABLE and patience lasts.

        Args:
            call: the call.
            patient: whether to retry at all; not for what work must not wait for.

        Raises:
            UnreachableError: names address, likely cause and fix.
            VdbError: what the coordinator refuses, in its words.
        """
        failing_since: float | None = None
        pause = FIRST_PAUSE
        while True:
            try:
                answer = call()
            except grpc.RpcError as error:
                failing_since = time.monotonic() if failing_since is None else failing_since
                waited = time.monotonic() - failing_since + pause
                if not patient or not self._is_worth_retrying(error, waited):
                    raise self._final(error) from error
            except FormatError as error:
                raise ProtocolError(f"its answer is malformed: {error}", peer="coordinator") from error
            else:
                self._answered = True
                return answer
            self.pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _is_worth_retrying(self, error: grpc.RpcError, waited: float) -> bool:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            return False
        return waited <= self.patience and (self._answered or bool(reason_of(error)))

    def _final(self, error: grpc.RpcError) -> VdbError:
        """Return the error to end with."""
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return UnreachableError(f"the coordinator at {self.address} did not answer in time; run again")
        if error.code() is not grpc.StatusCode.UNAVAILABLE or reason_of(error):
            return refusal(error)
        self.close()
        network.check_own_certificate(self.tls.certificate_chain, datetime.now(UTC))
        return UnreachableError(network.diagnose(self.address, self.tls.ca_certificate, error.details() or ""))
