"""Signed notes: a text, an empty line, and lines of signatures.

Promises that a note is read in one way or refused, that a signature by a known key either verifies or spoils the note, and
that signatures of unknown keys change nothing: witnesses and rotated keys may add theirs. Leaves what the text says to
checkpoint.py.

Source: C2SP signed-note v1.0.0.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from nacl.exceptions import BadSignatureError
from nacl.exceptions import ValueError as WrongLengthError
from nacl.signing import VerifyKey

from vdb_shared.canonical import decode_base64, encode_base64
from vdb_shared.errors import FormatError, SignatureError
from vdb_shared.identity import StatementPublicKey

MAX_NOTE_BYTES: Final = 512 * 1024
MAX_SIGNATURES: Final = 2048
"""Of the log and of one witness for each institution of a large session."""

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04

Kind = Literal[0x01, 0x04]
"""Kind of a signature: of the text itself, or of a checkpoint's text with a time before it."""

_DASH: Final = "— "
_NAME = re.compile(r"[^\s+]+")
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A key that verifies one kind of signature under one name.

    Attributes:
        name: of the signer; no spaces and no plus.
        kind: of its signatures.
        public: Ed25519 key, 32 bytes.
    """

    name: str
    kind: Kind
    public: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or not self.name.isprintable():
            raise FormatError(f"{self.name!r} cannot name a key of a note: no spaces, no plus")
        if len(self.public) != _KEY_BYTES:
            raise FormatError(f"an Ed25519 public key has 32 bytes, not {len(self.public)}")

    @property
    def id(self) -> bytes:
        """The first 4 bytes of SHA-256(name, newline, kind, public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        """Return the key as text (a *vkey*): name+id+base64."""
        return f"{self.name}+{self.id.hex()}+{encode_base64(bytes([self.kind]) + self.public)}"

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether a signature over a message is this key's; keys and nonces of small order never verify."""
        try:
            VerifyKey(self.public).verify(message, signature)
        except (BadSignatureError, WrongLengthError):
            return False
        return True


def parse_key(text: str) -> NoteKey:
    """Return the key that a text `name+id+base64` holds.

    Raises:
        FormatError: it holds none, or one of a kind that is not known.
    """
    name, _, rest = text.partition("+")
    number, _, encoded = rest.partition("+")
    raw = decode_base64(encoded)
    if not raw or raw[0] not in {ED25519, COSIGNATURE}:
        raise FormatError(f"{text!r} is no Ed25519 key of a signed note")
    found = NoteKey(name, ED25519 if raw[0] == ED25519 else COSIGNATURE, raw[1:])
    if found.id.hex() != number:
        raise FormatError(f"{text!r}: the id should be {found.id.hex()}")
    return found


class NoteSigner(Protocol):
    """Whatever can sign notes for one identity, as a statement key does."""

    @property
    def public_key(self) -> StatementPublicKey:
        """The key that verifies."""

    def sign_note(self, text: str) -> bytes:
        """Return the signature over a text as it stands."""


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One line below a note.

    Attributes:
        name: of the signer.
        id: 4 bytes, of its key.
        value: the signature, as its kind has it.
    """

    name: str
    id: bytes
    value: bytes

    def __str__(self) -> str:
        """Return the line without its newline."""
        return f"{_DASH}{self.name} {encode_base64(self.id + self.value)}"


@dataclass(frozen=True, slots=True)
class Note:
    """A text with signatures.

    Attributes:
        text: ends with a newline.
        signatures: at least one.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """Return the note as it is stored and sent."""
        return (self.text + "\n" + "".join(f"{line}\n" for line in self.signatures)).encode()

    def with_signatures(self, others: Iterable[NoteSignature]) -> Note:
        """Return the note with more signatures; one of the same key and name is there once, the newer one."""
        merged = {(found.name, found.id): found for found in (*self.signatures, *others)}
        return Note(self.text, tuple(merged.values()))

    def by(self, key: NoteKey) -> tuple[NoteSignature, ...]:
        """Return the signatures that claim to be of a key, verified or not."""
        return tuple(found for found in self.signatures if (found.name, found.id) == (key.name, key.id))


def parse_note(data: bytes) -> Note:
    """Return the note that `data` is, its signatures not verified.

    Raises:
        FormatError: it is none.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise FormatError(f"a signed note of {len(data)} bytes; at most {MAX_NOTE_BYTES} are read")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("a signed note is UTF-8") from error
    if any(character < " " and character != "\n" for character in whole):
        raise FormatError("a signed note has no control characters")
    text, separator, lines = whole.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise FormatError("a signed note is text, an empty line, and lines of signatures")
    found = tuple(_signature(line) for line in lines.removesuffix("\n").split("\n"))
    if len(found) > MAX_SIGNATURES:
        raise FormatError(f"a signed note with {len(found)} signatures; at most {MAX_SIGNATURES} are read")
    return Note(text + "\n", found)


def sign_text(text: str, name: str, signer: NoteSigner) -> NoteSignature:
    """Return the signature of a text under a name."""
    _check_text(text)
    return NoteSignature(name, NoteKey(name, ED25519, signer.public_key.raw).id, signer.sign_note(text))


def verified_by(note: Note, keys: Sequence[NoteKey]) -> tuple[NoteKey, ...]:
    """Return which of these keys signed the note's text.

    Args:
        note: the note.
        keys: that are known, all of the kind that signs the text itself.

    Raises:
        SignatureError: a signature claims to be of a known key and does not verify.
    """
    message = note.text.encode()
    found = []
    for key in keys:
        claimed = note.by(key)
        if any(not key.verifies(message, signature.value) for signature in claimed):
            raise SignatureError(f"a signature of {key.name} below a note does not verify")
        if claimed:
            found.append(key)
    return tuple(found)


def _check_text(text: str) -> None:
    if not text.endswith("\n") or any(character < " " and character != "\n" for character in text):
        raise ValueError("the text of a note ends with a newline and has no control characters")


def _signature(line: str) -> NoteSignature:
    name, separator, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not separator or not _NAME.fullmatch(name):
        raise FormatError(f"{line[:80]!r} is no line of a signature")
    raw = decode_base64(encoded)
    if len(raw) <= _ID_BYTES:
        raise FormatError(f"the signature of {name} below a note is too short")
    return NoteSignature(name, raw[:_ID_BYTES], raw[_ID_BYTES:])
