"""A log as files that never change: tiles of 256 hashes and bundles of 256 entries.

Promises that a reader who holds a verified checkpoint accepts no byte that does not lead to its root, whoever serves the
files: a full tile is read only if the tile above it, and so on up to the partial ones whose hashes make the root, holds its
top. Pure: files are read by a function that the caller gives, and what is to be written is returned.

    checkpoint                     the newest checkpoint, the one file that changes
    tile/<level>/<n>[.p/<w>]       w hashes of the complete subtrees of 256^level leaves, from n·256 on
    tile/entries/<n>[.p/<w>]       w entries, each behind its length in two big-endian bytes

Source: C2SP tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from vdb_shared.errors import FormatError
from vdb_shared.transparency.checkpoint import Checkpoint
from vdb_shared.transparency.merkle import (
    HASH_BYTES,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_root,
)

WIDTH: Final = 256
"""Hashes of a full tile, entries of a full bundle."""

_LEVELS: Final = 8
"""Levels of the tree in one tile: 2^8 = 256."""

MAX_ENTRY_BYTES: Final = 2**16 - 1

CHECKPOINT_PATH: Final = "checkpoint"

Fetch = Callable[[str], bytes]
"""Returns the bytes of a file of the log by its path, or raises an error of the product."""


def tile_path(level: int | str, number: int, width: int = WIDTH) -> str:
    """Return the path of a tile, or of a bundle of entries.

    Args:
        level: of the tile, or "entries".
        number: of the tile in its level; in groups of three digits, all but the last behind an x.
        width: hashes in it; fewer than 256 in the last one.
    """
    groups = f"{number:,}".split(",")
    digits = "/".join([*(f"x{int(group):03}" for group in groups[:-1]), f"{int(groups[-1]):03}"])
    return f"tile/{level}/{digits}" + ("" if width == WIDTH else f".p/{width}")


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """Return a bundle of entries.

    Raises:
        ValueError: one has more than 65,535 bytes.
    """
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise ValueError(f"an entry of {len(entry)} bytes; at most {MAX_ENTRY_BYTES} fit")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_entries(data: bytes) -> tuple[bytes, ...]:
    """Return the entries of a bundle.

    Raises:
        FormatError: it is cut short.
    """
    found, place = [], 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 2], "big")
        if place + 2 + length > len(data):
            raise FormatError("a bundle of entries is cut short")
        found.append(data[place + 2 : place + 2 + length])
        place += 2 + length
    return tuple(found)


def grown_files(old: int, entries: Sequence[bytes], leaves: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the files that a log needs for its new size, but the checkpoint; none of them changes an older one.

    Args:
        old: size whose files are there.
        entries: all that belong to the last, partial bundle of the old size, and all new ones after them.
        leaves: hashes of all leaves of the new size.
    """
    size = len(leaves)
    first = old // WIDTH
    for number in range(first, -(-size // WIDTH)):
        start = (number - first) * WIDTH
        chosen = entries[start : start + WIDTH]
        yield tile_path("entries", number, len(chosen)), encode_entries(chosen)
    hashes, before, level = list(leaves), old, 0
    while hashes:
        for number in range(before // WIDTH, -(-len(hashes) // WIDTH)):
            chosen = hashes[number * WIDTH : (number + 1) * WIDTH]
            if number * WIDTH + len(chosen) > before:
                yield tile_path(level, number, len(chosen)), b"".join(chosen)
        whole = len(hashes) // WIDTH
        hashes = [_top(hashes[number * WIDTH : (number + 1) * WIDTH]) for number in range(whole)]
        before //= WIDTH
        level += 1


class TiledLog:
    """A log of one checkpoint, read through its files.

    Attributes:
        checkpoint: whose root every byte must lead to.
    """

    def __init__(self, checkpoint: Checkpoint, fetch: Fetch) -> None:
        """Take a checkpoint whose signatures were verified, and check that the tiles have its root.

        Args:
            checkpoint: of the log.
            fetch: reads files.

        Raises:
            FormatError: they have another root, or a tile has another length.
        """
        self.checkpoint = checkpoint
        self._fetch = fetch
        self._tile = lru_cache(maxsize=1024)(self._read_tile)
        if tree_root(checkpoint.size, self._complete) != checkpoint.root:
            raise FormatError(
                f"the tiles of the log do not have the root of its checkpoint of {checkpoint.size} entries"
            )

    def inclusion(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the proof that an entry is in the log, or among its first `size` entries."""
        return inclusion_proof(index, self.checkpoint.size if size is None else size, self._complete)

    def growth(self, old: int, size: int | None = None) -> list[bytes]:
        """Return the proof that the log, or its first `size` entries, grew from its first `old` entries."""
        return consistency_proof(old, self.checkpoint.size if size is None else size, self._complete)

    def root_at(self, size: int) -> bytes:
        """Return the root that the log had with its first `size` entries, which are a part of this one by construction."""
        if size > self.checkpoint.size:
            raise FormatError(f"the log has {self.checkpoint.size} entries, fewer than {size}")
        return tree_root(size, self._complete)

    def leaves(self, start: int = 0) -> Iterator[bytes]:
        """Yield the leaf hashes from an index on, each of which leads to the root."""
        for index in range(start, self.checkpoint.size):
            yield self._complete(0, index)

    def entries(self, start: int = 0) -> Iterator[bytes]:
        """Yield the entries from an index on.

        Raises:
            FormatError: an entry is not the one that the tree holds.
        """
        size = self.checkpoint.size
        for number in range(start // WIDTH, -(-size // WIDTH)):
            width = min(WIDTH, size - number * WIDTH)
            found = decode_entries(self._fetch(tile_path("entries", number, width)))
            if len(found) != width:
                raise FormatError(f"the log's bundle {number} has {len(found)} entries, expected {width}")
            for offset, entry in enumerate(found):
                index = number * WIDTH + offset
                if leaf_hash(entry) != self._complete(0, index):
                    raise FormatError(f"entry {index} of the log is not the one that its tree holds")
                if index >= start:
                    yield entry

    def _complete(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree, from the tile whose hashes lie at or just below its level."""
        row, above = divmod(level, _LEVELS)
        count = 1 << above
        number, offset = divmod(index * count, WIDTH)
        return _top(self._tile(row, number)[offset : offset + count])

    def _read_tile(self, level: int, number: int) -> tuple[bytes, ...]:
        width = min(WIDTH, self.checkpoint.size // WIDTH**level - number * WIDTH)
        data = self._fetch(tile_path(level, number, width))
        if len(data) != width * HASH_BYTES:
            raise FormatError(f"tile {level}/{number} of the log has {len(data)} bytes, expected {width * HASH_BYTES}")
        found = tuple(data[place : place + HASH_BYTES] for place in range(0, len(data), HASH_BYTES))
        if width == WIDTH and _top(found) != self._tile(level + 1, number // WIDTH)[number % WIDTH]:
            raise FormatError(f"tile {level}/{number} of the log is not the one that the tile above it holds")
        return found


def _top(hashes: Sequence[bytes]) -> bytes:
    """Return the root of a complete subtree of these hashes, a power of two of them."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[place], row[place + 1]) for place in range(0, len(row), 2)]
    return row[0]
