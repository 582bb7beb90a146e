"""Reports and leaderboards as text for a terminal or a log."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from vdb_shared.audit.leaderboard import CheckedSite, Leaderboard, Row, Table
from vdb_shared.audit.monitor import LoggedSession, Monitored
from vdb_shared.audit.report import Facts, Line, Report, Status, Verdict
from vdb_shared.audit.standing import Standing
from vdb_shared.audit.standing_words import disputed, words_of
from vdb_shared.audit.summary import summary_lines
from vdb_shared.metrics.catalogue import MetricDefinition
from vdb_shared.privacy.remedy import NAMES_REMEDY
from vdb_shared.screen import Figures
from vdb_shared.wording import counted

RANKS_EXPLAINED: Final = (
    "Each interval holds its value with 95 %. Ranks come from comparing models pair by pair, and all comparisons of all "
    "metrics hold together with 95 %. Errors that two models share (the same reference clips) cancel there, so models can be "
    "told apart although their intervals overlap."
)

CHECKED_EXPLAINED: Final = (
    "Public clips that two institutions made, to compare: a broken driver or another model shows here. The distance is between "
    "what the two say of a clip for the metrics that are distances: 0 for the same clip, – where the spec has no such metric"
)

CHECKED_HEADINGS: Final = (
    "Institution",
    "Clips",
    "Compared",
    "Equal",
    "Different",
    "Beyond tolerance",
    "Largest distance",
)

NOISED_COUNTS: Final = "≈ marks a number of clips or people that carries noise, because private records enter it."

REMEDY: Final = (
    "Where a reason says what would do, it is what just suffices for the next step: ranks where a distance is withheld, values "
    "where it has ranks alone. It follows from counts that carry noise, so plan for more: `vdb-coordinator session plan` "
    "computes for a spec what will be shown, and from how many records on values are."
)

UNTOLD: Final = (
    'Models that are "not told apart" have neither value nor rank: none of them can be told from any other model, and they '
    "stand in the order of their names."
)

BELOW_ZERO: Final = (
    "A kernel distance is never below 0, but its estimate can be: it errs to both sides, so that it is right on average. A "
    "value below 0 says that no difference was seen."
)

_KERNELS: Final = frozenset(("kernel", "sketch"))
"""Finishes that estimate a distance without bias (`metrics/kernel.py`)."""

STYLES: Final = {
    Status.PASS: "bold green",
    Status.FAIL: "bold red",
    Status.NOT_PROVEN: "yellow",
    Status.SKIPPED: "yellow",
    Status.NOT_REACHED: "dim",
}

STAGES: Final = {
    "left-out": "left out by a restart, after a complaint about it",
    "joined": "after joining",
    "advertised-keys": "after advertising keys",
    "shared-keys": "after sharing keys",
}
"""When an institution dropped out, in words."""

_INDENT: Final = 29


def print_report(console: Console, report: Report) -> None:
    """Print one line for each check, then the verdict; lines break only on a terminal.

    Of a file that is no container of a bundle one line says all: every other check would say that it builds on that one.
    """
    unreadable = report.lines[0].status is Status.FAIL and len(report.lines) > 1
    for line in report.lines[:1] if unreadable else report.lines:
        print_line(console, line)
    if unreadable:
        left = len(report.lines) - 1
        console.print(
            f"Nothing else of it can be read, so none of the other {left} checks proves anything.",
            soft_wrap=True,
        )
    console.print()
    console.print(Text(verdict_sentence(report), style="bold green" if _calm(report) else "bold red"), soft_wrap=True)


def print_line(console: Console, line: Line) -> None:
    """Print the line of one check; it breaks only on a terminal."""
    console.print(_report_line(line, console.width if console.is_terminal else None), soft_wrap=True)


def _report_line(line: Line, width: int | None) -> Text:
    words = _folded(f"{line.title}. {line.sentence} {line.detail}".strip(), width, "")
    said = "".join(f"\n{' ' * _INDENT}- {_folded(item, width, '  ')}" for item in line.said)
    return Text.assemble((f"{line.id:<17}", "bold"), (f"{line.status.value:<12}", STYLES[line.status]), words, said)


def _folded(words: str, width: int | None, deeper: str) -> str:
    """Return words in lines of a terminal below each other; what is said of a result has its own lines, deeper ones."""
    indent = " " * _INDENT + deeper
    if width is None or width <= 2 * len(indent):
        return words
    return textwrap.fill(words, width - len(indent)).replace("\n", "\n" + indent)


def _calm(report: Report) -> bool:
    """Return whether nothing failed, and the result is not withdrawn."""
    return report.verdict is Verdict.PASS and (report.standing is None or report.standing.withdrawn is None)


def verdict_sentence(report: Report) -> str:
    """Return the verdict in one sentence, and what was said of the result since in another."""
    unproven = sum(line.status is Status.NOT_PROVEN for line in report.lines)
    failure = report.first_failure
    if failure is not None:
        return f"FAIL: do not rely on this bundle. The first check that failed is {failure.id}: {failure.sentence}"
    if report.verdict is Verdict.INCOMPLETE:
        skipped = ", ".join(line.id for line in report.lines if line.status in (Status.SKIPPED, Status.NOT_REACHED))
        return f"INCOMPLETE: nothing failed, but {skipped} could not be tried, so the bundle is not verified."
    passed = sum(line.status is Status.PASS for line in report.lines)
    but = [] if report.pinned else ["THE TRUST ROOT IS NOT CHECKED (give --root)"]
    if report.standing is not None and report.standing.mark in MARKED:
        but.insert(0, MARKED[report.standing.mark])
    verdict = f"PASS, BUT {' AND '.join(but)}" if but else "PASS"
    held = f"all {passed} checks that this version can make hold"
    return f"{verdict}: {held}. {unproven} more are NOT PROVEN, as the report says.{disputed(report.standing)}"


MARKED: Final = {"withdrawn": "THE RESULT IS WITHDRAWN", "superseded": "ANOTHER RESULT REPLACES THIS ONE"}
"""What the verdict says of a result that does not stand any more."""


def standing_lines(standing: Standing | None) -> tuple[str, ...]:
    """Return all that was said of a result since it was published."""
    return () if standing is None else tuple(words_of(standing))


def facts_lines(facts: Facts) -> list[tuple[str, str]]:
    """Return the facts of a session as pairs of a heading and words."""
    dropped = ", ".join(f"{name} ({STAGES[stage]})" for name, stage in facts.dropped.items())
    protection = f"ε = {facts.epsilon}, δ = {facts.delta} for each record" if facts.private else "none: not private"
    return [
        ("Benchmark", facts.title),
        ("Consortium", facts.consortium),
        ("Joined", f"{len(facts.joined)}: {', '.join(facts.joined)}"),
        ("In the sum", f"{len(facts.survivors)}: {', '.join(facts.survivors)}"),
        ("Dropped out", dropped or "none"),
        ("Privacy", protection),
        ("Published", facts.published),
        ("Session", facts.session),
        *([("Replaces", f"the result of session {facts.supersedes}")] if facts.supersedes else []),
        ("Trust root", facts.root),
    ]


def print_facts(console: Console, facts: Facts) -> None:
    """Print the facts of a session."""
    for heading, words in facts_lines(facts):
        console.print(Text.assemble((f"{heading:<13}", "bold"), words), soft_wrap=True)


def print_leaderboard(console: Console, board: Leaderboard) -> None:
    """Print the session's facts and a table for each metric."""
    print_facts(console, board.facts)
    console.print(Text.assemble((f"{'Clips':<13}", "bold"), board.clips.words), soft_wrap=True)
    print_summary(console, board.tables, board.confidence)
    for sentence in standing_lines(board.report.standing):
        console.print(Text(sentence, style="bold red"), soft_wrap=True)
    for table in board.tables:
        console.print()
        console.print(Text(_heading(table), style="bold"), soft_wrap=True)
        console.print(_figures(table, f"{float(board.confidence) * 100:.0f} %"))
        for models, reason in reasons(table):
            console.print(Text(f"  {', '.join(models)}: {reason}", style="dim"), soft_wrap=True)
    for note in (RANKS_EXPLAINED, *footnotes(board.tables)):
        console.print(Text(note, style="dim"), soft_wrap=True)
    if board.checked:
        console.print()
        console.print(Text(CHECKED_EXPLAINED, style="bold"), soft_wrap=True)
        console.print(Figures(CHECKED_HEADINGS, [checked_cells(site) for site in board.checked], CHECKED_HEADINGS[0]))
    console.print()
    console.print(Text(verdict_sentence(board.report), style="bold"), soft_wrap=True)


def print_summary(console: Console, tables: Sequence[Table], confidence: str) -> None:
    """Print what tables come to, a sentence each."""
    for place, sentence in enumerate(summary_lines(tables, confidence)):
        console.print(Text.assemble((f"{'' if place else 'In short':<13}", "bold"), sentence), soft_wrap=True)


def _heading(table: Table) -> str:
    direction = "higher is better" if table.definition.direction == "higher" else "lower is better"
    unit = f" in {table.definition.unit}" if table.definition.unit else ""
    return f"{table.definition.title}{unit} ({table.definition.id}): {table.source}, {badge(table)}, {direction}"


def _figures(table: Table, confidence: str) -> Figures:
    headings = ("Rank", "Model", "Value", f"{confidence} interval", table.counted)
    rows = [
        (
            row.rank_set,
            row.model,
            row.value or row.instead,
            interval(row),
            count_of(row, noised=table.noised_counts),
        )
        for row in table.rows
    ]
    return Figures(headings, rows, "Model")


def checked_cells(site: CheckedSite) -> tuple[str, ...]:
    """Return what `CHECKED_HEADINGS` head, as text."""
    counts = (site.clips, site.compared, site.equal, site.different, site.apart)
    return (site.institution, *(str(count) for count in counts), site.largest_distance or "–")


def reasons(table: Table) -> list[tuple[list[str], str]]:
    """Return why figures are withheld or coarse, each reason once with the models it holds for."""
    found: dict[str, list[str]] = {}
    for row in table.rows:
        if row.reason:
            found.setdefault(row.reason, []).append(row.model)
    return [(models, reason) for reason, models in found.items()]


def badge(table: Table) -> str:
    """Return whether private records entered a metric's figures, and whether these carry noise."""
    if not table.private:
        return "public (exact)"
    return "private (no noise)" if any(row.grade == "exact" for row in table.rows) else "private (noised)"


def footnotes(tables: Sequence[Table]) -> tuple[str, ...]:
    """Return what must be said below tables because of what stands in them."""
    rows = [(table.definition, row) for table in tables for row in table.rows]
    return notes_on(rows, noised_counts=any(table.noised_counts for table in tables))


def notes_on(rows: Sequence[tuple[MetricDefinition, Row]], *, noised_counts: bool) -> tuple[str, ...]:
    """Return what must be said of rows, each with the definition of what it is a figure of."""
    notes = {
        UNTOLD: any(row.untold for _, row in rows),
        BELOW_ZERO: any(definition.finish in _KERNELS and _below_zero(row) for definition, row in rows),
        NOISED_COUNTS: noised_counts,
        REMEDY: any(row.reason is not None and NAMES_REMEDY in row.reason for _, row in rows),
    }
    return tuple(note for note, needed in notes.items() if needed)


def _below_zero(row: Row) -> bool:
    """Return whether a value or an end of its interval is below 0."""
    return any(figure is not None and float(figure) < 0 for figure in (row.value, row.low))


def interval(row: Row) -> str:
    """Return an interval as text."""
    return "–" if row.low is None or row.high is None else f"{row.low} … {row.high}"


def count_of(row: Row, *, noised: bool) -> str:
    """Return the number of clips or people; one that carries noise is rounded and marked, see `NOISED_COUNTS`."""
    return f"{'≈ ' if noised else ''}{float(row.count):,.0f}"


def _since(session: LoggedSession) -> str:
    """Return what the log says of a session's result since it was published, and what it replaces."""
    number = len(session.objections)
    parts = (
        f"replaces {session.supersedes[:19]}" if session.supersedes else "",
        f"withdrawn {session.withdrawal.withdrawn}" if session.withdrawal is not None else "",
        *(f"replaced by {other[:19]}" for other in session.successors),
        counted(number, "objection") if number else "",
    )
    return "".join(f", {part}" for part in parts if part)


def print_monitored(console: Console, found: Monitored) -> None:
    """Print what a transparency log says: sessions, what each institution has spent, and what is wrong."""
    entries = counted(found.checkpoint.size, "entry", "entries")
    console.print(f"{found.checkpoint.origin}: {entries}", soft_wrap=True)
    console.print(f"root {found.checkpoint.root.hex()}\n", soft_wrap=True)
    if not found.checkpoint.size:
        console.print("No session has been opened yet.")
    for session in found.sessions:
        ended = f", {session.ended}" if session.ended else ""
        words = f"{session.state:<10} {session.session[:19]}  opened {session.opened}{ended}{_since(session)}"
        console.print(words, soft_wrap=True)
    for item in found.spent:
        cost = "no noise protected them"
        if item.rho is not None:
            known = (
                "no epsilon that can be computed" if item.epsilon is None else f"epsilon {item.epsilon.normalize():f}"
            )
            cost = f"rho {item.rho.normalize():f}, {known} at delta {item.delta}"
        console.print(
            f"spent by each record of {item.institution}: {cost} ({counted(item.results, 'result')})", soft_wrap=True
        )
    for revoked in found.revocations:
        words = f"{revoked.revoked}  {revoked.institution}, {revoked.reason}, entry {revoked.index}, key {revoked.key}"
        console.print(f"revoked    {words}", soft_wrap=True)
    for style, word, sentences in (("bold red", "WRONG", found.wrong), ("yellow", "ASK", found.remarks)):
        for sentence in sentences:
            console.print(Text.assemble((f"{word:<10} ", style), sentence), soft_wrap=True)
    console.print(
        "\nNot shown by a log alone: that everybody is shown the same one. Compare its root with other readers.",
        soft_wrap=True,
    )
