"""The data directory: what is used, what is listed, and that nothing is written."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from vdb_participant.cli import app
from vdb_participant.data import dataset as dataset_module
from vdb_participant.data.dataset import Dataset
from vdb_participant.data.video import encode_mp4
from vdb_participant.embedded.scenes import Scene, render
from vdb_participant.measure.sample import Sample
from vdb_participant.session.samples import KeptSamples
from vdb_shared.errors import DatasetError, FormatError


@pytest.fixture
def data(tmp_path: Path, site_data: Path) -> Path:
    return Path(shutil.copytree(site_data, tmp_path / "data"))


def _reasons(dataset: Dataset) -> dict[str, str]:
    return {problem.file: problem.reason for problem in dataset.problems}


def _lines(data: Path, *lines: object) -> None:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (data / "prompts.jsonl").write_text(text + "\n", encoding="utf-8")


def test_a_line_that_names_a_clip_is_a_pair(data: Path) -> None:
    dataset = Dataset.open(data, frames=9)
    assert len(dataset.records) == 12
    assert dataset.problems == ()
    assert all(record.prompt is not None and record.clip is not None for record in dataset.records)
    first = dataset.records[0]
    assert first.clip == data.resolve() / "clips" / "site5-0000.mp4"


def test_clips_and_prompts_that_stand_alone_are_records_too(data: Path) -> None:
    _lines(data, {"id": "a", "prompt": "one"}, {"id": "b", "prompt": "two", "clip": "clips/site5-0003.mp4"}, "")
    dataset = Dataset.open(data)
    assert [(record.prompt is not None, record.clip is not None) for record in dataset.records[:2]] == [
        (True, False),
        (True, True),
    ]
    assert len(dataset.records) == 2 + 11
    assert len(dataset.prompts) == 2
    assert len(dataset.clips) == 12
    (data / "prompts.jsonl").unlink()
    assert len(Dataset.open(data).records) == 12


def test_a_clip_keeps_its_words_where_a_copy_of_it_sorts_first(data: Path) -> None:
    """It is one record, not a prompt and a clip; two lines that name copies of one clip are two that name one clip."""
    before = Dataset.open(data)
    shutil.copy(data / "clips" / "site5-0000.mp4", data / "clips" / "a-copy.mp4")
    after = Dataset.open(data)
    assert _reasons(after) == {"clips/site5-0000.mp4": "is a duplicate of a-copy.mp4"}
    assert len(after.records) == len(before.records)
    (record,) = [record for record in after.records if record.clip == data.resolve() / "clips" / "a-copy.mp4"]
    assert record.prompt == before.records[0].prompt
    clips = ("clips/site5-0000.mp4", "clips/a-copy.mp4")
    _lines(data, *({"id": f"x{number}", "prompt": f"x{number}", "clip": clip} for number, clip in enumerate(clips)))
    assert [record.clip is None for record in Dataset.open(data).records[:2]] == [False, True]


def test_all_wrong_lines_are_named_before_a_clip_is_opened(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "count_frames", lambda *_, **__: pytest.fail("a clip was opened"))
    _lines(
        data,
        {"id": "a", "prompt": ""},
        {"id": "b", "prompt": "x"},
        {"id": "c", "prompt": "y", "clip": "clips/gone.mp4"},
    )
    with pytest.raises(DatasetError) as refusal:
        Dataset.open(data)
    assert "prompts.jsonl:1: prompt: is empty" in str(refusal.value)
    assert f"; 1 more line is wrong; `vdb-participant data check {data.resolve()}` names all" in str(refusal.value)


def test_data_check_tells_wrong_lines_ratings_and_clips_in_one_run(data: Path) -> None:
    _lines(data, {"id": "a", "prompt": ""}, {"id": "c", "prompt": "y", "clip": "clips/gone.mp4"})
    (data / "ratings.jsonl").write_text("no rating\n")
    (data / "clips" / "broken.mkv").write_bytes(b"\x1aE\xdf\xa3" + bytes(2000))
    whole = data / "clips" / "site5-0000.mp4"
    (data / "clips" / "cut.mp4").write_bytes(whole.read_bytes()[:-300])
    for words in (["data", "check", str(data)], ["data", "check", str(data), "--json"]):
        done = CliRunner().invoke(app, words)
        told = [line for line in done.stderr.splitlines() if line.startswith("error: ")] + [f"error: {done.exception}"]
        assert "prompts.jsonl:1: prompt: is empty" in told[0]
        assert "prompts.jsonl:2: clip 'clips/gone.mp4' is not there" in told[1]
        assert "ratings.jsonl:1: " in told[2]
        assert any(line.startswith("error: not used: clips/broken.mkv: cannot be decoded") for line in told[3:])
        assert all("clips/site5" not in line for line in told), "what is in order is not told"


def test_what_cannot_be_used_is_listed_by_file_with_its_reason(data: Path) -> None:
    clips = data / "clips"
    (clips / "empty.mp4").touch()
    (clips / "broken.mkv").write_bytes(b"\x1aE\xdf\xa3" + bytes(2000))
    (clips / "notes.txt").write_text("what is this?")
    (clips / "folder.mp4").mkdir()
    (clips / ".hidden").touch()
    shutil.copy(clips / "site5-0000.mp4", clips / "twin.mp4")
    encode_mp4(clips / "short.mp4", render(Scene("circle", "red", "circling", "dark"), 0)[:5], fps=8)
    reasons = _reasons(Dataset.open(data, frames=9))
    assert reasons.pop("clips/broken.mkv").startswith("cannot be decoded")
    assert reasons == {
        "clips/empty.mp4": "is empty",
        "clips/notes.txt": "is not one of .mp4, .mkv, .webm, .avi, .gif",
        "clips/folder.mp4": "is not a file",
        "clips/twin.mp4": "is a duplicate of site5-0000.mp4",
        "clips/short.mp4": "is too short: 5 of 9 frames",
    }


def test_a_prompt_whose_clip_is_unusable_still_counts(data: Path) -> None:
    (data / "clips" / "site5-0001.mp4").write_bytes(b"")
    dataset = Dataset.open(data)
    assert len(dataset.prompts) == 12
    assert len(dataset.clips) == 11
    assert dataset.records[1].clip is None


def test_a_prompt_is_never_two_records(data: Path) -> None:
    clip = "clips/site5-0000.mp4"
    _lines(data, {"id": "a", "prompt": "one"}, {"id": "b", "prompt": "one", "clip": clip})
    dataset = Dataset.open(data)
    assert _reasons(dataset) == {"prompts.jsonl:2": "has the same prompt as prompts.jsonl:1"}
    assert len(dataset.prompts) == 1
    assert len(dataset.clips) == 12


def test_a_clip_may_be_named_in_other_ways_of_writing_its_place(data: Path) -> None:
    clips = ("./clips/site5-0000.mp4", "clips//site5-0001.mp4")
    _lines(data, *({"id": f"x{number}", "prompt": f"x{number}", "clip": clip} for number, clip in enumerate(clips)))
    assert all(record.clip for record in Dataset.open(data).records[:2])


def test_a_clip_that_several_lines_name_belongs_to_the_first(data: Path) -> None:
    clip = "clips/site5-0000.mp4"
    _lines(data, {"id": "a", "prompt": "one", "clip": clip}, {"id": "b", "prompt": "two", "clip": clip})
    dataset = Dataset.open(data)
    assert dataset.problems == ()
    assert [record.clip for record in dataset.records[:2]] == [data.resolve() / clip, None]
    assert [prompt.text for prompt in dataset.prompts] == ["one", "two"]
    assert len(dataset.clips) == len(set(dataset.clips)) == 12


@pytest.fixture(scope="module")
def few_clips(tmp_path_factory: pytest.TempPathFactory, site_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("few")
    (folder / "clips").mkdir()
    for number in range(3):
        shutil.copy(site_data / "clips" / f"site5-000{number}.mp4", folder / "clips" / f"{number}.mp4")
    return folder


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.tuples(st.integers(0, 5), st.sampled_from([None, 0, 1, 2])), min_size=1, max_size=8),
    chosen=st.integers(min_value=0),
)
def test_a_line_less_takes_away_its_own_prompt_and_nothing_else(
    few_clips: Path, lines: list[tuple[int, int | None]], chosen: int
) -> None:
    """Neighbouring data sets differ by one record's share, whatever clips the lines have in common."""
    written = [
        {"id": f"line{number}", "prompt": f"prompt {word}"} | ({} if clip is None else {"clip": f"clips/{clip}.mp4"})
        for number, (word, clip) in enumerate(lines)
    ]
    removed = written[chosen % len(written)]
    rest = [line for line in written if line is not removed]
    _lines(few_clips, *written)
    before = Dataset.open(few_clips)
    _lines(few_clips, *rest)
    after = Dataset.open(few_clips)
    texts = [prompt.text for prompt in before.prompts]
    gone = {removed["prompt"]} - {line["prompt"] for line in rest}
    assert len(texts) == len(set(texts))
    assert set(texts) - {prompt.text for prompt in after.prompts} == gone
    assert {prompt.text for prompt in after.prompts} <= set(texts)
    assert sorted(before.clips) == sorted(after.clips) == sorted((few_clips.resolve() / "clips").iterdir())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"id": "b", "prompt": "x"', "is not a JSON object"),
        ('["b", "x"]', "fields with values"),
        ('{"id": "b"}', "prompt: is missing"),
        ('{"id": "b", "prompt": ""}', "prompt: is empty"),
        ('{"id": "b", "prompt": 3}', "prompt: expected text"),
        ('{"id": "B b", "prompt": "x"}', "id: expected at most 64 lower-case letters"),
        ('{"id": "b", "prompt": "x", "image": "y"}', "image: is no field"),
        ('{"id": "b", "promt": "x"}', "promt: is no field that is known here; did you mean prompt?"),
        ('{"id": "b", "prompt": "x", "clip": "clips/.hidden.mp4"}', "is no name of a file in"),
        ('{"id": "b", "prompt": "x", "clip": "clips"}', "is no name of a file in"),
        ('{"id": "b", "prompt": "x", "clip": ""}', "is no name of a file in"),
        ('{"id": "b", "prompt": "x", "prompt": "y"}', "a key stands twice"),
        ('{"id": "a", "prompt": "x"}', "id 'a' stands already in prompts.jsonl:1"),
        ('{"id": "b", "prompt": "x", "clip": "../clips/site5-0000.mp4"}', "is no name of a file in"),
        ('{"id": "b", "prompt": "x", "clip": "/etc/passwd"}', "is no name of a file in"),
        ('{"id": "b", "prompt": "x", "clip": "clips/gone.mp4"}', "'clips/gone.mp4' is not there; put the file into"),
        ('{"id": "b", "prompt": "x", "clip": "site5-0000.mp4"}', 'write it as "clips/name.mp4"'),
        ('{"id": "b", "prompt": "' + "x" * 70000 + '"}', "a line has at most"),
        ("[" * 50000, "is not a JSON object"),
    ],
)
def test_a_wrong_line_is_named_with_file_and_number(data: Path, line: str, problem: str) -> None:
    _lines(data, {"id": "a", "prompt": "first"}, "", line)
    with pytest.raises(DatasetError) as refusal:
        Dataset.open(data)
    assert f"{data.resolve()}/prompts.jsonl:3: " in str(refusal.value)
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_text_that_is_not_utf8_is_named(data: Path) -> None:
    (data / "prompts.jsonl").write_bytes(b'{"id": "a", "prompt": "\xff"}\n')
    with pytest.raises(DatasetError, match=r"prompts\.jsonl:1: is not UTF-8"):
        Dataset.open(data)


def test_missing_folders_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="name the one with clips/"):
        Dataset.open(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="put videos into"):
        Dataset.open(tmp_path)


def test_links_must_stay_inside(data: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.mp4"
    shutil.copy(data / "clips" / "site5-0000.mp4", outside)
    (data / "clips" / "out.mp4").symlink_to(outside)
    (data / "clips" / "in.mp4").symlink_to(data / "clips" / "site5-0000.mp4")
    assert _reasons(Dataset.open(data)) == {
        "clips/out.mp4": "is a link that leads out of the data folder",
        "clips/site5-0000.mp4": "is a duplicate of in.mp4",
    }
    shutil.move(data / "prompts.jsonl", tmp_path / "prompts.jsonl")
    (data / "prompts.jsonl").symlink_to(tmp_path / "prompts.jsonl")
    with pytest.raises(DatasetError, match="leads out of the data folder"):
        Dataset.open(data)


def test_the_digest_is_of_content_not_of_names_or_order(data: Path) -> None:
    before = Dataset.open(data).digest
    lines = [json.loads(line) for line in (data / "prompts.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        os.rename(data / line["clip"], data / "clips" / f"renamed-{number}.mp4")
        line |= {"id": f"other{number}", "clip": f"clips/renamed-{number}.mp4"}
    _lines(data, *reversed(lines))
    assert Dataset.open(data).digest == before
    lines[0]["prompt"] += "!"
    _lines(data, *lines)
    changed = Dataset.open(data).digest
    assert changed != before
    (data / "clips" / "renamed-5.mp4").unlink()
    del lines[5]["clip"]
    _lines(data, *lines)
    assert Dataset.open(data).digest not in (before, changed)


def test_the_digest_does_not_depend_on_which_line_has_a_shared_clip(data: Path) -> None:
    clip = "clips/site5-0000.mp4"
    lines = [{"id": "a", "prompt": "one", "clip": clip}, {"id": "b", "prompt": "two", "clip": clip}]
    _lines(data, *lines)
    before = Dataset.open(data).digest
    _lines(data, *reversed(lines))
    assert Dataset.open(data).digest == before


def test_nothing_is_written(data: Path) -> None:
    def state() -> list[tuple[str, int, int]]:
        return sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in [data, *data.rglob("*")])

    before = state()
    for path in [data, *data.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        Dataset.open(data, frames=9)
    finally:
        for path in [data, *data.rglob("*")]:
            path.chmod(0o755)
    assert state() == before


def _with_bytes(data: Path) -> Path:
    """Return a clip whose name is "café.mp4" in Latin-1."""
    path = Path(os.fsdecode(os.fsencode(data / "clips") + b"/caf\xe9.mp4"))
    encode_mp4(data / "clips" / "cafe.mp4", render(Scene("square", "blue", "circling", "dark"), 3)[:9], fps=8)
    (data / "clips" / "cafe.mp4").rename(path)
    return path


def test_a_clip_whose_name_is_no_text_is_listed_and_not_used(data: Path) -> None:
    _with_bytes(data)
    dataset = Dataset.open(data, frames=9)
    assert _reasons(dataset) == {"clips/caf\\xe9.mp4": "has a name that is not UTF-8; rename it"}
    assert len(dataset.clips) == 12
    _lines(data, {"id": "a", "prompt": "one", "clip": "clips/site5-0000.mp4"})
    assert len(Dataset.open(data).records) == 12


def test_such_a_name_was_noticed_when_all_work_was_done(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clip was measured, and the list of what was measured could not be written, each time anew."""
    path = _with_bytes(data)
    monkeypatch.setattr("vdb_participant.data.dataset.is_text", lambda _: True)
    found = next(clip for clip in Dataset.open(data, frames=9).clips if clip.name == path.name)
    sample = Sample("reference", "clips", found.name, 0, "sha256:" + "1" * 64, "sha256:" + "0" * 64, None)
    with pytest.raises(FormatError, match="no canonical JSON form"):
        KeptSamples(bytes(32), [sample.to_json()]).encode()


def test_a_data_folder_whose_path_is_no_text_is_told_at_once(data: Path) -> None:
    """The text that is consented to names it, and so does the journal."""
    place = Path(os.fsdecode(os.fsencode(data.parent) + b"/caf\xe9"))
    data.rename(place)
    with pytest.raises(DatasetError, match=r"/caf\\xe9: has a name that is not UTF-8, .*; rename it$"):
        Dataset.open(place)
