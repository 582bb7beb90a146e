"""A coordinator that changes one field of a finished session and signs again whatever follows, with all keys it can use.

Its own statements, and those of its accomplices, then name the changed ones by their new digests, as if nothing else had
ever been; statements of honest institutions stay as they are, whose signatures it cannot make. Where several sign one
statement, such as the list of survivors, the accomplices sign the new one and the honest signatures, which fit no longer,
are left out.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from testkit.bundles import SmallSession, log_of, witnesses_of
from testkit.logs import MadeLog
from testkit.opened import Tree, body_of, close_member, open_member, payload_of
from testkit.statements import INSTITUTIONS
from vdb_shared import labels
from vdb_shared.bundle.archive import write_archive
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.bundle.logged import published_entry
from vdb_shared.bundle.record import (
    ACCOUNTING,
    COUNTERSIGN,
    OPEN,
    OPEN_PROOF,
    RESTARTS,
    RESULT,
    RESULT_PROOF,
    SEAL,
    SPEC,
    SURVIVORS,
    TRANSCRIPT,
    subjects_of,
)
from vdb_shared.canonical import decode_base64, encode_base64, labelled_hash
from vdb_shared.errors import FormatError
from vdb_shared.identity import StatementKey
from vdb_shared.secagg.masking import commitments_digest
from vdb_shared.secagg.messages import Signed, encode_seat
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import chain
from vdb_shared.spec import parse_spec_json

Trees = dict[str, Tree]
Edit = Callable[[Trees], None]

_TYPES: Final = {
    "advertise-keys": labels.TYPE_ADVERTISE_KEYS,
    "share-keys": labels.TYPE_SHARE_KEYS,
    "masked-input": labels.TYPE_MASKED_INPUT,
}

_WHOLE: Final = frozenset({"body", "seat", "signature"})
"""What a whole message has."""


def conspire(session: SmallSession, edit: Edit, accomplices: Collection[Seat]) -> bytes:
    """Return the bundle after an edit, signed again by the coordinator and these seats.

    Args:
        session: the honest session.
        edit: changes opened members in place, or takes some out, or puts some in.
        accomplices: seats that sign whatever the coordinator wants.
    """
    return _Conspiracy(session, frozenset(accomplices)).forge(edit)


@dataclass
class _Conspiracy:
    """One forgery.

    Attributes:
        session: the honest session.
        seats: of the accomplices.
        honest, trees: all members opened: as they were, and as they are forged.
        renamed: digests that changed, old to new, in each form in which a statement may hold them.
    """

    session: SmallSession
    seats: frozenset[Seat]
    honest: Trees = field(init=False)
    trees: Trees = field(init=False)
    renamed: dict[object, object] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.honest = {name: open_member(name, data) for name, data in self.session.members.items()}
        self.trees = copy.deepcopy(self.honest)

    def forge(self, edit: Edit) -> bytes:
        """Return the bundle."""
        edit(self.trees)
        for name in sorted(self.trees.keys() & self.honest.keys()):
            if not name.endswith(".dsse.json"):
                self._rename(self._bytes(self.honest, name), self._bytes(self.trees, name))
        self._statement(OPEN, self.session.coordinator)
        self._log_opening()
        self._of_institutions("joins")
        self._statement(SEAL, self.session.coordinator)
        self._rounds()
        self._survivors()
        self._result()
        self._log_result()
        return write_archive({name: self._bytes(self.trees, name) for name in self.trees})

    def _bytes(self, trees: Trees, name: str) -> bytes:
        if trees[name] == self.honest.get(name):
            return self.session.members[name]
        return close_member(name, trees[name])

    def _rename(self, old: bytes, new: bytes) -> None:
        """Note that what had the digest of these bytes has another."""
        self._rename_digest(hashlib.sha256(old).digest(), hashlib.sha256(new).digest())

    def _rename_digest(self, old: bytes, new: bytes) -> None:
        if old != new:
            self.renamed |= {old: new, old.hex(): new.hex(), f"sha256:{old.hex()}": f"sha256:{new.hex()}"}

    def _updated(self, tree: Tree) -> Tree:
        match tree:
            case dict():
                return {key: self._updated(value) for key, value in tree.items()}
            case list():
                return [self._updated(value) for value in tree]
            case str() | bytes():
                return self.renamed.get(tree, tree)
            case _:
                return tree

    def _statement(self, name: str, *keys: StatementKey) -> None:
        """Sign a statement again if it changed; without keys it only gets another digest."""
        if name not in self.trees or "payload" not in self.trees[name]:
            return
        tree, honest = self.trees[name], self.honest.get(name, {})
        if keys:
            tree["payload"] = self._updated(tree["payload"])
        terms = (tree["payload"], tree.get("payloadType"))
        if keys and terms != (honest.get("payload"), honest.get("payloadType")) and "signatures" in tree:
            tree["signatures"] = _signatures(str(tree.get("payloadType")), payload_of(name, tree), keys)
        if honest:
            self._rename(payload_of(name, honest), payload_of(name, tree))

    def _log_opening(self) -> None:
        """Log another opening, and let the accomplices witness it."""
        if OPEN_PROOF in self.trees and OPEN in self.trees and self.trees[OPEN] != self.honest[OPEN]:
            self._prove(OPEN_PROOF, self._log(), 0, range(len(INSTITUTIONS)))
        if OPEN_PROOF in self.trees:
            self._rename(self.session.members[OPEN_PROOF], self._bytes(self.trees, OPEN_PROOF))

    def _log_result(self) -> None:
        """Log another result, and let the accomplices among the survivors witness it."""
        if RESULT_PROOF not in self.trees or self.trees.get(COUNTERSIGN) == self.honest[COUNTERSIGN]:
            return
        log = self._log()
        try:
            delta = parse_spec_json(self.session.members[SPEC]).privacy.delta
            payload = payload_of(RESULT, self.trees[RESULT])
            log.entries.append(published_entry(payload, self._bytes(self.trees, ACCOUNTING), delta))
        except (FormatError, KeyError, ValueError):
            return  # what cannot be logged; the proof stays as it was
        self._prove(RESULT_PROOF, log, 1, [message["seat"] for message in self.honest[TRANSCRIPT]["masked-input"]])

    def _log(self) -> MadeLog:
        """Return the log with the opening as it is forged, or as it was where that cannot be logged."""
        spec = parse_spec_json(self.session.members[SPEC])
        try:
            return log_of(Envelope.from_json(self._bytes(self.trees, OPEN)), spec, self.session.seed)
        except (FormatError, KeyError):
            return self.session.log

    def _prove(self, name: str, log: MadeLog, index: int, witnesses: Iterable[Seat]) -> None:
        """Put a new proof into a member, unless the edit was to the proof."""
        if self.seats and self.trees[name] == self.honest[name]:
            chosen = witnesses_of(self.session.seed, sorted(self.seats & set(witnesses)))
            self.trees[name] = open_member(name, log.proof(index, chosen).to_bytes())

    def _of_institutions(self, folder: str) -> None:
        for seat, institution in enumerate(INSTITUTIONS):
            self._statement(f"{folder}/{institution}.dsse.json", *self._keys(seat))

    def _keys(self, seat: Seat) -> list[StatementKey]:
        return [self.session.key(seat)] if seat in self.seats else []

    def _rounds(self) -> None:
        """Sign headers again round by round; T1, T2 and T3 follow from the messages as they then are."""
        honest, forged = self._sessions()
        lists = self.trees.get(TRANSCRIPT, {})
        for kind, label in zip(_TYPES, (labels.HASH_T1, labels.HASH_T2, labels.HASH_T3), strict=True):
            if kind == "masked-input":
                self._of_institutions("contributions")
            for message in lists.get(kind, []):
                self._message(message, _TYPES[kind], self.honest[TRANSCRIPT][kind])
            honest = chain(label, honest, _messages(self.honest[TRANSCRIPT][kind]))
            forged = chain(label, forged, _messages(lists.get(kind, [])))
            self._rename_digest(honest, forged)
            if kind == "advertise-keys":
                self._rename_commitments(honest, forged)

    def _sessions(self) -> tuple[bytes, bytes]:
        """Return the session of the last attempt, as it was and as it is forged, after signing complaints again."""
        found = [_payload_digest(trees.get(SEAL, {})) for trees in (self.honest, self.trees)]
        restarts = self.trees.get(RESTARTS, [])
        for was, now in zip(self.honest[RESTARTS], restarts, strict=False):
            if not {"advertised", "complaint"} <= now.keys() or not now["complaint"].keys() >= _WHOLE:
                continue
            for message in now["advertised"]:
                self._message(message, labels.TYPE_ADVERTISE_KEYS, was["advertised"])
            first = [
                chain(labels.HASH_T1, at, _messages(of["advertised"])) for at, of in zip(found, (was, now), strict=True)
            ]
            self._rename_digest(*first)
            self._message(now["complaint"], labels.TYPE_COMPLAINT, [was["complaint"]])
            found = [_after(at, t1, of["complaint"]) for at, t1, of in zip(found, first, (was, now), strict=True)]
            self._rename_digest(*found)
        return found[0], found[1]

    def _message(self, message: Tree, kind: str, honest: list[Tree]) -> None:
        if not message.keys() >= _WHOLE or message["seat"] not in self.seats:
            return
        message["body"] = self._updated(message["body"])
        if message["body"] not in [item["body"] for item in honest]:
            signature = self.session.key(message["seat"]).sign(kind, body_of(message["body"]))
            message["signature"] = encode_base64(signature)

    def _rename_commitments(self, honest: bytes, forged: bytes) -> None:
        """Note the commitments' digests, which hold T1."""
        for message in self.trees.get(TRANSCRIPT, {}).get("masked-input", []):
            for was in self.honest[TRANSCRIPT]["masked-input"]:
                if message.get("seat") == was["seat"] and "commitments" in message.get("body", {}):
                    self._rename_digest(
                        commitments_digest(honest, was["seat"], was["body"]["commitments"]),
                        commitments_digest(forged, was["seat"], message["body"]["commitments"]),
                    )

    def _survivors(self) -> None:
        self._statement(SURVIVORS, *self._keys_of_survivors())

    def _keys_of_survivors(self) -> list[StatementKey]:
        survivors = {message["seat"] for message in self.honest[TRANSCRIPT]["masked-input"]}
        return [self.session.key(seat) for seat in sorted(self.seats & survivors)]

    def _result(self) -> None:
        if RESULT not in self.trees:
            return
        tree, honest = self.trees[RESULT], self.honest[RESULT]
        if tree.get("payload", {}).get("subject") == honest["payload"]["subject"]:
            members = {name: self._bytes(self.trees, name) for name in self.trees if name != RESULT}
            tree["payload"]["subject"] = [
                {"digest": {"sha256": item.sha256}, "name": item.name} for item in subjects_of(members)
            ]
        self._statement(RESULT, self.session.coordinator)
        counter = self.trees.get(COUNTERSIGN, {})
        if self.seats and counter.get("payload") == honest["payload"]:
            counter["payload"] = copy.deepcopy(tree.get("payload", {}))
        self._statement(COUNTERSIGN, *self._keys_of_survivors())


def _payload_digest(tree: Tree) -> bytes:
    """Return the digest of a statement's payload, or of nothing where there is none."""
    return hashlib.sha256(payload_of(SEAL, tree) if "payload" in tree else b"").digest()


def _after(session: bytes, t1: bytes, complaint: Mapping[str, Any]) -> bytes:
    """Return the session of the attempt after a complaint (§4.4)."""
    signature = decode_base64(complaint["signature"])
    seat = encode_seat(complaint["seat"])
    return labelled_hash(labels.HASH_RESTART, session, t1, seat, body_of(complaint["body"]), signature)


def _messages(items: list[Tree]) -> dict[Seat, Signed]:
    """Return the whole messages of a round, as far as they are any."""
    whole = [item for item in items if item.keys() >= _WHOLE]
    return {item["seat"]: Signed(body_of(item["body"]), decode_base64(item["signature"])) for item in whole}


def _signatures(kind: str, payload: bytes, keys: Collection[StatementKey]) -> list[dict[str, str]]:
    ordered = sorted(keys, key=lambda key: key.public_key.key_id)
    return [{"keyid": key.public_key.key_id, "sig": encode_base64(key.sign(kind, payload))} for key in ordered]
