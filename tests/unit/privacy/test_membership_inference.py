"""Membership inference on published sums and on published figures, over thousands of simulated sessions.

The attacker knows every record, the target's included, colludes with one institution, and wants to know whether the target took
part: the strongest attacker that differential privacy speaks of. Sessions are those of `testkit.attacks`: real encoding with
fresh uniforms, the shipped sampler, the fewest survivors that are admitted, one of them without noise. Against Gaussian noise
no test beats the likelihood ratio, so the attack on sums is the best there is; it comes as close to the exact optimum
2 Phi(1/2z) - 1 as 3000 sessions on either side show, and never above. Every rate carries its Clopper-Pearson interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from testkit.attacks import Attack, Randomness, Sums, likelihood_score, terms_of, totals
from testkit.gaussian import best_advantage
from testkit.metric_specs import CLIP_SCORE, FRECHET, make_spec
from testkit.specs import without_noise
from vdb_shared.evaluation import evaluate
from vdb_shared.layout import contributions_at_most, layout_of
from vdb_shared.metrics.features import clip_to_ball, feature_moments, outcome, score_moments
from vdb_shared.metrics.statistic import Tally
from vdb_shared.privacy.accountant import account
from vdb_shared.privacy.mechanism import decode, noise_level
from vdb_shared.seal import SealTerms
from vdb_shared.spec import Spec

SURVIVORS = 3
SESSIONS = 3000
"""With the target, and as many without it."""

RECORDS = 20
DIMENSION = 4
DELTA = 1e-5
EPSILONS = ("1", "4")


def spec_at(epsilon: str) -> Spec:
    """A spec in which one record has a reference clip and two clips of the model, all private."""
    return make_spec(
        [FRECHET | {"inputs": "private", "limit": "1"}],
        models=("alpha",),
        dimension=DIMENSION,
        generation={"private_share": 1, "samples": 2},
        privacy={"epsilon": epsilon, "delta": "0.00001", "maximum_records": 100, "sampler": "integer"},
    )


def vectors(seed: int) -> Iterator[NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    while True:
        yield clip_to_ball(generator.normal(size=DIMENSION) * 9)[0]


@cache
def sums(epsilon: str, member: bool) -> Sums:
    """The sites' sums; the target, first at the first site, reaches every bound: its clips are the same."""
    spec, found = spec_at(epsilon), []
    for site in range(SURVIVORS):
        tally, feature = Tally(layout_of(spec), capacity=contributions_at_most(spec)), vectors(site)
        for record in range(RECORDS):
            target = site == record == 0
            shown = [next(feature)] * 3 if target else [next(feature) for _ in range(3)]
            if target and not member:
                continue
            tally.add("reference/clips/count", np.ones(1))
            tally.add("reference/clips/frechet-videomae@1/moments", feature_moments(shown[0]))
            for made in shown[1:]:
                tally.add("private/alpha/count", outcome(True))
                tally.add("private/alpha/frechet-videomae@1/moments", feature_moments(made))
        found.append(tally.sums())
    return found


def attack(spec: Spec, terms: SealTerms, *, noise: bool = True, silent: int = 1, sessions: int = SESSIONS) -> Attack:
    """Run sessions with and without the target and score what each publishes."""
    epsilon = str(spec.privacy.epsilon)
    inside, outside = sums(epsilon, True), sums(epsilon, False)
    score = likelihood_score(terms, inside, outside)
    scores = {}
    for name, chosen in (("inside", inside), ("outside", outside)):
        randomness = Randomness(f"{name} {epsilon} {terms.scale} {noise} {silent}", noise)
        scores[name] = np.array([score(total) for total in totals(spec, terms, chosen, sessions, randomness, silent)])
    return Attack(**scores)


@cache
def kept(epsilon: str) -> Attack:
    """The attack on sessions as they are run."""
    spec = spec_at(epsilon)
    return attack(spec, terms_of(spec))


def bound(epsilon: float, delta: float) -> float:
    """Largest advantage under (epsilon, delta): (e^epsilon - 1 + 2 delta) / (e^epsilon + 1) (Kairouz, Oh & Viswanath 2015)."""
    return (math.exp(epsilon) - 1 + 2 * delta) / (math.exp(epsilon) + 1)


def multiplier(epsilon: str) -> float:
    return float(terms_of(spec_at(epsilon)).calibration.noise_multiplier or 0)


def scaled(terms: SealTerms, factor: int) -> SealTerms:
    """Terms whose lanes are scaled too large for their noise."""
    scale = terms.calibration.scale
    assert scale is not None
    return replace(terms, calibration=replace(terms.calibration, scale=scale * factor))


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_target_moves_the_lanes_by_the_whole_sensitivity(epsilon: str) -> None:
    """So the study is of the worst record, and what it finds is the mechanism's, not the record's."""
    spec = spec_at(epsilon)
    layout, (inside, outside) = layout_of(spec), (sums(epsilon, True)[0], sums(epsilon, False)[0])
    moved = sum(float(np.sum((inside[block.name] - outside[block.name]) ** 2)) for block in layout.blocks)
    assert moved == pytest.approx(float(layout.clip_norm_squared()), rel=1e-9)
    terms = terms_of(spec)
    assert (terms.smallest_cohort, spec.cohort.collusion) == (SURVIVORS, 1)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_advantage_stays_below_the_bound_with_the_noise_on(epsilon: str) -> None:
    terms = terms_of(spec_at(epsilon))
    claimed = account(terms.calibration).epsilon
    assert claimed is not None
    lowest, found, highest = kept(epsilon).advantage()
    assert highest < bound(float(claimed), DELTA)
    assert lowest > 0
    assert found > 0.7 * best_advantage(multiplier(epsilon))


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_attack_is_the_best_there_is_and_never_better(epsilon: str) -> None:
    """The optimum of the exact Gaussian lies within the interval: no weaker attack would reach it, none may exceed it."""
    lowest, _, highest = kept(epsilon).advantage()
    assert lowest <= best_advantage(multiplier(epsilon)) <= highest
    assert highest - lowest < 0.13


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_no_threshold_breaks_the_promise_or_the_exact_trade_off(epsilon: str) -> None:
    """At every threshold: true <= e^epsilon false + delta, the same for rejecting, and true <= Phi(Phi^-1(false) + 1/z)."""
    accounting = account(terms_of(spec_at(epsilon)).calibration)
    z = multiplier(epsilon)
    for threshold in np.linspace(-6, 6, 25):
        true, false = kept(epsilon).rates(float(threshold))
        for claim in (accounting.epsilon, accounting.epsilon_pld):
            factor = math.exp(float(claim or 0))
            assert true.low <= factor * false.high + DELTA
            assert 1 - false.high <= factor * (1 - true.low) + DELTA
        assert true.low <= stats.norm.cdf(stats.norm.ppf(false.high) + 1 / z)
        assert true.high >= stats.norm.cdf(stats.norm.ppf(false.low) + 1 / z)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_attack_succeeds_without_noise(epsilon: str) -> None:
    """With the mechanism off as tests may switch it, and with the private scale but no noise: every session is told apart."""
    spec = spec_at(epsilon)
    off = without_noise(spec)
    for found in (
        attack(off, terms_of(off), sessions=1000),
        attack(spec, terms_of(spec), noise=False, sessions=1000),
    ):
        assert found.advantage()[1] == 1.0
        assert found.advantage()[0] > bound(float(epsilon), DELTA)


def test_the_attack_beats_the_bound_when_the_noise_is_too_small() -> None:
    """So the tests above can fail: lanes scaled 8 times too large break the promise of epsilon 1 visibly."""
    spec = spec_at("1")
    found = attack(spec, scaled(terms_of(spec), 8))
    assert found.advantage()[0] > bound(1.0, DELTA) + 0.1
    broken = [found.rates(float(threshold)) for threshold in np.linspace(-6, 6, 25)]
    assert any(true.low > math.e * false.high + DELTA for true, false in broken)


def test_one_more_colluding_institution_than_was_counted_on_is_seen() -> None:
    """At epsilon 4 with two of three silent, one deviation of noise is left where two were counted on."""
    spec = spec_at("4")
    lowest, _, highest = attack(spec, terms_of(spec), silent=2).advantage()
    assert lowest > best_advantage(multiplier("4"))
    assert lowest <= best_advantage(multiplier("4") / math.sqrt(2)) <= highest


# The same question asked of the published figures, metrics.json, alone.

PUBLISHED_SESSIONS = 1000


def scored_spec() -> Spec:
    return make_spec(
        [CLIP_SCORE | {"inputs": "private"}],
        models=("alpha",),
        generation={"private_share": 1},
        privacy={"epsilon": "8", "delta": "0.00001", "maximum_records": 100, "sampler": "integer"},
    )


def scored_sums(spec: Spec, *, member: bool) -> Sums:
    """Clips of scores about a half; the target's clip has the score 1."""
    found = []
    for site in range(SURVIVORS):
        tally, generator = Tally(layout_of(spec), capacity=contributions_at_most(spec)), np.random.default_rng(site)
        for record in range(RECORDS):
            score = 1.0 if site == record == 0 else float(generator.uniform(0.3, 0.7))
            if member or site or record:
                tally.add("private/alpha/count", outcome(True))
                tally.add("private/alpha/clip-score@1/moments", score_moments(score))
        found.append(tally.sums())
    return found


def figures(spec: Spec, terms: SealTerms, total: NDArray[np.int64]) -> tuple[float, float]:
    """Return the published number of clips and mean score, as metrics.json has them; NaN for what is withheld."""
    noise = noise_level(terms.layout, terms.calibration, SURVIVORS)
    published: Mapping[str, object] = evaluate(spec, decode(terms.layout, terms.calibration, total), noise).to_json()
    result = published["results"]
    assert isinstance(result, list)
    value = result[0]["value"]
    return float(result[0]["count"]), math.nan if value is None else float(value)


def published_attack(spec: Spec) -> Attack:
    """Say "member" where count and total score, read off metrics.json, are nearer to those with the target."""
    terms = terms_of(spec)
    exact = {
        member: figures(
            spec, terms, totals(spec, terms, scored_sums(spec, member=member), 1, Randomness("", noise=False))[0]
        )
        for member in (True, False)
    }
    middle = [(inside + outside) / 2 for inside, outside in zip(exact[True], exact[False], strict=True)]

    def score(found: tuple[float, float]) -> float:
        count, mean = found
        # A mean that is withheld says nothing beyond the count.
        return (count - middle[0]) + (0.0 if math.isnan(mean) else count * mean - middle[0] * middle[1])

    scores = {}
    for name, member in (("inside", True), ("outside", False)):
        drawn = totals(spec, terms, scored_sums(spec, member=member), PUBLISHED_SESSIONS, Randomness(f"figures {name}"))
        scores[name] = np.array([score(figures(spec, terms, total)) for total in drawn])
    return Attack(**scores)


def test_an_attack_through_published_figures_is_real_weaker_and_below_the_bound() -> None:
    spec = scored_spec()
    calibration = terms_of(spec).calibration
    claimed = float(account(calibration).epsilon or 0)
    lowest, found, highest = published_attack(spec).advantage()
    assert lowest > 0.05
    assert highest < bound(claimed, DELTA)
    assert found < best_advantage(float(calibration.noise_multiplier or 0))


def test_the_attack_through_published_figures_succeeds_without_noise() -> None:
    assert published_attack(without_noise(scored_spec())).advantage()[0] > bound(4.0, DELTA)


@pytest.mark.parametrize("delta", [0.0, 1e-5, 0.1])
def test_the_bound_lies_between_guessing_and_certainty(delta: float) -> None:
    bounds = [bound(epsilon, delta) for epsilon in (0.0, 0.1, 1.0, 4.0, 8.0)]
    assert bounds[0] == delta
    assert bounds[-1] < 1
    assert all(one < other for one, other in pairwise(bounds))


def test_the_bound_holds_the_gaussian_optimum() -> None:
    """The best attack on the exact mechanism is far below what (epsilon, delta) alone would admit."""
    for epsilon in EPSILONS:
        assert best_advantage(multiplier(epsilon)) < bound(float(epsilon), DELTA) / 2
