"""A whole consortium in memory: n participants and a coordinator, with dropouts and a tampering network.

Promises determinism: the same seed gives the same bytes. Each round is one method, so that a test can tell its story step
by step; `run` tells the usual one, also through complaints and restarts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar

import numpy as np

from vdb_coordinator.rounds import (
    CollectingConsistency,
    CollectingKeys,
    CollectingMaskedInputs,
    CollectingShares,
    CollectingUnmasking,
    Complained,
    ConsistencySigned,
    Failed,
    InputMasked,
    KeysAdvertised,
    KeysShared,
    Message,
    Phase,
    SharesRevealed,
    expire,
    receive,
    restart_by,
)
from vdb_participant.rounds import (
    ADVERTISE_ENTROPY_BYTES,
    SHARE_KEYS_ENTROPY_BYTES,
    Advertised,
    Agreed,
    Committed,
    Masked,
    MaskedInputMessage,
    Prepared,
    Revealed,
    SharedKeys,
    SharedKeysMessage,
    advertise,
    agree,
    commit_entropy_bytes,
    commit_input,
    complain,
    mask_input,
    reveal,
    share_keys,
    state_input,
)
from vdb_shared import labels
from vdb_shared.errors import UnusableShareError
from vdb_shared.identity import StatementKey
from vdb_shared.secagg.encoding import Lanes
from vdb_shared.secagg.messages import SharedKeysHeader, Signed
from vdb_shared.secagg.parameters import Parameters, Seat, smallest_cohort
from vdb_shared.secagg.restarts import Restart, verify_restart
from vdb_shared.secagg.sealing import SEALED_BYTES, sealed_digest
from vdb_shared.secagg.transcript import COORDINATOR, Stage

ParticipantPhase = Advertised | SharedKeys | Masked | Agreed | Revealed
_Expected = TypeVar("_Expected")
STAGES = tuple(Stage)


def entropy(*context: object, size: int) -> bytes:
    """Return bytes that depend on nothing but the context."""
    return hashlib.shake_256(repr(context).encode()).digest(size)


class Network:
    """An honest network; a test overrides what its adversary touches. `None` loses a message."""

    def up(self, message: Message) -> Message | None:
        """Return what the coordinator gets of a participant's message."""
        return message

    def down(self, seat: Seat, stage: Stage, messages: Mapping[Seat, Signed]) -> Mapping[Seat, Signed]:
        """Return what a participant gets of the messages that open its stage."""
        return messages

    def sealed(self, seat: Seat, sealed: Mapping[Seat, bytes]) -> Mapping[Seat, bytes]:
        """Return what a participant gets of the shares sealed for it."""
        return sealed

    def signatures(self, seat: Seat, signatures: Mapping[Seat, bytes]) -> Mapping[Seat, bytes]:
        """Return what a participant gets of the signatures of T3."""
        return signatures


def signer(seed: object, seat: Seat) -> StatementKey:
    """Return the statement key of a seat."""
    return StatementKey.from_seed(entropy("statement", seed, seat, size=32))


def parameters(
    joined: int, *, collusion: int = 1, dropout: str = "0.4", lanes: int = 5, seed: object = 0, first_seat: Seat = 0
) -> Parameters:
    """Return sealed parameters for `joined` participants in consecutive seats."""
    return Parameters(
        session=entropy("session", seed, size=32),
        roster={seat: signer(seed, seat).public_key for seat in range(first_seat, first_seat + joined)},
        collusion=collusion,
        smallest_cohort=smallest_cohort(joined, collusion, Decimal(dropout)),
        lanes=lanes,
    )


def inputs_for(sealed: Parameters, seed: object = 0) -> dict[Seat, Lanes]:
    """Return a vector for each seat, spread over the whole range of a lane."""
    size = 8 * sealed.lanes
    return {
        seat: np.frombuffer(entropy("lanes", seed, seat, size=size), dtype="<i8").astype(np.int64) >> 16
        for seat in sealed.roster
    }


def deal(sent: SharedKeysMessage, key: StatementKey, changed: Mapping[Seat, bytes]) -> SharedKeysMessage:
    """Return a dealer's round-1 message with other pairs, which it signs as its own."""
    header = SharedKeysHeader.decode(sent.header.body)
    sealed = {**sent.sealed, **changed}
    body = replace(header, sealed_digest=sealed_digest(header.t1, header.seat, sealed)).encode()
    return SharedKeysMessage(Signed(body, key.sign(labels.TYPE_SHARE_KEYS, body)), sealed)


@dataclass
class Participants:
    """The participants alone, so that a test can be their coordinator, also a malicious one.

    Attributes:
        garbage: by dealer, the holders for whom it seals what does not open.
    """

    parameters: Parameters
    inputs: Mapping[Seat, Lanes]
    seed: object = 0
    garbage: Mapping[Seat, Collection[Seat]] = field(default_factory=dict)
    phases: dict[Seat, ParticipantPhase] = field(init=False, default_factory=dict)

    def advertise(self, seat: Seat) -> Signed:
        """Round 0 of one seat."""
        fresh = entropy("advertise", self.seed, self.parameters.session, seat, size=ADVERTISE_ENTROPY_BYTES)
        self.phases[seat], signed = advertise(self.parameters, seat, signer(self.seed, seat), fresh)
        return signed

    def share_keys(self, seat: Seat, advertised: Mapping[Seat, Signed]) -> SharedKeysMessage:
        """Round 1 of one seat."""
        fresh = entropy("share", self.seed, self.parameters.session, seat, size=SHARE_KEYS_ENTROPY_BYTES)
        self.phases[seat], sent = share_keys(
            expect(Advertised, self.phases[seat]), advertised, fresh, self.committed(seat).commitments
        )
        holders = set(self.garbage.get(seat, ())) & sent.sealed.keys()
        if holders:
            sent = deal(sent, signer(self.seed, seat), dict.fromkeys(holders, bytes(SEALED_BYTES)))
            self.phases[seat] = replace(expect(SharedKeys, self.phases[seat]), own=sent.header)
        return sent

    def mask_input(
        self, seat: Seat, headers: Mapping[Seat, Signed], sealed: Mapping[Seat, bytes]
    ) -> MaskedInputMessage:
        """Round 2 of one seat."""
        contribution = entropy("contribution", self.seed, seat, size=32)
        prepared = self.prepare_input(seat, headers, sealed)
        self.phases[seat], sent = state_input(prepared, contribution)
        return sent

    def prepare_input(self, seat: Seat, headers: Mapping[Seat, Signed], sealed: Mapping[Seat, bytes]) -> Prepared:
        """First half of round 2 of one seat."""
        return mask_input(expect(SharedKeys, self.phases[seat]), headers, sealed, self.committed(seat))

    def committed(self, seat: Seat) -> Committed:
        """Return the vector of a seat with its commitments."""
        lanes = self.inputs[seat]
        fresh = entropy("blinders", self.seed, self.parameters.session, seat, size=commit_entropy_bytes(lanes.size))
        return commit_input(self.parameters, lanes, fresh)

    def complain(self, seat: Seat, dealer: Seat) -> Signed:
        """Instead of round 2 of one seat."""
        return complain(expect(SharedKeys, self.phases[seat]), dealer)

    def agree(self, seat: Seat, headers: Mapping[Seat, Signed]) -> Signed:
        """Round 3 of one seat."""
        self.phases[seat], signed = agree(expect(Masked, self.phases[seat]), headers)
        return signed

    def reveal(self, seat: Seat, signatures: Mapping[Seat, bytes]) -> Signed:
        """Round 4 of one seat."""
        self.phases[seat], signed = reveal(expect(Agreed, self.phases[seat]), signatures)
        return signed


@dataclass
class Consortium:
    """All parties: `phase` is the coordinator's, `there` are the participants that have not dropped out.

    Each round ends with its deadline, unless `deadlines` is off.
    """

    parameters: Parameters
    inputs: Mapping[Seat, Lanes]
    seed: object = 0
    network: Network = field(default_factory=Network)
    deadlines: bool = True
    garbage: Mapping[Seat, Collection[Seat]] = field(default_factory=dict)
    phase: Phase = field(init=False)
    participants: Participants = field(init=False)
    there: set[Seat] = field(init=False)
    sent: list[Message] = field(init=False, default_factory=list)
    restarts: list[Restart] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.phase = CollectingKeys(self.parameters)
        self.participants = Participants(self.parameters, self.inputs, self.seed, self.garbage)
        self.there = set(self.parameters.roster)

    def advertise(self, absent: Collection[Seat] = ()) -> None:
        """Round 0."""
        for seat in self._present(absent):
            self._send(KeysAdvertised(seat, self.participants.advertise(seat)))
        self._end_of_round(CollectingKeys)

    def share_keys(self, absent: Collection[Seat] = ()) -> None:
        """Round 1."""
        messages = self.at(CollectingShares).advertised.messages
        for seat in self._present(absent):
            sent = self.participants.share_keys(seat, self.network.down(seat, Stage.SHARE_KEYS, messages))
            self._send(KeysShared(seat, sent.header, sent.sealed))
        self._end_of_round(CollectingShares)

    def mask_inputs(self, absent: Collection[Seat] = ()) -> None:
        """Round 2; who cannot open a pair complains, and all follow the restart; who complained before drops out."""
        opened = self.at(CollectingMaskedInputs)
        for seat in self._present(absent):
            received = self.network.down(seat, Stage.MASKED_INPUT, opened.shared.messages)
            sealed = self.network.sealed(seat, opened.sealed_for(seat))
            try:
                sent = self.participants.mask_input(seat, received, sealed)
            except UnusableShareError as error:
                if seat not in self.parameters.complained:
                    self.complain(seat, error.dealer)
                if not isinstance(self.phase, CollectingMaskedInputs):
                    return
                self.there.discard(seat)
                continue
            self._send(InputMasked(seat, sent.header, sent.masked))
        self._end_of_round(CollectingMaskedInputs)

    def complain(self, seat: Seat, dealer: Seat) -> None:
        """Send a complaint; if it holds, every participant checks the evidence and begins the next attempt."""
        message = Complained(seat, self.participants.complain(seat, dealer))
        evidence = restart_by(self.at(CollectingMaskedInputs), message)
        self._send(message)
        if isinstance(self.phase, CollectingKeys):
            self.restarts.append(evidence)
            self.parameters = verify_restart(self.parameters, evidence, COORDINATOR)
            self.participants = Participants(self.parameters, self.inputs, self.seed, self.garbage)
            self.there -= self.parameters.left_out

    def agree(self, absent: Collection[Seat] = ()) -> None:
        """Round 3."""
        messages = self.at(CollectingConsistency).transcript.masked.messages
        for seat in self._present(absent):
            signed = self.participants.agree(seat, self.network.down(seat, Stage.CONSISTENCY, messages))
            self._send(ConsistencySigned(seat, signed.signature))
        self._end_of_round(CollectingConsistency)

    def reveal(self, absent: Collection[Seat] = ()) -> None:
        """Round 4."""
        signatures = self.at(CollectingUnmasking).signatures
        for seat in self._present(absent):
            signed = self.participants.reveal(seat, self.network.signatures(seat, signatures))
            self._send(SharesRevealed(seat, signed))
        self._end_of_round(CollectingUnmasking)

    def run(self, dropouts: Mapping[Seat, Stage] | None = None) -> Phase:
        """Run all rounds that are reached; a dropout's message of its stage is the first that never comes."""
        return self.run_until(None, dropouts)

    def run_until(self, end: Stage | None, dropouts: Mapping[Seat, Stage] | None = None) -> Phase:
        """Run the rounds from where the coordinator is to before `end`, as `run` does."""
        rounds = (self.advertise, self.share_keys, self.mask_inputs, self.agree, self.reveal)
        starts = (CollectingKeys, CollectingShares, CollectingMaskedInputs, CollectingConsistency, CollectingUnmasking)
        played = -1
        while played < len(self.restarts):  # once more for each restart
            played = len(self.restarts)
            for stage, play, start in zip(STAGES, rounds, starts, strict=True):
                if stage == end:
                    break
                if isinstance(self.phase, start):
                    play([seat for seat, last in (dropouts or {}).items() if last == stage])
        return self.phase

    def at(self, kind: type[_Expected]) -> _Expected:
        """Return the coordinator's phase, which must be of this kind."""
        return expect(kind, self.phase)

    def total(self, seats: Collection[Seat]) -> Lanes:
        """Return the sum of these inputs in the clear."""
        sum_of_inputs = np.zeros(self.parameters.lanes, dtype=np.int64)
        for seat in seats:
            sum_of_inputs += self.inputs[seat]
        return sum_of_inputs

    def _present(self, absent: Collection[Seat]) -> list[Seat]:
        self.there -= set(absent)
        return sorted(self.there)

    def _send(self, message: Message) -> None:
        arrived = self.network.up(message)
        if arrived is not None and not isinstance(self.phase, Failed):
            self.sent.append(arrived)
            self.phase = receive(self.phase, arrived)

    def _end_of_round(self, kind: type[Phase]) -> None:
        if self.deadlines and isinstance(self.phase, kind):
            self.phase = expire(self.phase)


def consortium(joined: int, *, collusion: int = 1, lanes: int = 5, seed: object = 0) -> Consortium:
    """Return a consortium of so many institutions with inputs over the whole range of a lane."""
    sealed = parameters(joined, collusion=collusion, lanes=lanes, seed=seed)
    return Consortium(sealed, inputs_for(sealed, seed), seed)


def expect(kind: type[_Expected], value: object) -> _Expected:
    """Return a value that must be of this kind."""
    if not isinstance(value, kind):
        raise AssertionError(f"expected {kind.__name__}, found {value!r}")
    return value
