"""The list of a site's measured clips, as it is kept: with words, and with the one secret that all salts follow from.

Promises that lines, root and salts follow from the file alone, that a line can be opened without its words and one without the
others, and that without the secret nothing can be opened any more: who erases it makes the commitment mute. Leaves the form of
lines and their choice to `vdb_shared/bundle/samples.py`.

Source: protos/README.md §12.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from vdb_shared import labels
from vdb_shared.bundle.samples import SALT_BYTES, SampleLine, sample_root, tree_of, words_digest
from vdb_shared.canonical import canonical_json, decode_base64, encode_base64, parse_canonical_json
from vdb_shared.errors import FormatError
from vdb_shared.secagg.agreement import derive_key

SAMPLES_FILE: Final = "samples.jsonl"
"""Beside the journal, in the folder of a session."""

_ROOT: Final = b"root"
_LINE: Final = b"line"
_WORDS: Final = b"words"


@dataclass(frozen=True, slots=True)
class KeptSamples:
    """A list and its secret.

    Attributes:
        secret: SALT_BYTES uniform bytes.
        samples: JSON forms of the measured clips (`measure/sample.py`), in the order measured.
    """

    secret: bytes = field(repr=False)
    samples: Sequence[Mapping[str, Any]] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SALT_BYTES:
            raise ValueError(f"expected a secret of {SALT_BYTES} bytes, found {len(self.secret)}")

    @property
    def salt(self) -> bytes:
        """What hides the root and the number of lines, 32 bytes."""
        return self._salt(_ROOT)

    @property
    def root(self) -> str:
        """What the contribution statement says of the list."""
        return sample_root(tree_of(self.lines()), len(self.samples), self.salt)

    def lines(self) -> tuple[bytes, ...]:
        """Return the leaves of the tree, in the order measured."""
        return tuple(self._line(number, sample).encode() for number, sample in enumerate(self.samples))

    def words_salt(self, number: int) -> bytes:
        """Return the salt of a line's words, 32 bytes."""
        return self._salt(_WORDS, number)

    def encode(self) -> bytes:
        """Return the file: the secret, then a clip a line."""
        lines = [{"secret": encode_base64(self.secret), "version": labels.SAMPLES_VERSION}, *self.samples]
        return b"".join(canonical_json(line) + b"\n" for line in lines)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return what a file holds.

        Raises:
            FormatError: it is none of this version, or damaged.
        """
        first, *others = data.removesuffix(b"\n").split(b"\n")
        match parse_canonical_json(first):
            case {"secret": str(secret), "version": labels.SAMPLES_VERSION, **rest} if not rest:
                found = decode_base64(secret), [parse_canonical_json(line) for line in others]
            case _:
                raise FormatError("not a list of samples of this version")
        if len(found[0]) != SALT_BYTES or any(not isinstance(sample, dict) for sample in found[1]):
            raise FormatError("the list of samples is damaged")
        return cls(*found)

    def _line(self, number: int, sample: Mapping[str, Any]) -> SampleLine:
        return SampleLine(
            side=sample["side"],
            model=sample["model"],
            words=words_digest(sample["prompt"], self.words_salt(number)),
            number=sample["number"],
            clip=sample["clip"] or None,
            shares=sample["shares"],
            failure=sample["failure"],
            condition=sample.get("condition"),
            salt=self._salt(_LINE, number).hex(),
        )

    def _salt(self, purpose: bytes, number: int = 0) -> bytes:
        return derive_key(self.secret, b"", labels.KDF_SAMPLE_SALT, purpose, number.to_bytes(8, "little"))
