"""Versions of the packages that can change a pixel or a feature."""

from __future__ import annotations

from importlib import metadata
from typing import Final

VERSIONED: Final = (
    *("torch", "diffusers", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "av"),
    *("ftfy", "opencv-python-headless", "peft", "pillow", "torchvision"),
)
"""OpenCV because optical flow is its, ftfy because pipelines mend prompts with it where it is installed, torchvision because
it takes over from Pillow where it is, peft because it lays LoRAs over weights."""


def versions() -> dict[str, str]:
    """Return the version of each by its name, "" where it is not installed."""
    found = {}
    for package in VERSIONED:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = ""
    return found
