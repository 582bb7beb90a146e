"""GF(r), r the order of BLS12-381 G1: the field of Shamir shares and of the blinders of commitments.

Promises one encoding for each element.

Source: protos/README.md §4.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vdb_shared.errors import FormatError

FIELD_ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""r of BLS12-381, a prime of 255 bits."""

SCALAR_BYTES: Final = 32
UNIFORM_BYTES: Final = 64
"""Uniform bytes reduced to one element; the bias is below 2^-256."""


def encode_scalar(scalar: int) -> bytes:
    """Return a field element as 32 little-endian bytes."""
    return scalar.to_bytes(SCALAR_BYTES, "little")


def encode_scalars(scalars: Iterable[int]) -> bytes:
    """Return field elements as 32 little-endian bytes each."""
    return b"".join(map(encode_scalar, scalars))


def decode_scalar(data: bytes) -> int:
    """Return the field element of 32 little-endian bytes.

    Raises:
        FormatError: another length, or not below r.
    """
    scalar = int.from_bytes(data, "little")
    if len(data) != SCALAR_BYTES or scalar >= FIELD_ORDER:
        raise FormatError(f"a field element has {SCALAR_BYTES} bytes and is below the order of the field")
    return scalar


def decode_scalars(data: bytes) -> list[int]:
    """Return the field elements of 32 little-endian bytes each.

    Raises:
        FormatError: no whole number of them, or one that is not below r.
    """
    return [decode_scalar(data[start : start + SCALAR_BYTES]) for start in range(0, len(data), SCALAR_BYTES)]


def reduce_uniform(data: bytes) -> list[int]:
    """Return one field element for each 64 bytes, little-endian mod r; uniform if the bytes are."""
    return [
        int.from_bytes(data[start : start + UNIFORM_BYTES], "little") % FIELD_ORDER
        for start in range(0, len(data), UNIFORM_BYTES)
    ]
