"""What a spot check tells of prompts and of reasons, and what nobody can confirm from it."""

from __future__ import annotations

import pytest

from testkit.opened_lines import (
    Story,
)
from vdb_participant.session.proving import revealed
from vdb_participant.session.samples import KeptSamples
from vdb_shared.bundle.samples import Failure, parse_line, words_digest
from vdb_shared.errors import UsageError


def test_words_of_private_records_and_clips_are_told_only_on_wish(story: Story) -> None:
    few, all_of_it = story.opened(story.question(40)), story.opened(story.question(40, clips=True))
    assert not few[1]
    for item in few[0].opened:
        line = parse_line(item.line.encode())
        assert (item.words is not None) == (line.side in {"public", "second"})
    assert b"patient" not in story.file(story.question(40))
    assert {item.words is not None for item in all_of_it[0].opened} == {True}
    report = story.check(story.file(story.question(40, clips=True)))
    (frames,) = [line.status.value for line in report.lines if line.id == "S08"]
    assert frames == "PASS"
    made = sum(parse_line(item.line.encode()).clip is not None for item in all_of_it[0].opened)
    assert len(all_of_it[1]) == made < 40


def test_a_guess_of_words_cannot_be_confirmed_from_a_line_without_them(story: Story) -> None:
    """Not with any salt in the file; with the one that is kept back, it could."""
    opening, _ = story.opened(story.question(40))
    salts = {bytes.fromhex(parse_line(item.line.encode()).salt) for item in opening.opened}
    salts |= {bytes.fromhex(item.words.salt) for item in opening.opened if item.words} | {bytes.fromhex(opening.salt)}
    for item in opening.opened:
        if item.words is None:
            words = story.kept.samples[item.number]["prompt"]
            guess = parse_line(item.line.encode()).words
            assert guess not in {words_digest(words, salt) for salt in salts}
            assert guess == words_digest(words, story.kept.words_salt(item.number))
    assert len({line.salt for line in map(parse_line, story.kept.lines())}) == len(story.kept.samples)


def test_words_in_a_reason_of_an_older_release_are_told_with_the_others_or_not_at_all(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stand in lines that were signed for, so that they can be neither left out nor hidden."""
    samples = [dict(sample) for sample in story.kept.samples]
    failed_ones = [sample for sample in samples if sample["side"] == "private" and sample["failure"]]
    for sample in failed_ones:
        sample["failure"] = f"/opt/draw: ended with code 3: cannot draw: {sample['prompt']}"
    older = Story(KeptSamples(story.kept.secret, samples), story.seed)
    with pytest.raises(
        UsageError, match=r"^line \d+: says in free words .* open it with --with-clips, .* or not at all$"
    ):
        older.opened(older.question(1000))
    everything = older.question(1000, clips=True)
    opening, _ = older.opened(everything)
    assert older.check(older.file(everything), count=1000).exit_code == 0
    assert all(sample["prompt"] in "".join(revealed(opening)) for sample in failed_ones)
    # As it was: an opening without words told them.
    monkeypatch.setattr("vdb_participant.session.proving.is_closed_reason", lambda _: True)
    opening, _ = older.opened(older.question(1000))
    assert any("cannot draw: patient" in item.line and item.words is None for item in opening.opened)


def test_reasons_of_this_release_are_of_a_closed_set(story: Story) -> None:
    opening, _ = story.opened(story.question(1000))
    found = {parse_line(item.line.encode()).failure for item in opening.opened}
    assert found == {"", "ended"}
    assert set(Failure) == {"stopped", "ended", "unmeasured"}


def test_the_operator_reads_every_word_that_is_told(story: Story) -> None:
    opening, _ = story.opened(story.question(40, clips=True))
    words = "\n".join(revealed(opening))
    assert f"the list has {len(story.kept.samples)} lines" in words
    for item in opening.opened:
        assert item.line in words
        assert item.words is not None
        assert item.words.text in words
