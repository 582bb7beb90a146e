"""How a plan looks in a terminal: lines that fit its width, from 60 columns on.

Leaves the figures to `vdb_shared.planning.plan` and their words to `vdb_shared.planning.words`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.planning.assumptions import of_clips
from vdb_shared.planning.budget import is_private
from vdb_shared.planning.guess import in_units
from vdb_shared.planning.plan import Outlook, Plan
from vdb_shared.planning.whatif import PROPOSED_WEIGHTS
from vdb_shared.planning.words import ABOUT_DIFFERENCES, facts, number, ratio_words, what_a_metric_tells

_LEAST_WIDTH: Final = 60
_HEADING: Final = 15
_FIGURE: Final = 10
_CELL: Final = (11, 16)
"""Least and most characters of a column of ratios; "unavailable" has eleven."""


def plan_lines(plan: Plan, width: int) -> Iterator[str]:
    """Yield the lines of a plan, none longer than the width but for single words that are.

    Args:
        plan: what is told.
        width: columns of the terminal; at least 60 are used.
    """
    room = max(width, _LEAST_WIDTH)
    yield from _paragraph(plan.scenario.spec.title, room)
    for name, words in facts(plan):
        yield from _paragraph(f"  {name:<{_HEADING}} {words}", room, hang=_HEADING + 3)
    yield "  Guessed of clips:"
    for line in _guesses(plan):
        yield from _paragraph(f"    {line}", room, hang=8)
    yield ""
    yield from _paragraph("Guessed value of each model, ± half of the 95 % interval that would be published:", room)
    for outlook in plan.outlooks:
        yield from _expected(plan, outlook, room)
    if any(outlook.resolution.smallest is not None for outlook in plan.outlooks):
        yield from _paragraph(ABOUT_DIFFERENCES, room)
    yield ""
    yield from _other_sessions(plan, room)
    yield from _weights(plan, room)


def _paragraph(words: str, room: int, *, hang: int = 0) -> list[str]:
    return textwrap.wrap(words, room, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False)


def _guesses(plan: Plan) -> Iterator[str]:
    for metric in of_clips(plan.scenario.spec):
        numbers = in_units(metric, plan.guesses[metric.id, metric.inputs])
        words = ", ".join(f"{name} {number(value)}" for name, value in numbers.items())
        yield f"{metric.id}, {metric.inputs}: {words}"


def _expected(plan: Plan, outlook: Outlook, room: int) -> Iterator[str]:
    """Yield a metric: what it is, a line for each model, and what it tells."""
    metric = outlook.metric
    unit = definition_of(metric.id).unit
    yield from _paragraph(f"{metric.id}, {metric.inputs} prompts" + (f", in {unit}" if unit else ""), room, hang=2)
    found = plan.of((metric.id, metric.inputs))
    longest = min(max(len(item.model) for item in found), room - 2 * _FIGURE - 20)
    for item in found:
        name = item.model
        if len(name) > longest:
            yield f"  {name}"
            name = ""
        value, width = number(item.value), number(item.half_width)
        yield f"  {name:<{longest}} {value:>{_FIGURE}} ± {width:<{_FIGURE}} {item.grade}"
    if words := what_a_metric_tells(outlook):
        yield from _paragraph(f"  {words}", room, hang=2)
    for reason in dict.fromkeys(f"{item.grade}: {item.reason}" for item in found if item.reason):
        yield from _paragraph(f"  {reason}", room, hang=4)


def _other_sessions(plan: Plan, room: int) -> Iterator[str]:
    if not plan.what_ifs:
        yield from _paragraph(
            "No other session is compared: none is private, or one evaluation takes long; --sessions 1 compares all.",
            room,
        )
        return
    yield from _paragraph("Other sessions, of the same clips: length of their intervals by that of this plan's.", room)
    keys = [(outlook.metric.id, outlook.metric.inputs) for outlook in plan.outlooks]
    least, most = _CELL
    first = min(max(len(" ".join(key)) for key in keys), room - len(plan.what_ifs) * (least + 1))
    cell = min(most, (room - first) // len(plan.what_ifs) - 1)
    widths = [first] + [cell] * len(plan.what_ifs)
    yield from _row(["", *(item.name for item in plan.what_ifs)], widths)
    for key in keys:
        ratios = [ratio_words(item.changes[key]) if key in item.changes else "–" for item in plan.what_ifs]
        yield from _row([" ".join(key), *ratios], widths)
    for item in plan.what_ifs:
        if item.problem:
            yield from _paragraph(f"{item.name}: not possible: {item.problem}", room, hang=2)


def _row(cells: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Yield the lines of a row whose cells are wrapped, the first to the left, others to the right."""
    wrapped = [textwrap.wrap(cell, width, break_on_hyphens=False) for cell, width in zip(cells, widths, strict=True)]
    for parts in zip_longest(*wrapped, fillvalue=""):
        first, *others = parts
        right = "".join(f" {part:>{width}}" for part, width in zip(others, widths[1:], strict=True))
        yield f"{first:<{widths[0]}}{right}".rstrip()


def _weights(plan: Plan, room: int) -> Iterator[str]:
    for name, factors in plan.doubled.items():
        words = (
            f"not possible: {factors}"
            if isinstance(factors, str)
            else f"its noise × {factors[0]:.2f}, that of all others × {factors[1]:.2f}"
        )
        yield from _paragraph(f"weight of {_with_inputs(plan, name)} doubled: {words}", room, hang=2)
    proposal = plan.proposal
    if proposal is None:
        return
    yield from _paragraph(
        f"proposed weights: the sum of what noise adds to squared intervals falls from {number(proposal.before)} to "
        f"{number(proposal.after)} times their own square",
        room,
        hang=2,
    )
    for name, weight in proposal.weights.items():
        yield f"  {_with_inputs(plan, name)}: weight = {weight}"
    withheld = _withheld_by_proposal(plan)
    if withheld:
        yield from _paragraph(
            f"  With them {', '.join(withheld)} would be unavailable: one sum for all metrics is no promise to each.",
            room,
            hang=2,
        )


def _with_inputs(plan: Plan, name: str) -> str:
    """Return a metric's id with the inputs on which its weight counts: those that private records enter."""
    inputs = [metric.inputs for metric in plan.scenario.spec.metrics if metric.id == name and is_private(metric)]
    return f"{name} {' and '.join(inputs)}"


def _withheld_by_proposal(plan: Plan) -> list[str]:
    """Return the metrics that the proposed weights would have withheld and those of the spec have not."""
    shown = [(outlook.metric.id, outlook.metric.inputs) for outlook in plan.outlooks]
    proposed = [item.changes for item in plan.what_ifs if item.name == PROPOSED_WEIGHTS]
    return [
        " ".join(key)
        for key in shown
        if any(key in changes and changes[key].grade == "unavailable" for changes in proposed)
        and any(item.grade != "unavailable" for item in plan.of(key))
    ]
