"""The spec of the small result bundles, and variants of it."""

from __future__ import annotations

import re

from vdb_shared.canonical import sha256_digest
from vdb_shared.spec import Spec, parse_spec_toml

SPEC = """
version = "vdb-spec/1"
title = "Tiny models on made-up clips"
purpose = "Shows what a result looks like."
cohort = { minimum = 4, collusion = 1, dropout = 0.25 }
privacy = { epsilon = 8, delta = 1e-6, maximum_records = 2000 }
deadlines = { joining = 60, computing = 600, round = 10, countersigning = 30 }
video = { frames = 9, height = 32, width = 32, fps = 8 }
generation = { steps = 2, guidance = 2.0, samples = 10, private_share = 1 }
prompts = [
  { id = "circle", text = "a red circle moving left" },
  { id = "square", text = "a blue square bouncing" },
  { id = "stripes", text = "green stripes scrolling" },
  { id = "dots", text = "dots drifting apart" },
]
models = [
  { id = "tiny-wan-a", pipeline = "WanPipeline", manifest = "sha256:MODEL_A" },
  { id = "tiny-wan-b", pipeline = "WanPipeline", manifest = "sha256:MODEL_B" },
  { id = "tiny-wan-c", pipeline = "WanPipeline", manifest = "sha256:MODEL_C" },
]
extractors = [
  { id = "tiny-clip", architecture = "CLIPModel", manifest = "sha256:CLIP", dimension = 8 },
  { id = "tiny-videomae", architecture = "VideoMAEModel", manifest = "sha256:VIDEOMAE", dimension = 4 },
]
metrics = [
  { id = "temporal-flickering@1", inputs = "public" },
  { id = "clip-score@1", inputs = "public", extractor = "tiny-clip" },
  { id = "temporal-flickering@1", inputs = "private" },
  { id = "frechet-videomae@1", inputs = "public", extractor = "tiny-videomae" },
  { id = "mmd-rff@1", inputs = "public", extractor = "tiny-videomae", features = 64, bandwidth = 1.0 },
]
"""


def small_spec(**changes: str) -> Spec:
    """Return a spec with public and private inputs, a score, a Fréchet distance and a kernel distance.

    Args:
        changes: top-level keys of `SPEC` with the TOML that replaces their values.
    """
    text = SPEC
    for name in ("MODEL_A", "MODEL_B", "MODEL_C", "CLIP", "VIDEOMAE"):
        text = text.replace(f"sha256:{name}", sha256_digest(name.encode()))
    for key, value in changes.items():
        text, found = re.subn(rf"(?ms)^{key} = (\[\n.*?^\]|[^\n]*)$", f"{key} = {value}", text)
        if found != 1:
            raise AssertionError(f"{key} is not a key of the spec")
    return parse_spec_toml(text)
