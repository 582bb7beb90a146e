"""The architectures of extractors: what each can say about a clip, and under which licence its usual weights stand.

Promises that a spec names no other architecture, and that every one of them can be loaded by the participant. Pure
data: leaves loading and computing to `vdb_participant.measure.extractors`. Licences are those that publishers name for
the usual weights; what binds a site is the licence beside the weights that it fetched.

Source: protos/README.md §7.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Modality = Literal["frames", "text", "clip", "sound", "pair", "probabilities", "scores", "distances"]
"""Unit vectors of frames, of words; features of a clip; a unit vector of sound; the cosine of a clip and words seen
together; probabilities of classes of a clip; one number a frame; distances between frames."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One kind of extractor.

    Attributes:
        name: as a spec writes it; of a transformers class where there is one.
        gives: what can be asked of it.
        dimension: what the spec's `dimension` counts.
        preprocessing: from the frames or samples of a clip to the model's input, in one sentence.
        licence: of the usual weights.
        golden: what real weights must give on a known input, where somebody published it.
        script: name of the TorchScript file that its directory holds in the place of safetensors, or "" for none.
    """

    name: str
    gives: tuple[Modality, ...]
    dimension: str
    preprocessing: str
    licence: str
    golden: str | None = None
    script: str = ""


PUBLIC_MAP_FILE: Final = "projection.safetensors"
"""File of an extractor's folder with its public map: centre, basis, radius, and eigenvalues where a planner may want them."""

_FILE: Final = "as preprocessor_config.json says"
_PARTS: Final = f"frames at the middles of equal parts of the clip, {_FILE}"
_FEATURES: Final = "features, after projection.safetensors where there is one"
_CLASSES: Final = "classes"

_ARCHITECTURES: Final = (
    Architecture(
        name="CLIPModel",
        gives=("frames", "text", "clip"),
        dimension=_FEATURES,
        preprocessing=f"every frame, {_FILE}",
        licence="OpenAI's CLIP: MIT; OpenCLIP's on LAION: MIT",
    ),
    Architecture(
        name="SiglipModel",
        gives=("frames", "text", "clip"),
        dimension=_FEATURES,
        preprocessing=f"every frame, {_FILE}; words filled up to the model's length",
        licence="Google's SigLIP and SigLIP 2: Apache-2.0",
    ),
    Architecture(
        name="Dinov2Model",
        gives=("frames", "clip"),
        dimension=_FEATURES,
        preprocessing=f"every frame, {_FILE}",
        licence="Meta's DINOv2: Apache-2.0",
    ),
    Architecture(
        name="ViTModel",
        gives=("frames", "clip"),
        dimension=_FEATURES,
        preprocessing=f"every frame, {_FILE}",
        licence="Meta's DINO ViT-B/16, which VBench uses: Apache-2.0",
    ),
    Architecture(
        name="VideoMAEModel",
        gives=("clip",),
        dimension=_FEATURES,
        preprocessing=_PARTS,
        licence="VideoMAE of MCG-NJU: CC BY-NC 4.0, non-commercial",
    ),
    Architecture(
        name="VideoMAEFineTuned",
        gives=("clip",),
        dimension=_FEATURES,
        preprocessing=f"{_PARTS}; content-debiased FVD stretches to 224x224 and takes neither mean nor deviation",
        licence="VideoMAE of MCG-NJU: CC BY-NC 4.0, non-commercial; VideoMAE v2 of OpenGVLab: see its model card",
    ),
    Architecture(
        name="VideoMAEForVideoClassification",
        gives=("probabilities",),
        dimension=_CLASSES,
        preprocessing=_PARTS,
        licence="VideoMAE of MCG-NJU on Kinetics-400: CC BY-NC 4.0, non-commercial",
    ),
    Architecture(
        name="VJEPA2Model",
        gives=("clip",),
        dimension=_FEATURES,
        preprocessing=_PARTS,
        licence="Meta's V-JEPA 2: MIT and Apache-2.0 (V-JEPA 1, which JEDi used, is CC BY-NC 4.0)",
    ),
    Architecture(
        name="XCLIPModel",
        gives=("clip", "text", "pair"),
        dimension="components of the common space",
        preprocessing=_PARTS,
        licence="Microsoft's X-CLIP: MIT",
    ),
    Architecture(
        name="ClapModel",
        gives=("sound", "text"),
        dimension="components of the common space",
        preprocessing="channels averaged, resampled to the model's rate, windows of its length one after the other",
        licence="LAION's CLAP: Apache-2.0",
    ),
    Architecture(
        name="I3D",
        gives=("clip",),
        dimension=_FEATURES,
        preprocessing="the first 16 frames; the script scales them to [-1, 1] and to 224x224",
        licence="DeepMind's kinetics-i3d: Apache-2.0",
        golden="30 frames of 64x64, all zeros against all ones: distance 151.2565; 16 frames of 224x224, "
        "RandomState(1) against RandomState(2): 10.13808",
        script="i3d_torchscript.pt",
    ),
    Architecture(
        name="C3D",
        gives=("probabilities",),
        dimension=_CLASSES,
        preprocessing="the first 16 frames; the script does the rest",
        licence="C3D on UCF-101 of TGAN2, as StyleGAN-V converted it: none is named",
        script="c3d_ucf101.pt",
    ),
    Architecture(
        name="SafetyClassifier",
        gives=("scores",),
        dimension="1",
        preprocessing=f"every frame, {_FILE}",
        licence="Falconsai's nsfw_image_detection: Apache-2.0",
    ),
    Architecture(
        name="AestheticPredictor",
        gives=("scores",),
        dimension="1",
        preprocessing=f"every frame, {_FILE}",
        licence="OpenAI's CLIP ViT-L/14: MIT; LAION's linear head: MIT",
    ),
    Architecture(
        name="ImageQualityPredictor",
        gives=("scores",),
        dimension="1",
        preprocessing=f"every frame, {_FILE}",
        licence="of the consortium's own weights; no permissive ones are published in this form",
    ),
    Architecture(
        name="CLIPIQA",
        gives=("scores",),
        dimension="1",
        preprocessing=f"every frame, {_FILE}",
        licence="OpenAI's CLIP: MIT",
    ),
    Architecture(
        name="LPIPSAlex",
        gives=("distances",),
        dimension="1",
        preprocessing="every frame, scaled to [-1, 1], not resized",
        licence="LPIPS heads: BSD-2-Clause; torchvision's AlexNet: BSD-3-Clause, trained on ImageNet",
        golden="all zeros against all ones: 0.81401",
    ),
    Architecture(
        name="LPIPSVgg",
        gives=("distances",),
        dimension="1",
        preprocessing="every frame, scaled to [-1, 1], not resized",
        licence="LPIPS heads: BSD-2-Clause; torchvision's VGG16: BSD-3-Clause, trained on ImageNet",
    ),
    Architecture(
        name="DISTS",
        gives=("distances",),
        dimension="1",
        preprocessing="every frame, scaled to [0, 1], the shorter side shrunk to 256 if larger",
        licence="DISTS alpha and beta: MIT; torchvision's VGG16: BSD-3-Clause, trained on ImageNet",
    ),
)

ARCHITECTURES: Final = {architecture.name: architecture for architecture in _ARCHITECTURES}
"""Every architecture by its name."""


def known_architecture(name: str) -> str:
    """Return the name of an architecture if there is one.

    Raises:
        ValueError: there is none; says which there are.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}")
    return name
