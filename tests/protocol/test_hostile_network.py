"""Random sessions of an honest coordinator on a network that loses, delays, repeats, mixes and changes messages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from testkit.consortium import Participants, inputs_for, parameters
from vdb_coordinator.rounds import (
    CollectingConsistency,
    CollectingKeys,
    CollectingMaskedInputs,
    CollectingShares,
    CollectingUnmasking,
    Complained,
    ConsistencySigned,
    InputMasked,
    KeysAdvertised,
    KeysShared,
    Message,
    Phase,
    SharesRevealed,
    Summed,
    expire,
    receive,
)
from vdb_participant.rounds import Advertised, Agreed, Masked, SharedKeys
from vdb_shared.errors import ProtocolError, SessionAbortedError, UnusableShareError
from vdb_shared.secagg.commitments import commitments_open
from vdb_shared.secagg.encoding import LANE_OFFSET
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat

N = 6
SEATS = st.integers(0, N - 1)
SEALED = parameters(N, lanes=2)
INPUTS = inputs_for(SEALED)
REFUSALS = (ProtocolError, SessionAbortedError)


class HostileNetwork(RuleBasedStateMachine):
    """Real participants and a real coordinator; all that is random lies between them."""

    phase: Phase
    participants: Participants

    @initialize(garbage=st.dictionaries(SEATS, st.frozensets(SEATS, min_size=1), max_size=2))
    def seal(self, garbage: dict[Seat, frozenset[Seat]]) -> None:
        self.phase = CollectingKeys(SEALED)
        self.garbage = garbage
        self.under_way: list[Message] = []
        self.arrived: list[Message] = []
        self.complained: set[Seat] = set()
        self.begin()

    def begin(self) -> None:
        """Let everyone follow the coordinator into the present attempt."""
        assert isinstance(self.phase, CollectingKeys)
        self.participants = Participants(self.phase.parameters, INPUTS, garbage=self.garbage)
        self.silent: set[Seat] = set(self.phase.parameters.left_out)

    @rule(lost=st.frozensets(SEATS, max_size=2), order=st.permutations(range(N)))
    def everyone_sends(self, lost: frozenset[Seat], order: list[Seat]) -> None:
        for seat in order:
            message = self.next_message(seat)
            if message is None:
                continue
            if seat in lost:
                self.under_way.append(message)
            else:
                self.deliver(message)

    @rule()
    def everyone_sends_and_all_arrives(self) -> None:
        self.everyone_sends(frozenset(), list(range(N)))
        self.the_deadline_passes()

    def next_message(self, seat: Seat) -> Message | None:
        """Return what a participant sends next, if the coordinator's phase lets it."""
        known, phase = self.participants.phases.get(seat), self.phase
        message: Message | None = None
        match phase, known:
            case _ if seat in self.silent:
                pass
            case CollectingKeys(), None:
                message = KeysAdvertised(seat, self.participants.advertise(seat))
            case CollectingShares(), Advertised() if seat in phase.advertised.seats:
                shared = self.participants.share_keys(seat, phase.advertised.messages)
                message = KeysShared(seat, shared.header, shared.sealed)
            case CollectingMaskedInputs(), SharedKeys() if seat in phase.shared.seats:
                message = self.input_or_complaint(seat, phase)
            case CollectingConsistency(), Masked() if seat in phase.transcript.survivors:
                signed = self.participants.agree(seat, phase.transcript.masked.messages)
                message = ConsistencySigned(seat, signed.signature)
            case CollectingUnmasking(), Agreed() if seat in phase.signatures:
                message = SharesRevealed(seat, self.participants.reveal(seat, phase.signatures))
        return message

    def input_or_complaint(self, seat: Seat, phase: CollectingMaskedInputs) -> Message | None:
        try:
            sent = self.participants.mask_input(seat, phase.shared.messages, phase.sealed_for(seat))
        except UnusableShareError as error:
            self.silent.add(seat)
            if seat in self.complained:
                return None
            self.complained.add(seat)
            return Complained(seat, self.participants.complain(seat, error.dealer))
        return InputMasked(seat, sent.header, sent.masked)

    def deliver(self, message: Message) -> None:
        attempt = self.attempt()
        self.arrived.append(message)
        try:
            self.phase = receive(self.phase, message)
        except REFUSALS:
            return
        if self.attempt() > attempt:
            self.begin()

    def attempt(self) -> int:
        return len(self.phase.parameters.left_out) if isinstance(self.phase, CollectingKeys) else -1

    @rule(data=st.data())
    def something_late_arrives(self, data: st.DataObject) -> None:
        if self.under_way:
            self.deliver(self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1))))

    @rule(data=st.data())
    def something_arrives_again(self, data: st.DataObject) -> None:
        if self.arrived:
            self.deliver(data.draw(st.sampled_from(self.arrived)))

    @rule(data=st.data(), flip=st.integers(0, 10**9))
    def something_changed_arrives(self, data: st.DataObject, flip: int) -> None:
        if self.arrived:
            message = changed(data.draw(st.sampled_from(self.arrived)), flip)
            with pytest.raises(REFUSALS):
                receive(self.phase, message)

    @rule(data=st.data(), seat=SEATS)
    def something_arrives_under_another_name(self, data: st.DataObject, seat: Seat) -> None:
        message = data.draw(st.sampled_from(self.arrived)) if self.arrived else None
        if message is not None and message.seat != seat:
            with pytest.raises(REFUSALS):
                receive(self.phase, replace(message, seat=seat))

    @rule(seat=SEATS, dealer=SEATS)
    def somebody_complains_for_no_reason(self, seat: Seat, dealer: Seat) -> None:
        in_time = isinstance(self.phase, CollectingMaskedInputs)
        if in_time and isinstance(self.participants.phases.get(seat), SharedKeys) and seat not in self.silent:
            self.silent.add(seat)
            self.deliver(Complained(seat, self.participants.complain(seat, dealer)))

    @rule()
    def the_deadline_passes(self) -> None:
        """Let it pass when no more than two are missing; that too few end a session is told elsewhere."""
        if len(getattr(self.phase, "missing", ())) <= 2:
            self.phase = expire(self.phase)

    @invariant()
    def a_sum_is_exact_over_enough_and_opens(self) -> None:
        if not isinstance(getattr(self, "phase", None), Summed):
            return
        end = self.phase
        assert isinstance(end, Summed)
        assert len(end.survivors) >= SEALED.smallest_cohort
        assert not end.survivors & end.transcript.parameters.left_out
        assert len(end.signatures) >= SEALED.quorum
        assert end.totals.tolist() == np.sum([INPUTS[seat] for seat in end.survivors], axis=0).tolist()
        signed = [end.transcript.masked.headers[seat].commitments for seat in sorted(end.survivors)]
        encoded = (end.totals + len(end.survivors) * LANE_OFFSET).astype(np.uint64)
        assert commitments_open(signed, encoded, end.blinders)


def changed(message: Message, flip: int) -> Message:
    """Return a message with one bit of its body, signature or payload changed."""
    match message:
        case KeysAdvertised() | SharesRevealed() | Complained():
            return replace(message, signed=changed_signed(message.signed, flip))
        case KeysShared():
            holder = sorted(message.sealed)[flip % len(message.sealed)]
            if flip % 2:
                return replace(message, sealed={**message.sealed, holder: flipped(message.sealed[holder], flip)})
            return replace(message, header=changed_signed(message.header, flip))
        case InputMasked():
            if flip % 2:
                return replace(message, masked=flipped(message.masked, flip))
            return replace(message, header=changed_signed(message.header, flip))
        case ConsistencySigned():
            return replace(message, signature=flipped(message.signature, flip))


def changed_signed(signed: Signed, flip: int) -> Signed:
    if flip % 3:
        return replace(signed, body=flipped(signed.body, flip))
    return replace(signed, signature=flipped(signed.signature, flip))


def flipped(data: bytes, flip: int) -> bytes:
    place, bit = flip // 8 % len(data), flip % 8
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


TestHostileNetwork = HostileNetwork.TestCase
TestHostileNetwork.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
