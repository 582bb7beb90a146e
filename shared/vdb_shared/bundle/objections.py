"""What is said of a result after it was published: objections of members, and the coordinator's withdrawal.

Promises that an objection which is read was signed by the member whose name it gives, that a withdrawal was signed by the
coordinator, and that neither has words which could rewrite a screen. Neither takes anything back: the result stays what it
is, and both stay beside it. Leaves to callers which result is meant, and to readers who is right.

Source: protos/README.md §9.2, §9.7.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, SerializerFunctionWrapHandler, ValidationError, model_serializer

from vdb_shared import labels
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.statement import P, Predicate, Statement, Time, parse_statement
from vdb_shared.canonical import parse_canonical_json, sha256_digest
from vdb_shared.errors import FormatError, IdentityError, SignatureError, UsageError
from vdb_shared.fields import Digest, Name, Text
from vdb_shared.identity import Signer, StatementPublicKey
from vdb_shared.roster import Member, Roster
from vdb_shared.schema_words import first_mistake

MAX_OBJECTION_BYTES: Final = 2**14
"""Two thousand characters of four bytes each, in base64, with room for the rest."""

MOST_OBJECTIONS: Final = 5
"""Of one member to one result: enough to say more, too few to fill a disk or a log."""

FILE_SUFFIX: Final = ".dsse.json"
"""Ends the name of a file with one statement."""

Reason = Literal["data", "model", "software", "figures", "privacy", "procedure", "other"]

REASONS: Final[Mapping[Reason, str]] = {
    "data": "the records or prompts were not what was agreed",
    "model": "a model or extractor was not what was agreed",
    "software": "a fault in software that took part",
    "figures": "the figures do not say what they seem to say",
    "privacy": "records are protected less than promised",
    "procedure": "what was agreed about the session was not kept",
    "other": "another reason",
}
"""Classes of reasons, in words."""

_REWRITING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Controls, line ends, and marks that turn the direction of writing."""


_FILLERS: Final = frozenset("\u115f\u1160\u3164\uffa0")
"""Letters by their category that show nothing."""


def _plain(text: str) -> str:
    if not any(unicodedata.category(letter)[0] in "LN" and letter not in _FILLERS for letter in text):
        raise ValueError("words, of which at least one letter or digit can be seen")
    if _REWRITING.search(text):
        raise ValueError(
            "one paragraph, without control characters and without marks that turn the direction of writing"
        )
    return text


Words = Annotated[Text, AfterValidator(_plain)]
"""Words for people: 1 to 2000 characters, at least one of them a letter or digit."""


class Objection(Predicate):
    """A member of the roster, not the coordinator, objects to a result.

    Attributes:
        session: its id.
        result: digest of the result statement's payload.
        objector: the member's name.
        reason: class of the reason.
        text: the reason in words.
        objected: when, by the objector's clock.
    """

    kind: ClassVar[str] = "objection"
    session: Digest
    result: Digest
    objector: Name
    reason: Reason
    text: Words
    objected: Time


class Withdrawal(Predicate):
    """The coordinator stands by a result no longer.

    Attributes:
        session: its id.
        result: digest of the result statement's payload.
        reason: why, in words.
        superseded_by: session whose result replaces it, or is to; None if there is none yet.
        withdrawn: when, by the coordinator's clock.
    """

    kind: ClassVar[str] = "withdrawal"
    session: Digest
    result: Digest
    reason: Words
    superseded_by: Digest | None = None
    withdrawn: Time

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in inner(self).items() if value is not None}


def made(kind: type[P], **fields: str | None) -> P:
    """Return an objection or a withdrawal with these fields, as somebody typed them.

    Raises:
        UsageError: one of them cannot stand in such a statement.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise UsageError(first_mistake(error)) from error


def objector_of(roster: Roster, key: StatementPublicKey) -> str:
    """Return the name under which a key may object.

    Raises:
        IdentityError: no member that may has this key.
    """
    for member in roster.members:
        if member.public_key == key and member.role != "coordinator":
            return member.institution
    raise IdentityError(
        f"no participant or auditor in the session's roster of {roster.consortium} has the key {key.key_id[:16]}; only they "
        "can object, so have the lead admit an auditor before a session is opened"
    )


def sign_objection(objection: Objection, signer: Signer) -> bytes:
    """Return the envelope of an objection."""
    return Statement((), objection).sign(signer).to_json()


def read_objection(envelope: Envelope, roster: Roster) -> Objection:
    """Return an objection that the member whose name it gives signed, and nobody else.

    Raises:
        FormatError: not an objection.
        IdentityError: the objector is no participant or auditor in this roster.
        SignatureError: the signature is not the objector's.
    """
    claimed = _predicate(envelope, Objection)
    member = roster.member(claimed.objector)
    if member.role == "coordinator":
        raise IdentityError(f"{member.institution} is the coordinator, which does not object but withdraws its result")
    _check_signed(envelope, member)
    return claimed


def read_withdrawal(envelope: Envelope, roster: Roster) -> Withdrawal:
    """Return a withdrawal that the coordinator signed, and nobody else.

    Raises:
        FormatError: not a withdrawal.
        SignatureError: the signature is not the coordinator's.
    """
    found = _predicate(envelope, Withdrawal)
    _check_signed(envelope, roster.coordinator)
    return found


def check_about(statement: Objection | Withdrawal, session: str, result: str) -> None:
    """Check that a statement is about this result of this session.

    Raises:
        FormatError: it is about another one.
    """
    for what, expected, found in (("session", session, statement.session), ("result", result, statement.result)):
        if expected != found:
            raise FormatError(f"this {statement.kind} is about another {what}: {found}, expected {expected}")


def parse_envelope(data: bytes) -> Envelope:
    """Return the envelope of an objection or a withdrawal, of bounded size.

    Raises:
        FormatError: larger, or no envelope.
    """
    if len(data) > MAX_OBJECTION_BYTES:
        raise FormatError(f"an objection or withdrawal has at most {MAX_OBJECTION_BYTES} bytes, not {len(data)}")
    return Envelope.from_json(data)


def names_withdrawal(envelope: Envelope) -> bool:
    """Return which of the two an envelope is to be read as: reading it tells whether it is that.

    Raises:
        FormatError: its payload is not JSON in its one form.
    """
    payload = parse_canonical_json(envelope.payload)
    return isinstance(payload, dict) and payload.get("predicateType") == Withdrawal.type_uri()


def _predicate(envelope: Envelope, kind: type[P]) -> P:
    found, subjects = parse_statement(envelope.payload, kind)
    if subjects:
        raise FormatError(f"a statement of the kind {kind.kind} names no subjects")
    return found


def _check_signed(envelope: Envelope, member: Member) -> None:
    envelope.verify(labels.TYPE_STATEMENT, [member.public_key])
    if len(envelope.signatures) != 1:
        raise SignatureError(f"expected the signature of {member.institution} alone, found {len(envelope.signatures)}")


def file_of(statement: bytes, kind: str = Objection.kind) -> str:
    """Return the name of a statement's file: by the digest of all its bytes, so that no other takes its place."""
    return f"{kind}-{sha256_digest(statement).removeprefix('sha256:')[:16]}{FILE_SUFFIX}"


def files_of(objections: Iterable[bytes], withdrawal: bytes) -> dict[str, bytes]:
    """Return statement files by name: one for each objection, and one for the withdrawal unless it is b"".

    Raises:
        FormatError: one of them is no envelope.
    """
    objections = tuple(objections)
    for data in (*objections, withdrawal) if withdrawal else objections:
        parse_envelope(data)
    files = {file_of(data): data for data in objections}
    return files | ({file_of(withdrawal, Withdrawal.kind): withdrawal} if withdrawal else {})
