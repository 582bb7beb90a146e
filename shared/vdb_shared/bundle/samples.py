"""The list of records that an institution commits to, and which of them a spot check opens.

A line stands for each measured clip, in a Merkle tree (RFC 6962). The contribution statement names a salted hash of the tree's
root and the number of lines, so that neither can be changed afterwards and neither is told: the number would betray how many
private records there are. Which lines are opened follows from the first growth of the consortium's log after the result, which
nobody knew when the list was made.

Promises that equal questions have equal answers: whoever asks a second time, or asks for more, gets the same lines first.
Leaves keeping the list and opening lines to the participant, the file to `sample_file.py`, and judging it to
`audit/spot_check.py`. Pure.

Source: protos/README.md §10.14, §12.5; RFC 6962 §2.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import count
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from vdb_shared import labels
from vdb_shared.bundle.statement import Hex32, Line, Predicate
from vdb_shared.canonical import canonical_json, digest_bytes, digest_string, labelled_hash
from vdb_shared.errors import FormatError
from vdb_shared.fields import Digest
from vdb_shared.schema_words import first_mistake
from vdb_shared.transparency.merkle import leaf_hash, of_leaves, tree_root

SALT_BYTES: Final = 32

MOST_OPENED: Final = 1000
"""Lines of one spot check: what an opening says of so many fits into a statement."""

Side = Literal["public", "second", "private", "reference"]
"""What a clip is for: counted here, made to compare with another site's, made of private words, or a private video."""


class Failure(StrEnum):
    """Why a clip counts as failed, in what leaves a site: a closed set, since reasons may quote a prompt or a path."""

    STOPPED = "stopped"
    """Its model was stopped, since clip after clip failed; nobody tried to make it."""
    ENDED = "ended"
    """Its model ended with an error, or made no clip that can be used."""
    UNMEASURED = "unmeasured"
    """It was made, and a score or feature of it is not finite."""


def is_closed_reason(failure: str) -> bool:
    """Return whether a line's `failure` is of the closed set, or ""; lists of older releases hold free words."""
    return not failure or failure in set(Failure)


class SampleLine(Predicate):
    """What the list holds of one clip, without its words.

    Attributes:
        side: what it is for.
        model: id, or "clips" for a reference clip.
        words: salted digest of the prompt, or of the name of a reference clip's file.
        number: of the sample, from 0.
        clip: digest of the frames; None where there are none.
        shares: digest of all that the clip added to sums.
        failure: why it counts as failed, one of `Failure`, or ""; free words in lists of older releases.
        condition: digest of the file that the clip starts from; None for words alone.
        salt: 32 random bytes, hex.
    """

    kind: ClassVar[str] = "sample-line"
    side: Side
    model: Line
    words: Digest
    number: Annotated[int, Field(ge=0, lt=2**32)]
    clip: Digest | None = None
    shares: Digest
    failure: str
    condition: Digest | None = None
    salt: Hex32

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.clip and not self.failure:
            raise ValueError("a clip that was made has a digest, one that was not has a reason")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in inner(self).items() if value is not None}

    def encode(self) -> bytes:
        """Return the line: canonical JSON, a leaf of the tree."""
        return canonical_json(self.model_dump(mode="json"))


def parse_line(line: bytes) -> SampleLine:
    """Return what a line says.

    Raises:
        FormatError: it is none, or not in its one form.
    """
    try:
        found = SampleLine.model_validate_json(line)
    except ValidationError as error:
        raise FormatError(f"a line of the list: {first_mistake(error)}") from error
    if found.encode() != line:
        raise FormatError("a line of the list is not in its one form")
    return found


def words_digest(words: str, salt: bytes) -> str:
    """Return the salted digest of a prompt or a file's name, as a line holds it.

    Args:
        words: the prompt or the name.
        salt: 32 bytes, other ones than the line's own, so that a line can be opened without its words.
    """
    return digest_string(labelled_hash(labels.HASH_SAMPLE_WORDS, salt, words.encode()))


def tree_of(lines: Sequence[bytes]) -> bytes:
    """Return the root of the tree over a list's lines, 32 bytes."""
    return tree_root(len(lines), of_leaves([leaf_hash(line) for line in lines]))


def sample_root(tree: bytes, total: int, salt: bytes) -> str:
    """Return what a contribution statement says of a list: a digest that fixes its lines and their number and tells neither.

    Args:
        tree: root of the tree over its lines.
        total: number of lines.
        salt: 32 uniform bytes.
    """
    return digest_string(labelled_hash(labels.HASH_SAMPLE_ROOT, salt, total.to_bytes(8, "little"), tree))


def chosen_lines(
    session: str, institution: str, root: str, head: tuple[int, bytes], total: int, wanted: int
) -> tuple[int, ...]:
    """Return the numbers of the lines that a spot check opens, in the order in which they are drawn.

    A draw is a hash, 64 bits of which are reduced modulo `total`; that favours no line by more than total/2^64. A line that was
    drawn before is left out. So the lines for a smaller number are the first ones for a larger one.

    Args:
        session: id of the session.
        institution: whose list.
        root: what its contribution says of the list.
        head: size and root of the log when it had grown by one entry beyond the one that shows the result.
        total: number of lines.
        wanted: how many to open; all of them where there are fewer.
    """
    size, log_root = head
    parts = (digest_bytes(session), institution.encode(), digest_bytes(root), size.to_bytes(8, "little"), log_root)
    found: dict[int, None] = {}
    draws = _draws(parts, total)
    while len(found) < min(wanted, total):
        found.setdefault(next(draws))
    return tuple(found)


def _draws(parts: tuple[bytes, ...], total: int) -> Iterator[int]:
    for draw in count():
        digest = labelled_hash(labels.HASH_SAMPLE_CHOICE, *parts, draw.to_bytes(8, "little"))
        yield int.from_bytes(digest[:8], "little") % total
