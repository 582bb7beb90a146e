"""The invitation file and the proof of possession: what an institution needs and makes before it is a member.

Promises that an invitation that parses is complete. Leaves to the coordinator whether it is still good.

Source: protos/README.md §11.2.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from vdb_shared import labels
from vdb_shared.canonical import canonical_json, encode_fields, labelled_hash, parse_canonical_json
from vdb_shared.errors import FormatError
from vdb_shared.fields import Digest, Name
from vdb_shared.schema_words import first_mistake

INVITATION_VERSION: Final = "vdb-invitation/1"
TOKEN_BYTES: Final = 32
_MAX_INVITATION_BYTES: Final = 64 * 2**10

Pem = Annotated[str, StringConstraints(pattern=r"^-----BEGIN ", max_length=16384)]


class InvitationFile(BaseModel):
    """A single-use invitation; keep it secret until it is used.

    Attributes:
        address: host:port of the coordinator.
        ca_certificate: the consortium's certificate authority, PEM.
        root_fingerprint: digest of the trust root to pin.
        token: 256 bits, 64 hex digits.
        bootstrap_certificate, bootstrap_key: PEM; good for the enrolment service only.
        expires: UTC time, such as 2026-01-31T12:00:00Z.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: Literal["vdb-invitation/1"] = INVITATION_VERSION
    consortium: Name
    address: Annotated[str, StringConstraints(pattern=r"^.+:[0-9]{1,5}$", max_length=300)]
    institution: Name
    ca_certificate: Pem
    root_fingerprint: Digest
    token: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(repr=False)
    bootstrap_certificate: Pem
    bootstrap_key: Pem = Field(repr=False)
    expires: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]

    @property
    def token_bytes(self) -> bytes:
        """The token, 32 bytes."""
        return bytes.fromhex(self.token)

    def encode(self) -> bytes:
        """Return the file's canonical JSON bytes."""
        return canonical_json(self.model_dump(mode="json"))


def parse_invitation(data: bytes) -> InvitationFile:
    """Return the invitation in a file; a newline at its end is allowed.

    Raises:
        FormatError: it is not one.
    """
    if len(data) > _MAX_INVITATION_BYTES:
        raise FormatError(f"an invitation of {len(data)} bytes is larger than {_MAX_INVITATION_BYTES}")
    body = data.rstrip(b"\n")
    parse_canonical_json(body)
    try:
        return InvitationFile.model_validate_json(body)
    except ValidationError as error:
        raise FormatError(f"invitation: {first_mistake(error)}") from error


def token_hash(token: bytes) -> bytes:
    """Return what the coordinator keeps of a token, 32 bytes."""
    return labelled_hash(labels.HASH_INVITATION_TOKEN, token)


def possession_body(token: bytes, institution: str, certificate_request: bytes) -> bytes:
    """Return what a new statement key signs, as TYPE_POSSESSION, to prove that it asks for this certificate itself.

    Args:
        token: the invitation's token, 32 bytes; only its hash enters.
        institution: the institution's name.
        certificate_request: PKCS#10, DER.
    """
    return encode_fields(token_hash(token), institution.encode(), certificate_request)


def renewal_body(consortium: str, institution: str, certificate: bytes, certificate_request: bytes) -> bytes:
    """Return what a statement key signs, as TYPE_RENEWAL, to ask for a new TLS certificate.

    Args:
        consortium: its name.
        institution: its name.
        certificate: SHA-256 of the DER bytes of the TLS certificate with which the call is made, 32 bytes.
        certificate_request: PKCS#10, DER, of the new key.
    """
    return encode_fields(consortium.encode(), institution.encode(), certificate, certificate_request)


def grouped(fingerprint: str) -> str:
    """Return a fingerprint in groups of four, for reading out."""
    return " ".join(fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4))


def ungrouped(text: str) -> str:
    """Return a fingerprint as somebody typed it, without spaces, dashes, colons and capitals."""
    return "".join(text.split()).replace("-", "").replace(":", "").lower()
