"""An agent's surroundings in memory: a disk that loses power at a chosen write, a coordinator that remembers all it was sent.

`Disk` outlives the process that a `Crash` ends, like a real one; `MemoryLink` plays all the other institutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

from testkit.consortium import Participants, expect
from vdb_coordinator.phases import (
    CollectingConsistency,
    CollectingKeys,
    CollectingMaskedInputs,
    CollectingShares,
    CollectingUnmasking,
    Summed,
)
from vdb_coordinator.rounds import (
    ConsistencySigned,
    InputMasked,
    KeysAdvertised,
    KeysShared,
    Message,
    SharesRevealed,
    receive,
)
from vdb_coordinator.rounds import Phase as RoundPhase
from vdb_participant.network.link import Upload
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.wire.status import Phase, SealedSession, SessionDetails, SessionStatus, SessionSummary, Shares


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


@dataclass
class MemoryLink:
    """A coordinator and all institutions but `seat`; implements Link.

    Attributes:
        others: the other institutions, who all take part in every round.
        seat: whose messages come over this link.
        phase: the coordinator's.
        sent: every message of ours, by kind; two different ones of a kind are the breach that tests look for.
    """

    others: Participants
    seat: Seat
    phase: RoundPhase = field(init=False)
    sent: dict[str, set[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.phase = CollectingKeys(self.others.parameters)

    @property
    def rest(self) -> list[Seat]:
        """The other seats."""
        return sorted(self.others.parameters.seats - {self.seat})

    def wait(self, session: str, phase: Phase) -> SessionStatus:
        """Let the others send what they owe until a phase is reached, and return the status."""
        if self._status().phase < phase:
            self._others_send()
        found = self._status()
        assert found.phase >= phase, f"waits for {phase.name}, but the session is {found.phase.name}"
        return found

    def _others_send(self) -> None:
        match self.phase:
            case CollectingKeys():
                self._take(*(KeysAdvertised(seat, self.others.advertise(seat)) for seat in self.rest))
            case CollectingShares(advertised=advertised):
                made = {seat: self.others.share_keys(seat, advertised.messages) for seat in self.rest}
                self._take(*(KeysShared(seat, sent.header, sent.sealed) for seat, sent in made.items()))
            case CollectingMaskedInputs() as opened:
                for seat in self.rest:
                    made_input = self.others.mask_input(seat, opened.shared.messages, opened.sealed_for(seat))
                    self._take(InputMasked(seat, made_input.header, made_input.masked))
            case CollectingConsistency(transcript=transcript):
                for seat in self.rest:
                    self._take(ConsistencySigned(seat, self.others.agree(seat, transcript.masked.messages).signature))
            case _:
                pass

    def _status(self) -> SessionStatus:
        phases = {
            CollectingKeys: Phase.ADVERTISING_KEYS,
            CollectingShares: Phase.SHARING_KEYS,
            CollectingMaskedInputs: Phase.MASKING_INPUT,
            CollectingConsistency: Phase.CONSISTENCY,
            CollectingUnmasking: Phase.UNMASKING,
            Summed: Phase.FINALISING,
        }
        return SessionStatus(phases[type(self.phase)], 1, "", ())

    def advertise_keys(self, session: str, seat: Seat, keys: Signed) -> None:
        self._ours("keys", keys.body + keys.signature, KeysAdvertised(seat, keys))

    def advertised_keys(self, session: str) -> Mapping[Seat, Signed]:
        return expect(CollectingShares, self.phase).advertised.messages

    def share_keys(self, session: str, seat: Seat, header: Signed, sealed: Mapping[Seat, bytes]) -> None:
        content = header.body + header.signature + b"".join(sealed[seat] for seat in sorted(sealed))
        self._ours("shares", content, KeysShared(seat, header, sealed))

    def shared_keys(self, session: str, seat: Seat) -> Shares:
        opened = expect(CollectingMaskedInputs, self.phase)
        return Shares(opened.shared.messages, opened.sealed_for(seat))

    def upload(self, session: str, seat: Seat, upload: Upload) -> None:
        content = upload.header.body + upload.header.signature + upload.masked + upload.contribution
        self._ours("input", content, InputMasked(seat, upload.header, upload.masked))

    def masked_inputs(self, session: str) -> Mapping[Seat, Signed]:
        return expect(CollectingConsistency, self.phase).transcript.masked.messages

    def sign_consistency(self, session: str, seat: Seat, statement: Signed) -> None:
        self._ours("consistency", statement.body + statement.signature, ConsistencySigned(seat, statement.signature))

    def consistency(self, session: str) -> Mapping[Seat, Signed]:
        opened = expect(CollectingUnmasking, self.phase)
        body = opened.transcript.masked.statement.encode()
        return {seat: Signed(body, signature) for seat, signature in opened.signatures.items()}

    def reveal_shares(self, session: str, seat: Seat, shares: Signed) -> None:
        self._ours("unmasking", shares.body + shares.signature, SharesRevealed(seat, shares))

    def finish(self) -> Summed:
        """Let the others reveal, and return the sum."""
        opened = expect(CollectingUnmasking, self.phase)
        for seat in self.rest:
            if isinstance(self.phase, CollectingUnmasking):
                self._take(SharesRevealed(seat, self.others.reveal(seat, opened.signatures)))
        return expect(Summed, self.phase)

    def _ours(self, kind: str, content: bytes, message: Message) -> None:
        self.sent.setdefault(kind, set()).add(content)
        self._take(message)

    def _take(self, *messages: Message) -> None:
        for message in messages:
            self.phase = receive(self.phase, message)

    def _unused(self, *_: object) -> NoReturn:
        raise AssertionError("the rounds do not need this")

    def sessions(self) -> tuple[SessionSummary, ...]:
        self._unused()

    def details(self, session: str) -> SessionDetails:
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
