"""ratings.jsonl: parsed strictly, counted only for the spec of whose clips it speaks, and never noticed where it is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testkit.ratings import CORRELATION, PREFERENCE, rated_spec, score, vote, written
from vdb_participant.data.dataset import Dataset
from vdb_participant.data.inputs import inputs_of
from vdb_participant.data.ratings import NO_RATINGS, read_ratings
from vdb_shared.errors import DatasetError

SPEC = rated_spec()


def read(folder: Path, *lines: Any) -> Any:
    return read_ratings(written(folder, lines) / "ratings.jsonl")


def test_no_file_is_no_ratings(tmp_path: Path) -> None:
    assert read_ratings(tmp_path / "ratings.jsonl") is NO_RATINGS
    assert not NO_RATINGS.raters


def test_votes_and_scores_are_read(tmp_path: Path) -> None:
    found = read(tmp_path, vote(SPEC, "r1", "tie"), score(SPEC, "r2", 4), score(SPEC, "r2", 2.5, sample=1, lowest=0))
    assert [(item.rater, item.choice) for item in found.votes] == [("r1", "tie")]
    assert [(item.rater, item.score) for item in found.scores] == [("r2", 0.75), ("r2", 0.5)]
    assert found.raters == {"r1", "r2"}
    assert found.unusable == ()


HUGE = score(SPEC, "r", 1e308, lowest=-1.7e308, highest=1.7e308)


def test_a_scale_of_any_width_ends_on_0_and_1(tmp_path: Path) -> None:
    (found,) = read(tmp_path, HUGE).scores
    assert found.score == pytest.approx(0.794, abs=1e-3)
    (least,) = read(tmp_path, score(SPEC, "r", 0, lowest=0, highest=5e-324)).scores
    assert least.score == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{}", 'is neither a vote, like {"spec": "sha256:…", '),
        ("[]", "is neither a vote, like {"),
        ("nothing", "is not a JSON object"),
        (json.dumps(score(SPEC, "r", float("nan"))), "is not a JSON object: NaN is no number"),
        (json.dumps(score(SPEC, "r", 3, highest=float("inf"))), "is not a JSON object: Infinity is no number"),
        (json.dumps(score(SPEC, "r", 10**400)), "score: expected a finite number, found 1000"),
        (json.dumps(score(SPEC, "r", True)), "score: expected a finite number, found true; a score is like {"),
        (json.dumps(score(SPEC, "r", 6)), "the score 6 is not on its scale, from 1 to 5"),
        (json.dumps(score(SPEC, "r", 1, highest=1)), "the scale from 1 to 1 is empty; give lowest < highest"),
        (json.dumps(score(SPEC, "r", 1, choice="tie")), "is neither a vote, like {"),
        (
            json.dumps(vote(SPEC, "r", "both")),
            'choice: expected "first", "second" or "tie", found "both"; a vote is like {',
        ),
        (json.dumps(vote(SPEC, "r", "tie", second="alpha")), "compares 'alpha' with itself; name two models"),
        (json.dumps(vote(SPEC, "r", "tie", spec="sha256:12")), "spec: expected the digest of the spec that the clips"),
        (
            json.dumps({k: v for k, v in vote(SPEC, "r", "tie").items() if k != "second"}),
            "second: is missing; a vote is like {",
        ),
        (
            json.dumps(vote(SPEC, "R 1", "tie")),
            'rater: expected at most 64 lower-case letters, digits, dots, dashes and underscores, found "R 1"',
        ),
        (
            json.dumps(vote(SPEC, "r", "tie", sample=-1)),
            "sample: expected the number of the clip of this prompt, from 0, found -1",
        ),
        (json.dumps(vote(SPEC, "r", "tie", age=50)), "age: is no field of this kind of line; remove it"),
        ('{"choice": "tie", "choice": "first"}', "is not a JSON object: a key stands twice"),
        ("[" * 3000, "is not a JSON object"),
        ("x" * 5000, "has 5000 bytes; a line has at most 4096"),
    ],
)
def test_a_line_that_is_no_rating_is_refused_in_one_line_with_its_place(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "ratings.jsonl"
    path.write_text(json.dumps(vote(SPEC, "r", "tie")) + "\n\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DatasetError) as refusal:
        Dataset.open(tmp_path)
    assert str(refusal.value).startswith(f"{path}:3: {words}")
    assert "\n" not in str(refusal.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ratings.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(DatasetError, match=r"ratings.jsonl:1: is not UTF-8 text"):
        Dataset.open(tmp_path)


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "elsewhere", [vote(SPEC, "r", "tie")])
    (tmp_path / "data" / "clips").mkdir(parents=True)
    (tmp_path / "data" / "ratings.jsonl").symlink_to(tmp_path / "elsewhere" / "ratings.jsonl")
    with pytest.raises(DatasetError, match="leads out of the data folder"):
        Dataset.open(tmp_path / "data")


def test_what_repeats_an_earlier_line_counts_once(tmp_path: Path) -> None:
    """Also the other way round; a score and a vote of the same clip are two things."""
    turned = vote(SPEC, "r", "second", first="beta", second="alpha")
    lines = [vote(SPEC, "r", "first"), turned, score(SPEC, "r", 1), score(SPEC, "r", 5), vote(SPEC, "s", "second")]
    found = read(tmp_path, *lines)
    assert (len(found.votes), len(found.scores)) == (2, 1)
    assert found.unusable == (
        ("ratings.jsonl:2", "repeats what ratings.jsonl:1 says of the same clips"),
        ("ratings.jsonl:4", "repeats what ratings.jsonl:3 says of the same clips"),
    )
    assert [problem.file for problem in Dataset.open(tmp_path).problems] == ["ratings.jsonl:2", "ratings.jsonl:4"]


def test_ratings_of_other_clips_are_not_used_and_say_why(tmp_path: Path) -> None:
    """Another version of a model has another manifest, and so another spec."""
    changed = SPEC.models[0].model_copy(update={"manifest": "sha256:" + "b" * 64})
    other = SPEC.model_copy(update={"models": (changed, *SPEC.models[1:])})
    found = read(
        tmp_path,
        vote(SPEC, "r", "first"),
        vote(other, "r", "first"),
        vote(SPEC, "r", "first", prompt="p9"),
        vote(SPEC, "r", "first", sample=2),
        vote(SPEC, "r", "first", second="zeta"),
        score(SPEC, "s", 4, model="zeta"),
    )
    used = found.used_by(SPEC)
    assert (len(used.votes), len(used.scores), used.raters) == (1, 0, {"r"})
    assert used.unusable == (
        ("ratings.jsonl:2", f"is about clips of the spec {other.digest}"),
        ("ratings.jsonl:3", "names the prompt 'p9', which the spec has not"),
        ("ratings.jsonl:4", "names sample 2; the spec has 2 of each prompt, from 0"),
        ("ratings.jsonl:5", "names the model 'zeta', which the spec has not"),
        ("ratings.jsonl:6", "names the model 'zeta', which the spec has not"),
    )


def test_only_what_the_spec_asks_for_is_used(tmp_path: Path) -> None:
    for metrics, wanted in (([PREFERENCE], (1, 0)), ([CORRELATION], (0, 1))):
        spec = rated_spec(metrics)
        used = read(tmp_path, vote(spec, "r", "first"), score(spec, "s", 4)).used_by(spec)
        assert (len(used.votes), len(used.scores)) == wanted
        assert used.unusable == ()


def test_the_file_changes_the_content_id_and_its_absence_nothing(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"id": "a", "prompt": "a cup"}\n')
    before = Dataset.open(tmp_path)
    assert before.ratings is NO_RATINGS
    assert before.digest == "sha256:716785391993e8f8d883c46c86632f5c8a3ddf9d1eb19b5ea712a31f1baf05eb"
    lines = [vote(SPEC, "r", "first"), vote(SPEC, "s", "first")]
    with_ratings = Dataset.open(written(tmp_path, lines)).digest
    assert with_ratings != before.digest
    assert Dataset.open(written(tmp_path, lines[::-1])).digest == with_ratings
    assert Dataset.open(written(tmp_path, lines[:1])).digest not in (with_ratings, before.digest)


def test_ratings_alone_are_a_data_folder(tmp_path: Path) -> None:
    data = Dataset.open(written(tmp_path, [vote(SPEC, "r", "first")]))
    assert data.records == ()
    assert len(inputs_of(SPEC, data).ratings.votes) == 1


def test_raters_count_as_records(tmp_path: Path) -> None:
    spec = rated_spec(privacy={"maximum_records": 2})
    lines = [vote(spec, f"r{number}", "first") for number in range(3)]
    with pytest.raises(DatasetError, match="3 records would be used, the spec allows 2 of one institution"):
        inputs_of(spec, Dataset.open(written(tmp_path, lines)))
    inputs_of(spec, Dataset.open(written(tmp_path, [*lines[:2], vote(spec, "r1", "tie", sample=1)])))
