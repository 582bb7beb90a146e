"""The private records of a data set as the ledger knows them: digests of words and of video files, in an order of their own.

Promises one list, and one content id, for the same content, whatever names, order and folder it has, and that the list's digest
commits to every part and to which words went with which file. Leaves the search for shared parts to the site's ledger.
A list never leaves the site: whoever guesses a prompt could find it there.

    record = part of its words (32 bytes, zeros: none) ‖ part of its video file (32 bytes, zeros: none)
    list   = the records, ascending, each once

Source: protos/README.md §8.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Self

from vdb_shared import labels
from vdb_shared.canonical import canonical_json, digest_string, labelled_hash
from vdb_shared.errors import FormatError

PART_BYTES: Final = 32
RECORD_BYTES: Final = 2 * PART_BYTES
NONE: Final = bytes(PART_BYTES)
"""Stands where a record has no words, or no file; no digest is known that is zero."""


def part_of_words(text: str) -> bytes:
    """Return the part, 32 bytes, of a prompt's words."""
    return labelled_hash(labels.HASH_DATASET, canonical_json(text), b"")


def part_of_file(digest: bytes) -> bytes:
    """Return the part, 32 bytes, of a video file.

    Args:
        digest: SHA-256 of its bytes.
    """
    return labelled_hash(labels.HASH_DATASET, canonical_json(None), digest)


@dataclass(frozen=True, slots=True)
class RecordList:
    """All private records of a data set.

    Attributes:
        body: the list above.
    """

    body: bytes = field(repr=False)

    @classmethod
    def of(cls, records: Iterable[tuple[bytes, bytes]]) -> Self:
        """Return the list of records, each given as the parts of its words and of its file, NONE for what it has not."""
        return cls(b"".join(sorted({words + file for words, file in records})))

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Return the list of these bytes.

        Raises:
            FormatError: not whole records, not ascending, or a record without any part.
        """
        found = cls(body)
        records = list(found.rows()) if len(body) % RECORD_BYTES == 0 else []
        if len(body) != RECORD_BYTES * len(records):
            raise FormatError(f"a list of records has {RECORD_BYTES} bytes for each, not {len(body)} in all")
        if any(later <= earlier for earlier, later in pairwise(records)):
            raise FormatError("the records of a list are not ascending")
        if bytes(RECORD_BYTES) in records[:1]:
            raise FormatError("a record of the list has neither words nor file")
        return found

    def __len__(self) -> int:
        return len(self.body) // RECORD_BYTES

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return ((row[:PART_BYTES], row[PART_BYTES:]) for row in self.rows())

    def rows(self) -> Iterator[bytes]:
        """Return the records' bytes in order."""
        return (self.body[start : start + RECORD_BYTES] for start in range(0, len(self.body), RECORD_BYTES))

    @property
    def parts(self) -> set[bytes]:
        """All parts: what two data sets share if they overlap."""
        return {part for record in self for part in record if part != NONE}

    @property
    def digest(self) -> str:
        """H(label, list): what a ledger entry commits to."""
        return digest_string(labelled_hash(labels.HASH_RECORDS, self.body))

    @property
    def dataset(self) -> str:
        """The content id: H(label, parts ascending…), whatever goes with what."""
        return digest_string(labelled_hash(labels.HASH_DATASET, *sorted(self.parts)))
