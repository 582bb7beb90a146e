"""The file in which an institution opens lines of its list to an auditor: what it says, signed, and clips where it shows some.

Promises one encoding of each file (the container of §9.3), and that every other byte in it is named by the signed statement.
Leaves whether what it says is true to `audit/spot_check.py`. Pure.

    vdb-samples  opening.dsse.json  choice.json  clips/<number of the line>.rgb

Source: protos/README.md §10.14.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Self

from pydantic import AfterValidator, Field, model_validator

from vdb_shared import labels
from vdb_shared.bundle.archive import read_archive, write_archive
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.samples import MOST_OPENED
from vdb_shared.bundle.statement import Hex32, Predicate, Statement, Time, parse_statement, subject_of
from vdb_shared.canonical import decode_base64
from vdb_shared.errors import FormatError
from vdb_shared.fields import Digest, Name
from vdb_shared.identity import Signer
from vdb_shared.transparency.merkle import HASH_BYTES, MAX_PROOF

VERSION: Final = "vdb-samples"
OPENING: Final = "opening.dsse.json"
CHOICE: Final = "choice.json"

_VERSION_BYTES: Final = f"{labels.SAMPLES_VERSION}\n".encode("ascii")


def _hash(text: str) -> str:
    try:
        size = len(decode_base64(text))
    except FormatError as error:
        raise ValueError(str(error)) from error
    if size != HASH_BYTES:
        raise ValueError(f"a hash of the tree has {HASH_BYTES} bytes")
    return text


Hash = Annotated[str, AfterValidator(_hash)]
Extent = Annotated[int, Field(ge=1, lt=2**16)]


class ShownClip(Predicate):
    """Size of the frames in the member `clips/<number>.rgb`: uint8, frame by frame, row by row, red, green and blue."""

    kind: ClassVar[str] = "shown-clip"
    frames: Extent
    height: Extent
    width: Extent

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.frames * self.height * self.width * 3


class OpenedWords(Predicate):
    """A prompt, or the name of a reference clip's file, with the salt of its digest."""

    kind: ClassVar[str] = "opened-words"
    text: str
    salt: Hex32


class OpenedLine(Predicate):
    """One line of the list.

    Attributes:
        number: its place in the list, from 0.
        line: its text, canonical JSON.
        path: proof that the list has it there.
        words: what its digest of words stands for; None where the institution does not tell.
        clip: size of its frames, which are a member of the file; None where they are not shown.
    """

    kind: ClassVar[str] = "opened-line"
    number: Annotated[int, Field(ge=0, lt=2**53)]
    line: str
    path: Annotated[tuple[Hash, ...], Field(max_length=MAX_PROOF)]
    words: OpenedWords | None
    clip: ShownClip | None

    @property
    def member(self) -> str:
        """Name of the member with its frames."""
        return f"clips/{self.number}.rgb"


class SampleOpening(Predicate):
    """An institution opens lines of its list.

    Attributes:
        session: id of the session.
        institution: whose list.
        contribution: digest of the payload of the statement that fixed the list.
        auditor: for whom this was made; a file that turns up elsewhere was passed on.
        total: number of lines of the list.
        tree: root of the tree over them, hex.
        salt: that kept both from being told by the contribution, hex.
        opened: lines in the order in which they were drawn.
        made: when.
    """

    kind: ClassVar[str] = "sample-opening"
    session: Digest
    institution: Name
    contribution: Digest
    auditor: Name
    total: Annotated[int, Field(ge=0, lt=2**53)]
    tree: Hex32
    salt: Hex32
    opened: Annotated[tuple[OpenedLine, ...], Field(max_length=MOST_OPENED)]
    made: Time

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        numbers = [item.number for item in self.opened]
        if len(set(numbers)) != len(numbers) or any(number >= self.total for number in numbers):
            raise ValueError("a line stands twice, or lies beyond the list")
        return self


@dataclass(frozen=True, slots=True)
class SampleFile:
    """What such a file holds.

    Attributes:
        envelope: the statement as signed; its signature is not verified by reading.
        opening: what it says.
        choice: bytes of the file that chose the lines.
        clips: frames by the number of their line.
    """

    envelope: Envelope
    opening: SampleOpening
    choice: bytes = field(repr=False)
    clips: Mapping[int, bytes] = field(repr=False)


def write_samples(opening: SampleOpening, choice: bytes, clips: Mapping[int, bytes], signer: Signer) -> bytes:
    """Return the file, signed.

    Args:
        opening: what it says.
        choice: bytes of the file that chose the lines.
        clips: frames by the number of their line, as `opening` announces them.
        signer: statement key of the institution.

    Raises:
        FormatError: it would be larger than a statement or a container may be.
    """
    others = {VERSION: _VERSION_BYTES, CHOICE: choice}
    others |= {item.member: clips[item.number] for item in opening.opened if item.clip is not None}
    subjects = tuple(subject_of(name, others[name]) for name in sorted(others))
    data = write_archive({**others, OPENING: Statement(subjects, opening).sign(signer).to_json()})
    read_samples(data)
    return data


def read_samples(data: bytes) -> SampleFile:
    """Return what a file holds; neither signature nor contents are verified.

    Raises:
        FormatError: it is not what `write_samples` writes.
    """
    members = read_archive(data)
    if members.get(VERSION) != _VERSION_BYTES or OPENING not in members or CHOICE not in members:
        raise FormatError(f"not a file of opened samples of the version {labels.SAMPLES_VERSION}")
    envelope = Envelope.from_json(members[OPENING])
    opening, subjects = parse_statement(envelope.payload, SampleOpening)
    others = {name: members[name] for name in members.keys() - {OPENING}}
    if subjects != tuple(subject_of(name, others[name]) for name in sorted(others)):
        raise FormatError(f"{OPENING} does not name exactly the other members with their digests")
    shown = {item.member: item for item in opening.opened if item.clip is not None}
    if others.keys() != {VERSION, CHOICE, *shown}:
        raise FormatError("the file has other clips than those it announces")
    for name, item in shown.items():
        if item.clip is None or len(others[name]) != item.clip.size:
            raise FormatError(f"{name}: has another size than its {item.clip}")
    clips = {item.number: others[name] for name, item in shown.items()}
    return SampleFile(envelope, opening, others[CHOICE], clips)
