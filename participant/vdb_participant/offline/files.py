"""The two files that are carried: a request of a site, signed with its statement key, and the answer, signed by its relay.

Promises that a file which decodes is whole, was signed by the expected key for this purpose, and is of the expected consortium
and institution. Leaves order and meaning to `mailbox.py` and `relay.py`. Pure.

    file = envelope ‖ line feed ‖ the bytes of all parts, one after the other

Source: protos/README.md §12.8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from vdb_shared import labels
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.canonical import (
    canonical_json,
    decode_base64,
    digest_string,
    encode_base64,
    labelled_hash,
    sha256_digest,
)
from vdb_shared.errors import FormatError
from vdb_shared.fields import Digest, Name
from vdb_shared.identity import Signer, StatementPublicKey
from vdb_shared.schema_words import first_mistake

VERSION: Final = "vdb-carried/1"
MAX_FILE_BYTES: Final = 2**30
"""Beyond every bundle and masked vector; a larger file is none of ours and is not read into memory."""

_MAX_HEADER_BYTES: Final = 2**24

Method = Annotated[str, StringConstraints(pattern=r"^/vdb\.v1\.[A-Za-z]+/[A-Za-z]+$")]
Header = TypeVar("Header", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class PartFile(_Strict):
    """One message in the body: its size in bytes, and SHA-256."""

    size: int = Field(ge=0, le=MAX_FILE_BYTES)
    digest: Digest


class CallFile(_Strict):
    """One call: its RPC, and its messages."""

    method: Method
    parts: tuple[PartFile, ...] = Field(max_length=4096)


class RefusalFile(_Strict):
    """How the coordinator refused a call: gRPC's status, its words, and google.rpc.Status in Base64."""

    code: str = Field(max_length=40)
    words: str
    details: str


class ReplyFile(_Strict):
    """What came back of a call, which `asked` names: messages, or a refusal."""

    method: Method
    asked: Digest
    parts: tuple[PartFile, ...] = Field(max_length=4096)
    refusal: RefusalFile | None


class KnownFile(_Strict):
    """The status that the site was told last."""

    attempt: int = Field(ge=0)
    phase: int = Field(ge=0)
    witness: int = Field(ge=0)


class RequestHeader(_Strict):
    """What a site signs of a request."""

    version: Literal["vdb-carried/1"] = VERSION
    consortium: Name
    institution: Name
    number: int = Field(ge=1, le=999_999)
    calls: tuple[CallFile, ...] = Field(min_length=1, max_length=64)
    known: KnownFile | None


class AnswerHeader(_Strict):
    """What a relay signs of an answer."""

    version: Literal["vdb-carried/1"] = VERSION
    consortium: Name
    institution: Name
    number: int = Field(ge=1, le=999_999)
    request: Digest
    replies: tuple[ReplyFile, ...] = Field(min_length=1, max_length=128)


@dataclass(frozen=True, slots=True)
class Parties:
    """Between whom files are carried: an institution, and its relay to the coordinator of a consortium."""

    consortium: str
    institution: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the RPC as gRPC writes it, and its serialised messages."""

    method: str
    parts: tuple[bytes, ...] = field(repr=False)

    @property
    def digest(self) -> str:
        """What a reply names it by."""
        return digest_string(labelled_hash(labels.HASH_CARRIED, self.method.encode(), *self.parts))


@dataclass(frozen=True, slots=True)
class Refusal:
    """The coordinator's refusal: name of the status, its words, and the trailing metadata that hold the reason."""

    code: str
    words: str
    details: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back of a call."""

    method: str
    asked: str
    parts: tuple[bytes, ...] = field(repr=False)
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """Attempt, phase and log size to witness of the status that the site was told last."""

    attempt: int
    phase: int
    witness: int


@dataclass(frozen=True, slots=True)
class Request:
    """Calls to be made in this order; the site waits for the last one."""

    number: int
    calls: tuple[Call, ...]
    known: Known | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to each call of a request, and to calls that are likely to follow; `request` is the request's digest."""

    number: int
    request: str
    replies: tuple[Reply, ...]


def encode_request(request: Request, parties: Parties, signer: Signer) -> bytes:
    """Return a request as a file."""
    header = RequestHeader(
        consortium=parties.consortium,
        institution=parties.institution,
        number=request.number,
        calls=tuple(CallFile(method=call.method, parts=_described(call.parts)) for call in request.calls),
        known=None if request.known is None else _known_file(request.known),
    )
    return _encode(labels.TYPE_CARRIED_REQUEST, header, signer, (part for call in request.calls for part in call.parts))


def decode_request(data: bytes, parties: Parties, key: StatementPublicKey) -> tuple[Request, str]:
    """Return the request in a file, and the digest by which its answer names it.

    Raises:
        FormatError: it is damaged, or of another institution.
        SignatureError: the site's key did not sign it.
    """
    header, digest, body = _decode(data, labels.TYPE_CARRIED_REQUEST, key, RequestHeader)
    _check_parties(parties, header.consortium, header.institution)
    calls = tuple(Call(call.method, body.take(call.parts)) for call in header.calls)
    body.check_end()
    known = header.known
    told = None if known is None else Known(known.attempt, known.phase, known.witness)
    return Request(header.number, calls, told), digest


def encode_answer(answer: Answer, parties: Parties, signer: Signer) -> bytes:
    """Return an answer as a file."""
    header = AnswerHeader(
        consortium=parties.consortium,
        institution=parties.institution,
        number=answer.number,
        request=answer.request,
        replies=tuple(_reply_file(reply) for reply in answer.replies),
    )
    return _encode(
        labels.TYPE_CARRIED_ANSWER, header, signer, (part for reply in answer.replies for part in reply.parts)
    )


def decode_answer(data: bytes, parties: Parties, key: StatementPublicKey) -> Answer:
    """Return the answer in a file.

    Raises:
        FormatError: it is damaged, or for another institution.
        SignatureError: the relay's key did not sign it.
    """
    header, _, body = _decode(data, labels.TYPE_CARRIED_ANSWER, key, AnswerHeader)
    _check_parties(parties, header.consortium, header.institution)
    replies = tuple(
        Reply(item.method, item.asked, body.take(item.parts), _refusal(item.refusal)) for item in header.replies
    )
    body.check_end()
    return Answer(header.number, header.request, replies)


def _encode(kind: str, header: BaseModel, signer: Signer, parts: Iterable[bytes]) -> bytes:
    envelope = sign_envelope(kind, canonical_json(header.model_dump(mode="json")), signer)
    return envelope.to_json() + b"\n" + b"".join(parts)


@dataclass(slots=True)
class _Body:
    """What follows a header, taken part by part."""

    data: bytes
    position: int

    def take(self, parts: tuple[PartFile, ...]) -> tuple[bytes, ...]:
        """Return the next parts.

        Raises:
            FormatError: they are not the ones that the header names.
        """
        return tuple(map(self._next, parts))

    def _next(self, part: PartFile) -> bytes:
        found = self.data[self.position : self.position + part.size]
        if len(found) < part.size:
            raise FormatError("it is cut short")
        if sha256_digest(found) != part.digest:
            raise FormatError("it is damaged: a part is not the one that was signed")
        self.position += part.size
        return found

    def check_end(self) -> None:
        """Check that nothing is left.

        Raises:
            FormatError: something is.
        """
        if self.position != len(self.data):
            raise FormatError(f"it has {len(self.data) - self.position} bytes too many")


def _decode(data: bytes, kind: str, key: StatementPublicKey, model: type[Header]) -> tuple[Header, str, _Body]:
    """Return a file's header, the digest of it, and its body."""
    if len(data) > MAX_FILE_BYTES:
        raise FormatError(f"it has {len(data)} bytes, more than any file that is carried")
    end = data.find(b"\n", 0, _MAX_HEADER_BYTES)
    if end < 0:
        raise FormatError("it is cut short, or no file that is carried")
    envelope = Envelope.from_json(data[:end])
    payload = envelope.verify(kind, [key])
    try:
        header = model.model_validate_json(payload)
    except ValidationError as error:
        raise FormatError(first_mistake(error)) from error
    return header, sha256_digest(payload), _Body(data, end + 1)


def _check_parties(parties: Parties, consortium: str, institution: str) -> None:
    if Parties(consortium, institution) != parties:
        raise FormatError(
            f"it is of {institution} in {consortium}, expected {parties.institution} in {parties.consortium}"
        )


def _described(parts: tuple[bytes, ...]) -> tuple[PartFile, ...]:
    return tuple(PartFile(size=len(part), digest=sha256_digest(part)) for part in parts)


def _known_file(known: Known) -> KnownFile:
    return KnownFile(attempt=known.attempt, phase=known.phase, witness=known.witness)


def _reply_file(reply: Reply) -> ReplyFile:
    refusal = None
    if reply.refusal is not None:
        found = reply.refusal
        refusal = RefusalFile(code=found.code, words=found.words, details=encode_base64(found.details))
    return ReplyFile(method=reply.method, asked=reply.asked, parts=_described(reply.parts), refusal=refusal)


def _refusal(found: RefusalFile | None) -> Refusal | None:
    return None if found is None else Refusal(found.code, found.words, decode_base64(found.details))
