"""What people are told of a session: plain words for every phase, and the names of who was missing when it ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.session_story import EVERYBODY, STEPS, Story, story
from testkit.statements import INSTITUTIONS
from vdb_coordinator.checks import misplaced
from vdb_coordinator.events import MemberRevoked
from vdb_coordinator.serving.live import LiveSession, Snapshot
from vdb_coordinator.states import reason_of, stages_of
from vdb_coordinator.store.eventlog import Position
from vdb_participant.session.correspondence import going_on
from vdb_shared.errors import SessionAbortedError
from vdb_shared.secagg.transcript import Stage
from vdb_shared.wire.spoken import MOST_NAMED, doing, ended, reached
from vdb_shared.wire.status import ROUND_STAGES, Phase, SessionStatus, SiteStatus
from vdb_shared.wording import one_line

RAW = ("advertis", "masking input", "consistency", "unmasking", "finalis", "accepting")
"""The protocol's own names, which nobody is shown."""

OSLO, LYON, STUDIO, KYOTO, LIMA = INSTITUTIONS


def snapshot_of(told: Story) -> Snapshot:
    return Snapshot(told.state, Position(len(told.events), bytes(32)), {})


def status_of(told: Story) -> SessionStatus:
    """Return what watchers of a session are told."""
    return LiveSession(snapshot_of(told), 0.0).status()


def end_of(told: Story) -> str:
    status = status_of(told)
    assert status.phase is Phase.ABORTED
    return ended(status.reason, status.sites)


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_plain_words(phase: Phase) -> None:
    for attempt in (0, 1):
        words = doing(phase, attempt)
        assert not any(name in words for name in RAW)
        assert ("attempt 2" in words) is (attempt == 1 and not phase.ended)


@pytest.mark.parametrize("until", [*STEPS, None])
def test_every_stage_has_plain_words(until: Callable[..., None] | None) -> None:
    for site in status_of(story(until)).sites:
        assert not any(name in reached(site.stage) for name in (*RAW, "advertised", "shared keys", "survivors"))


def test_what_stands_beside_a_stage_stays() -> None:
    assert reached("shared keys, is to witness the log") == "sent its sealed shares, asked to witness the log"
    assert reached("joined, says: shared keys") == "joined, says: shared keys"


@pytest.mark.parametrize(
    ("step", "what"),
    [
        (Story.advertise, "too few institutions sent their keys: 2, and at least 4 must"),
        (Story.share, "too few institutions sent their sealed shares: 2, and at least 4 must"),
        (Story.mask, "too few institutions sent their masked inputs: 2, and at least 4 must"),
        (
            Story.agree,
            "too few institutions sent their signatures of whose inputs are in the sum: 2, and at least 4 must",
        ),
        (Story.reveal, "too few institutions sent what unmasks the sum: 2, and at least 4 must"),
    ],
)
def test_who_did_not_send_or_left_is_named_and_the_record_stays_as_it_was(step: Callable[..., None], what: str) -> None:
    told = story(step)
    before = [reached(stage) for stage in ("joined", *ROUND_STAGES)][STEPS.index(step) - 1]
    step(told, 0, 1)
    told.leave(4)
    told.expire()
    said = end_of(told)
    assert said.startswith(what)
    assert said.endswith(f"; missing: {STUDIO} ({before}), {KYOTO} ({before}); left: {LIMA}")
    number = STEPS.index(step) - 1
    assert reason_of(told.state).startswith(f"round {list(Stage)[number]}: ")
    assert "missing" not in reason_of(told.state), "what is signed and kept names nobody"
    assert misplaced(told.state, Phase.PUBLISHED).args == (f"the session was aborted: {said}",)


def test_a_revoked_institution_is_not_said_to_have_left_of_itself() -> None:
    told = story(Story.advertise)
    told.advertise(0, 1)
    told.add(MemberRevoked(told.now(), 4))
    told.leave(3)
    told.expire()
    assert end_of(told).endswith(f"; missing: {STUDIO} (joined); left: {KYOTO}; revoked: {LIMA}")


@pytest.mark.parametrize("until", [Story.join, Story.countersign])
def test_a_revoked_institution_is_called_so_in_every_phase(until: Callable[..., None]) -> None:
    told = story(until)
    told.add(MemberRevoked(told.now(), 4))
    assert stages_of(told.state)[4] == "revoked"


def test_who_dropped_out_is_told_once_the_sum_is_settled() -> None:
    for stage in ("joined", "advertised keys", "shared keys"):
        assert reached(stage, Phase.PUBLISHED) == f"{reached(stage)}; dropped out"
        assert "dropped out" not in reached(stage, Phase.MASKING_INPUT)
    for stage in (*ROUND_STAGES[2:], "countersigned", "did not join", "left", "revoked"):
        assert "dropped out" not in reached(stage, Phase.PUBLISHED)


def test_who_never_joined_is_not_missed_in_the_rounds() -> None:
    told = Story()
    told.join(0, 1, 2, 3)
    told.expire()
    told.advertise(0, 1)
    told.expire()
    assert end_of(told).endswith(f"2, and at least 3 must; missing: {STUDIO} (joined), {KYOTO} (joined)")


@pytest.mark.parametrize(
    "words",
    ["left out", "left", "did not join", *ROUND_STAGES, f"joined), {OSLO} (joined", "shared keys, x", "measuring"],
)
def test_what_an_institution_says_of_itself_neither_hides_it_nor_stands_in_the_end(words: str) -> None:
    told = story(Story.advertise)
    told.advertise(0, 1)
    live = LiveSession(snapshot_of(told), 0.0)
    for seat in (0, 2):
        live.report(seat, words, 0, 0)
    sites = live.status().sites
    assert [reached(site.stage) for site in sites[:3]] == ["sent its keys", "sent its keys", f"joined, says: {words}"]
    told.expire()
    end = f"; missing: {STUDIO} (joined), {KYOTO} (joined), {LIMA} (joined)"
    assert ended(reason_of(told.state), sites).endswith(end), "also if a coordinator went on telling it"
    live.advance(snapshot_of(told), 1.0)
    assert live.status() == status_of(told), "once a session ends, only what is recorded is told"
    assert end_of(told).endswith(end)


@pytest.mark.parametrize(
    ("until", "then", "stage"),
    [
        (Story.advertise, Story.share, "joined"),
        (Story.share, Story.mask, "sent its keys"),
        (Story.mask, Story.agree, "sent its sealed shares"),
        (Story.agree, Story.reveal, "sent its masked input"),
        (Story.mask, Story.countersign, "sent its sealed shares"),
    ],
)
def test_only_those_for_whom_was_waited_are_missing(
    until: Callable[..., None], then: Callable[..., None], stage: str
) -> None:
    """One of five drops out in a round, and all but one of the others in a later one."""
    told = story(until)
    until(told, 0, 1, 2, 3)
    told.expire()
    for step in STEPS[STEPS.index(until) + 1 : STEPS.index(then)]:
        step(told, 0, 1, 2, 3)
    then(told, 0)
    told.leave(1)
    told.expire()
    _, missing, names = end_of(told).partition("; missing: ")
    awaited, left, dropped = names.split("; ")
    assert (missing != "", left, dropped) == (True, f"left: {LYON}", f"dropped out earlier: {LIMA} ({stage})")
    assert [name.partition(" (")[0] for name in awaited.split(", ")] == [STUDIO, KYOTO]


def test_who_did_not_join_is_named() -> None:
    told = Story()
    told.join(0, 1, 2)
    told.leave(2)
    told.expire()
    assert end_of(told) == (
        "2 institutions joined, the spec asks for at least 4; missing: "
        f"{KYOTO} (has not joined), {LIMA} (has not joined); left: {STUDIO}"
    )


def test_one_who_joined_alone_is_counted_as_one_and_the_others_named() -> None:
    told = Story()
    told.join(0)
    told.expire()
    assert end_of(told).startswith("1 institution joined, the spec asks for at least 4; missing: ")


def test_an_institution_is_told_the_same_as_the_lead() -> None:
    told = Story()
    told.join(0, 1, 2)
    told.expire()
    with pytest.raises(SessionAbortedError) as caught:
        going_on(status_of(told))
    assert str(caught.value) == f"the session was aborted: {end_of(told)}"
    assert KYOTO in str(caught.value)


def test_who_did_not_countersign_is_named() -> None:
    told = story(Story.countersign)
    told.countersign(0, 1)
    told.expire()
    said = end_of(told)
    assert said.startswith("2 institutions countersigned the result, ")
    revealed, signed = "sent what unmasks the sum", "signed whose inputs are in the sum"  # four shares were enough
    assert said.partition("; missing: ")[2] == f"{STUDIO} ({revealed}), {KYOTO} ({revealed}), {LIMA} ({signed})"


def test_nobody_is_blamed_for_what_came_and_did_not_fit() -> None:
    sites = tuple(SiteStatus(name, seat, "joined") for seat, name in enumerate(INSTITUTIONS))
    for why in (
        "the 3 shares of the b seed of seat 1 contradict what it signed; too few of them are right for the threshold 4",
        "the masks do not cancel (x); some survivor's masked input is not what the protocol makes",
        "y",
    ):
        assert "missing" not in ended(f"round unmasking: {why}", sites)
        assert ended(f"round unmasking: {why}", sites).endswith(why)


def test_of_many_some_are_named_and_the_others_counted() -> None:
    sites = tuple(SiteStatus(f"clinic-{seat}", seat, "has not joined") for seat in range(MOST_NAMED + 3))
    said = ended("0 institutions joined, the spec asks for at least 4", sites)
    assert f"clinic-{MOST_NAMED - 1} (has not joined) and 3 more" in said
    assert f"clinic-{MOST_NAMED} " not in said
    assert "more" not in ended("0 institutions joined, the spec asks for at least 4", sites[:MOST_NAMED])


@given(st.text())
def test_a_reason_that_is_not_understood_is_told_as_it_is_in_one_line(reason: str) -> None:
    sites = tuple(SiteStatus(INSTITUTIONS[seat], seat, "joined") for seat in EVERYBODY)
    if not reason.startswith("round "):
        assert ended(reason, sites) == one_line(reason)
    assert ended(f"aborted by the lead: {reason}", sites) == one_line(f"aborted by the lead: {reason}")
    assert ended(f"round of golf: {reason}", sites) == one_line(f"round of golf: {reason}")
