"""The packaged suites as data, and suite files of a consortium's own."""

from __future__ import annotations

import re
from collections import Counter
from importlib import resources
from itertools import combinations

import pytest

from vdb_shared.errors import UsageError
from vdb_shared.prompts.counts import count
from vdb_shared.prompts.lint import lint, normalised
from vdb_shared.prompts.suites import load_suite, read_suite, suite_names
from vdb_shared.prompts.vocabulary import vocabulary

SIZES = {
    "camera": 40,
    "counting-and-space": 60,
    "general": 120,
    "hard": 40,
    "motion": 60,
    "quick": 24,
    "style": 40,
    "text-rendering": 30,
}
THEMES = {
    "camera": ("camera",),
    "counting-and-space": ("counting", "space"),
    "style": ("style",),
    "text-rendering": ("lettering",),
}
OPTIONAL = ("camera", "style", "counting", "space", "lettering")
HEAD = 'version = "vdb-prompts/1"\ntitle = "Ours"\npurpose = "A look."\n'


def test_there_are_these_suites_of_these_sizes() -> None:
    assert {name: len(load_suite(name).prompts) for name in suite_names()} == SIZES


def test_the_readme_of_the_suites_names_them_with_their_sizes() -> None:
    text = resources.files("vdb_shared").joinpath("prompts", "suites", "README.md").read_text(encoding="utf-8")
    assert {name: int(size) for name, size in re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", text, re.MULTILINE)} == SIZES


@pytest.mark.parametrize("name", SIZES)
def test_a_packaged_suite_passes_its_own_lint_without_a_warning(name: str) -> None:
    suite = load_suite(name)
    assert [finding.told(name) for finding in lint(suite.prompts, theme=suite.theme)] == []
    assert suite.theme == THEMES.get(name, ())


def test_no_two_prompts_of_all_suites_share_an_id_or_their_words() -> None:
    prompts = [draft for name in suite_names() if name != "quick" for draft in load_suite(name).prompts]
    assert len({draft.id for draft in prompts}) == len(prompts) == sum(SIZES.values()) - SIZES["quick"]
    assert len({normalised(draft.text) for draft in prompts}) == len(prompts)


def test_no_two_prompts_are_nearly_the_same() -> None:
    """No pair shares more than 60 % of the words of both together."""
    prompts = [draft for name in suite_names() if name != "quick" for draft in load_suite(name).prompts]
    words = {draft.id: set(normalised(draft.text).split()) for draft in prompts}
    assert [
        (a, b) for a, b in combinations(words, 2) if len(words[a] & words[b]) > 0.6 * len(words[a] | words[b])
    ] == []


@pytest.mark.parametrize("name", ["general", "motion", "camera", "style", "text-rendering", "hard", "quick"])
def test_every_category_has_its_share_of_a_suite(name: str) -> None:
    tag = count(load_suite(name).prompts).tags["category"]
    fair = SIZES[name] / len(tag.values)
    assert all(fair / 2 <= number <= 2 * fair for number in tag.values.values())


@pytest.mark.parametrize(("name", "tag"), [("camera", "camera"), ("style", "style"), ("text-rendering", "lettering")])
def test_a_theme_is_covered_evenly(name: str, tag: str) -> None:
    numbers = count(load_suite(name).prompts).tags[tag].values.values()
    assert max(numbers) - min(numbers) <= 1


def test_the_general_suite_is_balanced_in_category_difficulty_and_motion() -> None:
    tags = count(load_suite("general").prompts).tags
    assert set(tags["category"].values.values()) == {10}
    assert tags["motion"].values == {"still": 24, "slow": 36, "moderate": 36, "fast": 24}
    assert min(tags["difficulty"].values.values()) >= 20


def test_counting_and_space_cover_every_number_and_every_place() -> None:
    tags = count(load_suite("counting-and-space").prompts).tags
    for name in ("counting", "space"):
        assert min(tags[name].values.values()) >= 2
    both = [
        draft
        for draft in load_suite("counting-and-space").prompts
        if draft.tags and {"counting", "space"} <= set(draft.tags)
    ]
    assert len(both) >= 8


def test_hard_prompts_ask_for_two_things_at_least() -> None:
    for draft in load_suite("hard").prompts:
        assert draft.tags is not None
        assert draft.tags["difficulty"] == ("hard",)
        assert sum(name in draft.tags for name in OPTIONAL) >= 2, draft.id


def test_all_suites_together_use_every_value_of_every_tag() -> None:
    tags = count([draft for name in suite_names() for draft in load_suite(name).prompts]).tags
    assert {name: tag.used for name, tag in tags.items()} == {
        name: len(tag.values) for name, tag in vocabulary().items()
    }


def test_quick_is_a_subset_with_two_prompts_of_each_category_and_some_of_each_suite() -> None:
    quick = {draft.id: draft for draft in load_suite("quick").prompts}
    origin: Counter[str] = Counter()
    for name in suite_names():
        if name != "quick":
            for draft in load_suite(name).prompts:
                if draft.id in quick:
                    origin[name] += 1
                    assert (quick[draft.id].text, quick[draft.id].tags) == (draft.text, draft.tags)
    assert origin == Counter({name: 12 if name == "general" else 2 for name in SIZES if name != "quick"})
    assert set(count(list(quick.values())).tags["category"].values.values()) == {2}


def test_an_own_suite_may_include_packaged_prompts_and_add_its_own() -> None:
    text = HEAD + (
        'include = ["rose-opening"]\n\n'
        "[[prompts]]\n"
        'id = "ours"\n'
        'text = "Two cats sit beside three dogs"\n'
        'tags = { category = "animals", difficulty = "easy", motion = "still", counting = [2, 3] }\n'
    )
    reading = read_suite(text, file="ours.toml")
    assert reading.findings == ()
    first, second = reading.suite.prompts
    assert (first.id, first.line) == ("rose-opening", 4)
    assert first.text == next(draft.text for draft in load_suite("general").prompts if draft.id == "rose-opening")
    assert (second.line, second.tags and second.tags["counting"]) == (6, ("2", "3"))
    assert lint(reading.suite.prompts) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = ", "ours.toml: not TOML"),
        ('version = "vdb-prompts/2"\n' + HEAD.split("\n", 1)[1], "ours.toml:1: version"),
        (HEAD.replace("purpose", "reason"), "ours.toml: purpose: is missing"),
        (HEAD + "colour = 1\n", "ours.toml:4: colour"),
        (HEAD + 'theme = "camera"\n', "ours.toml:4: theme"),
        (HEAD + "prompts = 3\n", "ours.toml:4: prompts"),
    ],
)
def test_a_file_that_is_no_suite_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_suite(text, file="ours.toml")
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)


def test_a_table_that_is_no_prompt_is_a_finding_and_the_others_are_read() -> None:
    tables = (
        '[[prompts]]\nid = "a"\ntext = 3\n',
        '[[prompts]]\nid = "b"\ntext = "A cat"\ncolour = "red"\n',
        '[[prompts]]\nid = "c"\ntext = "A cat"\ntags = { category = [true] }\n',
        '[[prompts]]\nid = "d"\ntext = "A dog"\n',
    )
    reading = read_suite(HEAD + 'include = ["none-such"]\n' + "".join(tables), file="ours.toml")
    assert [draft.id for draft in reading.suite.prompts] == ["d"]
    assert [(finding.line, finding.kind) for finding in reading.findings] == [
        *((4, "include"), (5, "form"), (8, "form"), (12, "form"))
    ]


def test_prompts_in_one_array_are_read_too_without_their_lines() -> None:
    text = HEAD + 'prompts = [{ id = "a", text = "A cat" }]\n'
    assert [(draft.id, draft.line) for draft in read_suite(text, file="x").suite.prompts] == [("a", None)]


def test_an_unknown_suite_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"none-such: no such suite; there are camera, .*text-rendering"):
        load_suite("none-such")
