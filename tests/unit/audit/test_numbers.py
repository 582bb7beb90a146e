"""V40 to V43, each asked by itself: a total, a figure, a cost or a cohort that is wrong in one place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from numpy.typing import NDArray

from testkit.evidence import but_for, found, golden_evidence, refused, with_result
from vdb_shared.audit.checks import numbers
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.figures import accounting_json
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.audit.report import Status
from vdb_shared.bundle.record import ACCOUNTING, METRICS
from vdb_shared.canonical import canonical_json, parse_canonical_json
from vdb_shared.errors import VerificationError
from vdb_shared.metrics.statistic import Layout

COUNT, HISTOGRAM = "public/tiny-a/count", "public/tiny-a/temporal-flickering@1/histogram"
MOMENTS, EMBEDDING = "public/tiny-a/temporal-flickering@1/moments", "public/tiny-a/mmd-rff@1/embedding"
NOISED = "reference/clips/count"
UNIT = 2**33
"""Of a public lane in the golden sessions."""


@pytest.fixture
def evidence() -> Evidence:
    """Four of five institutions are in the sum; each of two models made 8 public clips."""
    return golden_evidence("dropout")


def with_lanes(evidence: Evidence, lanes: Mapping[str, Sequence[int]]) -> Evidence:
    """Return evidence whose total begins every one of these blocks otherwise."""
    totals: NDArray[np.int64] = evidence.totals.copy()
    for name, values in lanes.items():
        totals[evidence.terms.layout.slice_of(name)][: len(values)] = values
    return but_for(evidence, totals=totals)


def histogram(evidence: Evidence, *changes: int) -> list[int]:
    """Return the lanes of the first model's histogram with these added to the fullest bins, in clips."""
    lanes = evidence.totals[evidence.terms.layout.slice_of(HISTOGRAM)].copy()
    lanes[np.argsort(lanes)[::-1][: len(changes)]] += np.array(changes, dtype=np.int64) * UNIT
    return [int(lane) for lane in lanes]


def counting(evidence: Evidence, made: int, failed: int = 0) -> Evidence:
    """Return evidence whose total has so many clips of the first model, plausible but for their number."""
    lanes = evidence.totals[evidence.terms.layout.slice_of(MOMENTS)] * made // 8
    blocks = {COUNT: [made * UNIT, failed * UNIT], HISTOGRAM: histogram(evidence, made - 8), MOMENTS: list(lanes)}
    return with_lanes(evidence, blocks)


def declaring(evidence: Evidence, made: int, failed: int) -> Evidence:
    """Return evidence in which lab-kyoto declares to have made so many public clips."""
    mine = evidence.contributions["lab-kyoto"]
    manifest = mine.manifest.model_copy(update={"public_clips_made": made, "public_clips_failed": failed})
    changed = mine.model_copy(update={"manifest": manifest})
    return but_for(evidence, contributions={**evidence.contributions, "lab-kyoto": changed})


def reach(evidence: Evidence, *, noised: bool = True) -> int:
    """Return the largest lane of one institution's clips and noise, times the survivors (protos/README.md §8.1)."""
    scale = evidence.terms.calibration.block_scales(evidence.terms.layout)[NOISED]
    return 4 * (math.ceil(scale * 10_000) + 2 + (12 * 2**20 if noised else 0))


def test_the_total_of_a_session_is_plausible(evidence: Evidence) -> None:
    assert found("V40", evidence).status is Status.PASS
    assert found("V40", declaring(counting(evidence, 7, 1), 3, 1)).status is Status.PASS


@pytest.mark.parametrize("sign", [1, -1])
def test_a_noised_lane_goes_as_far_as_clips_and_noise_of_all_survivors(evidence: Evidence, sign: int) -> None:
    most = reach(evidence)
    found("V40", with_lanes(evidence, {NOISED: [sign * most]}))
    reason = refused("V40", with_lanes(evidence, {NOISED: [sign * (most + 1)]}))
    assert reason == f"a lane of {NOISED} holds {most + 1}, beyond the {most} that is possible."


def test_without_noise_no_room_is_left_for_it(evidence: Evidence) -> None:
    block, quiet = evidence.terms.layout.blocks[0], replace(evidence.terms.calibration, scale=None)
    assert block.name == NOISED
    scale = evidence.terms.calibration.block_scales(evidence.terms.layout)[NOISED]
    most = reach(evidence, noised=False)
    numbers._check_reach(block, np.array([most]), scale, quiet, 4)
    with pytest.raises(VerificationError, match=f"beyond the {most} that"):
        numbers._check_reach(block, np.array([most + 1]), scale, quiet, 4)


@pytest.mark.parametrize(
    ("name", "lanes", "reason"),
    [
        (COUNT, [8 * UNIT + 1], f"{COUNT}: a count is not a whole number."),
        (COUNT, [8 * UNIT, UNIT >> 1], f"{COUNT}: a count is not a whole number."),
        (COUNT, [-UNIT], f"{COUNT}: a count is negative."),
        (COUNT, [8 * UNIT, -1], f"{COUNT}: a count is negative."),
        (MOMENTS, [6 * UNIT, 4 * UNIT], f"{MOMENTS}: no 8 scores between 0 and 1 have sum 6 and sum of squares 4."),
        (EMBEDDING, [8 * UNIT, UNIT] + [0] * 6, f"{EMBEDDING}: has norm 8.06226, but 8 clips reach at most 8."),
    ],
)
def test_a_block_that_no_clips_add_up_to(evidence: Evidence, name: str, lanes: list[int], reason: str) -> None:
    assert refused("V40", with_lanes(evidence, {name: lanes})) == reason


def test_a_block_may_reach_its_bound(evidence: Evidence) -> None:
    found("V40", with_lanes(evidence, {EMBEDDING: [8 * UNIT] + [0] * 7}))


def test_bins_of_a_histogram_are_counts_that_add_up_to_the_clips(evidence: Evidence) -> None:
    crooked = histogram(evidence)
    crooked[0], crooked[1] = 1, UNIT - 1
    assert refused("V40", with_lanes(evidence, {HISTOGRAM: crooked})) == f"{HISTOGRAM}: a count is not a whole number."
    negative = histogram(evidence)
    negative[0], negative[1] = -UNIT, UNIT
    assert refused("V40", with_lanes(evidence, {HISTOGRAM: negative})) == f"{HISTOGRAM}: a count is negative."
    assert refused("V40", with_lanes(evidence, {HISTOGRAM: histogram(evidence, -1)})) == (
        f"sum of {HISTOGRAM}: expected {8 * UNIT}, found {7 * UNIT}."
    )


@pytest.mark.parametrize(("made", "failed"), [(9, 0), (8, 1)])
def test_survivors_make_no_more_clips_than_their_share(evidence: Evidence, made: int, failed: int) -> None:
    assert refused("V40", counting(evidence, made, failed)) == (
        "tiny-a: 9 public clips are counted, the survivors' share is 8."
    )


def test_a_share_is_that_of_the_model_and_of_who_is_in_the_sum(evidence: Evidence) -> None:
    """Nine clips of each model go round five institutions; the second model's begin where the first one's end."""
    generation = evidence.spec.generation.model_copy(update={"samples": 9})
    spec = evidence.spec.model_copy(update={"prompts": evidence.spec.prompts[:1], "generation": generation})
    # Seat 2 is not in the sum: it has the tasks 2 and 7 of the first model, 12 and 17 of the second.
    assert refused("V40", but_for(evidence, spec=spec)).startswith("tiny-a: 8 public clips are counted")
    assert refused("V40", but_for(counting(evidence, 7), spec=spec)) == (
        "tiny-b: 8 public clips are counted, the survivors' share is 7."
    )


def test_survivors_declare_what_they_made(evidence: Evidence) -> None:
    assert refused("V40", declaring(evidence, 5, 0)) == "public clips declared: expected 16, found 17."
    assert refused("V40", counting(evidence, 7)) == "public clips declared: expected 15, found 16."
    assert refused("V40", declaring(counting(evidence, 7, 1), 3, 0)) == (
        "failed public clips declared: expected 1, found 0."
    )
    assert refused("V40", declaring(evidence, 4, 2)) == "failed public clips declared: expected 0, found 2."


def test_public_clips_of_a_spec_without_any_are_not_counted(evidence: Evidence) -> None:
    private = tuple(metric for metric in evidence.spec.metrics if metric.inputs == "private")
    spec = evidence.spec.model_copy(update={"metrics": private})
    assert found("V40", but_for(declaring(evidence, 9, 9), spec=spec)).status is Status.PASS


def with_member(evidence: Evidence, name: str, data: bytes) -> Evidence:
    return but_for(evidence, members={**evidence.members, name: data})


def test_a_figure_that_does_not_follow_is_shown_beside_the_one_that_does(evidence: Evidence) -> None:
    honest = evidence.members[METRICS]
    place = honest.index(b'"value":"') + 9
    forged = honest[:place] + b"7" + honest[place + 1 :]
    reason = refused("V41", with_member(evidence, METRICS, forged))
    assert reason == numbers._first_difference(honest, forged)
    assert reason.startswith(f"near byte {place}: expected …")


def test_what_is_said_of_clips_made_twice_is_computed_from_the_contributions(evidence: Evidence) -> None:
    refused("V41", but_for(evidence, checked=None))


def test_the_noise_of_the_figures_is_that_of_the_survivors(evidence: Evidence) -> None:
    refused("V41", but_for(evidence, survivors=(0, 1, 2, 3, 4)))


def with_privacy(evidence: Evidence, **fields: object) -> Evidence:
    privacy = evidence.spec.privacy.model_copy(update=fields)
    return but_for(evidence, spec=evidence.spec.model_copy(update={"privacy": privacy}))


def test_a_result_without_noise_is_not_private(evidence: Evidence) -> None:
    reason = refused("V42", with_privacy(evidence, mechanism="none"))
    assert reason == "The result is not private: no noise was added. Such sessions exist for tests only."
    assert refused("V42", with_result(evidence, private=False)) == (
        "privacy claimed by the result: expected True, found False."
    )


def test_the_cost_to_privacy_follows_from_what_was_agreed(evidence: Evidence) -> None:
    honest = evidence.members[ACCOUNTING]
    forged = honest.replace(b'"epsilon_zcdp":"7', b'"epsilon_zcdp":"6')
    assert forged != honest
    assert refused("V42", with_member(evidence, ACCOUNTING, forged)) == numbers._first_difference(honest, forged)
    assert found("V42", with_privacy(evidence, epsilon=Decimal(3), delta=Decimal("0.25"))).sentence == (
        "The cost to privacy was computed again: anyone's single record is protected by (ε, δ) = (3, 0.25) differential "
        "privacy, whichever 4 or more institutions finished, and even if 1 of them added no noise."
    )


def test_what_is_public_alone_costs_nothing(evidence: Evidence) -> None:
    terms = evidence.terms
    public = replace(terms, layout=Layout(tuple(block for block in terms.layout.blocks if not block.private)))
    assert accounting_json(public) == evidence.members[ACCOUNTING]
    sentence = found("V42", but_for(evidence, terms=public)).sentence
    assert sentence == "Nothing private entered the result, so it costs no privacy."


def cohort(evidence: Evidence, sealed: int, policy: int, survivors: int) -> Evidence:
    """Return evidence of a cohort of so many, where seal and policy demand at least so many."""
    return but_for(
        evidence,
        seal=evidence.seal.model_copy(update={"smallest_cohort": sealed}),
        policy=DEFAULT_POLICY.model_copy(update={"minimum_cohort": policy}),
        survivors=tuple(range(survivors)),
    )


@pytest.mark.parametrize(("sealed", "policy"), [(4, 3), (3, 4), (4, 4)])
def test_the_cohort_is_as_large_as_seal_and_policy_demand(evidence: Evidence, sealed: int, policy: int) -> None:
    assert found("V43", cohort(evidence, sealed, policy, 4)).sentence == (
        "4 institutions are in the sum, at least 4 are demanded. No figure had to be withheld."
    )
    reason = refused("V43", cohort(evidence, sealed, policy, 3))
    assert reason == "3 institutions are in the sum, at least 4 are demanded."


@pytest.mark.parametrize("withheld", [1, 2])
def test_figures_without_a_value_are_counted(evidence: Evidence, withheld: int) -> None:
    figures = parse_canonical_json(evidence.members[METRICS])
    for result in figures["results"]:
        result["value"] = "0.5"
    for result in figures["results"][:withheld]:
        result["value"] = None
    total = len(figures["results"])
    assert found("V43", with_member(evidence, METRICS, canonical_json(figures))).sentence.endswith(
        f"Of {total} figures, {withheld} would mean nothing and stay unpublished, with the reason."
    )
