"""The salted Merkle tree over a site's measured clips, so that single clips can be checked later without showing the others.

Promises that the root betrays nothing about a clip without its salt. Leaves and salts stay at the site.

Source: protos/README.md §12.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vdb_shared import labels
from vdb_shared.canonical import canonical_json, digest_string, encode_base64, labelled_hash

SALT_BYTES: Final = 32


def sample_lines(leaves: Sequence[Mapping[str, Any]], salts: bytes) -> tuple[bytes, ...]:
    """Return one line of canonical JSON for each leaf, with its salt.

    Args:
        leaves: JSON forms of the measured clips, in the order measured.
        salts: SALT_BYTES uniform bytes for each.
    """
    if len(salts) != SALT_BYTES * len(leaves):
        raise ValueError(f"expected {SALT_BYTES} bytes of salt for each of {len(leaves)} leaves, found {len(salts)}")
    return tuple(
        canonical_json({**leaf, "salt": encode_base64(salts[SALT_BYTES * place : SALT_BYTES * (place + 1)])})
        for place, leaf in enumerate(leaves)
    )


def sample_root(lines: Sequence[bytes]) -> str:
    """Return the digest of the tree's root; an odd node moves up unchanged."""
    level = [labelled_hash(labels.HASH_SAMPLE_LEAF, line) for line in lines] or [labelled_hash(labels.HASH_SAMPLE_LEAF)]
    while len(level) > 1:
        paired = [
            labelled_hash(labels.HASH_SAMPLE_NODE, level[place], level[place + 1])
            for place in range(0, len(level) - 1, 2)
        ]
        level = paired + level[len(paired) * 2 :]
    return digest_string(level[0])
