"""What a check is: a numbered demand on the evidence, in words for people, with a function that tries it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.report import Line, Status
from vdb_shared.errors import VdbError, VerificationError


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found when it did not fail.

    Attributes:
        status: PASS, NOT PROVEN or SKIPPED.
        sentence: that says so.
        said: what others said, a line each.
    """

    status: Status
    sentence: str
    said: tuple[str, ...] = ()


DRAFT: Final = Finding(
    Status.SKIPPED, "This is a draft: its result is logged once enough institutions countersigned it."
)


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        id: such as "V31".
        title: a few words.
        broken: the sentence of a failure, for a reader who knows no cryptography.
        needs: ids of the checks without which this one cannot be tried.
        full_needs: ids that it needs besides, where a bundle has the profile `full`.
        attempt: returns a finding, or raises a VdbError whose message is the failure's detail.
    """

    id: str
    title: str
    broken: str
    needs: tuple[str, ...]
    attempt: Callable[[Evidence], Finding]
    full_needs: tuple[str, ...] = ()


def answered(check_id: str, title: str, broken: str, attempt: Callable[[], Finding]) -> Line:
    """Return the line of a report for an attempt at a check: what it finds, or FAIL with what it runs into.

    Args:
        check_id: of the check.
        title: of the check.
        broken: what a failure means.
        attempt: raises an error of the tree where the check fails.
    """
    try:
        finding = attempt()
    except VerificationError as error:
        return Line(check_id, title, Status.FAIL, broken, error.reason)
    except VdbError as error:
        return Line(check_id, title, Status.FAIL, broken, str(error))
    return Line(check_id, title, finding.status, finding.sentence, said=finding.said)


def passed(sentence: str) -> Finding:
    """Return a PASS."""
    return Finding(Status.PASS, sentence)


def not_proven(sentence: str, said: Sequence[str] = ()) -> Finding:
    """Return a NOT PROVEN, perhaps with what others said."""
    return Finding(Status.NOT_PROVEN, sentence, tuple(said))


def demand(check: str, holds: bool, problem: str) -> None:
    """Check that something holds.

    Raises:
        VerificationError: of this check, with the problem, if it does not.
    """
    if not holds:
        raise VerificationError(problem, check=check)


def demand_equal(check: str, what: str, expected: object, found: object) -> None:
    """Check that two values are equal.

    Raises:
        VerificationError: of this check, naming both.
    """
    demand(check, expected == found, f"{what}: expected {expected}, found {found}.")


def clock(seconds: int) -> str:
    """Return POSIX seconds as statements write a time; a witness may claim any."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return f"second {seconds}"
