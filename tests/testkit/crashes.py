"""An agent's surroundings in memory: a disk that loses power at a chosen write, a coordinator that remembers all it was sent.

`Disk` outlives the process that a `Crash` ends, like a real one; `MemoryLink` plays all the other institutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NoReturn

from testkit.consortium import Participants, expect
from vdb_coordinator.phases import (
    CollectingConsistency,
    CollectingKeys,
    CollectingMaskedInputs,
    CollectingShares,
    CollectingUnmasking,
    Failed,
    Summed,
)
from vdb_coordinator.rounds import (
    Complained,
    ConsistencySigned,
    InputMasked,
    KeysAdvertised,
    KeysShared,
    Message,
    SharesRevealed,
    expire,
    receive,
    restart_by,
)
from vdb_coordinator.rounds import Phase as RoundPhase
from vdb_participant.network.link import Upload
from vdb_participant.phases import SharedKeys, SharedKeysMessage
from vdb_participant.session.records import in_attempt
from vdb_shared import labels
from vdb_shared.errors import RoundsRestartedError, UnusableShareError
from vdb_shared.secagg.messages import SharedKeysHeader, Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.restarts import Restart
from vdb_shared.secagg.sealing import SEALED_BYTES, sealed_digest
from vdb_shared.wire.status import (
    LogView,
    Phase,
    SealedSession,
    SessionDetails,
    SessionStatus,
    SessionSummary,
    Shares,
)


class Crash(BaseException):
    """The process is gone; nothing may catch this."""


class Loss(StrEnum):
    """What a crash during a write leaves on the disk."""

    NOTHING = "nothing of it"
    HALF = "half of it"
    SIZE = "its size but no bytes"
    ALL = "all of it"


@dataclass
class Disk:
    """A file in memory; implements Storage. Crashes at the write with the number `crash_at`, from 0."""

    data: bytes = b""
    crash_at: int | None = None
    loss: Loss = Loss.NOTHING
    writes: int = 0

    def read(self) -> bytes:
        return self.data

    def append(self, position: int, data: bytes) -> None:
        self._crash_or_count(position, data)
        self.data = self.data[:position] + data

    def replace(self, data: bytes) -> None:
        if self.writes == self.crash_at:
            self.data = data if self.loss is Loss.ALL else self.data
            raise Crash
        self.writes += 1
        self.data = data

    def _crash_or_count(self, position: int, data: bytes) -> None:
        if self.writes == self.crash_at:
            left = {
                Loss.NOTHING: b"",
                Loss.HALF: data[: len(data) // 2],
                Loss.SIZE: bytes(len(data)),
                Loss.ALL: data,
            }[self.loss]
            self.data = self.data[:position] + left
            raise Crash
        self.writes += 1


def sealing_garbage(phase: SharedKeys, message: SharedKeysMessage, recipient: Seat) -> SharedKeysMessage:
    """Return round 1 of a dealer that signs a pair which its recipient cannot open."""
    me, t1 = phase.membership, phase.advertised.t1
    sealed = {**message.sealed, recipient: bytes(SEALED_BYTES)}
    header = replace(SharedKeysHeader.decode(message.header.body), sealed_digest=sealed_digest(t1, me.seat, sealed))
    return SharedKeysMessage(me.sign(labels.TYPE_SHARE_KEYS, header.encode()), sealed)


class RoundsOnly:
    """The part of a link that the rounds never touch."""

    def _unused(self, *_: object) -> NoReturn:
        raise AssertionError("the rounds do not need this")

    def sessions(self) -> tuple[SessionSummary, ...]:
        self._unused()

    def details(self, session: str) -> SessionDetails:
        self._unused()

    def wait_or_witness(self, session: str, phase: Phase, attempt: int, seen: int) -> SessionStatus:
        self._unused()

    def log_view(self, session: str, size: int) -> LogView:
        self._unused()

    def cosign(self, session: str, size: int, cosignature: bytes) -> None:
        self._unused()

    def join(self, session: str, statement: bytes) -> None:
        self._unused()

    def seal(self, session: str) -> SealedSession:
        self._unused()

    def report(self, session: str, stage: str, done: int, total: int) -> None:
        self._unused()

    def bundle(self, session: str) -> bytes:
        self._unused()

    def countersign(self, session: str, countersignature: bytes) -> None:
        self._unused()

    def abort(self, session: str, statement: bytes) -> None:
        self._unused()


@dataclass
class MemoryLink(RoundsOnly):
    """A coordinator and all institutions but `seat`; implements Link.

    Attributes:
        others: the other institutions.
        seat: ours, which they are not.
        garbage: recipients by dealer: what such a dealer seals for its recipient does not open, in any attempt.
        made: all restarts, in order.
        sent: every message of ours, by attempt and kind; two different ones of a kind are the breach that tests look for.
    """

    others: Participants
    seat: Seat
    garbage: Mapping[Seat, Seat] = field(default_factory=dict)
    phase: RoundPhase = field(init=False)
    made: list[Restart] = field(default_factory=list)
    sent: dict[str, set[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.phase = CollectingKeys(self.others.parameters)

    @property
    def rest(self) -> list[Seat]:
        """The other seats."""
        return sorted(self.others.parameters.seats - {self.seat})

    @property
    def attempt(self) -> int:
        """The present attempt."""
        return len(self.made)

    @property
    def bad_dealers(self) -> set[Seat]:
        """The others who seal garbage in the present attempt."""
        return set(self.garbage) & set(self.rest)

    def wait(self, session: str, phase: Phase, attempt: int = 0) -> SessionStatus:
        """Let the others send what they owe until a phase is reached, and return the status."""
        if not self._status().reached(phase, attempt):
            self._others_send()
        found = self._status()
        assert found.reached(phase, attempt) or found.phase.ended, (
            f"waits for {phase.name} of attempt {attempt}, but the session is {found.phase.name} of {found.attempt}"
        )
        return found

    def _others_send(self) -> None:
        match self.phase:
            case CollectingKeys():
                self._take(*(KeysAdvertised(seat, self.others.advertise(seat)) for seat in self.rest))
            case CollectingShares() as sharing:
                self._others_share(sharing)
            case CollectingMaskedInputs() as masking:
                self._others_mask(masking)
            case CollectingConsistency(transcript=transcript):
                for seat in self.rest:
                    self._take(ConsistencySigned(seat, self.others.agree(seat, transcript.masked.messages).signature))
            case _:
                pass

    def _others_share(self, opened: CollectingShares) -> None:
        for seat in self.rest:
            sent = self.others.share_keys(seat, opened.advertised.messages)
            if seat in self.bad_dealers:
                sent = sealing_garbage(expect(SharedKeys, self.others.phases[seat]), sent, self.garbage[seat])
            self._take(KeysShared(seat, sent.header, sent.sealed))

    def _others_mask(self, opened: CollectingMaskedInputs) -> None:
        for seat in self.rest:
            if seat in self.bad_dealers:
                continue  # it never comes to round 2
            try:
                sent = self.others.mask_input(seat, opened.shared.messages, opened.sealed_for(seat))
            except UnusableShareError as error:
                return self._take(Complained(seat, self.others.complain(seat, error.dealer)))
            self._take(InputMasked(seat, sent.header, sent.masked))
        return None

    def _status(self) -> SessionStatus:
        phases = {
            CollectingKeys: Phase.ADVERTISING_KEYS,
            CollectingShares: Phase.SHARING_KEYS,
            CollectingMaskedInputs: Phase.MASKING_INPUT,
            CollectingConsistency: Phase.CONSISTENCY,
            CollectingUnmasking: Phase.UNMASKING,
            Summed: Phase.FINALISING,
            Failed: Phase.ABORTED,
        }
        reason = self.phase.reason if isinstance(self.phase, Failed) else ""
        return SessionStatus(phases[type(self.phase)], 1, reason, (), self.attempt)

    def advertise_keys(self, session: str, seat: Seat, attempt: int, keys: Signed) -> None:
        self._ours("keys", attempt, keys.body + keys.signature, KeysAdvertised(seat, keys))

    def advertised_keys(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        self._check(attempt)
        return expect(CollectingShares, self.phase).advertised.messages

    def share_keys(self, session: str, seat: Seat, attempt: int, header: Signed, sealed: Mapping[Seat, bytes]) -> None:
        content = header.body + header.signature + b"".join(sealed[seat] for seat in sorted(sealed))
        self._ours("shares", attempt, content, KeysShared(seat, header, sealed))

    def shared_keys(self, session: str, seat: Seat, attempt: int) -> Shares:
        self._check(attempt)
        opened = expect(CollectingMaskedInputs, self.phase)
        return Shares(opened.shared.messages, opened.sealed_for(seat))

    def upload(self, session: str, seat: Seat, attempt: int, upload: Upload) -> None:
        content = upload.header.body + upload.header.signature + upload.masked + upload.contribution
        self._ours("input", attempt, content, InputMasked(seat, upload.header, upload.masked))

    def complain(self, session: str, seat: Seat, attempt: int, complaint: Signed) -> None:
        self._ours("complaint", attempt, complaint.body + complaint.signature, Complained(seat, complaint))

    def restarts(self, session: str) -> tuple[Restart, ...]:
        return tuple(self.made)

    def masked_inputs(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        self._check(attempt)
        return expect(CollectingConsistency, self.phase).transcript.masked.messages

    def sign_consistency(self, session: str, seat: Seat, attempt: int, statement: Signed) -> None:
        content = statement.body + statement.signature
        self._ours("consistency", attempt, content, ConsistencySigned(seat, statement.signature))

    def consistency(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        self._check(attempt)
        opened = expect(CollectingUnmasking, self.phase)
        body = opened.transcript.masked.statement.encode()
        return {seat: Signed(body, signature) for seat, signature in opened.signatures.items()}

    def reveal_shares(self, session: str, seat: Seat, attempt: int, shares: Signed) -> None:
        self._ours("unmasking", attempt, shares.body + shares.signature, SharesRevealed(seat, shares))

    def go_on_without_us(self) -> None:
        """Let the others send what they owe, and end the round."""
        self._others_send()
        self.phase = expire(self.phase)

    def finish(self) -> Summed:
        """Let the others reveal, and return the sum."""
        opened = expect(CollectingUnmasking, self.phase)
        for seat in self.rest:
            if isinstance(self.phase, CollectingUnmasking):
                self._take(SharesRevealed(seat, self.others.reveal(seat, opened.signatures)))
        return expect(Summed, self.phase)

    def _ours(self, kind: str, attempt: int, content: bytes, message: Message) -> None:
        self.sent.setdefault(in_attempt(attempt, kind), set()).add(content)
        self._check(attempt)
        self._take(message)

    def _check(self, attempt: int) -> None:
        if attempt != self.attempt:
            raise RoundsRestartedError(f"the rounds are in attempt {self.attempt}")

    def _take(self, *messages: Message) -> None:
        for message in messages:
            before, self.phase = self.phase, receive(self.phase, message)
            if isinstance(message, Complained) and isinstance(self.phase, CollectingKeys):
                self.made.append(restart_by(expect(CollectingMaskedInputs, before), message))
                self.others.parameters = self.phase.parameters
