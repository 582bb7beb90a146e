"""Reports of audits of all sorts, and what is printed of them; `shown.py` compares it word for word."""

from __future__ import annotations

from dataclasses import replace

from testkit.published import golden_told
from testkit.shown_ways import NARROW, coloured, plain, unstyled
from vdb_shared.audit.html import report_page
from vdb_shared.audit.report import Line, Report, Status
from vdb_shared.audit.standing import Objected, Standing
from vdb_shared.audit.text import print_report
from vdb_shared.audit.verify import verify


def broken(report: Report) -> Report:
    """Return the report of a bundle in which a check failed, one could not be tried, and one was left out."""
    changed = {
        "V31": (Status.FAIL, "expected 3 <lanes>, found 4"),
        "V32": (Status.NOT_REACHED, ""),
        "V50": (Status.SKIPPED, ""),
    }
    lines = tuple(
        replace(line, status=changed[line.id][0], detail=changed[line.id][1]) if line.id in changed else line
        for line in report.lines
    )
    return replace(report, lines=lines)


def few(report: Report) -> Report:
    """Return a report with some of its lines, one of each kind."""
    kept = {"V10", "V31", "V32", "V33", "V50", "V63.standing", "N01"}
    return replace(report, lines=tuple(line for line in report.lines if line.id in kept))


def objected_to(report: Report, number: int) -> Report:
    """Return the report of a result to which so many members object."""
    said = tuple(
        Objected(f"lab-{place}", f"sha256:{place:064x}", "2026-02-02T09:00:05Z", "data", "A <b>wrong</b> clip.")
        for place in range(number)
    )
    return replace(report, standing=Standing(True, said, None, (), (), "", {}, ()))


def undecided(report: Report, status: Status = Status.SKIPPED) -> Report:
    """Return the report of a bundle of which a required check could not be tried."""
    lines = tuple(replace(line, status=status) if line.id == "V50" else line for line in report.lines)
    return replace(report, lines=lines)


def unreadable() -> Report:
    """Return the report of a file that is no bundle."""
    line = Line("V00", "Container", Status.FAIL, "The file is no bundle.", "expected a zip & found <nothing>")
    return Report("sha256:" + "0" * 64, 1234, (line,), None, pinned=False)


def reports() -> dict[str, str]:
    """Return reports as text and as pages."""
    dropped, withdrawn = golden_told("dropout"), golden_told("disputed")
    if dropped.facts is None:
        raise ValueError("a golden bundle has facts")
    bare = replace(dropped, facts=replace(dropped.facts, private=False, dropped={}), pinned=False)
    given = {
        "withdrawn": few(withdrawn),
        "dropout": dropped,
        "broken": few(broken(dropped)),
        "undecided": few(undecided(dropped)),
        "unreadable": unreadable(),
        "objected": few(objected_to(bare, 2)),
        "objected-once": few(objected_to(dropped, 1)),
        "withdrawn-unpinned": few(replace(withdrawn, pinned=False)),
        "unreached": few(undecided(dropped, Status.NOT_REACHED)),
    }
    shown = {f"report-{name}.txt": plain(lambda to, of=of: print_report(to, of)) for name, of in given.items()}  # type: ignore[misc]  # a default binds each
    shown |= {
        f"report-{name}.terminal": coloured(lambda to, of=given[name]: print_report(to, of))  # type: ignore[misc]  # as above
        for name in ("withdrawn", "broken", "objected")
    }
    two = replace(few(dropped), lines=few(dropped).lines[:2])
    for width in (40, 58, 59, 80):
        shown[f"report-{width}.terminal"] = coloured(lambda to: print_report(to, two), width=width)
    shown["report-narrow.txt"] = plain(lambda to: print_report(to, two), width=NARROW)
    no_bundle = verify(b"# Not a bundle\n")
    shown["report-no-bundle.txt"] = plain(lambda to: print_report(to, no_bundle))
    pages = {f"report-{name}.html": unstyled(report_page(report)) for name, report in given.items()}
    return shown | pages | {"report-unreadable.html": report_page(unreadable())}
