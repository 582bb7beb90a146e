"""Kept features: found again only for what they were computed from, private, and never believed when damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from testkit.tiny import tiny_spec
from vdb_participant.data.dataset import Dataset
from vdb_participant.data.video import Frames
from vdb_participant.generation.store import ClipStore
from vdb_participant.measure import cache as cache_module
from vdb_participant.measure.cache import FeatureCache
from vdb_participant.measure.extractors.interface import Description, LoadedExtractor, Vector
from vdb_participant.measure.observation import Observation
from vdb_participant.measure.site import Equipment, SiteMeasurement, measure_site
from vdb_shared.canonical import decode_fields, encode_fields
from vdb_shared.errors import ModelError, StatisticError, StoreError
from vdb_shared.layout import reference_block
from vdb_shared.spec import Spec
from vdb_shared.tasks import public_tasks

CLIP = "sha256:" + "a" * 64
KNOWN = Description("e", "VideoMAEModel", "sha256:" + "b" * 64, 3, "CPU x", "float32", 8)
FEATURES = np.array([0.1, np.nan, -np.inf])
FRAMES = np.zeros((9, 16, 16, 3), dtype=np.uint8)


def _entry(folder: Path) -> Path:
    (path,) = folder.glob("??/*.features")
    return path


@settings(max_examples=20, deadline=None)
@given(features=arrays(np.float64, st.lists(st.integers(1, 5), min_size=1, max_size=2).map(tuple)))
def test_features_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, features: Vector) -> None:
    folder = tmp_path_factory.mktemp("cache")
    FeatureCache(folder).put(CLIP, KNOWN, "clip", features)
    found = FeatureCache(folder).get(CLIP, KNOWN, "clip")
    assert found is not None
    assert found.dtype == np.float64
    assert found.shape == features.shape
    assert found.tobytes() == features.tobytes()


def test_features_are_found_only_for_what_they_were_computed_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(CLIP, KNOWN, "clip", FEATURES)
    others: list[tuple[str, Description, str]] = [
        ("sha256:" + "c" * 64, KNOWN, "clip"),
        (CLIP, KNOWN, "frames"),
        *(
            (CLIP, replace(KNOWN, **changed), "clip")
            for changed in (
                {"architecture": "VideoMAEFineTuned"},
                {"manifest": "sha256:" + "d" * 64},
                {"dimension": 4},
                {"device": "NVIDIA H200"},
                {"precision": "float16"},
                {"frames": 4},
            )
        ),
    ]
    for clip, extractor, kind in others:
        assert cache.get(clip, extractor, kind) is None
    assert cache.get(CLIP, replace(KNOWN, id="another name in another spec"), "clip") is not None
    monkeypatch.setattr(cache_module, "__version__", "0.2.0")
    assert FeatureCache(tmp_path).get(CLIP, KNOWN, "clip") is None


def test_any_damaged_byte_makes_features_absent(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(CLIP, KNOWN, "clip", FEATURES)
    path = _entry(tmp_path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert cache.get(CLIP, KNOWN, "clip") is None
    for length in (0, 10, 32, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert cache.get(CLIP, KNOWN, "clip") is None
    cache.put(CLIP, KNOWN, "clip", FEATURES)
    assert cache.get(CLIP, KNOWN, "clip") is not None


def test_an_entry_in_anothers_place_is_not_believed(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(CLIP, KNOWN, "clip", FEATURES)
    first = _entry(tmp_path)
    body = first.read_bytes()
    first.unlink()
    cache.put(CLIP, KNOWN, "frames", FEATURES)
    _entry(tmp_path).write_bytes(body)
    assert cache.get(CLIP, KNOWN, "frames") is None


def test_only_its_owner_may_look_into_a_cache(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "state" / "features")
    cache.put(CLIP, KNOWN, "clip", FEATURES)
    assert cache.directory.stat().st_mode & 0o777 == 0o700
    assert _entry(cache.directory).stat().st_mode & 0o777 == 0o600
    assert sorted(path.suffix for path in cache.directory.rglob("*") if path.is_file()) == [".features"]


def test_what_is_too_large_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "LARGEST_BYTES", 80)
    cache = FeatureCache(tmp_path)
    cache.put(CLIP, KNOWN, "clip", np.zeros(11))
    assert cache.get(CLIP, KNOWN, "clip") is None
    assert list(tmp_path.rglob("*")) == []
    cache.put(CLIP, KNOWN, "clip", np.zeros(10))
    assert cache.get(CLIP, KNOWN, "clip") is not None


def test_what_dead_writers_left_is_removed(tmp_path: Path) -> None:
    FeatureCache(tmp_path).put(CLIP, KNOWN, "clip", FEATURES)
    left = _entry(tmp_path).parent / ".partial-x"
    left.write_bytes(b"half")
    FeatureCache(tmp_path)
    assert not left.exists()


def test_a_file_where_the_cache_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        FeatureCache(tmp_path / "file" / "features")


class _Counting:
    """Says what it is asked how often."""

    description = KNOWN

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_clip(self, frames: Frames) -> Vector:
        self.asked.append("clip")
        return np.full(3, float(len(frames)))

    def embed_text(self, text: str) -> Vector:
        self.asked.append("text")
        return np.ones(3)

    def probabilities(self, frames: Frames) -> Vector:
        self.asked.append("probabilities")
        return np.array([0.25, 0.75])

    def scores(self, frames: Frames) -> Vector:
        self.asked.append("scores")
        return np.zeros(len(frames))

    def cosine(self, frames: Frames, text: str) -> float:
        self.asked.append("pair")
        return 0.5


def _ask(clip: Observation) -> list[Any]:
    return [
        clip.clip_features("e").tolist(),
        clip.probabilities("e").tolist(),
        clip.frame_scores("e").tolist(),
        clip.text_embedding("e").tolist(),
        clip.text_cosine("e"),
    ]


def test_a_second_observation_computes_only_what_hangs_on_words(tmp_path: Path) -> None:
    extractor, cache = _Counting(), FeatureCache(tmp_path)
    extractors: Mapping[str, LoadedExtractor] = {"e": extractor}
    answers = [_ask(Observation(FRAMES, extractors, "a", digest=CLIP, cache=cache)) for _ in range(2)]
    assert answers[0] == answers[1]
    assert extractor.asked == ["clip", "probabilities", "scores", "text", "pair", "text", "pair"]
    assert len(list(tmp_path.glob("??/*.features"))) == 3


def test_without_a_cache_or_a_digest_nothing_is_kept(tmp_path: Path) -> None:
    extractor, cache = _Counting(), FeatureCache(tmp_path)
    for _ in range(2):
        _ask(Observation(FRAMES, {"e": extractor}, "a", cache=cache))
        _ask(Observation(FRAMES, {"e": extractor}, "a", digest=CLIP))
    assert len(extractor.asked) == 20
    assert list(tmp_path.rglob("*.features")) == []


def test_an_extractor_is_not_asked_for_what_it_cannot_do() -> None:
    with pytest.raises(StatisticError, match="extractor e cannot see frames, as the metric needs; check the spec"):
        Observation(FRAMES, {"e": _Counting()}).frame_embeddings("e")


@pytest.fixture(scope="module")
def quick(tiny_models: Path) -> Spec:
    metrics = ("clip-temp@1", "frechet-videomae@1", "mmd-rff@1")
    return tiny_spec(tiny_models, pipelines=("tiny-wan-a",), metrics=metrics)


def _measure(spec: Spec, equipment: Equipment, data: Path, store: Path) -> SiteMeasurement:
    dataset = Dataset.open(data, frames=spec.video.frames)
    return measure_site(spec, public_tasks(spec), dataset, equipment, ClipStore(store))


def test_measuring_again_takes_features_from_the_cache(
    quick: Spec, tiny_models: Path, site_data: Path, tmp_path: Path
) -> None:
    equipment = Equipment(tiny_models, tiny_models, "cpu")
    first = _measure(quick, equipment, site_data, tmp_path)
    kept = sorted((tmp_path / "features").glob("??/*.features"))
    assert len(kept) == len({sample.clip for sample in first.samples}) * 2 - 12  # clip-temp sees no reference clips
    again = _measure(quick, equipment, site_data, tmp_path)
    for name, sums in first.statistics.items():
        np.testing.assert_array_equal(again.statistics[name], sums)
    assert again.samples == first.samples
    for path in kept:
        head, body = decode_fields(path.read_bytes()[32:], 2)
        entry = encode_fields(head, (np.frombuffer(body, "<f8") * 0.5).tobytes())
        path.write_bytes(hashlib.sha256(entry).digest() + entry)
    halved = _measure(quick, equipment, site_data, tmp_path).statistics
    distance = reference_block("frechet-videomae@1", "moments")
    assert not np.array_equal(halved[distance], first.statistics[distance])
    alone = _measure(quick, replace(equipment, features=False), site_data, tmp_path)
    for name, sums in first.statistics.items():
        np.testing.assert_array_equal(alone.statistics[name], sums)


def test_missing_weights_are_named_before_any_clip_is_made(
    quick: Spec, tiny_models: Path, site_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="found no such directory") as refusal:
        _measure(quick, Equipment(tiny_models, tmp_path / "none", "cpu"), site_data, tmp_path / "store")
    extractor = quick.extractor("tiny-clip")
    assert str(tmp_path / "none" / extractor.id) in str(refusal.value)
    assert extractor.manifest in str(refusal.value)
    assert list((tmp_path / "store").rglob("*.clip")) == []
