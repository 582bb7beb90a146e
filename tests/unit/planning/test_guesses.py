"""Guesses: every metric has one, files are read strictly, and an earlier result gives back what it was made of."""

from __future__ import annotations

import re
from dataclasses import asdict

import numpy as np
import pytest

from testkit.bundles import sample_bundle
from testkit.metric_specs import CLIP_SCORE, FRECHET, LATENCY, make_spec
from testkit.ratings import PREFERENCE
from testkit.small_specs import small_spec
from vdb_shared.errors import UsageError
from vdb_shared.metrics.catalogue import CATALOGUE
from vdb_shared.metrics.finishes import FINISHES
from vdb_shared.planning.assumptions import assume, scenario_of
from vdb_shared.planning.guess import (
    ScoreGuess,
    checked_guess,
    default_guesses,
    in_units,
    kind_of,
)
from vdb_shared.planning.guess_file import parse_guesses, template
from vdb_shared.planning.like import guesses_like, read_bundle, seconds_like
from vdb_shared.planning.population import draw_session, population_of
from vdb_shared.text_files import utf8_text

HEAD = 'version = "vdb-guess/1"\n'
ONE = HEAD + '[[metrics]]\nid = "{}"\n{}\n'
SPEC = make_spec([CLIP_SCORE, LATENCY, {**CLIP_SCORE, "inputs": "private"}, FRECHET], generation={"private_share": "1"})
SHAPES = {"limit": "10", "features": 8, "bandwidth": "1"}


@pytest.mark.parametrize("finish", [name for name, finish in FINISHES.items() if not finish.of_ratings])
def test_every_metric_can_be_guessed_and_drawn(finish: str) -> None:
    definition = next(item for item in CATALOGUE.values() if item.finish == finish)
    settings = {name: SHAPES[name] for name, use in definition.uses.items() if use == "required"}
    extractors = [
        {"id": "some", "architecture": architecture, "manifest": "sha256:" + "b" * 64, "dimension": 16}
        for architecture in definition.architectures[:1]
    ]
    metric = {"id": definition.id, "inputs": "public", **settings} | ({"extractor": "some"} if extractors else {})
    spec = make_spec([metric], extractors=extractors, video={"frames": 17})
    scenario = scenario_of(spec, assume(spec))
    guesses = default_guesses(spec)
    assert checked_guess(guesses[definition.id, "public"]) == guesses[definition.id, "public"]
    scenario.layout.check(draw_session(scenario, population_of(spec, guesses), scenario.noise, 0))


def test_sums_have_the_mean_and_deviation_that_is_guessed() -> None:
    spec = make_spec([CLIP_SCORE], models=["alpha"], generation={"samples": 64})
    scenario = scenario_of(spec, assume(spec))
    guesses = {("clip-score@1", "public"): ScoreGuess(0.3, 0.05, 0.0)}
    drawn = [draw_session(scenario, population_of(spec, guesses), scenario.noise, number) for number in range(20)]
    moments = np.sum([item["public/alpha/clip-score@1/moments"] for item in drawn], axis=0) / (20 * 256)
    assert moments[0] == pytest.approx(0.3, abs=0.003)
    assert (moments[1] - moments[0] ** 2) ** 0.5 == pytest.approx(0.05, rel=0.05)


def test_draws_are_the_same_every_time_and_differ_from_each_other() -> None:
    scenario = scenario_of(SPEC, assume(SPEC))
    population = population_of(SPEC, default_guesses(SPEC))
    first, again, second = (draw_session(scenario, population, scenario.noise, number) for number in (3, 3, 4))
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != second[name]).any() for name in first)


def test_a_template_says_what_is_guessed_anyway() -> None:
    guesses = default_guesses(SPEC)
    assert parse_guesses(template(SPEC, guesses), SPEC, guesses) == pytest.approx(guesses)


def test_a_file_speaks_in_the_units_of_the_metric() -> None:
    text = HEAD + '[[metrics]]\nid = "clip-score@1"\ninputs = "private"\nmean = 27\ndeviation = 3.5\n'
    found = parse_guesses(text, SPEC, default_guesses(SPEC))
    assert asdict(found["clip-score@1", "private"]) == pytest.approx({"mean": 0.27, "deviation": 0.035, "apart": 0.02})
    assert found["clip-score@1", "public"] == default_guesses(SPEC)["clip-score@1", "public"]
    metric = next(metric for metric in SPEC.metrics if metric.inputs == "private")
    assert in_units(metric, found["clip-score@1", "private"])["mean"] == pytest.approx(27)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version = 1", 'g.toml:1: version: expected version = "vdb-guess/1" in the first line'),
        ("version =", "g.toml: not TOML: Invalid value (at end of document)"),
        (HEAD, "g.toml: metrics: expected [[metrics]] tables"),
        (HEAD + "metrics = 3\n", "g.toml:2: metrics: expected [[metrics]] tables"),
        (HEAD + "metrics = [3]\n", "g.toml:2: metrics.0: expected [[metrics]] tables"),
        (HEAD + "more = 3\nmetrics = []\n", "g.toml:2: more: is no field of a guess file"),
        (
            HEAD + "[[metrics]]\nmean = 3\n",
            "g.toml:2: metrics.0.id: expected the id of a metric of the spec: clip-score@1",
        ),
        (
            ONE.format("clip-scor@1", ""),
            "g.toml:3: metrics.0.id: the spec has no clip-scor@1; it has clip-score@1 (public), ",
        ),
        (
            ONE.format("latency@1", 'inputs = "private"'),
            "g.toml:3: metrics.0.id: the spec has no latency@1 on private prompts",
        ),
        (
            ONE.format("latency@1", 'inputs = "both"'),
            'g.toml:4: metrics.0.inputs: expected "public" or "private", found "both"',
        ),
        (
            ONE.format("latency@1", "rate = 0.5"),
            "g.toml:4: metrics.0.rate: is not guessed of latency@1; of it are mean, deviation",
        ),
        (ONE.format("latency@1", "mean = 40"), "g.toml:4: metrics.0.mean: expected 0 to 30 (s), found 40"),
        (ONE.format("latency@1", "mean = -1"), "g.toml:4: metrics.0.mean: expected 0 to 30 (s), found -1"),
        (
            ONE.format("latency@1", "deviation = 16"),
            "g.toml:4: metrics.0.deviation: expected 3e-05 to 15 (s), found 16",
        ),
        (
            ONE.format("latency@1", "mean = 29\ndeviation = 15"),
            "g.toml:5: metrics.0.deviation: scores of mean 29 deviate by less than 5.38516 (s), found 15",
        ),
        (ONE.format("latency@1", "mean = 29.9"), "g.toml:4: metrics.0.mean: scores of mean 29.9 deviate by less than"),
        (ONE.format("latency@1", 'mean = "x"'), 'g.toml:4: metrics.0.mean: expected a number, found "x"'),
        (ONE.format("latency@1", "mean = true"), "g.toml:4: metrics.0.mean: expected a number, found true"),
        (ONE.format("latency@1", "mean = nan"), "g.toml:4: metrics.0.mean: expected 0 to 30 (s), found nan"),
        (
            ONE.format("latency@1", "middle = 3"),
            "g.toml:4: metrics.0.middle: is no field of any guess; --guess-template",
        ),
        (ONE.format("frechet-videomae@1", "centre = 1"), "g.toml:4: metrics.0.centre: expected 0 to 0.999999, found 1"),
    ],
)
def test_mistakes_in_a_file_are_told_with_their_field(text: str, problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_guesses(text, SPEC, default_guesses(SPEC), file="g.toml")
    assert str(refused.value).startswith(problem)
    assert "\n" not in str(refused.value)


def test_nothing_is_guessed_of_ratings() -> None:
    spec = make_spec([PREFERENCE, CLIP_SCORE])
    guesses = default_guesses(spec)
    assert "preference-bt@1" not in template(spec, guesses)
    with pytest.raises(UsageError, match=r"g\.toml:3: metrics\.0\.id: preference-bt@1 is of people's ratings"):
        parse_guesses(ONE.format("preference-bt@1", "mean = 1"), spec, guesses, file="g.toml")


def test_bytes_that_are_no_text_are_told_with_their_line() -> None:
    with pytest.raises(
        UsageError, match=re.escape("g.toml: is not UTF-8 text (byte 0xe9 on line 2); save it as UTF-8")
    ):
        utf8_text(HEAD.encode() + "# caf\u00e9\n".encode("latin-1"), file="g.toml")


def test_an_earlier_result_gives_its_own_figures_as_the_guess() -> None:
    earlier = read_bundle(sample_bundle(), file="result.vdbb")
    spec = small_spec()
    guesses, silent = guesses_like(earlier, spec, default_guesses(spec))
    assert silent == ("frechet-videomae@1 on public inputs",), "a coarse distance publishes no value"
    for metric in spec.metrics:
        guess = guesses[metric.id, metric.inputs]
        if isinstance(guess, ScoreGuess):
            low, high = (-1, 1) if metric.id == "clip-temp@1" else (0, 100 if metric.id == "clip-score@1" else 1)
            values = [
                (item.value - low) / (high - low)
                for item in earlier.evaluation.results
                if (item.metric, item.inputs) == (metric.id, metric.inputs) and item.value is not None
            ]
            assert guess.mean == pytest.approx(sum(values) / len(values))
            drowned = default_guesses(spec)[metric.id, metric.inputs]
            assert isinstance(drowned, ScoreGuess)
            drawn_with = 0.05 if metric.inputs == "public" else drowned.deviation
            assert guess.deviation == pytest.approx(drawn_with, rel=0.3)
    assert kind_of(CATALOGUE["frechet-videomae@1"]) == "frechet"
    assert seconds_like(earlier) == {}


def test_an_earlier_result_says_which_metrics_it_knows_nothing_of() -> None:
    guesses, silent = guesses_like(read_bundle(sample_bundle(), file="r"), SPEC, default_guesses(SPEC))
    assert silent == ("latency@1 on public inputs", "frechet-videomae@1 on public inputs")
    assert guesses["latency@1", "public"] == default_guesses(SPEC)["latency@1", "public"]


def test_no_bundle_is_told_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"r\.vdbb: cannot be read as a result bundle: "):
        read_bundle(b"nothing", file="r.vdbb")
