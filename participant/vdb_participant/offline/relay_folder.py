"""What a relay keeps on the connected machine: its own keys, whom it relays for, and how far it is.

Promises that the site's statement key is never here: a relay has the key of the site's TLS certificate, which proves nothing in
the protocol (§3.2), and a key of its own with which it signs answers. Leaves calls to `relay.py`.

    RELAY/relay.json  relay-key.pem  tls-key.pem  certificate.pem  egress.jsonl  answers/
    RELAY/tls.pem (instead of tls-key.pem and certificate.pem, since the first renewal)  tls-next.pem (a renewal under way)

Source: protos/README.md §12.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vdb_participant.offline.files import Parties
from vdb_participant.site.config import StateFolder
from vdb_participant.site.keys import TlsIdentity, certificate_request, encode_tls_key, generate_tls_key
from vdb_participant.site.storage import write_durably
from vdb_participant.site.tls_files import read_pair
from vdb_shared.canonical import canonical_json, decode_base64, encode_base64, parse_canonical_json
from vdb_shared.errors import FormatError, IdentityError, StoreError
from vdb_shared.identity import StatementKey, StatementPublicKey
from vdb_shared.schema_words import first_mistake
from vdb_shared.wire.enrolment import InvitationFile, parse_invitation

OFFER_VERSION: Final = "vdb-relay-offer/1"


class RelayFile(BaseModel):
    """relay.json.

    Attributes:
        invitation: in Base64; its token is of no use once it was enrolled with.
        certificate_request: for the TLS key of this folder, DER, in Base64.
        site_key: statement key of the site, 32 bytes in Base64; "" until its first request came.
        last: number of the last request that was carried out.
        request: digest of that request, or "".
        cosigned: size of the log that the site has witnessed.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: Literal["vdb-relay/1"] = "vdb-relay/1"
    invitation: str
    certificate_request: str
    site_key: str = ""
    last: int = Field(default=0, ge=0)
    request: str = ""
    cosigned: int = Field(default=0, ge=0)

    @property
    def invited(self) -> InvitationFile:
        """The invitation."""
        return parse_invitation(decode_base64(self.invitation))

    @property
    def parties(self) -> Parties:
        """Between whom files are carried."""
        return Parties(self.invited.consortium, self.invited.institution)

    @property
    def site(self) -> StatementPublicKey | None:
        """The key under which requests must be signed, once it is known."""
        return StatementPublicKey(decode_base64(self.site_key)) if self.site_key else None


class OfferFile(BaseModel):
    """What a relay gives its site to enrol with: the invitation, the request for a TLS certificate, the key of its answers."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: Literal["vdb-relay-offer/1"] = OFFER_VERSION
    invitation: str
    certificate_request: str
    relay_key: str


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer, parsed."""

    invitation: InvitationFile
    certificate_request: bytes
    relay_key: StatementPublicKey


@dataclass(frozen=True, slots=True)
class RelayFolder:
    """The places in a relay's folder."""

    path: Path

    @property
    def egress(self) -> Path:
        """The journal of all that this relay sent."""
        return self.path / "egress.jsonl"

    @property
    def certificate(self) -> Path:
        """The site's TLS certificate, for the key that is here, until its first renewal."""
        return self.path / "certificate.pem"

    @property
    def enrolled(self) -> bool:
        """Whether a certificate is here, renewed or not."""
        return self.certificate.exists() or StateFolder(self.path).tls.exists()

    def answer(self, number: int) -> Path:
        """Return where the answer to a request is kept."""
        return self.path / "answers" / f"{number:06}"

    def read(self) -> RelayFile:
        """Return relay.json.

        Raises:
            IdentityError: this is no relay's folder.
            StoreError: it is damaged.
        """
        place = self.path / "relay.json"
        try:
            data = place.read_bytes()
        except FileNotFoundError as error:
            raise IdentityError(
                f"{self.path}: no relay is here; run `vdb-participant relay prepare INVITATION`, or choose --dir"
            ) from error
        try:
            parse_canonical_json(data)
            return RelayFile.model_validate_json(data)
        except (FormatError, ValidationError) as error:
            raise StoreError(f"{place}: is damaged; restore it from a backup") from error

    def write(self, file: RelayFile) -> None:
        """Write relay.json, durably."""
        write_durably(self.path / "relay.json", canonical_json(file.model_dump(mode="json")))

    def signer(self) -> StatementKey:
        """Return the key that signs answers."""
        return StatementKey.from_pem(_read(self.path / "relay-key.pem"), None)

    def tls(self, ca_certificate: bytes) -> TlsIdentity:
        """Return what this relay shows and trusts."""
        key, chain = read_pair(StateFolder(self.path))
        return TlsIdentity(chain, key, ca_certificate)


def prepare(folder: RelayFolder, invitation: InvitationFile) -> bytes:
    """Make a relay's keys, if they are not there, and return its offer to the site.

    Raises:
        IdentityError: the folder is the relay of another invitation, or a site's.
    """
    if (folder.path / "config.json").exists():
        raise IdentityError(f"{folder.path}: an institution is enrolled here; choose another --dir for its relay")
    if not (folder.path / "relay.json").exists():
        key = generate_tls_key()
        write_durably(folder.path / "tls-key.pem", encode_tls_key(key, None))
        write_durably(folder.path / "relay-key.pem", StatementKey.generate().to_pem(None))
        request = encode_base64(certificate_request(key, invitation.institution))
        folder.write(RelayFile(invitation=encode_base64(invitation.encode()), certificate_request=request))
    file = folder.read()
    if file.invited != invitation:
        raise IdentityError(f"{folder.path}: is the relay of another invitation; choose another --dir")
    offer = OfferFile(
        invitation=file.invitation,
        certificate_request=file.certificate_request,
        relay_key=encode_base64(folder.signer().public_key.raw),
    )
    return canonical_json(offer.model_dump(mode="json"))


def parse_offer(data: bytes) -> Offer:
    """Return the offer in a file.

    Raises:
        FormatError: it is none.
    """
    parse_canonical_json(data)
    try:
        file = OfferFile.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(first_mistake(error)) from error
    return Offer(
        parse_invitation(decode_base64(file.invitation)),
        decode_base64(file.certificate_request),
        StatementPublicKey(decode_base64(file.relay_key)),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); restore it from a backup") from error
