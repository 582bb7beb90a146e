"""Noise goes on private lanes, all of them, and on no others; the manifest betrays no private count."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from testkit.checked import checked_clips
from testkit.specs import TOML, small_spec
from vdb_participant.noise import integer_sampler, opendp_sampler
from vdb_participant.noise.samplers import SAMPLERS
from vdb_participant.session.contribution import noised_lanes, private_lanes, run_manifest
from vdb_participant.session.samples import KeptSamples
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import StatisticError
from vdb_shared.privacy.calibration import LOCAL_SIGMA
from vdb_shared.privacy.mechanism import encode, uniform_bytes_needed
from vdb_shared.seal import seal_terms
from vdb_shared.spec import Sampler, Spec, parse_spec_toml

Noise = Callable[[int], NDArray[np.int64]]

SAMPLE = {"side": "public", "model": "m", "prompt": "p", "number": 0, "clip": "", "shares": "", "failure": ""}
MEASURED = {
    "versions": {"python": "3.11.9", "ftfy": ""},
    "platform": "x86_64",
    "public_clips": {"CPU x86_64": 1},
    "cuda": "",
    "arithmetic": "float32",
    "checked": [],
}


def with_mechanism(mechanism: str) -> Spec:
    spec = small_spec()
    return spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"mechanism": mechanism})})


def counting(count: int) -> NDArray[np.int64]:
    return np.arange(1, count + 1, dtype=np.int64)


def test_noise_is_on_every_private_lane_and_on_no_other() -> None:
    terms = seal_terms(small_spec(), range(4))
    statistics = {block.name: np.ones(block.dims) for block in terms.layout.blocks}
    uniforms = os.urandom(uniform_bytes_needed(terms.layout, terms.calibration))
    plain = encode(terms.layout, terms.calibration, statistics, uniforms)
    noised = noised_lanes(small_spec(), terms, statistics, lambda _: uniforms, {"opendp": counting})
    private = private_lanes(terms.layout)
    assert private.sum() == terms.layout.private_lanes > 0
    assert np.array_equal((noised - plain)[private], np.arange(1, private.sum() + 1))
    assert np.array_equal(noised[~private], plain[~private])


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_noise_is_drawn_by_the_sampler_that_the_spec_names(sampler: Sampler) -> None:
    spec = parse_spec_toml(TOML.replace("[privacy]", f'[privacy]\nsampler = "{sampler}"'))
    terms = seal_terms(spec, range(4))
    statistics = {block.name: np.zeros(block.dims) for block in terms.layout.blocks}
    offered: dict[Sampler, Noise] = {
        "opendp": lambda count: np.full(count, 1, dtype=np.int64),
        "integer": lambda count: np.full(count, 2, dtype=np.int64),
    }
    lanes = noised_lanes(spec, terms, statistics, bytes, offered)
    assert set(lanes[private_lanes(terms.layout)]) == {{"opendp": 1, "integer": 2}[sampler]}


@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_every_sampler_of_the_spec_ships_and_noises_lanes(sampler: Sampler) -> None:
    spec = parse_spec_toml(TOML.replace("[privacy]", f'[privacy]\nsampler = "{sampler}"'))
    terms = seal_terms(spec, range(4))
    statistics = {block.name: np.zeros(block.dims) for block in terms.layout.blocks}
    lanes = noised_lanes(spec, terms, statistics, bytes, SAMPLERS)
    private = private_lanes(terms.layout)
    assert np.count_nonzero(lanes[private]) >= private.sum() - 1
    assert np.abs(lanes[private]).max() < 8 * LOCAL_SIGMA
    assert not lanes[~private].any()


def test_names_stand_for_their_implementations() -> None:
    assert dict(SAMPLERS) == {"opendp": opendp_sampler.sample_noise, "integer": integer_sampler.sample_noise}
    assert set(SAMPLERS) == set(get_args(Sampler))


def test_without_a_mechanism_there_is_no_noise() -> None:
    spec = with_mechanism("none")
    terms = seal_terms(spec, range(4))
    statistics = {block.name: np.ones(block.dims) for block in terms.layout.blocks}

    def never(count: int) -> np.ndarray:
        raise AssertionError("no noise is wanted")

    lanes = noised_lanes(spec, terms, statistics, os.urandom, {"opendp": never})
    assert np.array_equal(lanes, np.full(terms.layout.lanes, 2**terms.calibration.public_exponent))


def test_a_lane_that_overflows_with_its_noise_is_refused() -> None:
    terms = seal_terms(small_spec(), range(4))
    statistics = {block.name: np.zeros(block.dims) for block in terms.layout.blocks}
    with pytest.raises(StatisticError, match="overflows"):
        noised_lanes(
            small_spec(), terms, statistics, os.urandom, {"opendp": lambda n: np.full(n, 2**47, dtype=np.int64)}
        )


def test_manifest_counts_public_clips_only() -> None:
    samples = [
        SAMPLE,
        SAMPLE | {"failure": "out of memory"},
        *({**SAMPLE, "side": "private"} for _ in range(7)),
        SAMPLE | {"side": "reference", "model": "clips"},
    ]
    manifest = run_manifest(small_spec(), MEASURED, samples, "sha256:" + "0" * 64)
    assert (manifest.public_clips_made, manifest.public_clips_failed) == (1, 1)
    assert manifest.environment == {
        "python": "3.11.9",
        "platform": "x86_64",
        "clips made on CPU x86_64": "1",
        "arithmetic": "float32",
    }
    assert [item.id for item in manifest.models] == ["tiny-wan-a", "tiny-wan-b"]


def test_the_manifest_says_what_was_said_of_clips_made_twice() -> None:
    clips = checked_clips(small_spec(), 0, 2)
    said = MEASURED | {"checked": [clip.model_dump(mode="json") for clip in clips]}
    assert clips
    assert run_manifest(small_spec(), said, [], "sha256:" + "0" * 64).checked == clips


def test_sample_root_depends_on_every_clip_and_on_the_secret() -> None:
    samples = [SAMPLE | {"number": number, "shares": sha256_digest(b"s"), "failure": "f"} for number in range(5)]
    kept = KeptSamples(bytes(32), samples)
    assert kept.root == KeptSamples(bytes(32), list(samples)).root
    roots = {kept.root, KeptSamples(bytes([1]) * 32, samples).root}
    for place in range(5):
        roots.add(KeptSamples(bytes(32), [*samples[:place], *samples[place + 1 :]]).root)
        for field, other in (("number", 9), ("prompt", "other words"), ("shares", "sha256:" + "5" * 64)):
            roots.add(
                KeptSamples(bytes(32), [*samples[:place], samples[place] | {field: other}, *samples[place + 1 :]]).root
            )
    assert len(roots) == 22
    with pytest.raises(ValueError, match="secret"):
        KeptSamples(bytes(31), samples)
