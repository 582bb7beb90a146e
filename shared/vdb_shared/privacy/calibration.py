"""How much noise a promise needs, and the scale that gives it.

Every participant adds discrete Gaussian noise of deviation 2^20, so the scale of the statistics is what is solved
for: the promise (epsilon, delta) then holds for every survivor set of at least n_min with up to c participants that
collude or add no noise. Promises that all parties compute the same digits (Decimal arithmetic, stated roundings) and
that no lane of an admitted session can overflow. Leaves sampling of noise to the participant.

Source: Kairouz, Liu & Steinke 2021, proposition 14; protos/README.md §8.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final, Literal

from vdb_shared.canonical import decimal_string
from vdb_shared.errors import PrivacyError, StatisticError
from vdb_shared.metrics.statistic import LANE_LIMIT, Layout, grid_exponent
from vdb_shared.privacy.conversion import epsilon_of_rho, rho_of_multiplier

Mechanism = Literal["distributed-discrete-gaussian", "none"]

NOISE_EXPONENT: Final = 20
LOCAL_SIGMA: Final = 2**NOISE_EXPONENT
"""Deviation of every participant's noise, in lane units: large enough that tau underflows to 0, and a power of two
so that samplers stay exact."""

SCALE_STEP: Final = Decimal("0.000001")
"""The scale s is a multiple of this."""

LANE_SCALE_BITS: Final = 12
"""Fractional bits of s w for one block, so that lanes are computed in integers without rounding."""

NOISE_TAIL: Final = 12
"""Deviations of noise that the capacity proof reserves; more has a probability below 2^-106 for each lane."""

MULTIPLIER_STEPS: Final = 10_000
"""Steps of the noise multiplier in 1: it has 4 decimals."""

MAX_MULTIPLIER: Final = 10_000
MAX_JOINED: Final = 65_535
"""Institutions whose lanes can be summed without wrapping (§4.6)."""

_DOWN: Final = Context(prec=60, rounding=ROUND_FLOOR)
_UP: Final = Context(prec=60, rounding=ROUND_CEILING)


@dataclass(frozen=True, slots=True)
class Promise:
    """What is promised, and to a cohort of what size.

    Attributes:
        mechanism: "none" only in tests.
        epsilon, delta: the guarantee for one record, add/remove neighbours.
        maximum_records: largest number of private records of one institution.
        joined: institutions whose joins were sealed.
        smallest_cohort: n_min, fewest survivors.
        collusion: c, institutions that may collude or add no noise.
        capacity: most clips that one institution adds to any one block.
    """

    mechanism: Mechanism
    epsilon: Decimal
    delta: Decimal
    maximum_records: int
    joined: int
    smallest_cohort: int
    collusion: int
    capacity: int

    @property
    def honest(self) -> int:
        """Participants whose noise is counted on: n_min - c."""
        return self.smallest_cohort - self.collusion


@dataclass(frozen=True, slots=True)
class Calibration:
    """What follows from a promise and a layout.

    Attributes:
        promise: the promise.
        private_lanes: d, lanes that carry noise.
        clip_norm_squared: C^2.
        noise_multiplier: z, 4 decimals; None when nothing is noised.
        scale: s, 6 decimals; None when nothing is noised.
        public_exponent: k; lanes without noise have the scale 2^k.
    """

    promise: Promise
    private_lanes: int
    clip_norm_squared: Decimal
    noise_multiplier: Decimal | None
    scale: Decimal | None
    public_exponent: int

    @property
    def noised(self) -> bool:
        """Whether private lanes carry noise."""
        return self.scale is not None

    @property
    def sensitivity(self) -> Decimal:
        """Delta_2 = s C + sqrt(d) in lane units, rounded up at 60 digits; 0 when nothing is noised."""
        if self.scale is None:
            return Decimal(0)
        clip_norm = _UP.sqrt(self.clip_norm_squared).next_plus(_UP)
        rounding = _UP.sqrt(Decimal(self.private_lanes)).next_plus(_UP)
        return _UP.add(_UP.multiply(self.scale, clip_norm), rounding)

    def scale_numerator(self, weight: Decimal) -> int:
        """Return the scale of a private block of this weight in units of 2^-12: floor(s w 2^12)."""
        if self.scale is None:
            raise ValueError("nothing is noised, so private blocks have the public scale")
        return int(_DOWN.multiply(_DOWN.multiply(self.scale, weight), Decimal(2**LANE_SCALE_BITS)))

    def block_scales(self, layout: Layout) -> Mapping[str, float]:
        """Return the scale of every block, exact in float64: lanes are statistics times this."""
        return {
            block.name: self.scale_numerator(block.weight) / 2**LANE_SCALE_BITS
            if block.private and self.noised
            else 2.0**self.public_exponent
            for block in layout.blocks
        }

    def to_json(self) -> dict[str, object]:
        """Return the JSON form; reals are decimal strings."""
        return {
            "mechanism": self.promise.mechanism,
            "private_lanes": self.private_lanes,
            "clip_norm_squared": decimal_string(self.clip_norm_squared),
            "noise_multiplier": None if self.noise_multiplier is None else decimal_string(self.noise_multiplier),
            "scale": None if self.scale is None else decimal_string(self.scale),
            "local_sigma": LOCAL_SIGMA,
            "public_exponent": self.public_exponent,
        }


def calibrate(promise: Promise, layout: Layout) -> Calibration:
    """Return the calibration that keeps a promise for every record of a layout.

    Raises:
        PrivacyError: the promise is nonsense, or its lanes would overflow or have no resolution; names the spec's
        field.
    """
    _check_promise(promise)
    d = layout.private_lanes
    exponent = _public_exponent(promise.capacity)
    if promise.mechanism == "none" or d == 0:
        return Calibration(promise, d, layout.clip_norm_squared(), None, None, exponent)
    z = noise_multiplier(promise.epsilon, promise.delta)
    calibration = Calibration(promise, d, layout.clip_norm_squared(), z, _scale(promise, layout, z), exponent)
    _check_capacity(calibration, layout)
    return calibration


def noise_multiplier(epsilon: Decimal, delta: Decimal) -> Decimal:
    """Return the smallest z of 4 decimals whose rho = 1 / (2 z^2) implies at most epsilon at delta.

    Raises:
        PrivacyError: none up to 10,000 does.
    """
    low, high = 0, MAX_MULTIPLIER * MULTIPLIER_STEPS  # low never suffices, high does: bisection on a falling epsilon

    def suffices(steps: int) -> bool:
        return epsilon_of_rho(rho_of_multiplier(Decimal(steps) / MULTIPLIER_STEPS), delta) <= epsilon

    if not suffices(high):
        raise PrivacyError(f"privacy.epsilon: {epsilon} at delta {delta} needs more noise than is supported; raise it")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return Decimal(high) / MULTIPLIER_STEPS


def _check_promise(promise: Promise) -> None:
    if not (promise.epsilon.is_finite() and promise.epsilon > 0):
        raise PrivacyError(f"privacy.epsilon: must be above 0, found {promise.epsilon}")
    if not (promise.delta.is_finite() and promise.delta > 0):
        raise PrivacyError(f"privacy.delta: must be above 0, found {promise.delta}")
    if promise.maximum_records < 1 or promise.capacity < 1:
        raise PrivacyError(f"privacy.maximum_records: must be at least 1, found {promise.maximum_records}")
    if not 1 <= promise.joined <= MAX_JOINED:
        raise PrivacyError(f"cohort: {promise.joined} institutions joined; 1 to {MAX_JOINED} can be summed")
    if promise.collusion < 1:
        raise PrivacyError(
            f"cohort.collusion: must be at least 1, found {promise.collusion}; every institution knows its own noise"
        )
    if not promise.collusion + 2 <= promise.smallest_cohort <= promise.joined:
        raise PrivacyError(
            f"cohort.minimum: expected a smallest cohort from {promise.collusion + 2} to the {promise.joined} "
            f"that joined, found {promise.smallest_cohort}"
        )
    records = promise.joined * promise.maximum_records
    if promise.mechanism != "none" and promise.delta * records * 10 > 1:
        raise PrivacyError(
            f"privacy.delta: {promise.delta} is above 0.1 / {records} records "
            f"({promise.joined} institutions with up to {promise.maximum_records} each); lower it"
        )


def _scale(promise: Promise, layout: Layout, z: Decimal) -> Decimal:
    """Return s = (2^20 sqrt(n_min - c) / z - sqrt(d)) / C, rounded down to 6 decimals."""
    noise = _DOWN.divide(_DOWN.multiply(Decimal(LOCAL_SIGMA), _DOWN.sqrt(Decimal(promise.honest)).next_minus(_DOWN)), z)
    room = _DOWN.subtract(noise, _UP.sqrt(Decimal(layout.private_lanes)).next_plus(_UP))
    scale = _DOWN.quantize(_DOWN.divide(room, _UP.sqrt(layout.clip_norm_squared()).next_plus(_UP)), SCALE_STEP)
    lightest = min(block.weight for block in layout.blocks if block.private)
    if scale * lightest < 1:
        raise PrivacyError(
            f"privacy.epsilon: {promise.epsilon} leaves the {layout.private_lanes} private lanes no resolution "
            f"(scale {scale}, lightest weight {lightest}); raise it, ask for fewer metrics or even out their weights"
        )
    return scale


def _public_exponent(capacity: int) -> int:
    try:
        return grid_exponent(capacity)
    except StatisticError as error:
        raise PrivacyError(f"privacy.maximum_records: {error}; lower it") from error


def _check_capacity(calibration: Calibration, layout: Layout) -> None:
    """Prove that no lane overflows: every clip adds at most 1 to a lane before scaling, and noise has a known tail."""
    weight = max(block.weight for block in layout.blocks if block.private)
    largest = calibration.scale_numerator(weight) * calibration.promise.capacity // 2**LANE_SCALE_BITS
    needed = largest + 2 + NOISE_TAIL * LOCAL_SIGMA
    if needed >= LANE_LIMIT:
        raise PrivacyError(
            f"privacy.maximum_records: {calibration.promise.capacity} clips at scale {calibration.scale} and weight {weight} "
            f"need lanes up to {needed}, beyond {LANE_LIMIT - 1}; lower the number of records or the weight"
        )
