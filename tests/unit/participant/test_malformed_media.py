"""Hundreds of malformed files: each has a verdict, none takes the agent down, and sound clips between them are measured.

The whole corpus, ten times as large and of any seed, is read by `make mutants`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testkit.agent_cli import run
from testkit.mutants import FRAMES, mutants
from testkit.tiny import tiny_spec
from vdb_participant.data.dataset import Dataset
from vdb_participant.generation.store import ClipStore
from vdb_participant.measure.site import Equipment, measure_site
from vdb_shared.layout import count_block

COUNT = 330


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The data directory of mutants, and what a process that read all of them said at its end."""
    folder = tmp_path_factory.mktemp("mutants")
    done = subprocess.run(
        [sys.executable, "-m", "testkit.mutants", "--mutants", str(COUNT), folder],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "data", json.loads(done.stdout)


def test_every_file_has_a_verdict_within_bounded_memory_in_any_order(examined: tuple[Path, dict[str, Any]]) -> None:
    _, found = examined
    assert found["mutants"] == COUNT
    assert found["different"] >= 300
    assert found["unsaid"] == []
    assert not found["order_matters"]
    assert found["most_memory"] < 2**30 + 2**28
    assert found["grown"] < 2**28
    assert found["usable"] > 20
    assert found["reasons"]["cannot be decoded"] > 20


def test_the_same_seed_gives_the_same_files() -> None:
    assert list(mutants(30, 7)) == list(mutants(30, 7))
    assert list(mutants(30, 7)) != list(mutants(30, 8))


def test_data_check_lists_each_bad_file_with_a_reason(examined: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, _ = examined
    sheet = tmp_path / "sheet.png"
    done = run("data", "check", folder, "--frames", str(FRAMES), "--sheet", sheet, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    files = {f"clips/{path.name}" for path in (folder / "clips").iterdir()}
    listed = {problem["file"]: problem["reason"] for problem in found["problems"]}
    assert len(listed) == len(found["problems"])
    assert found["clips"] + len(listed) == len(files)
    assert listed.keys() < files
    assert not {"clips/0100-whole.mp4", "clips/zzzz-whole.webm"} & listed.keys()
    assert all(reason and "\n" not in reason for reason in listed.values())
    assert [Path(page).stat().st_size > 0 for page in found["sheets"]] == [True] * -(-found["clips"] // 20)
    assert found["broken"]


def test_measuring_goes_through_all_of_them(
    examined: tuple[Path, dict[str, Any]], tiny_models: Path, tmp_path: Path
) -> None:
    folder, _ = examined
    spec = tiny_spec(tiny_models, pipelines=("tiny-wan-a",), metrics=("frechet-videomae@1",), samples=1)
    many = spec.privacy.model_copy(update={"maximum_records": COUNT})
    spec = spec.model_copy(update={"privacy": many})
    data = Dataset.open(folder)  # so that clips which are too short are not left out before
    found = measure_site(
        spec, (), data, Equipment(tiny_models, tiny_models, "cpu", features=False), ClipStore(tmp_path / "clips")
    )
    problems = {problem.file: problem.reason for problem in found.problems}
    measured = {sample.prompt for sample in found.samples}
    assert measured | problems.keys() == {path.name for path in data.clips}
    assert not measured & problems.keys()
    assert len(problems) > 10
    assert {"0100-whole.mp4", "zzzz-whole.webm"} <= measured
    assert found.statistics[count_block("reference")] == len(measured)
