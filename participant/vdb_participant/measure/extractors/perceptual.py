"""LPIPS and DISTS as extractors: learned distances between frames; implements FrameComparer.

Promises nothing that `measure/perceptual.py` does not, whose weights format it reads.
"""

from __future__ import annotations

from typing import Final

from vdb_participant.data.video import Frames
from vdb_participant.measure.backbones import BackboneName
from vdb_participant.measure.extractors.classifiers import check_classes
from vdb_participant.measure.extractors.computing import Computing
from vdb_participant.measure.extractors.interface import Description, Precision, Vector
from vdb_participant.measure.perceptual import ArchitectureName, PerceptualDistance
from vdb_participant.models import Weights
from vdb_shared.spec import Extractor

_KINDS: Final[dict[str, tuple[ArchitectureName, BackboneName]]] = {
    "LPIPSAlex": ("LPIPS", "alex"),
    "LPIPSVgg": ("LPIPS", "vgg"),
    "DISTS": ("DISTS", "vgg"),
}


class FrameDistance:
    """A learned distance between frames; implements FrameComparer."""

    def __init__(self, description: Description, distance: PerceptualDistance) -> None:
        self.description = description
        self._distance = distance

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> FrameDistance:
        """Return the distance of a verified directory; computes in float32 whatever is asked for, as published.

        Raises:
            ModelError: it cannot be loaded, or is another distance than the spec says.
        """
        del precision  # small differences of large features are all that matters here
        check_classes(weights.directory, 1, extractor.dimension)
        computing = Computing.on(device)
        architecture, backbone = _KINDS[extractor.architecture]
        distance = PerceptualDistance.load(weights, architecture, backbone, computing.device)
        return cls(computing.describe(weights, extractor), distance)

    def distances(self, frames: Frames, reference: Frames) -> Vector:
        """Return the distance of each frame to the reference's with the same index, float64 (T,), >= 0."""
        return self._distance.distances(frames, reference)
