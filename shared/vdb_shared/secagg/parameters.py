"""What a session's rounds work with: who may take part, how many must, how wide the vector is.

Promises that thresholds are computed in one place and that impossible parameters cannot be built. Leaves to `seal.py`
that they follow from the signed spec and the sealed joins.

Source: Bonawitz et al. 2017 (CCS), section 6; protos/README.md §4.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, TypeAlias

from vdb_shared.identity import StatementPublicKey

Seat: TypeAlias = int
"""Index of an institution in the sealed roster; its Shamir x-coordinate is seat + 1."""

DIGEST_BYTES: Final = 32
MAX_PARTICIPANTS: Final = 2**16 - 1
"""So many lanes below 2^48 add up to less than 2^64, so the ring sum is the integer sum."""

MAX_SEAT: Final = 2**16 - 2
"""The x-coordinate seat + 1 stays below 2^16."""


def share_threshold(advertised: int, collusion: int) -> int:
    """Return t = q = ⌊(n+c)/2⌋+1, the share threshold and signature quorum.

    Args:
        advertised: n, how many advertised keys (|U1|).
        collusion: c, how many may collude with the coordinator.
    """
    return (advertised + collusion) // 2 + 1


def smallest_cohort(joined: int, collusion: int, dropout: Decimal) -> int:
    """Return n_min = max(⌊(n_J+c)/2⌋+1, ⌈(1−θ)·n_J⌉, c+2), the smallest U1, U2 and U3.

    Args:
        joined: n_J, how many joins were sealed.
        collusion: c.
        dropout: θ, in [0, 1).

    Returns:
        The size; larger than `joined` when the session cannot take place at all.
    """
    staying = math.ceil((1 - Fraction(dropout)) * joined)
    return max(share_threshold(joined, collusion), staying, collusion + 2)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The sealed facts that every check of the rounds refers to.

    Attributes:
        session: digest of the seal, 32 bytes; opens the transcript.
        roster: statement keys of the sealed joiners by seat.
        collusion: c >= 1.
        smallest_cohort: n_min.
        lanes: length of the vector.

    Raises:
        ValueError: parameters that no seal can yield.
    """

    session: bytes
    roster: Mapping[Seat, StatementPublicKey]
    collusion: int
    smallest_cohort: int
    lanes: int

    def __post_init__(self) -> None:
        joined = len(self.roster)
        if len(self.session) != DIGEST_BYTES:
            raise ValueError(f"session: a seal's digest has {DIGEST_BYTES} bytes, not {len(self.session)}")
        if joined > MAX_PARTICIPANTS or not all(0 <= seat <= MAX_SEAT for seat in self.roster):
            raise ValueError(f"roster: at most {MAX_PARTICIPANTS} seats from 0 to {MAX_SEAT} are possible")
        if len({key.raw for key in self.roster.values()}) != joined:
            raise ValueError("roster: two seats have the same statement key")
        if self.collusion < 1:
            raise ValueError("collusion: must be at least 1, as every participant knows its own noise")
        floor = max(share_threshold(joined, self.collusion), self.collusion + 2)
        if not floor <= self.smallest_cohort <= joined:
            raise ValueError(
                f"smallest_cohort: {self.smallest_cohort} is not between {floor} and the {joined} who joined"
            )
        if self.lanes < 1:
            raise ValueError("lanes: the vector must have at least one lane")

    @property
    def seats(self) -> frozenset[Seat]:
        """Seats of all sealed joiners."""
        return frozenset(self.roster)
