"""`vdb-coordinator session plan` as a program: offline, on presets and files, and what it says of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.bundles import sample_bundle
from testkit.pages import outline
from vdb_coordinator.commands.presets import read_preset
from vdb_shared.commandline import UNUSABLE

PROGRAM = [sys.executable, "-c", "from vdb_coordinator.cli import main; main()"]
QUICK = ("--sessions", "1")


def run(*arguments: str | Path | int, expect: int = 0) -> tuple[str, str]:
    done = subprocess.run(
        [*PROGRAM, "session", "plan", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "160"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_the_demo_preset_is_planned(tmp_path: Path) -> None:
    page = tmp_path / "plan.html"
    out, _ = run("demo", "--plot", page)
    for words in ("epsilon 7.99", "dp-fvd@1", "twice the", "proposed weights", "GPU-hours", "±"):
        assert words in out
    assert "Other sessions" in outline(page.read_text()).text


def test_a_preset_with_unpinned_weights_is_planned_as_json() -> None:
    hours = [f"{model}=120" for model in ("wan2.1-t2v-1.3b", "wan2.1-t2v-14b", "wan2.2-ti2v-5b")]
    options = [word for item in hours for word in ("--seconds-per-clip", item)]
    found = json.loads(run("text-to-video", *QUICK, "--participants", 6, "--records", 2000, "--json", *options)[0])
    assert found["assumptions"]["participants"] == 6
    assert float(found["work"]["hours"]) == pytest.approx(found["work"]["clips"] * 120 / 3600, rel=1e-5)


def test_guesses_come_from_a_template_and_from_an_earlier_result(tmp_path: Path) -> None:
    earlier, guess = tmp_path / "result.vdbb", tmp_path / "guess.toml"
    earlier.write_bytes(sample_bundle())
    template, _ = run("demo", "--like", earlier, "--guess-template")
    guess.write_text(template.replace("exponent = 1.2", "exponent = 2.0"))
    found = json.loads(run("demo", *QUICK, "--like", earlier, "--guess", guess, "--json")[0])
    like, edited = found["guesses"]["sources"]
    assert like.split(" ")[0] == "result.vdbb", "a plan is passed on, and says not where files lie"
    assert edited == "guess.toml"
    exponents = {item["metric"]: item["exponent"] for item in found["guesses"]["metrics"] if "exponent" in item}
    assert exponents["mmd-rff@1"] == "2"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["nowhere.toml"], "nowhere.toml: cannot be read"),
        (["demos"], "demos: no such file, and no preset; presets are demo, text-to-video"),
        (["demo", "--participants", "2"], "participants: the spec asks for 4"),
        (["demo", "--records", "513"], "records: the spec's privacy.maximum_records admits 1 to 512"),
        (["demo", "--records", "0"], "records:"),
        (["demo", "--dropout", "nan"], "dropout"),
        (["demo", "--dropout", "0.9"], "dropout:"),
        (["demo", "--seconds-per-clip", "vdb-tiny-1"], "expected MODEL=SECONDS"),
        (["demo", "--seconds-per-clip", "other=3"], "the spec's models are vdb-tiny-1"),
        (["demo", "--sessions", "0"], "--sessions: expected 1 to 1000"),
        (["demo", "--plot", "plan.png"], "a plot is a file named .html or .svg"),
        (["demo", "--like", "nothing.vdbb"], "nothing.vdbb: cannot be read"),
        (["demo", "--guess", "nothing.toml"], "nothing.toml: cannot be read"),
    ],
)
def test_what_cannot_be_planned_is_told_in_one_line(words: list[str], problem: str) -> None:
    _, error = run(*words, expect=UNUSABLE)
    assert problem in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_mistake_in_a_spec_is_told_with_its_line(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(read_preset("demo").replace("epsilon = 8", "epsilon = 80"))
    _, error = run(spec, expect=UNUSABLE)
    assert f"{spec}:16: privacy.epsilon" in error
