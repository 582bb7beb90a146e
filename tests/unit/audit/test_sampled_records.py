"""Opened records held against the spec, one record at a time, and what a spot check's report follows from."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from testkit.metric_specs import FLICKERING, make_spec
from testkit.opened_lines import digest_of, frames_of, sample_of
from testkit.spot_shown import opened, story
from vdb_participant.session.samples import KeptSamples
from vdb_shared.audit.report import Line, Status, Verdict
from vdb_shared.audit.sampled_records import check_records, check_total, frames_digest, shown_clips
from vdb_shared.audit.spot_report import Opened, SampleReport
from vdb_shared.audit.standing import Objected, Standing, Successor, Withdrawn
from vdb_shared.bundle.sample_file import OpenedLine, OpenedWords, SampleOpening, ShownClip, read_samples
from vdb_shared.bundle.samples import parse_line
from vdb_shared.canonical import canonical_json, encode_base64
from vdb_shared.errors import FormatError, VerificationError
from vdb_shared.spec import Spec
from vdb_shared.tasks import ClipTask, checked_work, public_tasks, shard

PLACE = (1, 4)


@cache
def spec(pipeline: str = "WanPipeline") -> Spec:
    """Return a spec of which some public clips are made twice."""
    generation = {"private_share": "1", "samples": 3, "checked_share": "0.5"}
    metrics = [FLICKERING, FLICKERING | {"inputs": "private"}]
    return make_spec(metrics, generation=generation, privacy={"maximum_records": 10}, pipeline=pipeline)


def opening(*samples: tuple[str, ClipTask], told: bool = True) -> SampleOpening:
    """Return the opening of a list with these clips."""
    kept = KeptSamples(bytes(32), [sample_of(side, task) for side, task in samples])
    lines = tuple(
        OpenedLine(
            number=number,
            line=line.decode(),
            path=(),
            words=OpenedWords(text=samples[number][1].prompt, salt=kept.words_salt(number).hex()) if told else None,
            clip=None,
        )
        for number, line in enumerate(kept.lines())
    )
    like, _ = opened(1, clips=False)
    found: SampleOpening = like.model_copy(update={"opened": lines, "total": len(lines)})
    return found


def second() -> list[ClipTask]:
    """Return the clips that count elsewhere and are made here to compare."""
    return [item.task for item in checked_work(spec(), *PLACE) if not item.counted]


def refused(found: SampleOpening, of: Spec | None = None) -> str:
    with pytest.raises(VerificationError) as caught:
        check_records(of or spec(), PLACE, found)
    assert caught.value.check == "S07"
    return caught.value.reason


def test_work_of_every_side_is_counted() -> None:
    own = list(shard(public_tasks(spec()), *PLACE))
    assert own
    assert second()
    records = [
        *(("public", task) for task in own),
        *(("second", task) for task in second()),
        ("private", ClipTask("alpha", "patient 1", 2)),
        ("reference", ClipTask("clips", "1.mp4", 0)),
    ]
    counts = check_records(spec(), PLACE, opening(*records))
    assert counts == {"public": len(own), "second": len(second()), "private": 1, "reference": 1}


def test_work_of_others_is_refused_on_either_side() -> None:
    own, elsewhere = shard(public_tasks(spec()), *PLACE)[0], shard(public_tasks(spec()), 2, 4)[0]
    words = "Line 0 is of no clip that falls to this institution."
    assert refused(opening(("public", elsewhere))) == words
    assert refused(opening(("second", own))) == words
    counted = next(item.task for item in checked_work(spec(), *PLACE) if item.counted)
    assert refused(opening(("second", counted))) == words
    assert refused(opening(("public", second()[0]))) == words


def test_words_of_public_records_are_told_and_those_of_private_ones_may_be() -> None:
    own = shard(public_tasks(spec()), *PLACE)[0]
    assert refused(opening(("public", own), told=False)) == "The words of line 0 are public and are not told."
    private = ("private", ClipTask("alpha", "patient 1", 0))
    for told in (True, False):
        assert check_records(spec(), PLACE, opening(private, told=told)) == {"private": 1}


def test_a_record_stands_once_on_each_side() -> None:
    task = ClipTask("alpha", "patient 1", 0)
    twice = opening(("private", task), ("private", task))
    assert refused(twice) == "Line 1 is of a record that stands in the list before."
    other = ("private", ClipTask("alpha", "patient 1", 1)), ("private", ClipTask("beta", "patient 1", 0))
    assert check_records(spec(), PLACE, opening(("private", task), *other)) == {"private": 3}


@pytest.mark.parametrize("told", [(True, True), (True, False), (False, True), (False, False)])
def test_a_clip_that_stands_twice_needs_the_words_of_both(told: tuple[bool, bool]) -> None:
    """Of two prompts a model may make one clip; of one record, it makes one each time."""
    found = opening(("private", ClipTask("alpha", "patient 1", 0)), ("private", ClipTask("alpha", "patient 2", 0)))
    first, other = found.opened
    clip = parse_line(first.line.encode()).clip
    line = parse_line(other.line.encode()).model_copy(update={"clip": clip})
    lines = tuple(
        item.model_copy(update={"words": item.words if told[place] else None})
        for place, item in enumerate((first, other.model_copy(update={"line": line.encode().decode()})))
    )
    again = found.model_copy(update={"opened": lines})
    if all(told):
        assert check_records(spec(), PLACE, again) == {"private": 2}
    else:
        assert refused(again).startswith("Lines 0 and 1 have the same clip, and their words are not told: ")


@pytest.mark.parametrize(
    ("side", "model", "number", "fits"),
    [
        ("private", "alpha", 2, True),
        ("private", "alpha", 3, False),
        ("private", "gamma", 0, False),
        ("private", "clips", 0, False),
        ("reference", "clips", 0, True),
        ("reference", "clips", 1, False),
        ("reference", "alpha", 0, False),
    ],
)
def test_private_records_are_of_a_model_of_the_spec_and_reference_clips_of_none(
    side: str, model: str, number: int, fits: bool
) -> None:
    found = opening((side, ClipTask(model, "patient 1", number)))
    if fits:
        assert check_records(spec(), PLACE, found) == {side: 1}
    else:
        assert refused(found) == "Line 0 is of no clip that the spec asks for."


def test_a_record_starts_from_the_picture_that_the_spec_names() -> None:
    of = spec("WanImageToVideoPipeline")
    task = shard(public_tasks(of), *PLACE)[0]
    assert task.condition
    found = opening(("public", task))
    assert refused(found, of) == "Line 0 is of no clip that falls to this institution."
    line = parse_line(found.opened[0].line.encode()).model_copy(update={"condition": task.condition})
    item = found.opened[0].model_copy(update={"line": line.encode().decode()})
    assert check_records(of, PLACE, found.model_copy(update={"opened": (item,)})) == {"public": 1}


def test_a_list_has_room_for_what_was_declared_and_for_no_more_than_the_spec_asks() -> None:
    manifest = story().result.contribution.manifest.model_copy(
        update={"public_clips_made": 5, "public_clips_failed": 2}
    )
    most = 7 + len(second()) + (2 * 3 + 1) * 10
    for total in (7, most):
        check_total(spec(), PLACE, manifest, total)
    for total, words in (
        (6, "The list has 6 lines, but 7 public clips alone were declared."),
        (most + 1, f"The list has {most + 1} lines, the spec leaves room for {most}: it was filled up."),
    ):
        with pytest.raises(VerificationError) as caught:
            check_total(spec(), PLACE, manifest, total)
        assert (caught.value.check, caught.value.reason) == ("S07", words)


def test_frames_are_those_whose_digest_stands_in_the_list() -> None:
    found, clips = opened(12, clips=True)
    sides = [parse_line(item.line.encode()) for item in found.opened]
    file = story().file(story().question(clips=True))
    assert file
    for item, line in zip(found.opened, sides, strict=True):
        if item.clip is not None:
            frames = frames_of(item.words.text, line.number)
            assert frames_digest(item, clips[item.number]) == line.clip == digest_of(frames)
            assert frames.shape == (item.clip.frames, item.clip.height, item.clip.width, 3)
            assert np.frombuffer(clips[item.number], dtype=np.uint8).size == item.clip.size
    bare = found.opened[0].model_copy(update={"clip": None})
    with pytest.raises(ValueError, match=f"^line {bare.number} shows no clip$"):
        frames_digest(bare, b"")


def test_clips_that_are_shown_and_that_there_are_are_counted() -> None:
    lines = [parse_line(item.line.encode()) for item in opened(12, clips=False)[0].opened]
    made = sum(bool(item.clip) for item in lines)
    assert 0 < made < len(lines), "some have no clip, since they failed"
    for clips, shown in ((True, made), (False, 0)):
        assert shown_clips(read_samples(story().file(story().question(clips=clips)))) == (shown, made)


# Lines.


def line() -> dict[str, object]:
    """Return what a line holds."""
    found = parse_line(opened(1, clips=False)[0].opened[0].line.encode())
    return found.model_dump(mode="json")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"side": "own"}, "a line of the list: side: expected 'public', 'second', 'private' or 'reference'"),
        ({"number": -1}, "a line of the list: number: must be at least 0"),
        ({"number": 2**32}, "a line of the list: number: must be below 4294967296"),
        ({"clip": None, "failure": ""}, "a line of the list: a clip that was made has a digest, one"),
        ({"more": 1}, "a line of the list: more: is no field that is known here"),
        ({"condition": None}, "a line of the list is not in its one form"),
    ],
)
def test_a_line_that_is_none_says_why(changes: dict[str, object], words: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_line(canonical_json(line() | changes))
    assert str(caught.value).startswith(words)


def test_a_line_has_one_form() -> None:
    good = canonical_json(line())
    assert parse_line(good).encode() == good
    for wrong in (good + b" ", b" " + good, good.replace(b'","', b'", "', 1), b"", b"{}", b"[]", b"\xff", good[:-1]):
        with pytest.raises(FormatError):
            parse_line(wrong)
    with pytest.raises(FormatError, match="not in its one form"):
        parse_line(good + b" ")


# The file.


def test_a_hash_in_a_proof_has_32_bytes() -> None:
    fields = {"number": 0, "line": "", "words": None, "clip": None}
    assert OpenedLine(path=(encode_base64(bytes(32)),), **fields).member == "clips/0.rgb"  # type: ignore[arg-type]  # as a file holds them
    for wrong, words in ((encode_base64(bytes(31)), "a hash of the tree has 32 bytes"), ("?", "base64")):
        with pytest.raises(ValueError, match=words):
            OpenedLine(path=(wrong,), **fields)  # type: ignore[arg-type]  # as above


def test_a_clip_has_so_many_bytes_and_no_extent_of_none() -> None:
    assert ShownClip(frames=2, height=3, width=5).size == 90
    for wrong in ({"frames": 0}, {"height": 0}, {"width": 2**16}):
        with pytest.raises(ValueError, match="1 validation error"):
            ShownClip(**{"frames": 2, "height": 3, "width": 5} | wrong)
    assert ShownClip(frames=1, height=1, width=2**16 - 1).width == 65535


def test_lines_of_an_opening_are_in_the_list_each_once() -> None:
    found, _ = opened(12, clips=False)
    plain = found.model_dump(mode="python")
    first = found.opened[0]
    for changes in (
        {"opened": (first, first)},
        {"opened": (first.model_copy(update={"number": found.total}),)},
    ):
        with pytest.raises(ValueError, match="a line stands twice, or lies beyond the list"):
            SampleOpening(**{name: getattr(found, name) for name in plain} | changes)
    last = first.model_copy(update={"number": found.total - 1})
    assert SampleOpening(**{name: getattr(found, name) for name in plain} | {"opened": (last,)}).opened == (last,)


# The report.

THREE = Opened(3, 20, 0, 3)


def report(*statuses: Status, extent: Opened = THREE, standing: Standing | None = None) -> SampleReport:
    lines = tuple(Line(f"S0{place}", "Title", status, f"Sentence {place}.") for place, status in enumerate(statuses))
    return SampleReport("sha256:b", "sha256:f", lines, extent, standing)


def test_the_verdict_follows_from_the_lines() -> None:
    good = report(Status.PASS, Status.NOT_PROVEN)
    assert (good.failure, good.exit_code) == (None, 0)
    assert good.verdict == (
        "PASS: 3 records of 20 stood in the list before anybody knew that they would be asked for. They have 3 different "
        "clips. Were one in 10 of all clips in the list false, these would have met none with a chance of at most 0.72."
    )
    for statuses, failing in (
        ((Status.PASS, Status.FAIL, Status.FAIL), 1),
        ((Status.PASS, Status.NOT_REACHED, Status.FAIL), 2),
        ((Status.SKIPPED, Status.FAIL), 1),
    ):
        bad = report(*statuses)
        assert bad.failure == bad.lines[failing]
        words = f"FAIL: do not rely on these records. S0{failing}: Sentence {failing}."
        assert (bad.outcome, bad.exit_code, bad.verdict) == (Verdict.FAIL, 1, words)
    assert good.to_json() == {
        "bundle": "sha256:b",
        "checks": [item.to_json() for item in good.lines],
        "clips": 3,
        "file": "sha256:f",
        "opened": 3,
        "standing": None,
        "total": 20,
        "without_clip": 0,
        "verdict": "PASS",
        "version": "vdb-samples-report/1",
    }
    assert replace(good, lines=report(Status.FAIL).lines).to_json()["verdict"] == "FAIL"


def test_a_question_that_could_not_be_tried_leaves_the_verdict_open() -> None:
    for statuses, untried in (
        ((Status.PASS, Status.SKIPPED), "S01"),
        ((Status.NOT_REACHED, Status.PASS, Status.SKIPPED), "S00, S02"),
    ):
        left = report(*statuses)
        words = f"INCOMPLETE: nothing failed, but {untried} could not be tried."
        assert (left.failure, left.outcome, left.exit_code, left.verdict) == (None, Verdict.INCOMPLETE, 3, words)
        assert left.to_json()["verdict"] == "INCOMPLETE"


def test_the_verdict_says_how_the_result_stands_and_counts_the_objections_that_count() -> None:
    objected, doubted = (
        Objected("lab-kyoto", "sha256:1"),
        Objected("lab-kyoto", "sha256:2", doubt="its key was revoked"),
    )
    taken, replaced = Withdrawn("", "", True, "", ""), Successor("sha256:3", "published", False)
    plain = report(Status.PASS).verdict.removeprefix("PASS")
    quiet = Standing(True, (), None, (), (), "", {}, ())
    for found, marked, also in (
        (quiet, "", ""),
        (replace(quiet, objections=(doubted,)), "", ""),
        (replace(quiet, objections=(objected, doubted)), "", " To the result there is 1 objection: see S01."),
        (replace(quiet, objections=(objected,) * 2), "", " To the result there are 2 objections: see S01."),
        (replace(quiet, withdrawn=taken), ", BUT THE RESULT IS WITHDRAWN", ""),
        (replace(quiet, successors=(replaced,)), ", BUT ANOTHER RESULT REPLACES THIS ONE", ""),
    ):
        told = report(Status.PASS, standing=found)
        assert told.verdict == f"PASS{marked}{plain}{also}"
        assert (told.exit_code, told.to_json()["standing"]) == (0, found.to_json())


def test_records_without_a_clip_show_nothing() -> None:
    told = report(Status.PASS, extent=Opened(3, 20, 3, 0))
    assert told.verdict == (
        "PASS: 3 records of 20 stood in the list before anybody knew that they would be asked for. None of them has a clip, so "
        "nobody can check what they say."
    )
    one = report(Status.PASS, extent=Opened(3, 20, 2, 1))
    assert "They have 1 different clip. Were" in one.verdict
    assert one.to_json()["without_clip"] == 2
