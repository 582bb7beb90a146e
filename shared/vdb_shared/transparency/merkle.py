"""The Merkle tree of a log: its root, and proofs that it holds an entry and that it only grew.

Promises the hashes and proofs of RFC 6962, and that a proof is accepted for exactly the index, sizes and roots that it was made
for, but for the size of a proof of inclusion, which the signed checkpoint fixes. Builds proofs from the hashes of complete
subtrees alone, so that whoever keeps tiles needs no entry. Pure.

Source: RFC 6962 §2.1 (hashes and proofs); RFC 9162 §2.1.3.2, §2.1.4.2 (verification).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from vdb_shared.errors import FormatError

HASH_BYTES: Final = 32

MAX_PROOF: Final = 63
"""Most hashes of a proof: trees have fewer than 2^63 leaves."""

Complete = Callable[[int, int], bytes]
"""Gives the hash of the complete subtree at a level (0: leaves) and index; of 2^level leaves from index 2^level on."""

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry, 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node, 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def of_leaves(leaves: Sequence[bytes]) -> Complete:
    """Return the complete subtrees of leaf hashes that are all at hand."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[place], below[place + 1]) for place in range(0, len(below) - 1, 2)])
    return lambda level, index: levels[level][index]


def tree_root(size: int, complete: Complete) -> bytes:
    """Return the root of a tree of `size` leaves, 32 bytes."""
    return EMPTY_ROOT if size == 0 else _range_hash(0, size, complete)


def inclusion_proof(index: int, size: int, complete: Complete) -> list[bytes]:
    """Return the hashes from the leaf's sibling to the root's child.

    Args:
        index: of the leaf, from 0.
        size: of the tree.
        complete: gives hashes of complete subtrees.

    Raises:
        ValueError: the tree has no such leaf.

    Source: RFC 6962 §2.1.1.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    return list(_path(index, 0, size, complete))


def consistency_proof(old: int, size: int, complete: Complete) -> list[bytes]:
    """Return the hashes that show the tree of `old` leaves to be the beginning of that of `size`.

    Args:
        old: leaves of the smaller tree; nothing has to be shown of none, or of the same tree.
        size: leaves of the larger one.
        complete: gives hashes of complete subtrees of the larger one.

    Raises:
        ValueError: `old` is larger.

    Source: RFC 6962 §2.1.2.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} leaves did not grow from one of {old}")
    return [] if old in {0, size} else list(_growth(old, 0, size, complete, known=True))


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a tree has a leaf at an index.

    Args:
        leaf: its hash.
        index: from 0.
        size: of the tree, as a signed checkpoint says it.
        proof: as `inclusion_proof` returns it.
        root: of the tree.

    Raises:
        FormatError: it is not shown.

    Source: RFC 9162 §2.1.3.2.
    """
    if not 0 <= index < size:
        raise FormatError(f"entry {index} lies beyond the {size} of the log")
    _check_hashes(leaf, root, *proof)
    found = leaf
    for sibling, left in _sides(index, size - 1, proof):
        found = node_hash(sibling, found) if left else node_hash(found, sibling)
    if found != root:
        raise FormatError(f"the proof does not lead from entry {index} to the log's root")


def check_consistency(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Check that a tree grew from an earlier one.

    Args:
        old: leaves of the earlier one.
        old_root: its root.
        size: leaves of the later one.
        root: its root.
        proof: as `consistency_proof` returns it.

    Raises:
        FormatError: it is not shown: the log was changed, or the proof is another's.

    Source: RFC 9162 §2.1.4.2.
    """
    if not 0 <= old <= size:
        raise FormatError(f"the log has {size} entries, fewer than the {old} that it had before")
    _check_hashes(old_root, root, *proof)
    if old in {0, size}:
        expected = EMPTY_ROOT if old == 0 else root
        if proof or old_root != expected:
            raise FormatError(f"two different logs of {old} entries, or a proof where none is needed")
        return
    complete = old & (old - 1) == 0  # then its root opens the proof, which leaves it out
    first, siblings = (old_root, proof) if complete else (proof[0] if proof else b"", proof[1:])
    earlier = later = first
    for sibling, left in _sides(*_above_ones(old - 1, size - 1), siblings):
        if left:
            earlier = node_hash(sibling, earlier)
        later = node_hash(sibling, later) if left else node_hash(later, sibling)
    if earlier != old_root or later != root:
        raise FormatError(f"the log of {size} entries did not grow from the one of {old}")


def _above_ones(node: int, last: int) -> tuple[int, int]:
    """Return a node's first ancestor that is a left child or the root, and the last node of its level."""
    while node & 1:
        node, last = node >> 1, last >> 1
    return node, last


def _check_hashes(*hashes: bytes) -> None:
    if any(len(found) != HASH_BYTES for found in hashes):
        raise FormatError(f"a hash of a log has {HASH_BYTES} bytes")


def _sides(node: int, last: int, proof: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield each hash of a proof with whether it stands left of the path, from a node up to the root.

    Args:
        node: index of the node in its level.
        last: index of the level's last node.
        proof: the hashes.

    Raises:
        FormatError: there are more or fewer of them than the path has siblings.
    """
    for sibling in proof:
        if last == 0:
            raise FormatError("the proof has too many hashes")
        left = bool(node & 1) or node == last
        yield sibling, left
        while left and not node & 1 and node:
            node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    if last != 0:
        raise FormatError("the proof has too few hashes")


def _split(size: int) -> int:
    """Return the largest power of two below a size above 1."""
    return 1 << ((size - 1).bit_length() - 1)


def _range_hash(start: int, end: int, complete: Complete) -> bytes:
    """Return the hash of a subtree of RFC 6962: `start` is a multiple of a power of two that its size does not exceed."""
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return complete(level, start >> level)
    middle = start + _split(size)
    return node_hash(_range_hash(start, middle, complete), _range_hash(middle, end, complete))


def _path(index: int, start: int, end: int, complete: Complete) -> Iterator[bytes]:
    if end - start == 1:
        return
    middle = start + _split(end - start)
    if index < middle:
        yield from _path(index, start, middle, complete)
        yield _range_hash(middle, end, complete)
    else:
        yield from _path(index, middle, end, complete)
        yield _range_hash(start, middle, complete)


def _growth(old: int, start: int, end: int, complete: Complete, *, known: bool) -> Iterator[bytes]:
    """Yield SUBPROOF(old, D[start:end], known): `known` while the earlier tree is the whole left edge."""
    if old == end - start:
        if not known:
            yield _range_hash(start, end, complete)
        return
    split = _split(end - start)
    middle = start + split
    if old <= split:
        yield from _growth(old, start, middle, complete, known=known)
        yield _range_hash(middle, end, complete)
    else:
        yield from _growth(old - split, middle, end, complete, known=False)
        yield _range_hash(start, middle, complete)
