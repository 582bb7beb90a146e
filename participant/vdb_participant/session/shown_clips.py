"""The frames behind the lines of a site's list: generated clips from the store, reference clips from the data directory.

Promises that what is returned has the digest in the list, and that a clip which was removed or changed since is said to be
lost. Leaves whether to show one to the operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vdb_participant.data.folder import CLIPS_FOLDER
from vdb_participant.data.resize import fit
from vdb_participant.data.video import Frames, decode
from vdb_participant.generation.settings import GenerationSettings, possible_settings
from vdb_participant.generation.store import ClipStore, clip_digest, clip_key
from vdb_shared.errors import DatasetError, StoreError
from vdb_shared.registry.rows import Registry
from vdb_shared.spec import Spec
from vdb_shared.tasks import ClipTask


@dataclass(frozen=True)
class ShownClips:
    """Finds the frames of samples.

    Attributes:
        spec: the session's.
        store: of generated clips.
        registry: the site's; clips are found again by what it says of their models.
        data: data directory as it was measured.
    """

    spec: Spec
    store: ClipStore
    registry: Registry
    data: Path

    def __call__(self, sample: Mapping[str, Any]) -> Frames | None:
        """Return the frames of a sample, uint8 (T, H, W, 3); None where it never had any.

        Raises:
            StoreError: they are not there any more, or are others.
        """
        if not sample["clip"]:
            return None
        frames = self._reference(sample) if sample["side"] == "reference" else self._generated(sample)
        if frames is None or clip_digest(frames) != sample["clip"]:
            raise StoreError(
                f"the {sample['side']} clip {sample['clip'][:19]} was removed or changed since it was measured; restore it, or "
                "leave --with-clips out"
            )
        return frames

    @cached_property
    def _ways(self) -> tuple[Mapping[str, GenerationSettings], ...]:
        return possible_settings(self.spec, self.registry)

    def _generated(self, sample: Mapping[str, Any]) -> Frames | None:
        model = next(model for model in self.spec.models if model.id == sample["model"])
        task = ClipTask(model.id, sample["prompt"], sample["number"], sample.get("condition", ""))
        for way in self._ways:
            found = self.store.get(clip_key(self.spec.digest, model.manifest, way[model.id], task))
            if found is not None and found.digest == sample["clip"]:
                return found.frames
        return None

    def _reference(self, sample: Mapping[str, Any]) -> Frames | None:
        video = self.spec.video
        try:
            clip = decode(self.data / CLIPS_FOLDER / sample["prompt"], frames=video.frames)
            return fit(clip, frames=video.frames, height=video.height, width=video.width)
        except DatasetError:
            return None
