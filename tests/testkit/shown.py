"""What readers are shown, whole: text, pages, tables and JSON of golden and of made-up results, compared word for word.

    PYTHONPATH=tests python -m testkit.shown [--check]

Writes tests/unit/audit/shown/*, or says which of them differ from what it would write. A change of a word, a place, a class or
a field makes them differ; writing them anew is then part of that change, and the difference is what its reader sees. Nothing
is signed or verified for them: reports are read back from beside the golden bundles, figures are made up digit by digit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Final

from testkit.published import golden_published
from testkit.shown_boards import SHORT, figure, leaderboards, nothing, several
from testkit.shown_reports import reports
from testkit.shown_ways import NARROW, coloured, plain, pretty
from testkit.spot_shown import spot, spot_of_whole_results
from vdb_shared.audit.entries import Fault, LoggedObjection
from vdb_shared.audit.monitor import LoggedSession, Monitored, Spent
from vdb_shared.audit.revocations import LoggedRevocation
from vdb_shared.audit.text import print_monitored
from vdb_shared.audit.vbench import print_vbench, vbench_reports
from vdb_shared.audit.verified import VerifiedBundle
from vdb_shared.bundle.logged import ObjectionRecord, WithdrawalRecord
from vdb_shared.canonical import canonical_json
from vdb_shared.transparency.checkpoint import Checkpoint

FOLDER: Final = Path(__file__).parent.parent / "unit" / "audit" / "shown"


def vbench() -> dict[str, str]:
    """Return made-up figures in VBench's terms, as text and JSON."""
    results = [
        figure("temporal-flickering@1", "public", "a", value="0.98"),
        figure("subject-consistency@1", "public", "a", value="0.9375"),
        figure("aesthetic@1", "public", "a", value="0.55"),
        figure("clip-score@1", "public", "a", value="27.5"),
        nothing("imaging-quality@1", "public", "a", SHORT),
        figure("background-consistency@1", "private", "a", value="0.95", grade="noised"),
        figure("temporal-flickering@1", "public", "b", value="0.5"),
        figure("clip-score@1", "public", "c", value="27.5"),
        nothing("temporal-flickering@1", "private", "c", SHORT),
    ]
    found = vbench_reports(canonical_json({"results": results}), file="figures.json")
    return {
        "vbench.txt": plain(lambda to: print_vbench(to, found)),
        "vbench-narrow.txt": plain(lambda to: print_vbench(to, found), width=NARROW),
        "vbench.terminal": coloured(lambda to: print_vbench(to, found)),
        "vbench.json": pretty([report.to_json() for report in found]),
    }


def digest(number: int) -> str:
    """Return a made-up digest."""
    return f"sha256:{number:064x}"


def monitored() -> dict[str, str]:
    """Return what is printed of logs."""
    like = golden_published("disputed")
    disputed = standing_session(like)
    sessions = (
        disputed,
        LoggedSession(digest(2), digest(5), "2026-02-01T12:00:00Z", "open", "", "", supersedes=digest(1)),
        LoggedSession(digest(3), digest(5), "2026-02-01T12:00:00Z", "overdue", "2026-02-01T13:00:00Z", ""),
    )
    spent = (
        Spent("hospital-a", 2, Decimal("0.75"), Decimal("6.50"), Decimal("0.000001")),
        Spent("hospital-b", 1, Decimal("0.5"), None, Decimal("0.000001")),
        Spent("studio-c", 1, None, None, Decimal("0.000001")),
    )
    revoked = LoggedRevocation(4, "lab-kyoto", "f" * 64, "left", "2026-02-05T12:00:00Z", (digest(2),), ())
    wrong = (Fault(digest(2), "entry 3: session 2 is opened again"),)
    checkpoint = Checkpoint("testbed/vdb-log", 9, bytes(range(32)))
    found = Monitored(checkpoint, sessions, spent, wrong, ("a session [is] late",), (revoked,))
    twice = replace(disputed, objections=disputed.objections * 2)
    one = Monitored(replace(checkpoint, size=1), (twice, sessions[2]), (), (), (), ())
    empty = Monitored(replace(checkpoint, size=0), (), (), (), (), ())
    return {
        "log.txt": plain(lambda to: print_monitored(to, found)),
        "log-narrow.txt": plain(lambda to: print_monitored(to, found), width=NARROW),
        "log-empty-narrow.txt": plain(lambda to: print_monitored(to, empty), width=NARROW),
        "log.terminal": coloured(lambda to: print_monitored(to, found)),
        "log-one.txt": plain(lambda to: print_monitored(to, one)),
        "log-empty.txt": plain(lambda to: print_monitored(to, empty)),
    }


def standing_session(like: VerifiedBundle) -> LoggedSession:
    """Return a session whose result is withdrawn, replaced twice, and objected to once."""
    said = ObjectionRecord(
        session=like.facts.session,
        result=digest(9),
        objector="lab-kyoto",
        objection=digest(10),
        received="2026-02-02T12:00:00Z",
        salt="0" * 64,
    )
    taken_back = WithdrawalRecord(
        session=like.facts.session,
        result=digest(9),
        withdrawal=digest(11),
        withdrawn="2026-02-03T12:00:00Z",
        salt="0" * 64,
    )
    return LoggedSession(
        like.facts.session,
        digest(5),
        "2026-01-31T12:00:00Z",
        "published",
        like.facts.published,
        digest(9),
        objections=(LoggedObjection(6, said),),
        withdrawal=taken_back,
        successors=(digest(2), digest(3)),
    )


KINDS: Final[Mapping[str, Callable[[], dict[str, str]]]] = {
    "report-": reports,
    "board- local": leaderboards,
    "boards comparison-": several,
    "vbench": vbench,
    "log": monitored,
    "spot-answers-": spot,
    "spot-results": spot_of_whole_results,
}
"""What is shown, by the beginnings of the files' names: files by name."""


def main() -> int:
    """Write or compare all files; return 1 when one differs."""
    parser = argparse.ArgumentParser(description="Write anew what readers are shown.")
    parser.add_argument("--check", action="store_true", help="write nothing; say which files differ")
    checking = parser.parse_args().check
    differing = 0
    FOLDER.mkdir(exist_ok=True)
    for show in KINDS.values():
        for name, text in show().items():
            file = FOLDER / name
            if not checking:
                file.write_text(text, encoding="utf-8", newline="")
            elif not file.is_file() or file.read_text(encoding="utf-8") != text:
                sys.stderr.write(f"{name} differs from what is shown now\n")
                differing += 1
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
