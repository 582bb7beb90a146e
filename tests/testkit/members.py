"""A participant without models, videos or a disk: joins, takes part in the rounds with given lanes, countersigns.

Promises that each message of an attempt is made once and resent byte for byte. Tests play its steps one by one, in any order;
one that `spoils` shares seals garbage for these seats, and whoever it hits may `complain`; all who go on `restart`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import grpc
import numpy as np

from testkit.consortium import entropy
from testkit.coordinator import CALL, Identity
from testkit.spoiled_shares import spoiled
from vdb_participant import rounds
from vdb_participant.phases import Advertised, Agreed, Committed, Masked, SharedKeys
from vdb_shared import labels
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.bundle.record import RESULT, read_envelope
from vdb_shared.bundle.statement import (
    Abort,
    Contribution,
    Join,
    NamedDigest,
    RunManifest,
    Seal,
    Statement,
    parse_statement,
)
from vdb_shared.bundle.witnessed import witness_name
from vdb_shared.canonical import digest_bytes, digest_string, sha256_digest
from vdb_shared.secagg.encoding import Lanes
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Parameters
from vdb_shared.secagg.restarts import Restart, verify_restart
from vdb_shared.spec import Spec, parse_spec_json
from vdb_shared.transparency.checkpoint import cosign, parse_checkpoint
from vdb_shared.transparency.note import parse_note
from vdb_shared.wire import convert
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.federation_pb2_grpc import AggregationServiceStub, LogServiceStub, SessionServiceStub
from vdb_shared.wire.status import LogView, Phase, Receipt, SessionStatus


class Reachable(Protocol):
    """A coordinator that institutions connect to."""

    def channel(self, identity: Identity) -> grpc.Channel:
        """Return a new channel of an institution."""


@dataclass
class TestMember:
    """One institution in one session."""

    __test__ = False

    coordinator: Reachable
    identity: Identity
    session: str
    lanes: Lanes | None = None
    clips: int = 0
    spoils: tuple[int, ...] = ()
    attempt: int = 0
    restarts: tuple[Restart, ...] = ()
    attempts: list[dict[str, Any]] = field(default_factory=lambda: [{}])

    _staying: threading.Thread | None = None
    gone: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.connect()

    def connect(self) -> None:
        self._channel = self.coordinator.channel(self.identity)
        self.sessions = SessionServiceStub(self._channel)
        self.rounds = AggregationServiceStub(self._channel)
        self.log = LogServiceStub(self._channel)

    def reconnect(self) -> None:
        """Open a new channel, after the coordinator was restarted."""
        self._channel.close()
        self.connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gone.set()
        self._channel.close()
        if self._staying is not None:
            self._staying.join(CALL)

    @property
    def seat(self) -> int:
        return self.identity.seat

    @property
    def sent(self) -> dict[str, Any]:
        """What was sent in the present attempt, by step."""
        return self.attempts[self.attempt]

    @property
    def spec(self) -> Spec:
        return parse_spec_json(self.details().spec)

    def details(self) -> Any:
        return convert.details_from_wire(
            self.sessions.GetSession(pb.GetSessionRequest(session=self.session), timeout=CALL)
        )

    def wait(self, phase: Phase) -> SessionStatus:
        """Return the first status at or beyond a phase of the present attempt."""
        stream = self.sessions.WatchSession(pb.WatchSessionRequest(session=self.session), timeout=3 * CALL)
        for answer in stream:
            status = convert.status_from_wire(answer.status)
            if status.reached(phase, self.attempt):
                stream.cancel()
                return status
        raise AssertionError(f"the watch ended before {phase.name}")

    def _stay(self) -> None:
        """Witness the log whenever the session asks for it, until it has ended; also across restarts of the coordinator."""
        request, seen = pb.WatchSessionRequest(session=self.session), 0
        while not self.gone.is_set():
            try:
                for answer in self.sessions.WatchSession(request, timeout=3 * CALL):
                    status = convert.status_from_wire(answer.status)
                    if status.phase.ended:
                        return
                    seen = self.witness() if status.witness > seen else seen
            except (grpc.RpcError, ValueError):  # the channel is closed, and perhaps opened again
                self.gone.wait(0.1)

    def look(self) -> LogView:
        """Return the log as the coordinator shows it, from the beginning."""
        return convert.view_from_wire(
            self.log.GetCheckpoint(pb.GetCheckpointRequest(session=self.session, size=0), timeout=CALL)
        )

    def witness(self) -> int:
        """Sign the newest checkpoint, as it is shown, and return its size."""
        shown = parse_checkpoint(parse_note(self.look().checkpoint).text)
        name = witness_name("testbed", self.identity.institution)
        signed = cosign(shown, name, self.identity.statement_key, int(time.time()))
        request = pb.CosignRequest(session=self.session, size=shown.size, cosignature=signed.value)
        self.log.Cosign(request, timeout=CALL)
        return shown.size

    def join(self, *, witnessing: bool = True) -> Receipt:
        """Witness the log and join."""
        if witnessing:
            self.witness()
        if "join" not in self.sent:
            details = self.details()
            join = Join(
                session=details.session,
                spec=sha256_digest(details.spec),
                roster=sha256_digest(details.roster.roster),
                institution=self.identity.institution,
                seat=self.seat,
                consent=sha256_digest(b"the plan"),
            )
            self.sent["join"] = Statement((), join).sign(self.identity.statement_key).to_json()
        request = pb.JoinRequest(session=self.session, join=self.sent["join"])
        answer = self.sessions.Join(request, timeout=CALL)
        return convert.receipt_from_wire(answer.receipt, convert.join_digest(self.sent["join"]))

    def seal(self) -> tuple[Envelope, Seal]:
        sealed = convert.seal_from_wire(self.sessions.GetSeal(pb.GetSealRequest(session=self.session), timeout=CALL))
        envelope = Envelope.from_json(sealed.seal)
        return envelope, parse_statement(envelope.payload, Seal)[0]

    def parameters(self) -> Parameters:
        """Return the parameters of the present attempt."""
        found = self.sealed_parameters()
        for restart in self.restarts[: self.attempt]:
            found = verify_restart(found, restart, "coordinator")
        return found

    def sealed_parameters(self) -> Parameters:
        envelope, seal = self.seal()
        roster = self.details().roster.verify(self.identity.root_fingerprint, None)
        return Parameters(
            session=digest_bytes(envelope.payload_digest),
            roster={join.seat: roster.seated(join.seat).public_key for join in seal.joins},
            collusion=self.spec.cohort.collusion,
            smallest_cohort=seal.smallest_cohort,
            lanes=seal.lanes,
        )

    def advertise(self) -> Receipt:
        if "advertise" not in self.sent:
            fresh = self._entropy("advertise", rounds.ADVERTISE_ENTROPY_BYTES)
            key = self.identity.statement_key
            self.sent["advertise"] = rounds.advertise(self.parameters(), self.seat, key, fresh)
        signed = self.sent["advertise"][1]
        request = pb.AdvertiseKeysRequest(**self._call, keys=convert.signed_to_wire(self.seat, signed))
        answer = self.rounds.AdvertiseKeys(request, timeout=CALL)
        return convert.receipt_from_wire(answer.receipt, convert.keys_digest(signed, self.attempt))

    def share(self) -> Receipt:
        if "share" not in self.sent:
            phase: Advertised = self.sent["advertise"][0]
            answer = self.rounds.GetAdvertisedKeys(pb.GetAdvertisedKeysRequest(**self._call), timeout=CALL)
            fresh = self._entropy("share", rounds.SHARE_KEYS_ENTROPY_BYTES)
            received = convert.signed_set_from_wire(answer.keys)
            made = rounds.share_keys(phase, received, fresh, self.committed().commitments)
            self.sent["share"] = spoiled(*made, self.identity.statement_key, self.spoils) if self.spoils else made
        message = self.sent["share"][1]
        request = pb.ShareKeysRequest(
            **self._call,
            header=convert.signed_to_wire(self.seat, message.header),
            sealed=convert.sealed_to_wire(self.seat, message.sealed),
        )
        receipt = self.rounds.ShareKeys(request, timeout=CALL).receipt
        return convert.receipt_from_wire(receipt, convert.shares_digest(message.header, message.sealed, self.attempt))

    def committed(self) -> Committed:
        """Return the vector of this attempt with its commitments; zeros unless the test gave lanes."""
        sealed = self.parameters()
        lanes = np.zeros(sealed.lanes, dtype=np.int64) if self.lanes is None else self.lanes
        return rounds.commit_input(sealed, lanes, self._entropy("blinders", rounds.commit_entropy_bytes(lanes.size)))

    def prepare_mask(self) -> None:
        """Make the masked input, without sending it.

        Raises:
            UnusableShareError: a dealer's shares do not open.
        """
        if "mask" in self.sent:
            return
        phase: SharedKeys = self.sent["share"][0]
        answer = self.rounds.GetSharedKeys(pb.GetSharedKeysRequest(**self._call), timeout=CALL)
        shares = convert.shares_from_wire(answer, self.seat)
        prepared = rounds.mask_input(phase, shares.headers, shares.sealed, self.committed())
        contribution = self.contribution(masked_digest(prepared.masked))
        made = rounds.state_input(prepared, digest_bytes(contribution.payload_digest))
        self.sent["mask"] = (*made, contribution.to_json())

    def complain(self, dealer: int) -> Receipt:
        """Say, instead of sending a masked input, that what a dealer sealed does not open, whether it does or not."""
        if "complain" not in self.sent:
            self.sent["complain"] = rounds.complain(self.sent["share"][0], dealer)
        signed = self.sent["complain"]
        request = pb.ComplainRequest(**self._call, complaint=convert.signed_to_wire(self.seat, signed))
        answer = self.rounds.Complain(request, timeout=CALL)
        return convert.receipt_from_wire(answer.receipt, convert.complaint_digest(signed, self.attempt))

    def restart(self) -> None:
        """Go on with the newest attempt."""
        answer = self.rounds.GetRestarts(pb.GetRestartsRequest(session=self.session), timeout=CALL)
        self.restarts = convert.restarts_from_wire(answer)
        self.attempt = len(self.restarts)
        self.attempts.extend({} for _ in range(self.attempt + 1 - len(self.attempts)))

    def upload_parts(self, offset: int = 0, until: int | None = None) -> Iterator[pb.UploadMaskedInputRequest]:
        """Yield the upload's messages from `offset` to `until`."""
        _, message, contribution = self.sent["mask"]
        start = pb.UploadStart(
            **self._call,
            header=convert.signed_to_wire(self.seat, message.header),
            contribution=contribution,
            size=len(message.masked),
            offset=offset,
        )
        yield pb.UploadMaskedInputRequest(start=start)
        vector = message.masked[:until]
        for place in range(offset, len(vector), CHUNK):
            yield pb.UploadMaskedInputRequest(chunk=vector[place : place + CHUNK])

    def mask(self) -> Receipt:
        self.prepare_mask()
        _, message, contribution = self.sent["mask"]
        query = pb.QueryUploadRequest(**self._call, digest=masked_digest(message.masked))
        stored = self.rounds.QueryUpload(query, timeout=CALL).stored
        answer = self.rounds.UploadMaskedInput(self.upload_parts(stored), timeout=CALL)
        return convert.receipt_from_wire(
            answer.receipt, convert.masked_digest(message.header, contribution, self.attempt)
        )

    def agree(self) -> Receipt:
        if "agree" not in self.sent:
            phase: Masked = self.sent["mask"][0]
            answer = self.rounds.GetMaskedInputs(pb.GetMaskedInputsRequest(**self._call), timeout=CALL)
            self.sent["agree"] = rounds.agree(phase, convert.signed_set_from_wire(answer.headers))
        signed = self.sent["agree"][1]
        request = pb.SignConsistencyRequest(**self._call, consistency=convert.signed_to_wire(self.seat, signed))
        receipt = self.rounds.SignConsistency(request, timeout=CALL).receipt
        return convert.receipt_from_wire(receipt, convert.consistency_digest(signed, self.attempt))

    def reveal(self) -> Receipt:
        if "reveal" not in self.sent:
            phase: Agreed = self.sent["agree"][0]
            answer = self.rounds.GetConsistency(pb.GetConsistencyRequest(**self._call), timeout=CALL)
            found = convert.signed_set_from_wire(answer.signatures)
            self.sent["reveal"] = rounds.reveal(phase, {seat: signed.signature for seat, signed in found.items()})
        signed: Signed = self.sent["reveal"][1]
        request = pb.RevealSharesRequest(**self._call, shares=convert.signed_to_wire(self.seat, signed))
        receipt = self.rounds.RevealShares(request, timeout=CALL).receipt
        return convert.receipt_from_wire(receipt, convert.unmasking_digest(signed, self.attempt))

    def bundle(self) -> bytes:
        stream = self.sessions.GetBundle(pb.GetBundleRequest(session=self.session), timeout=CALL)
        return b"".join(answer.chunk for answer in stream)

    def countersign(self) -> Receipt:
        """Countersign, and stay to witness that the result is logged."""
        if self._staying is None:
            self._staying = threading.Thread(target=self._stay, daemon=True)
            self._staying.start()
        return self.sign_result()

    def sign_result(self) -> Receipt:
        if "countersign" not in self.sent:
            result = read_envelope(read_archive(self.bundle()), RESULT)
            envelope = sign_envelope(labels.TYPE_STATEMENT, result.payload, self.identity.statement_key)
            self.sent["countersign"] = envelope.to_json()
        request = pb.CountersignRequest(session=self.session, countersignature=self.sent["countersign"])
        receipt = self.sessions.Countersign(request, timeout=CALL).receipt
        return convert.receipt_from_wire(receipt, convert.countersign_digest(self.sent["countersign"]))

    def abort(self, reason: str = "no GPU today") -> Receipt:
        if "abort" not in self.sent:
            abort = Abort(
                session=self.session,
                institution=self.identity.institution,
                stage="joined",
                reason=reason,
                aborted="2026-01-31T12:00:00Z",
            )
            self.sent["abort"] = Statement((), abort).sign(self.identity.statement_key).to_json()
        request = pb.AbortRequest(session=self.session, abort=self.sent["abort"])
        receipt = self.sessions.Abort(request, timeout=CALL).receipt
        return convert.receipt_from_wire(receipt, convert.abort_digest(self.sent["abort"]))

    @property
    def _call(self) -> dict[str, Any]:
        """The fields of every request of the rounds."""
        return {"session": self.session, "attempt": self.attempt}

    def _entropy(self, what: str, size: int) -> bytes:
        return entropy(what, self.session, self.attempt, self.seat, size=size)

    def contribution(self, masked: bytes, **changes: Any) -> Envelope:
        """Return the contribution statement, with some fields changed."""
        spec, (seal, _) = self.spec, self.seal()
        manifest = RunManifest(
            environment={"python": "3.11"},
            models=tuple(NamedDigest(id=model.id, manifest=model.manifest) for model in spec.models),
            extractors=tuple(NamedDigest(id=item.id, manifest=item.manifest) for item in spec.extractors),
            profile="exact",
            public_clips_made=self.clips,
            public_clips_failed=0,
            sample_root=sha256_digest(b"samples"),
        )
        fields: dict[str, Any] = {
            "session": self.session,
            "seal": seal.payload_digest,
            "institution": self.identity.institution,
            "seat": self.seat,
            "masked_input": digest_string(masked),
            "ledger_entry": sha256_digest(b"ledger"),
            "manifest": manifest,
        }
        return Statement((), Contribution(**{**fields, **changes})).sign(self.identity.statement_key)


CHUNK = 2**20
"""Bytes of a vector that one message carries at most."""
