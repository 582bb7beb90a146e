"""What is said of a result since it was published, in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testkit.said import digest, standing
from vdb_shared.audit.standing import Objected, Successor, Withdrawn
from vdb_shared.audit.standing_words import disputed as disputed_in
from vdb_shared.audit.standing_words import summary_of, words_of


def test_everything_is_said_with_the_withdrawal_first() -> None:
    found = standing(
        objections=(Objected("lab-kyoto", digest(1), "2026-02-02T09:00:05Z", "model", "Broken."),),
        withdrawn=Withdrawn("2026-02-03T10:00:00Z", digest(3), True, "Another model.", ""),
        further=(Withdrawn("2026-02-03T11:00:00Z", digest(8), False, "Again.", ""),),
        successors=(Successor(digest(4), "published", False),),
        refused={"a.dsse.json": "not a DSSE envelope"},
        faults=("entry 3: is logged again",),
        unreadable=(5,),
    )
    assert words_of(found) == (
        "WITHDRAWN by the coordinator, as it says at 2026-02-03T10:00:00Z: “Another model.”",
        "The coordinator signed another withdrawal, as it says at 2026-02-03T11:00:00Z: “Again.” (The log does not have it.)",
        f"Session {digest(4)} replaces it; that session has a result.",
        "lab-kyoto objects (model; logged 2026-02-02T09:00:05Z): “Broken.”",
        "The log is not in order: entry 3: is logged again.",
        "Entry 5 of the log cannot be read by this version, so what is said there of the result is not known: try a newer "
        "vdb-audit, or ask the lead.",
        "a.dsse.json was not counted: not a DSSE envelope.",
    )
    assert words_of(standing()) == ()


@pytest.mark.parametrize(
    ("read", "known", "words"),
    [
        (True, Withdrawn("T", "D", True, "", ""), "as it says at T; why stands in the statement D."),
        (True, Withdrawn("T", "D", False, "R.", ""), "as it says at T: “R.” (The log does not have this withdrawal.)"),
        (False, Withdrawn("T", "D", False, "R.", ""), "as it says at T: “R.”"),
        (False, Withdrawn("T", "D", True, "R.", ""), "as it says at T: “R.”"),
    ],
)
def test_a_withdrawal_says_why_or_where_that_stands_and_whether_the_log_has_it(
    read: bool, known: Withdrawn, words: str
) -> None:
    assert words_of(standing(read=read, withdrawn=known)) == (f"WITHDRAWN by the coordinator, {words}",)


def test_who_is_to_replace_a_withdrawn_result_is_said_unless_the_log_shows_that_session() -> None:
    known = Withdrawn("T", "D", True, "R.", digest(4))
    other, same = Successor(digest(5), "open", False), Successor(digest(4), "open", False)
    sentence = f"Session {digest(4)} is to replace it."
    assert words_of(standing(withdrawn=known))[1:] == (sentence,)
    assert words_of(standing(withdrawn=known, successors=(other,)))[1] == sentence
    assert sentence not in words_of(standing(withdrawn=known, successors=(other, same)))


@pytest.mark.parametrize(
    ("state", "withdrawn", "words"),
    [
        ("published", False, "replaces it; that session has a result."),
        ("published", True, "replaces it; that session has a result, which was withdrawn too."),
        ("aborted", False, "is to replace it; that session was aborted."),
        ("open", False, "is to replace it; that session is open."),
        ("overdue", False, "is to replace it; that session is overdue."),
    ],
)
def test_what_became_of_a_successor_is_said(state: str, withdrawn: bool, words: str) -> None:
    found = standing(successors=(Successor(digest(4), state, withdrawn),))
    assert words_of(found) == (f"Session {digest(4)} {words}",)


@pytest.mark.parametrize(
    ("read", "said", "words"),
    [
        (True, Objected("lab", "D", "T"), "lab objects, as the log says at T; why stands in the statement D."),
        (True, Objected("lab", "D", "T", "data", "X."), "lab objects (data; logged T): “X.”"),
        (
            True,
            Objected("lab", "D", "T", doubt="It."),
            "lab objects, as the log says at T; NOT COUNTED: It.; why stands in the statement D.",
        ),
        (
            True,
            Objected("lab", "D", "T", "data", "X.", 3, "it"),
            "lab objects (data; logged T; NOT COUNTED: it): “X.”",
        ),
        (True, Objected("lab", "D", "", "data", "X."), "lab objects (data; not in the log): “X.”"),
        (False, Objected("lab", "D", "", "data", "X."), "lab objects (data; signed): “X.”"),
    ],
)
def test_an_objection_says_what_is_at_hand_of_it(read: bool, said: Objected, words: str) -> None:
    assert words_of(standing(read=read, objections=(said,))) == (words,)


def test_the_summary_names_each_kind_once_in_one_order_and_nobodys_words() -> None:
    taken = Withdrawn("", "", True, "Never mind.", "")
    next_ = Successor(digest(3), "published", False)
    counts, doubted = Objected("A", "", text="Words."), Objected("A", "", doubt="its key was revoked")
    for parts, words in (
        ({"withdrawn": taken}, "WITHDRAWN by the coordinator"),
        ({"successors": (next_,)}, "replaced by another result"),
        ({"successors": (replace(next_, state="open"),)}, "to be replaced"),
        ({"objections": (counts,)}, "1 objection"),
        ({"objections": (counts, counts)}, "2 objections"),
        ({"objections": (doubted,)}, "1 objection that does not count"),
        ({"objections": (counts, doubted, doubted)}, "1 objection; 2 objections that do not count"),
        ({"faults": ("X",)}, "a log that is not in order"),
        ({"unreadable": (4,)}, "1 entry that cannot be read"),
        ({"unreadable": (4, 5)}, "2 entries that cannot be read"),
        ({"refused": {"a": "b"}}, "1 file not counted"),
        ({"refused": {"a": "b", "c": "d"}}, "2 files not counted"),
        (
            {"withdrawn": taken, "successors": (next_,), "objections": (counts, doubted), "faults": ("X",)},
            "WITHDRAWN by the coordinator; replaced by another result; 1 objection; 1 objection that does not count; "
            "a log that is not in order",
        ),
        ({"unreadable": (4,), "refused": {"a": "b"}}, "1 entry that cannot be read; 1 file not counted"),
    ):
        assert summary_of(standing(**parts)) == f"Of the result since: {words}."


def test_objections_are_counted_beside_a_verdict() -> None:
    counts, doubted = Objected("A", ""), Objected("A", "", doubt="its key was revoked")
    assert (disputed_in(None), disputed_in(standing())) == ("", "")
    for objections, words in (
        ((counts,), "1 objection to it"),
        ((counts, counts), "2 objections to it"),
        ((doubted,), "No objection to it, and 1 that does not count"),
        ((counts, doubted, doubted), "1 objection to it, and 2 that do not count"),
    ):
        assert disputed_in(standing(objections=objections)) == f" {words}: see V63.standing."
