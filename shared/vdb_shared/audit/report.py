"""What an audit says: one line for each check, and a verdict that follows from the lines.

Promises that a check which was not carried out never counts as passed. Leaves carrying out checks to `checks`, and how a
report looks to `text.py` and `html.py`.

Source: protos/README.md §10.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from vdb_shared.audit.standing import Standing
from vdb_shared.errors import VerificationError

REPORT_VERSION: Final = "vdb-audit-report/1"


class Status(StrEnum):
    """Outcome of one check."""

    PASS = "PASS"  # noqa: S105  # an outcome, not a secret
    FAIL = "FAIL"
    NOT_PROVEN = "NOT PROVEN"
    """Nothing in the bundle can show it in this version; not required for a pass."""
    SKIPPED = "SKIPPED"
    """Required, but left out on the caller's wish."""
    NOT_REACHED = "NOT REACHED"
    """A check that this one builds on did not pass."""


class Verdict(StrEnum):
    """Outcome of an audit."""

    PASS = "PASS"  # noqa: S105  # an outcome, not a secret
    FAIL = "FAIL"
    INCOMPLETE = "INCOMPLETE"


EXIT_CODES: Final = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCOMPLETE: 3}
"""Exit status of `vdb-audit verify`; 2 is a usage error."""


@dataclass(frozen=True, slots=True)
class Line:
    """One check and its outcome.

    Attributes:
        id: such as "V31".
        title: what the check is about, a few words.
        status: its outcome.
        sentence: what that means, for a reader who knows no cryptography.
        detail: of a failure: what was expected and found; else "".
        said: what others said, a line each, which nothing else may share.
    """

    id: str
    title: str
    status: Status
    sentence: str
    detail: str = ""
    said: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; what others said stands there only where they did."""
        said = {"said": list(self.said)} if self.said else {}
        return said | {
            "detail": self.detail,
            "id": self.id,
            "sentence": self.sentence,
            "status": self.status.value,
            "title": self.title,
        }


@dataclass(frozen=True, slots=True)
class Facts:
    """What a verified bundle is about. Present once its statements were parsed; only as true as the verdict.

    Attributes:
        session: id of the session.
        seal: digest of the seal.
        consortium: who ran it.
        title: of the benchmark.
        joined: institutions whose joins were sealed, in order of seat.
        survivors: those whose statistics are in the sum.
        dropped: those that joined but are not in the sum, with the last stage they reached, or `left-out` by a restart.
        private: whether the result claims differential privacy.
        epsilon, delta: that the spec promises, as decimal strings.
        root: fingerprint of the trust root in the bundle.
        published: time that the coordinator states.
        supersedes: session whose result it was opened to replace, or "".
    """

    session: str
    seal: str
    consortium: str
    title: str
    joined: tuple[str, ...]
    survivors: tuple[str, ...]
    dropped: Mapping[str, str]
    private: bool
    epsilon: str
    delta: str
    root: str
    published: str
    supersedes: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; what it replaces stands there only where it replaces something."""
        replaced = {"supersedes": self.supersedes} if self.supersedes else {}
        return replaced | {
            "consortium": self.consortium,
            "delta": self.delta,
            "dropped": [{"institution": name, "stage": stage} for name, stage in self.dropped.items()],
            "epsilon": self.epsilon,
            "joined": list(self.joined),
            "private": self.private,
            "published": self.published,
            "root": self.root,
            "seal": self.seal,
            "session": self.session,
            "survivors": list(self.survivors),
            "title": self.title,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A finished audit.

    Attributes:
        bundle: digest of the whole file.
        size: its number of bytes.
        lines: in the order of the checks.
        facts: what the bundle is about, or None if its statements could not be read.
        pinned: whether the trust root was given from outside the bundle.
        standing: what was said of the result since it was published; None where nothing was given that shows it.
    """

    bundle: str
    size: int
    lines: tuple[Line, ...]
    facts: Facts | None
    pinned: bool
    standing: Standing | None = None

    @property
    def first_failure(self) -> Line | None:
        """The first check that failed."""
        return next((line for line in self.lines if line.status is Status.FAIL), None)

    @property
    def verdict(self) -> Verdict:
        """FAIL if a check failed; INCOMPLETE if a required one was not carried out; else PASS."""
        found = {line.status for line in self.lines}
        if Status.FAIL in found:
            return Verdict.FAIL
        if found & {Status.SKIPPED, Status.NOT_REACHED}:
            return Verdict.INCOMPLETE
        return Verdict.PASS

    @property
    def exit_code(self) -> int:
        """Exit status of the command."""
        return EXIT_CODES[self.verdict]

    def require(self) -> None:
        """Check that nothing failed; a draft may lack countersignatures.

        Raises:
            VerificationError: of the first check that failed.
        """
        failure = self.first_failure
        if failure is not None:
            raise VerificationError(f"{failure.sentence} {failure.detail}".strip(), check=failure.id)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, as `vdb-audit verify --json` prints it."""
        failure = self.first_failure
        return {
            "bundle": self.bundle,
            "checks": [line.to_json() for line in self.lines],
            "facts": None if self.facts is None else self.facts.to_json(),
            "first_failure": None if failure is None else failure.id,
            "root_pinned": self.pinned,
            "size": self.size,
            "standing": None if self.standing is None else self.standing.to_json(),
            "verdict": self.verdict.value,
            "version": REPORT_VERSION,
        }
