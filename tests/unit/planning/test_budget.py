"""Proposed weights are the best there are: for the objective, and for the intervals themselves."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from testkit.metric_specs import CLIP_SCORE, DIGEST, FLICKERING, FRECHET, KERNEL, make_spec
from vdb_coordinator.commands.presets import read_preset
from vdb_shared.planning.assumptions import NO_NOISE, Assumptions, assume, scenario_of
from vdb_shared.planning.budget import Budget, Share, budget_of, with_weights
from vdb_shared.planning.guess import default_guesses
from vdb_shared.planning.population import population_of
from vdb_shared.planning.prediction import forecast
from vdb_shared.planning.sketches import agreed, clips_of
from vdb_shared.planning.whatif import double_weight
from vdb_shared.spec import Spec, parse_spec_toml

SPEC = make_spec(
    [
        {**FRECHET, "weight": "1"},
        {**KERNEL, "weight": "3"},
        {**CLIP_SCORE, "inputs": "private", "weight": "2"},
        {**FLICKERING, "inputs": "private", "weight": "0.3"},
    ],
    generation={"private_share": "1"},
    privacy={"maximum_records": 900, "epsilon": "4"},
)

positive = st.floats(0.01, 100)
shares = st.lists(st.tuples(positive, positive, positive), min_size=1, max_size=6)


def assumed(spec: Spec) -> Assumptions:
    return assume(spec, participants=4)


def budget(numbers: list[tuple[float, float, float]], counts_squared: float) -> Budget:
    return Budget(
        counts_squared,
        tuple(Share(f"m{place}@1", 1.0, bound, own, counts) for place, (bound, own, counts) in enumerate(numbers)),
    )


@given(shares, positive, st.integers(0, 2**32 - 1))
def test_no_random_weights_do_better(
    numbers: list[tuple[float, float, float]], counts_squared: float, seed: int
) -> None:
    found = budget(numbers, counts_squared)
    best = found.best()
    least = found.objective(best)
    generator = np.random.default_rng(seed)
    for spread in (0.01, 0.3, 2.0):
        for _ in range(20):
            moved = {name: weight * float(np.exp(generator.normal(0, spread))) for name, weight in best.items()}
            assert found.objective(moved) >= least * (1 - 1e-9)


@settings(max_examples=25)
@given(shares, positive)
def test_the_closed_form_is_what_a_numerical_optimiser_finds(
    numbers: list[tuple[float, float, float]], counts_squared: float
) -> None:
    found = budget(numbers, counts_squared)
    names = list(found.weights)

    def objective(logarithms: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return float(np.log(found.objective(dict(zip(names, np.exp(logarithms), strict=True)))))

    searched = minimize(objective, np.zeros(len(names)), method="BFGS")
    assert np.log(found.objective(found.best())) <= searched.fun + 1e-6


def test_the_objective_is_what_noise_adds_to_the_intervals() -> None:
    """F at the spec's own weights is the sum over metrics, by its definition, from intervals with and without noise."""
    scenario = scenario_of(SPEC, assumed(SPEC))
    population = population_of(SPEC, default_guesses(SPEC))
    found = budget_of(scenario, population, sessions=15)
    quiet = forecast(scenario, population, sessions=15, evaluated=1, noise=NO_NOISE)
    noised = forecast(scenario, population, sessions=15, evaluated=1)
    growth: dict[str, list[float]] = {}
    for before, after in zip(quiet.expected, noised.expected, strict=True):
        if before.half_width and after.half_width and before.metric != "frechet-videomae@1":
            growth.setdefault(before.metric, []).append((after.half_width / before.half_width) ** 2 - 1)
    norm = float(scenario.layout.clip_norm_squared())
    for share in found.shares:
        if share.metric in {"clip-score@1", "temporal-flickering@1"}:
            expected = norm * (share.own / share.weight**2 + share.counts)
            assert expected == pytest.approx(float(np.mean(growth[share.metric])), rel=0.1)
    spent = found.counts_squared + sum(share.weight**2 * share.bound_squared for share in found.shares)
    assert spent == pytest.approx(norm)


def test_proposed_weights_shorten_the_intervals_and_no_others_shorten_them_more() -> None:
    scenario = scenario_of(SPEC, assumed(SPEC))
    population = population_of(SPEC, default_guesses(SPEC))
    proposed = with_weights(SPEC, budget_of(scenario, population, sessions=15).best())

    def added(spec: Spec) -> float:
        """What noise adds to squared intervals, by their own square without noise."""
        return budget_of(scenario_of(spec, assumed(spec)), population, sessions=15).objective(
            {metric.id: float(metric.weight) for metric in spec.metrics}
        )

    least = added(proposed)
    assert least < 0.8 * added(SPEC)
    generator = np.random.default_rng(7)
    for _ in range(6):
        weights = {
            metric.id: float(metric.weight) * float(np.exp(generator.normal(0, 0.7))) for metric in proposed.metrics
        }
        assert added(with_weights(proposed, weights)) > 0.95 * least


def test_doubling_a_weight_moves_noise_as_calibration_says() -> None:
    scenario = scenario_of(SPEC, assumed(SPEC))
    found = double_weight(scenario, "clip-score@1")
    assert not isinstance(found, str)
    own, others = found
    heavier = SPEC.model_copy(
        update={
            "metrics": tuple(
                metric.model_copy(update={"weight": Decimal(4)}) if metric.id == "clip-score@1" else metric
                for metric in SPEC.metrics
            )
        }
    )
    before, after = scenario.noise, scenario_of(heavier, assumed(SPEC)).noise
    mine, other = "private/alpha/clip-score@1/moments", "reference/clips/mmd-rff@1/embedding"
    assert after.of(mine) / before.of(mine) == pytest.approx(own, rel=1e-3)
    assert after.of(other) / before.of(other) == pytest.approx(others, rel=1e-3)


def test_metrics_that_share_reference_clips_keep_one_weight() -> None:
    spec = make_spec(
        [FRECHET, {**FRECHET, "inputs": "private"}, {**CLIP_SCORE, "inputs": "private"}],
        generation={"private_share": "1"},
        privacy={"maximum_records": 1000, "epsilon": "16"},
    )
    scenario = scenario_of(spec, assumed(spec))
    found = budget_of(scenario, population_of(spec, default_guesses(spec)), sessions=5)
    changed = with_weights(spec, found.best())
    assert len({metric.weight for metric in changed.metrics if metric.id == "frechet-videomae@1"}) == 1
    assert scenario_of(changed, assumed(spec)).terms.calibration.noised


def test_the_preset_s_weights_are_near_the_best() -> None:
    """For 2000 records at each institution, by the planner's own measure; equal weights are far from it."""
    text = read_preset("text-to-video").replace('"unpinned"', f'"{DIGEST}"')
    spec = parse_spec_toml(text)
    scenario = agreed(scenario_of(spec, assume(spec, records=2000)))
    found = budget_of(scenario, clips_of(spec, default_guesses(spec)).population, sessions=5)
    assert set(found.weights) == {"frechet-videomae@1", "mmd-rff@1", "clip-score@1"}
    best = found.objective(found.best())
    assert found.objective(found.weights) < 1.3 * best
    assert found.objective(dict.fromkeys(found.weights, 1.0)) > 2 * best
