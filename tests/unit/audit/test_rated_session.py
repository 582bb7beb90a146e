"""A session with people's ratings, from the spec to the leaderboard: noised, verified, and said to come from people."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from testkit.bundles import SmallSession, small_session
from testkit.pages import outline
from testkit.small_specs import small_spec
from vdb_shared.audit.html import leaderboard_page
from vdb_shared.audit.leaderboard import Leaderboard, leaderboard_of
from vdb_shared.audit.report import Verdict
from vdb_shared.audit.text import print_leaderboard
from vdb_shared.audit.verify import verify
from vdb_shared.canonical import canonical_json, parse_canonical_json
from vdb_shared.spec import Metric, parse_spec_json


@pytest.fixture(scope="module")
def session() -> SmallSession:
    plain = small_spec()
    asked = (
        Metric.model_validate_json(
            canonical_json({"id": "preference-bt@1", "inputs": "ratings", "weight": "8"}),
        ),
        Metric.model_validate_json(
            canonical_json(
                {"id": "human-correlation@1", "inputs": "ratings", "of": "temporal-flickering@1", "weight": "8"}
            )
        ),
    )
    spec = plain.model_copy(update={"metrics": (*plain.metrics, *asked)})
    return small_session(spec=parse_spec_json(spec.canonical()))


@pytest.fixture(scope="module")
def board(session: SmallSession) -> Leaderboard:
    data = session.bundle()
    report = verify(data, root=session.root)
    assert report.verdict is Verdict.PASS
    return leaderboard_of(data, report)


def test_the_figures_are_noised_and_private(session: SmallSession) -> None:
    figures = parse_canonical_json(session.members["metrics.json"])
    rated = [item for item in figures["results"] if item["inputs"] == "ratings"]
    assert [item["metric"] for item in rated] == ["preference-bt@1"] * 3 + ["human-correlation@1"] * 3
    for item in rated:
        assert item["private"] is True
        assert item["grade"] == "noised", item["reason"]
        assert float(item["low"]) < float(item["value"]) < float(item["high"])
    assert not any(count["side"] == "ratings" for count in figures["counts"])
    votes = {item["model"]: float(item["value"]) for item in rated[:3]}
    assert sorted(votes, key=votes.__getitem__, reverse=True) == list(votes)
    assert all(0.5 < float(item["value"]) <= 1 for item in rated[3:])


def test_text_and_page_say_that_people_said_so(board: Leaderboard) -> None:
    out = StringIO()
    print_leaderboard(Console(file=out, width=200), board)
    text = out.getvalue()
    assert "Share of people's votes (preference-bt@1): ratings by people, private (noised), higher is better" in text
    assert "People" in text
    shown = outline(leaderboard_page(board)).text
    assert "ratings by people" in shown
    assert "ratings prompts" not in shown + text
