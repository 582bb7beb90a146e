"""Who signs for the institution: the key file of the state folder, or a program in front of a key that lies elsewhere.

Promises that what an external signer returns is used only if it verifies under the institution's public key, that nothing but
the bytes to be signed is given to it, neither passphrase nor tokens in its environment either, and that a signer which is
silent, fails or answers nonsense is one line that says so.
Leaves to the operator where the key lies (a hardware module, a smart card, a key service) and who may use it.

    DIR/signer.toml    version = "vdb-signer/1"
                       public_key = "statement-key.pub.pem"    # Ed25519, SubjectPublicKeyInfo; in DIR, or absolute
                       command = ["/usr/local/bin/sign-with-hsm", "--slot", "3"]
                       seconds = 30

The program gets the bytes on standard input until its end, and writes 64 bytes, the Ed25519 signature over them (RFC 8032, no
prehash), to standard output. The same bytes must give the same signature: what a site sends is made again after a crash.

Source: protos/README.md §3.1.
"""

from __future__ import annotations

import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vdb_participant.environment import for_child, tokens_of
from vdb_participant.site.config import StateFolder
from vdb_participant.site.keys import Passphrase, unlock
from vdb_shared.audit.auditor_key import read_public_key
from vdb_shared.errors import IdentityError, SignatureError, StoreError, UsageError
from vdb_shared.identity import (
    Signer,
    StatementKey,
    StatementPublicKey,
    note_message,
    pre_authentication_encoding,
    verify_message,
)
from vdb_shared.registry.rows import load_registry
from vdb_shared.schema_words import first_mistake
from vdb_shared.toml_lines import toml_problem
from vdb_shared.transparency.note import NoteSigner

SIGNATURE_BYTES: Final = 64
_PROBE: Final = "application/vnd.vdb.signer-probe.v1"
"""Payload type of what is signed to see whether a signer works: no payload of the protocol has it."""


class StatementSigner(Signer, NoteSigner, Protocol):
    """The institution's key as all of the agent sees it: signs statements, messages of the rounds, and checkpoints."""


class SignerFile(BaseModel):
    """signer.toml.

    Attributes:
        version: of this file.
        public_key: file with the public key; relative to the folder of signer.toml.
        command: program and arguments; run without a shell.
        seconds: how long one signature may take.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["vdb-signer/1"]
    public_key: Annotated[str, Field(min_length=1, max_length=1000)]
    command: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, max_length=100)]
    seconds: Annotated[int, Field(ge=1, le=600)] = 30


@dataclass(frozen=True, slots=True)
class CommandSigner:
    """A key behind a program; implements StatementSigner.

    Attributes:
        public_key: the key that verifies.
        command: program and arguments.
        seconds: how long one signature may take.
        withheld: variables that the program does not get; see `environment.for_child`.
    """

    public_key: StatementPublicKey
    command: tuple[str, ...]
    seconds: int = 30
    withheld: frozenset[str] = frozenset()

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """Return the signature over the payload under its type.

        Raises:
            IdentityError: the program does not start, fails, is silent, or returns what is no signature of the key.
        """
        return self._signed(pre_authentication_encoding(payload_type, payload))

    def sign_note(self, text: str) -> bytes:
        """Return the signature over the text of a note, as it stands; raises as `sign`.

        Raises:
            ValueError: the text could be the pre-authentication encoding of a payload.
        """
        return self._signed(note_message(text))

    def probe(self) -> None:
        """Check that the signer works and signs the same bytes alike.

        Raises:
            IdentityError: it does not.
        """
        if self.sign(_PROBE, b"probe") != self.sign(_PROBE, b"probe"):
            raise IdentityError(
                f"{self.command[0]}: the external signer gives two signatures of the same bytes; sites need the deterministic "
                "ones of RFC 8032, so configure it for those or use a key file"
            )

    def _signed(self, message: bytes) -> bytes:
        name = self.command[0]
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own program, from the site's own configuration
                self.command,
                input=message,
                capture_output=True,
                timeout=self.seconds,
                check=False,
                env=for_child(self.withheld),
            )
        except subprocess.TimeoutExpired as error:
            raise IdentityError(
                f"{name}: the external signer gave no signature within {self.seconds} seconds; look at it, then run again"
            ) from error
        except OSError as error:
            raise IdentityError(f"{name}: the external signer cannot be started ({error.strerror})") from error
        if done.returncode:
            raise IdentityError(
                f"{name}: the external signer ended with status {done.returncode}: {_last(done.stderr)}"
            )
        try:
            verify_message(self.public_key, message, done.stdout)
        except SignatureError as error:
            raise IdentityError(
                f"{name}: the external signer returned {len(done.stdout)} bytes that are no signature of the key "
                f"{self.public_key.key_id[:16]}; expected {SIGNATURE_BYTES} bytes, and is it the right key?"
            ) from error
        return done.stdout


def external_signer(folder: StateFolder) -> CommandSigner | None:
    """Return the signer that signer.toml names, or None where there is no such file.

    Raises:
        UsageError: signer.toml, the public key or the site's registry cannot be read.
        IdentityError: the public key is none.
    """
    if not folder.signer.exists():
        return None
    try:
        text = folder.signer.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder.signer}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{folder.signer}: is not TOML: {error}") from error
    try:
        parsed = SignerFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"{folder.signer}: is {toml_problem(text, error, shown=False)}"
        ) from error  # it may hold a PIN
    except ValidationError as error:
        raise UsageError(f"{folder.signer}: {first_mistake(error)}") from error
    public = read_public_key(folder.signer.parent / Path(parsed.public_key))
    withheld = frozenset(tokens_of(load_registry(folder.registry)).values())
    return CommandSigner(public, parsed.command, parsed.seconds, withheld)


def open_signer(folder: StateFolder, passphrase: Passphrase) -> StatementSigner:
    """Return the institution's signer: the external one if signer.toml is there, else its key file.

    Raises:
        StoreError: the key file cannot be read.
        IdentityError, UsageError: it is no key, the passphrase is wrong, or signer.toml is not in order.
    """
    found = external_signer(folder)
    if found is not None:
        return found
    try:
        data = folder.statement_key.read_bytes()
    except OSError as error:
        raise StoreError(f"{error.filename}: cannot be read ({error.strerror}); restore it from a backup") from error
    return StatementKey.from_pem(data, unlock(data, passphrase))


def _last(output: bytes) -> str:
    """Return the last line that a program wrote, without what could rewrite the screen."""
    lines = output.decode("utf-8", "replace").strip().splitlines() or ["it wrote no reason to standard error"]
    return "".join(character if character.isprintable() else " " for character in lines[-1])[:300]
