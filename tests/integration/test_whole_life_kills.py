"""SIGKILL at random points of an agent's whole life, from its invitation to the published result: the next start goes on.

As many as a test may take time for; `make lives` does 50.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from testkit.life_diary import Trial, compare, diary
from testkit.life_spec import EVERY, MODELS, PRIVATE, STEPS

KILLS = 4
PUBLIC = 4
"""Public clips that fall to one of the four institutions."""

BREACH = """
import json, sys
from pathlib import Path
from testkit.life_kills import Point, trial
from vdb_participant.synthetic.models import build_all

folder = Path(sys.argv[1])
build_all(folder / "models")
(folder / "trial").mkdir()
point = Point("mask", 1.0)
print(json.dumps(trial(folder / "trial", folder / "models", point, {"mask": 0.03}, "forgets").broken))
"""


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    tests = Path(__file__).parents[1]
    return subprocess.run([sys.executable, *map(str, words)], cwd=tests, capture_output=True, text=True, check=False)


def test_killed_at_random_points_of_its_life_it_contributes_once_and_makes_little_again(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = ("--kills", str(KILLS), "--seed", "11", "--report", report, tmp_path / "lives")
    done = run("-m", "testkit.life_kills", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    calm, *killed = found["trials"]
    assert found["kills"] == KILLS
    assert len({one["stage"] for one in killed if one["stage"]}) > 1
    assert calm["steps"] == (PUBLIC + len(MODELS) * PRIVATE) * STEPS, "the diary has every step"
    assert all(one["steps"] >= calm["steps"] for one in killed)
    assert max(one["steps_again"] for one in killed) <= EVERY


def test_the_runner_finds_who_forgets_its_session(tmp_path: Path) -> None:
    done = run("-c", BREACH, tmp_path)
    assert done.returncode == 0, done.stderr
    assert any("did not publish" in words for words in json.loads(done.stdout.splitlines()[-1]))


def test_the_runner_finds_who_makes_steps_or_clips_again(tmp_path: Path) -> None:
    lives = []
    for number, lines in enumerate(
        (
            [*(f"step 7 {step}" for step in range(6)), "step 9 0", "kept 9 0"],
            ["step 7 2", "step 7 6", "kept 7 0", "step 9 0"],
        )
    ):
        (tmp_path / f"{number}").write_text("".join(f"{line}\n" for line in lines))
        lives.append(diary(tmp_path / f"{number}"))
    found = Trial()
    compare(found, *lives)
    assert (found.steps, found.steps_again, found.clips_again) == (10, 1, 1)
    assert found.broken == ["1 clips were made again"]
    again = Trial()
    compare(again, lives[0], diary(tmp_path / "0"))
    assert again.broken[0] == "6 steps of a clip were computed twice; at most 3 may be"
    nothing = Trial()
    compare(nothing, lives[0], diary(tmp_path / "none"))
    assert (nothing.steps, nothing.steps_again, nothing.broken) == (7, 0, [])
