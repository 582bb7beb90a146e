"""From an architecture's name in a spec to what loads it.

Promises a loader for every architecture of `vdb_shared.metrics.extractors`. Loaders run on directories that
`vdb_participant.models.verify_extractor` returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from vdb_participant.measure.extractors.classifiers import SafetyClassifier, VideoClassifier
from vdb_participant.measure.extractors.images import ImageExtractor, ImageTextExtractor
from vdb_participant.measure.extractors.interface import LoadedExtractor, Precision
from vdb_participant.measure.extractors.perceptual import FrameDistance
from vdb_participant.measure.extractors.quality import AestheticPredictor, AntonymQuality, ImageQualityPredictor
from vdb_participant.measure.extractors.sound import SoundTextExtractor
from vdb_participant.measure.extractors.torchscript import C3D, I3D
from vdb_participant.measure.extractors.video import VideoExtractor
from vdb_participant.measure.extractors.video_text import VideoTextExtractor
from vdb_participant.models import Weights
from vdb_shared.spec import Extractor


class Load(Protocol):
    """Loads an extractor."""

    def __call__(
        self, weights: Weights, extractor: Extractor, device: str = ..., precision: Precision = ...
    ) -> LoadedExtractor:
        """Return the extractor of a verified directory; see `load_extractor`."""
        ...


LOADERS: Final[Mapping[str, Load]] = {
    "CLIPModel": ImageTextExtractor.load,
    "SiglipModel": ImageTextExtractor.load,
    "Dinov2Model": ImageExtractor.load,
    "ViTModel": ImageExtractor.load,
    "VideoMAEModel": VideoExtractor.load,
    "VideoMAEFineTuned": VideoExtractor.load,
    "VideoMAEForVideoClassification": VideoClassifier.load,
    "VJEPA2Model": VideoExtractor.load,
    "XCLIPModel": VideoTextExtractor.load,
    "ClapModel": SoundTextExtractor.load,
    "I3D": I3D.load,
    "C3D": C3D.load,
    "SafetyClassifier": SafetyClassifier.load,
    "AestheticPredictor": AestheticPredictor.load,
    "ImageQualityPredictor": ImageQualityPredictor.load,
    "CLIPIQA": AntonymQuality.load,
    "LPIPSAlex": FrameDistance.load,
    "LPIPSVgg": FrameDistance.load,
    "DISTS": FrameDistance.load,
}


def load_extractor(weights: Weights, extractor: Extractor, device: str = "auto") -> LoadedExtractor:
    """Return the extractor that a spec names.

    Args:
        weights: of its verified directory.
        extractor: as the spec names it; its precision applies on a GPU, the CPU and TorchScript compute in float32.
        device: as `device.resolve_device` takes it.

    Raises:
        ModelError: it cannot be loaded, or is another than the spec says.
        UsageError: no such device here.
    """
    return LOADERS[extractor.architecture](weights, extractor, device, extractor.precision or "float32")
