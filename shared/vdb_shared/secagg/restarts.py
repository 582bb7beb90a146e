"""Restart without a dealer whose sealed pair does not open: the evidence, its check, the parameters of the next attempt.

Promises that a restart is accepted only with a proof that the dealer itself signed a pair that its holder cannot use: anyone
with the evidence can open the pair with the key that the complaint reveals. A pair that the coordinator altered on the way
proves nothing, because the dealer's signed header names the digest of all its pairs; neither does a false complaint.

Why revealing a channel key is harmless: whoever complains sends no masked input and no share in that attempt, so m complainers
and c colluders hold at most |U1| − n_min + c < t shares of any other seed, and with the next attempt all keys are fresh.

Source: Bonawitz et al. 2017, section 6 (what to do when a ciphertext does not open is left open there); protos/README.md §4.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vdb_shared import labels
from vdb_shared.canonical import labelled_hash
from vdb_shared.errors import FormatError, ProtocolError, SessionAbortedError
from vdb_shared.secagg import agreement
from vdb_shared.secagg.messages import Signed, encode_seat
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.sealing import SEALED_BYTES, Route, open_sealed, sealed_digest
from vdb_shared.secagg.transcript import (
    AdvertisedRound,
    check_distinct_keys,
    close_advertised,
    open_advertised,
    open_complaint,
    open_shared,
)


@dataclass(frozen=True, slots=True)
class Restart:
    """Why an attempt was given up: a dealer, a complainer, and all that shows who is right.

    Attributes:
        advertised: round-0 messages of U1 of that attempt.
        dealer: whose pair does not open.
        header: the dealer's round-1 header.
        sealed: all pairs that the dealer sealed, by recipient.
        complainer: who complains.
        complaint: signed, with the complainer's channel key.
    """

    advertised: Mapping[Seat, Signed] = field(repr=False)
    dealer: Seat
    header: Signed = field(repr=False)
    sealed: Mapping[Seat, bytes] = field(repr=False)
    complainer: Seat
    complaint: Signed = field(repr=False)


def verify_restart(parameters: Parameters, restart: Restart, peer: str) -> Parameters:
    """Return the parameters of the next attempt after checking the evidence.

    Args:
        parameters: those of the attempt that was given up.
        restart: the evidence.
        peer: whom to blame if it does not hold.

    Raises:
        ProtocolError: by `peer`: the evidence shows no fault of the dealer.
        SessionAbortedError: it does, but too few are left without it.
    """
    round0 = _replay_keys(parameters, restart, peer)
    if restart.dealer not in round0.seats or restart.complainer not in round0.seats:
        raise ProtocolError("a restart names seats that did not advertise keys", peer=peer)
    if restart.dealer == restart.complainer:
        raise ProtocolError(f"seat {restart.dealer} complains about itself", peer=peer)
    _check_dealt(parameters, round0, restart, peer)
    _check_unusable(parameters, round0, restart, peer)
    left_out = parameters.left_out | {restart.dealer}
    remaining = len(parameters.roster) - len(left_out)
    if remaining < parameters.smallest_cohort:
        raise SessionAbortedError(
            f"seat {restart.dealer} sealed shares that do not open, and without it only {remaining} of at least "
            f"{parameters.smallest_cohort} participants are left"
        )
    return replace(parameters, session=_next_session(parameters, round0, restart), left_out=left_out)


def _replay_keys(parameters: Parameters, restart: Restart, peer: str) -> AdvertisedRound:
    messages = restart.advertised
    keys = {seat: open_advertised(parameters, seat, messages[seat], peer) for seat in sorted(messages)}
    check_distinct_keys(list(keys.values()), peer)
    if len(keys) < parameters.smallest_cohort:
        raise ProtocolError(f"a restart of a round with {len(keys)} participants", peer=peer)
    return close_advertised(parameters, messages, keys)


def _check_dealt(parameters: Parameters, round0: AdvertisedRound, restart: Restart, peer: str) -> None:
    """Check that the dealer signed exactly these pairs."""
    header = open_shared(parameters, round0.t1, restart.dealer, restart.header, peer)
    if restart.sealed.keys() != round0.seats - {restart.dealer}:
        raise ProtocolError("a restart without all pairs of the dealer", peer=peer)
    if any(len(sealed) != SEALED_BYTES for sealed in restart.sealed.values()):
        raise ProtocolError(f"a sealed pair of shares must have {SEALED_BYTES} bytes", peer=peer)
    if sealed_digest(round0.t1, restart.dealer, restart.sealed) != header.sealed_digest:
        raise ProtocolError(f"the pairs shown for a restart are not those that seat {restart.dealer} signed", peer=peer)


def _check_unusable(parameters: Parameters, round0: AdvertisedRound, restart: Restart, peer: str) -> None:
    """Check that the complainer's key is its own and does not open the pair."""
    complaint = open_complaint(parameters, round0.t1, restart.complainer, restart.complaint, peer)
    if complaint.dealer != restart.dealer:
        raise ProtocolError("a restart without the seat that the complaint names", peer=peer)
    if agreement.public_key(complaint.channel_private) != round0.keys[restart.complainer].channel_key:
        raise ProtocolError(f"seat {restart.complainer} complains with a key that it did not advertise", peer=peer)
    channel = agreement.load_private_key(complaint.channel_private)
    shared = agreement.agree(channel, round0.keys[restart.dealer].channel_key)
    route = Route(round0.t1, restart.dealer, restart.complainer)
    try:
        open_sealed(restart.sealed[restart.complainer], route, shared)
    except FormatError:
        return
    raise ProtocolError(
        f"the complaint of seat {restart.complainer} is false: what seat {restart.dealer} sealed for it opens",
        peer=peer,
    )


def _next_session(parameters: Parameters, round0: AdvertisedRound, restart: Restart) -> bytes:
    return labelled_hash(
        labels.HASH_RESTART,
        parameters.session,
        round0.t1,
        encode_seat(restart.complainer),
        restart.complaint.body,
        restart.complaint.signature,
        restart.header.body,
        restart.header.signature,
    )
