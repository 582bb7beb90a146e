"""Pages on narrow screens, on paper and in other hands: what a browser needs, as far as markup and style can show it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from testkit.audit_cli import vdb_audit
from testkit.golden import FOLDER as GOLDEN
from testkit.golden import golden_file
from testkit.pages import broken_names, check_fits_screens, check_may_be_passed_on, check_speaks, outline
from testkit.published import golden_published
from testkit.shown import FOLDER
from testkit.shown_boards import made_up_bundle
from vdb_shared.audit.boards import boards_of
from vdb_shared.audit.compare import compare
from vdb_shared.audit.page import page, prose, scrolling_table, unbroken
from vdb_shared.audit.several_pages import boards_page, comparison_page

PAGES = sorted(path.name for path in FOLDER.glob("*.html"))
NAMES = {"tiny-a", "tiny-b", "archive-oslo", "clinic-lyon", "film-studio", "lab-kyoto", "museum-lima"}
STYLE = page("", "").split("<style>")[1].split("</style>")[0]


def shown(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_narrow_screens_speaks_and_may_be_passed_on(name: str) -> None:
    check_fits_screens(shown(name))
    check_speaks(shown(name))
    check_may_be_passed_on(shown(name))
    assert broken_names(shown(name), NAMES) == []


def test_every_class_that_pages_use_has_a_style() -> None:
    styled = set(re.findall(r"\.([a-z]+)", STYLE))
    used = {item for name in PAGES for element in classes_of(shown(name)) for item in element.split()}
    assert {"scroll", "name", "whole", "number", "words"} <= used <= styled


def classes_of(text: str) -> list[str]:
    return [str(attributes["class"]) for _, attributes in outline(text).tags if "class" in attributes]


def rule(selector: str) -> str:
    """Return what the style says of a selector, outside of media queries."""
    plain = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", STYLE)
    return ";".join(
        said
        for selectors, said in re.findall(r"([^{}]+)\{([^{}]*)\}", plain)
        if selector in [item.strip() for item in selectors.split(",")]
    )


def test_containers_scroll_captions_stay_in_sight_and_names_stay_whole() -> None:
    assert "overflow-x:auto" in rule(".scroll")
    assert "container-type:inline-size" in rule(".scroll")
    assert {"position:sticky", "max-width:calc(100cqi - .6rem)"} <= set(rule("caption div").split(";"))
    assert "overflow" not in rule(".card"), "a card that scrolls would take its heading along"
    for selector in (".name", "td .whole", "th .whole"):
        assert "white-space:nowrap" in rule(selector)
    assert {"display:inline-block", "max-width:100%"} <= set(rule(".whole").split(";"))
    assert "white-space:nowrap" in rule(".number")
    assert "outline:2px solid" in rule(".scroll:focus-visible")


def test_paper_is_light_and_nothing_is_hidden_on_it() -> None:
    assert STYLE.count("prefers-color-scheme") == STYLE.count("@media screen and (prefers-color-scheme:dark)") == 1
    paper = STYLE.split("@media print{")[1]
    assert ".scroll{overflow:visible" in paper
    assert "details::details-content{content-visibility:visible}" in paper


@pytest.mark.parametrize(
    "words",
    [
        "vdb-tiny-2",
        "clip-score@1",
        "2026-11-23T00:27:01Z",
        "--seconds-per-clip",
        "--root",
        "1–2",
        "± 0.034",
        "× 0.71",
        "ε = 8",
        "δ = 0.000001",
        "95 %",
        "35.1 kB",
        "2 s",
    ],
)
def test_names_moments_options_and_numbers_with_units_stay_on_one_line(words: str) -> None:
    assert unbroken(f"of {words} alone") == f'of <span class="whole">{words}</span> alone'
    assert (
        unbroken(f"“{words}” ({words}).")
        == f'<span class="whole">“{words}”</span> <span class="whole">({words}).</span>'
    )
    assert prose(f"type `vdb {words}`") == f'type <code>vdb <span class="whole">{words}</span></code>'


@pytest.mark.parametrize(
    "words", ["three - or four", "12 bottles", "a – b", "2 sites", "x = 8", "-", "5 Bytes", "a--b"]
)
def test_other_words_break_where_they_may(words: str) -> None:
    assert unbroken(words) == words


def test_nothing_that_is_kept_on_a_line_becomes_markup() -> None:
    assert unbroken("<b>-<i> a-<b> x-y<b>") == '&lt;b&gt;-&lt;i&gt; a-&lt;b&gt; <span class="whole">x-y</span>&lt;b&gt;'
    assert 'aria-label="&lt;&quot;x"' in scrolling_table('<"x', "", "", "")


@pytest.mark.parametrize("words", ["1" * 5000, "a." * 5000, "(" * 5000, "a-" * 5000, "x" * 100 + "-y", "(((a-b)))))"])
def test_words_of_any_length_are_shown_as_they_are(words: str) -> None:
    assert outline(f"<p>{unbroken(words)}</p>").text == words


def test_results_are_numbered_and_named_by_what_they_are_and_not_by_where_they_lie(tmp_path: Path) -> None:
    """Two files of one name in two folders, as a lead has who keeps each session's result in its own."""
    first = replace(golden_published("full"), name=f"{tmp_path}/spring/result.vdbb")
    made_up = made_up_bundle()
    unpinned = replace(made_up.report, pinned=False)
    second = replace(made_up, name=f"{tmp_path}/autumn/result.vdbb", report=unpinned)
    third = replace(golden_published("disputed"), name="/elsewhere/disputed.vdbb")
    for text in (boards_page(boards_of([first, second, third])), comparison_page(compare(first, second))):
        check_may_be_passed_on(text)
        assert str(tmp_path) not in text
        parsed = outline(text)
        assert sum(tag == "ol" for tag, _ in parsed.tags) == 1
        assert "result (1)" in parsed.text
        assert f": {first.facts.title}; testbed, published {first.facts.published}, 5 institutions." in parsed.text
        assert "The trust root of result (2) was taken on its own word" in parsed.text
    pieces = outline(boards_page(boards_of([first, second, third]))).pieces
    named = {
        piece.text for piece in pieces for element in piece.within[-1:] if element.attributes.get("scope") == "row"
    }
    assert named == {"result (1)", "result (2)", "disputed (withdrawn)"}


def test_no_command_writes_a_folder_into_a_page(tmp_path: Path) -> None:
    """A log of which files are missing is a failure with a detail; it names the file, not the folder."""
    log = tmp_path / "log"
    log.mkdir()
    (log / "checkpoint").write_bytes((GOLDEN / "disputed" / "log" / "checkpoint").read_bytes())
    report, both = tmp_path / "report.html", tmp_path / "both.html"
    done = vdb_audit("verify", golden_file("disputed"), "--log", log, "--html", report)
    assert done.returncode == 3
    assert "a file of the log cannot be read" in outline(report.read_text(encoding="utf-8")).text
    (tmp_path / "result.vdbb").write_bytes(golden_file("dropout").read_bytes())
    done = vdb_audit("leaderboard", tmp_path / "result.vdbb", golden_file("successor"), "--html", both)
    assert done.returncode == 0, done.stderr
    for path in (report, both):
        check_may_be_passed_on(path.read_text(encoding="utf-8"))
        assert str(tmp_path) not in path.read_text(encoding="utf-8")
