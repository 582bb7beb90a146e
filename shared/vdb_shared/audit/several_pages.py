"""Comparisons and tables over several results as self-contained HTML pages.

Promises that every word that comes from a bundle is escaped, that figures appear digit for digit as published, and that no page
says where on this machine a bundle lies: pages are passed on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from vdb_shared.audit.boards import Boards, Entry, Group
from vdb_shared.audit.chart import Axis, error_bar, scale
from vdb_shared.audit.compare import Compared, Comparison
from vdb_shared.audit.leaderboard import counted_of, source_of
from vdb_shared.audit.page import Narrow, badge, cell, headings, instead, page, prose, scrolling_table, unbroken
from vdb_shared.audit.several import (
    DEPENDENT,
    INDEPENDENT,
    WHY,
    by_metric,
    conclusion,
    endnotes,
    gaps,
    outcome_of,
    planned_sentence,
    shortened,
)
from vdb_shared.audit.text import count_of, verdict_sentence
from vdb_shared.audit.verified import VerifiedBundle, labels_of

_CONFIDENCE: Final = "95 %"


def comparison_page(found: Comparison) -> str:
    """Return the page of a comparison."""
    labels = labels_of([found.first.name, found.second.name])
    names = " and ".join(labels)
    kind = "warn" if found.apart else "plain"
    rows = [(item.what, shortened(item.first), shortened(item.second), True) for item in found.spec]
    sides = [[(row.what, row.first, row.second, row.differs) for row in part] for part in (found.cohort, found.privacy)]
    return page(
        f"Comparison: {names}",
        f"<h1>{unbroken(names)}</h1>\n<p>{badge(kind, conclusion(found))}</p>\n"
        f"{_results(dict(zip(labels, (found.first, found.second), strict=True)))}{_remarks(found.remarks)}\n"
        f"{_figures(found)}\n"
        f"{_pairs('What was agreed', rows, 'The specs are equal.')}\n"
        f"{_pairs('Who took part', sides[0], '')}\n{_pairs('Privacy', sides[1], '')}",
    )


def boards_page(boards: Boards) -> str:
    """Return the page of tables over several results."""
    groups = "\n".join(_group(group) for group in boards.groups)
    notes = "".join(f'<p class="reason">{prose(sentence)}</p>' for sentence in endnotes(boards))
    return page(
        "Leaderboard of several results",
        f"<h1>Leaderboard of {len(boards.bundles)} results</h1>\n{_results(boards.bundles)}"
        f"{_remarks(boards.remarks)}\n{groups}\n{notes}",
    )


def _results(bundles: Mapping[str, VerifiedBundle]) -> str:
    """Return a numbered list of results: short name, title, consortium, date and verdict."""
    items = "\n".join(
        f"<li><strong>{unbroken(name)}</strong>: {unbroken(bundle.facts.title)}; {unbroken(bundle.facts.consortium)}, "
        f"published {unbroken(bundle.facts.published)}, {len(bundle.facts.survivors)} institutions. "
        f"{unbroken(verdict_sentence(bundle.report))} <code>{escape(bundle.report.bundle)}</code></li>"
        for name, bundle in bundles.items()
    )
    return f'<ol class="lead">{items}</ol>'


def _remarks(remarks: Sequence[str]) -> str:
    return "".join(f"<p>{badge('warn', 'note')} {prose(remark)}</p>" for remark in remarks)


def _card(heading: str, note: str, head: str, body: str, foot: str = "", narrow: Narrow = "") -> str:
    caption = f"<h2>{unbroken(heading)}</h2>" + (f'<span class="note">{note}</span>' if note else "")
    return f'<section class="card">{scrolling_table(heading, caption, head, body, foot, narrow=narrow)}</section>'


def _pairs(heading: str, rows: Sequence[tuple[str, str, str, bool]], none: str) -> str:
    if not rows:
        return f'<section class="card"><h2>{escape(heading)}</h2><p>{escape(none)}</p></section>'
    body = "\n".join(
        f'<tr><th scope="row">{unbroken(what)} {badge("warn", "differs") if differs else ""}</th>'
        f'<td class="words">{unbroken(first)}</td><td class="words">{unbroken(second)}</td></tr>'
        for what, first, second, differs in rows
    )
    return _card(heading, "", headings(("What", "First", "Second")), body)


def _figures(found: Comparison) -> str:
    cards = "\n".join(_compared_card(heading, items) for heading, items in by_metric(found).items())
    missing = "".join(f"<li>{unbroken(what)}: {unbroken(reason)}</li>" for what, reason in gaps(found))
    listed = f'<section class="card"><h2>Not compared</h2><ul>{missing}</ul></section>' if missing else ""
    sentences = (planned_sentence(found), INDEPENDENT if found.independent else DEPENDENT, WHY)
    explained = "".join(f'<p class="reason">{prose(sentence)}</p>' for sentence in sentences)
    return f"{cards}\n{explained}\n{listed}"


def _compared_card(heading: str, items: Sequence[Compared]) -> str:
    ends = [
        float(side[end]) for item in items for side in (item.first, item.second) for end in ("value", "low", "high")
    ]
    axis = Axis.over(ends)
    body = "\n".join(_compared_rows(item, axis) for item in items)
    head = headings(("Model", "Result", "Value", f"{_CONFIDENCE} interval", "Outcome"), ("Value",))
    return _card(heading, "", head, body)


def _compared_rows(item: Compared, axis: Axis) -> str:
    kind = "plain" if item.better is None else "good"
    outcome = f"{badge(kind, outcome_of(item))}<br>" + unbroken(", ".join(item.circumstances))
    rows = []
    for which, side in (("First", item.first), ("Second", item.second)):
        bar = error_bar(axis, side["value"], side["low"], side["high"], _CONFIDENCE)
        name = f'<th scope="row" class="name" rowspan="2">{escape(item.model)}</th>' if which == "First" else ""
        last = f'<td rowspan="2" class="reason words">{outcome}</td>' if which == "First" else ""
        rows.append(
            f'<tr>{name}<td>{which}</td><td class="number"><strong>{escape(side["value"])}</strong></td>'
            f"<td>{bar}</td>{last}</tr>"
        )
    return "\n".join(rows)


def _group(group: Group) -> str:
    ends = [
        float(end)
        for entry in group.entries
        for end in (entry.row.low, entry.row.high, entry.row.value)
        if end is not None
    ]
    axis = Axis.over(ends) if ends else None
    unit = f" in {group.definition.unit}" if group.definition.unit else ""
    counted = counted_of(group.measure.inputs)
    names = ("Result", "Rank", "Model", "Value", f"{_CONFIDENCE} interval", counted)
    body = "\n".join(_entry(entry, axis, counted) for entry in group.entries)
    foot = f'<tr><td colspan="4"></td><td class="line">{scale(axis)}</td><td></td></tr>' if axis else ""
    note = f"<code>{unbroken(group.definition.id)}</code>: {unbroken(group.words)}."
    heading = f"{group.definition.title}{unit} ({source_of(group.measure.inputs)})"
    return _card(heading, note, headings(names, ("Value", counted)), body, foot, "folds")


def _entry(entry: Entry, axis: Axis | None, counted: str) -> str:
    row = entry.row
    start = (
        f'<tr><th scope="row" class="name line">{escape(entry.shown)}</th><td class="rank">{row.rank_set}</td>'
        f'<td class="name">{escape(row.model)}</td>'
    )
    if axis is None or row.value is None or row.low is None or row.high is None:
        words = f"{row.instead.capitalize()}: {row.reason or 'not available'}."
        return f"{start}{instead(3, words)}</tr>"
    return (
        f"{start}{cell('Value', f'<strong>{escape(row.value)}</strong>')}"
        f'<td class="line">{error_bar(axis, row.value, row.low, row.high, _CONFIDENCE)}</td>'
        f"{cell(counted, count_of(row, noised=entry.noised_count))}</tr>"
    )
