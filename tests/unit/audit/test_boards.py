"""Leaderboards over several results: one table for each scale, nothing ranked that cannot be."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from testkit.audit_cli import vdb_audit
from testkit.bundles import SmallSession, small_session
from testkit.pages import outline
from testkit.small_specs import small_spec
from vdb_shared.audit.boards import boards_of
from vdb_shared.audit.compare import compare
from vdb_shared.audit.leaderboard import leaderboard_of
from vdb_shared.audit.policy import Policy
from vdb_shared.audit.several_pages import boards_page, comparison_page
from vdb_shared.audit.tables import COLUMNS, boards_csv, boards_latex
from vdb_shared.audit.verified import VerifiedBundle, labels_of, open_verified, same_session
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import read_archive
from vdb_shared.errors import UsageError

QUICK = '[{ id = "temporal-flickering@1", inputs = "private" }, { id = "temporal-flickering@1", inputs = "public" }]'
FAST = 'steps = 2, guidance = 2.0, samples = 10, private_share = 1, profile = "fast"'


def opened(name: str, session: SmallSession) -> VerifiedBundle:
    return open_verified(name, session.bundle(), root=session.root, policy=Policy())


@pytest.fixture(scope="module")
def spring() -> SmallSession:
    return small_session(0, small_spec(metrics=QUICK, title='"Spring <b>=1+1</b> & co"'))


@pytest.fixture(scope="module")
def autumn() -> SmallSession:
    return small_session(0, small_spec(metrics=QUICK, title='"Autumn"', generation=f"{{ {FAST} }}"))


@pytest.fixture(scope="module")
def winter() -> SmallSession:
    return small_session(0, small_spec(metrics=QUICK, title='"Winter"'))


def test_one_table_for_each_scale_with_rows_that_name_their_result(
    spring: SmallSession, autumn: SmallSession, winter: SmallSession
) -> None:
    boards = boards_of([opened("a/spring.vdbb", spring), opened("autumn.vdbb", autumn), opened("winter.vdbb", winter)])
    found = [
        (group.definition.id, group.measure.inputs, group.measure.clip_class, {entry.result for entry in group.entries})
        for group in boards.groups
    ]
    assert found == [
        ("temporal-flickering@1", "private", "exact", {"spring", "winter"}),
        ("temporal-flickering@1", "public", "exact", {"spring", "winter"}),
        ("temporal-flickering@1", "private", "accelerated", {"autumn"}),
        ("temporal-flickering@1", "public", "accelerated", {"autumn"}),
    ]


def test_figures_and_ranks_are_those_of_each_result(spring: SmallSession, winter: SmallSession) -> None:
    boards = boards_of([opened("spring.vdbb", spring), opened("winter.vdbb", winter)])
    for name, session in (("spring", spring), ("winter", winter)):
        data = session.bundle()
        tables = leaderboard_of(data, verify(data)).tables
        for group, table in zip(boards.groups, tables, strict=True):
            assert [entry.row for entry in group.entries if entry.result == name] == list(table.rows)


def test_a_bundle_given_twice_is_refused_and_two_results_of_one_session_are_remarked(spring: SmallSession) -> None:
    first = opened("spring.vdbb", spring)
    with pytest.raises(UsageError, match="are the same bundle"):
        boards_of([first, opened("copy.vdbb", spring)])
    second = opened(
        "second.vdbb", SmallSession(spring.record, second_result(spring), spring.seed, spring.terms, spring.messages)
    )
    (sentence,) = same_session([first, second])
    assert sentence.startswith("spring.vdbb and second.vdbb are results of one and the same session")
    assert sentence in boards_of([first, second]).remarks
    assert sentence in compare(first, second).remarks


def second_result(session: SmallSession) -> dict[str, bytes]:
    return read_archive(session.forged({}, accomplices=(0, 1, 3, 4), published="2026-01-31T12:41:00Z"))


def test_names_differ() -> None:
    assert labels_of(["a/x.vdbb", "b/x.vdbb", "y.vdbb"]) == ("x (1)", "x (2)", "y")
    assert labels_of(["x.vdbb", "b/x.vdbb", "x (1).vdbb"]) == ("x (1)", "x (2)", "x (1) (3)")


def test_csv_has_every_figure_and_no_formulas(spring: SmallSession, autumn: SmallSession) -> None:
    boards = boards_of([opened("=cmd.vdbb", spring), opened("autumn.vdbb", autumn)])
    rows = list(csv.DictReader(io.StringIO(boards_csv(boards))))
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == sum(len(group.entries) for group in boards.groups) == 12
    assert {row["result"] for row in rows} == {"'=cmd", "autumn"}
    results = {(item["metric"], item["inputs"], item["model"]): item for item in opened("x", autumn).metrics["results"]}
    for row in rows:
        if row["result"] == "autumn":
            item = results[row["metric"], row["inputs"], row["model"]]
            assert (row["value"], row["low"], row["high"]) == (item["value"], item["low"], item["high"])
    assert "\r\n" in boards_csv(boards)


def test_latex_has_every_figure_and_no_commands_of_a_bundle(spring: SmallSession) -> None:
    text = boards_latex(boards_of([opened("50%_$x\\input{a}.vdbb", spring)]))
    assert r"50\%\_\$x\textbackslash{}input\{a\}" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    for item in opened("x", spring).metrics["results"]:
        assert item["value"] in text


def test_pages_are_whole_escaped_and_show_digits_as_published(spring: SmallSession, winter: SmallSession) -> None:
    bundles = [opened("<i>.vdbb", spring), opened("winter.vdbb", winter)]
    for page in (boards_page(boards_of(bundles)), comparison_page(compare(*bundles))):
        parsed = outline(page)
        assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in parsed.tags}
        assert not re.search(r"""(src|href|url)\s*[=(]""", page)
        assert "<b>" not in page
        assert "<i>" not in page
        assert all("scope" in attributes for tag, attributes in parsed.tags if tag == "th")
        for bundle in bundles:
            for item in bundle.metrics["results"]:
                assert f">{item['value']}<" in page
    assert "The specs are equal" not in comparison_page(compare(*bundles))


def test_the_commands_read_several_bundles(spring: SmallSession, winter: SmallSession, tmp_path: Path) -> None:
    paths = tmp_path / "spring.vdbb", tmp_path / "winter.vdbb"
    for path, session in zip(paths, (spring, winter), strict=True):
        path.write_bytes(session.bundle())
    done = vdb_audit(
        "leaderboard", *paths, "--root", spring.root, "--csv", tmp_path / "t.csv", "--latex", tmp_path / "t.tex"
    )
    assert done.returncode == 0, done.stderr
    assert "not ranked against each other" in " ".join(done.stdout.split())
    assert (tmp_path / "t.csv").read_text().count("temporal-flickering@1") == 12
    assert (tmp_path / "t.tex").read_text().startswith("\\begin{table}")
    found = json.loads(vdb_audit("leaderboard", *paths, "--json").stdout)
    assert found["version"] == "vdb-audit-leaderboard/1"
    assert [item["name"] for item in found["results"]] == ["spring", "winter"]
    compared = vdb_audit("compare", *paths, "--root", spring.root, "--root", winter.root, "--html", tmp_path / "c.html")
    assert compared.returncode == 0, compared.stderr
    assert "Title: Spring <b>=1+1</b> & co  →  Winter" in compared.stdout
    assert "differences is more than chance" in compared.stdout or "differences are more" in compared.stdout
    assert (tmp_path / "c.html").read_text().startswith("<!doctype html>")
    assert json.loads(vdb_audit("compare", *paths, "--json").stdout)["version"] == "vdb-audit-compare/1"


def test_the_commands_refuse_what_fails_and_roots_that_do_not_fit(spring: SmallSession, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.vdbb", tmp_path / "bad.vdbb"
    good.write_bytes(spring.bundle())
    bad.write_bytes(spring.forged({"metrics.json": b"{}"}))
    for command in ("compare", "leaderboard"):
        done = vdb_audit(command, good, bad)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: V41: {bad}: ")
        assert vdb_audit(command, good, good, "--root", "sha256:1").returncode == 2
        assert vdb_audit(command, good, good, *["--root", spring.root] * 3).returncode == 2
        assert vdb_audit(command, good, tmp_path / "none.vdbb").returncode == 2
    assert vdb_audit("leaderboard", good, good).returncode == 2
    assert vdb_audit("compare", good, good).returncode == 0
