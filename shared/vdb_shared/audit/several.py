"""Comparisons and tables over several results, as text for a terminal or a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vdb_shared.audit.boards import ACROSS, Boards, Group
from vdb_shared.audit.compare import Compared, Comparison
from vdb_shared.audit.leaderboard import counted_of, source_of
from vdb_shared.audit.sides import Row
from vdb_shared.audit.significance import FEWEST
from vdb_shared.audit.text import count_of, interval, notes_on, verdict_sentence
from vdb_shared.sums import rounded

MOST_NAMED: Final = 6
"""Of a longer list of names the rest is counted; JSON has all."""

INDEPENDENT: Final = (
    "The results have no institution and no clips in common, so the errors of figures without noise are taken as "
    "independent; noised ones take longer differences, because noise is also in the length of their intervals. Whether "
    "institutions of different names hold the same videos cannot be seen."
)

DEPENDENT: Final = (
    "The results have institutions or clips in common, so their errors are not independent. How they go together is not "
    "known; a difference counts only if it is more than chance however they do, which takes longer ones."
)

WHY: Final = (
    "More than chance means that two published figures stand for different values, not why. What else differs stands "
    "beside each; what is not published, such as records that changed at an institution, does not."
)


def planned_sentence(found: Comparison) -> str:
    """Return how many comparisons share the chance of a mistake."""
    return (
        f"{found.planned} pairs of figures are asked for by both specs on one scale. With 95 % no statement of this table that "
        f"one is better is wrong, all of them together (Holm). {len(found.compared)} could be compared, from {FEWEST} clips on."
    )


def shortened(values: Sequence[str]) -> str:
    """Return a list of names in words; of a long one the beginning and how many more there are."""
    if len(values) <= MOST_NAMED:
        return ", ".join(values) or "–"
    return f"{', '.join(values[:MOST_NAMED])} and {len(values) - MOST_NAMED} more"


def print_comparison(console: Console, found: Comparison) -> None:
    """Print two results side by side, then what differs by more than chance."""
    for which, bundle in (("First", found.first), ("Second", found.second)):
        console.print(Text.assemble((f"{which:<8}", "bold"), f"{bundle.name}: {bundle.facts.title}"), soft_wrap=True)
        console.print(f"        {verdict_sentence(bundle.report)}", soft_wrap=True)
    for remark in found.remarks:
        console.print(Text(f"NOTE    {remark}", style="yellow"), soft_wrap=True)
    _print_spec(console, found)
    _print_rows(console, "Who took part", found.cohort)
    _print_rows(console, "Privacy", found.privacy)
    _print_figures(console, found)


def _print_spec(console: Console, found: Comparison) -> None:
    _head(console, "What was agreed")
    if not found.spec:
        console.print("The specs are equal.")
    for item in found.spec:
        console.print(f"  {item.what}: {shortened(item.first)}  →  {shortened(item.second)}", soft_wrap=True)


def _print_rows(console: Console, heading: str, rows: Sequence[Row]) -> None:
    _head(console, heading)
    for row in rows:
        words = f"{row.first}  →  {row.second}" if row.differs else row.first
        console.print(Text.assemble(("≠ " if row.differs else "  ", "yellow"), f"{row.what}: {words}"), soft_wrap=True)


def _print_figures(console: Console, found: Comparison) -> None:
    _head(console, "Figures")
    for heading, items in by_metric(found).items():
        console.print(Text(heading, style="bold"), soft_wrap=True)
        console.print(_figures(items))
        for models, words in elsewhere(items):
            console.print(f"  What else differs, {models}: {words}", style="dim", soft_wrap=True)
    for what, reason in gaps(found):
        console.print(Text.assemble(("NOT COMPARED  ", "yellow"), f"{what}: {reason}"), soft_wrap=True)
    console.print()
    for sentence in (planned_sentence(found), INDEPENDENT if found.independent else DEPENDENT, WHY):
        console.print(Text(sentence, style="dim"), soft_wrap=True)
    console.print(Text(conclusion(found), style="bold"), soft_wrap=True)


def conclusion(found: Comparison) -> str:
    """Return in one sentence how many figures differ."""
    if not found.compared:
        return "No figure could be compared."
    apart, all_of_them = len(found.apart), len(found.compared)
    if not apart:
        return f"None of the {all_of_them} differences is more than chance."
    return f"{apart} of the {all_of_them} differences {'is' if apart == 1 else 'are'} more than chance."


def by_metric(found: Comparison) -> dict[str, list[Compared]]:
    """Return the compared figures by what they measure, in words."""
    groups: dict[str, list[Compared]] = {}
    for item in found.compared:
        groups.setdefault(heading_of(item), []).append(item)
    return groups


def elsewhere(items: Sequence[Compared]) -> list[tuple[str, str]]:
    """Return what else differs, each list once with the models that it holds for."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for item in items:
        if item.circumstances:
            groups.setdefault(item.circumstances, []).append(item.model)
    return [(shortened(models), ", ".join(words)) for words, models in groups.items()]


def gaps(found: Comparison) -> list[tuple[str, str]]:
    """Return what is not compared and why, each reason once with the models that it holds for."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in found.not_compared:
        groups.setdefault((item.metric, item.reason), []).append(item.model)
    return [
        (_about(metric, [model for model in models if model]), reason) for (metric, reason), models in groups.items()
    ]


def _about(metric: str, models: Sequence[str]) -> str:
    return " of ".join(part for part in (metric, shortened(models) if models else "") if part)


def heading_of(item: Compared) -> str:
    """Return what a compared figure measures, in words."""
    definition = item.definition
    direction = "higher is better" if definition.direction == "higher" else "lower is better"
    unit = f" in {definition.unit}" if definition.unit else ""
    return f"{definition.title}{unit} ({definition.id}): {source_of(item.inputs)}, {direction}"


def outcome_of(item: Compared) -> str:
    """Return what a comparison came to, in words."""
    return {None: "may be chance", "first": "better in the first", "second": "better in the second"}[item.better]


def _figures(items: Sequence[Compared]) -> Table:
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("Model", "First", "Second", "Second less first"):
        drawn.add_column(heading, justify="left" if heading == "Model" else "right", overflow="fold")
    for item in items:
        figures = (f"{side['value']}\n{side['low']} … {side['high']}" for side in (item.first, item.second))
        drawn.add_row(item.model, *figures, f"{rounded(item.lead.difference)}\n{outcome_of(item)}")
    return drawn


def print_boards(console: Console, boards: Boards) -> None:
    """Print the results and a table for each measure."""
    for name, bundle in boards.bundles.items():
        facts = bundle.facts
        about = f"{facts.title}; {facts.consortium}, published {facts.published}, {len(facts.survivors)} institutions"
        console.print(Text.assemble((f"{name}  ", "bold"), about), soft_wrap=True)
    for remark in boards.remarks:
        console.print(Text(f"NOTE  {remark}", style="yellow"), soft_wrap=True)
    for group in boards.groups:
        unit = f" in {group.definition.unit}" if group.definition.unit else ""
        console.print()
        heading = f"{group.definition.title}{unit} ({group.definition.id}): {group.words}"
        console.print(Text(heading, style="bold"), soft_wrap=True)
        console.print(_board(group))
    for sentence in endnotes(boards):
        console.print(Text(sentence, style="dim"), soft_wrap=True)


def endnotes(boards: Boards) -> tuple[str, ...]:
    """Return how tables over several results are read."""
    entries = [(group.definition, entry.row) for group in boards.groups for entry in group.entries]
    noised = any(entry.noised_count for group in boards.groups for entry in group.entries)
    return (ACROSS, *notes_on(entries, noised_counts=noised))


def _board(group: Group) -> Table:
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("Result", "Rank", "Model", "Value", "95 % interval", counted_of(group.measure.inputs)):
        drawn.add_column(heading, justify="left" if heading in {"Result", "Model"} else "right", overflow="fold")
    for entry in group.entries:
        row = entry.row
        value = row.value or row.instead
        count = count_of(row, noised=entry.noised_count)
        drawn.add_row(entry.shown, row.rank_set, row.model, value, interval(row), count)
    return drawn


def _head(console: Console, words: str) -> None:
    console.print()
    console.print(Text(words, style="bold"))
