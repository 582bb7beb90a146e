"""The events of a session: what happened, in the form in which it is stored.

Promises that decoding accepts exactly what encoding writes. Vectors and archives stand in an event by digest; whoever
decodes gives a way to read them. What an event does to a session stands in `sessions.py`.

Source: protos/README.md §11.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

from vdb_coordinator.approvals import SignedOrder
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.logged import SALT_BYTES
from vdb_shared.canonical import (
    canonical_json,
    check_digest,
    decode_base64,
    encode_base64,
    parse_canonical_json,
    sha256_digest,
)
from vdb_shared.errors import FormatError, StoreError
from vdb_shared.roster import SignedRoster
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.transparency.proof import LogProof, parse_proof
from vdb_shared.wire.status import Phase


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The coordinator opened a session: canonical spec bytes, the roster it counts on, its opening statement."""

    at: datetime
    spec: bytes
    roster: SignedRoster
    open: Envelope


@dataclass(frozen=True, slots=True)
class Joined:
    """A participant agreed."""

    at: datetime
    seat: Seat
    join: Envelope


@dataclass(frozen=True, slots=True)
class MemberAborted:
    """A participant left, and said why in a signed statement."""

    at: datetime
    seat: Seat
    abort: Envelope


@dataclass(frozen=True, slots=True)
class MemberRevoked:
    """A participant is a member of the consortium no more; nothing of it counts from here on."""

    at: datetime
    seat: Seat


@dataclass(frozen=True, slots=True)
class SessionSealed:
    """The coordinator fixed who joined and what follows from it, once enough of them had seen the opening in the log."""

    at: datetime
    seal: Envelope
    open_proof: LogProof


@dataclass(frozen=True, slots=True)
class KeysReceived:
    """Round 0 of a seat."""

    at: datetime
    seat: Seat
    keys: Signed


@dataclass(frozen=True, slots=True)
class SharesReceived:
    """Round 1 of a seat; sealed shares by holder."""

    at: datetime
    seat: Seat
    header: Signed
    sealed: Mapping[Seat, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class InputReceived:
    """Round 2 of a seat; `masked` is the vector, stored by digest."""

    at: datetime
    seat: Seat
    header: Signed
    contribution: Envelope
    masked: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ComplaintReceived:
    """Instead of round 2 of a seat: what a dealer sealed for it does not open."""

    at: datetime
    seat: Seat
    complaint: Signed


@dataclass(frozen=True, slots=True)
class ConsistencyReceived:
    """Round 3 of a seat."""

    at: datetime
    seat: Seat
    statement: Signed


@dataclass(frozen=True, slots=True)
class UnmaskingReceived:
    """Round 4 of a seat."""

    at: datetime
    seat: Seat
    shares: Signed = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """Nobody is waited for any longer in this phase."""

    at: datetime
    phase: Phase


@dataclass(frozen=True, slots=True)
class ClosedEarly:
    """Nobody is waited for any longer in the phase that the order names: enough people signed that (§11.11)."""

    at: datetime
    order: SignedOrder


@dataclass(frozen=True, slots=True)
class DraftMade:
    """The coordinator made the bundle that survivors countersign; `archive` is stored by digest."""

    at: datetime
    archive: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Countersigned:
    """A survivor signed the result."""

    at: datetime
    seat: Seat
    countersignature: Envelope


@dataclass(frozen=True, slots=True)
class SessionPublished:
    """The final bundle exists; `archive` is stored by digest."""

    at: datetime
    archive: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """The lead or the coordinator gave up; a signed abort statement follows."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class SessionAborted:
    """The coordinator signed why the session ended without a result; `salt` is for the log's entry."""

    at: datetime
    abort: Envelope
    salt: bytes


@dataclass(frozen=True, slots=True)
class ObjectionReceived:
    """A member objects to the published result; `salt` is for the log's entry."""

    at: datetime
    objection: Envelope
    salt: bytes


@dataclass(frozen=True, slots=True)
class ResultWithdrawn:
    """The coordinator stands by the published result no longer; `salt` is for the log's entry."""

    at: datetime
    withdrawal: Envelope
    salt: bytes


@dataclass(frozen=True, slots=True)
class EndLost:
    """The log says how the session ended; what led there was lost when the coordinator was restored from a backup."""

    at: datetime
    entry: bytes


Event: TypeAlias = (
    SessionOpened
    | Joined
    | MemberAborted
    | MemberRevoked
    | SessionSealed
    | KeysReceived
    | SharesReceived
    | InputReceived
    | ComplaintReceived
    | ConsistencyReceived
    | UnmaskingReceived
    | DeadlinePassed
    | ClosedEarly
    | DraftMade
    | Countersigned
    | SessionPublished
    | SessionFailed
    | SessionAborted
    | ObjectionReceived
    | ResultWithdrawn
    | EndLost
)

ReadBlob: TypeAlias = Callable[[str], bytes]
"""Returns the bytes with a digest."""

_KINDS: Final[dict[str, type[Event]]] = {
    "session-opened": SessionOpened,
    "joined": Joined,
    "member-aborted": MemberAborted,
    "member-revoked": MemberRevoked,
    "session-sealed": SessionSealed,
    "keys-received": KeysReceived,
    "shares-received": SharesReceived,
    "input-received": InputReceived,
    "complaint-received": ComplaintReceived,
    "consistency-received": ConsistencyReceived,
    "unmasking-received": UnmaskingReceived,
    "deadline-passed": DeadlinePassed,
    "closed-early": ClosedEarly,
    "draft-made": DraftMade,
    "countersigned": Countersigned,
    "session-published": SessionPublished,
    "session-failed": SessionFailed,
    "session-aborted": SessionAborted,
    "objection-received": ObjectionReceived,
    "result-withdrawn": ResultWithdrawn,
    "end-lost": EndLost,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}


def blob_of(event: Event) -> bytes | None:
    """Return the bytes that must be stored as a blob before the event is."""
    match event:
        case InputReceived(masked=content) | DraftMade(archive=content) | SessionPublished(archive=content):
            return content
        case _:
            return None


def encode_event(event: Event) -> bytes:
    """Return the canonical JSON bytes of an event."""
    fields = {name: _CODECS[name][0](getattr(event, name)) for name in event.__dataclass_fields__}
    return canonical_json({"event": _NAMES[type(event)], **fields})


def decode_event(body: bytes, read_blob: ReadBlob) -> Event:
    """Return the event in a stored body.

    Raises:
        StoreError: it is none, or its blob is missing.
    """
    try:
        fields = parse_canonical_json(body)
        kind = _KINDS[fields.pop("event")]
        values = {name: _CODECS[name][1](value) for name, value in fields.items()}
        blobs = {name: read_blob(value) for name, value in values.items() if name in _BLOBS}
        return kind(**{**values, **blobs})
    except (FormatError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"a stored event cannot be read: {error}") from error


def _encode_moment(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def _encode_envelope(envelope: Envelope) -> str:
    return envelope.to_json().decode()


def _decode_envelope(text: str) -> Envelope:
    return Envelope.from_json(text.encode())


def _encode_signed(signed: Signed) -> list[str]:
    return [encode_base64(signed.body), encode_base64(signed.signature)]


def _decode_signed(parts: list[str]) -> Signed:
    body, signature = map(decode_base64, parts)
    return Signed(body, signature)


def _encode_roster(roster: SignedRoster) -> list[str]:
    return [encode_base64(part) for part in (roster.targets, roster.roster, *roster.roots)]


def _decode_roster(parts: list[str]) -> SignedRoster:
    targets, roster, *roots = map(decode_base64, parts)
    return SignedRoster(tuple(roots), targets, roster)


def _encode_proof(proof: LogProof) -> str:
    return proof.to_bytes().decode()


def _decode_proof(text: str) -> LogProof:
    return parse_proof(text.encode())


def _encode_sealed(sealed: Mapping[Seat, bytes]) -> list[list[int | str]]:
    return [[seat, encode_base64(sealed[seat])] for seat in sorted(sealed)]


def _decode_sealed(items: list[tuple[int, str]]) -> dict[Seat, bytes]:
    return {seat: decode_base64(ciphertext) for seat, ciphertext in items}


def _decode_salt(text: str) -> bytes:
    salt = bytes.fromhex(text)
    if len(salt) != SALT_BYTES:
        raise ValueError(f"expected a salt of {SALT_BYTES} bytes, found {len(salt)}")
    return salt


_Codec: TypeAlias = tuple[Callable[[Any], Any], Callable[[Any], Any]]

_MOMENT: Final[_Codec] = (_encode_moment, datetime.fromisoformat)
_ENVELOPE: Final[_Codec] = (_encode_envelope, _decode_envelope)
_SIGNED: Final[_Codec] = (_encode_signed, _decode_signed)
_BLOB: Final[_Codec] = (sha256_digest, check_digest)

_CODECS: Final[dict[str, _Codec]] = {
    "at": _MOMENT,
    "spec": (encode_base64, decode_base64),
    "roster": (_encode_roster, _decode_roster),
    "open": _ENVELOPE,
    "seat": (int, int),
    "join": _ENVELOPE,
    "abort": _ENVELOPE,
    "seal": _ENVELOPE,
    "open_proof": (_encode_proof, _decode_proof),
    "keys": _SIGNED,
    "header": _SIGNED,
    "sealed": (_encode_sealed, _decode_sealed),
    "contribution": _ENVELOPE,
    "masked": _BLOB,
    "complaint": _SIGNED,
    "statement": _SIGNED,
    "shares": _SIGNED,
    "phase": (int, Phase),
    "order": (SignedOrder.encode, SignedOrder.decode),
    "archive": _BLOB,
    "countersignature": _ENVELOPE,
    "reason": (str, str),
    "objection": _ENVELOPE,
    "withdrawal": _ENVELOPE,
    "entry": (encode_base64, decode_base64),
    "salt": (bytes.hex, _decode_salt),
}
"""How each field is written and read, by its name: a name means the same in every event."""

_BLOBS: Final = frozenset(name for name, codec in _CODECS.items() if codec is _BLOB)
