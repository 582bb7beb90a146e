"""`metrics`: what can be measured, how it is defined, and why some things cannot; text, JSON and page say the same."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from testkit.agent_cli import run
from testkit.metric_specs import make_spec
from vdb_participant.commands.metrics import page
from vdb_participant.data.ratings import read_ratings
from vdb_shared.metrics.catalogue import CATALOGUE, refusals
from vdb_shared.metrics.extractors import ARCHITECTURES
from vdb_shared.metrics.finishes import FINISHES, Shape

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"

GIVES = {
    "frechet": "clip",
    "mapped-frechet": "clip",
    "kernel": "clip",
    "sketch": "clip",
    "second-moment": "clip",
    "vendi": "clip",
    "rke": "clip",
    "coverage": "clip",
    "inception": "probabilities",
}


def test_the_document_is_what_the_command_prints() -> None:
    assert run("metrics", "list", "--markdown").stdout == DOCUMENT.read_text(encoding="utf-8")


def test_every_metric_and_every_refusal_stands_in_the_page() -> None:
    text = page()
    for definition in CATALOGUE.values():
        assert f"(`{definition.id}`)" in text
        assert definition.digest in text
    for refusal in refusals():
        assert refusal.reason in text


def test_list_and_show_agree() -> None:
    listed = {item["id"]: item for item in json.loads(run("metrics", "list", "--json").stdout)}
    assert list(listed) == list(CATALOGUE)
    assert json.loads(run("metrics", "show", "jedi@1", "--json").stdout) == listed["jedi@1"]
    shown = run("metrics", "show", "jedi").stdout
    assert "lanes            d(d+1)/2" in shown
    assert 'settings         {"limit":"required"}' in shown
    assert any(line.startswith("clip-score@1 ") for line in run("metrics", "list").stdout.splitlines())


def test_what_a_metric_of_ratings_shows_is_what_a_spec_and_a_site_take(tmp_path: Path) -> None:
    for metric, kind in (("preference-bt@1", "votes"), ("human-correlation@1", "scores")):
        shown = json.loads(run("metrics", "show", metric, "--json").stdout)
        lines = shown["spec"].removeprefix("[[metrics]] ").replace(", ", "\n")
        models = ("model-a", "model-b")
        spec = make_spec([tomllib.loads(lines)], models=models)
        assert set(shown["settings"]) == {name for name in ("of",) if kind == "scores"}
        line = shown["line"].replace("sha256:…", spec.digest).replace("p01", "p0")
        assert shown["ratings"].startswith("in ratings.jsonl in the institution's data folder")
        (tmp_path / "ratings.jsonl").write_text(line + "\n", encoding="utf-8")
        used = read_ratings(tmp_path / "ratings.jsonl").used_by(spec)
        assert len(getattr(used, kind)) == 1
        assert used.unusable == ()
        assert shown["line"] in run("metrics", "show", metric).stdout
        assert shown["line"] in page()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "clipscore"], "error: clipscore: no such metric is known; did you mean clip-score@1?\n"),
        (["show", "qq"], "error: qq: no such metric is known; see `metrics list`\n"),
        (
            ["show", "precision"],
            "error: precision: does not federate: nearest neighbours among the clips of all sites cannot be found without "
            "pooling them; ask for coverage@1, which counts clips by public anchors\n",
        ),
        (["list", "--json", "--markdown"], "error: --json and --markdown exclude each other; give one\n"),
    ],
)
def test_wrong_input_is_told_in_one_line(arguments: list[str], words: str) -> None:
    failed = run("metrics", *arguments)
    assert (failed.returncode, failed.stderr) == (2, words)


@pytest.mark.parametrize("name", FINISHES)
def test_the_words_for_lanes_are_the_layouts_arithmetic(name: str) -> None:
    found = FINISHES[name]  # type: ignore[index]  # the keys are what is iterated over
    d, m, models = 6, 10, 5
    formula = (
        found.lanes.split(",")[0]
        .replace("d(d+1)", "d*(d+1)")
        .replace("M(M-1)", "M*(M-1)")
        .replace("6M", "6*M")
        .replace("2m", "2*m")
    )
    names = {"d": d, "m": m, "L": m, "K": d, "M": models}
    wanted = eval(formula, {"__builtins__": {}}, names)  # noqa: S307 - formulas of our own table
    assert sum(part.dims for part in found.parts(Shape(private=True, dimension=d, features=m, models=models))) == wanted


@pytest.mark.parametrize("metric", [name for name, row in CATALOGUE.items() if row.architectures])
def test_every_architecture_of_a_metric_gives_what_the_metric_asks_of_it(metric: str) -> None:
    row = CATALOGUE[metric]
    wanted = "frames" if row.features_of == "frames" else GIVES.get(row.finish)
    for name in row.architectures:
        gives = ARCHITECTURES[name].gives
        assert wanted in gives if wanted else set(gives) & {"frames", "scores", "pair", "sound", "distances"}
        if "prompt" in row.needs:
            assert {"text", "pair"} & set(gives)


def test_no_architecture_is_without_a_metric() -> None:
    used = {name for row in CATALOGUE.values() for name in row.architectures}
    assert set(ARCHITECTURES) - used == set()
