"""What a decoder answers, as the agent reads it.

Promises that an answer is believed in nothing but its form, since it may come from a process that a file has taken over:
it is parsed strictly, and words are cut to one printable line. Leaves holding numbers against what was asked to `decoder.py`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

WORDS: Final = 300
"""Characters of a decoder's own words that are shown."""

_Number = Annotated[int, Field(ge=0, le=2**31)]
_Rate = Annotated[tuple[_Number, Annotated[int, Field(ge=1, le=2**31)]], Field(strict=False)]
"""Frames per second as numerator and denominator; JSON has lists only."""


class _AnswerFile(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class ReadyFile(_AnswerFile):
    """A decoder waits for its first file; what it could give up besides its privileges."""

    answer: Literal["ready"]
    network: bool
    files: bool


class SeenFile(_AnswerFile):
    """Frames that are in shared memory from its beginning, one after the other; of a count, only their number."""

    answer: Literal["seen"]
    frames: _Number
    height: _Number
    width: _Number
    rate: _Rate


class GlancedFile(_AnswerFile):
    """Small pictures that are in shared memory; `frames`, `height` and `width` are of the clip."""

    answer: Literal["glanced"]
    frames: _Number
    height: _Number
    width: _Number
    rate: _Rate
    small: Annotated[tuple[_Number, _Number], Field(strict=False)]
    numbers: Annotated[tuple[_Number, ...], Field(strict=False)]
    ended: str


class RefusedFile(_AnswerFile):
    """The file cannot be used, and why."""

    answer: Literal["refused"]
    reason: str


class EndedFile(_AnswerFile):
    """The process that read the file ended without an answer: by a signal, or with an exit status; or it was too slow."""

    answer: Literal["ended"]
    signal: _Number
    status: _Number
    late: bool


Answer = ReadyFile | SeenFile | GlancedFile | RefusedFile | EndedFile
_ANSWERS: Final[TypeAdapter[Answer]] = TypeAdapter(Annotated[Answer, Field(discriminator="answer")])


def parse_answer(message: bytes) -> Answer:
    """Return what a decoder said.

    Raises:
        ValueError: it is no answer.
    """
    try:
        return _ANSWERS.validate_json(message)
    except ValidationError as error:
        raise ValueError("no answer of a decoder") from error


def one_line(words: str) -> str:
    """Return words that a file may have written as one printable line."""
    shown = "".join(letter if letter.isprintable() else " " for letter in words[:WORDS])
    return " ".join(shown.split()) or "no reason was given"
