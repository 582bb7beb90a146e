"""Bundles that several-result commands start from: no bundle gets there that did not pass, and names tell them apart."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from testkit.golden import FOLDER, golden_file
from testkit.published import golden_published, golden_told
from vdb_shared.audit.leaderboard import leaderboard_of
from vdb_shared.audit.policy import DEFAULT_POLICY, Policy
from vdb_shared.audit.report import Status
from vdb_shared.audit.verified import (
    VerifiedBundle,
    briefly_named,
    check_distinct,
    labels_of,
    open_verified,
    same_session,
)
from vdb_shared.bundle.archive import read_archive, write_archive
from vdb_shared.bundle.record import ACCOUNTING, COUNTERSIGN, METRICS, ROSTER
from vdb_shared.errors import UsageError, VerificationError

DATA = golden_file("dropout").read_bytes()
ROOT = golden_published("dropout").facts.root


def test_a_bundle_that_passes_is_read_whole() -> None:
    found, expected = open_verified("dropout.vdbb", DATA, root=ROOT, policy=DEFAULT_POLICY), golden_published("dropout")
    assert found == expected
    members = read_archive(DATA)
    assert found.accounting == json.loads(members[ACCOUNTING])
    assert found.metrics == json.loads(members[METRICS])
    assert set(found.keys) == set(found.facts.survivors) < set(found.facts.joined)
    roster = {item["institution"]: item["statement_key"] for item in json.loads(members[ROSTER])["members"]}
    assert all(found.keys[name] == roster[name] for name in found.keys)


def test_the_log_that_is_given_is_read() -> None:
    data, log = golden_file("disputed").read_bytes(), FOLDER / "disputed" / "log"
    found = open_verified("x", data, root=ROOT, policy=DEFAULT_POLICY, fetch=lambda path: (log / path).read_bytes())
    assert found.report.standing is not None
    assert found.report.standing.mark == "withdrawn"
    assert open_verified("x", data, root=ROOT, policy=DEFAULT_POLICY).report.standing is None


def test_a_refusal_names_file_and_check() -> None:
    members = read_archive(DATA)
    failing = write_archive({**members, METRICS: b"{}"})
    undone = write_archive({name: data for name, data in members.items() if name != COUNTERSIGN})
    other = "sha256:" + "4" * 64
    for data, root, policy, check in (
        (failing, ROOT, DEFAULT_POLICY, "V04"),
        (undone, ROOT, DEFAULT_POLICY, "V03"),
        (DATA, other, DEFAULT_POLICY, "V10"),
        (DATA, ROOT, Policy(maximum_epsilon=Decimal(1)), "V22"),
    ):
        with pytest.raises(VerificationError) as caught:
            open_verified("a/file.vdbb", data, root=root, policy=policy)
        assert caught.value.check == check
        assert caught.value.reason.startswith("a/file.vdbb: ")
        assert not caught.value.reason.endswith(" ")


def test_a_check_that_could_not_be_tried_is_as_good_as_failed() -> None:
    data, log = golden_file("disputed").read_bytes(), FOLDER / "disputed" / "log"
    files = {"checkpoint": (log / "checkpoint").read_bytes()}

    def fetch(path: str) -> bytes:
        if path not in files:
            raise UsageError(f"{path}: is not there")
        return files[path]

    with pytest.raises(VerificationError) as caught:
        open_verified("file.vdbb", data, root=ROOT, policy=DEFAULT_POLICY, fetch=fetch)
    assert caught.value.check == "V62"
    assert caught.value.reason.startswith("file.vdbb: this required check was not carried out. ")


def test_figures_metrics_and_costs_are_found_by_what_they_are_of() -> None:
    found = golden_published("full")
    assert len(found.results) == len(found.metrics["results"]) == 6
    item = found.results["temporal-flickering@1", "private", "tiny-b"]
    assert (item["value"], item["private"]) == ("0.726687", True)
    assert set(found.asked) == {
        ("temporal-flickering@1", "public"),
        ("temporal-flickering@1", "private"),
        ("mmd-rff@1", "public"),
    }
    assert found.asked["mmd-rff@1", "public"].features == 8
    assert found.reference_clips == Decimal("10012.3")
    assert found.rho == Decimal("1.052028357")
    bare = replace(found, metrics={**found.metrics, "counts": found.metrics["counts"][1:]}, accounting={"rho": None})
    assert (bare.reference_clips, bare.rho) == (None, None)


def named(name: str, like: str = "full", **facts: Any) -> VerifiedBundle:
    found = golden_published(like)
    changed = replace(found.facts, **facts) if facts else found.facts
    return replace(found, name=name, facts=changed, report=replace(found.report, bundle=f"{like} {facts}"))


def test_a_bundle_given_twice_is_named_by_both_names() -> None:
    check_distinct([named("a"), named("b", "dropout"), named("c", "restarted")])
    with pytest.raises(UsageError) as caught:
        check_distinct([named("a"), named("b", "dropout"), named("c")])
    assert str(caught.value) == "a and c are the same bundle; give each one once"


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a/x.vdbb", "b/x.vdbb", "y.vdbb"], ("x (1)", "x (2)", "y")),
        (["x.vdbb", "b/x.vdbb", "x (1).vdbb"], ("x (1)", "x (2)", "x (1) (3)")),
        (["a/b/x.vdbb"], ("x",)),
        (["x", "y.vdbb.old", "z.json"], ("x", "y.vdbb.old", "z.json")),
        (["/x.vdbb", "x"], ("x (1)", "x (2)")),
    ],
)
def test_short_names_differ(names: list[str], labels: tuple[str, ...]) -> None:
    assert labels_of(names) == labels


def test_sentences_name_files_without_their_folders() -> None:
    bundles = [named("/home/kim/a.vdbb"), named("b/b.vdbb", "dropout")]
    assert [bundle.name for bundle in briefly_named(bundles)] == ["a.vdbb", "b.vdbb"]
    bundles = [named("/spring/a.vdbb"), named("/autumn/a.vdbb", "dropout"), named("c.vdbb", "restarted")]
    assert [bundle.name for bundle in briefly_named(bundles)] == ["a (1)", "a (2)", "c"]
    assert [bundle.facts for bundle in briefly_named(bundles)] == [bundle.facts for bundle in bundles]


def test_two_results_of_one_session_are_remarked() -> None:
    first, second, third, other = named("a"), named("b", seal="x"), named("c", seal="y"), named("d", session="z")
    assert same_session([first, other]) == ()
    (sentence,) = same_session([first, second])
    assert sentence.startswith("a and b are results of one and the same session, ")
    assert same_session([first, other, second, third]) == (
        f"a and b and c are results of one and the same session, {first.facts.session}, which has only one: read the log with "
        "`vdb-audit monitor`, and ask the lead.",
    )


def test_a_leaderboard_is_of_a_bundle_that_passed_and_could_be_read() -> None:
    report = golden_told("full")
    with pytest.raises(VerificationError) as caught:
        leaderboard_of(golden_file("full").read_bytes(), replace(report, facts=None))
    assert (caught.value.check, caught.value.reason) == ("V05", "the audit is not of a readable bundle")
    lines = tuple(
        replace(line, status=Status.FAIL, detail="") if line.id in {"V31", "V50"} else line for line in report.lines
    )
    with pytest.raises(VerificationError) as caught:
        leaderboard_of(golden_file("full").read_bytes(), replace(report, lines=lines))
    assert caught.value.check == "V31"
    board = leaderboard_of(golden_file("full").read_bytes(), report)
    assert len(board.counts) == 5
    assert board.accounting["rho"] == "1.052028357"
    assert [site.compared for site in board.checked] == [1, 1, 0, 1, 1]
    members = read_archive(golden_file("full").read_bytes())
    metrics = json.loads(members[METRICS])
    unchecked = {name: value for name, value in metrics.items() if name != "checked"}
    bare = write_archive({**members, METRICS: json.dumps(unchecked, sort_keys=True, separators=(",", ":")).encode()})
    assert leaderboard_of(bare, report).checked == ()
