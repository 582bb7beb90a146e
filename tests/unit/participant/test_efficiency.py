"""Efficiency: seconds by stage, energy where there is a meter, figures by circumstances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vdb_participant.generation.energy import NOT_MEASURED, Energy, Meter, integral
from vdb_participant.generation.record import Circumstances, Taken, peak, record_of, reset_peak
from vdb_participant.generation.settings import Clip
from vdb_participant.generation.stopwatch import Stopwatch
from vdb_participant.generation.store import ClipKey, ClipStore, StoredClip
from vdb_participant.measure.efficiency import efficiency_of


class NVMLError(Exception):
    """What NVML raises."""


class Board:
    """Plays pynvml: a board that draws a fixed power, with or without an energy counter."""

    NVMLError = NVMLError

    def __init__(self, *, counts: bool, tells_power: bool = True) -> None:
        self.counts = counts
        self.tells_power = tells_power
        self.millijoules = 5_000_000

    def nvmlDeviceGetTotalEnergyConsumption(self, _board: object) -> int:  # noqa: N802 (NVML's name)
        if not self.counts:
            raise NVMLError
        self.millijoules += 2500
        return self.millijoules

    def nvmlDeviceGetPowerUsage(self, _board: object) -> int:  # noqa: N802 (NVML's name)
        if not self.tells_power:
            raise NVMLError
        return 300_000


def test_energy_is_the_difference_of_the_counter() -> None:
    with Meter(Board(counts=True)).measuring() as energy:
        assert energy.joules is None
    assert energy == Energy(2.5, "NVML energy counter")


def test_energy_without_a_counter_is_integrated_power() -> None:
    with Meter(Board(counts=False)).measuring() as energy:
        pass
    assert energy.source == "NVML power, sampled"
    assert energy.joules is not None
    assert energy.joules > 0
    assert integral([(0.0, 100.0), (1.0, 300.0), (3.0, 300.0)]) == pytest.approx(200 + 600)


def test_no_energy_where_nothing_can_be_measured() -> None:
    for meter in (Meter.of("cpu"), Meter(Board(counts=False, tells_power=False))):
        with meter.measuring() as energy:
            pass
        assert energy == Energy(None, NOT_MEASURED)


def test_a_stage_in_a_stage_counts_once() -> None:
    clock = Stopwatch("cpu")
    inner = clock.counted("denoising", sum)
    assert clock.counted("text encoding", lambda: inner(range(1000)))() == 499500
    assert set(clock.stages()) == {"text encoding"}
    assert clock.stages()["text encoding"] < clock.seconds()
    clock.set_back(100.0, {"denoising": 50.0})
    assert clock.stages() == {"denoising": 50.0}
    assert clock.seconds() > 100


def test_the_peak_of_a_clip_is_its_own() -> None:
    big = np.ones(480_000_000 // 8)  # far more than what other threads of the test run may take meanwhile
    kind = reset_peak("cpu")
    before = peak("cpu")
    del big
    if kind == "resident in the process":
        kind = reset_peak("cpu")
        after = peak("cpu")
        assert before is not None
        assert after is not None
        assert after < before
    assert kind.startswith("resident in the process")


def _clip(
    tmp_path: Path, number: int, seconds: float, profile: str, joules: float | None, *, elsewhere: bool = False
) -> StoredClip:
    most = None if elsewhere else 1000 + number
    taken = Taken(seconds, {"denoising": seconds / 2}, most, "allocated on the device", Energy(joules, "x"))
    record = record_of(Circumstances(profile, "exact"), taken)
    store = ClipStore(tmp_path)
    key = ClipKey("m", "p", number, ())
    store.put(key, Clip(np.zeros((8, 16, 16, 3), np.uint8)), seconds=seconds, device="H200", record=record)
    found = store.get(key)
    assert found is not None
    return found


def test_figures_are_medians_of_clips_of_one_kind(tmp_path: Path) -> None:
    clips = [_clip(tmp_path, number, seconds, "exact", 10.0) for number, seconds in enumerate((1.0, 2.0, 6.0))]
    clips.append(_clip(tmp_path, 9, 0.5, "fast", None))
    clips.append(StoredClip(clips[0].frames, 1.0, "H200", "d"))
    exact, fast = efficiency_of(clips)
    assert (exact.profile, exact.clips, exact.seconds, exact.joules) == ("exact", 3, 2.0, 10.0)
    assert exact.frames_per_second == 4.0
    assert exact.stages == {"denoising": 1.0}
    assert exact.peak_bytes == {"allocated on the device": 1002}
    assert (fast.profile, fast.clips, fast.joules) == ("fast", 1, None)


def test_what_was_not_measured_is_absent_rather_than_zero(tmp_path: Path) -> None:
    clip = _clip(tmp_path, 1, 2.0, "exact", None, elsewhere=True)
    assert clip.record["peak_memory"] == {"bytes": None, "kind": "not measured"}
    (found,) = efficiency_of([clip])
    assert found.peak_bytes == {}
    assert found.joules is None
