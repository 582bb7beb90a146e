"""Which public clips two sites make: a share of them, never twice the same site, from public data alone."""

from __future__ import annotations

import math
import time
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.specs import small_spec
from vdb_shared.spec import Prompt, Spec
from vdb_shared.tasks import (
    MOST_CHECKED,
    CheckedTask,
    checked_count,
    checked_tasks,
    checked_work,
    public_tasks,
    shard,
)

SHARES = st.decimals(0, 1, places=4)


def spec(share: str | Decimal, prompts: int = 50, **changes: object) -> Spec:
    """Return a spec of two models and so many prompts."""
    base = small_spec()
    generation = base.generation.model_copy(update={"checked_share": Decimal(share)})
    chosen = tuple(Prompt(id=f"p{number}", text=f"words {number}") for number in range(prompts))
    return base.model_copy(update={"generation": generation, "prompts": chosen, **changes})


@given(SHARES, st.integers(1, 60), st.integers(2, 40))
def test_the_declared_share_is_made_twice_and_never_by_one_site_alone(share: Decimal, prompts: int, sites: int) -> None:
    chosen = spec(share, prompts)
    found, tasks = checked_tasks(chosen, sites), 2 * prompts
    assert len(found) == len({item.number for item in found}) == checked_count(chosen)
    assert len(found) == math.ceil(Fraction(share) * tasks)
    assert [item.number for item in found] == sorted(item.number for item in found)
    for item in found:
        assert public_tasks(chosen)[item.number] in shard(public_tasks(chosen), item.first, sites)
        assert item.first == item.number % sites
        assert 0 <= item.second < sites
        assert item.second != item.first


@given(SHARES, st.integers(2, 12))
def test_both_makers_know_of_a_clip_and_nobody_else_does(share: Decimal, sites: int) -> None:
    chosen = spec(share, 20)
    work = {place: checked_work(chosen, place, sites) for place in range(sites)}
    for item in checked_tasks(chosen, sites):
        makers = {place: mine for place in work for mine in work[place] if mine.number == item.number}
        assert makers.keys() == {item.first, item.second}
        assert makers[item.first].counted
        assert not makers[item.second].counted
        assert makers[item.first].task == makers[item.second].task == public_tasks(chosen)[item.number]


def test_a_small_share_of_few_clips_is_one_clip_and_none_is_none() -> None:
    assert len(checked_tasks(spec("0.0001", 1), 4)) == 1
    assert checked_tasks(spec("0", 50), 4) == ()
    assert checked_tasks(spec("1", 50), 1) == ()
    private = [metric.model_copy(update={"inputs": "private"}) for metric in small_spec().metrics]
    assert checked_tasks(spec("1", 50, metrics=tuple(private)), 4) == ()


def test_sites_and_clips_take_turns() -> None:
    """Neither the clips nor the second sites bunch: every site is second about as often as the others."""
    found = checked_tasks(spec("0.02", 4000), 5)
    assert len(found) == 160
    seconds, firsts = Counter(item.second for item in found), Counter(item.first for item in found)
    assert all(15 <= seconds[place] <= 50 and 15 <= firsts[place] <= 50 for place in range(5))
    assert 60 < sum(item.number < 4000 for item in found) < 100


def test_it_follows_from_the_spec_alone() -> None:
    first, other = checked_tasks(spec("0.1"), 5), checked_tasks(spec("0.1", title="Another"), 5)
    assert first == checked_tasks(spec("0.1"), 5)
    assert first != other
    numbers = [item.number for item in first]
    assert [item.number for item in checked_tasks(spec("0.1"), 6)] == numbers


def test_the_selection_is_the_one_that_the_specification_describes() -> None:
    """Known values: another implementation must come to these."""
    chosen = spec("0.03", title="Golden")
    assert chosen.digest == GOLDEN_DIGEST
    assert checked_tasks(chosen, 4) == GOLDEN


def test_a_spec_of_millions_of_clips_is_no_more_work_than_a_small_one() -> None:
    many = spec("1", 4096)
    many = many.model_copy(update={"generation": many.generation.model_copy(update={"samples": 64})})
    begun = time.perf_counter()
    assert len(checked_tasks(many, 1000)) == MOST_CHECKED
    assert time.perf_counter() - begun < 1


@pytest.mark.parametrize("share", ["0", "0.02", "1"])
def test_each_public_clip_counts_at_one_site(share: str) -> None:
    """The shards are what they are without any clip made twice."""
    chosen = spec(share)
    assert Counter(task for place in range(5) for task in shard(public_tasks(chosen), place, 5)) == Counter(
        public_tasks(chosen)
    )


GOLDEN_DIGEST = "sha256:1ec1b848dd10abbd3793a7607609991a8fd30bd9114937c5b876c86dbcb759b5"
GOLDEN = (
    CheckedTask(number=86, first=2, second=1),
    CheckedTask(number=87, first=3, second=1),
    CheckedTask(number=90, first=2, second=3),
)
