"""Dropout recovery: rebuild seeds from revealed shares, check them, take their masks off the sum.

Promises that every rebuilt seed is the one its owner committed to: b against H(b) of the round-1 header, k against the
advertised mask key. Wrong shares are worked around where more than t holders answered. Leaves to the coordinator's rounds
when to try and when to give up.

Source: Bonawitz et al. 2017, section 4; protos/README.md §4.3.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, combinations, islice
from typing import Final, TypeAlias

from vdb_shared.secagg import agreement
from vdb_shared.secagg.field import FIELD_ORDER
from vdb_shared.secagg.masking import pair_mask_key, pair_sign, self_mask_key
from vdb_shared.secagg.messages import UnmaskingShares
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.sealing import self_seed_digest
from vdb_shared.secagg.shamir import lagrange_at_zero
from vdb_shared.secagg.transcript import Transcript
from vdb_shared.secagg.vectors import Vector

MAX_TRIALS: Final = 10_000
"""Sets of suspects tried for one seed: any one wrong holder at every size, two among 140, more in smaller cohorts."""

_SEED_LIMIT: Final = 2 ** (8 * agreement.SEED_BYTES)


@dataclass(frozen=True, slots=True)
class LeftOutShare:
    """A share that was left out so that a seed could be rebuilt.

    No proof of guilt: the dealer may have dealt it wrong, and holders who collude can shape their wrong shares so that
    leaving out an honest one yields the seed.

    Attributes:
        dealer: whose seed.
        holder: who revealed the share.
    """

    dealer: Seat
    holder: Seat


@dataclass(frozen=True, slots=True)
class Recovered:
    """All seeds that the sum needs.

    Attributes:
        self_mask: b_j of the survivors, 31 bytes each.
        mask_key: k_j of those who dropped out after sharing keys, 31 bytes each.
        left_out: shares that did not fit.
    """

    self_mask: Mapping[Seat, bytes] = field(repr=False)
    mask_key: Mapping[Seat, bytes] = field(repr=False)
    left_out: tuple[LeftOutShare, ...]


@dataclass(frozen=True, slots=True)
class Unrecovered:
    """A seed that these shares do not yield.

    Attributes:
        dealer: whose.
        kind: "self-mask" or "mask-key".
    """

    dealer: Seat
    kind: str


Recovery: TypeAlias = Recovered | Unrecovered


def rebuild(
    shares: Mapping[Seat, int], threshold: int, fits: Callable[[bytes], bool], first: tuple[Seat, ...] = ()
) -> tuple[bytes, tuple[Seat, ...]] | None:
    """Return the seed that fits and the holders left out for it, or None when no set of suspects yields it.

    All shares are interpolated at once; leaving out a set E multiplies the i-th Lagrange coefficient by
    Π_{k∈E} (1 − x_i/x_k), so each further set costs |E| products instead of a new interpolation. Nobody is suspected
    first, then whom `first` names, then smallest sets first.

    Args:
        shares: field elements by holder; at least `threshold`.
        threshold: t.
        fits: whether 31 bytes are the seed.
        first: holders to suspect first; whoever answered wrongly for one dealer mostly does for all.
    """
    holders = tuple(sorted(shares))
    if len(holders) < threshold:
        return None
    weighted = [c * shares[seat] for c, seat in zip(lagrange_at_zero(holders), holders, strict=True)]
    moments: list[int] = []
    sizes = range(1, len(holders) - threshold + 1)
    likely = [first] if first and len(holders) - len(first) >= threshold else []
    suspects = chain([()], likely, chain.from_iterable(combinations(holders, size) for size in sizes))
    for left_out in islice(suspects, MAX_TRIALS):
        while len(moments) <= len(left_out):
            moments.append(sum(weighted) % FIELD_ORDER)
            weighted = [w * (seat + 1) for w, seat in zip(weighted, holders, strict=True)]
        value = sum(c * m for c, m in zip(_correction(left_out), moments, strict=True)) % FIELD_ORDER
        if value < _SEED_LIMIT:
            seed = value.to_bytes(agreement.SEED_BYTES, "little")
            if fits(seed):
                return seed, left_out
    return None


def _correction(left_out: tuple[Seat, ...]) -> list[int]:
    """Return the coefficients of Π_{k∈E} (1 − z/x_k), ascending in z."""
    product = [1]
    for seat in left_out:
        slope = -pow(seat + 1, -1, FIELD_ORDER)
        shifted = [0, *(slope * c for c in product)]
        product = [(a + b) % FIELD_ORDER for a, b in zip([*product, 0], shifted, strict=True)]
    return product


def recover(transcript: Transcript, revealed: Mapping[Seat, UnmaskingShares]) -> Recovery:
    """Return all seeds the sum needs, each checked, or the first that cannot be rebuilt.

    Args:
        transcript: rounds 0 to 2.
        revealed: round-4 shares by holder, opened.
    """
    threshold = transcript.advertised.threshold
    seeds: dict[str, dict[Seat, bytes]] = {"self-mask": {}, "mask-key": {}}
    omitted: list[LeftOutShare] = []
    wanted = [("self-mask", seat) for seat in sorted(transcript.survivors)]
    wanted += [("mask-key", seat) for seat in sorted(transcript.dropped_with_masks)]
    suspects: tuple[Seat, ...] = ()
    for kind, dealer in wanted:
        found = rebuild(_shares_of(kind, dealer, revealed), threshold, _check(kind, dealer, transcript), suspects)
        if found is None:
            return Unrecovered(dealer, kind)
        seeds[kind][dealer], left_out = found
        suspects = left_out or suspects
        omitted += [LeftOutShare(dealer, holder) for holder in left_out]
    return Recovered(seeds["self-mask"], seeds["mask-key"], tuple(omitted))


def _shares_of(kind: str, dealer: Seat, revealed: Mapping[Seat, UnmaskingShares]) -> dict[Seat, int]:
    if kind == "self-mask":
        return {holder: shares.self_mask[dealer] for holder, shares in revealed.items()}
    return {holder: shares.mask_key[dealer] for holder, shares in revealed.items()}


def _check(kind: str, dealer: Seat, transcript: Transcript) -> Callable[[bytes], bool]:
    t1, session = transcript.advertised.t1, transcript.parameters.session
    if kind == "self-mask":
        digest = transcript.shared.headers[dealer].self_seed_digest
        return lambda seed: self_seed_digest(t1, dealer, seed) == digest
    key = transcript.advertised.keys[dealer].mask_key
    return lambda seed: agreement.public_key(agreement.mask_private_key(seed, session)) == key


def remove_masks(total: Vector, transcript: Transcript, recovered: Recovered) -> Vector:
    """Return the sum of the survivors' encoded lanes and blinders.

    Args:
        total: sum of the survivors' masked inputs.
        transcript: rounds 0 to 2.
        recovered: the seeds.
    """
    plain = total.copy()
    plain.add_masks(_remaining_masks(transcript, recovered), os.cpu_count() or 1)
    return plain


def _remaining_masks(transcript: Transcript, recovered: Recovered) -> Iterator[tuple[bytes, int]]:
    """Yield the keys of the masks that are still in the sum, each with the sign that takes it off."""
    t2 = transcript.shared.t2
    for seat, seed in recovered.self_mask.items():
        yield self_mask_key(seed, t2, seat), -1
    for dropped, seed in recovered.mask_key.items():
        private = agreement.load_private_key(agreement.mask_private_key(seed, transcript.parameters.session))
        for seat in transcript.survivors:
            shared = agreement.agree(private, transcript.advertised.keys[seat].mask_key)
            yield pair_mask_key(shared, t2, (seat, dropped)), -pair_sign(seat, dropped)
