"""Reports and leaderboards as self-contained HTML pages.

Promises that every word that comes from a bundle is escaped, and that figures appear digit for digit as published.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any, Final

from vdb_shared.audit.chart import Axis, error_bar, histogram, scale
from vdb_shared.audit.leaderboard import CheckedSite, ClipClass, Leaderboard, Row, Table, tables_of
from vdb_shared.audit.page import badge, cell, fact, headings, instead, page, prose, scrolling_table, unbroken
from vdb_shared.audit.policy import readers_refuse
from vdb_shared.audit.report import Facts, Line, Report, Status, Verdict
from vdb_shared.audit.summary import summary_lines
from vdb_shared.audit.text import (
    CHECKED_EXPLAINED,
    CHECKED_HEADINGS,
    RANKS_EXPLAINED,
    STAGES,
    checked_cells,
    count_of,
    footnotes,
    reasons,
    standing_lines,
    verdict_sentence,
)
from vdb_shared.audit.text import badge as noise_badge

_STATUS_KINDS: Final = {
    Status.PASS: "good",
    Status.FAIL: "bad",
    Status.NOT_PROVEN: "warn",
    Status.SKIPPED: "warn",
    Status.NOT_REACHED: "plain",
}


def report_page(report: Report) -> str:
    """Return the page of an audit report."""
    title = report.facts.title if report.facts else "Unreadable bundle"
    return page(
        f"Audit: {title}{_tab(report.facts)}",
        f"<h1>Audit of “{escape(title)}”</h1>\n{_origin(report.facts)}<p>{_verdict_badge(report)}{standing_badge(report)}</p>\n"
        f'<p class="lead">{unbroken(verdict_sentence(report))}</p>\n'
        f"{_facts_card(report.facts, report) if report.facts else ''}\n{_checks_card(report)}\n{_footer(report)}",
    )


def leaderboard_page(board: Leaderboard, pictures: str = "", institution: str = "") -> str:
    """Return the page of a leaderboard.

    Args:
        board: the leaderboard.
        pictures: HTML of a section of pictures that is shown below the tables, or "".
        institution: whose copy it is, or "" where it is nobody's.
    """
    facts = board.facts
    badges = (
        _verdict_badge(board.report),
        badge("plain", f"{len(facts.survivors)} institutions"),
        _class_badge(board.clips),
    )
    return page(
        f"Leaderboard: {facts.title}{_tab(facts)}",
        f"<h1>{escape(facts.title)}</h1>\n{_origin(facts, institution)}"
        f"<p>{' '.join(badges)}{standing_badge(board.report)}</p>\n"
        f"{_standing_card(board.report)}"
        '<p class="lead">One benchmark over the private data of all institutions together. Only masked and noised statistics '
        "left them; the figures below follow from their sum.</p>\n"
        f"{_summary_card(board.tables, board.confidence)}"
        f"{_facts_card(facts, board.report, board.clips)}\n{table_cards(board.tables, board.confidence)}\n{pictures}\n"
        f"{_checked_card(board.checked)}\n{_verified_card(board.report)}\n{_footer(board.report)}",
        pictures=bool(pictures),
    )


def local_page(title: str, metrics: Mapping[str, Any], pictures: str = "") -> str:
    """Return the page of an evaluation that one site made for itself.

    Args:
        title: of the benchmark.
        metrics: the JSON form of the evaluation.
        pictures: as in `leaderboard_page`.
    """
    clips, tables = ClipClass.of(metrics), tables_of(metrics, noised=False)
    badges = badge("warn", "made by one site alone; signed by nobody"), _class_badge(clips)
    return page(
        f"Evaluation: {title}",
        f"<h1>{escape(title)}</h1>\n<p>{' '.join(badges)}</p>\n"
        f'<p class="lead">One site\'s own evaluation. All clips were made there; they are of {escape(clips.words)}. The sums '
        "are exact: figures over private prompts and reference clips carry no noise, so look before you show this page to "
        "others.</p>\n"
        f"{_summary_card(tables, metrics['confidence'])}{table_cards(tables, metrics['confidence'])}\n{pictures}",
        pictures=bool(pictures),
    )


def table_cards(tables: Sequence[Table], confidence: str) -> str:
    """Return the tables of a leaderboard and how to read them; `confidence` such as "0.95"."""
    cards = "\n".join(_table_card(table, f"{float(confidence) * 100:.0f} %") for table in tables)
    notes = "".join(f'\n<p class="reason">{prose(note)}</p>' for note in (RANKS_EXPLAINED, *footnotes(tables)))
    return f"{cards}{notes}"


def _tab(facts: Facts | None) -> str:
    """Return what tells one result from another of the same title, among open pages."""
    return f" ({facts.consortium}, {_shortly(facts.session)})" if facts else ""


def _origin(facts: Facts | None, institution: str = "") -> str:
    """Return whose result a page shows, which, since when, and whose copy it is."""
    if facts is None:
        return ""
    copy = f" This page is the copy of {unbroken(institution)}." if institution else ""
    return (
        f"<p>Consortium <strong>{unbroken(facts.consortium)}</strong>, session <code>{_shortly(facts.session)}</code>, "
        f"published {unbroken(facts.published)}.{copy}</p>\n"
    )


def _shortly(session: str) -> str:
    """Return the first letters of a session's id."""
    return f"{session[:15]}…"


def _summary_card(tables: Sequence[Table], confidence: str) -> str:
    lines = summary_lines(tables, confidence)
    if not lines:
        return ""
    items = "".join(f"<li>{unbroken(line)}</li>" for line in lines[:-1])
    return f'<section class="card"><h2>In short</h2><ul>{items}</ul><p class="reason">{unbroken(lines[-1])}</p></section>\n'


def _class_badge(clips: ClipClass) -> str:
    return badge("plain", f"clips of class {clips.name}")


def _verdict_badge(report: Report) -> str:
    match report.verdict:
        case Verdict.PASS:
            return (
                badge("good", "✓ verified") if report.pinned else badge("warn", "✓ consistent; trust root not pinned")
            )
        case Verdict.FAIL:
            return badge("bad", f"✗ not verified: {report.first_failure.id if report.first_failure else ''}")
        case Verdict.INCOMPLETE:
            return badge("warn", "not fully verified")


def standing_badge(report: Report) -> str:
    """Return a badge, with a space before it, for a result that was withdrawn, replaced or objected to, or ""."""
    mark = "" if report.standing is None else report.standing.mark
    return f" {badge('bad' if mark == 'withdrawn' else 'warn', mark)}" if mark else ""


def _standing_card(report: Report) -> str:
    items = "".join(f"<li>{prose(sentence)}</li>" for sentence in standing_lines(report.standing))
    return f'<section class="card"><h2>Since it was published</h2><ul>{items}</ul></section>\n' if items else ""


def _facts_card(facts: Facts, report: Report, clips: ClipClass | None = None) -> str:
    dropped = "; ".join(f"{name}, {STAGES[stage]}" for name, stage in facts.dropped.items())
    unpinned = "" if report.pinned else " (taken from the bundle itself)"
    entries = [
        fact(
            "Institutions in the sum", ", ".join(facts.survivors), big=f"{len(facts.survivors)} of {len(facts.joined)}"
        ),
        fact("Dropped out", dropped or "nobody", big=str(len(facts.dropped))),
        fact(
            "Privacy of every record",
            f"differential privacy at δ = {facts.delta}" if facts.private else "the result is not private",
            big=f"ε = {facts.epsilon}" if facts.private else "none",
        ),
        fact("Generated clips", clips.words) if clips else "",
        fact("Consortium", facts.consortium),
        fact("Published, as the coordinator states", facts.published),
        fact("Session", facts.session, code=True),
        fact(f"Trust root{unpinned}", facts.root, code=True),
    ]
    return f'<section class="card" aria-label="The session"><dl>{"".join(entries)}</dl></section>'


def _table_card(table: Table, confidence: str) -> str:
    definition = table.definition
    ends = [float(end) for row in table.rows for end in (row.low, row.high, row.value) if end is not None]
    axis = Axis.over(ends) if ends else None
    spread = any(row.histogram for row in table.rows)
    value = f"Value in {definition.unit}" if definition.unit else "Value"
    names = ["Rank", "Model", value, f"{confidence} interval", "From", "To", table.counted]
    if spread:
        names.append("Distribution")
    shared = _shared_reasons(table)
    look = _Look(axis, confidence, value, table.counted, table.noised_counts, spread)
    body = "\n".join(_row(row, look, shared) for row in table.rows)
    below = f'<td colspan="{len(names) - 4}"></td>'
    foot = f'<tr><td colspan="3"></td><td class="line">{scale(axis)}</td>{below}</tr>' if axis else ""
    kind = "warn" if table.private else "good"
    direction = "higher is better" if definition.direction == "higher" else "lower is better"
    caption = (
        f"<h2>{unbroken(table.title)} {badge(kind, noise_badge(table))} {badge('plain', direction)}</h2>"
        f'<span class="note"><code>{unbroken(definition.id)}</code>: {unbroken(definition.definition)}.</span>'
    )
    shown = scrolling_table(
        table.title, caption, headings(names, {value, "From", "To", table.counted}), body, foot, narrow="folds"
    )
    return f'<section class="card">{shown}{_remarks(table)}</section>'


@dataclass(frozen=True, slots=True)
class _Look:
    """What the rows of a table have in common.

    Attributes:
        axis: of their error bars; None where no row has figures.
        confidence: of the intervals, such as "95 %".
        value, counted: headings of the value and of what is counted.
        noised: whether counts carry noise.
        spread: whether there are distributions.
    """

    axis: Axis | None
    confidence: str
    value: str
    counted: str
    noised: bool
    spread: bool


def _row(row: Row, look: _Look, shared: Collection[str]) -> str:
    """Return a row; a reason that several rows share is said once, below the table."""
    first = ' class="first"' if row.ranks == (1, 1) else ""
    start = f'<tr{first}><td class="rank">{row.rank_set}</td><th scope="row" class="name">{escape(row.model)}</th>'
    if look.axis is None or row.value is None or row.low is None or row.high is None:
        why = "why is said below" if row.reason in shared else row.reason or "not available"
        words = f"{row.instead.capitalize()}: {why}."
        return f"{start}{instead(6 if look.spread else 5, words)}</tr>"
    shape = f"<td>{histogram(row.histogram) if row.histogram else ''}</td>" if look.spread else ""
    return (
        f"{start}{cell(look.value, f'<strong>{escape(row.value)}</strong>')}"
        f'<td class="line">{error_bar(look.axis, row.value, row.low, row.high, look.confidence)}</td>'
        f"{cell('From', escape(row.low))}{cell('To', escape(row.high))}"
        f"{cell(look.counted, count_of(row, noised=look.noised))}{shape}</tr>"
    )


def _shared_reasons(table: Table) -> set[str]:
    """Return why figures are withheld or coarse, where that holds for several models."""
    return {reason for models, reason in reasons(table) if len(models) > 1}


def _remarks(table: Table) -> str:
    """Return what must be said about a table: pairs that cannot be told apart, and figures that are coarse."""
    shared = _shared_reasons(table)
    remarks = [
        f"{', '.join(models)}: {reason}."
        for models, reason in reasons(table)
        if reason in shared or models[0] not in _withheld(table)
    ]
    if table.not_apart:
        pairs = "; ".join(f"{first} and {second}" for first, second in table.not_apart)
        remarks.insert(0, f"The data cannot tell apart: {pairs}.")
    return "".join(f'<p class="reason">{prose(remark)}</p>' for remark in remarks)


def _withheld(table: Table) -> set[str]:
    return {row.model for row in table.rows if row.value is None}


def _checked_card(sites: Sequence[CheckedSite]) -> str:
    if not sites:
        return ""
    apart = any(site.apart for site in sites)
    verdict = (
        badge("warn", "some differ beyond the tolerance") if apart else badge("plain", "none beyond the tolerance")
    )
    caption = f'<h2>Clips made twice {verdict}</h2><span class="note">{escape(CHECKED_EXPLAINED)}.</span>'
    rows = "\n".join(_checked_row(site) for site in sites)
    shown = scrolling_table("Clips made twice", caption, headings(CHECKED_HEADINGS, CHECKED_HEADINGS[1:]), rows)
    return f'<section class="card">{shown}</section>'


def _checked_row(site: CheckedSite) -> str:
    name, *cells = (escape(cell) for cell in checked_cells(site))
    return (
        f'<tr><th scope="row" class="name">{name}</th>{"".join(f"<td class=number>{cell}</td>" for cell in cells)}</tr>'
    )


def _verified_card(report: Report) -> str:
    passed = sum(line.status is Status.PASS for line in report.lines)
    unproven = [line for line in report.lines if line.status is Status.NOT_PROVEN]
    items = "".join(f"<li><strong>{line.id}</strong> {prose(line.sentence)}</li>" for line in unproven)
    return (
        '<section class="card"><h2>How this was verified</h2>'
        f"<p>{passed} checks of the signed bundle passed, offline: signatures, membership, the transcript of the aggregation, "
        "that the published total is the sum of what the institutions committed to, and every figure above computed again from "
        "that total. Repeat them with "
        f"<code>vdb-audit verify</code> and the bundle.</p>{_refused_unasked(report)}"
        f"<details><summary>{len(unproven)} things that the bundle cannot prove</summary><ul>{items}</ul></details></section>"
    )


def _refused_unasked(report: Report) -> str:
    """Return a warning where the promise of privacy is weaker than an audit accepts unasked: here it was asked."""
    facts = report.facts
    warning = (
        readers_refuse(Decimal(facts.epsilon), Decimal(facts.delta)) if facts is not None and facts.private else ""
    )
    return f"<p>{badge('warn', 'by a weaker policy than usual')} {escape(warning)}.</p>" if warning else ""


def _checks_card(report: Report) -> str:
    rows = "\n".join(_check_row(line) for line in report.lines)
    head = headings(("Check", "Outcome", "What it means"))
    shown = scrolling_table("Checks", "<h2>Checks</h2>", head, rows, narrow="stacks")
    return f'<section class="card">{shown}</section>'


def _check_row(line: Line) -> str:
    detail = f'<br><span class="reason">{unbroken(line.detail)}</span>' if line.detail else ""
    said = f"<ul>{''.join(f'<li>{prose(item)}</li>' for item in line.said)}</ul>" if line.said else ""
    return (
        f'<tr><th scope="row" class="name">{line.id}</th><td>{badge(_STATUS_KINDS[line.status], line.status.value)}</td>'
        f'<td class="words"><strong>{escape(line.title)}.</strong> {prose(line.sentence)}{detail}{said}</td></tr>'
    )


def _footer(report: Report) -> str:
    return f"<footer>Bundle <code>{escape(report.bundle)}</code>, {report.size:,} bytes.</footer>"
