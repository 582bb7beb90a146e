"""What stands in the transparency log: that a session was opened, how it ended, what was said of it since; and revoked keys.

Promises one encoding of each record, small enough for a log's entry, which names the signed statement by digest. Whoever
reads the log sees every session that was opened, also those of which nothing was published. What stands in the entry of an
opening or a result follows from signed statements alone, so an auditor computes it again. Every other entry has a salt that the
coordinator draws when it makes it: nobody who causes an entry, and nobody who guesses its words, knows it before it is logged.
Leaves the log to `transparency/`, proofs of places in it to `witnessed.py`, what entries choose to `sample_choice.py`, and what
is suspicious in the log to audit/monitor.py.

Source: protos/README.md §9.7.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from vdb_shared.bundle.statement import Hex32, Line, Result, SessionOpen, Time, parse_statement
from vdb_shared.canonical import canonical_json, parse_canonical_json, parse_decimal, sha256_digest
from vdb_shared.errors import FormatError
from vdb_shared.fields import Digest, KeyId, Name, Real
from vdb_shared.schema_words import first_mistake
from vdb_shared.spec import Deadlines
from vdb_shared.transparency.tiles import MAX_ENTRY_BYTES

ORIGIN_SUFFIX: Final = "/vdb-log"

MAX_RHO: Final = 1_000_000
"""A cost beyond it protects nothing, and is none that anybody computes with."""

SALT_BYTES: Final = 32
"""Of the randomness in an entry whose other fields a member can set or guess."""

ROUNDS: Final = 6
"""Phases with the deadline of a round: four of the rounds, and two in which witnesses sign."""


def log_origin(consortium: str) -> str:
    """Return the name of a consortium's log."""
    return consortium + ORIGIN_SUFFIX


class _Record(BaseModel):
    """Base of all records: strict, frozen, no unknown fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: Literal["vdb-log/1"] = "vdb-log/1"


class OpenedRecord(_Record):
    """A session was opened.

    Attributes:
        session: its id, the digest of the opening's payload.
        spec, roster: digests of what it is about and whom it counts on.
        opened: when.
        due: when it will have ended, if it is never restarted and the coordinator never stands still.
        supersedes: the session whose result it is to replace, as its opening says; None if it replaces none.
    """

    kind: Literal["session-opened"] = "session-opened"
    session: Digest
    spec: Digest
    roster: Digest
    opened: Time
    due: Time
    supersedes: Digest | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(inner(self), "supersedes")


class PublishedRecord(_Record):
    """A session has a result, countersigned by enough institutions.

    Attributes:
        session: its id.
        result: digest of the result statement's payload, which names all other members of the bundle by digest.
        published: when, as the result says.
        survivors: institutions whose records are in the sum.
        rho: cost for each record of theirs; None where nothing protects them.
        delta: at which the spec states its promise.
    """

    kind: Literal["session-published"] = "session-published"
    session: Digest
    result: Digest
    published: Time
    survivors: Annotated[tuple[Name, ...], Field(min_length=1)]
    rho: Annotated[Real, Field(ge=0, le=MAX_RHO)] | None
    delta: Annotated[Real, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.survivors)) != len(self.survivors):
            raise ValueError("survivors: an institution stands twice")
        return self


class AbortedRecord(_Record):
    """A session ended without a result.

    Attributes:
        session: its id.
        abort: digest of the abort statement's payload, which says why.
        stage: in which it was.
        aborted: when.
        salt: SALT_BYTES random bytes of the coordinator, hex.
    """

    kind: Literal["session-aborted"] = "session-aborted"
    session: Digest
    abort: Digest
    stage: Line
    aborted: Time
    salt: Hex32


RevocationReason = Literal["compromised", "left", "replaced"]


class RevokedRecord(_Record):
    """A key signs for an institution no more.

    Attributes:
        institution: its name.
        key: key id of the statement key that is revoked, for good.
        reason: "compromised" if the key may be in other hands, "left" if the institution takes part no more, "replaced" if it
            enrolled anew with another key.
        revoked: when; what counts is the place of the entry in the log.
        salt: SALT_BYTES random bytes of the coordinator, hex.
    """

    kind: Literal["member-revoked"] = "member-revoked"
    institution: Name
    key: KeyId
    reason: RevocationReason
    revoked: Time
    salt: Hex32


class ObjectionRecord(_Record):
    """A member objects to a result.

    Attributes:
        session: its id.
        result: digest of the result statement's payload.
        objector: who signed the objection.
        objection: digest of the objection's payload, which says why.
        received: when the coordinator received it.
        salt: SALT_BYTES random bytes of the coordinator, hex: without them the objector would choose the entry's bytes.
    """

    kind: Literal["objection"] = "objection"
    session: Digest
    result: Digest
    objector: Name
    objection: Digest
    received: Time
    salt: Hex32


class WithdrawalRecord(_Record):
    """The coordinator stands by a result no longer.

    Attributes:
        session: its id.
        result: digest of the result statement's payload.
        withdrawal: digest of the withdrawal's payload, which says why.
        superseded_by: session whose result replaces it, or is to; None if there is none yet.
        withdrawn: when.
        salt: SALT_BYTES random bytes of the coordinator, hex.
    """

    kind: Literal["withdrawal"] = "withdrawal"
    session: Digest
    result: Digest
    withdrawal: Digest
    superseded_by: Digest | None = None
    withdrawn: Time
    salt: Hex32

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(inner(self), "superseded_by")


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """Return fields without this one if it is None."""
    return {key: value for key, value in fields.items() if key != name or value is not None}


def longest(deadlines: Deadlines) -> int:
    """Return the seconds from a session's opening until its last deadline has passed, if nothing is restarted."""
    return deadlines.joining + deadlines.computing + ROUNDS * deadlines.round + deadlines.countersigning


def opened_entry(session: str, opening: SessionOpen, deadlines: Deadlines) -> bytes:
    """Return the entry of a session's opening.

    Args:
        session: digest of the opening's payload.
        opening: what it says.
        deadlines: of the spec that it names.

    Raises:
        FormatError: its time, or the end of all deadlines, is not in the calendar.
    """
    seconds = longest(deadlines)
    try:
        due = datetime.fromisoformat(opening.opened) + timedelta(seconds=seconds)
    except (ValueError, OverflowError) as error:
        raise FormatError(f"{opening.opened} and {seconds} seconds is not a moment of the calendar") from error
    return _encoded(
        OpenedRecord,
        session=session,
        spec=opening.spec,
        roster=opening.roster,
        opened=opening.opened,
        due=due.strftime("%Y-%m-%dT%H:%M:%SZ"),
        supersedes=opening.supersedes,
    )


def published_entry(payload: bytes, accounting: bytes, delta: Decimal) -> bytes:
    """Return the entry of a session's result.

    Args:
        payload: of the result statement.
        accounting: accounting.json of the same bundle.
        delta: at which the spec states its promise.

    Raises:
        FormatError: one of them is malformed, or too many institutions take part for one entry.
    """
    result, _ = parse_statement(payload, Result)
    spent = parse_canonical_json(accounting)
    if not isinstance(spent, dict) or not isinstance(spent.get("rho"), str | None):
        raise FormatError("the accounting names no cost")
    rho = spent.get("rho")
    return _encoded(
        PublishedRecord,
        session=result.session,
        result=sha256_digest(payload),
        published=result.published,
        survivors=result.survivors,
        rho=None if rho is None else parse_decimal(rho),
        delta=delta,
    )


def _encoded(kind: type[OpenedRecord] | type[PublishedRecord], **fields: Any) -> bytes:
    """Return the entry with these fields.

    Raises:
        FormatError: one of them cannot stand in a record, though a statement may hold it.
    """
    try:
        return encode_record(kind(**fields))
    except ValidationError as error:
        raise FormatError(f"this cannot stand in the log: {first_mistake(error)}") from error


Record: TypeAlias = OpenedRecord | PublishedRecord | AbortedRecord | ObjectionRecord | WithdrawalRecord | RevokedRecord

_PARSER: Final[TypeAdapter[Record]] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])


def encode_record(record: Record) -> bytes:
    """Return the log's entry: canonical JSON.

    Raises:
        FormatError: it is longer than an entry may be, for the names of too many institutions.
    """
    entry = canonical_json(record.model_dump(mode="json"))
    if len(entry) > MAX_ENTRY_BYTES:
        raise FormatError(f"a record of {len(entry)} bytes is longer than an entry of the log, {MAX_ENTRY_BYTES}")
    return entry


def parse_record(entry: bytes) -> Record:
    """Return the record that an entry of the log holds.

    Raises:
        FormatError: it holds none, or not in its one encoding.
    """
    parse_canonical_json(entry)
    try:
        record = _PARSER.validate_json(entry)
    except ValidationError as error:
        raise FormatError(f"an entry of the log is no record: {first_mistake(error)}") from error
    if encode_record(record) != entry:
        raise FormatError("an entry of the log is not in its one encoding: a field is missing, or a real is no string")
    return record
