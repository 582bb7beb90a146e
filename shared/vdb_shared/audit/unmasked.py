"""Unmasking played again, from the messages of a bundle of the profile `full`.

Promises that every byte is the one that its sender signed before anything is computed from it, and that only totals come
out: the seeds that are rebuilt here are dropped again. Leaves comparing to the checks.

Source: protos/README.md §4.3, §10.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vdb_shared.bundle.messages import KeptMessages
from vdb_shared.errors import FormatError, ProtocolError
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import Transcript, open_unmasking, seat_peer
from vdb_shared.secagg.unmasking import LeftOutShare, Unrecovered, recover, remove_masks
from vdb_shared.secagg.vectors import Vector


class MissingSharesError(FormatError):
    """Messages that no statement of the result names are not in the file, and too few are left."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the messages give.

    Attributes:
        lanes: sums of the survivors' lanes with their offsets, (lanes,), uint64.
        blinders: sums of their blinders mod r, one for each block.
        signers: whose shares were used.
        left_out: shares that did not fit; nobody's guilt (§4.3).
    """

    lanes: NDArray[np.uint64] = field(repr=False)
    blinders: tuple[int, ...] = field(repr=False)
    signers: frozenset[Seat]
    left_out: tuple[LeftOutShare, ...]

    def gives(self, lanes: NDArray[np.uint64], blinders: Sequence[int]) -> bool:
        """Return whether these are the totals."""
        return bool(np.array_equal(self.lanes, lanes)) and self.blinders == tuple(blinders)


def replay_unmasking(transcript: Transcript, messages: KeptMessages) -> Replayed:
    """Return the totals that messages give, as §4.3 makes them.

    Args:
        transcript: rounds 0 to 2, verified.
        messages: masked vectors and shares.

    Raises:
        ProtocolError: one is not what its sender signed, or no honest run contains it.
        FormatError: a vector has another length, or the shares of all survivors do not give a seed.
        MissingSharesError: the shares that there are do not give a seed, and not all survivors' are there.
    """
    total = Vector.zeros(transcript.parameters.lanes)
    for seat, header in sorted(transcript.masked.headers.items()):
        if masked_digest(messages.masked[seat]) != header.masked_digest:
            raise ProtocolError("its masked vector is not the one that its signed header names", peer=seat_peer(seat))
        total = total.plus(Vector.from_bytes(messages.masked[seat], transcript.parameters.lanes))
    statement = transcript.masked.statement
    shares = {
        seat: open_unmasking(transcript.parameters, statement, seat, signed, seat_peer(seat))
        for seat, signed in sorted(messages.revealed.items())
    }
    seeds = recover(transcript, shares)
    if isinstance(seeds, Unrecovered):
        problem = f"the shares of {len(shares)} institutions do not give the {seeds.kind} seed of seat {seeds.dealer}"
        raise MissingSharesError(problem) if len(shares) < len(transcript.masked.headers) else FormatError(problem)
    plain = remove_masks(total, transcript, seeds)
    return Replayed(plain.lanes, tuple(plain.reduced_blinders()), frozenset(shares), seeds.left_out)
