"""What a leaderboard comes to, in a few sentences: who is first by which metric, and where the data cannot tell.

Promises that nothing is said that the published sets of ranks do not say: a model is called first only where every other model
is certainly behind another one, and models between which the data do not decide are named together. No metric is weighed
against another. Pure.

Source: protos/README.md §7.3 (sets of ranks), §9.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vdb_shared.audit.leaderboard import Table

_LOAD: Final = (
    "Running times are what the institutions' machines took, whatever else these did meanwhile: intervals and ranks of them "
    "are about the clips, not about that."
)


def summary_lines(tables: Sequence[Table], confidence: str) -> tuple[str, ...]:
    """Return the sentences, metrics of one outcome in one; none where there are no tables.

    Args:
        tables: in the order of the spec.
        confidence: with which all comparisons hold together, such as "0.95".
    """
    found: dict[tuple[str, str], list[str]] = {}
    for table in tables:
        found.setdefault(_outcome(table), []).append(_named(table))
    if not found:
        return ()
    # Names of metrics hold commas.
    lines = [f"{before} by {'; '.join(metrics)}{after}." for (before, after), metrics in found.items()]
    sure = f"All of this together is right with {float(confidence) * 100:.0f} % confidence."
    timed = any("timing" in table.definition.needs for table in tables)
    load = (_LOAD,) if timed else ()
    return (*lines, *load, f"{sure} No metric is weighed against another, so there is no overall rank.")


def _outcome(table: Table) -> tuple[str, str]:
    """Return what stands before and after the name of the metric."""
    ranked = [row for row in table.rows if row.ranks is not None]
    leaders = [row.model for row in ranked if row.ranks is not None and row.ranks[0] == 1]
    if not ranked:
        return "No model is ranked", ": all figures are withheld, for the reasons given there"
    if len(ranked) == 1:
        return f"Only {ranked[0].model} has a figure", ", so there is nothing to rank"
    if len(leaders) == 1:
        return f"{leaders[0]} ranks first", ""
    if len(leaders) == len(ranked):
        return "No model can be told from another", ""
    either = f"{', '.join(leaders[:-1])} or {leaders[-1]}"
    return f"{either}, which the data cannot tell apart, ranks first", ""


def _named(table: Table) -> str:
    """Return what the metric is called, and how many models its ranks are among where some figures are withheld."""
    ranked = sum(row.ranks is not None for row in table.rows)
    whole = ranked in {0, 1, len(table.rows)}
    return table.title if whole else f"{table.title}, among {ranked} of {len(table.rows)} models"
