"""What a set of prompts consists of adds up."""

from __future__ import annotations

import pytest

from vdb_shared.prompts.counts import count
from vdb_shared.prompts.drafts import Draft
from vdb_shared.prompts.suites import load_suite, suite_names


@pytest.mark.parametrize("name", suite_names())
def test_values_and_prompts_without_a_tag_add_up_to_all_prompts(name: str) -> None:
    drafts = load_suite(name).prompts
    for tag, counts in count(drafts).tags.items():
        several = sum(len((draft.tags or {}).get(tag, ())) > 1 for draft in drafts)
        extra = sum(max(len((draft.tags or {}).get(tag, ())) - 1, 0) for draft in drafts)
        assert sum(counts.values.values()) + counts.without == len(drafts) + extra
        assert several == 0 or tag in {"camera", "counting", "space"}


def test_numbers_of_a_small_set_by_hand() -> None:
    drafts = [
        Draft("a", "Two cats", {"category": ("animals",), "counting": ("2", "3"), "colour": ("red",)}),
        Draft("b", "two  CATS!", {"category": ("no-such",)}),
        Draft("c", "word " * 60, {}),
        Draft("d", "word " * 383, {}),
    ]
    counts = count(drafts)
    assert (counts.prompts, counts.distinct, counts.vocabulary) == (4, 3, 3)
    assert (counts.beyond_clip, counts.beyond_t5) == (2, 1)
    assert counts.words is not None
    assert (counts.words.fewest, counts.words.median, counts.words.most) == (2, 31, 383)
    assert counts.words.mean == (2 + 2 + 60 + 383) / 4
    assert counts.tags["counting"].values["2"] == counts.tags["counting"].values["3"] == 1
    assert (counts.tags["counting"].used, counts.tags["counting"].without) == (2, 3)
    assert sum(counts.tags["category"].values.values()) == 1
    assert "colour" not in counts.tags


def test_prompts_without_tags_or_no_prompts_have_counts_too() -> None:
    assert count([Draft("a", "A cat")]).tags == {}
    empty = count([])
    assert (empty.prompts, empty.words, empty.to_json()["words"]) == (0, None, None)


def test_json_holds_numbers_alone() -> None:
    found = count([Draft("secret-id", "Zyxwvu cat", {"category": ("animals",)})]).to_json()
    assert "yxwvu" not in str(found)
    assert "secret" not in str(found)
    assert found["words"] == {"fewest": 2, "median": "2", "mean": "2", "most": 2}
