"""V35: clips that two institutions made are the same clips.

A difference fails no bundle. It is an error of a machine or a wrong model, which the reader must know of, and no fraud: whoever
wants to deceive knows which clips are compared. Nor does a missing record, which a single institution could use to spoil the
result of all others; it is named instead.

Source: protos/README.md §6.3, §7.5, §10.7.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from vdb_shared.audit.checks.base import Check, Finding, not_proven, passed
from vdb_shared.audit.evidence import Evidence
from vdb_shared.checked_clips import DROPPED_OUT, Comparison
from vdb_shared.wording import counted


def _alike(evidence: Evidence) -> Finding:
    checked = evidence.checked
    if checked is None:
        return not_proven(
            "Whether all institutions make the same clips cannot be seen: the spec has no public clip made at two of them."
        )
    if checked.apart or checked.owed or not checked.compared:
        return not_proven(" ".join(_doubts(checked)))
    return passed(" ".join(_findings(checked)))


def _findings(checked: Comparison) -> Iterator[str]:
    compared, equal = len(checked.compared), sum(pair.outcome == "equal" for pair in checked.pairs)
    close = compared - equal
    rounding = f", {close} within the tolerance for devices that round differently" if close else ""
    are = "is" if compared == 1 else "are"
    made = f"{counted(compared, 'public clip')} made at two institutions {are} the same at both"
    yield f"{made}: {equal} to the last bit{rounding}."
    gone = sum(pair.reason == DROPPED_OUT for pair in checked.pairs)
    if gone:
        yield f"{gone} more could not be compared, because an institution is not in the sum."


def _doubts(checked: Comparison) -> Iterator[str]:
    if not checked.compared:
        yield f"Of {counted(len(checked.pairs), 'public clip')} made at two institutions, none could be compared."
    if checked.apart:
        found = Counter((pair.institutions, pair.model) for pair in checked.apart)
        where = "; ".join(
            f"{counted(clips, 'clip')} of {model} at {' and '.join(pair)}" for (pair, model), clips in found.items()
        )
        yield (
            f"Of {counted(len(checked.compared), 'public clip')} made at two institutions and compared, {len(checked.apart)} "
            f"{'differs' if len(checked.apart) == 1 else 'differ'} beyond the tolerance: {where}. Whether one of them has "
            "another model, driver or library than the other, and which, the bundle cannot show."
        )
    for (name, reason), clips in Counter((pair.blamed, pair.reason) for pair in checked.owed).items():
        yield f"{counted(clips, 'clip')} could not be compared, because {name} {reason}."
    if not checked.apart and not checked.owed:
        yield "One of the two institutions is not in the sum."


CHECKS: Final = (
    Check(
        "V35",
        "Clips made twice",
        "What institutions say of clips that two of them made cannot be compared.",
        ("V31",),
        _alike,
    ),
)
