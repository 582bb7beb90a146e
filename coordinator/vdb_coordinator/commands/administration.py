"""A lead's side of the admin service: what the commands of `cli.py` call.

Promises that only the server process writes the database, and that a server which does not run is one clear line. Uses the
lead's certificate in the coordinator's directory.

Source: protos/README.md §11.1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self, TypeVar

import grpc

from vdb_coordinator.commands.stating import stating
from vdb_coordinator.config import Home, split_address
from vdb_coordinator.files import read_file
from vdb_coordinator.identity.keys import key_pem, read_tls_key
from vdb_shared.errors import SessionAbortedError, UnreachableError, UsageError
from vdb_shared.identity import StatementPublicKey
from vdb_shared.spec import Spec
from vdb_shared.transparency.proof import parse_proof
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import AdminServiceStub, LogServiceStub, SessionServiceStub
from vdb_shared.wire.spoken import doing, ended
from vdb_shared.wire.status import Phase, Said, SessionDetails, SessionStatus, SessionSummary

CALL_SECONDS: Final = 10.0
TRANSFER_SECONDS: Final = 300.0
WATCH_SECONDS: Final = 300.0
"""A watch is renewed after this long; nobody notices."""

RECONNECT_SECONDS: Final = 60.0
"""How long a watch waits for a coordinator that went away while it watched."""

_PAUSE_SECONDS: Final = 0.5
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", convert.MAX_MESSAGE_BYTES),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EnrolmentLine:
    """One line of the list of enrolments; `seat` is None and `certificate_expires` "" until approved."""

    institution: str
    state: str
    fingerprint: str
    seat: int | None
    expires: str
    certificate_expires: str = ""


class Administration:
    """A connection to the coordinator that serves a directory."""

    def __init__(self, home: Home, passphrase: bytes | None) -> None:
        """Prepare a connection; nothing is sent yet.

        Raises:
            UsageError, IdentityError: the directory, or the lead's key or certificate in it, cannot be read.
        """
        self._home = home
        self._address = bound_address(home)
        authority = read_file(home.ca_certificate)
        key = key_pem(read_tls_key(home.key("admin"), passphrase), None)
        credentials = grpc.ssl_channel_credentials(authority, key, read_file(home.admin_certificate) + authority)
        self._channel = grpc.secure_channel(self._address, credentials, options=_OPTIONS)
        stated = stating(self._channel)
        self._admin = AdminServiceStub(stated)
        self._sessions = SessionServiceStub(stated)
        self._log = LogServiceStub(stated)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def invite(self, institution: str) -> bytes:
        """Return a new invitation file."""
        request = pb.InviteInstitutionRequest(institution=institution)
        return self._call(lambda: self._admin.InviteInstitution(request, timeout=CALL_SECONDS)).invitation

    def enrolments(self) -> list[EnrolmentLine]:
        """Return all invitations and what became of them."""
        answer = self._call(lambda: self._admin.ListEnrolments(pb.ListEnrolmentsRequest(), timeout=CALL_SECONDS))
        return [
            EnrolmentLine(
                institution=item.institution,
                state=pb.EnrolmentState.Name(item.state).removeprefix("ENROLMENT_STATE_").lower(),
                fingerprint=item.fingerprint,
                seat=item.seat if item.HasField("seat") else None,
                expires=item.expires,
                certificate_expires=item.certificate_expires,
            )
            for item in answer.enrolments
        ]

    def approve(self, institution: str, fingerprint: str) -> tuple[int, int]:
        """Make an institution a member; return its seat and the roster's version."""
        request = pb.ApproveEnrolmentRequest(institution=institution, fingerprint=fingerprint)
        answer = self._call(lambda: self._admin.ApproveEnrolment(request, timeout=CALL_SECONDS))
        return answer.seat, answer.roster_version

    def revoke(self, institution: str, reason: Literal["compromised", "left"], note: str) -> tuple[str, int]:
        """End a membership for good; return the key id that was revoked and the roster's version."""
        code = pb.RevocationReason.Value(f"REVOCATION_REASON_{reason.upper()}")
        request = pb.RevokeInstitutionRequest(institution=institution, reason=code, note=note)
        answer = self._call(lambda: self._admin.RevokeInstitution(request, timeout=CALL_SECONDS))
        return answer.fingerprint, answer.roster_version

    def admit_auditor(self, name: str, key: StatementPublicKey) -> int:
        """Put an auditor's key into the roster; return the roster's version."""
        request = pb.AdmitAuditorRequest(name=name, statement_key=key.raw)
        return self._call(lambda: self._admin.AdmitAuditor(request, timeout=CALL_SECONDS)).roster_version

    def create_session(self, spec: Spec, supersedes: str = "") -> str:
        """Open a session, perhaps to replace the result of an earlier one, and return its id."""
        request = pb.CreateSessionRequest(spec=spec.canonical(), supersedes=supersedes)
        return self._call(lambda: self._admin.CreateSession(request, timeout=TRANSFER_SECONDS)).session

    def abort_session(self, session: str, reason: str) -> None:
        """End a session without a result."""
        request = pb.AbortSessionRequest(session=session, reason=reason)
        self._call(lambda: self._admin.AbortSession(request, timeout=CALL_SECONDS))

    def withdraw_result(self, session: str, reason: str, superseded_by: str = "") -> bytes:
        """Withdraw a published result and return the coordinator's statement."""
        request = pb.WithdrawResultRequest(session=session, reason=reason, superseded_by=superseded_by)
        return self._call(lambda: self._admin.WithdrawResult(request, timeout=CALL_SECONDS)).withdrawal

    def propose(self, request: pb.ProposeActionRequest) -> bytes:
        """Write down what is to be signed; return the proposal's bytes."""
        return self._call(lambda: self._admin.ProposeAction(request, timeout=CALL_SECONDS)).proposal

    def proposals(self) -> list[pb.Proposal]:
        """Return what waits for signatures."""
        request = pb.ListProposalsRequest()
        return list(self._call(lambda: self._admin.ListProposals(request, timeout=CALL_SECONDS)).proposals)

    def approve_proposal(self, proposal: bytes, name: str, signature: bytes) -> tuple[int, int]:
        """Hand in somebody's signature of a proposal (its SHA-256); return how many have signed, and how many must."""
        request = pb.ApproveProposalRequest(proposal=proposal, name=name, signature=signature)
        answer = self._call(lambda: self._admin.ApproveProposal(request, timeout=CALL_SECONDS))
        return answer.approved, answer.needed

    def execute(self, proposal: bytes) -> str:
        """Do what enough people have signed; return what was done."""
        request = pb.ExecuteProposalRequest(proposal=proposal)
        return self._call(lambda: self._admin.ExecuteProposal(request, timeout=TRANSFER_SECONDS)).outcome

    def carry_objection(self, session: str, objection: bytes) -> int:
        """Hand in what a member signed and return its place in the log."""
        request = pb.ObjectRequest(session=session, objection=objection)
        answer = self._call(lambda: self._log.Object(request, timeout=CALL_SECONDS))
        return parse_proof(answer.proof).index

    def said(self, session: str) -> Said:
        """Return what was said of a result since it was published."""
        request = pb.GetObjectionsRequest(session=session)
        return convert.said_from_wire(self._call(lambda: self._log.GetObjections(request, timeout=CALL_SECONDS)))

    def sessions(self) -> list[SessionSummary]:
        """Return all sessions, oldest first."""
        answer = self._call(lambda: self._sessions.ListSessions(pb.ListSessionsRequest(), timeout=CALL_SECONDS))
        return [convert.summary_from_wire(item) for item in answer.sessions]

    def details(self, session: str) -> SessionDetails:
        """Return a session; a unique prefix of its id will do."""
        request = pb.GetSessionRequest(session=session)
        return convert.details_from_wire(self._call(lambda: self._sessions.GetSession(request, timeout=CALL_SECONDS)))

    def watch(self, session: str) -> Iterator[SessionStatus]:
        """Yield the status at every change until the session has ended; survives a restart of the coordinator."""
        seen = self.details(session).status
        yield seen
        lost_since: float | None = None
        while not seen.phase.ended:
            try:
                for status in self._stream(session):
                    lost_since = None
                    if status != seen:
                        seen = status
                        yield status
            except UnreachableError:
                lost_since = lost_since or time.monotonic()
                if time.monotonic() - lost_since > RECONNECT_SECONDS:
                    raise
                time.sleep(_PAUSE_SECONDS)

    def bundle(self, session: str) -> bytes:
        """Return the published bundle.

        Raises:
            SessionAbortedError: there will be none.
            UsageError: there is none yet.
        """
        details = self.details(session)
        if details.status.phase is not Phase.PUBLISHED:
            if details.status.phase is Phase.ABORTED:
                why = ended(details.status.reason, details.status.sites)
                raise SessionAbortedError(f"the session was aborted, so there is no result: {why}")
            raise UsageError(
                f"the session goes on ({doing(details.status.phase)}); its result can be exported once it is published"
            )
        request = pb.GetBundleRequest(session=details.session)

        def transfer() -> bytes:
            stream = self._sessions.GetBundle(request, timeout=TRANSFER_SECONDS)
            return b"".join(answer.chunk for answer in stream)

        return self._call(transfer)

    def _stream(self, session: str) -> Iterator[SessionStatus]:
        request = pb.WatchSessionRequest(session=session)
        stream = self._sessions.WatchSession(request, timeout=WATCH_SECONDS)
        try:
            for answer in stream:
                yield convert.status_from_wire(answer.status)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise self._refusal(error) from error
        finally:
            stream.cancel()

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except grpc.RpcError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: grpc.RpcError) -> UnreachableError | UsageError:
        silent = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        if error.code() in silent and not error.trailing_metadata():
            return UnreachableError(
                f"no coordinator answers at {self._address}; start it with `vdb-coordinator --dir {self._home.path} serve`"
            )
        return UsageError(error.details() or error.code().name)


def bound_address(home: Home) -> str:
    """Return where the coordinator of a directory listens, or would."""
    config = home.read_config()
    if home.bound.is_file():
        return read_file(home.bound).decode()
    host, port = split_address(config.listen)
    return f"localhost:{port}" if host in ("0.0.0.0", "::") else config.listen  # noqa: S104 - compared, not bound
