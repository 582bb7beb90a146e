"""dp-fvd: a Fréchet distance of mapped features, whose estimate stands up to noise."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from scipy.optimize import isotonic_regression
from scipy.stats import kendalltau

from testkit.metric_specs import FRECHET, make_spec
from vdb_shared.audit.leaderboard import tables_of
from vdb_shared.errors import SpecError
from vdb_shared.evaluation import COARSE_NOISE, VALUE_NOISE, Result, evaluate
from vdb_shared.layout import count_block, generated_block, layout_of, reference_block
from vdb_shared.metrics.features import clip_to_ball, feature_moments, outcome
from vdb_shared.metrics.frechet import Moments, MomentSums, fit, frechet_distance, moments_of
from vdb_shared.metrics.shrinkage import falling, shrink
from vdb_shared.metrics.statistic import Statistics
from vdb_shared.privacy.mechanism import NoiseLevel
from vdb_shared.spec import Spec

Matrix = NDArray[np.float64]

METRIC = "dp-fvd@1"
AXES = 16
DEVIATIONS = 0.45 * np.arange(1, AXES + 1) ** -0.6
"""Of features along public axes, in units of the clipping norm."""


def asked(inputs: str = "public", **changes: Any) -> dict[str, Any]:
    return {"id": METRIC, "inputs": inputs, "extractor": "tiny-videomae"} | changes


def spec_of(*metrics: dict[str, Any], dimension: int = AXES, private: bool = False) -> Spec:
    share = {"private_share": 1} if private else None
    return make_spec(metrics, models=("near", "far"), dimension=dimension, generation=share)


def points(seed: int, count: int, *, shift: float = 0.0, stretch: float = 1.0) -> Matrix:
    drawn = np.random.default_rng(seed).normal(size=(count, AXES)) * DEVIATIONS
    drawn[:, 3] *= stretch
    return np.asarray(drawn + shift)


def share_sums(features: Matrix) -> Matrix:
    return np.asarray(np.sum([feature_moments(clip_to_ball(point)[0]) for point in features], axis=0))


SIDES = {
    ("reference", "clips"): points(1, 3000),
    ("side", "near"): points(2, 3000, shift=0.02),
    ("side", "far"): points(3, 3000, shift=0.02, stretch=4.0),
}


def statistics_of(spec: Spec) -> Statistics:
    """Sums of the same clips for every metric of a spec."""
    found: dict[str, Matrix] = {count_block("reference"): np.array([3000.0])}
    side = spec.metrics[0].inputs
    for metric in spec.metrics:
        found[reference_block(metric.id, "moments")] = share_sums(SIDES["reference", "clips"])
        for model in ("near", "far"):
            found[count_block(side, model)] = 3000 * outcome(True)
            found[generated_block(side, model, metric.id, "moments")] = share_sums(SIDES["side", model])
    return {block.name: found[block.name] for block in layout_of(spec).blocks}


def noised(spec: Spec, statistics: Statistics, deviation: float) -> tuple[Statistics, NoiseLevel]:
    draws = np.random.default_rng(4)
    private = [block.name for block in layout_of(spec).blocks if block.private]
    found = {
        name: values + (deviation * draws.normal(size=values.shape) if name in private else 0)
        for name, values in statistics.items()
    }
    return found, NoiseLevel(dict.fromkeys(private, deviation))


def results(spec: Spec, statistics: Statistics, noise: NoiseLevel | None, metric: str = METRIC) -> dict[str, Result]:
    return {item.model: item for item in evaluate(spec, statistics, noise).results if item.metric == metric}


def test_without_noise_it_is_the_plain_distance_of_shortened_features() -> None:
    spec = spec_of(asked())
    found = results(spec, statistics_of(spec), None)

    def fitted(features: Matrix) -> Moments:
        inside = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1)
        return Moments(inside.mean(axis=0), np.cov(inside, rowvar=False, ddof=0))

    a = fitted(SIDES["reference", "clips"])
    for model in ("near", "far"):
        b = fitted(SIDES["side", model])
        root = np.real(sqrtm(a.covariance @ b.covariance))
        wanted = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * root)
        assert found[model].value == pytest.approx(float(wanted), rel=1e-8)
        assert found[model].grade == "exact"


def test_private_sides_are_shrunk_towards_a_falling_diagonal_only_where_features_have_a_map() -> None:
    """Both metrics get the same sums; only dp-fvd may rely on the order of the axes."""
    spec = spec_of(asked("private"), FRECHET | {"inputs": "private"}, private=True)
    statistics, noise = noised(spec, statistics_of(spec), 4.0)
    mapped = results(spec, statistics, noise)
    plain = results(spec, statistics, noise, "frechet-videomae@1")
    sums = {name: statistics[reference_block(name, "moments")] for name in (METRIC, "frechet-videomae@1")}
    assert mapped["far"].value != plain["far"].value
    count = float(statistics[count_block("reference")][0])
    side = MomentSums(sums[METRIC], count, 4.0, 4.0, ordered=True)
    models = {
        model: MomentSums(
            statistics[generated_block("private", model, METRIC, "moments")],
            float(statistics[count_block("private", model)][0]),
            4.0,
            4.0,
            ordered=True,
        )
        for model in ("near", "far")
    }
    assert mapped["far"].value == pytest.approx(fit(side, models).distances["far"], rel=1e-12)


@pytest.mark.parametrize(("level", "grade"), [(0.9, "noised"), (1.1, "coarse")])
def test_up_to_the_first_threshold_values_are_published_and_then_ranks_alone(level: float, grade: str) -> None:
    spec = spec_of(asked())
    deviation = level * VALUE_NOISE * 3000 * np.sqrt(2)
    found = results(spec, *noised(spec, statistics_of(spec), float(deviation)))
    for result in found.values():
        assert result.grade == grade
        assert result.ranks is not None
        assert (result.value is None) == (result.low is None) == (result.high is None) == (grade == "coarse")
    said = found["far"].reason or ""
    assert said == "" if grade == "noised" else "times as many records, or an epsilon of about" in said


def test_a_leaderboard_of_ranks_alone_is_in_their_order() -> None:
    spec = spec_of(asked())
    deviation = 1.1 * VALUE_NOISE * 3000 * np.sqrt(2)
    statistics, noise = noised(spec, statistics_of(spec), float(deviation))
    (table,) = tables_of(evaluate(spec, statistics, noise).to_json(), noised=True)
    assert [(row.model, row.value, row.rank_set) for row in table.rows] == [("near", None, "1"), ("far", None, "2")]


def test_above_the_second_threshold_nothing_is_published_but_what_would_do() -> None:
    spec = spec_of(asked())
    deviation = 1.3 * COARSE_NOISE * 3000 * np.sqrt(2)
    found = results(spec, *noised(spec, statistics_of(spec), float(deviation)))
    assert {(item.grade, item.value, item.ranks) for item in found.values()} == {("unavailable", None, None)}
    assert re.search(
        r"about 1\.[34] times as many records, or an epsilon of about 5\.\d instead of 4, would do",
        found["near"].reason or "",
    )


@pytest.mark.parametrize("dimension", [4, 15, 48, 256])
def test_other_numbers_of_axes_are_refused_with_those_there_are(dimension: int) -> None:
    with pytest.raises(SpecError, match=r"metrics\.0\.extractor.*16, 32, 64 or 128.*fit-map"):
        layout_of(spec_of(asked(), dimension=dimension))


def test_a_limit_is_refused_because_the_map_has_the_clipping_norm() -> None:
    with pytest.raises(SpecError, match=r"metrics\.0\.limit.*not used by dp-fvd@1"):
        layout_of(spec_of(asked(limit="2")))


def test_half_of_the_budget_goes_to_means_and_half_to_second_moments() -> None:
    """Both parts of a shortened clip's share have norm 1, so one deviation of the noise serves both."""
    share = feature_moments(clip_to_ball(np.full(AXES, 9.0))[0])
    assert float(share[:AXES] @ share[:AXES]) == pytest.approx(1, rel=1e-12)
    assert float(share[AXES:] @ share[AXES:]) == pytest.approx(1, rel=1e-12)
    (block,) = (
        block for block in layout_of(spec_of(asked())).blocks if block.name == "reference/clips/dp-fvd@1/moments"
    )
    assert (block.dims, block.bound_squared) == (AXES + AXES * (AXES + 1) // 2, 2)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40))
def test_the_nearest_falling_sequence_is_scipys(values: list[float]) -> None:
    wanted = isotonic_regression(values, increasing=False).x
    np.testing.assert_allclose(falling(np.array(values)), wanted, atol=1e-10)


def test_the_shrinker_reaches_the_closed_form_of_a_spiked_model_and_no_other_scale_does_better() -> None:
    """theta above the noise's edge: what is observed is theta + d tau^2 / theta, what is kept theta - d tau^2 / theta, and the
    squared error theta^2 - kept^2 (Benaych-Georges & Nadakuditi 2011; Donoho & Gavish 2014)."""
    d, tau, theta = 150, 0.01, 0.4
    draws = np.random.default_rng(8)
    direction = np.full(d, d**-0.5)
    truth = theta * np.outer(direction, direction)
    kept = theta - d * tau**2 / theta
    errors: dict[float, list[float]] = {0.8: [], 1.0: [], 1.2: []}
    largest = []
    for _ in range(12):
        square = draws.normal(size=(d, d))
        observed = truth + tau * (square + square.T) / np.sqrt(2)
        found = shrink(observed, np.zeros((d, d)), tau).covariance
        largest.append(float(np.linalg.eigvalsh(found)[-1]))
        for scale, mine in errors.items():
            mine.append(float(np.sum((scale * found - truth) ** 2)))
    assert np.mean(largest) == pytest.approx(kept, rel=0.02)
    assert np.mean(errors[1.0]) == pytest.approx(theta**2 - kept**2, rel=0.1)
    assert np.mean(errors[1.0]) < min(np.mean(errors[0.8]), np.mean(errors[1.2]))


def test_a_fitted_anchor_hides_more_than_one_of_its_own() -> None:
    observed = np.diag(np.linspace(0.4, 0.01, 12))
    own, fitted = (shrink(observed, np.zeros((12, 12)), 0.01, fitted=kind) for kind in (False, True))
    assert own.covariance.tobytes() == fitted.covariance.tobytes()
    assert fitted.hidden > own.hidden > 0


STRENGTHS = (1.0, 1.4, 1.9, 2.5, 3.2)


def ranked(*, private: bool, deviation: float) -> tuple[float, float, float, float]:
    """Mean tau over draws of dp-fvd and of clipping eigenvalues, and their median errors of values over the true one."""
    count = 1500.0
    clean = MomentSums(share_sums(points(20, 1500)), count, ordered=True)
    models = {
        str(place): MomentSums(share_sums(points(30 + place, 1500, stretch=strength)), count, ordered=True)
        for place, strength in enumerate(STRENGTHS)
    }
    truth = [frechet_distance(moments_of(clean), moments_of(model)) for model in models.values()]
    draws = np.random.default_rng(5)
    taus: tuple[list[float], list[float]] = ([], [])
    errors: tuple[list[float], list[float]] = ([], [])

    def drawn(side: MomentSums) -> MomentSums:
        return replace(side, sums=side.sums + deviation * draws.normal(size=side.sums.size), deviation=deviation)

    def cut(side: MomentSums) -> Moments:
        raw = moments_of(side)
        values, axes = np.linalg.eigh(raw.covariance)
        positive = (axes * np.maximum(values, 0)) @ axes.T
        return Moments(raw.mean, (positive + positive.T) / 2)

    for _ in range(25):
        reference = drawn(clean)
        others = {name: drawn(model) if private else model for name, model in models.items()}
        estimates = (
            list(fit(reference, others).distances.values()),
            [frechet_distance(cut(reference), cut(model)) for model in others.values()],
        )
        for place, values in enumerate(estimates):
            found = kendalltau(values, truth).statistic
            taus[place].append(0.0 if np.isnan(found) else float(found))
            errors[place].extend(np.abs(np.array(values[1:]) - truth[1:]) / truth[1:])
    return (
        float(np.mean(taus[0])),
        float(np.mean(taus[1])),
        float(np.median(errors[0])),
        float(np.median(errors[1])),
    )


def test_it_ranks_and_values_private_models_better_than_cutting_eigenvalues() -> None:
    tau, naive_tau, error, naive_error = ranked(private=True, deviation=9.0)
    assert tau > naive_tau + 0.02
    assert error < 0.5 * naive_error


def test_with_public_prompts_the_order_stays_and_values_are_far_better() -> None:
    """All models here err along one axis, the worst case for an anchor that is their mean."""
    tau, _, error, naive_error = ranked(private=False, deviation=12.0)
    assert tau > 0.9
    assert error < 0.5 * naive_error
