"""Blocked Pedersen commitments to encoded lanes, and the public check that they open to a sum.

For each block of 4096 lanes C = Σ_j v_j·G_j + r·H. Promises that a commitment hides its lanes perfectly when its blinder is
uniform, and that whoever finds a second opening has solved a discrete logarithm between the generators. Since v < 2^48 and
there are at most 65,535 participants, the sum in the exponent is the integer sum and the ring sum alike. Leaves to the rounds
where blinders come from and how they are added up. Not constant time.

Source: Pedersen 1991 (CRYPTO); for vectors Bootle et al. 2016 (EUROCRYPT), section 2.2; batching: small exponents test of
Bellare, Garay & Rabin 1998 (EUROCRYPT), its weights drawn by hashing all that is checked (Fiat & Shamir 1986), so that every
auditor computes the same; protos/README.md §4.6.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from py_arkworks_bls12381 import G1Point, Scalar

from vdb_shared import labels
from vdb_shared.canonical import encode_fields
from vdb_shared.errors import FormatError
from vdb_shared.secagg.encoding import Ring, ring_to_bytes
from vdb_shared.secagg.field import SCALAR_BYTES, encode_scalar, encode_scalars
from vdb_shared.secagg.generators import load_generators
from vdb_shared.secagg.parameters import BLOCK_LANES, blocks_of
from vdb_shared.secagg.vectors import COMMITMENT_BYTES

WEIGHT_BYTES: Final = 16
"""Weights of the batched check: finding a wrong sum that passes takes about 2^128 tries."""

_LIMB_BITS: Final = 16
_SCALAR_LIMBS: Final = SCALAR_BYTES * 8 // _LIMB_BITS

_LEAST_PART: Final = 512
"""Points below which a multi-exponentiation is not divided: several small ones take more than a large one."""

Points: TypeAlias = tuple[G1Point, ...]
"""One point for each block."""


def commit(values: Ring, blinders: Sequence[int]) -> bytes:
    """Return the commitments to encoded lanes, 48 bytes for each block.

    Args:
        values: encoded lanes v, (lanes,), uint64, each below 2^48.
        blinders: one uniform element of GF(r) for each block, used once.

    Raises:
        ValueError: not one blinder for each block.
    """
    if len(blinders) != blocks_of(values.size):
        raise ValueError(f"{values.size} lanes have {blocks_of(values.size)} blocks, not {len(blinders)}")
    load_generators()  # once, before threads ask for it
    blocks = [values[start : start + BLOCK_LANES] for start in range(0, values.size, BLOCK_LANES)]
    # The multi-exponentiation gives the interpreter's lock back, so threads use all cores; their number changes no byte.
    with ThreadPoolExecutor(max_workers=min(len(blocks), os.cpu_count() or 1)) as pool:
        return b"".join(pool.map(_commit_block, blocks, blinders))


def decode_commitments(data: bytes, blocks: int) -> list[G1Point]:
    """Return the points of that many commitments, each in the prime-order subgroup.

    Raises:
        FormatError: another length, or bytes that are not the one encoding of a point of the subgroup.
    """
    if len(data) != blocks * COMMITMENT_BYTES:
        raise FormatError(f"expected {blocks} commitments of {COMMITMENT_BYTES} bytes, found {len(data)} bytes")
    return [_point(data[start : start + COMMITMENT_BYTES]) for start in range(0, len(data), COMMITMENT_BYTES)]


def commitments_open(commitments: Sequence[bytes], totals: Ring, blinder_totals: Sequence[int]) -> bool:
    """Return whether the commitments of all survivors open to the sum: Σ_i C_ib = Σ_j S_bj·G_j + R_b·H in every block b.

    All blocks are checked at once under weights that nobody can choose, by one multi-exponentiation over the 4097 generators.

    Args:
        commitments: of each survivor, as signed, ascending by seat.
        totals: S, sums of the encoded lanes with offsets, (lanes,), uint64.
        blinder_totals: R, sums of the blinders mod r, one for each block.

    Raises:
        FormatError: commitments that are no points of the subgroup, or too few or many.
    """
    sums = no_commitments(blocks_of(totals.size))
    for signed in commitments:
        sums = add_commitments(sums, signed)
    return sums_open(sums, commitments, totals, blinder_totals)


def no_commitments(blocks: int) -> Points:
    """Return the sums of nobody's commitments."""
    return (G1Point.identity(),) * blocks


def add_commitments(sums: Points, signed: bytes) -> Points:
    """Return the sums of commitments, one point for each block, with those of one more participant.

    Raises:
        FormatError: they are no points of the subgroup, or too few or many.
    """
    return tuple(total + point for total, point in zip(sums, decode_commitments(signed, len(sums)), strict=True))


def sums_open(sums: Points, commitments: Sequence[bytes], totals: Ring, blinder_totals: Sequence[int]) -> bool:
    """Return what `commitments_open` does, for who has added up the commitments already.

    Args:
        sums: of the commitments, by `add_commitments`.
        commitments: the same as signed, from which the weights are drawn.
        totals: S, sums of the encoded lanes with offsets, (lanes,), uint64.
        blinder_totals: R, sums of the blinders mod r, one for each block.

    Raises:
        FormatError: too few or many blinders.
    """
    blocks = blocks_of(totals.size)
    if len(blinder_totals) != blocks:
        raise FormatError(f"{totals.size} lanes have {blocks} sums of blinders, not {len(blinder_totals)}")
    weights = check_weights(commitments, totals, blinder_totals)
    bases = load_generators()
    left = G1Point.multiexp_unchecked(list(sums), [_scalar(weight) for weight in weights])
    exponents = _weighted(totals, weights)
    exponents.append(_reduced(sum(w * r for w, r in zip(weights, blinder_totals, strict=True))))
    width = len(exponents) - 1
    return bool(left == _multiply([*bases.lanes[:width], bases.blinder], exponents))


def check_weights(commitments: Sequence[bytes], totals: Ring, blinder_totals: Sequence[int]) -> list[int]:
    """Return the weight of each block: SHAKE-256 of the label, the totals, the blinders and all commitments.

    Whoever knew a weight before all of these are fixed could make errors of two blocks cancel.
    """
    statement = encode_fields(
        labels.HASH_COMMITMENT_WEIGHTS.encode("ascii"),
        ring_to_bytes(totals),
        encode_scalars(blinder_totals),
        *commitments,
    )
    drawn = hashlib.shake_256(statement).digest(len(blinder_totals) * WEIGHT_BYTES)
    return [
        int.from_bytes(drawn[start : start + WEIGHT_BYTES], "little") for start in range(0, len(drawn), WEIGHT_BYTES)
    ]


def _multiply(points: list[G1Point], exponents: list[Scalar]) -> G1Point:
    """Return Σ e_i·P_i, by as many threads as there are cores; their number changes nothing in the sum."""
    parts = max(1, min(os.cpu_count() or 1, len(points) // _LEAST_PART))
    with ThreadPoolExecutor(max_workers=parts) as pool:
        sums = pool.map(
            lambda part: G1Point.multiexp_unchecked(points[part::parts], exponents[part::parts]), range(parts)
        )
        return sum(sums, G1Point.identity())


def _commit_block(values: Ring, blinder: int) -> bytes:
    """Return one commitment.

    The blinder is kept out of the multi-exponentiation: among scalars of 48 bits, one of 255 makes all a quarter dearer (22.5
    instead of 17.5 ms).
    """
    bases = load_generators()
    lanes = G1Point.multiexp_unchecked(list(bases.lanes[: values.size]), _scalars(values))
    return (lanes + bases.blinder * _scalar(blinder)).to_compressed_bytes()


def _scalars(values: Ring) -> list[Scalar]:
    """Return lanes as scalars; a slice of one buffer is five times cheaper than a Python integer each."""
    padded = np.zeros((values.size, SCALAR_BYTES // 8), dtype="<u8")
    padded[:, 0] = values
    data = padded.tobytes()
    return [Scalar.from_le_bytes(data[start : start + SCALAR_BYTES]) for start in range(0, len(data), SCALAR_BYTES)]


def _scalar(value: int) -> Scalar:
    return Scalar.from_le_bytes(encode_scalar(value))


def _reduced(value: int) -> Scalar:
    return Scalar.from_le_bytes_mod_order(value.to_bytes((value.bit_length() + 7) // 8 or 1, "little"))


def _weighted(totals: Ring, weights: Sequence[int]) -> list[Scalar]:
    """Return Σ_b w_b·S_bj for each place j of a block: below 2^213, so that nothing is reduced.

    Weights and sums are cut into limbs of 16 bits, whose products add up exactly in float64 for up to 2^21 blocks; a matrix
    product then does for all places what Python's integers would do one by one.
    """
    blocks = len(weights)
    width = min(totals.size, BLOCK_LANES)
    padded = np.zeros(blocks * width, dtype="<u8")
    padded[: totals.size] = totals
    sums = padded.view("<u2").reshape(blocks, width * 4).astype(np.float64)
    raw = b"".join(weight.to_bytes(WEIGHT_BYTES, "little") for weight in weights)
    limbs = np.frombuffer(raw, dtype="<u2").reshape(blocks, WEIGHT_BYTES // 2).astype(np.float64)
    products: NDArray[np.float64] = (limbs.T @ sums).reshape(WEIGHT_BYTES // 2, width, 4)
    diagonals = np.zeros((_SCALAR_LIMBS + 1, width), dtype=np.int64)
    for limb in range(WEIGHT_BYTES // 2):
        diagonals[limb : limb + 4] += products[limb].astype(np.int64).T
    for limb in range(_SCALAR_LIMBS):  # what does not fit into 16 bits belongs to the next limb
        diagonals[limb + 1] += diagonals[limb] >> _LIMB_BITS
        diagonals[limb] &= (1 << _LIMB_BITS) - 1
    data = diagonals[:_SCALAR_LIMBS].T.astype("<u2").tobytes()
    return [Scalar.from_le_bytes(data[start : start + SCALAR_BYTES]) for start in range(0, len(data), SCALAR_BYTES)]


def _point(data: bytes) -> G1Point:
    try:
        point = G1Point.from_compressed_bytes(data)
    except ValueError as error:
        raise FormatError("a commitment is not a point of the prime-order subgroup") from error
    if point.to_compressed_bytes() != data:
        raise FormatError("a commitment is not in the one encoding of its point")
    return point
