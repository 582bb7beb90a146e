"""The rounds of a small session and what befalls one institution: nothing, it drops out, or they restart without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from testkit.consortium import Consortium, Participants, expect, signer
from vdb_coordinator.phases import CollectingMaskedInputs, Complained, Summed
from vdb_coordinator.rounds import restart_by
from vdb_participant.phases import MaskedInputMessage
from vdb_participant.rounds import state_input
from vdb_shared import labels
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.canonical import digest_bytes, labelled_hash
from vdb_shared.secagg.encoding import Lanes
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.secagg.messages import Complaint, Signed, encode_seat
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.restarts import Restart
from vdb_shared.secagg.transcript import Stage

COMPLAINER: Seat = 0
ACCOMPLICE: Seat = 1


class Fate(Enum):
    """What befalls the institution."""

    STAYS = "nothing: all are in the sum"
    DROPS_OUT = "it vanishes after it shared keys"
    ACCUSED = "somebody complains about it, and the rounds restart without it"
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
        return Finished(summed, participants.contributions, restarts)


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
