"""Two sites' clips side by side: what differs shows, whatever is said makes no error, and each side is named."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.checked import checked_clip, checked_clips
from testkit.small_specs import small_spec
from vdb_shared.bundle.statement import THUMBNAIL_BYTES, CheckedClip, RunManifest
from vdb_shared.canonical import canonical_json, decode_base64, encode_base64, sha256_digest
from vdb_shared.checked_clips import (
    DROPPED_OUT,
    NO_RECORD,
    NOT_MADE,
    TOLERANCES,
    Comparison,
    compare_checked,
    compared_metrics,
    compared_vector,
)
from vdb_shared.metrics.features import random_fourier_features, random_fourier_frequencies
from vdb_shared.spec import Spec
from vdb_shared.tasks import checked_tasks

SITES = ("archive-oslo", "clinic-lyon", "film-studio", "lab-kyoto", "museum-lima")
SPEC = small_spec(generation="{ steps = 2, guidance = 2.0, samples = 10, private_share = 1, checked_share = 0.25 }")
EXACT = TOLERANCES["exact"]


def manifest(clips: tuple[CheckedClip, ...]) -> RunManifest:
    return RunManifest(
        environment={},
        models=(),
        extractors=(),
        profile="exact",
        public_clips_made=0,
        public_clips_failed=0,
        sample_root=sha256_digest(b""),
        checked=clips,
    )


def honest(spec: Spec = SPEC) -> dict[str, RunManifest]:
    return {name: manifest(checked_clips(spec, place, len(SITES))) for place, name in enumerate(SITES)}


def compared(manifests: dict[str, RunManifest], spec: Spec = SPEC) -> Comparison:
    found = compare_checked(spec, SITES, manifests)
    assert found is not None
    return found


def changed(name: str, change: Callable[[CheckedClip], CheckedClip]) -> Comparison:
    """Return the comparison when one site says something else of all its clips."""
    said = honest()
    said[name] = manifest(tuple(change(clip) for clip in said[name].checked))
    return compared(said)


def site(found: Comparison, name: str) -> dict[str, Any]:
    sites: Any = found.to_json()["sites"]
    (line,) = [item for item in sites if item["institution"] == name]
    return dict(line)


def test_honest_sites_say_the_same_to_the_last_bit() -> None:
    found = compared(honest())
    assert len(found.pairs) == 30
    assert {pair.outcome for pair in found.pairs} == {"equal"}
    assert not found.apart
    assert not found.owed
    assert sum(site(found, name)["equal"] for name in SITES) == 60
    assert {site(found, name)["largest_distance"] for name in SITES} == {"0"}


def test_a_site_with_another_model_stands_in_every_pair_that_differs() -> None:
    found = changed("lab-kyoto", lambda clip: checked_clip(SPEC, clip.task, "another model"))
    mine = [pair for pair in found.pairs if "lab-kyoto" in pair.institutions]
    assert list(found.apart) == mine
    assert site(found, "lab-kyoto")["apart"] == len(mine) == site(found, "lab-kyoto")["clips"]
    assert all(site(found, name)["equal"] for name in SITES if name != "lab-kyoto")
    assert float(site(found, "lab-kyoto")["largest_distance"]) > 1


def test_pairs_name_the_clip_as_the_spec_does() -> None:
    found = compared(honest())
    for pair, item in zip(found.pairs, checked_tasks(SPEC, 5), strict=True):
        model, prompt, sample = item.number // 40, item.number % 40 // 10, item.number % 10
        assert (pair.model, pair.prompt, pair.sample) == (SPEC.models[model].id, SPEC.prompts[prompt].id, sample)
        assert pair.institutions == (SITES[item.first], SITES[item.second])


def with_score(step: Decimal) -> Callable[[CheckedClip], CheckedClip]:
    def change(clip: CheckedClip) -> CheckedClip:
        scores = {name: score + (step if score < Decimal("0.5") else -step) for name, score in clip.scores.items()}
        return clip.model_copy(update={"scores": scores, "clip": sha256_digest(b"other")})

    return change


def with_vector(metric: str, length: float) -> Callable[[CheckedClip], CheckedClip]:
    def change(clip: CheckedClip) -> CheckedClip:
        values = np.frombuffer(decode_base64(clip.vectors[metric]), "<f4").copy()
        values[1] += length
        vectors = {**clip.vectors, metric: encode_base64(values.tobytes())}
        return clip.model_copy(update={"vectors": vectors, "clip": sha256_digest(b"other")})

    return change


def with_cell(levels: int) -> Callable[[CheckedClip], CheckedClip]:
    def change(clip: CheckedClip) -> CheckedClip:
        cells = bytearray(decode_base64(clip.thumbnail))
        cells[100] += levels if cells[100] < 128 else -levels
        return clip.model_copy(update={"thumbnail": encode_base64(bytes(cells)), "clip": sha256_digest(b"other")})

    return change


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (with_score(Decimal("0.009")), "close"),
        (with_score(Decimal("0.011")), "apart"),
        (with_vector("frechet-videomae@1", 0.9 * EXACT.distance), "close"),
        (with_vector("frechet-videomae@1", 1.1 * EXACT.distance), "apart"),
        (with_vector("mmd-rff@1", 1.1 * EXACT.distance), "apart"),
        (with_cell(EXACT.thumbnail), "close"),
        (with_cell(EXACT.thumbnail + 1), "apart"),
    ],
)
def test_other_frames_are_close_up_to_the_tolerance(change: Callable[[CheckedClip], CheckedClip], outcome: str) -> None:
    found = changed("clinic-lyon", change)
    assert {pair.outcome for pair in found.pairs if "clinic-lyon" in pair.institutions} == {outcome}
    assert {pair.outcome for pair in found.pairs if "clinic-lyon" not in pair.institutions} == {"equal"}


def test_equal_frames_that_are_measured_otherwise_are_apart() -> None:
    """A wrong extractor, or a broken one, shows although the clips are the same."""
    found = changed("clinic-lyon", lambda clip: with_score(Decimal("0.2"))(clip).model_copy(update={"clip": clip.clip}))
    assert {pair.outcome for pair in found.pairs if "clinic-lyon" in pair.institutions} == {"apart"}


def test_accelerated_clips_have_more_room() -> None:
    generation = SPEC.generation.model_copy(update={"profile": "fast"})
    spec = SPEC.model_copy(update={"generation": generation})
    said = honest(spec)
    said["clinic-lyon"] = manifest(tuple(with_score(Decimal("0.04"))(clip) for clip in said["clinic-lyon"].checked))
    assert {pair.outcome for pair in compared(said, spec).pairs} == {"equal", "close"}


def test_who_is_not_in_the_sum_is_not_compared() -> None:
    said = honest()
    del said["film-studio"]
    found = compared(said)
    gone = [pair for pair in found.pairs if "film-studio" in pair.institutions]
    assert gone
    assert {(pair.outcome, pair.reason, pair.blamed) for pair in gone} == {("not compared", DROPPED_OUT, "film-studio")}
    assert not found.owed
    assert len(found.compared) == 30 - len(gone)


def test_a_dropout_is_the_reason_even_where_the_other_site_failed() -> None:
    said = honest()
    del said["film-studio"]
    said = {name: manifest(tuple(CheckedClip(task=c.task) for c in m.checked)) for name, m in said.items()}
    reasons = {pair.reason for pair in compared(said).pairs if "film-studio" in pair.institutions}
    assert reasons == {DROPPED_OUT}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda clip: CheckedClip(task=clip.task), NOT_MADE),
        (lambda clip: clip.model_copy(update={"scores": {}}), NO_RECORD),
        (lambda clip: clip.model_copy(update={"scores": {**clip.scores, "more@1": Decimal(0)}}), NO_RECORD),
        (lambda clip: clip.model_copy(update={"vectors": {}}), NO_RECORD),
        (lambda clip: clip.model_copy(update={"vectors": dict.fromkeys(clip.vectors, "AAAAAA==")}), NO_RECORD),
        (lambda clip: clip.model_copy(update={"task": clip.task + 1000}), NO_RECORD),
    ],
)
def test_what_a_site_owes_is_named(change: Callable[[CheckedClip], CheckedClip], reason: str) -> None:
    found = changed("museum-lima", change)
    owed = [pair for pair in found.pairs if "museum-lima" in pair.institutions]
    assert list(found.owed) == owed
    assert {(pair.reason, pair.blamed) for pair in owed} == {(reason, "museum-lima")}
    pairs: Any = found.to_json()["pairs"]
    assert f"museum-lima {reason}" in {pair.get("reason") for pair in pairs}


def test_a_manifest_without_any_record_is_named() -> None:
    said = honest() | {"museum-lima": manifest(())}
    assert {pair.blamed for pair in compared(said).owed} == {"museum-lima"}


def test_nothing_is_compared_where_the_spec_wants_nothing_made_twice() -> None:
    generation = SPEC.generation.model_copy(update={"checked_share": Decimal(0)})
    assert compare_checked(SPEC.model_copy(update={"generation": generation}), SITES, honest()) is None


def test_times_are_no_business_of_the_comparison() -> None:
    text = '[{ id = "latency@1", inputs = "public", limit = 10 }, { id = "temporal-flickering@1", inputs = "public" }]'
    scores, distances = compared_metrics(small_spec(metrics=text, extractors="[]"))
    assert [metric.id for metric in scores] == ["temporal-flickering@1"]
    assert not distances


RECORDS = st.builds(
    CheckedClip,
    task=st.sampled_from([item.number for item in checked_tasks(SPEC, 5)]),
    clip=st.sampled_from([sha256_digest(b"a"), sha256_digest(b"b")]),
    thumbnail=st.binary(min_size=THUMBNAIL_BYTES, max_size=THUMBNAIL_BYTES).map(encode_base64),
    scores=st.dictionaries(
        st.sampled_from(["temporal-flickering@1", "clip-score@1", "x@1"]), st.decimals(0, 1, places=3)
    ),
    vectors=st.dictionaries(
        st.sampled_from(["frechet-videomae@1", "mmd-rff@1"]),
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4).map(
            lambda values: encode_base64(np.array(values, "<f4").tobytes())
        ),
    ),
)


@given(st.lists(RECORDS, max_size=12, unique_by=lambda clip: clip.task))
def test_whatever_a_site_says_a_comparison_comes_out(clips: list[CheckedClip]) -> None:
    ordered = tuple(sorted(clips, key=lambda clip: clip.task))
    found = compared(honest() | {"lab-kyoto": manifest(ordered)})
    canonical_json(found.to_json())
    assert len(found.pairs) == 30
    assert {pair.outcome for pair in found.pairs if "lab-kyoto" not in pair.institutions} == {"equal"}


def test_a_thinned_kernel_embedding_keeps_distances() -> None:
    """Every eighth of 2048 random features gives the distance between clips within a third."""
    metrics = '[{ id = "mmd-rff@1", inputs = "public", extractor = "tiny-videomae", features = 2048, bandwidth = 1.0 }]'
    spec = small_spec(metrics=metrics)
    (metric,) = spec.metrics
    frequencies = random_fourier_frequencies(sha256_digest(b"weights"), 16, 2048, 1.0)
    draws = np.random.default_rng(3)
    for _ in range(20):
        first, second = (random_fourier_features(draws.normal(size=16), frequencies) for _ in range(2))
        whole = np.linalg.norm(first - second)
        kept = [compared_vector(spec, metric, share).astype(np.float64) for share in (first, second)]
        assert kept[0].size == 256
        assert np.linalg.norm(kept[0] - kept[1]) == pytest.approx(whole, rel=0.33)


def test_principal_axes_come_first_and_all_vectors_together_have_their_bound() -> None:
    extractors = (
        '[{ id = "tiny-videomae", architecture = "VideoMAEModel", dimension = 512, '
        f'manifest = "{sha256_digest(b"x")}" }}]'
    )
    metrics = """[
  { id = "frechet-videomae@1", inputs = "public", extractor = "tiny-videomae" },
  { id = "mmd-rff@1", inputs = "public", extractor = "tiny-videomae", features = 64, bandwidth = 1.0 },
]"""
    spec = small_spec(metrics=metrics, extractors=extractors)
    share = np.arange(512 + 512 * 513 // 2, dtype=np.float64)
    frechet, kernel = spec.metrics
    assert compared_vector(spec, frechet, share).tolist() == list(range(128))
    assert compared_vector(spec, kernel, np.arange(64.0)).tolist() == list(range(64))
