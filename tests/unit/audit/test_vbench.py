"""`vdb-audit vbench`: from a verified bundle, and from figures of a local run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.bundles import SmallSession
from vdb_shared.audit.vbench import OTHER_PROMPTS, vbench_reports
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.record import METRICS
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import UsageError, VdbError


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "vdb_shared.audit.cli", "vbench", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def figures(*results: tuple[str, str, str, str | None, str]) -> bytes:
    keys = ("model", "inputs", "metric", "value", "grade")
    return canonical_json({"results": [dict(zip(keys, result, strict=True)) for result in results]})


FIGURES = figures(
    ("a", "public", "temporal-flickering@1", "0.98", "exact"),
    ("b", "public", "temporal-flickering@1", "0.97", "exact"),
    ("a", "public", "aesthetic@1", None, "unavailable"),
    ("a", "private", "background-consistency@1", "0.95", "noised"),
    ("b", "private", "clip-score@1", "27.5", "noised"),
)


def test_models_and_kinds_of_prompts_are_kept_apart_and_withheld_figures_are_missing() -> None:
    reports = vbench_reports(FIGURES, file="x")
    assert [(item.model, item.inputs, len(item.report.scores)) for item in reports] == [
        *(("a", "public", 1), ("b", "public", 1), ("a", "private", 1))
    ]
    assert "aesthetic quality" in reports[0].report.missing


def test_text_says_what_is_partial_noised_and_not_comparable(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_bytes(FIGURES + b"\n")
    done = run(path)
    assert done.returncode == 0, done.stderr
    assert "a, public prompts. VBench formula, partial: 1 of 16 dimensions" in done.stdout
    assert "0.95 (noised)" in done.stdout
    assert "temporal flickering: not comparable with the published table" in done.stdout
    assert "quality score 94.60% over 1 of 7 dimensions; no total, which needs all of them" in done.stdout
    assert done.stdout.rstrip().endswith(OTHER_PROMPTS)


def test_json_has_raw_normalised_weight_and_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_bytes(FIGURES)
    first, *_ = json.loads(run(path, "--json").stdout)
    assert first["formula"] == "VBench formula, partial: 1 of 16 dimensions"
    assert (first["quality"], first["semantic"], first["total"]) == ("0.946048", None, None)
    assert len(first["missing"]) == 15
    (dimension,) = first["dimensions"]
    assert {name: dimension[name] for name in ("raw", "normalised", "weight", "comparable", "grade")} == {
        "raw": "0.98",
        "normalised": "0.946048",
        "weight": "1",
        "comparable": False,
        "grade": "exact",
    }


def test_a_bundle_is_verified_first(session: SmallSession, tmp_path: Path) -> None:
    good, forged = tmp_path / "result.vdbb", tmp_path / "forged.vdbb"
    good.write_bytes(session.bundle())
    forged.write_bytes(session.forged({"metrics.json": b"{}"}))
    done = run(good, "--root", session.root, "--json")
    assert done.returncode == 0, done.stderr
    wanted = vbench_reports(read_archive(session.bundle())[METRICS], file="x")
    assert json.loads(done.stdout) == json.loads(canonical_json([item.to_json() for item in wanted]))
    refused = run(forged)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: V")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "x: Invalid JSON"),
        (b"{}", "x: results: is missing; expected figures"),
        (b'{"results":[{"model":"a"}]}', "x: results.0."),
        (figures(("a", "public", "temporal-flickering@1", "0.9.8", "exact")), "x: results.0.value: "),
        (figures(("a", "public", "temporal-flickering@1", "98", "exact")), "temporal-flickering@1: expected a value"),
    ],
)
def test_figures_of_another_form_or_scale_are_refused_in_one_line(data: bytes, words: str) -> None:
    with pytest.raises(VdbError) as refused:
        vbench_reports(data, file="x")
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)


def test_figures_without_any_of_the_dimensions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_bytes(figures(("a", "public", "clip-score@1", "20", "exact")))
    done = run(path)
    assert done.returncode == 2
    assert done.stderr == f"error: {path}: no figure of it stands for a dimension of VBench\n"


def test_a_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    done = run(tmp_path / "none.json")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def refused(data: bytes) -> str:
    with pytest.raises(UsageError) as caught:
        vbench_reports(data, file="figures.json")
    return str(caught.value)


def test_what_is_no_figures_says_which_field_is_not() -> None:
    expected = "; expected figures as `vdb-participant run -o` writes them"
    assert refused(b"{}") == f"figures.json: results: is missing{expected}"
    assert refused(b'{"results":[{}]}') == f"figures.json: results.0.metric: is missing{expected}"
    assert refused(b"").startswith("figures.json: Invalid JSON: ")
