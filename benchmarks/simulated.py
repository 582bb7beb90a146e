"""Simulated sessions of five institutions whose populations are known.

Promises that everything between a clip's share and the decoded sums is the shipped code: layout, calibration, encoding, the
discrete Gaussian, decoding. A population is a finite pool, every clip of which is measured once, so the truth is known exactly,
and a site's sums are how often each clip was drawn times what it adds; `check_the_shortcut` compares that with the tally.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vdb_participant.noise.samplers import SAMPLERS
from vdb_shared.canonical import canonical_json
from vdb_shared.layout import (
    contributions_at_most,
    count_block,
    generated_block,
    layout_of,
    promise_of,
    reference_block,
)
from vdb_shared.metrics.features import outcome
from vdb_shared.metrics.statistic import Layout, Statistics, Tally, grid_exponent
from vdb_shared.privacy.calibration import Calibration, calibrate
from vdb_shared.privacy.mechanism import NoiseLevel, decode, encode, noise_level, uniform_bytes_needed
from vdb_shared.spec import Spec

Points = NDArray[np.float64]
Shares = Mapping[str, Points]
"""What each clip of a pool adds to the parts of a metric: (clips, dims) by part."""

SITES: Final = 5
EXTRACTORS: Final = {"videomae": "VideoMAEModel", "vjepa": "VJEPA2Model"}
DIMENSION: Final = 8
"""Of the features of the other metrics, and the number of classes and of anchors."""

MANIFEST: Final = "sha256:" + "a" * 64
CLIPS_AT_MOST: Final = 4096


@dataclass(frozen=True)
class Pool:
    """A population of clips.

    Attributes:
        shares: of a spec.
        size: number of clips.
    """

    shares: Callable[[Spec], Shares]
    size: int


@dataclass(frozen=True)
class Case:
    """Sessions of one metric.

    Attributes:
        name: for the table.
        metric: as a spec has it.
        models: pools by model; all of them are measured.
        reference: pool, or None.
        truth: of the first model.
        generated, references: clips of all institutions together.
        epsilon: of the session; None without noise.
        bounded: whether coverage has bounds.
        seeds: times the number asked for.
    """

    name: str
    metric: Mapping[str, Any]
    models: Sequence[Pool]
    truth: float
    generated: int
    references: int = 0
    reference: Pool | None = None
    epsilon: str | None = None
    bounded: bool = True
    seeds: int = 1


@dataclass(frozen=True)
class Session:
    """A session whose populations are known.

    Attributes:
        spec: the spec.
        layout: its lanes.
        calibration: its noise.
        tables: by block of clips, what every clip of the pool adds, cut to the tally's grid: (clips, dims).
        clips: by count block, how many clips there are in all.
    """

    spec: Spec
    layout: Layout
    calibration: Calibration
    tables: Mapping[str, Points]
    clips: Mapping[str, int]

    def simulate(self, generator: np.random.Generator) -> tuple[Statistics, NoiseLevel | None]:
        """Return the decoded sums of all sites, and the noise in them."""
        total = np.zeros(self.layout.lanes, dtype=np.int64)
        private = np.array([block.private for block in self.layout.blocks for _ in range(block.dims)])
        for place in range(SITES):
            chance = generator.bytes(uniform_bytes_needed(self.layout, self.calibration))
            total += encode(self.layout, self.calibration, self.site(place, generator), chance)
            if self.calibration.noised:
                total[private] += SAMPLERS["integer"](int(private.sum()))
        return decode(self.layout, self.calibration, total), noise_level(self.layout, self.calibration, SITES)

    def site(self, place: int, generator: np.random.Generator) -> Statistics:
        """Return the sums of one site, whose clips are drawn from the pools."""
        drawn: dict[str, Points] = {}
        for count, clips in self.clips.items():
            own = clips // SITES + (place < clips % SITES)
            size = next(len(table) for name, table in self.tables.items() if name.startswith(count[: -len("count")]))
            drawn[count] = generator.multinomial(own, np.full(size, 1 / size)).astype(np.float64)
        sums: dict[str, Points] = {}
        for block in self.layout.blocks:
            if block.name in drawn:
                sums[block.name] = drawn[block.name].sum() * (np.ones(1) if block.dims == 1 else outcome(True))
            else:
                count = block.name.rsplit("/", 2)[0] + "/count"
                sums[block.name] = drawn[count] @ self.tables[block.name]
        return sums


def make_session(cases: Sequence[Case], variant: int) -> Session:
    """Return a session with the metrics of several cases, whose models and numbers of clips are those of the first."""
    first = cases[0]
    spec = spec_of(cases, variant)
    layout = layout_of(spec)
    unit = 2.0 ** -grid_exponent(contributions_at_most(spec))
    tables: dict[str, Points] = {}
    clips: dict[str, int] = {}
    for case in cases:
        inputs = case.metric["inputs"]
        for place, pool in enumerate(case.models):
            clips[count_block(inputs, f"m{place}")] = first.generated
            for part, values in pool.shares(spec).items():
                tables[generated_block(inputs, f"m{place}", case.metric["id"], part)] = np.trunc(values / unit) * unit
        if case.reference:
            clips[count_block("reference")] = case.references
            for part, values in case.reference.shares(spec).items():
                tables[reference_block(case.metric["id"], part)] = np.trunc(values / unit) * unit
    known = {block.name for block in layout.blocks}
    promise = promise_of(spec, joined=SITES, smallest_cohort=SITES)
    return Session(
        spec,
        layout,
        calibrate(promise, layout),
        {name: table for name, table in tables.items() if name in known},
        clips,
    )


def spec_of(cases: Sequence[Case], variant: int) -> Spec:
    """Return the spec of a session; variants differ in their title, and so in their digest."""
    private = any(case.metric["inputs"] == "private" for case in cases)
    values: dict[str, Any] = {
        "version": "vdb-spec/1",
        "title": f"Coverage {variant}",
        "purpose": "Simulated sessions",
        "cohort": {"minimum": SITES, "collusion": 1, "dropout": "0"},
        "privacy": {"epsilon": cases[0].epsilon or "8", "delta": "0.000001", "maximum_records": CLIPS_AT_MOST}
        | ({} if cases[0].epsilon else {"mechanism": "none"}),
        "deadlines": {"joining": 1, "computing": 1, "round": 1, "countersigning": 1},
        "video": {"frames": 16, "height": 64, "width": 64, "fps": 8},
        "generation": {"steps": 2, "guidance": "1"} | ({"private_share": 1} if private else {}),
        "prompts": [{"id": "p0", "text": "a prompt"}],
        "models": [
            {"id": f"m{place}", "pipeline": "WanPipeline", "manifest": MANIFEST}
            for place in range(len(cases[0].models))
        ],
        "extractors": [
            {"id": name, "architecture": architecture, "manifest": MANIFEST, "dimension": DIMENSION}
            for name, architecture in EXTRACTORS.items()
        ],
        "metrics": [dict(case.metric) for case in cases],
    }
    return Spec.model_validate_json(canonical_json(values))


def check_the_shortcut(session: Session) -> None:
    """Check that sums of a drawn site are those of the shipped tally, lane by lane.

    Args:
        session: any.

    Raises:
        RuntimeError: they are not.
    """
    drawn = session.site(0, np.random.default_rng(0))
    chosen = np.random.default_rng(0)
    tally = Tally(session.layout, capacity=contributions_at_most(session.spec))
    for count, clips in session.clips.items():
        own = clips // SITES
        prefix = count[: -len("count")]
        size = next(len(table) for name, table in session.tables.items() if name.startswith(prefix))
        often = chosen.multinomial(own, np.full(size, 1 / size))
        for clip in np.repeat(np.arange(size), often):
            tally.add(count, np.ones(1) if prefix.startswith("reference") else outcome(True))
            for name, table in session.tables.items():
                if name.startswith(prefix):
                    tally.add(name, table[clip])
    for name, wanted in tally.sums().items():
        if not np.array_equal(wanted, drawn[name]):
            raise RuntimeError(f"{name}: the sums of the simulation are not those of the tally")
