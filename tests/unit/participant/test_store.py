"""The clip store: lossless, durable, and honest about damage."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from zstandard import ZstdCompressor

from vdb_participant.data.video import Frames
from vdb_participant.generation.breaker import Breaker
from vdb_participant.generation.settings import Clip, Sound
from vdb_participant.generation.store import ClipKey, ClipStore, clip_digest
from vdb_shared.canonical import canonical_json, decode_fields, encode_fields, sha256_digest
from vdb_shared.errors import StoreError

KEY = ClipKey("sha256:" + "0" * 64, "a red circle", 7, (("steps", 4),))


def _frames(seed: int = 0) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (5, 16, 32, 3), dtype=np.uint8)


def _entry(folder: Path, suffix: str = "clip") -> Path:
    (path,) = folder.glob(f"??/*.{suffix}")
    return path


@settings(max_examples=20, deadline=None)
@given(
    frames=arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 3, st.just(3))),
    seconds=st.just(0.0) | st.floats(1e-9, 1e6),
)
def test_a_clip_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, frames: Frames, seconds: float
) -> None:
    store = ClipStore(tmp_path_factory.mktemp("store"))
    put = store.put(KEY, Clip(frames), seconds=seconds, device="CPU x")
    got = store.get(KEY)
    assert got is not None
    np.testing.assert_array_equal(got.frames, frames)
    assert got.frames.dtype == np.uint8
    assert (got.seconds, got.device, got.digest) == (seconds, "CPU x", put.digest)


def test_sound_comes_back_sample_for_sample(tmp_path: Path) -> None:
    waveform = np.random.default_rng(1).uniform(-1, 1, (2, 801)).astype(np.float32)
    silent = ClipStore(tmp_path / "silent").put(KEY, Clip(_frames()), seconds=1.0, device="d")
    put = ClipStore(tmp_path / "loud").put(KEY, Clip(_frames(), Sound(waveform, 24000)), seconds=1.0, device="d")
    got = ClipStore(tmp_path / "loud").get(KEY)
    assert got is not None
    assert got.sound is not None
    np.testing.assert_array_equal(got.sound.waveform, waveform)
    assert got.sound.waveform.dtype == np.float32
    assert got.sound.rate == 24000
    np.testing.assert_array_equal(got.frames, _frames())
    assert got.digest == put.digest == silent.digest
    again = ClipStore(tmp_path / "silent").get(KEY)
    assert again is not None
    assert again.sound is None


def test_the_name_of_a_key_without_condition_is_what_it_always_was() -> None:
    value = {"model": KEY.model, "prompt": KEY.prompt, "seed": "7", "settings": {"steps": 4}}
    assert f"sha256:{KEY.name}" == sha256_digest(canonical_json(value))


def test_the_digest_covers_shape_and_every_byte() -> None:
    frames = _frames()
    changed = frames.copy()
    changed[4, 15, 31, 2] ^= 1
    digests = {clip_digest(frames), clip_digest(changed), clip_digest(frames.reshape(5, 32, 16, 3))}
    assert len(digests) == 3


@pytest.mark.parametrize(
    "other",
    [
        ClipKey("sha256:" + "1" * 64, "a red circle", 7, (("steps", 4),)),
        ClipKey("sha256:" + "0" * 64, "a red circl", 7, (("steps", 4),)),
        ClipKey("sha256:" + "0" * 64, "a red circle", 8, (("steps", 4),)),
        ClipKey("sha256:" + "0" * 64, "a red circle", 7, (("steps", 5),)),
        ClipKey(
            "sha256:" + "0" * 64, "a red circle", 7, (("steps", 4),), clip_digest(np.zeros((1, 2, 2, 3), np.uint8))
        ),
    ],
)
def test_everything_that_makes_a_clip_is_in_its_key(tmp_path: Path, other: ClipKey) -> None:
    store = ClipStore(tmp_path)
    store.put(KEY, Clip(_frames()), seconds=1.0, device="d")
    assert store.has(KEY)
    assert not store.has(other)
    assert store.get(other) is None


def test_any_damaged_byte_makes_an_entry_absent(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    store.put(KEY, Clip(_frames()), seconds=1.5, device="d")
    path = _entry(tmp_path)
    whole = path.read_bytes()
    for position in [*range(160), *range(160, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert store.get(KEY) is None
        assert not store.has(KEY)
    for length in (0, 10, 32, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert store.get(KEY) is None
    store.put(KEY, Clip(_frames()), seconds=1.5, device="d")
    assert store.has(KEY)


def test_no_partial_file_stays_behind(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    store.put(KEY, Clip(_frames()), seconds=1.0, device="d")
    store.give_up(KEY, "why")
    assert sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file()) == [".clip", ".failed"]


def test_a_failure_keeps_its_reason(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    assert store.failure(KEY) is None
    store.give_up(KEY, "out of memory — 3 GiB")
    assert store.failure(KEY) == "out of memory — 3 GiB"
    assert not store.has(KEY)
    _entry(tmp_path, "failed").write_bytes(b"garbage")
    assert store.failure(KEY) is None


def test_merging_takes_clips_with_their_measurements(tmp_path: Path) -> None:
    here, there = ClipStore(tmp_path / "a"), ClipStore(tmp_path / "b")
    keys = [ClipKey(KEY.model, "p", seed, ()) for seed in range(4)]
    here.put(keys[0], Clip(_frames(0)), seconds=1.0, device="slow")
    there.put(keys[0], Clip(_frames(0)), seconds=9.0, device="fast")
    there.put(keys[1], Clip(_frames(1)), seconds=2.0, device="fast")
    there.give_up(keys[2], "reason")
    there.put(keys[3], Clip(_frames(3)), seconds=4.0, device="fast")
    damaged = max((tmp_path / "b").glob("??/*.clip"), key=lambda path: path.stat().st_mtime_ns)
    damaged.write_bytes(b"x")
    assert here.merge(there) == 1
    clips = [here.get(key) for key in keys]
    assert [clip and (clip.seconds, clip.device) for clip in clips] == [(1.0, "slow"), (2.0, "fast"), None, None]
    assert here.failure(keys[2]) == "reason"
    assert here.merge(there) == 0


def test_a_file_where_the_store_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        ClipStore(tmp_path / "file" / "store")
    store = ClipStore(tmp_path / "store")
    (tmp_path / "store" / KEY.name[:2]).touch()
    with pytest.raises(StoreError, match="free space and start again"):
        store.put(KEY, Clip(_frames()), seconds=1.0, device="d")


def test_an_entry_of_another_form_is_absent_whatever_its_checksum_says(tmp_path: Path) -> None:
    store = ClipStore(tmp_path)
    store.put(KEY, Clip(_frames()), seconds=1.0, device="d")
    path = _entry(tmp_path)
    head, body = decode_fields(path.read_bytes()[32:], 2)
    header = json.loads(head)
    old = {name: value for name, value in header.items() if name != "compression"}
    too_much = ZstdCompressor().compress(bytes(64 * 2**20))
    for changed, payload in (
        (old, zlib.compress(_frames().tobytes())),
        (header, b"no Zstandard"),
        (header, too_much),
        (header | {"shape": [1, 2, 3, 3]}, body),
    ):
        entry = encode_fields(canonical_json(changed), payload)
        path.write_bytes(hashlib.sha256(entry).digest() + entry)
        assert store.get(KEY) is None
        assert store.has(KEY) == (changed is not old)


def test_only_its_owner_may_look_into_a_store(tmp_path: Path) -> None:
    store = ClipStore(tmp_path / "state" / "clips")
    store.put(KEY, Clip(_frames()), seconds=1.0, device="d")
    Breaker(store, KEY.model).failed("a private reason")
    assert store.directory.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in store.directory.rglob("*") if path.is_file())
