"""Tasks: each public clip is made exactly once, and is the same whoever makes it."""

from __future__ import annotations

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


@given(st.permutations([Prompt(id=f"p{number}", text=f"words {number}") for number in range(6)]))
def test_selected_private_prompts_do_not_depend_on_their_order(prompts: list[Prompt]) -> None:
    spec = small_spec()
    chosen = select_private_prompts(spec, prompts)
    assert len(chosen) == spec.generation.private_prompts
    assert chosen == select_private_prompts(spec, sorted(prompts, key=lambda prompt: prompt.id))
