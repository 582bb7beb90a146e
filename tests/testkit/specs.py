"""A small valid spec, and ways to change one thing in it."""

from __future__ import annotations

from typing import Any

from vdb_shared.spec import Spec, parse_spec_toml

TOML = """\
version = "vdb-spec/1"
title = "Three tiny models"
purpose = "Shows what a spec looks like."

[cohort]
minimum = 4
collusion = 1
dropout = 0.2

[privacy]
epsilon = 8
delta = 1e-6
maximum_records = 512

[deadlines]
joining = 60
computing = 600
round = 10
countersigning = 30

[video]
frames = 9
height = 32
width = 32
fps = 8

[generation]
steps = 2
guidance = 2.0
private_share = 0.25

[[prompts]]
id = "red-circle"
text = "a red circle moving left"

[[prompts]]
id = "blue-square"
text = "a blue square bouncing"

[[models]]
id = "tiny-wan-a"
pipeline = "WanPipeline"
manifest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

[[models]]
id = "tiny-wan-b"
pipeline = "WanPipeline"
manifest = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

[[extractors]]
id = "clip-tiny"
architecture = "CLIPModel"
manifest = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
dimension = 16

[[extractors]]
id = "videomae-tiny"
architecture = "VideoMAEModel"
manifest = "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
dimension = 16

[[metrics]]
id = "temporal-flickering@1"
inputs = "public"

[[metrics]]
id = "clip-score@1"
inputs = "private"
extractor = "clip-tiny"

[[metrics]]
id = "frechet-videomae@1"
inputs = "public"
extractor = "videomae-tiny"
"""


def without_noise(spec: Spec) -> Spec:
    """Return the spec with the noise off, which no written spec can be: the switch that only tests reach."""
    return spec.model_copy(update={"privacy": spec.privacy.model_copy(update={"mechanism": "none"})})


def small_spec(**changes: Any) -> Spec:
    """Return the spec of `TOML`, with whole sections replaced."""
    return parse_spec_toml(TOML).model_copy(update=changes)
