"""What a reader who knows nothing else finds on a page: who is first, of what, whose copy, and which counts carry noise."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from testkit.pages import outline
from testkit.published import golden_published, golden_told
from testkit.shown_boards import board, board_of, boards, figure, leaderboards, made_up, made_up_bundle, made_up_spec
from testkit.shown_ways import plain
from vdb_shared.audit.html import leaderboard_page, local_page, report_page
from vdb_shared.audit.leaderboard import Table, tables_of
from vdb_shared.audit.page import page
from vdb_shared.audit.several import print_boards
from vdb_shared.audit.several_pages import boards_page
from vdb_shared.audit.summary import summary_lines
from vdb_shared.audit.tables import boards_latex
from vdb_shared.audit.text import BELOW_ZERO, NOISED_COUNTS, REMEDY, UNTOLD, print_leaderboard
from vdb_shared.privacy.remedy import would_do

Ranks = dict[str, list[int] | None]


def table(ranks: Ranks, metric: str = "clip-score@1") -> Table:
    results = [figure(metric, "public", model, ranks=found) for model, found in ranks.items()]
    (found,) = tables_of({"results": results, "not_apart": []}, noised=False)
    return found


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ({"a": [1, 1], "b": [2, 3], "c": [2, 3]}, "a ranks first by CLIP score (public prompts)."),
        # c is behind b and b behind a, though a and c are not told apart: nobody else can be first.
        ({"a": [1, 2], "b": [2, 2], "c": [2, 3]}, "a ranks first by CLIP score (public prompts)."),
        (
            {"a": [1, 2], "b": [1, 2], "c": [3, 3]},
            "a or b, which the data cannot tell apart, ranks first by CLIP score (public prompts).",
        ),
        (
            {"a": [1, 3], "b": [1, 3], "c": [1, 4], "d": [3, 4]},
            "a, b or c, which the data cannot tell apart, ranks first by CLIP score (public prompts).",
        ),
        ({"a": [1, 2], "b": [1, 2]}, "No model can be told from another by CLIP score (public prompts)."),
        (
            {"a": [1, 1], "b": [2, 2], "c": None},
            "a ranks first by CLIP score (public prompts), among 2 of 3 models.",
        ),
        (
            {"a": [1, 1], "b": None},
            "Only a has a figure by CLIP score (public prompts), so there is nothing to rank.",
        ),
        (
            {"a": None, "b": None},
            "No model is ranked by CLIP score (public prompts): all figures are withheld, for the reasons given there.",
        ),
    ],
)
def test_a_summary_says_what_the_sets_of_ranks_say_and_no_more(ranks: Ranks, said: str) -> None:
    assert summary_lines([table(ranks)], "0.95") == (
        said,
        "All of this together is right with 95 % confidence. "
        "No metric is weighed against another, so there is no overall rank.",
    )


def test_metrics_of_one_outcome_share_a_sentence_and_without_tables_there_is_none() -> None:
    first: Ranks = {"a": [1, 1], "b": [2, 2]}
    other: Ranks = {"a": [2, 2], "b": [1, 1]}
    tables = [table(first), table(other, "latency@1"), table(first, "clip-temp@1")]
    assert summary_lines(tables, "0.9")[:-2] == (
        "a ranks first by CLIP score (public prompts); CLIP temporal consistency (public prompts).",
        "b ranks first by Latency (public prompts).",
    )
    assert summary_lines([], "0.9") == ()


def test_ranks_of_running_times_are_not_said_to_be_about_the_machines() -> None:
    """Models run one after the other: what a machine does beside one of them is in no interval."""
    ranks: Ranks = {"a": [1, 1], "b": [2, 2]}
    told = summary_lines([table(ranks), table(ranks, "latency@1")], "0.95")
    assert "whatever else these did meanwhile" in told[-2]
    assert not any("meanwhile" in line for line in summary_lines([table(ranks)], "0.95"))


def test_every_leaderboard_begins_with_it() -> None:
    said = "alpha ranks first by CLIP score (public prompts)."
    shared, own = leaderboard_page(board_of(made_up_bundle())), local_page("A site", made_up(made_up_spec()))
    for shown in (shared, own):
        text = outline(shown).text
        assert said in text
        assert text.index(said) < text.index("clip-score@1")
    printed = plain(lambda to: print_leaderboard(to, board_of(made_up_bundle())))
    assert printed.index(said) < printed.index("clip-score@1")


def headings(shown: str) -> list[str]:
    """Return the words of each second-level heading, without its badges."""
    found: list[str] = []
    for piece in outline(shown).pieces:
        tags = [element.tag for element in piece.within]
        if tags[-1:] == ["h2"] and piece.text.strip():
            found.append(piece.text.strip())
    return found


def test_a_metric_on_two_kinds_of_inputs_has_two_titles() -> None:
    found = headings(leaderboard_page(board_of(made_up_bundle())))
    assert {"CLIP score (public prompts)", "CLIP score (private prompts)"} <= set(found)
    assert len(found) == len(set(found))
    assert {"CLIP score (public prompts)", "CLIP score (private prompts)"} <= set(headings(boards_page(boards())))


def test_a_reason_that_several_models_share_stands_once() -> None:
    reason = "noise of 0.0023 for each coordinate leaves ranks alone"
    coarse = {"value": None, "low": None, "high": None, "grade": "coarse", "reason": reason, "private": True}
    results = [figure("clip-score@1", "public", model, **coarse, ranks=[1, 3]) for model in ("a", "b")]
    results.append(figure("clip-score@1", "public", "c", **coarse | {"reason": "another"}, ranks=[3, 3]))
    shown = outline(
        leaderboard_page(replace(board("full"), tables=tables_of({"results": results, "not_apart": []}, noised=True)))
    ).text
    assert shown.count(reason) == 1
    assert f"a, b: {reason}." in shown
    assert shown.count("Not told apart: why is said below.") == 2, "ranks that hold every place are none"
    assert shown.count("Ranks only: another.") == shown.count("another.") == 1


def test_ranks_that_hold_every_place_are_not_shown_as_an_order() -> None:
    coarse = {"value": None, "low": None, "high": None, "grade": "coarse", "reason": "noise", "private": True}
    for ranks, shown, words in (([1, 3], "–", "not told apart"), ([1, 2], "1–2", "ranks only")):
        results = [figure("dp-fvd@1", "public", model, **coarse, ranks=ranks) for model in ("c", "a", "b")]
        (table,) = tables_of({"results": results, "not_apart": []}, noised=True)
        assert [(row.model, row.rank_set, row.instead) for row in table.rows] == [
            (name, shown, words) for name in "abc"
        ]
        found = replace(board("full"), tables=(table,))
        for told in (outline(leaderboard_page(found)).text, plain(lambda to, of=found: print_leaderboard(to, of))):  # type: ignore[misc]  # a default binds each
            assert (UNTOLD in told) == (shown == "–")
            assert words in told.lower()


@pytest.mark.parametrize(("metric", "explained"), [("mmd-rff@1", True), ("kvd3@1", True), ("clip-temp@1", False)])
def test_an_estimate_below_zero_is_explained_where_it_means_nothing_bad(metric: str, explained: bool) -> None:
    for value, low in (("-0.01", "-0.03"), ("0.01", "-0.03"), ("0.02", "0.01")):
        result = figure(metric, "public", "a", value=value, low=low, high="0.05")
        found = replace(board("full"), tables=tables_of({"results": [result], "not_apart": []}, noised=False))
        for told in (outline(leaderboard_page(found)).text, plain(lambda to, of=found: print_leaderboard(to, of))):  # type: ignore[misc]  # a default binds each
            assert (BELOW_ZERO in told) == (explained and low.startswith("-"))


@pytest.mark.parametrize("epsilon", [8, 200])
def test_advice_is_explained_where_it_stands(epsilon: int) -> None:
    for reason in (would_do(3.811, Decimal(epsilon), Decimal("1e-6")), "noise drowns it"):
        result = figure("dp-fvd@1", "public", "a", value=None, low=None, high=None, grade="unavailable", reason=reason)
        found = replace(board("full"), tables=tables_of({"results": [result], "not_apart": []}, noised=True))
        for told in (outline(leaderboard_page(found)).text, plain(lambda to, of=found: print_leaderboard(to, of))):  # type: ignore[misc]  # a default binds each
            advised = "".join(REMEDY.replace("`", "").split()) in "".join(told.replace("`", "").split())
            assert advised == reason.startswith("about 3.9 times as many records")
            assert reason in told
        assert "`" not in outline(leaderboard_page(found)).text, "a command is shown as code"


def test_counts_that_carry_noise_are_marked_wherever_they_are_shown_and_others_are_not() -> None:
    noised = board_of(made_up_bundle())
    exact = replace(noised, tables=tables_of(made_up(made_up_spec()), noised=False))
    assert [item.noised_counts for item in noised.tables] == [item.inputs != "public" for item in noised.tables]
    for found, marked in ((noised, True), (exact, False)):
        for shown in (outline(leaderboard_page(found)).text, plain(lambda to, of=found: print_leaderboard(to, of))):  # type: ignore[misc]  # a default binds each
            assert ("≈ 40" in shown, "≈ 12" in shown, NOISED_COUNTS in shown) == (marked,) * 3
            assert "≈ 1,235" not in shown
            assert "1,235" in shown
    for shown in (outline(boards_page(boards())).text, plain(lambda to: print_boards(to, boards()))):
        assert "≈ 40" in shown
        assert NOISED_COUNTS in shown
    assert r"$\approx$ 40" in boards_latex(boards())
    assert "≈" not in outline(local_page("A site", made_up(made_up_spec()))).text


def test_golden_results_mark_the_counts_of_private_prompts_alone() -> None:
    found = {item.inputs: item.noised_counts for item in board("full").tables}
    assert found == {"public": False, "private": True}
    assert golden_published("full").rho is not None


def test_a_page_says_at_its_top_whose_result_it_shows_and_whose_copy_it_is() -> None:
    found = board("dropout")
    facts = found.facts
    origin = f"session {facts.session[:15]}… , published {facts.published}."
    shown = outline(leaderboard_page(found, "", "lab-kyoto"))
    copy = " ".join(shown.text.split())
    top = copy[copy.index("Consortium") : copy.index("One benchmark over")]
    assert top.startswith(f"Consortium {facts.consortium} , {origin} This page is the copy of lab-kyoto.")
    nobodys = " ".join(outline(leaderboard_page(found)).text.split())
    assert origin in nobodys
    assert "the copy of" not in nobodys
    assert origin in " ".join(outline(report_page(golden_told("dropout"))).text.split())
    for whole, kind in ((leaderboard_page(found), "Leaderboard"), (report_page(golden_told("dropout")), "Audit")):
        assert f"<title>{kind}: {facts.title} ({facts.consortium}, {facts.session[:15]}…)</title>" in whole


def test_on_a_narrow_screen_rows_of_figures_take_several_lines_and_their_cells_say_what_they_are() -> None:
    """Otherwise the intervals, which say the most, are cut off there."""
    narrow = page("", "").split("@media (max-width:640px){")[1].split("@media print")[0]
    assert ".folds tr{display:flex;flex-wrap:wrap" in narrow
    assert ".folds .line{flex:0 0 100%}" in narrow
    assert ".folds td[data-name]::before{content:attr(data-name)" in narrow
    for shown in (leaderboards()["board-made-up.html"], boards_page(boards())):
        folded = [tag for tag in outline(shown).tags if "folds" in str(tag[1].get("class", "")).split()]
        assert folded
        cells = [attributes for tag, attributes in outline(shown).tags if tag == "td"]
        assert all(
            attributes.get("data-name") for attributes in cells if "number" in str(attributes.get("class", "")).split()
        )
        assert sum(attributes.get("data-name") == "Clips" for attributes in cells) > 1
        bars = shown.count('<svg role="img" aria-label="') - shown.count('aria-label="Histogram')
        assert bars == shown.count('<td class="line"><svg role="img"')


def test_the_coordinators_signature_is_said_once_whatever_its_name() -> None:
    (line,) = (line for line in golden_told("full").lines if line.id == "V50")
    assert line.sentence == "The result is signed by the coordinator that the roster names: lead-geneva."
