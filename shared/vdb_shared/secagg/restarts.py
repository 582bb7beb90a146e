"""Restart without a dealer whose sealed pair does not open for somebody: the record, its check, the next attempt's parameters.

Promises that a restart is accepted only with a complaint that a participant of the attempt signed, one of each participant in a
session. A complaint reveals no key and no share, so provoking many of them gains nothing; it proves no guilt either: the
dealer, the complainer or the coordinator is at fault, and both names stay on record. Leaving out a participant is something
that a coordinator can do anyway, by losing its messages; what bounds the harm is n_min, which stays.

Source: Bonawitz et al. 2017, section 6, leaves open what follows when a ciphertext does not open; protos/README.md §4.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vdb_shared import labels
from vdb_shared.canonical import labelled_hash
from vdb_shared.errors import ProtocolError, SessionAbortedError
from vdb_shared.secagg.messages import Complaint, Signed, encode_seat
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.transcript import (
    AdvertisedRound,
    check_distinct_keys,
    close_advertised,
    open_advertised,
    open_complaint,
)


@dataclass(frozen=True, slots=True)
class Restart:
    """Why an attempt was given up.

    Attributes:
        advertised: round-0 messages of U1 of that attempt.
        complainer: who complains.
        complaint: signed.
    """

    advertised: Mapping[Seat, Signed] = field(repr=False)
    complainer: Seat
    complaint: Signed = field(repr=False)

    @property
    def dealer(self) -> Seat:
        """Whose pair does not open, as the complaint says.

        Raises:
            FormatError: the complaint is malformed.
        """
        return Complaint.decode(self.complaint.body).dealer


def verify_restart(parameters: Parameters, restart: Restart, peer: str) -> Parameters:
    """Return the parameters of the next attempt after checking the record.

    Args:
        parameters: those of the attempt that was given up.
        restart: the record.
        peer: whom to blame if it does not hold.

    Raises:
        ProtocolError: by `peer`: not a complaint of this attempt, or not its sender's first.
        SessionAbortedError: it is, but too few are left.
    """
    round0 = _replay_keys(parameters, restart, peer)
    complainer = restart.complainer
    if complainer not in round0.seats:
        raise ProtocolError(f"a complaint of seat {complainer}, which advertised no keys", peer=peer)
    complaint = open_complaint(parameters, round0.t1, complainer, restart.complaint, peer)
    dealer = complaint.dealer
    if dealer not in round0.seats:
        raise ProtocolError(f"a complaint about seat {dealer}, which advertised no keys", peer=peer)
    if dealer == complainer:
        raise ProtocolError(f"seat {dealer} complains about itself", peer=peer)
    if complainer in parameters.complained:
        raise ProtocolError(f"seat {complainer} complains a second time; only its first complaint counts", peer=peer)
    left_out = parameters.left_out | {dealer}
    remaining = len(parameters.roster) - len(left_out)
    if remaining < parameters.smallest_cohort:
        raise SessionAbortedError(
            f"seat {complainer} cannot open what seat {dealer} sealed for it, and without seat {dealer} only {remaining} of at "
            f"least {parameters.smallest_cohort} participants are left"
        )
    session = labelled_hash(
        labels.HASH_RESTART,
        parameters.session,
        round0.t1,
        encode_seat(complainer),
        restart.complaint.body,
        restart.complaint.signature,
    )
    return replace(parameters, session=session, left_out=left_out, complained=parameters.complained | {complainer})


def _replay_keys(parameters: Parameters, restart: Restart, peer: str) -> AdvertisedRound:
    messages = restart.advertised
    keys = {seat: open_advertised(parameters, seat, messages[seat], peer) for seat in sorted(messages)}
    check_distinct_keys(list(keys.values()), peer)
    if len(keys) < parameters.smallest_cohort:
        raise ProtocolError(f"a restart of a round with {len(keys)} participants", peer=peer)
    return close_advertised(parameters, messages, keys)
