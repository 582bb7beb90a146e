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


BLOCK_LANES: Final = 4096
"""Lanes that share one blinder and one commitment."""


def share_threshold(members: int, collusion: int) -> int:
    """Return ⌊(n+c)/2⌋+1: two sets of so many among n have more than c members in common.

    Args:
        members: n; |U1| for the share threshold t, the number of sealed joins for the signature quorum q.
        collusion: c, how many may collude with the coordinator.
    """
    return (members + collusion) // 2 + 1


def blocks_of(lanes: int) -> int:
    """Return how many blocks of 4096 lanes, the last one perhaps shorter, make up that many lanes."""
    return -(-lanes // BLOCK_LANES)


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
        session: what opens the transcript, 32 bytes: the digest of the seal, after a restart that of the restart (§4.4).
        roster: statement keys of the sealed joiners by seat.
        collusion: c >= 1.
        smallest_cohort: n_min.
        lanes: length of the vector.
        left_out: dealers without whom the rounds were restarted.
        complained: who complained about them; nobody may twice.

    Raises:
        ValueError: parameters that no seal can yield.
    """

    session: bytes
    roster: Mapping[Seat, StatementPublicKey]
    collusion: int
    smallest_cohort: int
    lanes: int
    left_out: frozenset[Seat] = frozenset()
    complained: frozenset[Seat] = frozenset()

    def __post_init__(self) -> None:
        joined = len(self.roster)
        if len(self.session) != DIGEST_BYTES:
            raise ValueError(f"session: a seal's digest has {DIGEST_BYTES} bytes, not {len(self.session)}")
        if not all(0 <= seat <= MAX_SEAT for seat in self.roster):
            raise ValueError(f"roster: at most {MAX_PARTICIPANTS} seats from 0 to {MAX_SEAT} are possible")
        if len({key.raw for key in self.roster.values()}) != joined:
            raise ValueError("roster: two seats have the same statement key")
        if self.collusion < 1:
            raise ValueError("collusion: must be at least 1, as every participant knows its own noise")
        floor = max(share_threshold(joined, self.collusion), self.collusion + 2)
        if not floor <= self.smallest_cohort <= len(self.seats):
            raise ValueError(
                f"smallest_cohort: {self.smallest_cohort} is not between {floor} and the {len(self.seats)} who may take part"
            )
        if self.lanes < 1:
            raise ValueError("lanes: the vector must have at least one lane")

    @property
    def seats(self) -> frozenset[Seat]:
        """Seats that may take part: all sealed joiners but those left out."""
        return frozenset(self.roster) - self.left_out

    @property
    def quorum(self) -> int:
        """q, counted on all sealed joiners, so that of all attempts at most one can reach it."""
        return share_threshold(len(self.roster), self.collusion)

    @property
    def blocks(self) -> int:
        """Blocks of 4096 lanes, each with a blinder and a commitment."""
        return blocks_of(self.lanes)
