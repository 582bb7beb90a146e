"""How large what a caller sends may be, known before anything of it is read.

Promises that every field of every request has a bound, and that of what is parsed, the statements, none is larger than an
honest one can be in its session: so nobody's bytes keep the server busy for longer than its own work would.

Source: protos/README.md §9.2, §11.7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from vdb_coordinator.checks import misplaced
from vdb_coordinator.states import Finalising, Opening, SessionState
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import THUMBNAIL_BYTES, VECTOR_LANES
from vdb_shared.errors import FormatError
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import MAX_PARTICIPANTS
from vdb_shared.spec import Spec
from vdb_shared.tasks import checked_count
from vdb_shared.wire import convert
from vdb_shared.wire.status import Phase

STATEMENT_BYTES: Final = 32 * 2**10
"""Envelope of a join or an abort: the larger has three lines of a thousand characters, six bytes each, in base64."""

_SIGNED_BYTES: Final = 4 * 2**10
"""Of an envelope, everything but its payload: its keys, its type and one signature."""

_COMMAS: Final = 16
"""Between three fields, and the two of one signature, there are three."""

_ENVIRONMENT_BYTES: Final = 48 * 2**10
"""Of a contribution, everything that does not grow with the spec: versions of libraries, devices, the machine."""

_NAME_BYTES: Final = 64
_NAMED_BYTES: Final = 2 * _NAME_BYTES + 256
"""Of a model or an extractor: id and digest of its weights, and under which profile its clips were made."""

_CLIP_BYTES: Final = 4 * THUMBNAIL_BYTES // 3 + 4 * 4 * VECTOR_LANES // 3 + 512
"""Of a checked clip: number, digest, thumbnail and vectors, in base64."""

_SCORE_BYTES: Final = 64
"""Beside a metric's name in a checked clip: a number, quotes, and the padding of one more vector."""

_FIXED_BYTES: Final = 2**10
_SEAT_BYTES: Final = 64
"""Of a body in the rounds, for each seat: a number and a scalar, or a number three times."""

_LETTER_BYTES: Final = 4
"""UTF-8 takes no more."""

_SPARE_BYTES: Final = 2**10
_SPARE_FIELDS: Final = 16

_WORDS: Final = 64 * 2**10
_ELSEWHERE: Final = convert.MAX_MESSAGE_BYTES

LIMITS: Final[Mapping[str, int]] = {
    # Judged with the session that they are for, so that the refusal is recorded there.
    "join": _ELSEWHERE,
    "abort": _ELSEWHERE,
    "countersignature": _ELSEWHERE,
    "contribution": _ELSEWHERE,
    "objection": _ELSEWHERE,
    "sealed": _ELSEWHERE,
    "keys": _ELSEWHERE,
    "header": _ELSEWHERE,
    "complaint": _ELSEWHERE,
    "consistency": _ELSEWHERE,
    "shares": _ELSEWHERE,
    "chunk": _ELSEWHERE,
    "spec": _ELSEWHERE,
    # Cut, not refused.
    "stage": _ELSEWHERE,
    # Judged by the rules of what they are, none of which wants more.
    "session": 128,
    "service": 128,
    "supersedes": 128,
    "superseded_by": 128,
    "digest": 32,
    "proposal": 32,
    "statement_key": 32,
    "token": 32,
    "signature": 64,
    "possession": 64,
    "cosignature": 128,
    "certificate_request": 8 * 2**10,
    "institution": 4 * _NAME_BYTES,
    "name": 4 * _NAME_BYTES,
    "fingerprint": 256,
    "capabilities": 64,
    "program": 2**10,
    # Words of leads, in proposals, which have a bound of their own.
    "reason": _WORDS,
    "note": _WORDS,
    "phase": _WORDS,
    "institutions": _WORDS,
}
"""Of each field of a request that is no number: bytes, characters, or how often it is there."""

NESTED: Final = ("keys", "header", "complaint", "consistency", "shares", "sealed")
"""Fields that are messages of the rounds."""


def longest(form: Descriptor) -> int:
    """Return how many bytes a message of this form has at most, if none of its fields is larger than `LIMITS`."""
    return min(convert.MAX_MESSAGE_BYTES, _SPARE_BYTES + sum(_room(field) for field in form.fields))


def most_fields(form: Descriptor) -> int:
    """Return how many fields a message of this form has at most, with those of the single messages in it.

    A list's entries count, the fields in them do not. Some are to spare: newer agents may have fields that are not known here.
    """
    return _SPARE_FIELDS + sum(_fields(field) for field in form.fields)


def check_sizes(request: Message) -> None:
    """Check that no field of a request is larger than any session can want.

    Raises:
        FormatError: one is.
    """
    for field, value in request.ListFields():
        if field.message_type is not None and not _is_list(value):
            if field.name not in NESTED:
                check_sizes(value)
        elif isinstance(value, Sized) and len(value) > LIMITS.get(field.name, 0):
            raise too_large(field.name, len(value), LIMITS.get(field.name, 0))


def check_body(signed: Signed, most: int) -> None:
    """Check that the body of a message of the rounds has no more than its fields of fixed size and `most` bytes.

    Raises:
        FormatError: it has.
    """
    if len(signed.body) > _FIXED_BYTES + most:
        raise too_large("body", len(signed.body), _FIXED_BYTES + most)


def check_about_seats(opening: Opening, signed: Signed) -> None:
    """Check that a message of the rounds says no more than there is to say of every participant of the roster.

    Raises:
        FormatError: it does.
    """
    check_body(signed, _SEAT_BYTES * len(opening.seats))


def check_sealed(opening: Opening, sealed: Sized) -> None:
    """Check that nobody seals shares for more than the roster's participants.

    Raises:
        FormatError: somebody does.
    """
    if len(sealed) > len(opening.seats):
        raise FormatError(f"sealed shares for {len(sealed)} holders, the roster has {len(opening.seats)} participants")


def statement(data: bytes, most: int = STATEMENT_BYTES) -> Envelope:
    """Return the envelope of what one institution signed.

    Args:
        data: the envelope's bytes.
        most: how many an honest one has.

    Raises:
        FormatError: it is larger, or no envelope. What has as many values as no envelope has is not parsed for that.
    """
    if len(data) > most:
        raise too_large("statement", len(data), most)
    if data.count(b",") > _COMMAS:
        raise FormatError("not a DSSE envelope with payload, payloadType and one signature")
    return Envelope.from_json(data)


def countersignature(state: SessionState, data: bytes) -> Envelope:
    """Return the envelope of a countersignature: over the draft's result, so no larger than its payload makes it.

    Raises:
        RefusedError: there is no draft, or no longer.
        FormatError: it is larger, or no envelope.
    """
    if not isinstance(state, Finalising):
        raise misplaced(state, Phase.FINALISING)
    return statement(data, _enveloped(len(state.draft.result)))


def contribution(spec: Spec, data: bytes) -> Envelope:
    """Return the envelope of a contribution statement.

    Raises:
        FormatError: it is larger than the spec allows one to be, or no envelope.
    """
    return statement(data, contribution_bytes(spec))


def contribution_bytes(spec: Spec) -> int:
    """Return how many bytes the envelope of an institution's contribution has at most.

    What it says of clips that two sites make (§6.3) is nearly all of that: 256 of them at most.
    """
    scores = sum(_SCORE_BYTES + 2 * len(metric.id) for metric in spec.metrics)
    named = _NAMED_BYTES * (len(spec.models) + len(spec.extractors))
    return _enveloped(_ENVIRONMENT_BYTES + named + checked_count(spec) * (_CLIP_BYTES + scores))


def too_large(what: str, found: int, most: int) -> FormatError:
    """Return why something is refused unread."""
    return FormatError(f"{what}: {found} bytes, at most {most} are read")


def _enveloped(payload: int) -> int:
    return 4 * -(-payload // 3) + _SIGNED_BYTES


def _room(field: FieldDescriptor) -> int:
    if field.message_type is not None and field.name not in NESTED:
        return longest(field.message_type)
    most = LIMITS.get(field.name, 0)
    if field.is_repeated:
        most *= _NAME_BYTES
    return _LETTER_BYTES * most if field.type == field.TYPE_STRING else most


def _fields(field: FieldDescriptor) -> int:
    if field.is_repeated:
        return MAX_PARTICIPANTS if field.message_type is not None else LIMITS[field.name]
    return 1 if field.message_type is None else 1 + most_fields(field.message_type)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sized) and not isinstance(value, str | bytes | Message)
