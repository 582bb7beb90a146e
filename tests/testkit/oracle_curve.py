"""BLS12-381 G1 with plain integers: affine points, sums of multiples and the compressed form, for comparison only.

Source: draft-irtf-cfrg-pairing-friendly-curves, section 4.2.1 (curve) and appendix C (compressed form); protos/README.md §4.6.
"""

from __future__ import annotations

from collections.abc import Sequence

P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
R = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001

Point = tuple[int, int] | None
"""x and y, or None at infinity."""


def add(a: Point, b: Point) -> Point:
    if a is None or b is None:
        return b if a is None else a
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def total(points: Sequence[Point]) -> Point:
    found: Point = None
    for point in points:
        found = add(found, point)
    return found


def times(scalar: int, point: Point) -> Point:
    """Double and add."""
    found: Point = None
    for bit in bin(scalar)[2:]:
        found = add(found, found)
        if bit == "1":
            found = add(found, point)
    return found


def weighted(scalars: Sequence[int], points: Sequence[Point], size: int = 6) -> Point:
    """Return Σ s_j·P_j for scalars of so many bytes: for each byte, points are sorted by its value and summed by it."""
    found: Point = None
    for place in reversed(range(size)):
        for _ in range(8):
            found = add(found, found)
        sorted_by_byte: dict[int, Point] = {}
        for scalar, point in zip(scalars, points, strict=True):
            value = scalar >> 8 * place & 255
            sorted_by_byte[value] = add(sorted_by_byte.get(value), point)
        running: Point = None
        for value in range(255, 0, -1):  # Σ value·sum(value) by summing suffixes
            running = add(running, sorted_by_byte.get(value))
            found = add(found, running)
    return found


def compress(point: Point) -> bytes:
    """Return x, big-endian, with the flags: 0x80 compressed, 0x40 infinity, 0x20 if y is the larger of the two roots."""
    if point is None:
        return bytes([0xC0]) + bytes(47)
    x, y = point
    return (x | 1 << 383 | (1 << 381 if y > P // 2 else 0)).to_bytes(48, "big")


def decompress(data: bytes) -> Point:
    """Return the point of these bytes.

    Raises:
        ValueError: not the one encoding of a point of the subgroup of order r.
    """
    x = int.from_bytes(data, "big") & (1 << 381) - 1
    found: Point = None
    if x >= P:
        raise ValueError("a second spelling")
    if not data[0] & 0x40:
        y = pow(x**3 + 4, (P + 1) // 4, P)
        found = (x, y if (y > P // 2) == bool(data[0] & 0x20) else P - y)
        if (y * y - x**3 - 4) % P:
            raise ValueError("not on the curve")
    if compress(found) != data:
        raise ValueError("a second spelling")
    if times(R, found) is not None:
        raise ValueError("outside the subgroup")
    return found


def coordinates(data: bytes) -> Point:
    """Return the point of 96 bytes x ‖ y, big-endian."""
    return int.from_bytes(data[:48], "big"), int.from_bytes(data[48:], "big")
