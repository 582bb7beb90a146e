"""What one check of `doctor` found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from vdb_shared.errors import VdbError


class Status(StrEnum):
    """Outcome of one check."""

    PASS = "PASS"  # noqa: S105 - an outcome, no password
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check.

    Attributes:
        status: its outcome.
        subject: what was looked at.
        words: what was found, and what to do about it.
    """

    status: Status
    subject: str
    words: str


def tried(subject: str, check: Callable[[], Finding]) -> Finding:
    """Return what a check found; an error of the tree is what it found."""
    try:
        return check()
    except VdbError as error:
        return Finding(Status.FAIL, subject, str(error))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's words, or its name."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
