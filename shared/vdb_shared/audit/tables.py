"""Tables over several results for other programs: comma-separated values and LaTeX.

Promises digits as published, and that no word of a bundle becomes a formula of a spreadsheet or a command of LaTeX.

Source: RFC 4180 (CSV); protos/README.md §10.12.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Final

from vdb_shared.audit.boards import Boards, Entry, Group
from vdb_shared.audit.text import count_of, interval

COLUMNS: Final = (
    *(
        "metric",
        "inputs",
        "definition",
        "extractor",
        "extractor_weights",
        "limit",
        "features",
        "bandwidth",
        "of",
        "class",
    ),
    *("direction", "unit", "result", "bundle", "consortium", "published", "model", "model_weights"),
    *("value", "low", "high", "count", "grade", "best_rank", "worst_rank", "private", "reason", "mark"),
)

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What begins a formula in a spreadsheet."""

_NUMBER: Final = re.compile(r"-?[0-9][0-9.e+-]*")

_LATEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "–": "--",
        "…": r"\,\ldots\,",
        "≈": r"$\approx$",
    }
)


def boards_csv(boards: Boards) -> str:
    """Return all figures as one table, a line for each, with the measure repeated; lines end in CR LF."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for group in boards.groups:
        for entry in group.entries:
            writer.writerow([_cell(value) for value in _line(boards, group, entry)])
    return text.getvalue()


def _line(boards: Boards, group: Group, entry: Entry) -> Iterator[str]:
    measure, row, bundle = group.measure, entry.row, boards.bundles[entry.result]
    yield from (measure.metric, measure.inputs, measure.definition, measure.architecture, measure.weights)
    yield from (measure.limit, measure.features, measure.bandwidth, measure.of, measure.clip_class)
    yield from (group.definition.direction, group.definition.unit)
    yield from (entry.result, bundle.report.bundle, bundle.facts.consortium, bundle.facts.published)
    yield from (row.model, entry.weights)
    yield from (row.value or "", row.low or "", row.high or "", row.count, row.grade)
    yield from ("", "") if row.ranks is None else (str(row.ranks[0]), str(row.ranks[1]))
    yield from ("yes" if entry.private else "no", row.reason or "", entry.mark)


def _cell(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) and not _NUMBER.fullmatch(value) else value


def boards_latex(boards: Boards) -> str:
    """Return a `table` with a `tabular` for each measure; needs the package booktabs."""
    return "\n".join(_latex_table(group) for group in boards.groups)


def _latex_table(group: Group) -> str:
    unit = f" in {group.definition.unit}" if group.definition.unit else ""
    rows = "\n".join(_latex_row(entry) for entry in group.entries)
    noised = " ≈: with noise." if any(entry.noised_count for entry in group.entries) else ""
    caption = _tex(
        f"{group.definition.title}{unit} ({group.definition.id}): {group.words}. Ranks within each result.{noised}"
    )
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{caption}}}\n"
        "\\begin{tabular}{llrlr}\n\\toprule\n"
        "Result & Model & Rank & Value and 95\\,\\% interval & Count \\\\\n\\midrule\n"
        f"{rows}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _latex_row(entry: Entry) -> str:
    row = entry.row
    value = f"{row.value} [{interval(row)}]" if row.value else row.instead
    cells = (entry.shown, row.model, row.rank_set, value, count_of(row, noised=entry.noised_count))
    return " & ".join(_tex(cell) for cell in cells) + r" \\"


def _tex(text: str) -> str:
    return text.translate(_LATEX)
