"""Protobuf messages to plain values and back: the one place where they meet.

Promises that what comes out is well formed: digests are digests, seats are in range, nobody stands twice. Signed bodies
pass through untouched. Leaves to callers whether a value is true, allowed or expected.

Source: protos/README.md §11; protos/vdb/v1/federation.proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from vdb_shared import labels
from vdb_shared.canonical import check_digest, labelled_hash
from vdb_shared.errors import FormatError
from vdb_shared.roster import SignedRoster
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import MAX_SEAT, Seat
from vdb_shared.secagg.restarts import Restart
from vdb_shared.wire import federation_pb2 as pb
from vdb_shared.wire.status import (
    Enrolment,
    LogView,
    Phase,
    Receipt,
    Said,
    SealedSession,
    SessionDetails,
    SessionStatus,
    SessionSummary,
    Shares,
    SiteStatus,
)

CHUNK_BYTES: Final = 256 * 2**10
"""Size of the chunks in which vectors and bundles travel: large enough for line speed, far below the message cap."""

MAX_MESSAGE_BYTES: Final = 6 * 2**20
"""Largest message either side accepts: a spec of 4 MiB, its opening statement and the roster."""

_SIGNATURE_BYTES: Final = 64


# Submissions and receipts, §11.4.


def round_kind(name: str, attempt: int) -> str:
    """Return the kind of a submission to the rounds: name of the RPC, after a restart with the attempt, "ShareKeys/1"."""
    return f"{name}/{attempt}" if attempt else name


def submission_digest(kind: str, *parts: bytes) -> bytes:
    """Return the digest by which a submission is acknowledged, 32 bytes.

    Args:
        kind: name of the RPC, such as "Join", or what `round_kind` makes of it.
        parts: for statements the envelope's bytes; for round messages body and signature, and then what travels beside
            them: the sealed shares in order of holder, or the contribution's envelope.
    """
    return labelled_hash(labels.HASH_SUBMISSION, kind.encode(), *parts)


def join_digest(join: bytes) -> bytes:
    """Return the submission digest of a Join."""
    return submission_digest("Join", join)


def keys_digest(keys: Signed, attempt: int) -> bytes:
    """Return the submission digest of an AdvertiseKeys."""
    return submission_digest(round_kind("AdvertiseKeys", attempt), keys.body, keys.signature)


def shares_digest(header: Signed, sealed: Mapping[Seat, bytes], attempt: int) -> bytes:
    """Return the submission digest of a ShareKeys; `sealed` is by holder."""
    parts = (part for seat in sorted(sealed) for part in (seat.to_bytes(4, "little"), sealed[seat]))
    return submission_digest(round_kind("ShareKeys", attempt), header.body, header.signature, *parts)


def masked_digest(header: Signed, contribution: bytes, attempt: int) -> bytes:
    """Return the submission digest of an UploadMaskedInput; the header names the masked bytes by digest."""
    kind = round_kind("UploadMaskedInput", attempt)
    return submission_digest(kind, header.body, header.signature, contribution)


def complaint_digest(complaint: Signed, attempt: int) -> bytes:
    """Return the submission digest of a Complain."""
    return submission_digest(round_kind("Complain", attempt), complaint.body, complaint.signature)


def consistency_digest(statement: Signed, attempt: int) -> bytes:
    """Return the submission digest of a SignConsistency."""
    return submission_digest(round_kind("SignConsistency", attempt), statement.body, statement.signature)


def unmasking_digest(shares: Signed, attempt: int) -> bytes:
    """Return the submission digest of a RevealShares."""
    return submission_digest(round_kind("RevealShares", attempt), shares.body, shares.signature)


def countersign_digest(countersignature: bytes) -> bytes:
    """Return the submission digest of a Countersign."""
    return submission_digest("Countersign", countersignature)


def abort_digest(abort: bytes) -> bytes:
    """Return the submission digest of an Abort."""
    return submission_digest("Abort", abort)


def receipt_to_wire(receipt: Receipt) -> pb.Receipt:
    """Return the message of a receipt."""
    return pb.Receipt(digest=receipt.digest, event=receipt.event)


def receipt_from_wire(message: pb.Receipt, expected: bytes) -> Receipt:
    """Return the receipt of a submission.

    Raises:
        FormatError: it acknowledges other bytes than were sent.
    """
    if message.digest != expected:
        raise FormatError(f"receipt is for {message.digest.hex()[:16]}, but {expected.hex()[:16]} was sent")
    return Receipt(message.digest, message.event)


# Signed messages of the rounds, §4.2.


def seat_from_wire(seat: int) -> Seat:
    """Return a seat in range.

    Raises:
        FormatError: it is not.
    """
    if not 0 <= seat <= MAX_SEAT:
        raise FormatError(f"seat {seat} is not in 0 to {MAX_SEAT}")
    return seat


def signed_to_wire(seat: Seat, signed: Signed) -> pb.SignedMessage:
    """Return the message of a signed body."""
    return pb.SignedMessage(seat=seat, body=signed.body, signature=signed.signature)


def signed_from_wire(message: pb.SignedMessage) -> tuple[Seat, Signed]:
    """Return a signed body and the seat that claims it.

    Raises:
        FormatError: seat out of range, no body, or a signature of a wrong length.
    """
    seat = seat_from_wire(message.seat)
    if not message.body:
        raise FormatError(f"the message of seat {seat} has no body")
    if len(message.signature) != _SIGNATURE_BYTES:
        raise FormatError(
            f"the signature of seat {seat} has {len(message.signature)} bytes, expected {_SIGNATURE_BYTES}"
        )
    return seat, Signed(message.body, message.signature)


def signed_set_to_wire(messages: Mapping[Seat, Signed]) -> list[pb.SignedMessage]:
    """Return the messages of a round in order of seat."""
    return [signed_to_wire(seat, messages[seat]) for seat in sorted(messages)]


def signed_set_from_wire(messages: Iterable[pb.SignedMessage]) -> dict[Seat, Signed]:
    """Return the messages of a round by seat.

    Raises:
        FormatError: one is malformed, or a seat stands twice.
    """
    found: dict[Seat, Signed] = {}
    for message in messages:
        seat, signed = signed_from_wire(message)
        if seat in found:
            raise FormatError(f"seat {seat} stands twice in a round")
        found[seat] = signed
    return found


def signatures_to_wire(body: bytes, signatures: Mapping[Seat, bytes]) -> list[pb.SignedMessage]:
    """Return the signatures that several seats made over one body."""
    return [signed_to_wire(seat, Signed(body, signatures[seat])) for seat in sorted(signatures)]


def sealed_to_wire(dealer: Seat, sealed: Mapping[Seat, bytes]) -> list[pb.SealedShares]:
    """Return what one dealer sealed, by holder."""
    return [pb.SealedShares(dealer=dealer, holder=holder, ciphertext=sealed[holder]) for holder in sorted(sealed)]


def sealed_from_wire(dealer: Seat, messages: Iterable[pb.SealedShares]) -> dict[Seat, bytes]:
    """Return what one dealer sealed, by holder.

    Raises:
        FormatError: another dealer's, or a holder stands twice.
    """
    found: dict[Seat, bytes] = {}
    for message in messages:
        holder = seat_from_wire(message.holder)
        if message.dealer != dealer or holder in found:
            raise FormatError(f"sealed shares of dealer {message.dealer} for holder {holder} do not belong here")
        found[holder] = message.ciphertext
    return found


def shares_to_wire(shares: Shares, holder: Seat) -> pb.GetSharedKeysResponse:
    """Return round 1 as one holder is sent it."""
    return pb.GetSharedKeysResponse(
        headers=signed_set_to_wire(shares.headers),
        sealed=[
            pb.SealedShares(dealer=dealer, holder=holder, ciphertext=shares.sealed[dealer])
            for dealer in sorted(shares.sealed)
        ],
    )


def shares_from_wire(message: pb.GetSharedKeysResponse, holder: Seat) -> Shares:
    """Return round 1 as one holder was sent it.

    Raises:
        FormatError: malformed, a share for somebody else, or a dealer stands twice.
    """
    sealed: dict[Seat, bytes] = {}
    for item in message.sealed:
        dealer = seat_from_wire(item.dealer)
        if item.holder != holder or dealer in sealed:
            raise FormatError(f"sealed shares of dealer {dealer} for holder {item.holder} do not belong here")
        sealed[dealer] = item.ciphertext
    return Shares(signed_set_from_wire(message.headers), sealed)


# Restarts, §4.4.


def restart_to_wire(restart: Restart) -> pb.RestartRecord:
    """Return the message of a restart's record."""
    return pb.RestartRecord(
        advertised=signed_set_to_wire(restart.advertised),
        complaint=signed_to_wire(restart.complainer, restart.complaint),
    )


def restart_from_wire(message: pb.RestartRecord) -> Restart:
    """Return a restart's record, not yet verified.

    Raises:
        FormatError: a message is malformed or missing, or a seat stands twice.
    """
    complainer, complaint = signed_from_wire(message.complaint)
    return Restart(signed_set_from_wire(message.advertised), complainer, complaint)


def restarts_from_wire(message: pb.GetRestartsResponse) -> tuple[Restart, ...]:
    """Return the records of all restarts in order, not yet verified; raises as `restart_from_wire`."""
    return tuple(restart_from_wire(item) for item in message.restarts)


# Roster, enrolment and sessions.


def roster_to_wire(roster: SignedRoster) -> pb.SignedRoster:
    """Return the message of a signed roster."""
    return pb.SignedRoster(roots=roster.roots, targets=roster.targets, roster=roster.roster)


def roster_from_wire(message: pb.SignedRoster) -> SignedRoster:
    """Return the signed roster, not yet verified.

    Raises:
        FormatError: there is no root.
    """
    if not message.roots:
        raise FormatError("a signed roster needs at least one root")
    return SignedRoster(tuple(message.roots), message.targets, message.roster)


def enrolment_from_wire(message: pb.GetEnrolmentResponse) -> Enrolment | None:
    """Return the certificate and roster of an approved enrolment, or None while the lead has not approved."""
    if not message.approved:
        return None
    return Enrolment(message.certificate_chain, roster_from_wire(message.roster))


def status_to_wire(status: SessionStatus) -> pb.SessionStatus:
    """Return the message of a session's status."""
    return pb.SessionStatus(
        phase=pb.Phase.ValueType(int(status.phase)),
        event=status.event,
        reason=status.reason,
        sites=[pb.SiteStatus(institution=s.institution, seat=s.seat, stage=s.stage) for s in status.sites],
        attempt=status.attempt,
        witness=status.witness,
    )


def status_from_wire(message: pb.SessionStatus) -> SessionStatus:
    """Return a session's status.

    Raises:
        FormatError: a phase this version does not know, or a seat out of range.
    """
    sites = tuple(SiteStatus(s.institution, seat_from_wire(s.seat), s.stage) for s in message.sites)
    return SessionStatus(_phase(message.phase), message.event, message.reason, sites, message.attempt, message.witness)


def summary_to_wire(summary: SessionSummary) -> pb.SessionSummary:
    """Return the message of a line of the list of sessions."""
    phase = pb.Phase.ValueType(int(summary.phase))
    return pb.SessionSummary(session=summary.session, title=summary.title, phase=phase, withdrawn=summary.withdrawn)


def summary_from_wire(message: pb.SessionSummary) -> SessionSummary:
    """Return a line of the list of sessions.

    Raises:
        FormatError: the id is no digest, or the phase is not known.
    """
    return SessionSummary(check_digest(message.session), message.title, _phase(message.phase), message.withdrawn)


def details_to_wire(details: SessionDetails) -> pb.GetSessionResponse:
    """Return the message of a session's details."""
    return pb.GetSessionResponse(
        session=details.session,
        spec=details.spec,
        open=details.open,
        roster=roster_to_wire(details.roster),
        status=status_to_wire(details.status),
    )


def details_from_wire(message: pb.GetSessionResponse) -> SessionDetails:
    """Return a session's details, nothing in them verified yet.

    Raises:
        FormatError: malformed.
    """
    return SessionDetails(
        session=check_digest(message.session),
        spec=message.spec,
        open=message.open,
        roster=roster_from_wire(message.roster),
        status=status_from_wire(message.status),
    )


def seal_to_wire(sealed: SealedSession) -> pb.GetSealResponse:
    """Return the message of a seal."""
    return pb.GetSealResponse(seal=sealed.seal, joins=sealed.joins, open_proof=sealed.open_proof)


def seal_from_wire(message: pb.GetSealResponse) -> SealedSession:
    """Return the seal and its joins, as bytes, nothing in them verified yet."""
    return SealedSession(message.seal, tuple(message.joins), message.open_proof)


def said_from_wire(response: pb.GetObjectionsResponse) -> Said:
    """Return what was said of a result."""
    return Said(tuple(response.objections), response.withdrawal)


def view_to_wire(view: LogView) -> pb.GetCheckpointResponse:
    """Return the message of a view of the log."""
    return pb.GetCheckpointResponse(
        checkpoint=view.checkpoint, consistency=view.consistency, index=view.index, inclusion=view.inclusion
    )


def view_from_wire(message: pb.GetCheckpointResponse) -> LogView:
    """Return a view of the log, nothing in it verified yet."""
    return LogView(message.checkpoint, tuple(message.consistency), message.index, tuple(message.inclusion))


def _phase(number: int) -> Phase:
    try:
        return Phase(number)
    except ValueError as error:
        raise FormatError(f"phase {number} is not known to this version; update the software") from error
