"""What a clip starts from, read when it is made: a file's frames in the shape that the model's clips have.

Promises that the frames are those of the agreed bytes, brought to a clip's size as reference clips are. Plain data: worker
processes take it along. Leaves which file it is to `data/conditions.py`.

Source: protos/README.md §7.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vdb_participant.data.conditions import starting_frames, verify_condition
from vdb_participant.data.resize import fit
from vdb_participant.data.video import Frames
from vdb_participant.generation.settings import GenerationSettings


@dataclass(frozen=True, slots=True)
class Starts:
    """Files that clips start from, by the digests of their bytes."""

    files: Mapping[str, Path] = field(default_factory=dict)

    def frames(self, digest: str, settings: GenerationSettings) -> Frames | None:
        """Return what a clip starts from: uint8 (1, H, W, 3), a picture, or (T, H, W, 3), a video; None for words alone.

        Args:
            digest: of the file, or "".
            settings: of the clip.

        Raises:
            DatasetError: the file is gone or not what it was; names it.
        """
        if not digest:
            return None
        path = self.files[digest]
        verify_condition(path, digest)
        clip = starting_frames(path, settings.start, settings.frames)
        return fit(clip, frames=len(clip.frames), height=settings.height, width=settings.width)
