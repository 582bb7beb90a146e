"""What a session leaves behind: the signed messages from which a result follows, and the members that hold them.

Promises that a record and its members are two forms of one value: reading accepts only members that writing gives.
Leaves signatures and coherence to `audit`; a record read from members is well formed, not true.

Source: protos/README.md §9.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from vdb_shared import labels
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.messages import is_message
from vdb_shared.bundle.restarts import decode_restarts, encode_restarts
from vdb_shared.bundle.signed import round_from_json, round_to_json
from vdb_shared.bundle.statement import Subject, subject_of
from vdb_shared.canonical import canonical_json, parse_canonical_json
from vdb_shared.errors import FormatError
from vdb_shared.roster import SignedRoster
from vdb_shared.secagg.field import decode_scalars, encode_scalars
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.restarts import Restart
from vdb_shared.transparency.proof import LogProof, parse_proof

VERSION: Final = "vdb-bundle"
SPEC: Final = "spec.json"
ROSTER: Final = "roster.json"
TARGETS: Final = "roster/targets.json"
OPEN: Final = "open.dsse.json"
OPEN_PROOF: Final = "open.proof"
SEAL: Final = "seal.dsse.json"
RESTARTS: Final = "restarts.json"
TRANSCRIPT: Final = "transcript.json"
SURVIVORS: Final = "survivors.dsse.json"
AGGREGATE: Final = "aggregate.u64le"
BLINDERS: Final = "blinders.bin"
ACCOUNTING: Final = "accounting.json"
METRICS: Final = "metrics.json"
RESULT: Final = "result.dsse.json"
COUNTERSIGN: Final = "countersign.dsse.json"
RESULT_PROOF: Final = "result.proof"

RELEASED: Final = frozenset({ACCOUNTING, METRICS, RESULT, COUNTERSIGN, RESULT_PROOF})
"""Members that are made from a record, not part of it."""

ADDED: Final = frozenset({COUNTERSIGN, RESULT_PROOF})
"""Members that a draft lacks, since they are about the signed result."""

VERSION_BYTES: Final = f"{labels.BUNDLE_VERSION}\n".encode("ascii")

_FIXED: Final = frozenset(
    {VERSION, SPEC, ROSTER, TARGETS, OPEN, OPEN_PROOF, SEAL, RESTARTS, TRANSCRIPT, SURVIVORS, AGGREGATE, BLINDERS}
)
_ROOT = re.compile(r"roster/root\.([1-9][0-9]{0,3})\.json")
_ONE_OF_MANY = re.compile(r"(joins|contributions)/([a-z0-9][a-z0-9._-]{0,63})\.dsse\.json")
_ROUNDS: Final = ("advertise-keys", "share-keys", "masked-input")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class SessionRecord:
    """A finished session, as signed by those who took part.

    Attributes:
        spec: canonical bytes of the spec.
        roster: the roster and the root chain that vouches for it.
        open: the coordinator's opening; its payload's digest is the session id.
        open_proof: that the opening stands in the log, as institutions saw it before the seal.
        joins: JOIN of each institution in the seal, by institution.
        seal: the coordinator's seal; its payload's digest is the protocol's session.
        restarts: why rounds were restarted, in order; the headers below are those of the last attempt.
        advertised, shared, masked: signed headers of rounds 0, 1 and 2, by seat: of U1, U2 and U3.
        contributions: contribution statement of each survivor, by institution.
        survivors: the consistency statement with the signatures of at least q survivors.
        aggregate: shape (lanes,), uint64: sum over U3 of lane + 2^47, offset kept.
        blinders: sums over U3 of the blinders mod r, one for each block of lanes.
    """

    spec: bytes
    roster: SignedRoster
    open: Envelope
    open_proof: LogProof
    joins: Mapping[str, Envelope]
    seal: Envelope
    restarts: tuple[Restart, ...]
    advertised: Mapping[Seat, Signed]
    shared: Mapping[Seat, Signed]
    masked: Mapping[Seat, Signed]
    contributions: Mapping[str, Envelope]
    survivors: Envelope
    aggregate: NDArray[np.uint64]
    blinders: tuple[int, ...]

    def members(self) -> dict[str, bytes]:
        """Return the members of a bundle that hold this record."""
        return {
            VERSION: VERSION_BYTES,
            SPEC: self.spec,
            ROSTER: self.roster.roster,
            TARGETS: self.roster.targets,
            **{f"roster/root.{number}.json": data for number, data in enumerate(self.roster.roots, start=1)},
            OPEN: self.open.to_json(),
            OPEN_PROOF: self.open_proof.to_bytes(),
            **{f"joins/{name}.dsse.json": envelope.to_json() for name, envelope in self.joins.items()},
            SEAL: self.seal.to_json(),
            RESTARTS: encode_restarts(self.restarts),
            TRANSCRIPT: encode_transcript(self.advertised, self.shared, self.masked),
            **{f"contributions/{name}.dsse.json": item.to_json() for name, item in self.contributions.items()},
            SURVIVORS: self.survivors.to_json(),
            AGGREGATE: self.aggregate.astype("<u8", copy=False).tobytes(),
            BLINDERS: encode_scalars(self.blinders),
        }

    @classmethod
    def from_members(cls, members: Mapping[str, bytes]) -> SessionRecord:
        """Return the record that exactly these members hold; `members` are those that `of_record` leaves.

        Raises:
            FormatError: a member is missing, unknown or malformed; the message begins with its name.
        """
        check_names(members)
        if members[VERSION] != VERSION_BYTES:
            raise FormatError(f"{VERSION}: this reader knows only {labels.BUNDLE_VERSION}")
        advertised, shared, masked = _read(members, TRANSCRIPT, decode_transcript)
        return cls(
            spec=members[SPEC],
            roster=SignedRoster(_roots(members), members[TARGETS], members[ROSTER]),
            open=read_envelope(members, OPEN),
            open_proof=read_proof(members, OPEN_PROOF),
            joins=_many(members, "joins"),
            seal=read_envelope(members, SEAL),
            restarts=_read(members, RESTARTS, decode_restarts),
            advertised=advertised,
            shared=shared,
            masked=masked,
            contributions=_many(members, "contributions"),
            survivors=read_envelope(members, SURVIVORS),
            aggregate=_read(members, AGGREGATE, _decode_aggregate),
            blinders=tuple(_read(members, BLINDERS, decode_scalars)),
        )


def of_record(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the members of a bundle that are its record: neither made from it, nor of the profile `full` alone."""
    return {name: data for name, data in members.items() if name not in RELEASED and not is_message(name)}


def check_names(members: Iterable[str]) -> None:
    """Check that these are the names of a record's members, all of them and no others.

    Raises:
        FormatError: a member is missing or has a name that no member has.
    """
    names = set(members)
    missing = sorted(_FIXED - names)
    if missing:
        raise FormatError(f"{missing[0]}: this member is missing")
    for name in sorted(names - _FIXED):
        if not (_ROOT.fullmatch(name) or _ONE_OF_MANY.fullmatch(name)):
            raise FormatError(f"{name}: a bundle has no such member")


def subjects_of(members: Mapping[str, bytes]) -> tuple[Subject, ...]:
    """Return the subjects of a result statement, sorted by name.

    They are all other members, but those that are about the result and those that only the profile `full` has.
    """
    named = (name for name in members.keys() - {RESULT} - ADDED if not is_message(name))
    return tuple(subject_of(name, members[name]) for name in sorted(named))


def encode_transcript(
    advertised: Mapping[Seat, Signed], shared: Mapping[Seat, Signed], masked: Mapping[Seat, Signed]
) -> bytes:
    """Return the canonical JSON of the signed headers of rounds 0, 1 and 2."""
    headers = zip(_ROUNDS, (advertised, shared, masked), strict=True)
    return canonical_json({name: round_to_json(messages) for name, messages in headers})


def decode_transcript(data: bytes) -> tuple[dict[Seat, Signed], dict[Seat, Signed], dict[Seat, Signed]]:
    """Return the signed headers of rounds 0, 1 and 2, by seat.

    Raises:
        FormatError: not what `encode_transcript` writes.
    """
    rounds = parse_canonical_json(data)
    if not isinstance(rounds, dict) or rounds.keys() != set(_ROUNDS):
        raise FormatError(f"a transcript has exactly the rounds {', '.join(_ROUNDS)}")
    advertised, shared, masked = (round_from_json(rounds[name]) for name in _ROUNDS)
    return advertised, shared, masked


def read_proof(members: Mapping[str, bytes], name: str) -> LogProof:
    """Return the proof in a member.

    Raises:
        FormatError: it is not one; the message begins with the member's name.
    """
    return _read(members, name, parse_proof)


def read_envelope(members: Mapping[str, bytes], name: str) -> Envelope:
    """Return the envelope in a member.

    Raises:
        FormatError: it is not one; the message begins with the member's name.
    """
    return _read(members, name, Envelope.from_json)


def _read(members: Mapping[str, bytes], name: str, reader: Callable[[bytes], T]) -> T:
    if name not in members:
        raise FormatError(f"{name}: this member is missing")
    try:
        return reader(members[name])
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error


def _roots(members: Mapping[str, bytes]) -> tuple[bytes, ...]:
    numbers = sorted(int(found.group(1)) for name in members if (found := _ROOT.fullmatch(name)))
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise FormatError("roster/root.1.json: the root chain is missing or has a gap")
    return tuple(members[f"roster/root.{number}.json"] for number in numbers)


def _many(members: Mapping[str, bytes], folder: str) -> dict[str, Envelope]:
    names = {
        name: found.group(2)
        for name in sorted(members)
        if (found := _ONE_OF_MANY.fullmatch(name)) and found.group(1) == folder
    }
    return {institution: read_envelope(members, name) for name, institution in names.items()}


def _decode_aggregate(data: bytes) -> NDArray[np.uint64]:
    if not data or len(data) % 8:
        raise FormatError(f"an aggregate is a positive multiple of 8 bytes, not {len(data)}")
    return np.frombuffer(data, dtype="<u8").astype(np.uint64)
