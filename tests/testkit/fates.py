"""The rounds of a small session and what befalls one institution: nothing, it drops out, or they restart without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from testkit.consortium import Consortium, Participants, expect, signer
from vdb_coordinator.phases import CollectingMaskedInputs, CollectingUnmasking, Complained, InputMasked, Summed
from vdb_coordinator.rounds import restart_by
from vdb_participant.phases import MaskedInputMessage
from vdb_participant.rounds import Committed, state_input
from vdb_shared import labels
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.messages import KeptMessages
from vdb_shared.canonical import digest_bytes, labelled_hash
from vdb_shared.secagg.commitments import commit
from vdb_shared.secagg.encoding import Lanes, decode_totals
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.secagg.messages import Complaint, Signed, encode_seat
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.restarts import Restart
from vdb_shared.secagg.transcript import Stage, open_unmasking, seat_peer
from vdb_shared.secagg.unmasking import Recovered, recover, remove_masks

COMPLAINER: Seat = 0
ACCOMPLICE: Seat = 1


class Fate(Enum):
    """What befalls the institution."""

    STAYS = "nothing: all are in the sum"
    DROPS_OUT = "it vanishes after it shared keys"
    ACCUSED = "somebody complains about it, and the rounds restart without it"
    DECEIVES = "it masks another vector than it committed to, and the coordinator publishes the total all the same"
    FRAMED = "the rounds restart without it, after a complaint that its sender did not sign"


@dataclass
class ContributingParticipants(Participants):
    """Participants that make a contribution statement about their masked input before they send it.

    Attributes:
        contribute: returns the statement of a seat about the digest of its masked input.
        contributions: made so far.
    """

    contribute: Callable[[Seat, bytes], Envelope] = field(kw_only=True)
    contributions: dict[Seat, Envelope] = field(init=False, default_factory=dict)

    def mask_input(
        self, seat: Seat, headers: Mapping[Seat, Signed], sealed: Mapping[Seat, bytes]
    ) -> MaskedInputMessage:
        prepared = self.prepare_input(seat, headers, sealed)
        contribution = self.contribute(seat, masked_digest(prepared.masked))
        self.contributions[seat] = contribution
        self.phases[seat], sent = state_input(prepared, digest_bytes(contribution.payload_digest))
        return sent


@dataclass(frozen=True)
class Finished:
    """Rounds that gave a sum."""

    summed: Summed
    contributions: Mapping[Seat, Envelope]
    restarts: tuple[Restart, ...]
    messages: KeptMessages


@dataclass
class DeceivingParticipants(ContributingParticipants):
    """Participants of whom one commits to another vector than it masks: its first lane is one more.

    Attributes:
        liar: which.
    """

    liar: Seat = field(kw_only=True)

    def committed(self, seat: Seat) -> Committed:
        honest = super().committed(seat)
        if seat != self.liar:
            return honest
        other = honest.vector.lanes.copy()
        other[0] += np.uint64(1)
        return Committed(honest.vector, commit(other, honest.vector.blinders))


@dataclass(frozen=True)
class Rounds:
    """Rounds to be played: the sealed facts, everybody's lanes and statements, and whom something befalls."""

    parameters: Parameters
    inputs: Mapping[Seat, Lanes]
    seed: object
    contribute: Callable[[Seat, bytes], Envelope]
    victim: Seat

    def play(self, fate: Fate) -> Finished:
        """Play all rounds, a second time if a complaint comes up."""
        if fate is Fate.STAYS:
            return self._finish(self.parameters, (), {})
        if fate is Fate.DECEIVES:
            return self._deceived()
        if fate is Fate.DROPS_OUT:
            return self._finish(self.parameters, (), {self.victim: Stage.MASKED_INPUT})
        restart = self._complaint(fate)
        return self._finish(restarted(self.parameters, restart), (restart,), {})

    def _complaint(self, fate: Fate) -> Restart:
        first = Consortium(self.parameters, self.inputs, self.seed)
        first.advertise()
        first.share_keys()
        signed = first.participants.complain(COMPLAINER, self.victim)
        restart = restart_by(first.at(CollectingMaskedInputs), Complained(COMPLAINER, signed))
        if fate is Fate.ACCUSED:
            return restart
        forged = signer(self.seed, ACCOMPLICE).sign(labels.TYPE_COMPLAINT, signed.body)
        return replace(restart, complaint=replace(signed, signature=forged))

    def _finish(
        self, parameters: Parameters, restarts: tuple[Restart, ...], dropouts: Mapping[Seat, Stage]
    ) -> Finished:
        consortium = Consortium(parameters, self.inputs, self.seed)
        participants = ContributingParticipants(parameters, self.inputs, self.seed, contribute=self.contribute)
        consortium.participants, consortium.there = participants, set(parameters.seats)
        summed = expect(Summed, consortium.run(dropouts))
        return Finished(summed, participants.contributions, restarts, _kept(consortium, summed))

    def _deceived(self) -> Finished:
        """Play all rounds with a liar, up to the check that an honest coordinator makes before it publishes."""
        consortium = Consortium(self.parameters, self.inputs, self.seed)
        participants = DeceivingParticipants(
            self.parameters, self.inputs, self.seed, contribute=self.contribute, liar=self.victim
        )
        consortium.participants = participants
        unmasking = expect(CollectingUnmasking, consortium.run_until(Stage.UNMASKING))
        known, signatures = unmasking.transcript, unmasking.signatures
        revealed = {seat: participants.reveal(seat, signatures) for seat in sorted(signatures)}
        statement = known.masked.statement
        shares = {
            seat: open_unmasking(known.parameters, statement, seat, signed, seat_peer(seat))
            for seat, signed in revealed.items()
        }
        plain = remove_masks(unmasking.total, known, expect(Recovered, recover(known, shares)))
        totals = decode_totals(plain.lanes, len(known.survivors))
        summed = Summed(known, totals, tuple(plain.reduced_blinders()), signatures, revealed, ())
        return Finished(summed, participants.contributions, (), _kept(consortium, summed))


def _kept(consortium: Consortium, summed: Summed) -> KeptMessages:
    """Return what a coordinator keeps of the messages that a total was made of."""
    masked = {item.seat: item.masked for item in consortium.sent if isinstance(item, InputMasked)}
    return KeptMessages({seat: masked[seat] for seat in sorted(summed.survivors)}, dict(summed.revealed))


def restarted(parameters: Parameters, restart: Restart) -> Parameters:
    """Return the parameters of the next attempt as §4.4 writes them, whoever signed the complaint."""
    complaint = Complaint.decode(restart.complaint.body)
    session = labelled_hash(
        labels.HASH_RESTART,
        parameters.session,
        complaint.t1,
        encode_seat(restart.complainer),
        restart.complaint.body,
        restart.complaint.signature,
    )
    return replace(
        parameters,
        session=session,
        left_out=parameters.left_out | {complaint.dealer},
        complained=parameters.complained | {restart.complainer},
    )
