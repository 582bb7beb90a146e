"""in-toto statements: what institutions and the coordinator sign, with strict schemas.

A statement names its subjects by digest and carries one predicate. Unknown fields, floats and non-canonical bytes are
refused. Leaves to callers whether a statement is true and who may make it.

Source: in-toto attestation framework, Statement v1; protos/README.md §9.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from vdb_shared import labels
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.canonical import canonical_json, parse_canonical_json, sha256_digest
from vdb_shared.errors import FormatError
from vdb_shared.identity import Signer
from vdb_shared.spec import Digest, Name, Profile

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def _time(value: object) -> object:
    if isinstance(value, str) and not _TIME.fullmatch(value):
        raise ValueError(f"{value!r} is not a UTC time such as 2026-01-31T12:00:00Z")
    return value


Time = Annotated[str, BeforeValidator(_time)]
"""UTC to the second, as RFC 3339 with Z. Self-asserted by the signer."""

DroppedStage = Literal["left-out", "joined", "advertised-keys", "shared-keys"]
"""Why an institution is not in the sum: a restart left it out, or the last message that it sent."""

PROFILE_OF: Final = "profile of "
"""Begins the name of an entry of a manifest's environment that says what "auto" meant for a model."""

Seat = Annotated[int, Field(ge=0, lt=65535)]
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, StringConstraints(max_length=1000)]


class Predicate(BaseModel):
    """Base of all predicates: strict, frozen, no unknown fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    kind: ClassVar[str]

    @classmethod
    def type_uri(cls) -> str:
        """Return the predicateType of statements that carry this predicate."""
        return f"{labels.PREDICATE_PREFIX}{cls.kind}:v1"


class SessionOpen(Predicate):
    """The coordinator opens a session. Its payload's digest is the session id."""

    kind: ClassVar[str] = "session-open"
    protocol: Literal["vdb-secagg/1"]
    consortium: Name
    spec: Digest
    roster: Digest
    root: Digest
    nonce: Hex32
    opened: Time
    software: Line


class Join(Predicate):
    """An institution agrees to a session: JOIN of protocol.md. `consent` is the digest of the plan it was shown."""

    kind: ClassVar[str] = "join"
    session: Digest
    spec: Digest
    roster: Digest
    institution: Name
    seat: Seat
    consent: Digest


class SealedJoin(Predicate):
    """One JOIN named by a seal: whose, and the digest of its payload."""

    kind: ClassVar[str] = "sealed-join"
    institution: Name
    seat: Seat
    join: Digest


class Seal(Predicate):
    """The coordinator fixes who joined and what follows from it. Its payload's digest is the protocol's session."""

    kind: ClassVar[str] = "seal"
    session: Digest
    spec: Digest
    roster: Digest
    joins: tuple[SealedJoin, ...]
    smallest_cohort: Annotated[int, Field(ge=3)]
    layout: Digest
    lanes: Annotated[int, Field(ge=1)]
    private_lanes: Annotated[int, Field(ge=0)]
    noise_multiplier: str
    scale: str
    public_tasks: Annotated[int, Field(ge=0)]
    generators: Digest
    sealed: Time


class NamedDigest(Predicate):
    """An id and a digest: a model or extractor and its weights manifest."""

    kind: ClassVar[str] = "named-digest"
    id: Name
    manifest: Digest


class RunManifest(Predicate):
    """What a participant ran, self-asserted."""

    kind: ClassVar[str] = "run-manifest"
    environment: dict[str, Line]
    models: tuple[NamedDigest, ...]
    extractors: tuple[NamedDigest, ...]
    profile: Profile
    public_clips_made: Annotated[int, Field(ge=0)]
    public_clips_failed: Annotated[int, Field(ge=0)]
    sample_root: Digest

    def profile_of(self, model: str) -> str:
        """Return the profile under which it says that a model's clips were made."""
        return self.environment.get(PROFILE_OF + model, self.profile)


class Contribution(Predicate):
    """A participant's statement about its masked input."""

    kind: ClassVar[str] = "contribution"
    session: Digest
    seal: Digest
    institution: Name
    seat: Seat
    masked_input: Digest
    ledger_entry: Digest
    manifest: RunManifest


class Dropped(Predicate):
    """An institution that joined but is not in the sum: the last stage it reached, or that a restart left it out."""

    kind: ClassVar[str] = "dropped"
    institution: Name
    seat: Seat
    stage: DroppedStage


class Result(Predicate):
    """The coordinator's result; its subjects are all other members of the bundle."""

    kind: ClassVar[str] = "result"
    session: Digest
    seal: Digest
    survivors: tuple[Name, ...]
    dropped: tuple[Dropped, ...]
    t1: Hex32
    t2: Hex32
    t3: Hex32
    private: bool
    published: Time
    software: Line


class Abort(Predicate):
    """A party ends a session without a result."""

    kind: ClassVar[str] = "abort"
    session: Digest
    institution: Line
    stage: Line
    reason: Line
    aborted: Time


class Subject(Predicate):
    """Something a statement is about: its name and the hex SHA-256 of its bytes."""

    kind: ClassVar[str] = "subject"
    name: Line
    sha256: Hex32


P = TypeVar("P", bound=Predicate)

MAX_STATEMENT_BYTES: Final = 4 * 2**20
"""No statement comes near; a larger one is an attack on the reader's memory."""


@dataclass(frozen=True, slots=True)
class Statement:
    """An in-toto statement: subjects and one predicate."""

    subjects: tuple[Subject, ...]
    predicate: Predicate

    def encode(self) -> bytes:
        """Return the statement's canonical JSON bytes."""
        return canonical_json(
            {
                "_type": labels.STATEMENT_V1,
                "predicate": self.predicate.model_dump(mode="json"),
                "predicateType": self.predicate.type_uri(),
                "subject": [{"digest": {"sha256": item.sha256}, "name": item.name} for item in self.subjects],
            }
        )

    def sign(self, *signers: Signer) -> Envelope:
        """Return the statement in an envelope with the signatures of all signers."""
        return sign_envelope(labels.TYPE_STATEMENT, self.encode(), *signers)


def subject_of(name: str, data: bytes) -> Subject:
    """Return the subject that names these bytes."""
    return Subject(name=name, sha256=sha256_digest(data).removeprefix("sha256:"))


def parse_statement(payload: bytes, kind: type[P]) -> tuple[P, tuple[Subject, ...]]:
    """Return predicate and subjects of a statement that must carry this kind of predicate.

    Raises:
        FormatError: not a canonical statement of that kind, or its schema is violated.
    """
    if len(payload) > MAX_STATEMENT_BYTES:
        raise FormatError(f"a statement of {len(payload)} bytes is larger than {MAX_STATEMENT_BYTES}")
    match parse_canonical_json(payload):
        case {
            "_type": labels.STATEMENT_V1,
            "predicate": dict(predicate),
            "predicateType": str(uri),
            "subject": list(subjects),
            **rest,
        } if not rest:
            if uri != kind.type_uri():
                raise FormatError(f"expected a statement of type {kind.type_uri()}, found {uri}")
        case _:
            raise FormatError(f"not an in-toto v1 statement about a {kind.kind}")
    try:
        parsed = kind.model_validate_json(canonical_json(predicate))
        return parsed, tuple(_subject(item) for item in subjects)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise FormatError(f"{kind.kind} statement: {field}: {first['msg']}") from error


def _subject(item: Any) -> Subject:
    match item:
        case {"digest": {"sha256": str(digest), **more}, "name": str(name), **rest} if not rest and not more:
            return Subject(name=name, sha256=digest)
        case _:
            raise FormatError("a subject of a statement has exactly a name and a sha256 digest")
