"""A site answers one choice in each session: with many forked logs nobody reads its whole list."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from testkit.opened_lines import Story, entry_of, kept_list
from vdb_participant.session.chosen_once import CHOICE_FILE, ChosenOnce
from vdb_participant.site.seen_log import SeenLog
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.errors import FormatError, ProtocolError, StoreError


@pytest.fixture(scope="module")
def story() -> Story:
    return Story(kept_list())


def once(story: Story, path: Path) -> ChosenOnce:
    """Return what a process of the site holds; each has its own."""
    result = story.result
    return ChosenOnce(path / "session" / CHOICE_FILE, SeenLog(path / "log"), result.place, log_key(result.roster))


def test_the_first_choice_is_the_only_one(story: Story, tmp_path: Path) -> None:
    """The coordinator signs a log for every question; only one of them is ever answered."""
    opened: set[int] = set()
    for number in range(30):
        asked = Story(story.kept, later=(entry_of(f"made for question {number}"),)).choice().encode()
        if number == 0:
            once(story, tmp_path).hold(asked)
        else:
            with pytest.raises(ProtocolError, match="signed two logs"):
                once(story, tmp_path).hold(asked)
            continue
        opened |= {item.number for item in story.opened(story.question(12, choice=asked))[0].opened}
    assert len(opened) == 12


def test_what_contradicts_is_kept_with_its_proofs(story: Story, tmp_path: Path) -> None:
    first, other = (Story(story.kept, later=(entry_of(word),)).choice().encode() for word in ("first", "other"))
    once(story, tmp_path).hold(first)
    for ask in (once(story, tmp_path).check, once(story, tmp_path).hold):
        with pytest.raises(ProtocolError, match="fork-"):
            ask(other)
    kept = sorted((tmp_path / "log").glob("fork-*.txt"))
    assert [path.read_bytes() for path in kept] == [first + b"\n" + other] * 2
    assert (tmp_path / "session" / CHOICE_FILE).read_bytes() == first


def test_a_later_checkpoint_of_the_same_log_is_answered_as_before(story: Story, tmp_path: Path) -> None:
    first = story.choice().encode()
    later = Story(story.kept, later=(*story.later, entry_of("years after"))).choice().encode()
    assert later != first
    for choice in (first, later, first):
        once(story, tmp_path).hold(choice)
    held = tmp_path / "session" / CHOICE_FILE
    assert held.read_bytes() == first
    assert stat.S_IMODE(held.stat().st_mode) == 0o600


def test_looking_decides_nothing_and_what_is_no_choice_is_not_held(story: Story, tmp_path: Path) -> None:
    first, other = (Story(story.kept, later=(entry_of(word),)).choice().encode() for word in ("first", "other"))
    once(story, tmp_path).check(first)
    with pytest.raises(FormatError):
        once(story, tmp_path).hold(b"{}")
    once(story, tmp_path).hold(other)
    with pytest.raises(ProtocolError):
        once(story, tmp_path).check(first)


def test_a_choice_that_was_lost_to_damage_is_no_reason_to_answer_another(story: Story, tmp_path: Path) -> None:
    once(story, tmp_path).hold(story.choice().encode())
    (tmp_path / "session" / CHOICE_FILE).write_bytes(b"{")
    with pytest.raises(StoreError, match="restore it from a backup"):
        once(story, tmp_path).hold(story.choice().encode())


def test_a_choice_that_cannot_be_read_is_no_reason_to_answer_another(story: Story, tmp_path: Path) -> None:
    (tmp_path / "session" / CHOICE_FILE).mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be read"):
        once(story, tmp_path).hold(story.choice().encode())
