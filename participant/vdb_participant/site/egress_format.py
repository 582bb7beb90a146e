"""The lines of the egress journal: what left this site, each line bound to all lines before it.

Promises that a journal is read back exactly as written, or refused with the line at which it was changed; what a crash cut
short at the end is told apart from damage anywhere else. It cannot show that lines were cut off the end: whoever noted a head,
or has a bundle that names what left, can. Leaves the file to `egress.py`, what is said of a message to `network/recording.py`.

    journal = line*
    line    = canonical JSON (RFC 8785) of one entry with its own digest, "link", and a line feed

Source: protos/README.md §12.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast, get_args

from vdb_shared import labels
from vdb_shared.canonical import canonical_json, check_digest, labelled_hash, parse_canonical_json
from vdb_shared.errors import FormatError, StoreError

GENESIS: Final = "sha256:" + "0" * 64
"""What the first entry names as its predecessor."""

Kind = Literal["message", "vector", "connection", "greeting", "request", "download"]
"""message: the bytes of one message; vector: what the parts of an upload are parts of, nothing leaves with it; connection: a
channel was opened, on which TLS and HTTP/2 add bytes that are not counted; greeting: TLS alone, to find out what is wrong;
request: body of an HTTP request to an endpoint that the site's own registry names for an external model; download: HTTP asks
without a body for a file of a log that the operator named."""

Field = str | int


@dataclass(frozen=True, slots=True)
class Part:
    """One run of bytes inside a message: where it stands in it, how long it is, and its SHA-256."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Departure:
    """What is about to leave.

    Attributes:
        kind: what it is.
        address: host:port it goes to.
        what: name of the RPC as gRPC writes it; for other kinds, words.
        size: bytes of the message; 0 where none are counted.
        digest: SHA-256 of the message; of a vector the digest that its signed header names; "" where no bytes are counted.
        fields: texts and numbers of the message, by path.
        parts: runs of bytes in the message, in its order; of a vector the chunks in which it travels.
    """

    kind: Kind
    address: str
    what: str
    size: int = 0
    digest: str = ""
    fields: Mapping[str, Field] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.

    Attributes:
        sequence: place in the journal, from 0.
        previous: digest of the entry before, or GENESIS.
        moment: when, UTC, by this machine's clock, for people.
        departure: what left, or may have left.
    """

    sequence: int
    previous: str
    moment: str
    departure: Departure

    @property
    def digest(self) -> str:
        """What its line has as "link", and the next entry names as its predecessor."""
        return _digest_of(_body(self))

    @property
    def session(self) -> str:
        """The session that the message names, in full or by its beginning; "" without any."""
        found = [value for path, value in self.departure.fields.items() if path.rpartition(".")[2] == "session"]
        return str(found[0]) if found else ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a journal's bytes hold.

    Attributes:
        entries: in the order written.
        size: bytes of all whole lines; what lies beyond was cut short and nothing was sent on its strength.
    """

    entries: tuple[Entry, ...]
    size: int

    @property
    def head(self) -> str:
        """Digest of the last entry; GENESIS without any."""
        return self.entries[-1].digest if self.entries else GENESIS


def encode_line(entry: Entry) -> bytes:
    """Return the line of an entry, with the entry's own digest in it, so that the last line is as bound as the others."""
    body = _body(entry)
    return canonical_json({**body, "link": _digest_of(body)}) + b"\n"


def _digest_of(body: Mapping[str, Any]) -> str:
    return "sha256:" + labelled_hash(labels.HASH_EGRESS, canonical_json(body)).hex()


def _body(entry: Entry) -> dict[str, Any]:
    left = entry.departure
    return {
        "address": left.address,
        "digest": left.digest,
        "fields": dict(left.fields),
        "kind": left.kind,
        "moment": entry.moment,
        "parts": [[part.path, part.size, part.digest] for part in left.parts],
        "previous": entry.previous,
        "sequence": entry.sequence,
        "size": left.size,
        "what": left.what,
    }


def decode_line(line: bytes) -> Entry:
    """Return the entry of a line without its line feed.

    Raises:
        FormatError: it is none, or was changed after it was written.
    """
    match parse_canonical_json(line):
        case {
            "address": str(address),
            "digest": str(digest),
            "fields": dict(fields),
            "kind": str(kind),
            "link": str(link),
            "moment": str(moment),
            "parts": list(parts),
            "previous": str(previous),
            "sequence": int(sequence),
            "size": int(size),
            "what": str(what),
            **rest,
        } if not rest and kind in get_args(Kind) and all(isinstance(value, str | int) for value in fields.values()):
            if digest:
                check_digest(digest)
            left = Departure(cast(Kind, kind), address, what, size, digest, fields, tuple(map(_part, parts)))
            entry = Entry(sequence, check_digest(previous), moment, left)
            if entry.digest != link:
                raise FormatError("its digest is not that of its content")
            return entry
    raise FormatError("not an entry of an egress journal")


def read_egress(data: bytes) -> Reading:
    """Return the entries of a journal, the chain checked.

    A last line that lacks its line feed, or holds zero bytes (a size that became durable before its content), was cut short:
    what it announces was never sent.

    Raises:
        StoreError: a line was changed, removed, added or damaged; names it.
    """
    lines = whole_lines(data)
    entries: list[Entry] = []
    previous = GENESIS
    for number, line in enumerate(lines):
        entry = _read_line(line, number, previous)
        entries.append(entry)
        previous = entry.digest
    return Reading(tuple(entries), sum(len(line) + 1 for line in lines))


def whole_lines(data: bytes) -> Sequence[bytes]:
    """Return all lines that were written to their end, without their line feeds."""
    lines = data.split(b"\n")[:-1]
    return lines[:-1] if lines and b"\0" in lines[-1] else lines


def _read_line(line: bytes, number: int, previous: str) -> Entry:
    try:
        entry = decode_line(line)
    except FormatError as error:
        raise StoreError(
            f"egress journal, line {number + 1}: is damaged ({error}); restore it from a backup"
        ) from error
    if (entry.sequence, entry.previous) != (number, previous):
        raise StoreError(
            f"egress journal, line {number + 1}: does not follow the line before it; lines were changed, removed or added"
        )
    return entry


def _part(item: object) -> Part:
    match item:
        case [str(path), int(size), str(digest)]:
            return Part(path, size, check_digest(digest))
    raise FormatError("a part of a message has path, size and digest")
