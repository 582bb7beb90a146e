"""SIGKILL at random moments of a run of 20 clips over three pipelines: the same store in the end, nothing made twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

KILLS = 6
"""As many as a test may take time for; `make kills` does 30."""


def test_a_run_that_is_killed_again_and_again_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "testkit.killing", "--kills", str(KILLS), "--seed", "7", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == KILLS
    assert found["differing"] == []
    assert found["begun_again"] == []
    assert found["left_behind"] == []
    assert found["most_steps_again"] <= 3
    assert done.returncode == 0
