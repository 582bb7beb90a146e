"""V35 asked by itself: the sentences about clips made twice count what they say they count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testkit.evidence import but_for, found, golden_evidence
from vdb_shared.audit.report import Status
from vdb_shared.checked_clips import DROPPED_OUT, NO_RECORD, NOT_MADE, CheckedPair, Outcome

OSLO, LYON, KYOTO = "archive-oslo", "clinic-lyon", "lab-kyoto"


def pair(
    outcome: Outcome = "not compared",
    reason: str = "",
    blamed: str = "",
    institutions: tuple[str, str] = (OSLO, KYOTO),
    model: str = "tiny-a",
) -> CheckedPair:
    return CheckedPair(0, model, "circle", 0, institutions, outcome, reason, blamed)


GONE = pair(reason=DROPPED_OUT, blamed="film-studio")


def said(*pairs: CheckedPair) -> tuple[Status, str]:
    """Return what V35 says of these clips."""
    evidence = golden_evidence("full")
    assert evidence.checked is not None
    finding = found("V35", but_for(evidence, checked=replace(evidence.checked, pairs=pairs)))
    return finding.status, finding.sentence


def test_a_spec_without_such_clips_shows_nothing() -> None:
    finding = found("V35", but_for(golden_evidence("full"), checked=None))
    assert finding.status is Status.NOT_PROVEN
    assert finding.sentence.startswith("Whether all institutions make the same clips cannot be seen:")


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ([pair("equal")], "1 public clip made at two institutions is the same at both: 1 to the last bit."),
        ([pair("equal")] * 3, "3 public clips made at two institutions are the same at both: 3 to the last bit."),
        (
            [pair("equal"), pair("close"), pair("close")],
            "3 public clips made at two institutions are the same at both: 1 to the last bit, 2 within the tolerance for "
            "devices that round differently.",
        ),
        (
            [pair("equal"), pair("equal"), GONE],
            "2 public clips made at two institutions are the same at both: 2 to the last bit. 1 more could not be compared, "
            "because an institution is not in the sum.",
        ),
    ],
)
def test_clips_that_are_the_same_pass(pairs: list[CheckedPair], sentence: str) -> None:
    assert said(*pairs) == (Status.PASS, sentence)


def test_clips_of_which_none_could_be_compared() -> None:
    assert said(GONE, GONE) == (
        Status.NOT_PROVEN,
        "Of 2 public clips made at two institutions, none could be compared. One of the two institutions is not in the sum.",
    )
    status, sentence = said(GONE, pair(reason=NO_RECORD, blamed=LYON))
    assert status is Status.NOT_PROVEN
    assert sentence == (
        "Of 2 public clips made at two institutions, none could be compared. 1 clip could not be compared, because "
        f"{LYON} {NO_RECORD}."
    )


UNCLEAR = "Whether one of them has another model, driver or library than the other, and which, the bundle cannot show."


def test_clips_that_differ_are_counted_by_model_and_institutions() -> None:
    apart = pair("apart")
    assert said(apart, pair("equal")) == (
        Status.NOT_PROVEN,
        "Of 2 public clips made at two institutions and compared, 1 differs beyond the tolerance: 1 clip of tiny-a at "
        f"{OSLO} and {KYOTO}. {UNCLEAR}",
    )
    assert said(apart, apart, pair("apart", model="tiny-b"), pair("apart", institutions=(OSLO, LYON)), GONE) == (
        Status.NOT_PROVEN,
        "Of 4 public clips made at two institutions and compared, 4 differ beyond the tolerance: 2 clips of tiny-a at "
        f"{OSLO} and {KYOTO}; 1 clip of tiny-b at {OSLO} and {KYOTO}; 1 clip of tiny-a at {OSLO} and {LYON}. {UNCLEAR}",
    )


def test_who_owes_a_record_is_named_beside_what_was_compared() -> None:
    owed = [pair(reason=NO_RECORD, blamed=LYON)] * 2 + [pair(reason=NOT_MADE, blamed=KYOTO)]
    assert said(pair("equal"), *owed) == (
        Status.NOT_PROVEN,
        f"2 clips could not be compared, because {LYON} {NO_RECORD}. "
        f"1 clip could not be compared, because {KYOTO} {NOT_MADE}.",
    )
    status, sentence = said(pair("apart"), *owed)
    assert status is Status.NOT_PROVEN
    assert sentence.endswith(
        f"{UNCLEAR} 2 clips could not be compared, because {LYON} {NO_RECORD}. "
        f"1 clip could not be compared, because {KYOTO} {NOT_MADE}."
    )
