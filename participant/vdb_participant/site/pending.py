"""enrolment.json: a request for membership that waits for the lead's approval, kept to be sent again with the same bytes.

One that was refused for good stays, with the reason: it may be sent again, and any other invitation takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vdb_participant.site.storage import write_durably
from vdb_shared.canonical import canonical_json, decode_base64, encode_base64
from vdb_shared.errors import FormatError, StoreError
from vdb_shared.wire.enrolment import InvitationFile, parse_invitation


class PendingFile(BaseModel):
    """The file."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    invitation: str
    certificate_request: str
    possession: str
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """What was asked for.

    Attributes:
        invitation: who invited us.
        certificate_request: PKCS#10, DER.
        possession: signature of the statement key over both.
        refused: why it leads to no membership, or "" while it may.
    """

    invitation: InvitationFile
    certificate_request: bytes
    possession: bytes = field(repr=False)
    refused: str = ""


def read_pending(path: Path) -> Pending:
    """Return the request in a file.

    Raises:
        StoreError: it is damaged.
    """
    try:
        file = PendingFile.model_validate_json(path.read_bytes())
        invitation = parse_invitation(decode_base64(file.invitation))
        return Pending(
            invitation, decode_base64(file.certificate_request), decode_base64(file.possession), file.refused
        )
    except (OSError, ValidationError, FormatError) as error:
        raise StoreError(f"{path}: is damaged; remove {path.parent} and ask for a new invitation") from error


def write_pending(path: Path, pending: Pending) -> None:
    """Keep a request."""
    file = PendingFile(
        invitation=encode_base64(pending.invitation.encode()),
        certificate_request=encode_base64(pending.certificate_request),
        possession=encode_base64(pending.possession),
        refused=pending.refused,
    )
    write_durably(path, canonical_json(file.model_dump(mode="json", exclude_defaults=True)))
