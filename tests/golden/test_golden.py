"""The golden bundles are what the product makes today, and they verify."""

from __future__ import annotations

import pytest

from testkit.golden import FATES, golden_file, golden_report, golden_session
from vdb_shared.audit.report import Report, Status, Verdict
from vdb_shared.audit.verify import verify


def unless_passed(report: Report) -> dict[str, Status]:
    return {line.id: line.status for line in report.lines if line.status is not Status.PASS}


@pytest.mark.parametrize("name", FATES)
def test_making_it_again_gives_the_same_bytes(name: str) -> None:
    assert golden_session(name).bundle() == golden_file(name).read_bytes(), (
        "a format changed; make them anew with `PYTHONPATH=tests python -m testkit.golden`"
    )


@pytest.mark.parametrize("name", FATES)
def test_its_audit_says_word_for_word_the_same(name: str) -> None:
    assert golden_report(name).decode() == golden_file(name).with_suffix(".report.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FATES)
def test_it_verifies_under_its_root(name: str) -> None:
    report = verify(golden_file(name).read_bytes(), root=golden_session(name).root)
    assert report.verdict is Verdict.PASS
    assert set(unless_passed(report).values()) == {Status.NOT_PROVEN}
    assert {"V10", "V20", "V30", "V34.commitments", "V35", "V41", "V51"}.isdisjoint(unless_passed(report))


def test_they_are_of_one_consortium_and_of_different_sessions() -> None:
    reports = [verify(golden_file(name).read_bytes()) for name in FATES]
    facts = [report.facts for report in reports if report.facts is not None]
    assert len({item.root for item in facts}) == 1
    assert [set(item.dropped.values()) for item in facts] == [set(), {"shared-keys"}, {"left-out"}]
    assert len({report.bundle for report in reports}) == len(FATES)
