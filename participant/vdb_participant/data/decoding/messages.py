"""What is asked of a decoder, and how its answers are written: one JSON object a message.

Files travel beside a message as descriptors, frames in shared memory. Loads no pydantic: a decoder is to start fast, and what
it is asked comes from the agent, which it trusts. Leaves the other direction, where nothing is trusted, to `answers.py`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from vdb_participant.data.decoding.media import Limits

MESSAGE_BYTES: Final = 16 * 1024
"""Longest message, either way."""

Kind = Literal["video", "count", "picture", "glance"]


@dataclass(frozen=True, slots=True)
class Request:
    """What to do with a file.

    Attributes:
        kind: frames of a video, their number, a picture, or a glance.
        suffix: of the file's name, which demuxers look at.
        frames: how many are wanted at most; 0 for all.
        limits: what it may take.
        output: bytes of shared memory for frames; 0 for none.
    """

    kind: Kind
    suffix: str
    frames: int
    limits: Limits
    output: int = 0

    def to_bytes(self) -> bytes:
        """Return the message."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, message: bytes) -> Request:
        """Return what a message asks for."""
        facts = json.loads(message)
        return cls(**facts | {"limits": Limits(**facts["limits"])})


def answer(kind: str, **facts: Any) -> bytes:
    """Return the message of an answer of `answers.py`."""
    return json.dumps({"answer": kind} | facts).encode()
