"""What a result says came from this site, held against the journal of what left it.

Promises that everything in a bundle that this site sent is named with whether the journal has it, and that everything the
journal has of that session and the bundle has not is named with its reason. Leaves to `vdb-audit verify` whether the bundle is
true, and to `site/egress_format.py` whether the journal is whole.

Source: protos/README.md §12.6.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vdb_participant.site.egress_format import Departure, Entry
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.messages import is_message, read_messages
from vdb_shared.bundle.witnessed import witness_name
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import UsageError
from vdb_shared.secagg.messages import MaskedInputHeader, Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.restarts import Restart
from vdb_shared.transparency.note import parse_note
from vdb_shared.transparency.proof import LogProof

_SERVICE: Final = re.compile(r"^/vdb\.v1\.\w+/")
_INDEX: Final = re.compile(r"\[[0-9]+\]")

_ASKS: Final = "asks; adds nothing to a result"
_REASONS: Final[Mapping[str, str]] = {
    "Enrol token": "the invitation's token, before any session",
    "Enrol certificate_request": "our TLS key's public half and name, before any session",
    "Enrol statement_key": "our public key; the roster has it",
    "Enrol possession": "proof that we hold that key, before any session",
    "GetEnrolment token": "the invitation's token, before any session",
    "Negotiate": "versions and capabilities of this program",
    "RenewCertificate certificate_request": "a new TLS key's public half and our name",
    "RenewCertificate possession": "our signature that we ask for a new TLS certificate",
    "ListSessions": _ASKS,
    "GetSession": _ASKS,
    "WatchSession": _ASKS,
    "Join join": "a join that is not in this result",
    "GetSeal": _ASKS,
    "ReportProgress": "names of stages, for the lead's view; without numbers",
    "GetBundle": _ASKS,
    "Countersign countersignature": "a countersignature that is not in this result",
    "Abort abort": "why we left; the others finished without us, and no bundle has it",
    "GetCheckpoint": _ASKS,
    "Cosign cosignature": "that we saw the log at other sizes than the bundle's proofs",
    "Object objection": "an objection; the log has it",
    "GetObjections": _ASKS,
    "AdvertiseKeys keys.body": "keys of an attempt that was given up",
    "AdvertiseKeys keys.signature": "signature of keys of an attempt that was given up",
    "GetAdvertisedKeys": _ASKS,
    "ShareKeys header.body": "header of an attempt that was given up",
    "ShareKeys header.signature": "signature of a header of an attempt that was given up",
    "ShareKeys sealed.ciphertext": "shares sealed for single peers; no bundle has them",
    "GetSharedKeys": _ASKS,
    "QueryUpload digest": "the masked vector's digest, to go on where an upload stopped",
    "UploadMaskedInput start.header.body": "header of an attempt that was given up",
    "UploadMaskedInput start.header.signature": "signature of a header of an attempt that was given up",
    "UploadMaskedInput start.contribution": "contribution to an attempt that was given up",
    "UploadMaskedInput chunk": "the masked vector; the bundle has its digest and the sum (profile full: the vector)",
    "Complain complaint.body": "a complaint that restarted nothing",
    "Complain complaint.signature": "signature of a complaint that restarted nothing",
    "GetRestarts": _ASKS,
    "GetMaskedInputs": _ASKS,
    "SignConsistency consistency.body": "a survivor set that is not in this result",
    "SignConsistency consistency.signature": "signature of the survivor set that was not needed",
    "GetConsistency": _ASKS,
    "RevealShares shares.body": "the shares that unmask the sum; only the profile full has them",
    "RevealShares shares.signature": "signature of these shares; only the profile full has it",
}
"""Why a kind of bytes that left is not in a bundle, by RPC and path; an RPC alone stands for its messages without bytes."""

UNKNOWN: Final = "not known to this version; look at it with `journal show`"


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that a bundle has from this site.

    Attributes:
        name: what it is.
        entries: how many entries of the journal have it; 0 if none has.
        words: what was found.
    """

    name: str
    entries: int
    words: str


@dataclass(frozen=True, slots=True)
class Rest:
    """What left in the session and is not in the bundle, of one kind.

    Attributes:
        kind: RPC, and path of the bytes in its message.
        count: how often.
        size: bytes in all.
        reason: why the bundle does not have it.
    """

    kind: str
    count: int
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A bundle against a journal.

    Attributes:
        session: id of the bundle's session.
        claims: what the bundle has from this site.
        rest: what left and is not in it.
        elsewhere: messages of other sessions and of none.
        requests: to endpoints of external models, in whatever session.
    """

    session: str
    claims: tuple[Claim, ...]
    rest: tuple[Rest, ...]
    elsewhere: int
    requests: int


def compare(entries: Sequence[Entry], bundle: bytes, institution: str) -> Comparison:
    """Return how a bundle and the journal fit.

    Args:
        entries: of the journal, whose chain holds.
        bundle: the result, of either profile.
        institution: this site's name in it.

    Raises:
        UsageError: the institution is not in the bundle.
        FormatError: the bundle is malformed.
    """
    evidence = Evidence(bundle, root=None, policy=DEFAULT_POLICY, draft=False)
    session = evidence.record.open.payload_digest
    ours = _of_session(entries, session)
    demands = tuple(_demands(evidence, institution))
    known = {digest for demand in demands for digest in demand.digests}
    messages = [left for left in ours if left.kind == "message"]
    others = sum(entry.departure.kind == "message" for entry in entries) - len(messages)
    requests = sum(entry.departure.kind == "request" for entry in entries)
    claims = tuple(_claim(demand, ours) for demand in demands)
    return Comparison(session, claims, tuple(_rest(messages, known)), others, requests)


@dataclass(frozen=True, slots=True)
class _Demand:
    """Bytes that must have left: name, RPC, and the digests of all runs of bytes; or a whole vector."""

    name: str
    method: str
    digests: tuple[str, ...]
    vector: bool = False


def _demands(evidence: Evidence, institution: str) -> Iterator[_Demand]:
    record = evidence.record
    if institution not in record.joins:
        raise UsageError(f"the result has no join of {institution}; was this site part of that session?")
    seat, key_id = _seat_and_key(evidence, institution)
    yield _Demand("join", "Join", _digests(record.joins[institution].to_json()))
    yield from _restarts(record.restarts, seat)
    rounds = (
        ("keys of round 0", "AdvertiseKeys", record.advertised),
        ("header of round 1", "ShareKeys", record.shared),
        ("header of round 2", "UploadMaskedInput", record.masked),
    )
    for name, method, messages in rounds:
        if seat in messages:
            yield _signed(name, method, messages[seat])
    if institution in record.contributions:
        contribution = record.contributions[institution].to_json()
        yield _Demand("contribution statement", "UploadMaskedInput", _digests(contribution))
    if seat in record.masked:
        digest = MaskedInputHeader.decode(record.masked[seat].body).masked_digest
        yield _Demand("masked vector", "UploadMaskedInput", (f"sha256:{digest.hex()}",), vector=True)
    yield from _endings(evidence, institution, seat, key_id)


def _restarts(restarts: Sequence[Restart], seat: Seat) -> Iterator[_Demand]:
    """Yield what is in the records of restarts."""
    for number, restart in enumerate(restarts):
        if seat in restart.advertised:
            yield _signed(f"keys of round 0, attempt {number}", "AdvertiseKeys", restart.advertised[seat])
        if restart.complainer == seat:
            yield _signed(f"complaint of attempt {number}", "Complain", restart.complaint)


def _endings(evidence: Evidence, institution: str, seat: Seat, key_id: str) -> Iterator[_Demand]:
    """Yield what came after the vector."""
    record = evidence.record
    for signature in (item.signature for item in record.survivors.signatures if item.key_id == key_id):
        digests = _digests(record.survivors.payload, signature)
        yield _Demand("signature of the survivor set", "SignConsistency", digests)
    for item in (item for item in evidence.countersign.signatures if item.key_id == key_id):
        own = Envelope(evidence.countersign.payload_type, evidence.countersign.payload, (item,))
        yield _Demand("countersignature", "Countersign", _digests(own.to_json()))
    name = witness_name(evidence.opening.consortium, institution)
    for place, proof in (("open.proof", record.open_proof), ("result.proof", evidence.result_proof)):
        yield from _cosignatures(place, proof, name)
    if any(is_message(member) for member in evidence.members):
        names = {join.seat: join.institution for join in evidence.seal.joins if join.seat in record.masked}
        revealed = read_messages(evidence.members, names).revealed
        if seat in revealed:
            yield _signed("revealed shares", "RevealShares", revealed[seat])


def _cosignatures(place: str, proof: LogProof, name: str) -> Iterator[_Demand]:
    for signature in parse_note(proof.checkpoint).signatures:
        if signature.name == name:
            yield _Demand(f"cosignature of the log in {place}", "Cosign", _digests(signature.value))


def _seat_and_key(evidence: Evidence, institution: str) -> tuple[Seat, str]:
    (signature,) = evidence.record.joins[institution].signatures
    return evidence.joins[institution].seat, signature.key_id


def _signed(name: str, method: str, message: Signed) -> _Demand:
    return _Demand(name, method, _digests(message.body, message.signature))


def _digests(*runs: bytes) -> tuple[str, ...]:
    return tuple(map(sha256_digest, runs))


def _claim(demand: _Demand, ours: Sequence[Departure]) -> Claim:
    if demand.vector:
        return _vector_claim(demand, ours)
    found = [left for left in ours if left.kind == "message" and _method(left) == demand.method and _has(left, demand)]
    if not found:
        return Claim(demand.name, 0, "the bundle has it, and no entry of this journal does")
    return Claim(demand.name, len(found), f"left with {demand.method}, {_times(len(found))}")


def _vector_claim(demand: _Demand, ours: Sequence[Departure]) -> Claim:
    """Return whether every chunk of the vector left that has the digest in the signed header."""
    vectors = [left for left in ours if left.kind == "vector" and left.digest in demand.digests]
    if not vectors:
        return Claim(demand.name, 0, "the bundle names its digest, and no vector of this journal has it")
    vector = vectors[0]
    left = {part.digest for item in ours if item.kind == "message" for part in item.parts if part.path == "chunk"}
    missing = [part.path for part in vector.parts if part.digest not in left]
    if missing:
        words = f"{len(missing)} of its {len(vector.parts)} chunks left in no message of their own; the first is {missing[0]}"
        return Claim(demand.name, 0, words)
    return Claim(demand.name, len(vectors), f"all {vector.size} bytes left, in {len(vector.parts)} chunks")


def _rest(messages: Sequence[Departure], known: set[str]) -> Iterator[Rest]:
    counts: defaultdict[str, list[int]] = defaultdict(list)
    for left in messages:
        if not left.parts:
            counts[_method(left)].append(left.size)
        for part in left.parts:
            if part.digest not in known:
                counts[f"{_method(left)} {_INDEX.sub('', part.path)}"].append(part.size)
    for kind in sorted(counts):
        yield Rest(kind, len(counts[kind]), sum(counts[kind]), reason(kind))


def reason(kind: str) -> str:
    """Return why bytes of a kind, such as "ShareKeys sealed.ciphertext", are in no bundle."""
    return _REASONS.get(kind, UNKNOWN)


def _of_session(entries: Sequence[Entry], session: str) -> list[Departure]:
    """Return what left in a session; one may be asked for by its beginning.

    Chunks name no session: they belong to the one whose vector has them, or else to the one whose upload began last.
    """
    named = {entry.session for entry in entries}
    meant = {
        name for name in named if name and session.removeprefix("sha256:").startswith(name.removeprefix("sha256:"))
    }
    vectors = [entry for entry in entries if entry.departure.kind == "vector"]
    chunks = {part.digest: entry.session for entry in vectors for part in entry.departure.parts}
    found, uploading = [], ""
    for entry in entries:
        left, owner = entry.departure, entry.session
        if _method(left) == "UploadMaskedInput":
            uploading = owner or uploading
            owner = owner or chunks.get(left.parts[0].digest if left.parts else "", uploading)
        if owner in meant:
            found.append(left)
    return found


def _has(left: Departure, demand: _Demand) -> bool:
    return set(demand.digests) <= {part.digest for part in left.parts}


def _method(left: Departure) -> str:
    return _SERVICE.sub("", left.what)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
