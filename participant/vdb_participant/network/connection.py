"""One mutually authenticated channel to a coordinator, and the discipline of calls on it.

Promises that nothing leaves on it that was not recorded before, that only UNAVAILABLE is retried, for as long as patience
lasts, and that a coordinator which cannot be reached is an error that names the cause. Leaves what is called to `client.py` and
`enrolment.py`; the first failed call of an impatient connection is reported within ten seconds.

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
from vdb_participant.network.proxy import Proxy, proxy_for
from vdb_participant.network.recording import Egress, RecordingChannel, vector_of
from vdb_participant.site.egress_format import Departure
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
        egress: where every message is recorded before it leaves.
        patience: seconds for which UNAVAILABLE is retried, once the coordinator has answered; before that it is not.
        pause: sleeps; a parameter so that tests need not wait.
        find_proxy: from host and port to the proxy in between, if any; the environment's unless a test says otherwise.
    """

    address: str
    tls: TlsIdentity
    egress: Egress
    patience: float = PATIENCE_SECONDS
    pause: Callable[[float], None] = time.sleep
    find_proxy: Callable[[str, int], Proxy | None] = proxy_for
    _channel: grpc.Channel | None = None
    _answered: bool = False

    @property
    def channel(self) -> grpc.Channel:
        """The channel, opened when first used.

        Raises:
            IdentityError: our certificate is not valid now.
            StoreError: that it is opened cannot be recorded.
        """
        if self._channel is None:
            network.check_own_certificate(self.tls.certificate_chain, datetime.now(UTC))
            proxy = self._proxy
            credentials = grpc.ssl_channel_credentials(
                self.tls.ca_certificate, self.tls.private_key, self.tls.certificate_chain
            )
            self.egress.record(Departure("connection", self.address, f"TLS with our certificate{_through(proxy)}"))
            inner = grpc.secure_channel(self.address, credentials, options=(*_OPTIONS, _route(proxy)))
            self._channel = RecordingChannel(inner, self.address, self.egress)
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

    def announce(self, session: str, attempt: int, masked: bytes) -> None:
        """Record the vector whose parts are about to leave.

        Raises:
            StoreError: it cannot be recorded.
        """
        self.egress.record(vector_of(self.address, session, attempt, masked))

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
                    raise self._final(error, patient=patient) from error
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

    def _final(self, error: grpc.RpcError, *, patient: bool) -> VdbError:
        """Return the error to end with."""
        late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        if late and (self._answered or not patient):
            return UnreachableError(f"the coordinator at {self.address} did not answer in time; run again")
        if not late and (error.code() is not grpc.StatusCode.UNAVAILABLE or reason_of(error)):
            return refusal(error)
        self.close()
        network.check_own_certificate(self.tls.certificate_chain, datetime.now(UTC))
        return UnreachableError(self.diagnose(error.details() or ""))

    def diagnose(self, detail: str) -> str:
        """Return one line that says why the coordinator cannot be reached.

        Args:
            detail: gRPC's own words, used when nothing else is found.
        """
        return network.diagnose(self._greeted(), detail)

    def probe(self) -> network.Reached:
        """Return how far one comes towards the coordinator without our certificate."""
        return network.probe(self._greeted())

    def _greeted(self) -> network.Target:
        """Return what is about to be greeted, after that was recorded."""
        proxy = self._proxy
        words = f"TLS greeting without our certificate{_through(proxy)}"
        self.egress.record(Departure("greeting", self.address, words))
        host, port = network.split_address(self.address)
        return network.Target(host, port, self.tls.ca_certificate, proxy)

    @property
    def _proxy(self) -> Proxy | None:
        return self.find_proxy(*network.split_address(self.address))


def _route(proxy: Proxy | None) -> tuple[str, int | str]:
    """Return the channel option that makes gRPC take this way and no other, whatever else the environment says."""
    return ("grpc.enable_http_proxy", 0) if proxy is None else ("grpc.http_proxy", proxy.url)


def _through(proxy: Proxy | None) -> str:
    return f", through the proxy {proxy.address}" if proxy else ""
