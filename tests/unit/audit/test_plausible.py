"""V40 at its edges: what some clips add up to passes, and the next total that no clips add up to fails.

The checks of single blocks are tried by themselves; an aggregate that commitments open to and that is off by so little takes an
institution that lies, which test_forgery tells.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.golden import golden_session
from vdb_shared.audit.checks import numbers
from vdb_shared.errors import VerificationError
from vdb_shared.metrics.features import score_moments
from vdb_shared.metrics.statistic import Block
from vdb_shared.wording import counted

MOMENTS = Block("public/m/score@1/moments", 2, 2, private=False)
EMBEDDING = Block("public/m/kernel@1/embedding", 3, 4, private=False)
NAMED_PAIR = Block("public/m/pair@1/cells", 2, 2, private=False)
SLACK = 1e-6


def exact(block: Block, values: Sequence[float], clips: float) -> None:
    numbers._check_exact(block, np.array(values, dtype=np.float64), clips)


def refused(block: Block, values: Sequence[float], clips: float) -> str:
    with pytest.raises(VerificationError) as caught:
        exact(block, values, clips)
    assert caught.value.check == "V40"
    return caught.value.reason


@given(st.lists(st.floats(min_value=0, max_value=1), max_size=20))
def test_what_any_scores_add_up_to_is_plausible(scores: list[float]) -> None:
    total = sum((score_moments(score) for score in scores), np.zeros(2))
    exact(MOMENTS, list(total), len(scores))


@pytest.mark.parametrize(
    ("values", "clips"),
    [
        ((1.0, 1.1), 4.0),  # squares of numbers below 1 are no larger than they
        ((2.0, 0.9), 4.0),  # (Σs)² ≤ n·Σs²
        ((0.0, -0.1), 4.0),
        ((-0.5, 0.2), 4.0),
        ((2.1, 2.1), 2.0),  # more than one for each clip
        ((0.1, 0.1), 0.0),
    ],
)
def test_scores_that_no_clips_have(values: Sequence[float], clips: float) -> None:
    assert refused(MOMENTS, values, clips).startswith("public/m/score@1/moments: ")


def test_the_limits_of_scores_themselves_are_plausible() -> None:
    exact(MOMENTS, (4.0, 4.0), 4.0)
    exact(MOMENTS, (0.0, 0.0), 4.0)
    exact(MOMENTS, (0.0, 0.0), 0.0)
    exact(MOMENTS, (2.0, 1.0), 4.0)


@pytest.mark.parametrize("clips", [1.0, 1000.0])
def test_rounding_is_allowed_for_and_no_more(clips: float) -> None:
    """Slack: a millionth of 1 + n, for the 40 binary digits to which lanes are rounded."""
    slack = SLACK * (1 + clips)
    exact(EMBEDDING, (2 * clips + 0.9 * slack, 0, 0), clips)
    assert "has norm" in refused(EMBEDDING, (2 * clips + 1.1 * slack, 0, 0), clips)
    exact(MOMENTS, (0.0, -0.9 * slack), clips)
    assert "scores between 0 and 1" in refused(MOMENTS, (slack / 2, slack * 1.7), clips)
    assert "sum of squares" in refused(MOMENTS, (0.0, -1.1 * slack), clips)


def test_what_is_off_by_exactly_the_slack_passes() -> None:
    for values in ((SLACK, 0.0, 0.0), (0.0, -SLACK, 0.0)):
        exact(EMBEDDING, values, 0.0)
    for scores in ((0.0, -SLACK), (0.0, SLACK), (SLACK, 0.0)):
        exact(MOMENTS, scores, 0.0)
    second = 0.25 - 4 * SLACK
    assert 1.0 * second + 2 * SLACK * 2.0 == 0.5**2
    exact(MOMENTS, (0.5, second), 1.0)
    assert "sum of squares" in refused(MOMENTS, (0.5, second - 1e-12), 1.0)


def test_the_sum_of_scores_is_held_to_the_number_of_clips_even_where_rounding_would_hide_it() -> None:
    """A sum that the norm and the sum of squares allow for, each with its own slack of 2·10⁻⁶."""
    assert "scores between 0 and 1" in refused(MOMENTS, (1 + 2.1 * SLACK, 1 + 0.3 * SLACK), 1.0)


def test_the_norm_is_that_of_the_whole_block() -> None:
    exact(EMBEDDING, (2.0, 2.0, 1.0), 1.5)
    detail = refused(EMBEDDING, (2.0, 2.0, 1.1), 1.5)
    assert detail == "public/m/kernel@1/embedding: has norm 3.0348, but 2 clips reach at most 3."


def test_only_moments_of_scores_are_held_to_be_scores() -> None:
    exact(NAMED_PAIR, (1.0, -1.0), 4.0)
    exact(Block("public/m/f@1/moments", 3, 4, private=False), (0.0, -1.0, 0.0), 4.0)
    refused(MOMENTS, (1.0, -1.0), 4.0)


@pytest.mark.parametrize(
    ("lanes", "problem"),
    [
        ([0, 1 << 8], None),
        ([-256], "negative"),
        ([1], "whole"),
        ([255], "whole"),
        ([257], "whole"),
        ([512, 128], "whole"),
    ],
)
def test_counts_are_whole_and_not_negative(lanes: list[int], problem: str | None) -> None:
    block = Block("public/m/count", len(lanes), 1, private=False)
    values = np.array(lanes, dtype=np.int64)
    if problem is None:
        numbers._check_whole(block, values, 8)
        return
    with pytest.raises(VerificationError, match=problem) as caught:
        numbers._check_whole(block, values, 8)
    assert caught.value.check == "V40"


@pytest.mark.parametrize("sign", [1, -1])
def test_noised_lanes_reach_as_far_as_clips_and_noise_and_no_farther(sign: int) -> None:
    """n·(⌈scale·capacity⌉ + 2 + 12·2^20), protos/README.md §10.8."""
    calibration = golden_session("full").terms.calibration
    block = Block("private/m/score@1/moments", 1, 1, private=True)
    scale, sites = 3.25, 5
    reach = sites * (-(-int(scale * 4 * calibration.promise.capacity) // 4) + 2 + 12 * 2**20)
    numbers._check_reach(block, np.array([sign * reach, 0], dtype=np.int64), scale, calibration, sites)
    with pytest.raises(VerificationError, match=f"holds {reach + 1}, beyond the {reach} that is possible"):
        numbers._check_reach(block, np.array([0, sign * (reach + 1)], dtype=np.int64), scale, calibration, sites)


def test_a_share_is_what_falls_to_the_survivors() -> None:
    """Every way in which up to four sites can be in the sum or not, for every small range of tasks."""
    for first, count, sites in itertools.product(range(9), range(9), range(1, 5)):
        for flags in itertools.product([False, True], repeat=sites):
            chosen = [site for site in range(sites) if flags[site]]
            expected = sum(task % sites in chosen for task in range(first, first + count))
            assert numbers._share(first, first + count, chosen, sites) == expected


def test_a_difference_is_told_with_what_stands_around_it() -> None:
    expected, found = b"a" * 100 + b"X" + b"b" * 100, b"a" * 100 + b"Y" + b"b" * 100
    around = "a" * 40, "b" * 39
    assert numbers._first_difference(expected, found) == (
        f"near byte 100: expected …{around[0]}X{around[1]}…, found …{around[0]}Y{around[1]}…"
    )


def test_a_difference_at_the_beginning_and_beyond_the_end() -> None:
    assert numbers._first_difference(b"XY", b"ZY") == "near byte 0: expected …XY…, found …ZY…"
    assert numbers._first_difference(b"XY", b"XYZ") == "near byte 2: expected …XY…, found …XYZ…"
    assert numbers._first_difference(b"X\xff", b"X") == "near byte 1: expected …X\ufffd…, found …X…"


def test_numbers_have_their_nouns() -> None:
    assert [counted(number, "clip") for number in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
