from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.console import Console

from testkit.bundles import SmallSession, small_session
from testkit.pages import outline
from testkit.small_specs import small_spec
from vdb_shared.audit.chart import Axis, error_bar, histogram
from vdb_shared.audit.html import leaderboard_page, local_page, report_page
from vdb_shared.audit.leaderboard import leaderboard_of
from vdb_shared.audit.page import prose
from vdb_shared.audit.text import print_leaderboard
from vdb_shared.audit.verify import verify
from vdb_shared.canonical import parse_canonical_json
from vdb_shared.errors import VerificationError


@pytest.fixture(scope="module")
def session() -> SmallSession:
    """A session with every kind of metric."""
    return small_session()


@pytest.fixture(scope="module")
def board_page(session: SmallSession) -> str:
    data = session.bundle()
    return leaderboard_page(leaderboard_of(data, verify(data, root=session.root)))


def test_leaderboard_shows_every_figure_digit_for_digit(session: SmallSession, board_page: str) -> None:
    results = parse_canonical_json(session.members["metrics.json"])["results"]
    for result in results:
        for field in ("model", "value", "low", "high"):
            assert result[field] is None or result[field] in board_page
    assert "private (noised)" in board_page
    assert "public (exact)" in board_page
    assert "4 of 5" in board_page
    assert "film-studio, after sharing keys" in outline(board_page).text
    assert "ε = 8" in board_page


def test_every_form_of_a_leaderboard_says_of_which_class_the_clips_are(
    session: SmallSession, board_page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Classes are never mixed in one column, so one sentence says it for all."""
    figures = parse_canonical_json(session.members["metrics.json"])
    assert (figures["class"], figures["profile"]) == ("exact", "exact")
    assert "clips of class exact" in outline(board_page).text
    assert "class exact, under the profile exact" in outline(board_page).text
    data = session.bundle()
    print_leaderboard(Console(), leaderboard_of(data, verify(data)))
    assert "Clips        class exact, under the profile exact\n" in capsys.readouterr().out


def test_a_result_of_accelerated_clips_never_passes_for_an_exact_one(capsys: pytest.CaptureFixture[str]) -> None:
    how = 'steps = 2, guidance = 2.0, samples = 2, private_share = 1, profile = "auto", grade = "accelerated"'
    metrics = '[{ id = "temporal-flickering@1", inputs = "private" }]'
    session = small_session(3, small_spec(generation=f"{{ {how} }}", metrics=metrics, extractors="[]"))
    data = session.bundle()
    board = leaderboard_of(data, verify(data, root=session.root))
    print_leaderboard(Console(), board)
    for words in (outline(leaderboard_page(board)).text, capsys.readouterr().out):
        assert "class accelerated, under the fastest profile of the class that fits each machine" in words
        assert "class exact" not in words


def test_a_page_without_pictures_allows_none(board_page: str, session: SmallSession) -> None:
    assert "img-src" not in board_page
    data = session.bundle()
    shown = leaderboard_page(leaderboard_of(data, verify(data)), '<section class="card">pictures</section>')
    assert "default-src 'none'; img-src data:; style-src" in shown
    assert '<section class="card">pictures</section>' in shown


def test_an_evaluation_of_one_site_alone_claims_no_more(session: SmallSession) -> None:
    figures = parse_canonical_json(session.members["metrics.json"])
    for result in figures["results"]:
        result["grade"] = "exact"
    shown = outline(local_page("<Tiny>", figures))
    assert "made by one site alone; signed by nobody" in shown.text
    assert "✓" not in shown.text
    assert "private (no noise)" in shown.text
    assert "private (noised)" not in shown.text
    assert sum(tag == "table" for tag, _ in shown.tags) == 5


def test_only_a_pinned_root_makes_it_verified(session: SmallSession, board_page: str) -> None:
    data = session.bundle()
    assert "✓ verified" in board_page
    unpinned = leaderboard_page(leaderboard_of(data, verify(data)))
    assert "✓ verified" not in unpinned
    assert "trust root not pinned" in unpinned


def test_best_model_comes_first(session: SmallSession) -> None:
    data = session.bundle()
    for table in leaderboard_of(data, verify(data)).tables:
        values = [float(row.value) for row in table.rows if row.value is not None]
        assert values == sorted(values, reverse=table.definition.direction == "higher")


def test_pages_are_self_contained_and_well_formed(session: SmallSession, board_page: str) -> None:
    for page in (board_page, report_page(verify(session.bundle())), report_page(verify(b""))):
        parsed = outline(page)
        assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in parsed.tags}
        assert not re.search(r"""(src|href|url)\s*[=(]""", page)
        assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
        assert "prefers-color-scheme:dark" in page
        assert 'lang="en"' in page


def test_tables_and_pictures_speak_to_those_who_cannot_see(board_page: str) -> None:
    tags = outline(board_page).tags
    assert sum(tag == "caption" for tag, _ in tags) == sum(tag == "table" for tag, _ in tags) == 6
    assert all("scope" in attributes for tag, attributes in tags if tag == "th")
    assert all(
        attributes.get("aria-hidden") == "true" or (attributes.get("role") == "img" and attributes.get("aria-label"))
        for tag, attributes in tags
        if tag == "svg"
    )


def test_words_of_a_bundle_cannot_become_markup() -> None:
    session = small_session(2, small_spec(title='"<script>alert(1)</script>"'))
    data = session.bundle()
    report = verify(data)
    for page in (report_page(report), leaderboard_page(leaderboard_of(data, report))):
        assert "<script" not in page
        assert "&lt;script&gt;" in page


def test_what_is_to_be_typed_stands_as_code_and_markup_in_it_as_text() -> None:
    assert prose("`compare it` says <more>.") == "<code>compare it</code> says &lt;more&gt;."
    assert prose("`<b>` and one ` alone") == "<code>&lt;b&gt;</code> and one ` alone"


def test_a_failed_bundle_has_no_leaderboard(session: SmallSession) -> None:
    data = session.forged({"metrics.json": b"{}"})
    with pytest.raises(VerificationError, match="V41"):
        leaderboard_of(data, verify(data))


def test_the_report_page_names_the_failure(session: SmallSession) -> None:
    page = report_page(verify(session.forged({"metrics.json": b"{}"})))
    assert "not verified: V41" in page
    assert "NOT REACHED" in page


def contrast(first: str, second: str) -> float:
    def luminance(colour: str) -> float:
        digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
        parts = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        ("ink", "ground"),
        ("ink", "card"),
        ("soft", "card"),
        ("soft", "ground"),
        ("soft", "track"),
        ("accent", "card"),
        ("good", "goodbg"),
        ("bad", "badbg"),
        ("warn", "warnbg"),
    ],
)
def test_contrast_is_enough_in_both_schemes(board_page: str, scheme: int, ink: str, ground: str) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 for text."""
    colours = dict(re.findall(r"--(\w+):#([0-9a-f]{3,6})", board_page.split(":root{")[scheme + 1]))
    assert contrast(colours[ink], colours[ground]) >= 4.5


def test_error_bars_lie_where_their_numbers_do() -> None:
    axis = Axis.over([0.0, 10.0])
    assert axis.place(5.0) == pytest.approx(150)
    assert axis.place(0.0) < axis.place(10.0)
    drawn = error_bar(axis, "5", "2.5", "7.5", "95 %")
    assert 'aria-label="5; 95 % interval from 2.5 to 7.5"' in drawn
    assert f"M{axis.place(2.5)} 7.0v10M{axis.place(2.5)} 12.0H{axis.place(7.5)}" in drawn


def test_an_axis_over_one_number_has_room() -> None:
    for number in (0.0, 3.0, -2.0):
        axis = Axis.over([number])
        assert axis.low < number < axis.high


def test_a_histogram_draws_only_bins_with_clips() -> None:
    assert histogram([0, 3, 0, 1]).count("<rect") == 2
    assert histogram([0, 0]).count("<rect") == 0


def test_a_page_of_a_promise_that_readers_refuse_unasked_says_so(session: SmallSession, board_page: str) -> None:
    """Whoever agreed to it is shown a result that passed; everybody else would see it fail."""
    board = leaderboard_of(session.bundle(), verify(session.bundle(), root=session.root))
    assert board.report.facts is not None
    weak = replace(board, report=replace(board.report, facts=replace(board.report.facts, epsilon="20")))
    assert "by a weaker policy than usual" not in outline(board_page).text
    assert "by a weaker policy than usual ε is 20, above 16" in " ".join(outline(leaderboard_page(weak)).text.split())
