"""Each planted mistake is found, and what lint lets through a spec and the agent accept."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdb_participant.data.prompt_lines import parse_line
from vdb_shared.prompts.drafts import Draft
from vdb_shared.prompts.lint import CLIP_TOKENS, T5_TOKENS, estimated_tokens, lint, normalised
from vdb_shared.prompts.vocabulary import vocabulary
from vdb_shared.spec import Prompt

GOOD = "A heron wades through shallow water"
Tags = dict[str, tuple[str, ...]]
TAGS: Tags = {"category": ("animals",), "difficulty": ("easy",), "motion": ("slow",)}


def found(
    text: str = GOOD, tags: Tags | None = None, *, name: str = "a", theme: tuple[str, ...] = ()
) -> list[tuple[str, str]]:
    return [(item.level, item.kind) for item in lint([Draft(name, text, TAGS | (tags or {}), 3)], theme=theme)]


def test_a_prompt_that_is_in_order_has_no_finding() -> None:
    assert found() == []
    assert found("A heron – “grey”, café-side…", {"lettering": ("word",)}) == []


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", ("error", "empty")),
        (" \t\n", ("error", "empty")),
        ("a" * 2001, ("error", "length")),
        ("A heron\x07 wades", ("error", "character")),
        ("A heron\nwades", ("error", "character")),
        ("A heron \ue000 wades", ("error", "character")),
        ("A heron\u2028wades", ("error", "character")),
        ("A heron\ud800 wades", ("error", "character")),
        ("A heron\u200b wades", ("warning", "character")),
        ("A heron\xa0wades", ("warning", "character")),
        ("A cafe\u0301 by the sea", ("warning", "composition")),
        ("A heron  wades", ("warning", "spaces")),
        (" A heron wades", ("warning", "spaces")),
        ("!?!", ("warning", "wordless")),
        ("heron " * 56 + "wades", ("warning", "length")),
        ("heron " * 383 + "wades", ("error", "length")),
        ("鹭" * 76, ("warning", "length")),
    ],
)
def test_mistakes_in_a_text_are_found(text: str, finding: tuple[str, str]) -> None:
    assert finding in found(text)


def test_the_limits_of_text_encoders_are_exact_in_estimated_tokens() -> None:
    assert estimated_tokens("heron " * 56) == CLIP_TOKENS
    assert ("warning", "length") not in found(("heron " * 56).strip())
    assert "T5 text encoder reads 512" in lint([Draft("a", ("to " * 383).strip())])[0].words
    assert "CLIP text encoder reads 77" in lint([Draft("a", ("to " * 382).strip())])[0].words
    assert estimated_tokens("to " * 382) == T5_TOKENS


@pytest.mark.parametrize("name", ["", "A", "a b", "ä", "-a", "a" * 65])
def test_ids_of_another_form_are_errors(name: str) -> None:
    assert found(name=name) == [("error", "id")]


@pytest.mark.parametrize(
    ("text", "tags", "finding"),
    [
        (GOOD, {"colour": ("red",)}, ("error", "unknown-tag")),
        (GOOD, {"category": ("birds",)}, ("error", "unknown-value")),
        (GOOD, {"category": ()}, ("error", "unknown-value")),
        (GOOD, {"category": ("animals", "animals")}, ("error", "unknown-value")),
        (GOOD, {"category": ("animals", "city")}, ("error", "contradiction")),
        ("The camera slowly pans over a marsh", {"camera": ("static",)}, ("error", "contradiction")),
        ("Static camera: the camera moves over a marsh", {"camera": ("static",)}, ("error", "contradiction")),
        ("The camera pans, then zooms in: zoom in on a heron", {"camera": ("pan",)}, ("error", "contradiction")),
        ("The camera pans over a marsh", {}, ("warning", "untagged")),
        (GOOD, {"camera": ("pan",)}, ("warning", "unstated")),
        ("Three herons wade", {"counting": ("2",)}, ("error", "contradiction")),
        ("Three herons wade", {}, ("warning", "untagged")),
        (GOOD, {"counting": ("2",)}, ("warning", "unstated")),
        ("A heron in watercolour", {"style": ("ink",)}, ("error", "contradiction")),
        (GOOD, {"space": ("behind",)}, ("warning", "unstated")),
        ("A heron sprints", {"motion": ("still",)}, ("error", "contradiction")),
        ("A heron stands motionless", {"motion": ("fast",)}, ("error", "contradiction")),
        ('A sign reads "OPEN"', {}, ("warning", "untagged")),
        ('A sign reads "OPEN NOW"', {"lettering": ("word",)}, ("error", "contradiction")),
        ('A sign reads "12:30"', {"lettering": ("word",)}, ("error", "contradiction")),
        (GOOD, {"lettering": ("word",)}, ("warning", "unstated")),
    ],
)
def test_mistakes_in_tags_are_found(text: str, tags: Tags, finding: tuple[str, str]) -> None:
    assert finding in found(text, tags)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("The camera slowly pans, then follows nobody", {"camera": ("pan",)}),
        ("A frying pan on a zoomed map, a dollyless two-storey house", {}),
        ('A sign reads "TWO CAMERA PANS"', {"lettering": ("phrase",)}),
        ('A clock shows "12:30" and “12:31”', {"lettering": ("number",)}),
        ("Two cats and three dogs", {"counting": ("2", "3")}),
        ("A bird behind a house", {}),
    ],
)
def test_words_that_only_look_like_a_tag_are_none(text: str, tags: Tags) -> None:
    assert found(text, tags) == []


@pytest.mark.parametrize("tag", ["category", "difficulty", "motion"])
def test_a_required_tag_that_is_missing_is_an_error(tag: str) -> None:
    tags = {name: values for name, values in TAGS.items() if name != tag}
    (finding,) = lint([Draft("a", GOOD, tags, 3)])
    assert (finding.level, finding.kind) == ("error", "missing-tag")
    assert finding.words.startswith(f"{tag} is missing; expected one of ")


def test_a_theme_asks_for_one_of_its_tags() -> None:
    assert found(theme=("counting", "space")) == [("error", "missing-tag")]
    assert found("A heron behind a boat", {"space": ("behind",)}, theme=("counting", "space")) == []
    assert found(theme=("colour",)) == [("error", "theme"), ("error", "missing-tag")]


def test_prompts_of_a_format_without_tags_are_not_asked_for_any() -> None:
    assert lint([Draft("a", "The camera pans over two herons")]) == ()


@pytest.mark.parametrize(
    ("second", "name", "level"),
    [
        (GOOD, "b", "error"),
        (GOOD.upper(), "b", "warning"),
        (GOOD.replace(" ", "  ") + "!", "b", "warning"),
        ("Another bird", "a", "error"),
    ],
)
def test_repetitions_name_the_line_of_the_first(second: str, name: str, level: str) -> None:
    findings = [f for f in lint([Draft("a", GOOD, line=4), Draft(name, second, line=9)]) if f.kind == "repetition"]
    assert [(finding.line, finding.level) for finding in findings] == [(9, level)]
    assert "line 4" in findings[0].words


def test_scripts_with_combining_marks_are_compared_by_all_their_letters() -> None:
    assert normalised("कि") != normalised("का")
    assert normalised("Éa,  B!") == normalised("e\u0301A b") == "éa b"


def test_no_finding_repeats_the_words_of_a_prompt() -> None:
    """A word that is nowhere in the vocabulary stands in every prompt and in no finding."""
    texts = (
        "Zyxwvu\x07 two  camera pans",
        "zyxwvu" * 400,
        "Zyxwvu",
        "zyxwvu!",
        "Zyxwvu",
        "zyxwvu " * 60,
        'A "Zyxwvu"',
        "e\u0301 zyxwvu",
    )
    tags = (
        None,
        TAGS,
        {"camera": ("static",)},
        {"colour": ("red",)},
        {"motion": ("red",)},
        {"style": ("ink", "paper")},
    )
    drafts = [Draft("Id", text, tag, line) for line, (text, tag) in enumerate(product(texts, tags))]
    findings = lint(drafts, theme=("space",))
    kinds = {"character", "composition", "contradiction", "id", "length", "missing-tag", "repetition", "spaces"}
    assert {finding.kind for finding in findings} == kinds | {"unknown-tag", "unknown-value", "unstated", "untagged"}
    assert not [finding for finding in findings if "zyxwvu" in finding.words.casefold()]


@given(st.text(max_size=40), st.text(alphabet="ab.-_0 Ä", max_size=4))
def test_what_has_no_error_a_spec_and_the_agent_accept(text: str, name: str) -> None:
    if not [finding for finding in lint([Draft(name, text)]) if finding.level == "error"]:
        assert Prompt(id=name, text=text).text == text
        assert parse_line("", json.dumps({"id": name, "prompt": text}).encode()).prompt == text


def test_findings_are_in_the_order_of_lines() -> None:
    lines = [
        finding.line for finding in lint([Draft("a", "", line=9), Draft("b", " x", line=2), Draft("a", "y", line=5)])
    ]
    assert lines == sorted(lines, key=lambda line: line or 0)


def test_every_phrase_of_the_vocabulary_is_found_as_it_stands() -> None:
    for tag in vocabulary().values():
        for value in tag.values:
            for phrase in value.words:
                assert value.name in tag.stated(f"Here: {phrase.upper()}, there"), phrase
