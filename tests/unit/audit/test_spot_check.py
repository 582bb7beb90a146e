"""The spot check: an honest institution passes, and every other answer than the one that the log asks for does not."""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import Any

import pytest

from testkit.logs import MadeLog
from testkit.opened_lines import (
    MADE,
    SEAT,
    Story,
    digest_of,
    entry_of,
    frames_of,
    growth_of,
    kept_list,
    own_checkpoint,
    root_of,
    sample_of,
    shown_of,
)
from vdb_participant.session.proving import answer, open_lines
from vdb_participant.session.samples import KeptSamples
from vdb_shared.audit.report import Line, Status
from vdb_shared.audit.sampled_records import check_total
from vdb_shared.audit.spot_check import Asked, check_samples
from vdb_shared.audit.spot_report import SampleReport, missed
from vdb_shared.bundle.sample_choice import SampleChoice
from vdb_shared.bundle.sample_file import OpenedWords, read_samples
from vdb_shared.bundle.samples import Failure, chosen_lines, parse_line
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import FormatError, StoreError, VdbError, VerificationError
from vdb_shared.tasks import ClipTask


def outcome(report: SampleReport) -> dict[str, str]:
    return {line.id: line.status.value for line in report.lines}


def line(report: SampleReport, check: str) -> Line:
    return next(item for item in report.lines if item.id == check)


def failed(report: SampleReport) -> str:
    assert report.exit_code == 1
    assert report.failure is not None
    assert report.failure.status is Status.FAIL
    return report.failure.id


def test_an_honest_institution_passes_and_what_is_not_shown_is_said(story: Story) -> None:
    report = story.check_all(story.file(story.question()), fetch=lambda path: story.log.files()[path])
    assert outcome(report) == {
        "S01": "PASS",
        "S02": "PASS",
        "S03": "PASS",
        "S04": "PASS",
        "S05": "PASS",
        "S06": "PASS",
        "S07": "PASS",
        "S08": "NOT PROVEN",
        "S09": "NOT PROVEN",
        "N01": "NOT PROVEN",
    }
    assert report.exit_code == 0
    total = len(story.kept.samples)
    assert (report.extent.opened, report.extent.total) == (12, total)
    assert f"12 records of {total} stood in the list" in report.verdict


def test_asking_again_or_for_more_opens_the_same_lines_first(story: Story) -> None:
    first = [item.number for item in story.opened(story.question(12))[0].opened]
    again = Story(story.kept, later=(*story.later, entry_of("years after")))
    assert again.choice().checkpoint != story.choice().checkpoint
    more = [item.number for item in again.opened(again.question(30))[0].opened]
    assert more[:12] == first
    everything = [item.number for item in again.opened(again.question(1000))[0].opened]
    assert sorted(everything) == list(range(len(story.kept.samples)))


def test_a_record_that_was_swapped_after_committing_is_noticed(story: Story) -> None:
    opening, clips = story.opened(story.question())
    item = opening.opened[0]
    line = parse_line(item.line.encode())
    other = line.model_copy(update={"shares": sha256_digest(b"better")}).encode().decode()
    swapped = opening.model_copy(update={"opened": (item.model_copy(update={"line": other}), *opening.opened[1:])})
    assert failed(story.check(story.signed(swapped, clips))) == "S06"


def test_a_list_that_was_made_anew_after_committing_is_noticed(story: Story) -> None:
    """Also by the site itself, before anything is told."""
    samples = [dict(sample) for sample in story.kept.samples]
    samples[3]["shares"] = sha256_digest(b"better")
    anew = Story(KeptSamples(story.kept.secret, samples), story.seed)
    opening, clips = anew.opened(anew.question())
    claimed = opening.model_copy(update={"contribution": story.result.statement})
    numbers = chosen_lines(
        opening.session,
        opening.institution,
        story.kept.root,
        (story.choice_size, story.choice().root),
        opening.total,
        12,
    )
    lines = anew.opened(anew.question(1000))[0].opened
    by_number = {item.number: item for item in lines}
    chosen = claimed.model_copy(update={"opened": tuple(by_number[number] for number in numbers)})
    assert failed(story.check(story.signed(chosen, clips))) == "S06"
    with pytest.raises(StoreError, match="not the one that was signed for"):
        open_lines(story.result, anew.kept, story.question(), MADE)


def test_other_lines_than_those_that_were_chosen_are_refused(story: Story) -> None:
    opening, clips = story.opened(story.question(13))
    *asked, spare = opening.opened
    for lines in (
        (*asked[:-1], spare),
        (asked[1], asked[0], *asked[2:]),
        tuple(asked[1:]),
    ):
        other = opening.model_copy(update={"opened": lines})
        assert failed(story.check(story.signed(other, clips))) == "S04"


def test_fewer_lines_than_were_asked_for_are_refused(story: Story) -> None:
    opening, clips = story.opened(story.question(5))
    assert failed(story.check(story.signed(opening, clips))) == "S04"
    assert story.check(story.signed(opening, clips), count=5).exit_code == 0


def test_another_number_of_lines_than_was_committed_to_is_refused(story: Story) -> None:
    """It would steer the choice: each number of lines has another one."""
    for total in (len(story.kept.samples) - 1, len(story.kept.samples) + 1):
        opening, clips = story.opened(story.question(1000))
        by_number = {item.number: item for item in opening.opened}
        numbers = chosen_lines(
            opening.session, opening.institution, story.kept.root, (story.choice_size, story.choice().root), total, 12
        )
        lines = tuple(by_number[number] for number in takewhile(by_number.__contains__, numbers))
        other = opening.model_copy(update={"total": total, "opened": lines})
        assert failed(story.check(story.signed(other, clips), count=len(lines))) == "S06"


def test_a_checkpoint_that_the_institution_chose_is_refused(story: Story) -> None:
    """A later state of the log, an earlier one, one that the institution signed itself, and one that does not fit together."""
    longer = Story(story.kept, later=story.later[1:])
    before = MadeLog(story.log.consortium, story.log.signer, story.log.entries[:2])
    good = story.choice()
    fork = [b"no session", b"no result", *story.log.entries[2:]]
    without_the_result = SampleChoice(
        MadeLog(story.log.consortium, story.log.signer, fork).files()["checkpoint"],
        root_of(fork[:3]),
        shown_of(fork, 2, 3),
        growth_of(fork, 2, 3),
        growth_of(fork, 3, 5),
    )
    for wrong in (
        without_the_result,
        replace(good, root=root_of(story.log.entries[:4])),
        SampleChoice(
            good.checkpoint,
            root_of(story.log.entries[:4]),
            shown_of(story.log.entries, 2, 4),
            growth_of(story.log.entries, 2, 4),
            growth_of(story.log.entries, 4, 5),
        ),
        replace(good, checkpoint=before.files()["checkpoint"]),
        replace(good, checkpoint=own_checkpoint(story, story.log)),
        replace(good, continued=good.continued[:-1]),
        replace(good, root=longer.choice().root),
    ):
        opening, clips = story.opened(story.question())
        assert failed(story.check(story.signed(opening, clips, wrong.encode()))) == "S04"
        with pytest.raises(VdbError):
            story.file(story.question(choice=wrong.encode()))


def test_a_log_that_was_made_for_one_institution_is_seen_by_whoever_knows_the_real_one(story: Story) -> None:
    """The coordinator signs a log of its own for an accomplice. Offline nobody can see it, and the report says so."""
    own = Story(story.kept, later=(entry_of("tried until it chose well"), entry_of("and another")))
    file = own.file(own.question())
    assert outcome(story.check(file))["S05"] == "NOT PROVEN"
    for known in (
        {"fetch": lambda path: story.log.files()[path]},
        {"remembered": story.choice().encode()},
        {"remembered": MadeLog(story.log.consortium, story.log.signer, story.log.entries[:3]).files()["checkpoint"]},
    ):
        assert failed(story.check(file, **known)) == "S05"
    honest = story.file(story.question())
    assert outcome(story.check(honest, remembered=story.choice().encode()))["S05"] == "PASS"
    assert outcome(story.check(honest, remembered=story.log.files()["checkpoint"]))["S05"] == "PASS"


def test_a_log_that_has_not_grown_since_the_result_chooses_nothing(story: Story) -> None:
    with pytest.raises(FormatError, match="nothing chooses lines yet"):
        Story(story.kept, later=()).choice()


def test_the_answer_of_an_older_session_is_refused(story: Story) -> None:
    """The very same list, opened for another session: neither session nor contribution nor log are those of this one."""
    older = Story(story.kept, seed="an earlier year")
    file = older.file(older.question())
    assert older.check(file).exit_code == 0
    assert failed(story.check(file)) == "S03"
    opening, clips = older.opened(older.question())
    relabelled = opening.model_copy(update={"session": story.result.session, "contribution": story.result.statement})
    assert failed(story.check(story.signed(relabelled, clips, older.choice().encode()))) == "S04"


def test_only_the_institution_itself_can_open_its_list(story: Story) -> None:
    opening, clips = story.opened(story.question())
    for seat in range(5):
        if seat != SEAT:
            assert failed(story.check(answer(opening, clips, story.question(), story.session.key(seat)))) == "S03"
    other = opening.model_copy(update={"institution": "nobody-here"})
    assert failed(story.check(story.signed(other, clips))) == "S03"


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        (sample_of("public", ClipTask("tiny-wan-a", "a prompt that is in no spec", 0)), "falls to this institution"),
        (sample_of("private", ClipTask("a model of our own", "patient 1 walks", 0)), "the spec asks for"),
        (sample_of("private", ClipTask("tiny-wan-a", "patient 1 walks", 99)), "the spec asks for"),
        (sample_of("reference", ClipTask("clips", "1.mp4", 3)), "the spec asks for"),
    ],
)
def test_a_record_that_the_spec_does_not_ask_for_is_refused(extra: dict[str, Any], problem: str) -> None:
    kept = kept_list()
    padded = Story(KeptSamples(kept.secret, [*kept.samples, extra]))
    report = padded.check(padded.file(padded.question(1000)))
    assert failed(report) == "S07"
    assert report.failure is not None
    assert problem in report.failure.detail


def test_a_record_that_stands_twice_is_refused() -> None:
    kept = kept_list()
    padded = Story(KeptSamples(kept.secret, [*kept.samples, kept.samples[0]]))
    assert failed(padded.check(padded.file(padded.question(1000)))) == "S07"


def test_one_private_record_under_many_salts_is_refused() -> None:
    """No words are needed to see it: the clip is the same. The institution clears itself of it by telling the words."""
    kept = kept_list(3)
    one = next(sample for sample in kept.samples if sample["side"] == "private" and sample["clip"])
    copies = Story(KeptSamples(kept.secret, [*kept.samples, *(dict(one) for _ in range(400))]))
    report = copies.check_all(copies.file(copies.question(60)), count=60)
    assert failed(report) == "S07"
    assert report.failure is not None
    assert "have the same clip, and their words are not told" in report.failure.detail
    told = copies.check_all(copies.file(copies.question(60, clips=True)), count=60)
    assert failed(told) == "S07"
    renamed = [{**one, "prompt": f"patient {number} runs"} for number in range(400)]
    others = Story(KeptSamples(kept.secret, [*kept.samples, *renamed]))
    opening, _ = others.opened(replace(others.question(60), shown=lambda _sample: None))
    report = others.check(others.signed(opening, {}), count=60)
    assert report.exit_code == 0, "words are whatever the institution says, so nothing is proven against it"
    repeated = report.extent.opened - report.extent.without - report.extent.clips
    assert repeated > 40
    assert f"{repeated} have the clip of another one, made of other words." in line(report, "S07").sentence
    assert f"They have {report.extent.clips} different clips." in report.verdict


def test_lines_that_nobody_can_check_count_for_nothing() -> None:
    kept = kept_list(3)
    padding = [
        sample_of("private", ClipTask("tiny-wan-a", f"filler {number}", 0), Failure.ENDED.value)
        for number in range(1500)
    ]
    padded = Story(KeptSamples(kept.secret, [*kept.samples, *padding]))
    report = padded.check(padded.file(padded.question(30)), count=30)
    lines = [parse_line(item.line.encode()) for item in padded.opened(padded.question(30))[0].opened]
    clips = sum(line.clip is not None for line in lines)
    assert report.extent.without == 30 - clips >= 25
    assert f"Failed, and so without a clip: {30 - clips};" in line(report, "S07").sentence
    assert missed(report.extent) >= 0.89**clips
    alone = Story(KeptSamples(kept.secret, padding))
    words = alone.check(alone.file(alone.question(30)), count=30).verdict
    assert "chance" not in words


def test_a_list_of_an_impossible_length_is_refused(story: Story) -> None:
    short = Story(KeptSamples(bytes(32), kept_list().samples[:5]))
    assert failed(short.check(short.file(short.question()), count=1)) == "S07"
    spec, manifest = story.result.spec, story.result.contribution.manifest
    most = manifest.public_clips_made + 3 * 10 * 2000 + 2000
    second = sum(sample["side"] == "second" for sample in story.kept.samples)
    check_total(spec, (SEAT, 5), manifest, most + second)
    with pytest.raises(VerificationError, match="filled up"):
        check_total(spec, (SEAT, 5), manifest, most + second + 1)


def test_other_frames_or_words_than_those_in_the_list_are_refused(story: Story) -> None:
    opening, clips = story.opened(story.question(clips=True))
    number = next(iter(clips))
    assert failed(story.check(story.signed(opening, clips | {number: bytes(len(clips[number]))}))) == "S08"
    item = opening.opened[0]
    assert item.words is not None
    told = item.model_copy(update={"words": OpenedWords(text="something harmless", salt=item.words.salt)})
    other = opening.model_copy(update={"opened": (told, *opening.opened[1:])})
    assert failed(story.check(story.signed(other, clips))) == "S07"


def test_no_byte_of_an_answer_can_be_changed(story: Story) -> None:
    file = story.file(story.question(3, clips=True))
    for place in range(0, len(file), 37):
        changed = bytearray(file)
        changed[place] ^= 1
        report = story.check(bytes(changed), count=3)
        assert report.exit_code == 1, place


def test_a_result_that_fails_its_audit_is_not_spot_checked(story: Story) -> None:
    broken = story.session.edited({"metrics.json": b"{}"})
    report = check_samples(broken, story.file(story.question()), Asked(12, story.session.root))
    assert set(list(outcome(report).values())[1:]) == {"NOT REACHED"}
    assert failed(report) == "S01"


def test_frames_in_a_file_are_plain_pictures(story: Story) -> None:
    """Any player of raw RGB shows them."""
    file = read_samples(story.file(story.question(clips=True)))
    for item in file.opening.opened:
        if item.clip is not None and item.words is not None:
            frames = frames_of(item.words.text, parse_line(item.line.encode()).number)
            assert file.clips[item.number] == frames.tobytes()
            assert parse_line(item.line.encode()).clip == digest_of(frames)
