"""The coordinator's rounds 0 to 4 as a pure state machine: `receive(phase, message)` and `expire(phase)`.

Promises that a message enters a phase only with a valid signature under the sealed roster, for this transcript, with the
payload its header names; that a byte-identical resend changes nothing and other bytes for the same seat are refused; that
the rounds are restarted only for a signed complaint, each participant's first; and that a sum comes out only of seeds that
were checked, and only if the survivors' commitments open to it. Leaves durability, deadlines and transport to the service.

Source: Bonawitz et al. 2017, section 6; protos/README.md §4.3 to §4.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from vdb_coordinator.phases import (
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
    RoundMessage,
    SharesRevealed,
    Summed,
    Unfailed,
    recorded,
)
from vdb_shared.errors import FormatError, ProtocolError, SessionAbortedError, StatisticError
from vdb_shared.secagg.commitments import add_commitments, no_commitments, sums_open
from vdb_shared.secagg.encoding import decode_totals
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.secagg.messages import MaskedInputHeader, SharedKeysHeader, Signed, UnmaskingShares
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.restarts import Restart, verify_restart
from vdb_shared.secagg.sealing import SEALED_BYTES, sealed_digest
from vdb_shared.secagg.transcript import (
    Stage,
    Transcript,
    check_distinct_keys,
    close_advertised,
    close_masked,
    close_shared,
    open_advertised,
    open_complaint,
    open_masked,
    open_shared,
    open_unmasking,
    seat_peer,
    verify_consistency,
)
from vdb_shared.secagg.unmasking import Recovered, Unrecovered, recover, remove_masks
from vdb_shared.secagg.vectors import Vector

__all__ = [
    "CollectingConsistency",
    "CollectingKeys",
    "CollectingMaskedInputs",
    "CollectingShares",
    "CollectingUnmasking",
    "Complained",
    "ConsistencySigned",
    "Failed",
    "InputMasked",
    "KeysAdvertised",
    "KeysShared",
    "Message",
    "Phase",
    "SharesRevealed",
    "Summed",
    "expire",
    "receive",
    "restart_by",
]

_STAGES = tuple(Stage)


def receive(phase: Phase, message: Message) -> Phase:
    """Return the phase after one message.

    Args:
        phase: starts as `CollectingKeys(parameters)`.
        message: from one seat, which the transport has authenticated.

    Returns:
        The same object when the message was accepted before; the next phase when it was the last one awaited; the first
        phase of the next attempt after a complaint.

    Raises:
        ProtocolError: peer "seat n": the message breaks a rule of §4.5, differs from what this seat sent before, or came
            in another round than its own. The phase stands.
        SessionAbortedError: the session has failed.
    """
    if isinstance(phase, Failed):
        raise SessionAbortedError(f"the session failed in round {phase.stage}: {phase.reason}")
    if isinstance(message, Complained):
        return _accept_complaint(phase, message)
    accepted = recorded(phase)
    stage = _stage_of(message)
    if stage >= len(accepted):
        raise ProtocolError(f"sends for round {_STAGES[stage]}, which has not begun", peer=seat_peer(message.seat))
    known = accepted[stage].get(message.seat)
    if known is not None:
        _check_resend(message, known)
        return phase
    return _accept(phase, message)


def restart_by(phase: CollectingMaskedInputs, message: Complained) -> Restart:
    """Return the record of a restart for which this complaint asks.

    Raises:
        ProtocolError: peer "seat n": not a complaint of this attempt, by and about somebody who shared keys.
    """
    peer = seat_peer(message.seat)
    _check_member(message.seat, phase.shared.seats, "those who shared keys")
    complaint = open_complaint(phase.parameters, phase.advertised.t1, message.seat, message.signed, peer)
    if complaint.dealer not in phase.shared.seats:
        raise ProtocolError(f"complains about seat {complaint.dealer}, which shared no keys", peer=peer)
    return Restart(phase.advertised.messages, message.seat, message.signed)


def expire(phase: Phase) -> Phase:
    """Return the phase after its deadline passed: the next one when enough have sent, else Failed."""
    match phase:
        case CollectingKeys():
            enough = len(phase.keys) >= phase.parameters.smallest_cohort
            return _close_keys(phase) if enough else _too_few(phase, Stage.ADVERTISE_KEYS, len(phase.keys))
        case CollectingShares():
            enough = len(phase.headers) >= phase.parameters.smallest_cohort
            return _close_shares(phase) if enough else _too_few(phase, Stage.SHARE_KEYS, len(phase.headers))
        case CollectingMaskedInputs():
            enough = len(phase.headers) >= phase.parameters.smallest_cohort
            return _close_inputs(phase) if enough else _too_few(phase, Stage.MASKED_INPUT, len(phase.headers))
        case CollectingConsistency():
            return _close_consistency(phase)
        case CollectingUnmasking():
            return _finish(phase, last=True)
        case Summed() | Failed():
            return phase
        case _:
            assert_never(phase)


def _stage_of(message: RoundMessage) -> int:
    match message:
        case KeysAdvertised():
            return 0
        case KeysShared():
            return 1
        case InputMasked():
            return 2
        case ConsistencySigned():
            return 3
        case SharesRevealed():
            return 4
        case _:
            assert_never(message)


def _check_resend(message: RoundMessage, known: Signed | bytes) -> None:
    match message:
        case KeysAdvertised() | SharesRevealed():
            same = message.signed == known
        case KeysShared():
            same = message.header == known
            if same:
                _check_sealed_digest(message, SharedKeysHeader.decode(message.header.body))
        case InputMasked():
            same = message.header == known
            if same:
                _check_masked_digest(message, MaskedInputHeader.decode(message.header.body))
        case ConsistencySigned():
            same = message.signature == known
        case _:
            assert_never(message)
    if not same:
        raise ProtocolError("sends other bytes than the first time; only the first count", peer=seat_peer(message.seat))


def _check_sealed_digest(message: KeysShared, header: SharedKeysHeader) -> None:
    if sealed_digest(header.t1, message.seat, message.sealed) != header.sealed_digest:
        raise ProtocolError("its sealed shares are not those its header names", peer=seat_peer(message.seat))


def _check_masked_digest(message: InputMasked, header: MaskedInputHeader) -> None:
    if masked_digest(message.masked) != header.masked_digest:
        raise ProtocolError("its masked input is not the one its header names", peer=seat_peer(message.seat))


def _accept(phase: Unfailed, message: RoundMessage) -> Phase:
    match phase, message:
        case CollectingKeys(), KeysAdvertised():
            return _accept_keys(phase, message)
        case CollectingShares(), KeysShared():
            return _accept_shares(phase, message)
        case CollectingMaskedInputs(), InputMasked():
            return _accept_input(phase, message)
        case CollectingConsistency(), ConsistencySigned():
            return _accept_signature(phase, message)
        case CollectingUnmasking(), SharesRevealed():
            return _accept_unmasking(phase, message)
        case Summed(), SharesRevealed():
            _open_shares(phase.transcript, phase.signatures, message)  # late, and held to the same rules
            return phase
        case _:
            raise ProtocolError(
                f"its message for round {_STAGES[_stage_of(message)]} comes after that round closed; "
                "it has dropped out of this session",
                peer=seat_peer(message.seat),
            )


def _accept_complaint(phase: Unfailed, message: Complained) -> Phase:
    if not isinstance(phase, CollectingMaskedInputs):
        raise ProtocolError("complains when no masked inputs are awaited", peer=seat_peer(message.seat))
    if message.seat in phase.headers:
        raise ProtocolError("complains after its masked input", peer=seat_peer(message.seat))
    try:
        parameters = verify_restart(phase.parameters, restart_by(phase, message), seat_peer(message.seat))
    except SessionAbortedError as error:
        return Failed(Stage.MASKED_INPUT, str(error), frozenset())
    return CollectingKeys(parameters)


def _check_member(seat: Seat, expected: frozenset[Seat], name: str) -> None:
    if seat not in expected:
        raise ProtocolError(f"is not among {name}", peer=seat_peer(seat))


def _accept_keys(phase: CollectingKeys, message: KeysAdvertised) -> Phase:
    peer = seat_peer(message.seat)
    keys = open_advertised(phase.parameters, message.seat, message.signed, peer)
    check_distinct_keys([*phase.keys.values(), keys], peer)
    grown = replace(
        phase,
        messages={**phase.messages, message.seat: message.signed},
        keys={**phase.keys, message.seat: keys},
    )
    return grown if grown.missing else _close_keys(grown)


def _close_keys(phase: CollectingKeys) -> CollectingShares:
    return CollectingShares(phase.parameters, close_advertised(phase.parameters, phase.messages, phase.keys))


def _accept_shares(phase: CollectingShares, message: KeysShared) -> Phase:
    peer = seat_peer(message.seat)
    _check_member(message.seat, phase.advertised.seats, "those who advertised keys")
    header = open_shared(phase.parameters, phase.advertised.t1, message.seat, message.header, peer)
    if message.sealed.keys() != phase.advertised.seats - {message.seat}:
        raise ProtocolError("sealed shares for other recipients than the others in U1", peer=peer)
    if any(len(sealed) != SEALED_BYTES for sealed in message.sealed.values()):
        raise ProtocolError(f"a sealed pair of shares must have {SEALED_BYTES} bytes", peer=peer)
    _check_sealed_digest(message, header)
    grown = replace(
        phase,
        messages={**phase.messages, message.seat: message.header},
        headers={**phase.headers, message.seat: header},
        sealed={**phase.sealed, message.seat: dict(message.sealed)},
    )
    return grown if grown.missing else _close_shares(grown)


def _close_shares(phase: CollectingShares) -> CollectingMaskedInputs:
    return CollectingMaskedInputs(
        phase.parameters,
        phase.advertised,
        close_shared(phase.advertised.t1, phase.messages, phase.headers),
        phase.sealed,
        Vector.zeros(phase.parameters.lanes),
        no_commitments(phase.parameters.blocks),
    )


def _accept_input(phase: CollectingMaskedInputs, message: InputMasked) -> Phase:
    peer = seat_peer(message.seat)
    _check_member(message.seat, phase.shared.seats, "those who shared keys")
    header = open_masked(phase.parameters, phase.shared, message.seat, message.header, peer)
    _check_masked_digest(message, header)
    try:
        vector = Vector.from_bytes(message.masked, phase.parameters.lanes)
        committed = add_commitments(phase.committed, header.commitments)
    except FormatError as error:
        raise ProtocolError(f"masked input: {error}", peer=peer) from error
    grown = replace(
        phase,
        total=phase.total.plus(vector),
        committed=committed,
        messages={**phase.messages, message.seat: message.header},
        headers={**phase.headers, message.seat: header},
    )
    return grown if grown.missing else _close_inputs(grown)


def _close_inputs(phase: CollectingMaskedInputs) -> CollectingConsistency:
    masked = close_masked(phase.advertised, phase.shared, phase.messages, phase.headers)
    transcript = Transcript(phase.parameters, phase.advertised, phase.shared, masked)
    return CollectingConsistency(transcript, phase.total, phase.committed)


def _accept_signature(phase: CollectingConsistency, message: ConsistencySigned) -> Phase:
    known = phase.transcript
    _check_member(message.seat, known.survivors, "the survivors")
    signed = Signed(known.masked.statement.encode(), message.signature)
    verify_consistency(known.parameters, message.seat, signed, seat_peer(message.seat))
    grown = replace(phase, signatures={**phase.signatures, message.seat: message.signature})
    return grown if grown.missing else _close_consistency(grown)


def _close_consistency(phase: CollectingConsistency) -> Phase:
    quorum = phase.transcript.parameters.quorum
    if len(phase.signatures) < quorum:
        reason = f"no quorum: {len(phase.signatures)} signed the same view, {quorum} are needed"
        return Failed(Stage.CONSISTENCY, reason, phase.missing)
    return CollectingUnmasking(phase.transcript, phase.total, phase.committed, phase.signatures)


def _accept_unmasking(phase: CollectingUnmasking, message: SharesRevealed) -> Phase:
    shares = _open_shares(phase.transcript, phase.signatures, message)
    grown = replace(
        phase,
        messages={**phase.messages, message.seat: message.signed},
        shares={**phase.shares, message.seat: shares},
    )
    return _finish(grown, last=not grown.missing)


def _open_shares(known: Transcript, signatures: Mapping[Seat, bytes], sent: SharesRevealed) -> UnmaskingShares:
    _check_member(sent.seat, frozenset(signatures), "the signers of T3")
    return open_unmasking(known.parameters, known.masked.statement, sent.seat, sent.signed, seat_peer(sent.seat))


def _finish(phase: CollectingUnmasking, *, last: bool) -> Phase:
    """Return Summed when the shares suffice; else Failed when no more will come, else the phase."""
    known = phase.transcript
    threshold = known.advertised.threshold
    if len(phase.shares) < threshold:
        reason = f"{len(phase.shares)} revealed shares, {threshold} are needed"
        return Failed(Stage.UNMASKING, reason, phase.missing) if last else phase
    match recover(known, phase.shares):
        case Unrecovered(dealer=dealer, kind=kind):
            reason = (
                f"the {len(phase.shares)} shares of the {kind} seed of seat {dealer} contradict what it signed; "
                f"too few of them are right for the threshold {threshold}"
            )
            return Failed(Stage.UNMASKING, reason, phase.missing) if last else phase
        case Recovered() as seeds:
            return _sum(phase, seeds)


def _sum(phase: CollectingUnmasking, seeds: Recovered) -> Phase:
    known = phase.transcript
    plain = remove_masks(phase.total, known, seeds)
    blinders = plain.reduced_blinders()
    try:
        totals = decode_totals(plain.lanes, len(known.survivors))
    except StatisticError as error:
        reason = f"the masks do not cancel ({error}); some survivor's masked input is not what the protocol makes"
        return Failed(Stage.UNMASKING, reason, frozenset())
    commitments = [known.masked.headers[seat].commitments for seat in sorted(known.survivors)]
    if not sums_open(phase.committed, commitments, plain.lanes, blinders):
        reason = (
            "the survivors' commitments do not open to the sum; some survivor committed to other lanes than it masked"
        )
        return Failed(Stage.UNMASKING, reason, frozenset())
    return Summed(known, totals, tuple(blinders), phase.signatures, phase.messages, seeds.left_out)


def _too_few(phase: CollectingKeys | CollectingShares | CollectingMaskedInputs, stage: Stage, found: int) -> Failed:
    needed = phase.parameters.smallest_cohort
    return Failed(stage, f"{found} of at least {needed} participants have sent", phase.missing)
