"""VBench's formula: against published rows, a transcription, and by hand; and what a partial report may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_shared.errors import StatisticError
from vdb_shared.metrics.catalogue import CATALOGUE
from vdb_shared.metrics.vbench import DIMENSIONS, SOURCES, group_scores, vbench_report

NAMES = [dimension.name for dimension in DIMENSIONS]

PUBLISHED = {
    "LaVie": (
        (
            *(91.41, 97.47, 98.30, 96.38, 49.72, 54.94, 61.90),
            *(91.82, 33.32, 96.80, 86.39, 34.09, 52.69, 23.56, 25.93, 26.41),
        ),
        (78.78, 70.31, 77.08),
    ),
    "ModelScope": (
        (
            *(89.87, 95.29, 98.28, 95.79, 66.39, 52.06, 58.57),
            *(82.25, 38.98, 92.40, 81.72, 33.68, 39.26, 23.39, 25.37, 25.67),
        ),
        (78.05, 66.54, 75.75),
    ),
    "VideoCrafter-1.0": (
        (
            *(95.10, 98.04, 98.93, 95.67, 55.00, 62.67, 65.46),
            *(78.18, 45.66, 91.60, 93.32, 58.86, 43.75, 24.41, 25.54, 26.76),
        ),
        (81.59, 72.22, 79.72),
    ),
}
"""Rows of VBench's leaderboard: raw scores by dimension, then quality, semantic and total score, in percent."""


def transcribed(raw: dict[str, float]) -> tuple[float, float, float]:
    """The published formula, step by step."""
    low = dict.fromkeys(NAMES, 0.0) | {
        "subject consistency": 0.1462,
        "background consistency": 0.2615,
        "temporal flickering": 0.6293,
        "motion smoothness": 0.706,
        "appearance style": 0.0009,
    }
    high = dict.fromkeys(NAMES, 1.0) | {
        "motion smoothness": 0.9975,
        "scene": 0.8222,
        "appearance style": 0.2855,
        "temporal style": 0.364,
        "overall consistency": 0.364,
    }
    weight = dict.fromkeys(NAMES, 1.0) | {"dynamic degree": 0.5}
    sums, weights = [0.0, 0.0], [0.0, 0.0]
    for position, name in enumerate(NAMES):
        group = 0 if position < 7 else 1
        sums[group] += weight[name] * (raw[name] - low[name]) / (high[name] - low[name])
        weights[group] += weight[name]
    quality, semantic = sums[0] / weights[0], sums[1] / weights[1]
    return quality, semantic, (4 * quality + 1 * semantic) / 5


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_rows_give_the_published_scores(model: str) -> None:
    row, (quality, semantic, total) = PUBLISHED[model]
    found = group_scores({name: value / 100 for name, value in zip(NAMES, row, strict=True)})
    assert found.quality == pytest.approx(quality / 100, abs=6e-5)
    assert found.semantic == pytest.approx(semantic / 100, abs=6e-5)
    assert found.total == pytest.approx(total / 100, abs=6e-5)


@given(st.lists(st.floats(0, 1), min_size=16, max_size=16))
def test_equals_a_transcription(values: list[float]) -> None:
    raw = dict(zip(NAMES, values, strict=True))
    found = group_scores(raw)
    assert (found.quality, found.semantic, found.total) == pytest.approx(transcribed(raw), abs=1e-12)


def test_two_dimensions_by_hand() -> None:
    """(0.98 - 0.6293) / 0.3707 = 0.946048, weight 1; 0.4, weight 0.5: together (0.946048 + 0.2) / 1.5 = 0.764032."""
    report = vbench_report({"temporal-flickering@1": 0.98, "dynamic-degree-dis@1": 0.4, "clip-score@1": 31.0})
    assert [(score.dimension.name, score.raw) for score in report.scores] == [
        *(("temporal flickering", 0.98), ("dynamic degree", 0.4))
    ]
    assert report.scores[0].normalised == pytest.approx(0.946048, abs=1e-6)
    assert report.groups.quality == pytest.approx(0.764032, abs=1e-6)
    assert (report.groups.semantic, report.groups.total) == (None, None)
    assert report.words == "VBench formula, partial: 2 of 16 dimensions"
    assert len(report.missing) == 14
    assert "temporal flickering" not in report.missing


def test_a_missing_dimension_is_never_counted_as_zero() -> None:
    whole = dict.fromkeys(NAMES, 0.9)
    without = {name: value for name, value in whole.items() if name != "scene"}
    assert group_scores(whole).total is not None
    assert group_scores(without).total is None
    assert group_scores(without).semantic != group_scores(without | {"scene": 0.0}).semantic


def test_scores_outside_the_published_range_are_not_cut_off() -> None:
    report = vbench_report({"subject-consistency@1": 0.1, "motion-smoothness-dis@1": 1.0})
    assert report.scores[0].normalised < 0
    assert report.scores[1].normalised > 1


def test_every_measurable_dimension_says_how_far_it_can_be_compared() -> None:
    report = vbench_report({source.metric: 0.5 for source in SOURCES.values()})
    assert [score.dimension.name for score in report.scores] == [name for name in NAMES if name in SOURCES]
    for score in report.scores:
        start = (
            "not comparable with the published table: "
            if score.source.differs
            else "comparable with the published table where "
        )
        assert score.words.startswith(start)
        assert score.source.remark
    assert len({source.metric for source in SOURCES.values()}) == len(SOURCES)
    assert {source.metric for source in SOURCES.values()} <= set(CATALOGUE)
    assert {name for name, source in SOURCES.items() if not source.differs} == {
        "subject consistency",
        "background consistency",
        "aesthetic quality",
    }


@pytest.mark.parametrize("value", [1.01, 5.4, -1.5, float("nan"), float("inf")])
def test_a_value_on_another_scale_is_refused(value: float) -> None:
    with pytest.raises(StatisticError, match=r"aesthetic@1: expected a value in \[-1, 1\]"):
        vbench_report({"aesthetic@1": value})


def test_a_name_that_is_no_dimension_is_refused() -> None:
    with pytest.raises(StatisticError, match="'flicker' is no dimension of VBench"):
        group_scores({"flicker": 0.5})


def test_no_figure_at_all_is_an_empty_report() -> None:
    report = vbench_report({})
    assert (report.scores, report.groups.quality, len(report.missing)) == ((), None, 16)
