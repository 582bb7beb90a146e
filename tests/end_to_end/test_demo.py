"""The demo in a reduced size: the same processes, the same kill, the same verification."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.pages import pictures
from vdb_shared.bundle.archive import read_archive

ROOT = Path(__file__).parents[2]
WORST_TO_BEST = ("vdb-tiny-1", "vdb-tiny-2", "vdb-tiny-3")
AUDIT = Path(sys.executable).parent / "vdb-audit"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the demo's folder and what it printed."""
    out = tmp_path_factory.mktemp("demo") / "out"
    program = [sys.executable, str(ROOT / "deploy" / "demo" / "run.py"), "--out", str(out), "--clips", "30"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout


def audit(*arguments: str | Path, expect: int) -> str:
    done = subprocess.run([AUDIT, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def test_tells_the_kill_and_finishes_without_the_victim(demo: tuple[Path, str]) -> None:
    out, printed = demo
    assert "SIGKILL to film-studio" in printed
    report = json.loads(audit("inspect", out / "result.vdbb", "--json", expect=0))
    assert report["survivors"] == ["archive-oslo", "clinic-lyon", "lab-kyoto", "museum-lima"]
    assert [item["institution"] for item in report["dropped"]] == ["film-studio"]
    assert report["dropped"][0]["stage"] == "shared-keys"


def test_bundle_verifies_and_a_flipped_byte_does_not(demo: tuple[Path, str]) -> None:
    out, _ = demo
    audit("verify", out / "result.vdbb", expect=0)
    assert "FAIL" in audit("verify", out / "tampered.vdbb", expect=1)


def test_what_left_an_institution_is_what_the_result_has_from_it(demo: tuple[Path, str]) -> None:
    _, printed = demo
    for name in ("chain", "join", "header of round 2", "contribution statement", "masked vector"):
        assert f"    PASS  {name}: " in printed
    assert "    FAIL" not in printed.partition("holds what left it")[2].partition("each institution also")[0]


def test_leaderboard_recovers_the_order_that_is_known(demo: tuple[Path, str]) -> None:
    out, printed = demo
    page = (out / "leaderboard.html").read_text()
    assert all(model in page and model in printed for model in WORST_TO_BEST)
    board = json.loads(audit("leaderboard", out / "result.vdbb", "--json", expect=0))
    found = {
        row["model"]: row for row in board["results"] if (row["metric"], row["inputs"]) == ("clip-score@1", "public")
    }
    assert sorted(found, key=lambda model: float(found[model]["value"])) == list(WORST_TO_BEST)
    assert all(float(row["low"]) < float(row["value"]) < float(row["high"]) for row in found.values())
    for place, model in enumerate(reversed(WORST_TO_BEST), 1):
        first, last = found[model]["ranks"]
        assert first <= place <= last
    assert found[WORST_TO_BEST[0]]["ranks"] == [3, 3]


def test_survivors_keep_the_same_result(demo: tuple[Path, str]) -> None:
    out, _ = demo
    published = (out / "result.vdbb").read_bytes()
    kept = [path.read_bytes() for path in (out / "sites").glob("*/agent/**/result.vdbb")]
    assert len(kept) == 4
    assert set(kept) == {published}


def test_each_survivor_has_a_page_with_its_own_clips_and_nothing_private(demo: tuple[Path, str]) -> None:
    out, printed = demo
    pages = {path.relative_to(out).parts[1]: path for path in (out / "sites").glob("*/agent/sessions/*/result.html")}
    assert set(pages) == {"archive-oslo", "clinic-lyon", "lab-kyoto", "museum-lima"}
    assert str(pages["archive-oslo"]) in printed
    for name, path in pages.items():
        page = path.read_text()
        assert pictures(page)
        assert "✓ verified" in page
        assert len(page.encode()) < 2**20
        public = {
            item["text"]
            for item in json.loads(read_archive((path.parent / "result.vdbb").read_bytes())["spec.json"])["prompts"]
        }
        lines = (out / "sites" / name / "data" / "prompts.jsonl").read_text().splitlines()
        private = {json.loads(line)["prompt"] for line in lines} - public
        assert private
        assert not [prompt for prompt in private if f"“{prompt}”" in page]


def test_private_data_is_untouched(demo: tuple[Path, str]) -> None:
    out, _ = demo
    for site in (out / "sites").iterdir():
        names = sorted(path.name for path in (site / "data").iterdir())
        assert names == ["clips", "prompts.jsonl"]
        assert len(list((site / "data" / "clips").iterdir())) == 30


def test_a_second_session_that_nobody_mentions_is_seen(demo: tuple[Path, str]) -> None:
    out, printed = demo
    assert "was run in 2 sessions: 1 published, 0 aborted, 1 open, 0 overdue" in printed
    key = (out / "consortium" / "log.key").read_text().strip()
    read = json.loads(
        audit("monitor", out / "consortium" / "log", "--key", key, "--remember", out / "seen", "--json", expect=0)
    )
    assert sorted(session["state"] for session in read["sessions"]) == ["open", "published"]
    assert [item["institution"] for item in read["spent"]] == [
        "archive-oslo",
        "clinic-lyon",
        "lab-kyoto",
        "museum-lima",
    ]
