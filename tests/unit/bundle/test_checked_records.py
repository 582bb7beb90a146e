"""What a manifest may say of clips made twice: one form, bounded, and older manifests stay what they were."""

from __future__ import annotations

from typing import Any

import pytest

from testkit.checked import checked_clips
from testkit.small_specs import small_spec
from testkit.statements import INSTITUTIONS
from vdb_shared.bundle.statement import (
    MAX_STATEMENT_BYTES,
    THUMBNAIL_BYTES,
    VECTOR_LANES,
    CheckedClip,
    Contribution,
    NamedDigest,
    RunManifest,
    Statement,
    parse_statement,
)
from vdb_shared.canonical import canonical_json, encode_base64, parse_canonical_json, sha256_digest
from vdb_shared.errors import FormatError
from vdb_shared.seal import MAX_JSON_BYTES
from vdb_shared.tasks import MOST_CHECKED

DIGEST = sha256_digest(b"x")
SPEC = small_spec(generation="{ steps = 2, guidance = 2.0, samples = 10, private_share = 1, checked_share = 0.25 }")
CLIPS = checked_clips(SPEC, 0, len(INSTITUTIONS))


def contribution(checked: tuple[CheckedClip, ...]) -> Contribution:
    manifest = RunManifest(
        environment={},
        models=(NamedDigest(id="m", manifest=DIGEST),),
        extractors=(),
        profile="exact",
        public_clips_made=0,
        public_clips_failed=0,
        sample_root=DIGEST,
        checked=checked,
    )
    return Contribution(
        session=DIGEST,
        seal=DIGEST,
        institution="a",
        seat=0,
        masked_input=DIGEST,
        ledger_entry=DIGEST,
        manifest=manifest,
    )


def test_records_read_back_as_they_were_written() -> None:
    payload = Statement((), contribution(CLIPS)).encode()
    assert parse_statement(payload, Contribution)[0] == contribution(CLIPS)


def test_a_manifest_without_records_has_the_bytes_that_it_had_before_there_were_any() -> None:
    assert b"checked" not in Statement((), contribution(())).encode()


def test_a_clip_that_failed_says_nothing_but_that() -> None:
    assert CheckedClip(task=3).model_dump(mode="json") == {"task": 3}


@pytest.mark.parametrize(
    "edit",
    [
        {"thumbnail": ""},
        {"thumbnail": encode_base64(bytes(THUMBNAIL_BYTES - 1))},
        {"clip": None},
        {"clip": "sha256:0"},
        {"task": -1},
        {"task": 2**24},
        {"scores": {"temporal-flickering@1": "1.1"}},
        {"scores": {"temporal-flickering@1": "0.10"}},
        {"scores": {"Temporal": "0.1"}},
        {"vectors": {"mmd-rff@1": ""}},
        {"vectors": {"mmd-rff@1": encode_base64(bytes(4 * VECTOR_LANES + 4))}},
        {"vectors": {"mmd-rff@1": encode_base64(bytes(6))}},
        {"vectors": {"mmd-rff@1": encode_base64(b"\0\0\xc0\x7f")}},  # NaN
        {"vectors": {"mmd-rff@1": "*"}},
        {"words": "a red circle"},
    ],
)
def test_other_records_are_refused(edit: dict[str, Any]) -> None:
    value = parse_canonical_json(Statement((), contribution(CLIPS)).encode())
    value["predicate"]["manifest"]["checked"][0].update(edit)
    with pytest.raises(FormatError, match="contribution statement"):
        parse_statement(canonical_json(value), Contribution)


@pytest.mark.parametrize("order", [slice(None, None, -1), [0, 0]])
def test_records_ascend_by_task_one_for_each(order: Any) -> None:
    value = parse_canonical_json(Statement((), contribution(CLIPS)).encode())
    records = value["predicate"]["manifest"]["checked"]
    value["predicate"]["manifest"]["checked"] = (
        records[order] if isinstance(order, slice) else [records[place] for place in order]
    )
    with pytest.raises(FormatError, match="ascend"):
        parse_statement(canonical_json(value), Contribution)


def test_as_many_clips_as_are_ever_checked_fit_into_a_member_of_a_bundle() -> None:
    """With as many scores as a spec has metrics and the longest vectors."""
    scores = {f"a-metric-with-quite-a-long-name-{number}@1": "0.123456" for number in range(64)}
    record = {
        "clip": DIGEST,
        "thumbnail": encode_base64(bytes(THUMBNAIL_BYTES)),
        "scores": scores,
        "vectors": {"mmd-rff@1": encode_base64(bytes(4 * VECTOR_LANES))},
    }
    clips = tuple(
        CheckedClip.model_validate_json(canonical_json(record | {"task": 2**24 - 1 - number}))
        for number in reversed(range(MOST_CHECKED))
    )
    payload = Statement((), contribution(clips)).encode()
    assert len(payload) < MAX_STATEMENT_BYTES
    assert len(encode_base64(payload)) + 2**16 < MAX_JSON_BYTES
