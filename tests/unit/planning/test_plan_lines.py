"""How a plan looks in a terminal: within its width, with every figure, and saying what it takes for granted."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from functools import cache

import pytest

from testkit.metric_specs import CLIP_SCORE, FRECHET, KERNEL, LATENCY, make_spec
from vdb_coordinator.commands.plan_lines import plan_lines
from vdb_shared.planning.assumptions import assume
from vdb_shared.planning.guess import default_guesses
from vdb_shared.planning.plan import Plan, plan_session
from vdb_shared.planning.whatif import PROPOSED_WEIGHTS, Change
from vdb_shared.planning.words import about, facts, number, ratio_words

LONG = "a-model-whose-name-is-as-long-as-names-can-be-for-once-and-so-on"
SPEC = make_spec(
    [KERNEL, {**FRECHET, "inputs": "private"}, LATENCY, {**CLIP_SCORE, "inputs": "private"}],
    models=["alpha", LONG],
    generation={"private_share": "1"},
    privacy={"maximum_records": 60},
)


@cache
def plan() -> Plan:
    return plan_session(SPEC, assume(SPEC, participants=5), default_guesses(SPEC), sessions=1)


def cohort(dropout: str, records: int) -> str:
    spec = make_spec([LATENCY], privacy={"maximum_records": 60})
    assumed = assume(spec, participants=5, dropout=Decimal(dropout), records=records)
    return dict(facts(plan_session(spec, assumed, default_guesses(spec), sessions=1)))["Cohort"]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_every_line_fits_the_terminal(width: int) -> None:
    lines = list(plan_lines(plan(), width))
    assert max(len(line) for line in lines if LONG not in line) <= width
    assert all(len(line) <= width or line.split() == [LONG] for line in lines)
    assert not any(line.endswith(" ") or "\u2026" in line for line in lines)


def test_a_narrower_terminal_gets_the_lines_of_sixty_columns() -> None:
    assert list(plan_lines(plan(), 20)) == list(plan_lines(plan(), 60))


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_off(width: int) -> None:
    words = " ".join(" ".join(plan_lines(plan(), width)).split())
    for name, told in facts(plan()):
        assert f"{name} {told}" in words
    for item in plan().expected:
        if item.half_width is not None:
            assert f"{number(item.value)} ± {number(item.half_width)} {item.grade}" in words
    squeezed = words.replace(" ", "")
    for other in plan().what_ifs:
        for change in other.changes.values():
            assert ratio_words(change).split()[-1] in squeezed
    assert "unavailable:noise" in squeezed


def test_the_table_of_other_sessions_stands_in_columns() -> None:
    lines = list(plan_lines(plan(), 80))
    rows = [line for line in lines if re.match(r"(latency@1 public|clip-score@1 private) ", line)]
    ends = [[found.end() for found in re.finditer(r"\S+(?= |$)", line[28:]) if found.group() != "×"] for line in rows]
    assert len(rows) == 2
    assert ends[0] == ends[1]


def test_the_cohort_says_in_what_it_is_the_best_case() -> None:
    assert cohort("0", 60).endswith(
        "This is the best case: as many clips as the spec admits (--records), as many prompts (--prompts), "
        "nobody drops out (--dropout)"
    )
    assert "best case" not in cohort("0.2", 50)
    assert cohort("0.2", 60).count("--") == 2


def test_differences_are_told_as_well_as_they_are_known() -> None:
    assert [about(value) for value in (0.068712, 124.0, 1.0, 7.049)] == ["0.069", "120", "1", "7"]
    told = [line for line in plan_lines(plan(), 400) if line.startswith("Differences from which models are told apart")]
    assert len(told) == 1
    assert "they may rise a little where they should fall" in told[0]


def test_a_weight_says_on_which_inputs_it_counts() -> None:
    text = " ".join(" ".join(plan_lines(plan(), 80)).split())
    assert "weight of clip-score@1 private doubled:" in text
    assert "clip-score@1 private: weight = " in text


def test_a_proposal_says_which_metrics_it_would_withhold() -> None:
    told, key = plan(), ("clip-score@1", "private")
    assert "would be unavailable" not in " ".join(plan_lines(told, 400))
    proposed = next(item for item in told.what_ifs if item.name == PROPOSED_WEIGHTS)
    withheld = replace(proposed, changes={**proposed.changes, key: Change(None, "unavailable")})
    others = [item for item in told.what_ifs if item is not proposed]
    lines = list(plan_lines(replace(told, what_ifs=(*others, withheld)), 400))
    assert any(line.strip().startswith("With them clip-score@1 private would be unavailable") for line in lines)
