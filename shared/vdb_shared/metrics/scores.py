"""Finishes of metrics that are means of bounded clip scores, and of shares of clips of which something is true.

Promises the pooled mean or share, exactly, when nothing is noised. Leaves how a clip is scored to the participant.

Source: protos/README.md §7.2, §7.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vdb_shared.metrics.features import Vector
from vdb_shared.metrics.uncertainty import (
    TAIL,
    Comparison,
    Estimate,
    Family,
    compare_all,
    quantile,
    welch_degrees,
    wilson_interval,
)

ALIKE: Final = 2.0
"""Variance, in units of the grid, up to which scores are all the same: cutting scores makes it larger by up to two units."""

_ROUNDING: Final = 1e-15
"""Of float64 in a variance of numbers in [0, 1]."""


@dataclass(frozen=True, slots=True)
class ScoreSums:
    """Sums of one model's rescaled scores.

    Attributes:
        moments: [sum s, sum s^2], s in [0, 1].
        count: number of scored clips, at least 2; not an integer when noised.
        deviation: of the noise in each of the moments.
        count_deviation: of the noise in the count.
        unit: of the grid to which each clip's s^2 was cut, by less than that.
    """

    moments: Vector
    count: float
    deviation: float = 0.0
    count_deviation: float = 0.0
    unit: float = 0.0

    @property
    def ratio(self) -> float:
        """Sum over count, which noise may take out of [0, 1]."""
        return float(self.moments[0]) / self.count

    @property
    def mean(self) -> float:
        """Mean score, in [0, 1] by definition, also where noise would take it out."""
        return min(max(self.ratio, 0.0), 1.0)

    @property
    def spread(self) -> float:
        """Variance of the scores of the clips, at most 1/4; cautious where noise is larger than it.

        Where no two scores differ, as far as the grid shows, the sums tell nothing of a spread. It is then taken to be what one
        clip more would bring that lies at either end of the range, as the mean has it: m (1 - m) / n.
        """
        found = float(self.moments[1]) / self.count - self.mean**2
        if self.noise == 0 and found <= ALIKE * self.unit + _ROUNDING:
            return self.mean * (1 - self.mean) / self.count
        return min(max(found + self.unit, 0.0), 0.25)

    @property
    def sampling(self) -> float:
        """Variance of the mean by sampling."""
        return self.spread / (self.count - 1)

    def sampling_at(self, other: float) -> float:
        """Variance of the mean by sampling if the mean score were anything up to this one; at least the one that was measured.

        A few clips from scores with a long tail show a mean that is too small and a spread that is too small by more than that.
        A tail is long only towards the farther end of the range. So scores are taken to keep their shape: their deviation grows
        like their distance from the nearer end, up to that of shares. Scores that all lie at an end may be shares.
        """
        own, there = (self.mean, other) if self.mean <= 1 / 2 else (1 - self.mean, 1 - other)
        most = 1 / 4 if there >= 1 / 2 else max(own * (1 - own), there * (1 - there))
        within = math.sqrt(self.spread) * there < math.sqrt(most) * own
        grown = self.spread * (there / own) ** 2 if within else most
        return max(self.spread, grown) / (self.count - 1)

    @property
    def noise(self) -> float:
        """Variance of the mean by noise, by the delta method of a ratio."""
        return (self.deviation**2 + (self.mean * self.count_deviation) ** 2) / self.count**2

    @property
    def error(self) -> float:
        """Standard deviation of the mean's error: sampling and noise."""
        return math.sqrt(self.sampling + self.noise)

    @property
    def interval(self) -> Estimate:
        """The mean with its interval, on [0, 1].

        Scores of mean m have a variance of at most m (1 - m), that of shares; which part of it they have is taken for the
        same at all means in question. Where every score is the same end of the range, nothing is known of it and it is 1;
        where noise has brought the mean to an end, scores need not be there, and no more is known than the variance.
        """
        freedom, reach = self.count - 1, quantile(self.count - 1, TAIL)
        most = self.mean * (1 - self.mean) / freedom
        if most == 0 and self.noise > 0:
            return wilson_interval(self.ratio, 0.0, self.noise + self.sampling, reach)
        part = min(self.sampling / most, 1.0) if most > 0 else 1.0
        return wilson_interval(self.ratio, part / freedom, self.noise, reach)


@dataclass(frozen=True, slots=True)
class RateSums:
    """How many of one model's clips something is true of.

    Attributes:
        events: their number.
        count: number of clips, at least 2; both are no integers when noised.
        deviation: of the noise in the events.
        count_deviation: of the noise in the count.
    """

    events: float
    count: float
    deviation: float = 0.0
    count_deviation: float = 0.0

    @property
    def ratio(self) -> float:
        """Events over clips, which noise may take out of [0, 1]."""
        return self.events / self.count

    @property
    def noise(self) -> float:
        """Variance of the ratio by noise."""
        return (self.deviation**2 + (min(max(self.ratio, 0.0), 1.0) * self.count_deviation) ** 2) / self.count**2

    @property
    def moved(self) -> tuple[float, float]:
        """The share after two clips were added, one of them an event, and the deviation of its error.

        Without them a share of 0 or 1 would have no error at all.
        """
        size = self.count + 2
        share = min(max((self.events + 1) / size, 0.0), 1.0)
        noise = (self.deviation**2 + (share * self.count_deviation) ** 2) / size**2
        return share, math.sqrt(share * (1 - share) / size + noise)


def _with_one_share(a: RateSums, b: RateSums) -> Comparison:
    """Return the comparison of two shares with the variance that they have if both are one."""
    clips = a.count + b.count
    one = min(max((a.events + b.events) / clips, 0.0), 1.0)
    sampling = one * (1 - one) * (1 / a.count + 1 / b.count) * clips / (clips - 1)
    return Comparison(a.ratio - b.ratio, math.sqrt(sampling + a.noise + b.noise))


def rate_family(models: Mapping[str, RateSums]) -> Family:
    """Return shares of clips by model, on [0, 1].

    Of two tests the one counts that says less. With two clips added, equal shares are told apart too often where one model has
    many times the clips of the other and chances are small, as those of many comparisons are; with one share for both, too
    often where shares are near an end. Each is right where the other is not.

    Source: Wilson 1927 (intervals); Agresti & Caffo 2000 (differences with two clips added); Campbell 2007 (one share, N - 1).
    """

    def estimate(sums: RateSums) -> Estimate:
        return wilson_interval(sums.ratio, 1 / sums.count, sums.noise, quantile(math.inf, TAIL))

    def compare(first: str, second: str) -> Comparison:
        (a, error_a), (b, error_b) = models[first].moved, models[second].moved
        moved = Comparison(a - b, math.hypot(error_a, error_b))
        return max(moved, _with_one_share(models[first], models[second]), key=lambda found: found.chance)

    return Family({model: estimate(sums) for model, sums in models.items()}, compare_all(list(models), compare))


def score_family(models: Mapping[str, ScoreSums], *, low: float, high: float) -> Family:
    """Return mean scores on the scale [low, high] by model.

    Models are compared as if independent, which is cautious where they were measured on the same prompts; each with the
    spread that its scores would have if they had the other's mean, since that is what is to be refused.
    """
    width = high - low

    def estimate(sums: ScoreSums) -> Estimate:
        return sums.interval.mapped(width, low)

    def compare(first: str, second: str) -> Comparison:
        a, b = models[first], models[second]
        sampling = (a.sampling_at(b.mean), b.sampling_at(a.mean))
        variance = sum(sampling) + a.noise + b.noise
        degrees = welch_degrees(variance, zip(sampling, (a.count, b.count), strict=True))
        return Comparison(width * (a.mean - b.mean), width * math.sqrt(variance), degrees=degrees)

    return Family({model: estimate(sums) for model, sums in models.items()}, compare_all(list(models), compare))
