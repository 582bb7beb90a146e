"""Random sessions of an honest coordinator on a network that loses, delays, repeats, mixes and changes messages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from testkit.consortium import Participants, expect, inputs_for, parameters
from vdb_coordinator.phases import Unfailed
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
    Summed,
    expire,
    receive,
)
from vdb_participant.rounds import Advertised, Agreed, Masked, SharedKeys, complain
from vdb_shared.errors import ProtocolError, SessionAbortedError, UnusableShareError
from vdb_shared.secagg.commitments import commitments_open
from vdb_shared.secagg.encoding import LANE_OFFSET
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Parameters, Seat, share_threshold

N = 6
SEATS = st.integers(0, N - 1)
SEALED = parameters(N, lanes=2)
INPUTS = inputs_for(SEALED)
THRESHOLD = share_threshold(N, SEALED.collusion)
"""t; when n - t + 1 = 3 are missing, no seed can be rebuilt."""

MOST_RESTARTS = N - SEALED.smallest_cohort
"""After so many, two, nobody more can be left out."""

REFUSALS = (ProtocolError, SessionAbortedError)


class HostileNetwork(RuleBasedStateMachine):
    """Real participants and a real coordinator; all that is random lies between them."""

    phase: Phase
    participants: Participants

    @initialize(
        garbage=st.dictionaries(SEATS, st.frozensets(SEATS, min_size=1), max_size=2),
        restarts=st.integers(0, MOST_RESTARTS),
        flip=st.integers(0, 10**9),
    )
    def seal(self, garbage: dict[Seat, frozenset[Seat]], restarts: int, flip: int) -> None:
        self.phase = CollectingKeys(SEALED)
        self.garbage = garbage
        self.under_way: list[Message] = []
        self.arrived: list[Message] = []
        self.complained: set[Seat] = set()
        self.flip = flip
        self.begin()
        for dealer in range(restarts):
            self.restart(N - 1 - dealer, dealer)

    def restart(self, complainer: Seat, dealer: Seat) -> None:
        """Let everyone come to round 2, and somebody complain there."""
        for _ in range(2):
            self.everyone_sends(frozenset(), list(range(N)))
        self.somebody_complains_for_no_reason(complainer, dealer)

    def begin(self) -> None:
        """Let everyone follow the coordinator into the present attempt."""
        assert isinstance(self.phase, CollectingKeys)
        self.participants = Participants(self.phase.parameters, INPUTS, garbage=self.garbage)
        self.silent: set[Seat] = set(self.phase.parameters.left_out)
        self.before_input: dict[Seat, SharedKeys] = {}

    @rule(lost=st.frozensets(SEATS, max_size=N - THRESHOLD + 1), order=st.permutations(range(N)))
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

    @rule(
        before=st.sampled_from((3, 4, 2, 1, 0)),
        lost=st.frozensets(SEATS, min_size=N - THRESHOLD, max_size=N - THRESHOLD + 1),
    )
    def after_some_rounds_too_many_are_lost(self, before: int, lost: frozenset[Seat]) -> None:
        for _ in range(before):
            self.everyone_sends_and_all_arrives()
        self.everyone_sends(lost, list(range(N)))
        self.the_deadline_passes(N)

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
        self.before_input[seat] = expect(SharedKeys, self.participants.phases[seat])
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
        """Let a message arrive, and before it another in which one bit was changed on the way."""
        attempt = self.attempt()
        self.flip += 1
        if not isinstance(self.phase, Summed):  # it takes no notice of further answers, whatever they hold
            with pytest.raises(REFUSALS):
                receive(self.phase, changed(message, self.flip))
        self.arrived.append(message)
        try:
            self.phase = receive(self.phase, message)
        except REFUSALS:
            return
        if isinstance(message, InputMasked):
            self.nobody_complains_after_its_input(message.seat)
        if self.attempt() > attempt:
            self.begin()

    def nobody_complains_after_its_input(self, seat: Seat) -> None:
        if isinstance(self.phase, CollectingMaskedInputs) and seat in self.phase.headers and seat in self.before_input:
            dealer = min(self.phase.shared.seats - {seat})
            late = Complained(seat, complain(self.before_input[seat], dealer))
            with pytest.raises(ProtocolError, match="after its masked input"):
                receive(self.phase, late)

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
            if isinstance(self.phase, Summed) and isinstance(message, SharesRevealed):
                return
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

    @rule(patience=st.integers(0, N))
    def the_deadline_passes(self, patience: int = N - THRESHOLD + 1) -> None:
        """Let it pass, unless too many are missing for our patience; a session fails if, and only if, too few have sent."""
        before = self.phase
        missing: frozenset[Seat] = getattr(before, "missing", frozenset())
        if len(missing) > patience:
            return
        self.phase = expire(before)
        if not isinstance(before, Failed):
            assert isinstance(self.phase, Failed) == (sent_in(before) < needed_in(before))

    @invariant()
    def as_many_as_needed_may_still_take_part(self) -> None:
        if not isinstance(self.phase, Failed):
            assert N - len(parameters_of(self.phase).left_out) >= SEALED.smallest_cohort

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


def parameters_of(phase: Unfailed) -> Parameters:
    match phase:
        case CollectingConsistency() | CollectingUnmasking() | Summed():
            return phase.transcript.parameters
        case _:
            return phase.parameters


def sent_in(phase: Unfailed) -> int:
    """Return how many have sent in a phase."""
    match phase:
        case CollectingKeys() | CollectingShares() | CollectingMaskedInputs() | CollectingUnmasking():
            return len(phase.messages)
        case CollectingConsistency():
            return len(phase.signatures)
        case Summed():
            return len(phase.revealed)


def needed_in(phase: Unfailed) -> int:
    """Return how many must have sent when a phase ends."""
    match phase:
        case CollectingConsistency():
            return SEALED.quorum
        case CollectingUnmasking() | Summed():
            return phase.transcript.advertised.threshold
        case _:
            return SEALED.smallest_cohort


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
TestHostileNetwork.settings = settings(max_examples=80, stateful_step_count=15, deadline=None)
