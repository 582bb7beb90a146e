"""Scores of the time and energy a clip took; comparable within one model of device and one profile only.

Promises that nothing is averaged over clips whose circumstances differ, and that what was not measured is absent rather than 0.
Leaves measuring to generation.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vdb_participant.generation.store import StoredClip
from vdb_shared.canonical import parse_decimal

TIMES: Final = frozenset({"latency@1", "frames-per-second@1"})
"""Metrics of how long a clip takes when it has the device for itself."""


def latency(seconds: float) -> float:
    """Return wall-clock seconds from prompt to decoded frames, warm-up excluded."""
    return seconds


def frames_per_second(frames: int, seconds: float) -> float:
    """Return how many frames were made in a second."""
    return frames / seconds


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What clips of one kind of device, profile and set of switches took; medians.

    Attributes:
        device: its model.
        profile: name of the profile.
        switches: that were on.
        clips: how many there are.
        seconds: of a clip.
        frames_per_second: of a clip.
        stages: seconds of each stage; only of clips that have the stage.
        peak_bytes: most memory in use, by the kind of memory; only of clips for which it was measured.
        joules: of a clip; None where energy was not measured for any.
    """

    device: str
    profile: str
    switches: tuple[str, ...]
    clips: int
    seconds: float
    frames_per_second: float
    stages: Mapping[str, float]
    peak_bytes: Mapping[str, int]
    joules: float | None


def efficiency_of(clips: Iterable[StoredClip]) -> tuple[Efficiency, ...]:
    """Return the efficiency of stored clips, by their circumstances; clips without a record are left out.

    Args:
        clips: of one model.
    """
    groups: dict[tuple[str, str, tuple[str, ...]], list[StoredClip]] = defaultdict(list)
    for clip in clips:
        if clip.record:
            groups[clip.device, clip.record["profile"], tuple(clip.record["switches"])].append(clip)
    return tuple(_of_group(*kind, groups[kind]) for kind in sorted(groups))


def _of_group(device: str, profile: str, switches: tuple[str, ...], clips: list[StoredClip]) -> Efficiency:
    stages: dict[str, list[float]] = defaultdict(list)
    peaks: dict[str, list[int]] = defaultdict(list)
    for clip in clips:
        for name, seconds in clip.record["stages"].items():
            stages[name].append(float(parse_decimal(seconds)))
        if (most := clip.record["peak_memory"]["bytes"]) is not None:
            peaks[clip.record["peak_memory"]["kind"]].append(int(most))
    joules = [found for clip in clips if (found := _joules(clip.record)) is not None]
    return Efficiency(
        device=device,
        profile=profile,
        switches=switches,
        clips=len(clips),
        seconds=statistics.median(clip.seconds for clip in clips),
        frames_per_second=statistics.median(frames_per_second(len(clip.frames), clip.seconds) for clip in clips),
        stages={name: statistics.median(values) for name, values in stages.items()},
        peak_bytes={kind: max(values) for kind, values in peaks.items()},
        joules=statistics.median(joules) if joules else None,
    )


def _joules(record: Mapping[str, Any]) -> float | None:
    found = record["energy"]["joules"]
    return None if found is None else float(parse_decimal(found))
