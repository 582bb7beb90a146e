"""Tasks: each public clip is made exactly once, and is the same whoever makes it."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from testkit.specs import small_spec
from vdb_shared.spec import Prompt
from vdb_shared.tasks import ClipTask, clip_seed, public_tasks, select_private_prompts, shard


@given(st.integers(1, 40))
def test_shards_partition_the_public_tasks(sites: int) -> None:
    tasks = public_tasks(small_spec())
    shards = [shard(tasks, position, sites) for position in range(sites)]
    assert sorted(task for part in shards for task in map(repr, part)) == sorted(map(repr, tasks))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_seeds_differ_in_everything_that_matters() -> None:
    digest, other = "sha256:" + "0" * 64, "sha256:" + "1" * 64
    task = ClipTask("m", "p", 0)
    seeds = {
        clip_seed(digest, task),
        clip_seed(other, task),
        clip_seed(digest, ClipTask("n", "p", 0)),
        clip_seed(digest, ClipTask("m", "q", 0)),
        clip_seed(digest, ClipTask("m", "p", 1)),
    }
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)


@given(st.lists(st.text(min_size=1, max_size=20), unique=True, min_size=1, max_size=40), st.data())
def test_one_private_prompt_never_decides_about_another(words: list[str], data: st.DataObject) -> None:
    """Neighbouring data sets differ in at most one chosen prompt; "the first k by hash" would fail here."""
    prompts = [Prompt(id=f"p{number}", text=text) for number, text in enumerate(words)]
    removed = data.draw(st.sampled_from(prompts))
    spec = small_spec()
    chosen = select_private_prompts(spec, prompts)
    without = select_private_prompts(spec, [prompt for prompt in prompts if prompt != removed])
    assert [prompt for prompt in chosen if prompt != removed] == list(without)


def test_about_the_share_that_was_asked_for_is_chosen() -> None:
    prompts = [Prompt(id=f"p{number}", text=f"words {number}") for number in range(4000)]
    assert 900 < len(select_private_prompts(small_spec(), prompts)) < 1100
    every = small_spec(generation=small_spec().generation.model_copy(update={"private_share": Decimal(1)}))
    assert select_private_prompts(every, prompts) == tuple(prompts)
