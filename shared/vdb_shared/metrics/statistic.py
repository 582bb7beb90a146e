"""Blocks of lanes: the shape of what is summed, and the sum itself.

Promises that a layout is one list of named blocks in one order, with the L2 bound of a record's share in each, and that
`Tally` sums exactly: records in any order, on any number of workers, give the same bytes. Leaves the meaning of
blocks to the catalogue and their encoding to privacy/mechanism.py.

Source: protos/README.md §7.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_shared.canonical import canonical_json, decimal_string, sha256_digest
from vdb_shared.errors import StatisticError

Statistics = Mapping[str, NDArray[np.float64]]
"""Sums by block name; each of shape (dims,), float64."""

MAX_CONTRIBUTIONS: Final = 2**24
"""Most contributions to one block of one institution for which `Tally` stays exact on a grid of at least 2^-28."""

LANE_LIMIT: Final = 2**47
"""A lane's absolute value stays below this (§4.6)."""

_UP: Final = Context(prec=60, rounding=ROUND_CEILING)
_SLACK: Final = 1e-9
"""Relative excess over a bound that float64 rounding in an extractor's last step may cause; it is scaled away."""


@dataclass(frozen=True, slots=True)
class Block:
    """Neighbouring lanes that are bounded, weighted and noised together.

    Attributes:
        name: "<side>/<model or clips>/<metric or count>/<part>".
        dims: number of lanes.
        bound_squared: b^2, square of the largest L2 norm of what one record adds to the block.
        private: whether the lanes carry noise.
        weight: w, factor of the lanes before encoding; divides the privacy budget between blocks.
        clips: clips of one record that add to the block, each with norm at most b / clips.
    """

    name: str
    dims: int
    bound_squared: int
    private: bool
    weight: Decimal = Decimal(1)
    clips: int = 1

    def __post_init__(self) -> None:
        if min(self.dims, self.bound_squared, self.clips) < 1 or not self.weight > 0:
            raise ValueError(f"block {self.name}: dims, bound, clips and weight must be positive")


@dataclass(frozen=True)
class Layout:
    """All blocks of a session in the order of their lanes."""

    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        if len(self._slices) != len(self.blocks):
            raise ValueError("two blocks have the same name")

    @cached_property
    def _slices(self) -> dict[str, slice]:
        found: dict[str, slice] = {}
        start = 0
        for block in self.blocks:
            found[block.name] = slice(start, start + block.dims)
            start += block.dims
        return found

    @property
    def lanes(self) -> int:
        """Number of lanes."""
        return sum(block.dims for block in self.blocks)

    @property
    def private_lanes(self) -> int:
        """Number of lanes that carry noise: d of the sensitivity."""
        return sum(block.dims for block in self.blocks if block.private)

    def slice_of(self, name: str) -> slice:
        """Return where a block's lanes lie.

        Raises:
            StatisticError: there is no such block.
        """
        try:
            return self._slices[name]
        except KeyError:
            raise StatisticError(f"the layout has no block {name}") from None

    def block(self, name: str) -> Block:
        """Return a block by its name.

        Raises:
            StatisticError: there is no such block.
        """
        self.slice_of(name)
        return next(block for block in self.blocks if block.name == name)

    def clip_norm_squared(self) -> Decimal:
        """Return C^2, the sum of (w b)^2 over private blocks: one record, such as a prompt with its video, may touch all."""
        total = Decimal(0)
        for block in self.blocks:
            if block.private:
                square = _UP.multiply(_UP.multiply(block.weight, block.weight), Decimal(block.bound_squared))
                total = _UP.add(total, square)
        return total

    def to_json(self) -> dict[str, object]:
        """Return the JSON form whose digest names the layout."""
        return {
            "blocks": [
                {
                    "name": block.name,
                    "dims": block.dims,
                    "bound_squared": block.bound_squared,
                    "private": block.private,
                    "weight": decimal_string(block.weight),
                    "clips": block.clips,
                }
                for block in self.blocks
            ]
        }

    @property
    def digest(self) -> str:
        """Digest of the canonical JSON form."""
        return sha256_digest(canonical_json(self.to_json()))

    def check(self, statistics: Statistics) -> None:
        """Check that statistics have exactly the blocks of this layout, finite and of the right shapes.

        Raises:
            StatisticError: they have not.
        """
        wrong = set(statistics) ^ set(self._slices)
        if wrong:
            raise StatisticError(f"block {min(wrong)} is not on both sides: layout and statistics differ")
        for block in self.blocks:
            values = statistics[block.name]
            if values.shape != (block.dims,) or values.dtype != np.float64 or not np.isfinite(values).all():
                raise StatisticError(
                    f"block {block.name}: expected {block.dims} finite float64 lanes, found {values.shape}"
                )


def grid_exponent(capacity: int) -> int:
    """Return the largest k with capacity 2^k <= 2^47 - 2: sums of so many shares on the grid 2^-k are lanes of scale 2^k.

    Sums are cut to the very grid on which public lanes are encoded, so that encoding them rounds nothing.

    Raises:
        StatisticError: there is none; the capacity overflows a lane.
    """
    room = (LANE_LIMIT - 2) // capacity
    if room < 1:
        raise StatisticError(f"{capacity} contributions overflow a lane, which stays below 2^47")
    return room.bit_length() - 1


class Tally:
    """Exact sums of contributions, block by block.

    Every contribution is cut toward zero to a multiple of 2^-k, k = grid_exponent(capacity), so that float64 adds
    without rounding: sums do not depend on order or grouping, and neighbouring data sets differ by exactly one
    record's share. Cutting toward zero never lengthens a vector, so bounds hold after it.
    """

    def __init__(self, layout: Layout, *, capacity: int) -> None:
        """Start from zero.

        Args:
            layout: the blocks.
            capacity: most contributions that any one block receives.

        Raises:
            StatisticError: more than 2^24.
        """
        if not 1 <= capacity <= MAX_CONTRIBUTIONS:
            raise StatisticError(f"expected 1 to {MAX_CONTRIBUTIONS} contributions to a block, found {capacity}")
        self._layout = layout
        self._capacity = capacity
        self._unit = 2.0 ** -grid_exponent(capacity)
        self._blocks = {block.name: block for block in layout.blocks}
        self._sums = {block.name: np.zeros(block.dims) for block in layout.blocks}
        self._counts = dict.fromkeys(self._sums, 0)

    def add(self, name: str, contribution: NDArray[np.float64]) -> None:
        """Add one clip's share of a block.

        Args:
            name: of the block.
            contribution: shape (dims,), float64, L2 norm at most b / clips.

        Raises:
            StatisticError: unknown block, wrong shape, not finite, beyond the bound, or more than the capacity.
        """
        block = self._blocks.get(name)
        if block is None:
            raise StatisticError(f"the layout has no block {name}")
        values = np.asarray(contribution, dtype=np.float64)
        if values.shape != (block.dims,) or not np.isfinite(values).all():
            raise StatisticError(f"block {name}: expected {block.dims} finite lanes, found {values.shape}")
        self._sums[name] += self._grid(block, values)
        self._counts[name] += 1
        if self._counts[name] > self._capacity:
            raise StatisticError(f"block {name}: more than the {self._capacity} contributions it was made for")

    def _grid(self, block: Block, values: NDArray[np.float64]) -> NDArray[np.float64]:
        bound_squared = block.bound_squared / block.clips**2
        square = math.fsum(values * values)
        if square > bound_squared * (1 + _SLACK):
            raise StatisticError(
                f"block {block.name}: expected a squared norm of at most {bound_squared}, found {square}"
            )
        shrink = math.sqrt(bound_squared / square) if square > bound_squared else 1.0
        return np.trunc(values * (shrink / self._unit)) * self._unit

    def sums(self) -> dict[str, NDArray[np.float64]]:
        """Return the sums so far, a copy."""
        return {name: values.copy() for name, values in self._sums.items()}


def pooled(layout: Layout, parts: tuple[Statistics, ...]) -> dict[str, NDArray[np.float64]]:
    """Return the sum of several statistics of one layout: what aggregation computes, without it.

    Raises:
        StatisticError: a part does not fit the layout.
    """
    for part in parts:
        layout.check(part)
    return {
        block.name: np.sum([part[block.name] for part in parts], axis=0, dtype=np.float64) for block in layout.blocks
    }
