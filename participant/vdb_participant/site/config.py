"""The state folder of an institution's agent: where its keys, certificate, roster, ledger and sessions are.

Promises that the folder and its files are readable by their owner alone and that the configuration is parsed strictly.
Leaves the content of keys to `keys.py` and of the ledger to `ledger.py`.

    DIR/config.json  policy.toml  statement-key.pem  tls-key.pem  certificate.pem  roster/  ledger.sqlite
    DIR/signer.toml (instead of statement-key.pem)  DIR/tls.pem (instead of tls-key.pem and certificate.pem)
    DIR/relay-key (instead of tls-key.pem, where there is no network)  DIR/offline/
    DIR/log/checkpoint  DIR/egress.jsonl  DIR/objections/
    DIR/sessions/<session>/{journal,samples.jsonl,choice.json,result.vdbb}  DIR/clips/  DIR/models/  DIR/registry/
    DIR/timing.json
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vdb_participant.site.pending import read_pending
from vdb_shared.canonical import canonical_json, check_digest, parse_canonical_json
from vdb_shared.errors import FormatError, IdentityError, StoreError, UsageError
from vdb_shared.fields import Digest, Name
from vdb_shared.wording import one_line

VARIABLE: Final = "VDB_PARTICIPANT"
DEFAULT_FOLDER: Final = "~/.vdb-participant"


class ConfigFile(BaseModel):
    """config.json: who we are and whom we trust.

    Attributes:
        version: of this file.
        consortium, institution: our names.
        address: host:port of the coordinator.
        root_fingerprint: digest of the first root file: the pinned root of trust.
        ca_certificate: PEM of the consortium's certificate authority.
        spiffe_id: the name in our TLS certificate.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    version: Literal["vdb-participant/1"] = "vdb-participant/1"
    consortium: Name
    institution: Name
    address: str = Field(min_length=3, max_length=300)
    root_fingerprint: Digest
    ca_certificate: str
    spiffe_id: str

    def encode(self) -> bytes:
        """Return the file's bytes."""
        return canonical_json(self.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The places in a state folder."""

    path: Path

    @property
    def config(self) -> Path:
        """Who we are; there once enrolment has finished."""
        return self.path / "config.json"

    @property
    def enrolment(self) -> Path:
        """The request that waits for the lead's approval."""
        return self.path / "enrolment.json"

    @property
    def policy(self) -> Path:
        """The site's own rules."""
        return self.path / "policy.toml"

    @property
    def statement_key(self) -> Path:
        """Ed25519, PKCS#8 PEM."""
        return self.path / "statement-key.pem"

    @property
    def signer(self) -> Path:
        """Names a program that signs in place of the statement key; there only if the operator wrote it."""
        return self.path / "signer.toml"

    @property
    def tls_key(self) -> Path:
        """ECDSA P-256, PKCS#8 PEM."""
        return self.path / "tls-key.pem"

    @property
    def relay_key(self) -> Path:
        """Public key of the relay, 32 bytes; there only where no network is."""
        return self.path / "relay-key"

    @property
    def offline(self) -> Path:
        """What was asked by files that are carried, and answered."""
        return self.path / "offline"

    @property
    def certificate(self) -> Path:
        """Our TLS certificate chain, PEM, leaf first."""
        return self.path / "certificate.pem"

    @property
    def tls(self) -> Path:
        """Since the first renewal, key and chain in one file, in place of the two above."""
        return self.path / "tls.pem"

    @property
    def tls_next(self) -> Path:
        """The key of a renewal under way, with its certificate request."""
        return self.path / "tls-next.pem"

    @property
    def ledger(self) -> Path:
        """The privacy ledger."""
        return self.path / "ledger.sqlite"

    @property
    def log(self) -> Path:
        """What was seen of the consortium's log."""
        return self.path / "log"

    @property
    def objections(self) -> Path:
        """Objections that were handed in from here, and what was answered."""
        return self.path / "objections"

    @property
    def egress(self) -> Path:
        """The journal of all that left."""
        return self.path / "egress.jsonl"

    @property
    def timing(self) -> Path:
        """How long clips took in timing runs."""
        return self.path / "timing.json"

    @property
    def clips(self) -> Path:
        """Generated clips."""
        return self.path / "clips"

    @property
    def models(self) -> Path:
        """Weights of models and extractors, unless --models says otherwise."""
        return self.path / "models"

    @property
    def registry(self) -> Path:
        """The site's own registry files: models, pins, accepted licences."""
        return self.path / "registry"

    def session(self, session: str) -> Path:
        """Return the folder of a session, named by its id."""
        return self.path / "sessions" / check_digest(session).removeprefix("sha256:")

    def find_session(self, name: str) -> str | None:
        """Return the id of the one session we know whose id begins with `name`, or None."""
        prefix = name.removeprefix("sha256:")
        folder = self.path / "sessions"
        found = [item.name for item in folder.iterdir() if item.name.startswith(prefix)] if folder.is_dir() else []
        return f"sha256:{found[0]}" if prefix and len(found) == 1 else None


def state_folder(chosen: Path | None) -> StateFolder:
    """Return the state folder: the chosen one, or VDB_PARTICIPANT's, or ~/.vdb-participant."""
    return StateFolder(chosen or Path(os.environ.get(VARIABLE) or DEFAULT_FOLDER).expanduser())


def chosen(folder: StateFolder) -> str:
    """Return the option that chooses this state folder, where another one would be taken without it."""
    return "" if folder == state_folder(None) else f"--dir {folder.path} "


def check_folder(folder: StateFolder) -> None:
    """Check that a state folder is there, so that a mistyped one is not taken for an empty one.

    Raises:
        UsageError: it is not.
    """
    if not folder.path.is_dir():
        raise UsageError(f"{folder.path}: expected this site's state folder, found none; choose it with --dir")


def read_config(folder: StateFolder) -> ConfigFile:
    """Return the configuration.

    Raises:
        IdentityError: this folder is not enrolled.
        StoreError: the file is damaged.
    """
    try:
        data = folder.config.read_bytes()
    except FileNotFoundError as error:
        if folder.enrolment.exists():
            raise IdentityError(_unfinished(folder)) from error
        raise IdentityError(
            f"{folder.path}: no institution is enrolled here; run `vdb-participant enroll INVITE` or choose --dir"
        ) from error
    except OSError as error:
        raise StoreError(f"{folder.config}: cannot be read ({error.strerror})") from error
    try:
        parse_canonical_json(data)
        return ConfigFile.model_validate_json(data)
    except (FormatError, ValidationError) as error:
        raise StoreError(f"{folder.config}: is damaged; restore it or enrol again in another --dir") from error


def _unfinished(folder: StateFolder) -> str:
    """Return what an enrolment that began here lacks, and the command that goes on with it."""
    pending = read_pending(folder.enrolment)
    invited, offline = pending.invitation, folder.relay_key.exists()
    if pending.refused:
        words = "OFFER --offline DIR` with the offer of a relay that has" if offline else "INVITATION --wait` with"
        return (
            f"{folder.path}: {invited.institution} began to enrol in {invited.consortium} and cannot become a member by that "
            f"invitation: {one_line(pending.refused)}. Next: run `vdb-participant {chosen(folder)}enroll {words} a new "
            "invitation of the lead"
        )
    began = f"{folder.path}: {invited.institution} began to enrol in {invited.consortium} and is no member yet: "
    if offline:  # a site without a network: what comes back comes through the relay
        return (
            f"{began}the statement key is here, the certificate is missing, which the relay fetches once the lead has "
            f"approved. Next: run `vdb-participant {chosen(folder)}enroll OFFER --offline DIR` with the relay's offer and the "
            "folder that is carried; it shows the fingerprint that the lead approves by telephone, and takes in what the "
            "relay brought"
        )
    return (
        f"{began}keys are here, the certificate is missing, which the coordinator at {invited.address} gives once the lead "
        f"has approved. Next: run `vdb-participant {chosen(folder)}enroll INVITATION --wait` with the lead's invitation; it "
        "shows the fingerprint that the lead approves by telephone, and fetches the certificate as soon as that is done"
    )


def grouped_fingerprint(key_id: str) -> str:
    """Return a statement key's id in groups of four, to be read out."""
    return " ".join(key_id[start : start + 4] for start in range(0, len(key_id), 4))
