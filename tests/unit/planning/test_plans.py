"""Whole plans: what other sessions would give, what is told, and how it looks."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from decimal import Decimal
from functools import cache

import pytest

from testkit.metric_specs import CLIP_SCORE, FLICKERING, FRECHET, edited, make_spec
from testkit.pages import broken_names, check_fits_screens, check_may_be_passed_on, check_speaks, outline
from testkit.ratings import PREFERENCE, rated_spec
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import PrivacyError, UsageError
from vdb_shared.planning.assumptions import assume, scenario_of
from vdb_shared.planning.document import plan_json
from vdb_shared.planning.guess import default_guesses
from vdb_shared.planning.page import plan_page, plan_picture
from vdb_shared.planning.plan import Plan, effort_of, plan_session
from vdb_shared.planning.words import facts, what_a_metric_tells
from vdb_shared.spec import Spec

SPEC = make_spec(
    [FRECHET, {**FRECHET, "inputs": "private"}, FLICKERING, {**CLIP_SCORE, "inputs": "private"}],
    models=["alpha", "beta"],
    generation={"private_share": "1", "samples": 1},
    privacy={"maximum_records": 400, "epsilon": "32"},
)


def planned(spec: Spec, **seconds: float) -> Plan:
    assumed = assume(spec, participants=4)
    return plan_session(spec, assumed, default_guesses(spec), sources=("a <guess>",), seconds=seconds, sessions=9)


@cache
def plan() -> Plan:
    return planned(SPEC, alpha=30.0, beta=60.0)


def ratio(name: str, metric: str, inputs: str) -> float:
    found = next(item for item in plan().what_ifs if item.name == name).changes[metric, inputs].ratio
    assert found is not None
    return found


def test_more_records_and_a_larger_epsilon_sharpen_what_is_noised_and_nothing_else() -> None:
    for name, most in (("twice the records", 0.8), ("twice the epsilon", 0.98)):
        # but for the grid of sums, which follows from the number of records
        assert ratio(name, "temporal-flickering@1", "public") == pytest.approx(1.0, rel=1e-6)
        assert ratio(name, "clip-score@1", "private") < most
        assert ratio(name, "frechet-videomae@1", "private") < most


def test_public_prompts_are_better_than_private_ones() -> None:
    """Only the reference side is noised then: for a distance the plan says what that gains."""
    assert ratio("private prompts made public", "frechet-videomae@1", "private") < 0.95
    assert ratio("private prompts made public", "clip-score@1", "private") < 0.95


def test_what_is_not_possible_is_said_and_does_not_end_the_plan() -> None:
    spec = make_spec([FRECHET], privacy={"maximum_records": 1000, "epsilon": "40", "delta": "0.00002"})
    found = planned(spec)
    problems = {item.name: item.problem for item in found.what_ifs}
    assert "privacy.delta" in str(problems["twice the records"])
    assert "at most 64" in str(problems["twice the epsilon"])
    assert problems["proposed weights"] is None


def test_a_plan_costs_a_record_what_the_spec_promises() -> None:
    accounting = plan().accounting
    assert accounting.epsilon is not None
    assert Decimal("31.9") < accounting.epsilon <= Decimal(32)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"participants": 3}, "participants: the spec asks for 4 to"),
        ({"participants": 70_000}, "participants: the spec asks for 4 to"),
        ({"records": 401}, "records: the spec's privacy.maximum_records admits 1 to 400"),
        ({"records": 0}, "records:"),
        ({"prompts": 500}, "prompts:"),
        ({"dropout": Decimal(1)}, "dropout: expected a share"),
        ({"dropout": Decimal("-0.1")}, "dropout: expected a share"),
        (
            {"participants": 8, "dropout": Decimal("0.5")},
            "dropout: 4 of 8 institutions would be left; the session needs",
        ),
    ],
)
def test_assumptions_that_no_session_can_have_are_refused(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        scenario_of(SPEC, assume(SPEC, **changes))  # type: ignore[arg-type]  # one of several keywords
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_promise_that_cannot_be_kept_is_refused_as_everywhere() -> None:
    with pytest.raises(PrivacyError, match=r"privacy\.delta"):
        scenario_of(SPEC, assume(SPEC, participants=300))


def test_the_json_form_is_canonical_and_whole() -> None:
    found = json.loads(canonical_json(plan_json(plan())))
    assert [(item["metric"], item["inputs"]) for item in found["metrics"]] == [
        (metric.id, metric.inputs) for metric in SPEC.metrics
    ]
    for item in found["metrics"]:
        assert [model["model"] for model in item["models"]] == ["alpha", "beta"]
        assert (item["tau"] is None) == (item["metric"] != "frechet-videomae@1")
    frechet = found["metrics"][0]
    assert float(frechet["tau"]) == pytest.approx(float(frechet["noise"]) / 2**0.5, rel=1e-5)
    assert set(found["proposed_weights"]["weights"]) == {"frechet-videomae@1", "clip-score@1"}
    assert float(found["proposed_weights"]["after"]) <= float(found["proposed_weights"]["before"]) * 1.01
    assert found["work"]["hours"] is not None
    assert found == json.loads(canonical_json(plan_json(planned(SPEC, alpha=30.0, beta=60.0))))


def test_the_page_is_well_formed_and_self_contained() -> None:
    page = plan_page(plan())
    parsed = outline(page)
    assert "a <guess>" in parsed.text
    for metric in SPEC.metrics:
        assert metric.id in parsed.text
    for name, words in facts(plan()):
        assert name in parsed.text
        assert words in parsed.text
    assert not {tag for tag, _ in parsed.tags} & {"script", "img", "link", "iframe"}
    assert "http" not in page.replace("http-equiv", "")
    check_fits_screens(page)
    check_speaks(page)
    check_may_be_passed_on(page)
    assert broken_names(page, {"--records", "--prompts", "--dropout"}) == []


def test_the_picture_is_xml_with_a_bar_for_every_interval() -> None:
    root = ET.fromstring(plan_picture(plan()))  # noqa: S314 - made here
    circles = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(circles) == sum(item.half_width is not None for item in plan().expected) > 0
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_words_name_what_is_unknown() -> None:
    found = dict(facts(planned(make_spec([FLICKERING]))))
    assert found["GPU-hours"] == "unknown: give --seconds-per-clip MODEL=SECONDS for alpha, beta"
    assert found["Privacy"].startswith("no private record")
    assert dict(facts(plan()))["GPU-hours"].endswith("at each institution")


def test_a_withheld_metric_says_what_it_needs() -> None:
    spec = make_spec([FRECHET], privacy={"maximum_records": 50})
    found = planned(spec)
    assert found.expected[0].grade == "unavailable"
    assert found.expected[0].half_width is None
    need = found.outlooks[0].need
    assert need is not None
    assert f"from {need.records} records of each institution or epsilon" in what_a_metric_tells(found.outlooks[0])
    reason = found.expected[0].reason
    assert reason is not None
    assert reason.endswith("is published)"), "two answers to one question: how many records are needed"
    assert "unavailable" in plan_page(found)
    assert plan_picture(found).startswith("<svg")


def test_dear_specs_are_planned_with_fewer_draws() -> None:
    small, large = make_spec([FRECHET], dimension=16), make_spec([FRECHET], dimension=512)
    assert effort_of(small).sessions > effort_of(large).sessions
    assert effort_of(small).compared
    assert not effort_of(make_spec([FRECHET], dimension=4096)).compared


RATED = make_spec(
    [PREFERENCE, FLICKERING, {**CLIP_SCORE, "inputs": "private"}],
    models=["alpha", "beta", "gamma"],
    generation={"private_share": "1"},
    privacy={"maximum_records": 400},
)


def test_metrics_of_ratings_are_reckoned_with_and_not_foretold() -> None:
    """Their blocks take part of the budget, so that the intervals of the others are longer than without them."""
    without = edited(RATED, lambda values: values["metrics"].pop(0))
    found, other = planned(RATED), planned(without)
    assert [outlook.metric.id for outlook in found.outlooks] == ["temporal-flickering@1", "clip-score@1"]
    lengths = [item.half_width for item in found.of(("clip-score@1", "private"))]
    shorter = [item.half_width for item in other.of(("clip-score@1", "private"))]
    assert all(more > less for more, less in zip(lengths, shorter, strict=True) if more and less)
    assert found.scenario.layout.lanes == other.scenario.layout.lanes + 6
    assert dict(facts(found))["Of ratings"].startswith("preference-bt@1: nothing is foretold")
    assert "Of ratings" not in dict(facts(other))
    assert json.loads(canonical_json(plan_json(found)))["of_ratings"] == ["preference-bt@1"]
    assert "preference-bt@1" in plan_page(found)


def test_ratings_alone_are_not_planned() -> None:
    with pytest.raises(
        UsageError, match=r"all of them \(preference-bt@1, human-correlation@1\) are of people's ratings"
    ):
        assume(rated_spec(), participants=4)
