"""Directories of perceptual distances with random weights of the real shapes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file

from vdb_participant.measure.backbones import BackboneName
from vdb_participant.measure.perceptual import ArchitectureName, expected_shapes


def write_distance(folder: Path, architecture: ArchitectureName, backbone: BackboneName, *, seed: int = 0) -> Path:
    """Write config.json and model.safetensors: convolutions that keep the size of their input, and positive weights."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in expected_shapes(architecture, backbone).items():
        drawn = torch.randn(shape, generator=generator)
        if not name.startswith("features."):
            tensors[name] = drawn.abs()
        elif name.endswith("weight"):
            tensors[name] = drawn * math.sqrt(2 / math.prod(shape[1:]))
        else:
            tensors[name] = drawn * 0.1
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": architecture, "backbone": backbone}))
    return folder
