"""What follows from a spec and the institutions that joined: the terms of a seal.

Coordinator, participants and auditors all compute these terms from the same two things and refuse any that differ. Promises
that nothing in them can be chosen by the coordinator once the joins are in.

Source: protos/README.md §6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vdb_shared.canonical import decimal_string
from vdb_shared.errors import PrivacyError, UsageError
from vdb_shared.layout import layout_of, promise_of
from vdb_shared.metrics.statistic import Layout
from vdb_shared.privacy.calibration import Calibration, calibrate
from vdb_shared.secagg.generators import GENERATORS_DIGEST
from vdb_shared.secagg.parameters import blocks_of, smallest_cohort
from vdb_shared.spec import Spec

NOT_NOISED: Final = "none"
"""Stands for noise multiplier and scale in the seal of a session that noises nothing."""

MAX_JSON_BYTES: Final = 4 * 2**20
"""Largest JSON member of a bundle (V02). Parsed JSON takes some 30 times its bytes, and nothing is signed yet when it is
parsed."""

_HEADERS_BYTES: Final = 1100
_COMMITMENT_BYTES: Final = 64
"""What one institution adds at most to the transcript in a bundle: its signed headers, and base64 of each commitment."""


@dataclass(frozen=True, slots=True)
class SealTerms:
    """The terms of a seal.

    Attributes:
        seats: seats of the institutions that joined, ascending.
        smallest_cohort: n_min.
        layout: the lanes.
        calibration: noise multiplier and scales.
        public_tasks: number of public clips, split over the seats in ascending order.
        generators: digest of the generators of the commitments.
    """

    seats: tuple[int, ...]
    smallest_cohort: int
    layout: Layout
    calibration: Calibration
    public_tasks: int
    generators: str

    @property
    def noise_multiplier(self) -> str:
        """The noise multiplier as it stands in the seal."""
        value = self.calibration.noise_multiplier
        return NOT_NOISED if value is None else decimal_string(value)

    @property
    def scale(self) -> str:
        """The scale of private lanes as it stands in the seal."""
        value = self.calibration.scale
        return NOT_NOISED if value is None else decimal_string(value)

    def position(self, seat: int) -> int:
        """Return the place of a seat among those that joined, from 0: it selects the shard of public work."""
        return self.seats.index(seat)


def seal_terms(spec: Spec, seats: Sequence[int]) -> SealTerms:
    """Return what follows from a spec once these seats have joined.

    Raises:
        PrivacyError: too few joined, or the spec's promise cannot be kept; names the field.
        SpecError: a metric of the spec is not in the catalogue or lacks a setting.
        UsageError: so many institutions with so many lanes that no bundle could hold the transcript.
    """
    if len(seats) < spec.cohort.minimum:
        raise PrivacyError(f"cohort.minimum: {spec.cohort.minimum} institutions must join, only {len(seats)} did")
    layout = layout_of(spec)
    _check_transcript(len(seats), layout.lanes)
    smallest = smallest_cohort(len(seats), spec.cohort.collusion, spec.cohort.dropout)
    promise = promise_of(spec, joined=len(seats), smallest_cohort=smallest)
    clips = len(spec.models) * len(spec.prompts) * spec.generation.samples
    return SealTerms(tuple(sorted(seats)), smallest, layout, calibrate(promise, layout), clips, GENERATORS_DIGEST)


def transcript_bytes(institutions: int, lanes: int) -> int:
    """Return how many bytes the transcript in a bundle has at most, when nobody drops out."""
    return institutions * (_HEADERS_BYTES + _COMMITMENT_BYTES * blocks_of(lanes))


def _check_transcript(institutions: int, lanes: int) -> None:
    """Refuse beforehand what every auditor would refuse after all rounds are run and all budgets are spent."""
    size = transcript_bytes(institutions, lanes)
    if size > MAX_JSON_BYTES:
        raise UsageError(
            f"{institutions} institutions with {lanes} lanes: the transcript would have {size} bytes, no bundle holds more "
            f"than {MAX_JSON_BYTES}; take fewer metrics or models, or extractors of fewer dimensions"
        )
