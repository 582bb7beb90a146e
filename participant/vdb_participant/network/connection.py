"""One mutually authenticated channel to a coordinator, and the discipline of calls on it.

Promises that nothing leaves on it that was not recorded before, that only calls are made again to which nobody answered
(UNAVAILABLE, or CANCELLED by a server that stops), for as long as patience lasts and with a word to people, that a
coordinator which cannot be reached is an error that names the cause, and that our certificate is renewed between calls
without ending one. Leaves what is called to `client.py` and `enrolment.py`, and how a certificate is renewed to
`site/renewal.py`; the first failed call of an impatient connection is reported within ten seconds.

Source: protos/README.md §11.4, §11.5, §11.9.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

import grpc
import structlog

from vdb_participant.network import diagnosis as network
from vdb_participant.network.absence import SETTLED_SECONDS, Absence, Say, unsaid
from vdb_participant.network.answers import is_absence, reason_of, refusal
from vdb_participant.network.proxy import Proxy, proxy_for
from vdb_participant.network.recording import Egress, RecordingChannel, vector_of
from vdb_participant.site.egress_format import Departure
from vdb_participant.site.keys import TlsIdentity
from vdb_shared.errors import FormatError, ProtocolError, UnreachableError, UsageError, VdbError
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import MembershipServiceStub, ProtocolServiceStub
from vdb_shared.wire.versions import CERTIFICATE_RENEWAL, UNSTATED, Agreement, own_offer

FIRST_CALL_SECONDS: Final = 5.0
"""Deadline of a command's first short call, so that its error comes within ten seconds."""

CALL_SECONDS: Final = 60.0
"""Deadline of a short call once the coordinator has answered: it may be busy, but it is there."""

PATIENCE_SECONDS: Final = 300.0
"""How long UNAVAILABLE is retried once the coordinator has answered: it may be restarting."""

PROGRAM: Final = "vdb-participant"

RENEWAL_SECONDS: Final = 3600.0
"""After a renewal that failed, it is tried again no sooner: weeks are left for it."""

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

_GO_ON: Final = "; nothing is lost: run the same command again to go on"
"""What is said of a coordinator that answered before."""

T = TypeVar("T")

_LOG = structlog.get_logger("vdb_participant")


class Renewal(Protocol):
    """Who renews our certificate."""

    def due(self, tls: TlsIdentity) -> bool:
        """Return whether it is time."""

    def renewed(
        self, tls: TlsIdentity, ask: Callable[[pb.RenewCertificateRequest], pb.RenewCertificateResponse]
    ) -> TlsIdentity:
        """Return the identity to show from now on, durably kept."""


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
        renewal: renews our certificate when a call was answered and it is time; nobody by default.
        say: told in a line for people that the coordinator went, that it is still away, and that it is back.
    """

    address: str
    tls: TlsIdentity
    egress: Egress
    patience: float = PATIENCE_SECONDS
    pause: Callable[[float], None] = time.sleep
    find_proxy: Callable[[str, int], Proxy | None] = proxy_for
    renewal: Renewal | None = None
    say: Say = unsaid
    _channel: grpc.Channel | None = None
    _answered: bool = False
    _heard_at: float = 0.0
    _agreement: Agreement | None = None
    _replaced: list[grpc.Channel] = field(default_factory=list)
    _opening: threading.Lock = field(default_factory=threading.Lock)
    _renewing: threading.Lock = field(default_factory=threading.Lock)
    _no_renewal_before: float = 0.0
    _absence: Absence = field(init=False)

    def __post_init__(self) -> None:
        """Begin with a coordinator of which nothing is known."""
        self._absence = Absence(self.address, self.say)

    @property
    def channel(self) -> grpc.Channel:
        """The channel, opened when first used.

        Raises:
            IdentityError: our certificate is not valid now.
            StoreError: that it is opened cannot be recorded.
        """
        with self._opening:
            if self._channel is None:
                self._channel = self._opened()
            return self._channel

    def _opened(self) -> grpc.Channel:
        network.check_own_certificate(self.tls.certificate_chain, datetime.now(UTC))
        proxy = self._proxy
        credentials = grpc.ssl_channel_credentials(
            self.tls.ca_certificate, self.tls.private_key, self.tls.certificate_chain
        )
        self.egress.record(Departure("connection", self.address, f"TLS with our certificate{_through(proxy)}"))
        inner = grpc.secure_channel(self.address, credentials, options=(*_OPTIONS, _route(proxy)))
        return RecordingChannel(inner, self.address, self.egress)

    @property
    def call_seconds(self) -> float:
        """Deadline of the next short call."""
        return CALL_SECONDS if self._answered else FIRST_CALL_SECONDS

    def close(self) -> None:
        """Close the channel, and those that a renewed certificate replaced."""
        with self._opening:
            channels, self._channel, self._replaced = [self._channel, *self._replaced], None, []
        for channel in channels:
            if channel is not None:
                channel.close()

    def agreement(self) -> Agreement:
        """What this program and the coordinator have in common; asked once.

        Raises:
            VdbError: nothing, in the coordinator's words; or it cannot be reached.
        """
        if self._agreement is None:
            self._agreement = self.attempt(self._negotiated)
        return self._agreement

    def renew(self) -> None:
        """Renew our certificate now; calls go on under the new one, those that are open end under the old one.

        Raises:
            UsageError: this coordinator cannot.
            VdbError: it was not renewed; the present one is kept.
        """
        with self._renewing:
            self._renew()

    def announce(self, session: str, attempt: int, masked: bytes) -> None:
        """Record the vector whose parts are about to leave.

        Raises:
            StoreError: it cannot be recorded.
        """
        self.egress.record(vector_of(self.address, session, attempt, masked))

    def attempt(self, call: Callable[[], T], *, patient: bool = True) -> T:
        """Return what a call returns, retrying it for as long as the coordinator is absent and patience lasts.

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
            began = time.monotonic()
            try:
                answer = call()
            except grpc.RpcError as error:
                now = time.monotonic()
                if failing_since is None or self._heard_at > failing_since:
                    failing_since = now
                    if now - began >= SETTLED_SECONDS:
                        pause = FIRST_PAUSE  # not for who answers and breaks off at once: that would keep both busy
                waited = now - failing_since + pause
                if not patient or not self._is_worth_retrying(error, waited):
                    raise self._final(error, patient=patient) from error
                self._tell_absence(error, self.patience - (now - failing_since))
            except FormatError as error:
                raise ProtocolError(f"its answer is malformed: {error}", peer="coordinator") from error
            else:
                self.heard()
                self._renew_if_due()
                return answer
            self.pause(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def heard(self) -> None:
        """Note that the coordinator answers, in the middle of a call that lasts."""
        self._answered, self._heard_at = True, time.monotonic()
        self._absence.answered()

    def _tell_absence(self, error: grpc.RpcError, patience: float) -> None:
        self._absence.failed(patience, (error.details() or "") if reason_of(error) else "")

    def _negotiated(self) -> Agreement:
        ours = own_offer(PROGRAM)
        try:
            answer = ProtocolServiceStub(self.channel).Negotiate(ours.to_wire(), timeout=self.call_seconds)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return Agreement(UNSTATED, frozenset())
            raise
        agreed = Agreement.from_wire(answer)
        if not ours.oldest <= agreed.version <= ours.newest:
            raise FormatError(f"it wants to speak protocol {agreed.version}, we offered {ours.oldest} to {ours.newest}")
        return Agreement(agreed.version, agreed.capabilities & ours.capabilities, agreed.program)

    def _renew_if_due(self) -> None:
        """Renew our certificate if it is time; that this fails is a warning, since the present one is still good."""
        if self.renewal is None or time.monotonic() < self._no_renewal_before or not self.renewal.due(self.tls):
            return
        if not self._renewing.acquire(blocking=False):
            return  # by another thread, or by the calls of a renewal
        try:
            self._renew()
        except VdbError as error:
            self._no_renewal_before = time.monotonic() + RENEWAL_SECONDS
            _LOG.warning("our TLS certificate was not renewed", valid_until=_moment(self.tls), reason=str(error))
        else:
            _LOG.info("our TLS certificate was renewed", valid_until=_moment(self.tls))
        finally:
            self._renewing.release()

    def _renew(self) -> None:
        if self.renewal is None:
            raise RuntimeError("nobody is there who could renew the certificate")
        if CERTIFICATE_RENEWAL not in self.agreement().capabilities:
            ends = self.tls.validity[1].strftime("%Y-%m-%d")
            raise UsageError(
                f"the coordinator at {self.address} speaks protocol {self.agreement().version} and renews no certificates; ask "
                f"the lead to update it, or for a new invitation before {ends}"
            )
        fresh = self.renewal.renewed(self.tls, self._ask_for_certificate)
        if fresh.certificate_chain == self.tls.certificate_chain:
            return
        with self._opening:
            if self._channel is not None:
                self._replaced.append(self._channel)
            self.tls, self._channel = fresh, None

    def _ask_for_certificate(self, request: pb.RenewCertificateRequest) -> pb.RenewCertificateResponse:
        stub = MembershipServiceStub(self.channel)
        return self.attempt(lambda: stub.RenewCertificate(request, timeout=CALL_SECONDS), patient=False)

    def _is_worth_retrying(self, error: grpc.RpcError, waited: float) -> bool:
        if not is_absence(error):
            return False
        return waited <= self.patience and (self._answered or bool(reason_of(error)))

    def _final(self, error: grpc.RpcError, *, patient: bool) -> VdbError:
        """Return the error to end with."""
        late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        if late and (self._answered or not patient):
            return UnreachableError(f"the coordinator at {self.address} did not answer in time; run again")
        if not late and (not is_absence(error) or reason_of(error)):
            return refusal(error)
        self.close()
        network.check_own_certificate(self.tls.certificate_chain, datetime.now(UTC))
        return UnreachableError(f"{self.diagnose(error.details() or '')}{_GO_ON if self._answered else ''}")

    def diagnose(self, detail: str) -> str:
        """Return one line that says why the coordinator cannot be reached.

        Args:
            detail: gRPC's own words, used when nothing else is found.
        """
        return network.diagnose(self._target(), detail)

    def probe(self) -> network.Reached:
        """Return how far one comes towards the coordinator without our certificate."""
        return network.probe(self._target())

    def _target(self) -> network.Target:
        """Return what may be greeted; each greeting is recorded before it leaves."""
        proxy = self._proxy
        departure = Departure("greeting", self.address, f"TLS greeting without our certificate{_through(proxy)}")
        host, port = network.split_address(self.address)
        return network.Target(host, port, self.tls.ca_certificate, lambda: self.egress.record(departure), proxy)

    @property
    def _proxy(self) -> Proxy | None:
        return self.find_proxy(*network.split_address(self.address))


def _route(proxy: Proxy | None) -> tuple[str, int | str]:
    """Return the channel option that makes gRPC take this way and no other, whatever else the environment says."""
    return ("grpc.enable_http_proxy", 0) if proxy is None else ("grpc.http_proxy", proxy.url)


def _moment(tls: TlsIdentity) -> str:
    return tls.validity[1].strftime("%Y-%m-%d %H:%M UTC")


def _through(proxy: Proxy | None) -> str:
    return f", through the proxy {proxy.address}" if proxy else ""
