"""I3D and C3D: models whose published weights are TorchScript, that is, a program with its weights.

Promises that the program runs only if the digest of its directory is the one in the spec, to which every institution
consented, that the bytes which run are those that were hashed, that it begins anew for every clip, so that nothing of one
clip (which may be private) can reach the features of another (which may be public), and that it names no operator that
reads or writes files. It remains a program: who does not trust its publisher should decline the spec. Leaves distances
to `vdb_shared.metrics`.

Source: Skorokhodov et al., CVPR 2022 (StyleGAN-V), whose convention the fields follow with: 16 consecutive frames, the
script's own rescaling and resizing, 400 logits before the softmax as features; C3D on UCF-101 for the inception score.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from vdb_participant.data.video import Frames
from vdb_participant.measure.extractors.computing import Computing, check_long_enough, to_float64
from vdb_participant.measure.extractors.interface import Description, Precision, Vector
from vdb_participant.measure.extractors.loading import attempt
from vdb_participant.measure.extractors.projection import PROJECTION_NAME, Projection, Raw, anchors_in
from vdb_participant.models import Weights
from vdb_shared.errors import ModelError
from vdb_shared.metrics.extractors import ARCHITECTURES
from vdb_shared.spec import Extractor

FRAMES: Final = 16
"""Of a clip, from its first on, without skipping."""

_PROBE_SIZE: Final = 64
"""Height and width of the black clip that shows at loading time what a script returns."""


class I3D:
    """The TorchScript I3D of the StyleGAN-V convention; implements ClipEmbedder and Anchored."""

    def __init__(
        self, description: Description, computing: Computing, script: Any, projection: Projection | Raw, anchors: Vector
    ) -> None:
        self.description = description
        self.anchors = anchors
        self._computing = computing
        self._script = script
        self._projection = projection

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> I3D:
        """Return the extractor of a verified directory; computes in float32 whatever is asked for, as published.

        Raises:
            ModelError: the digest is not the spec's, it cannot be loaded, or its logits do not fit.
        """
        del precision  # the script chooses its own
        computing = Computing.on(device)
        script = _load_script(weights, extractor, computing.device)
        description = computing.describe(weights, extractor, FRAMES)
        projection: Projection | Raw = Raw()
        if (weights.directory / PROJECTION_NAME).is_file():
            projection = Projection.load(weights.directory, extractor.dimension)
        anchors = anchors_in(weights.directory, extractor.dimension)
        loaded = cls(description, computing, script, projection, anchors)
        expected = extractor.dimension if isinstance(projection, Raw) else len(projection.centre)
        _check_output(weights.directory, loaded.logits, expected)
        return loaded

    def embed_clip(self, frames: Frames) -> Vector:
        """Return the projected logits of the first 16 frames, float64 (d,)."""
        check_long_enough(frames, FRAMES)
        return self._projection(self.logits(frames[:FRAMES]))

    def logits(self, frames: Frames) -> Vector:
        """Return the logits before the softmax of all frames given, float64 (400,)."""
        with self._computing.arithmetic():
            output = self._script(
                _pixels(frames, self._computing.device), rescale=True, resize=True, return_features=True
            )
            return to_float64(output[0])


class C3D:
    """The TorchScript C3D of the video inception score; implements Classifier."""

    def __init__(self, description: Description, computing: Computing, script: Any) -> None:
        self.description = description
        self._computing = computing
        self._script = script

    @classmethod
    def load(
        cls, weights: Weights, extractor: Extractor, device: str = "auto", precision: Precision = "float32"
    ) -> C3D:
        """Return the classifier of a verified directory; computes in float32 whatever is asked for, as published.

        Raises:
            ModelError: the digest is not the spec's, it cannot be loaded, or what it returns are no probabilities.
        """
        del precision  # the script chooses its own
        computing = Computing.on(device)
        script = _load_script(weights, extractor, computing.device)
        loaded = cls(computing.describe(weights, extractor, FRAMES), computing, script)
        found = _check_output(weights.directory, loaded.probabilities, extractor.dimension)
        if found.min() < 0 or abs(found.sum() - 1) > 1e-3:
            raise ModelError(
                f"{weights.directory}: expected probabilities, found numbers that sum to {found.sum():.3g}"
            )
        return loaded

    def probabilities(self, frames: Frames) -> Vector:
        """Return the probabilities of the classes of a clip's first 16 frames, float64 (K,)."""
        check_long_enough(frames, FRAMES)
        with self._computing.arithmetic():
            return to_float64(self._script(_pixels(frames[:FRAMES], self._computing.device))[0])


_OF_FILES: Final = ("aten::from_file", "aten::save", "aten::load")
"""Operators by which a program could put a file's bytes into features, or keep a clip for later."""


class _Program:
    """A TorchScript program that is loaded anew for every call, and so remembers nothing."""

    def __init__(self, program: bytes, directory: Path, device: str) -> None:
        self._program = program
        self._directory = directory
        self._device = device
        graph = str(self._fresh().inlined_graph)
        named = [operator for operator in _OF_FILES if operator + "(" in graph]
        if named:
            raise ModelError(f"{directory}: its program uses {named[0]}, which reads or writes files; refuse the spec")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._fresh()(*arguments, **named)

    def _fresh(self) -> Any:
        jit: Any = torch.jit  # its functions have no annotations
        with warnings.catch_warnings():  # torch would rather have other formats, but published weights are in this one
            warnings.simplefilter("ignore", DeprecationWarning)
            load = partial(jit.load, io.BytesIO(self._program), map_location=self._device)
            return attempt(self._directory, load).eval()


def _load_script(weights: Weights, extractor: Extractor, device: str) -> _Program:
    """Return the program of a directory, after comparing its digests once more: from here on it runs."""
    name = ARCHITECTURES[extractor.architecture].script
    path = weights.directory / name
    if weights.manifest != extractor.manifest:
        raise ModelError(f"{weights.directory}: expected {extractor.manifest} in the spec, found {weights.manifest}")
    try:
        program = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if "sha256:" + hashlib.sha256(program).hexdigest() != weights.files.get(name):
        raise ModelError(f"{path}: changed after it was verified; fetch the agreed weights again")
    return _Program(program, weights.directory, device)


def _check_output(directory: Path, compute: Any, dimension: int) -> Vector:
    """Return what a script says of a black clip, if it is one vector of the right length."""
    black = np.zeros((FRAMES, _PROBE_SIZE, _PROBE_SIZE, 3), dtype=np.uint8)
    found: Vector = attempt(directory, lambda: compute(black))
    if found.shape != (dimension,):
        raise ModelError(f"{directory}: expected features of ({dimension},), found {found.shape}; check the spec")
    return found


def _pixels(frames: Frames, device: str) -> torch.Tensor:
    """Return frames as the scripts take them: float32 (1, 3, T, H, W), 0 to 255."""
    return torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(3, 0, 1, 2)[None].to(torch.float32)
