"""The generators of the commitments: 4096 for lanes and one for blinders, in BLS12-381 G1.

Promises points whose discrete logarithms to each other nobody knows: each is the RFC 9380 hash of its own name, and the
digest of all of them stands here and in every seal. They are read from a file in the package because hashing to the curve
takes more than a second; a file with another digest is refused. `python -m vdb_shared.secagg.generators` derives them anew
and compares.

Source: RFC 9380, suite BLS12381G1_XMD:SHA-256_SSWU_RO_; protos/README.md §4.6.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Final

from py_arkworks_bls12381 import G1Point

from vdb_shared import labels
from vdb_shared.canonical import sha256_digest
from vdb_shared.commandline import run_script
from vdb_shared.errors import VerificationError
from vdb_shared.secagg.parameters import BLOCK_LANES

POINT_BYTES: Final = 96
"""x and y, 48 big-endian bytes each."""

GENERATORS_DIGEST: Final = "sha256:5f6f741c1bb060ac94403c93a28f0b2966ed21766445f0b02e8888b15f2d583c"
"""Digest of the file: G_0 … G_4095, then H."""

_FILE: Final = "generators.bin"


@dataclass(frozen=True, slots=True)
class Generators:
    """Bases of the commitments.

    Attributes:
        lanes: G_0 … G_4095.
        blinder: H.
    """

    lanes: tuple[G1Point, ...] = field(repr=False)
    blinder: G1Point = field(repr=False)


@lru_cache(maxsize=1)
def load_generators() -> Generators:
    """Return the generators of the package.

    Raises:
        VerificationError: the file is damaged; install the package again.
    """
    data = resources.files("vdb_shared.secagg").joinpath(_FILE).read_bytes()
    if sha256_digest(data) != GENERATORS_DIGEST:
        raise VerificationError(f"{_FILE} is damaged; install the package again", check="generators")
    # The digest vouches for the points, so that the checks of 4097 subgroups (a quarter of a second) are not repeated.
    points = [
        G1Point.from_xy_bytes_unchecked_be(data[start : start + POINT_BYTES])
        for start in range(0, len(data), POINT_BYTES)
    ]
    return Generators(tuple(points[:BLOCK_LANES]), points[BLOCK_LANES])


def derive_generators() -> bytes:
    """Return the bytes of all generators, hashed to the curve anew: `generator-j` for G_j, `blinder` for H."""
    names = [b"generator-%d" % index for index in range(BLOCK_LANES)] + [b"blinder"]
    dst = labels.DST_GENERATORS.encode("ascii")
    return b"".join(bytes(G1Point.hash_to_curve(name, dst).to_xy_bytes_be()) for name in names)


def main() -> None:
    """Derive the generators and compare them with those of the package."""
    found = sha256_digest(derive_generators())
    if found != GENERATORS_DIGEST:
        raise VerificationError(f"derived {found}, the package has {GENERATORS_DIGEST}", check="generators")
    sys.stdout.write(f"the 4097 generators derived by RFC 9380 are those of the package: {found}\n")


if __name__ == "__main__":
    run_script(main)
