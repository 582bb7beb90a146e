"""V35: a site with another model shows in the audit and on every page; it fails no bundle, and nobody can hide it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from rich.console import Console

from testkit.bundles import DROPOUT, SmallSession, small_session
from testkit.checked import checked_clips
from testkit.forgeries import document
from testkit.pages import outline
from testkit.small_specs import small_spec
from testkit.statements import INSTITUTIONS, Twist
from vdb_shared.audit.html import leaderboard_page, report_page
from vdb_shared.audit.leaderboard import leaderboard_of
from vdb_shared.audit.report import Line, Status, Verdict
from vdb_shared.audit.text import print_leaderboard
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.record import METRICS
from vdb_shared.bundle.statement import CheckedClip, RunManifest
from vdb_shared.canonical import parse_canonical_json
from vdb_shared.spec import Spec
from vdb_shared.tasks import checked_tasks

LIAR = "lab-kyoto"
HERE = INSTITUTIONS.index(LIAR)
CONSPIRACY = (0, 1, 3, 4)


def spec(share: str = "0.1") -> Spec:
    how = f"steps = 2, guidance = 2.0, samples = 10, private_share = 1, checked_share = {share}"
    metrics = """[
  { id = "temporal-flickering@1", inputs = "public" },
  { id = "frechet-videomae@1", inputs = "public", extractor = "tiny-videomae" },
]"""
    return small_spec(generation=f"{{ {how} }}", metrics=metrics)


def session(said: tuple[CheckedClip, ...] | None = None, share: str = "0.1") -> SmallSession:
    """Return a session in which one institution says this of its clips, or the truth."""
    twist = None if said is None else Twist(RunManifest, "checked", said, LIAR)
    return small_session.__wrapped__(4, spec(share), twist=twist)


@cache
def honest() -> SmallSession:
    return session()


@cache
def dishonest() -> SmallSession:
    """Return a session in which one institution ran another model."""
    return session(checked_clips(spec(), HERE, len(INSTITUTIONS), "another model"))


def line(found: SmallSession, data: bytes | None = None) -> Line:
    report = verify(found.bundle() if data is None else data, root=found.root)
    return next(item for item in report.lines if item.id == "V35")


def test_honest_sites_pass_and_the_dropout_is_told() -> None:
    found = line(honest())
    with_dropout = [item for item in checked_tasks(spec(), 5) if DROPOUT in (item.first, item.second)]
    assert found.status is Status.PASS
    assert f"{12 - len(with_dropout)} public clips made at two institutions are the same at both" in found.sentence
    assert f"{len(with_dropout)} more could not be compared" in found.sentence


def test_a_site_with_another_model_is_named_and_the_bundle_holds() -> None:
    report = verify(dishonest().bundle(), root=dishonest().root)
    found = line(dishonest())
    assert found.status is Status.NOT_PROVEN
    assert LIAR in found.sentence
    assert "beyond the tolerance" in found.sentence
    assert report.verdict is Verdict.PASS
    assert report.exit_code == 0


def test_with_the_share_off_the_same_site_is_noticed_by_nobody() -> None:
    """What the feature is for: without it another model leaves no trace in a bundle that passes."""
    blind = session((), share="0")
    report = verify(blind.bundle(), root=blind.root)
    assert report.verdict is Verdict.PASS
    assert "cannot be seen" in line(blind).sentence
    assert LIAR not in line(blind).sentence
    assert b"checked" not in blind.members[METRICS]


def without_one(clips: tuple[CheckedClip, ...]) -> tuple[CheckedClip, ...]:
    """Leave out a clip that both of its makers could compare."""
    shared = next(
        item.number
        for item in checked_tasks(spec(), 5)
        if HERE in (item.first, item.second) and DROPOUT not in (item.first, item.second)
    )
    return tuple(clip for clip in clips if clip.task != shared)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda clips: (), "says nothing of it that fits the spec"),
        (without_one, "1 clip could not be compared, because lab-kyoto says nothing of it"),
        (lambda clips: tuple(CheckedClip(task=clip.task) for clip in clips), "could not make or measure it"),
    ],
)
def test_a_record_that_is_missing_is_named_and_fails_nothing(
    change: Callable[[tuple[CheckedClip, ...]], tuple[CheckedClip, ...]], words: str
) -> None:
    """Else a single institution could spoil what all others have paid for."""
    left_out = session(change(checked_clips(spec(), HERE, len(INSTITUTIONS))))
    found = line(left_out)
    assert found.status is Status.NOT_PROVEN
    assert words in found.sentence
    assert verify(left_out.bundle(), root=left_out.root).verdict is Verdict.PASS


def hidden(value: Any) -> None:
    """Say in the figures that nothing differs."""
    for pair in value["checked"]["pairs"]:
        pair["outcome"] = "equal" if pair["outcome"] == "apart" else pair["outcome"]


def without(value: Any) -> None:
    del value["checked"]


@pytest.mark.parametrize("edit", [hidden, without])
@pytest.mark.parametrize("accomplices", [(), CONSPIRACY], ids=["coordinator", "everybody"])
def test_the_figures_cannot_hide_what_differs(edit: Callable[[Any], None], accomplices: tuple[int, ...]) -> None:
    forged = dishonest().forged(document(dishonest(), METRICS, edit), accomplices=accomplices)
    failure = verify(forged, root=dishonest().root).first_failure
    assert failure is not None
    assert failure.id == "V41"
    assert line(dishonest(), forged).status is Status.NOT_PROVEN


def test_figures_say_of_each_site_what_was_compared() -> None:
    sites = parse_canonical_json(dishonest().members[METRICS])["checked"]["sites"]
    assert [item["institution"] for item in sites] == list(INSTITUTIONS)
    for item in sites:
        assert item["clips"] == item["equal"] + item["close"] + item["apart"] + item["not_compared"]
    (liar,) = [item for item in sites if item["institution"] == LIAR]
    assert liar["apart"] > 0
    assert liar["equal"] == 0
    assert float(liar["largest_distance"]) > 0.5


def test_every_form_of_a_leaderboard_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    data = dishonest().bundle()
    report = verify(data, root=dishonest().root)
    board = leaderboard_of(data, report)
    print_leaderboard(Console(width=140), board)
    printed, page = capsys.readouterr().out, outline(leaderboard_page(board)).text
    (liar,) = [site for site in board.checked if site.institution == LIAR]
    for words in (printed, page):
        assert "a broken driver or another model shows here" in words
        assert liar.largest_distance is not None
        assert liar.largest_distance in words
    assert "some differ beyond the tolerance" in page
    assert "beyond the tolerance" in outline(report_page(report)).text
    data = honest().bundle()
    assert "none beyond the tolerance" in leaderboard_page(leaderboard_of(data, verify(data)))


def test_a_leaderboard_without_such_clips_says_nothing_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    data = session((), share="0").bundle()
    board = leaderboard_of(data, verify(data))
    print_leaderboard(Console(), board)
    assert "made twice" not in leaderboard_page(board).replace("V35", "").lower().split("how this was verified")[0]
    assert "Largest distance" not in capsys.readouterr().out


def test_a_cohort_of_which_nothing_can_be_compared_says_so() -> None:
    """One clip is made twice, and one of its two makers dropped out."""
    for title in map(str, range(200)):
        chosen = spec("0.001").model_copy(update={"title": title})
        (item,) = checked_tasks(chosen, 5)
        if DROPOUT in (item.first, item.second):
            found = line(small_session.__wrapped__(4, chosen))
            assert found.status is Status.NOT_PROVEN
            assert "none could be compared" in found.sentence
            assert found.sentence.endswith("not in the sum.")
            return
    raise AssertionError("no spec in 200 has a clip of the dropout")
