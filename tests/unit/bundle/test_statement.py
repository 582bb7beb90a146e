"""A statement has one form; what is wrong in another is named with its field."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from testkit.evidence import golden_evidence
from vdb_shared.bundle.statement import (
    MAX_STATEMENT_BYTES,
    THUMBNAIL_BYTES,
    VECTOR_LANES,
    Abort,
    CheckedClip,
    Dropped,
    Join,
    RunManifest,
    Seal,
    Statement,
    Subject,
    parse_statement,
    subject_of,
)
from vdb_shared.canonical import canonical_json, encode_base64, parse_canonical_json, sha256_digest
from vdb_shared.errors import FormatError
from vdb_shared.tasks import MOST_CHECKED

DIGEST = sha256_digest(b"x")
ABORT = Abort(session=DIGEST, institution="a", stage="joining", reason="none", aborted="2026-01-31T12:00:00Z")
SUBJECTS = (subject_of("one", b"1"), subject_of("two", b"2"))
THUMBNAIL = encode_base64(bytes(THUMBNAIL_BYTES))


def document() -> Any:
    return parse_canonical_json(Statement(SUBJECTS, ABORT).encode())


def refused(value: Any) -> str:
    with pytest.raises(FormatError) as caught:
        parse_statement(canonical_json(value), Abort)
    return str(caught.value)


def test_its_form_is_that_of_the_specification() -> None:
    assert document() == {
        "_type": "https://in-toto.io/Statement/v1",
        "predicate": ABORT.model_dump(),
        "predicateType": Abort.type_uri(),
        "subject": [{"digest": {"sha256": item.sha256}, "name": item.name} for item in SUBJECTS],
    }
    assert parse_statement(Statement(SUBJECTS, ABORT).encode(), Abort) == (ABORT, SUBJECTS)
    assert SUBJECTS[0] == Subject(name="one", sha256=sha256_digest(b"1").removeprefix("sha256:"))


def test_another_kind_of_statement_is_refused_by_its_type() -> None:
    value = document()
    value["predicateType"] = Join.type_uri()
    assert refused(value) == f"expected a statement of type {Abort.type_uri()}, found {Join.type_uri()}"


@pytest.mark.parametrize("name", ["_type", "predicate", "predicateType", "subject"])
def test_every_part_is_there_and_of_its_form(name: str) -> None:
    for change in ({}, {name: None}, {name: 1}):
        value = document()
        del value[name]
        assert refused(value | change) == "not an in-toto v1 statement about a abort"


def test_nothing_else_is_there() -> None:
    assert refused(document() | {"extra": 1}) == "not an in-toto v1 statement about a abort"


@pytest.mark.parametrize(
    "subject",
    [
        {"digest": {"sha256": "0" * 64}},
        {"name": "one"},
        {"digest": {"sha256": "0" * 64}, "name": "one", "extra": 1},
        {"digest": {"sha256": "0" * 64, "sha512": "0"}, "name": "one"},
        {"digest": {"sha256": 1}, "name": "one"},
        {"digest": {"sha256": "0" * 64}, "name": 1},
        "one",
    ],
)
def test_a_subject_is_a_name_and_a_digest(subject: object) -> None:
    assert refused(document() | {"subject": [subject]}) == (
        "a subject of a statement has exactly a name and a sha256 digest"
    )


def test_a_field_that_is_wrong_is_named() -> None:
    value = document()
    value["predicate"]["aborted"] = "2026-01-31 12:00:00"
    assert refused(value).startswith("abort statement: aborted: '2026-01-31 12:00:00' is not a UTC time")
    for digits in ("２０２６-01-31T12:00:00Z", "2026-01-31T12:00:0\N{MATHEMATICAL MONOSPACE DIGIT TWO}Z"):
        value["predicate"]["aborted"] = digits
        assert "is not a UTC time" in refused(value), "digits of other scripts are not compared as times are"
    value["predicate"]["aborted"] = 5
    assert refused(value) == "abort statement: aborted: expected text"
    value = document()
    value["predicate"]["comment"] = ""
    assert refused(value) == "abort statement: comment: is no field that is known here"


def test_a_field_inside_another_is_named_with_both() -> None:
    value = document()
    value["subject"][0]["digest"]["sha256"] = "0"
    assert refused(value).startswith("abort statement: sha256: ")
    seal = parse_canonical_json(golden_evidence("full").record.seal.payload)
    seal["predicate"]["joins"][1]["seat"] = -1
    with pytest.raises(FormatError, match=r"^seal statement: joins\.1\.seat: must be at least 0$"):
        parse_statement(canonical_json(seal), Seal)


def test_a_statement_beyond_all_measure_is_not_read() -> None:
    with pytest.raises(FormatError, match=r"^a statement of 4194305 bytes is larger than 4194304$"):
        parse_statement(b" " * (MAX_STATEMENT_BYTES + 1), Abort)
    with pytest.raises(FormatError) as caught:
        parse_statement(b" " * MAX_STATEMENT_BYTES, Abort)
    assert "larger than" not in str(caught.value)


def test_nobody_changes_a_statement_that_was_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(ABORT, "reason", "another")  # noqa: B010  # as a caller without type checks would


@pytest.mark.parametrize("stage", ["left-out", "joined", "advertised-keys", "shared-keys"])
def test_the_stages_are_those_of_the_specification(stage: str) -> None:
    value = {"institution": "a", "seat": 0, "stage": stage}
    assert Dropped.model_validate(value).model_dump() == value
    with pytest.raises(ValidationError, match="stage"):
        Dropped.model_validate(value | {"stage": stage + "x"})


def test_a_line_is_bounded() -> None:
    value = document()
    value["predicate"]["reason"] = "x" * 1000
    assert parse_statement(canonical_json(value), Abort)[0].reason == "x" * 1000
    value["predicate"]["reason"] += "x"
    assert refused(value) == "abort statement: reason: expected at most 1000 characters"


# Of a clip that two institutions make.


def test_a_task_has_a_number_of_24_bits() -> None:
    assert CheckedClip.model_validate({"task": 2**24 - 1}).task == 16_777_215
    for task in (-1, 2**24, "3", 3.0, True):
        with pytest.raises(ValidationError, match="task"):
            CheckedClip.model_validate({"task": task})


def test_no_more_clips_are_said_to_be_made_twice_than_are_ever_checked() -> None:
    manifest = golden_evidence("full").contributions["lab-kyoto"].manifest.model_dump(mode="json")
    clips = [{"task": task} for task in range(MOST_CHECKED + 1)]
    assert (
        len(RunManifest.model_validate_json(canonical_json(manifest | {"checked": clips[:-1]})).checked) == MOST_CHECKED
    )
    with pytest.raises(ValidationError, match="checked"):
        RunManifest.model_validate_json(canonical_json(manifest | {"checked": clips}))


@pytest.mark.parametrize(
    "fields",
    [
        {"clip": DIGEST},
        {"thumbnail": THUMBNAIL},
        {"scores": {"temporal-flickering@1": "0.5"}},
        {"vectors": {"mmd-rff@1": encode_base64(bytes(4))}},
    ],
)
def test_a_clip_was_made_or_says_nothing(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="a clip that was made has a digest and a thumbnail"):
        CheckedClip.model_validate({"task": 0} | fields)


def test_a_clip_without_anything_may_say_so() -> None:
    assert CheckedClip.model_validate({"task": 0, "thumbnail": "", "clip": None}) == CheckedClip(task=0)


@pytest.mark.parametrize("size", [0, 2, 6, 4 * VECTOR_LANES + 4])
def test_a_vector_has_whole_numbers_of_bytes(size: int) -> None:
    with pytest.raises(ValidationError, match="a vector has 1 to 256 finite float32 numbers"):
        CheckedClip.model_validate({"task": 0, "vectors": {"mmd-rff@1": encode_base64(bytes(size))}})


@pytest.mark.parametrize("size", [4, 4 * VECTOR_LANES])
def test_a_vector_has_at_least_one_number_and_at_most_as_many_as_allowed(size: int) -> None:
    vector = encode_base64(bytes(size))
    made = {"task": 0, "clip": DIGEST, "thumbnail": THUMBNAIL, "vectors": {"mmd-rff@1": vector}}
    assert CheckedClip.model_validate(made).vectors == {"mmd-rff@1": vector}
