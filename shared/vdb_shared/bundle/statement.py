"""in-toto statements: what institutions and the coordinator sign, with strict schemas.

A statement names its subjects by digest and carries one predicate. Unknown fields, floats and non-canonical bytes are
refused. Leaves to callers whether a statement is true and who may make it.

Source: in-toto attestation framework, Statement v1; protos/README.md §9.2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeVar

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from vdb_shared import labels
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.canonical import canonical_json, decode_base64, parse_canonical_json, sha256_digest
from vdb_shared.errors import FormatError
from vdb_shared.fields import Digest, MetricId, Name, Real
from vdb_shared.identity import Signer
from vdb_shared.schema_words import first_mistake
from vdb_shared.spec import Profile
from vdb_shared.tasks import MOST_CHECKED

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


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

THUMBNAIL_BYTES: Final = 4 * 8 * 8 * 3
"""Four frames of 8 x 8 cells in red, green and blue: enough to tell other noise or another model from the same clip."""

VECTOR_LANES: Final = 256
"""What all vectors of one clip have together at most: a kilobyte as float32."""


def _thumbnail(text: str) -> str:
    if text and len(_bytes_of(text)) != THUMBNAIL_BYTES:
        raise ValueError(f"a thumbnail has {THUMBNAIL_BYTES} bytes")
    return text


def _vector(text: str) -> str:
    data = _bytes_of(text)
    if len(data) % 4 or not 0 < len(data) <= 4 * VECTOR_LANES or not np.isfinite(np.frombuffer(data, "<f4")).all():
        raise ValueError(f"a vector has 1 to {VECTOR_LANES} finite float32 numbers")
    return text


def _bytes_of(text: str) -> bytes:
    try:
        return decode_base64(text)
    except FormatError as error:
        raise ValueError(str(error)) from error


Seat = Annotated[int, Field(ge=0, lt=65535)]
Score = Annotated[Real, Field(ge=0, le=1)]
Thumbnail = Annotated[str, AfterValidator(_thumbnail)]
Vector = Annotated[str, AfterValidator(_vector)]
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
    """The coordinator opens a session. Its payload's digest is the session id.

    `supersedes` is an earlier session, whose result this one is to replace: said before anybody joins, and nowhere later.
    """

    kind: ClassVar[str] = "session-open"
    protocol: Literal["vdb-secagg/1"]
    consortium: Name
    spec: Digest
    roster: Digest
    root: Digest
    nonce: Hex32
    opened: Time
    software: Line
    supersedes: Digest | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in inner(self).items() if value is not None}


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
    """The coordinator fixes who joined and what follows from it. Its payload's digest is the protocol's session.

    `log` is the digest of the proof that the opening stood in the log by then, and that institutions saw it there.
    """

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
    log: Digest
    sealed: Time


class NamedDigest(Predicate):
    """An id and a digest: a model or extractor and its weights manifest."""

    kind: ClassVar[str] = "named-digest"
    id: Name
    manifest: Digest


class CheckedClip(Predicate):
    """What a participant says of a public clip that two sites make (§6.3): enough to compare, nothing of private records.

    Attributes:
        task: number of the task in the order of `tasks.public_tasks`.
        clip: digest of the frames; None where the clip could not be made or measured, and then nothing else is there.
        thumbnail: base64 of THUMBNAIL_BYTES bytes: frame, row, column, channel (`measure/checking.py`).
        scores: by metric, on [0, 1].
        vectors: by metric that is a distance, base64 of little-endian float32.
    """

    kind: ClassVar[str] = "checked-clip"
    task: Annotated[int, Field(ge=0, lt=2**24)]
    clip: Digest | None = None
    thumbnail: Thumbnail = ""
    scores: dict[MetricId, Score] = Field(default_factory=dict)
    vectors: dict[MetricId, Vector] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if bool(self.clip) != bool(self.thumbnail) or (not self.clip and (self.scores or self.vectors)):
            raise ValueError("a clip that was made has a digest and a thumbnail, one that was not has nothing")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in inner(self).items() if name == "task" or value}


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
    checked: Annotated[tuple[CheckedClip, ...], Field(max_length=MOST_CHECKED)] = ()

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        tasks = [item.task for item in self.checked]
        if tasks != sorted(set(tasks)):
            raise ValueError("checked clips ascend by task, one for each")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out an empty list of checked clips, as manifests older than it do."""
        return {name: value for name, value in inner(self).items() if name != "checked" or value}

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
        found = parsed, tuple(_subject(item) for item in subjects)
    except ValidationError as error:
        raise FormatError(f"{kind.kind} statement: {first_mistake(error)}") from error
    if Statement(found[1], parsed).encode() != payload:
        raise FormatError(
            f"{kind.kind} statement: not in its one form: a real is no string, or an empty field is there"
        )
    return found


def _subject(item: Any) -> Subject:
    match item:
        case {"digest": {"sha256": str(digest), **more}, "name": str(name), **rest} if not rest and not more:
            return Subject(name=name, sha256=digest)
        case _:
            raise FormatError("a subject of a statement has exactly a name and a sha256 digest")
