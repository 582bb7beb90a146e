"""How often the 95 % intervals of dp-fvd@1 hold the distance that they are about.

Promises the shipped intervals on noised sums of fresh clips of one world, seed by seed. What is to be held is the mean over all
seeds of the distance without noise at the same number of clips, as protos/README.md §7.3 says. The counts are noised as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from dp_estimators import Map, dp_fvd, moment_sums
from dp_worlds import Values, World
from rows import Row

from vdb_participant.measure.extractors.fitting import PublicFeatures
from vdb_shared.metrics.frechet import MomentSums, fit
from vdb_shared.metrics.frechet_intervals import frechet_family

CLIPS: Final = 2000
AXES: Final = (16, 64)
DRAWS: Final = {16: 50, 64: 25}
"""Of the bootstrap, by axes: the product takes 200 for both, which would take an hour of 500 seeds."""

LEAST: Final = 93.0
WORLD: Final = 3
MODEL: Final = 2


@dataclass(frozen=True, slots=True)
class Setting:
    """Axes, and whether the model's clips are private."""

    axes: int
    private: bool

    @property
    def words(self) -> str:
        """The setting in words."""
        return f"{self.axes} axes, {'private' if self.private else 'public'} prompts"


SETTINGS: Final = tuple(Setting(axes, private) for axes in AXES for private in (False, True))


@dataclass(frozen=True, slots=True)
class Held:
    """One seed's interval, and its distance without noise."""

    low: float
    high: float
    exact: float


def run_seeds(seeds: Sequence[int], multiplier: float) -> list[tuple[Setting, Held]]:
    """Return every setting's interval for some seeds."""
    world = World.of(WORLD, "mixed", hard=False)
    public = PublicFeatures.of(world.public(np.random.default_rng(WORLD)))
    maps = {axes: Map.of(public, axes) for axes in AXES}
    found = []
    for seed in seeds:
        draws = np.random.default_rng([11, seed])
        sides = world.clips(draws, CLIPS), world.clips(draws, CLIPS, world.models[MODEL])
        for setting in SETTINGS:
            reference, model = (moment_sums(maps[setting.axes](features)) for features in sides)
            found.append((setting, _held(setting, reference, model, multiplier, draws)))
    return found


def _held(setting: Setting, reference: Values, model: Values, multiplier: float, draws: np.random.Generator) -> Held:
    deviation = dp_fvd(setting.axes).noise(multiplier, int(setting.private))

    def noised(sums: Values, size: float) -> MomentSums:
        count = CLIPS + size * float(draws.standard_normal())
        return MomentSums(sums + size * draws.standard_normal(sums.size), count, size, size, ordered=True)

    exact = fit(MomentSums(reference, float(CLIPS)), {"m": MomentSums(model, float(CLIPS))}).distances["m"]
    sides = noised(reference, deviation), noised(model, deviation if setting.private else 0.0)
    family = frechet_family(sides[0], {"m": sides[1]}, name="coverage", replicates=DRAWS[setting.axes])
    interval = family.estimates["m"]
    return Held(interval.low, interval.high, exact)


def coverage_rows(found: Sequence[tuple[Setting, Held]], words: str) -> Iterator[Row]:
    """Return the share of intervals that hold the mean exact distance, and their median width over it."""
    for setting in SETTINGS:
        mine = [held for each, held in found if each == setting]
        truth = float(np.mean([held.exact for held in mine]))
        share = float(np.mean([held.low <= truth <= held.high for held in mine]))
        width = float(np.median([held.high - held.low for held in mine])) / truth
        title = f"intervals, {setting.words}, n={CLIPS}, {words}"
        yield Row(f"{title}: hold the truth, of {len(mine)} seeds", 100 * share, "%", LEAST, at_least=True)
        yield Row(f"{title}: median width over the truth", width, "rel")
