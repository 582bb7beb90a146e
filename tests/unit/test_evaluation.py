"""What is published equals one central evaluation without noise, and is withheld where noise makes it meaningless."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from testkit.metric_specs import CLIP_SCORE, DIGEST, FLICKERING, FRECHET, KERNEL, LATENCY, make_spec
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import StatisticError
from vdb_shared.evaluation import Evaluation, Result, evaluate
from vdb_shared.layout import contributions_at_most, layout_of, promise_of
from vdb_shared.metrics.covariance import covariance_share, covariance_sketch
from vdb_shared.metrics.features import (
    clip_to_ball,
    feature_moments,
    outcome,
    random_fourier_features,
    random_fourier_frequencies,
    rescale,
    score_histogram,
    score_moments,
)
from vdb_shared.metrics.frechet import Moments, frechet_distance
from vdb_shared.metrics.statistic import Tally, pooled
from vdb_shared.privacy.calibration import LOCAL_SIGMA, calibrate
from vdb_shared.privacy.mechanism import decode, encode, noise_level, uniform_bytes_needed
from vdb_shared.spec import Spec
from vdb_shared.sums import rounded

DIMENSION = 4
FREQUENCIES = random_fourier_frequencies(DIGEST, DIMENSION, 64, 1.0)
PUBLIC = make_spec([FLICKERING, LATENCY, FRECHET | {"limit": "2"}, KERNEL], dimension=DIMENSION)
PRIVATE = make_spec(
    [metric | {"inputs": "private"} for metric in (CLIP_SCORE, FRECHET)],
    dimension=DIMENSION,
    generation={"private_share": 1},
    privacy={"maximum_records": 5000},
)

Points = NDArray[np.float64]


def clips(seed: int, count: int, shift: float) -> Points:
    return np.asarray(np.random.default_rng(seed).normal(size=(count, DIMENSION)) * 0.6 + shift)


def add_clip(tally: Tally, spec: Spec, side: str, model: str, features: Points) -> None:
    tally.add(f"{side}/{model}/count", outcome(True))
    for metric in spec.metrics:
        place = f"{side}/{model}/{metric.id}"
        match metric.id.partition("@")[0]:
            case "frechet-videomae":
                inside, _ = clip_to_ball(features / float(metric.limit or 1))
                tally.add(f"{place}/moments", feature_moments(inside))
            case "mmd-rff":
                embedding = random_fourier_features(features, FREQUENCIES)
                tally.add(f"{place}/embedding", embedding)
                tally.add(
                    f"{place}/covariance", covariance_share(embedding, covariance_sketch(spec.digest, DIGEST, 64))
                )
            case _:
                score = rescale(float(features[0]) + 0.5, 0, float(metric.limit or 1))
                tally.add(f"{place}/moments", score_moments(score))
                if side == "public":
                    tally.add(f"{place}/histogram", score_histogram(score))


def site(spec: Spec, seed: int, references: int, generated: int) -> dict[str, Points]:
    """Statistics of one site: alpha's clips are like the reference, beta's are moved."""
    tally = Tally(layout_of(spec), capacity=contributions_at_most(spec))
    for point in clips(seed, references, 0.0):
        tally.add("reference/clips/count", np.ones(1))
        for metric in spec.metrics:
            if metric.id == "frechet-videomae@1":
                inside, _ = clip_to_ball(point / float(metric.limit or 1))
                tally.add("reference/clips/frechet-videomae@1/moments", feature_moments(inside))
            elif metric.id == "mmd-rff@1":
                embedding = random_fourier_features(point, FREQUENCIES)
                tally.add("reference/clips/mmd-rff@1/embedding", embedding)
                products = covariance_share(embedding, covariance_sketch(spec.digest, DIGEST, 64))
                tally.add("reference/clips/mmd-rff@1/covariance", products)
    side = spec.metrics[0].inputs
    for number, model in enumerate(spec.models):
        for point in clips(1000 + 10 * seed + number, generated, 0.5 * number):
            add_clip(tally, spec, side, model.id, point)
        tally.add(f"{side}/{model.id}/count", outcome(False))
    return tally.sums()


def published(spec: Spec, sites: list[dict[str, Points]], *, noised: bool) -> Evaluation:
    """What the coordinator publishes of these sites."""
    layout = layout_of(spec)
    promise = promise_of(spec, joined=len(sites), smallest_cohort=len(sites))
    calibration = calibrate(promise if noised else replace(promise, mechanism="none"), layout)
    generator = np.random.default_rng(5)
    total = np.zeros(layout.lanes, dtype=np.int64)
    for part in sites:
        total += encode(layout, calibration, part, generator.bytes(uniform_bytes_needed(layout, calibration)))
        if noised:
            noise = np.rint(generator.normal(size=layout.lanes) * LOCAL_SIGMA).astype(np.int64)
            total += np.where([block.private for block in layout.blocks for _ in range(block.dims)], noise, 0)
    return evaluate(spec, decode(layout, calibration, total), noise_level(layout, calibration, len(sites)))


def result(evaluation: Evaluation, metric: str, model: str) -> Result:
    return next(found for found in evaluation.results if (found.metric, found.model) == (metric, model))


def test_without_noise_the_federated_figures_are_the_pooled_ones() -> None:
    sites = [site(PUBLIC, seed, 30 + seed, 4) for seed in range(5)]
    federated = published(PUBLIC, sites, noised=False)
    central = evaluate(PUBLIC, pooled(layout_of(PUBLIC), tuple(sites)), None)
    for one, other in zip(federated.results, central.results, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-6, abs=1e-9)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-6, abs=1e-9)
        assert (one.ranks, one.grade, one.histogram) == (other.ranks, "exact", other.histogram)
    assert federated.to_json() == central.to_json()


def test_figures_are_those_of_the_records_themselves() -> None:
    """Against plain numpy over all clips: mean latency, and the distance of clipped features in feature units."""
    spec = make_spec([LATENCY, FRECHET | {"limit": "2"}], models=["alpha"], dimension=DIMENSION)
    sites = [site(spec, seed, 40, 4) for seed in range(4)]
    found = published(spec, sites, noised=False)
    generated = np.concatenate([clips(1000 + 10 * seed, 4, 0.0) for seed in range(4)])
    references = np.concatenate([clips(seed, 40, 0.0) for seed in range(4)])
    assert result(found, "latency@1", "alpha").value == pytest.approx(
        np.mean(np.clip(generated[:, 0] + 0.5, 0, 30)), rel=1e-8
    )

    def fitted(points: Points) -> Moments:
        inside = np.array([2 * clip_to_ball(point / 2)[0] for point in points])
        return Moments(inside.mean(axis=0), np.cov(inside, rowvar=False, ddof=0))

    wanted = frechet_distance(fitted(references), fitted(generated))
    assert result(found, "frechet-videomae@1", "alpha").value == pytest.approx(wanted, rel=1e-6)


def test_private_and_public_are_told_for_every_number() -> None:
    found = published(PUBLIC, [site(PUBLIC, seed, 30, 4) for seed in range(4)], noised=False)
    assert {item.metric: item.private for item in found.results} == {
        "temporal-flickering@1": False,
        "latency@1": False,
        "frechet-videomae@1": True,
        "mmd-rff@1": True,
    }


def test_counts_name_side_model_and_failures() -> None:
    found = published(PUBLIC, [site(PUBLIC, seed, 30, 3) for seed in range(4)], noised=False)
    counts = {(count.side, count.model): (count.succeeded, count.failed) for count in found.counts}
    assert counts == {
        ("reference", "clips"): (120, 0),
        ("public", "alpha"): (12, 4),
        ("public", "beta"): (12, 4),
    }


def test_a_better_model_gets_a_better_rank() -> None:
    found = published(PUBLIC, [site(PUBLIC, seed, 80, 60) for seed in range(4)], noised=False)
    for metric in ("frechet-videomae@1", "mmd-rff@1"):
        assert result(found, metric, "alpha").ranks == (1, 1)
        assert result(found, metric, "beta").ranks == (2, 2)
        assert found.not_apart[metric, "public"] == ()


def test_noised_figures_say_so_and_cover_the_exact_ones() -> None:
    sites = [site(PRIVATE, seed, 900, 300) for seed in range(5)]
    exact, noised = published(PRIVATE, sites, noised=False), published(PRIVATE, sites, noised=True)
    for one, other in zip(exact.results, noised.results, strict=True):
        assert other.grade in {"noised", "coarse"}
        assert other.private
        assert other.value != one.value
        if other.grade == "coarse":
            assert (other.value, other.low, other.high) == (None, None, None)
            assert other.ranks is not None
        else:
            assert (other.low or 0) <= (one.value or 0) <= (other.high or 0)
    assert all(count.deviation > 0 for count in noised.counts)
    assert canonical_json(noised.to_json())


def test_public_figures_keep_every_digit_beside_noised_ones() -> None:
    sites = [site(PUBLIC, seed, 60, 4) for seed in range(4)]
    exact, noised = published(PUBLIC, sites, noised=False), published(PUBLIC, sites, noised=True)
    assert result(noised, "latency@1", "beta").to_json() == result(exact, "latency@1", "beta").to_json()


def test_counts_below_their_noise_are_not_divided_by() -> None:
    found = published(PUBLIC, [site(PUBLIC, seed, 2, 4) for seed in range(4)], noised=True)
    withheld = result(found, "mmd-rff@1", "alpha")
    assert (withheld.grade, withheld.value, withheld.ranks) == ("unavailable", None, None)
    assert withheld.reason is not None
    assert "reference clips" in withheld.reason
    assert result(found, "latency@1", "alpha").grade == "exact"
    assert canonical_json(found.to_json())


def test_a_frechet_distance_that_noise_drowns_is_withheld_with_what_would_do() -> None:
    found = published(PUBLIC, [site(PUBLIC, seed, 60, 4) for seed in range(4)], noised=True)
    withheld = result(found, "frechet-videomae@1", "alpha")
    assert withheld.grade == "unavailable"
    assert "times as many records" in (withheld.reason or "")
    assert result(found, "mmd-rff@1", "alpha").grade == "noised"


def test_a_model_that_always_failed_is_unavailable_and_leaves_the_others_their_ranks() -> None:
    statistics = site(PUBLIC, 1, 30, 4)
    for name in statistics:
        if name.startswith("public/beta/"):
            statistics[name] = np.zeros_like(statistics[name])
    statistics["public/beta/count"] = np.array([0.0, 5.0])
    found = evaluate(PUBLIC, statistics, None)
    for metric in PUBLIC.metrics:
        assert result(found, metric.id, "beta").grade == "unavailable"
        assert "beta: 0 could be measured" in (result(found, metric.id, "beta").reason or "")
        assert result(found, metric.id, "alpha").ranks == (1, 1)


def test_nothing_measured_at_all_is_reported_not_raised() -> None:
    nothing = {block.name: np.zeros(block.dims) for block in layout_of(PUBLIC).blocks}
    found = evaluate(PUBLIC, nothing, None)
    assert {item.grade for item in found.results} == {"unavailable"}
    assert canonical_json(found.to_json())


def scored(spec: Spec, clips: int, means: dict[str, float], spread: float = 0.01) -> dict[str, Points]:
    """Sums of so many public clips, of a mean and a spread."""
    sums = {block.name: np.zeros(block.dims) for block in layout_of(spec).blocks}
    for model, mean in means.items():
        sums[f"public/{model}/count"] = np.array([clips, 0.0])
        sums[f"public/{model}/temporal-flickering@1/moments"] = clips * np.array([mean, mean**2 + spread**2])
        sums[f"public/{model}/temporal-flickering@1/histogram"][0] = clips
    return sums


@pytest.mark.parametrize(("clips", "few"), [(2, True), (7, True), (8, False)])
def test_few_clips_tell_no_models_apart_and_the_result_says_so(clips: int, few: bool) -> None:
    spec = make_spec([FLICKERING])
    found = evaluate(spec, scored(spec, clips, {"alpha": 0.2, "beta": 0.8}), None)
    words = f"too few clips to tell models apart: {clips}, at least 8 are needed"
    for item in found.results:
        assert item.grade == "exact"
        assert item.value is not None
        assert item.reason == (words if few else None)
        assert item.ranks == ((1, 2) if few else (1, 1) if item.model == "beta" else (2, 2))
    assert found.not_apart["temporal-flickering@1", "public"] == ((("alpha", "beta"),) if few else ())


def test_few_reference_clips_tell_no_models_apart() -> None:
    spec = make_spec([KERNEL], dimension=DIMENSION)
    for references, words in (
        (14, "too few reference clips to tell models apart: 14, at least 15 are needed"),
        (15, None),
    ):
        found = evaluate(spec, site(spec, 1, references, 40), None)
        assert [item.reason for item in found.results] == [words, words]


def test_what_is_withheld_makes_no_other_pair_easier_to_tell_apart() -> None:
    """Without reference clips there is no distance; its pair was planned all the same."""
    means = {"alpha": 0.5, "beta": 0.5 + 2.1 * 0.01 * math.sqrt(2 / 99)}
    alone, two = make_spec([FLICKERING]), make_spec([FLICKERING, FRECHET | {"limit": "2"}], dimension=DIMENSION)
    key = "temporal-flickering@1", "public"
    assert evaluate(alone, scored(alone, 100, means), None).not_apart[key] == ()
    found = evaluate(two, scored(two, 100, means), None)
    assert result(found, "frechet-videomae@1", "alpha").grade == "unavailable"
    assert found.not_apart[key] == (("alpha", "beta"),)


def test_statistics_of_another_spec_are_refused() -> None:
    with pytest.raises(StatisticError):
        evaluate(PRIVATE, site(PUBLIC, 1, 3, 3), None)


def test_evaluation_is_the_same_for_everybody() -> None:
    statistics = site(PUBLIC, 1, 30, 4)
    assert canonical_json(evaluate(PUBLIC, statistics, None).to_json()) == canonical_json(
        evaluate(PUBLIC, {name: statistics[name] for name in reversed(statistics)}, None).to_json()
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1234567, "0.123457"), (0.0, "0"), (-0.0, "0"), (1234567.8, "1234570"), (1e-9, "1e-9"), (-2.5, "-2.5")],
)
def test_published_reals_have_six_significant_digits(value: float, text: str) -> None:
    assert rounded(value) == text
