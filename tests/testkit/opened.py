"""Members of a bundle opened into trees of lists, mappings, texts, numbers and bytes, down to the fields of signed payloads.

Promises that a tree closes to the bytes from which it was opened, and that a field of a format that is added later shows up
as a new path. Knows nothing of what fields mean.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from vdb_shared.bundle.record import AGGREGATE, BLINDERS, RESTARTS, SURVIVORS, TRANSCRIPT
from vdb_shared.canonical import canonical_json, decode_base64, encode_base64, encode_fields
from vdb_shared.secagg.field import SCALAR_BYTES
from vdb_shared.secagg.messages import (
    AdvertisedKeys,
    Complaint,
    ConsistencyStatement,
    MaskedInputHeader,
    SharedKeysHeader,
)
from vdb_shared.transparency.checkpoint import parse_checkpoint
from vdb_shared.transparency.note import parse_note
from vdb_shared.transparency.proof import parse_proof

Tree = Any
"""A dict, list, frozenset, str, bytes, int, bool or None."""

BODIES: Final[Mapping[str, type[Any]]] = {
    "advertise-keys": AdvertisedKeys,
    "advertised": AdvertisedKeys,
    "complaint": Complaint,
    "masked-input": MaskedInputHeader,
    "share-keys": SharedKeysHeader,
}
"""What the bodies of signed messages hold, by the list or entry in which they stand."""

LANE_BYTES: Final = 8
_NUMBERS: Final = {AGGREGATE: LANE_BYTES, BLINDERS: SCALAR_BYTES}


def open_member(name: str, data: bytes) -> Tree:
    """Return what a member holds."""
    if name in _NUMBERS:
        size = _NUMBERS[name]
        return [int.from_bytes(data[start : start + size], "little") for start in range(0, len(data), size)]
    if name.endswith(".proof"):
        return _opened_proof(data)
    if not name.endswith(".json"):
        return data
    tree = json.loads(data)
    if name.endswith(".dsse.json"):
        payload = decode_base64(tree["payload"])
        tree["payload"] = asdict(ConsistencyStatement.decode(payload)) if name == SURVIVORS else json.loads(payload)
    return _with_bodies(name, tree)


def _with_bodies(name: str, tree: Tree) -> Tree:
    """Open the bodies of the signed messages in a member."""
    if name == TRANSCRIPT:
        return {kind: [_opened(kind, message) for message in messages] for kind, messages in tree.items()}
    for restart in tree if name == RESTARTS else ():
        restart["complaint"] = _opened("complaint", restart["complaint"])
        restart["advertised"] = [_opened("advertised", message) for message in restart["advertised"]]
    return tree


def close_member(name: str, tree: Tree) -> bytes:
    """Return the bytes of a member that holds this."""
    if name in _NUMBERS:
        return b"".join(number.to_bytes(_NUMBERS[name], "little") for number in tree)
    if isinstance(tree, bytes):
        return tree
    if name.endswith(".proof"):
        return _closed_proof(tree)
    if name.startswith("roster/"):
        return json.dumps(tree).encode()
    if name.endswith(".dsse.json") and "payload" in tree:
        tree = tree | {"payload": encode_base64(payload_of(name, tree))}
    return canonical_json(_closed(tree))


def payload_of(name: str, tree: Tree) -> bytes:
    """Return the payload of an opened envelope."""
    payload = tree["payload"]
    return body_of(payload) if name == SURVIVORS else canonical_json(payload)


def body_of(fields: Mapping[str, Any]) -> bytes:
    """Return the body of a signed message, from its fields in order."""
    return encode_fields(*map(_field, fields.values()))


def _opened_proof(data: bytes) -> Tree:
    proof = parse_proof(data)
    note = parse_note(proof.checkpoint)
    return {
        "index": proof.index,
        "path": list(proof.path),
        "checkpoint": asdict(parse_checkpoint(note.text)),
        "signatures": [asdict(signature) for signature in note.signatures],
    }


def _closed_proof(tree: Tree) -> bytes:
    """Return the bytes of a proof; what is removed is left empty."""
    values = tree.get("checkpoint", {}).values()
    text = "".join(f"{encode_base64(value) if isinstance(value, bytes) else value}\n" for value in values)
    lines = [
        f"\u2014 {item.get('name', '')} {encode_base64(item.get('id', b'') + item.get('value', b''))}\n"
        for item in tree.get("signatures", [])
    ]
    head = ["c2sp.org/tlog-proof@v1", f"index {tree.get('index', '')}", *map(encode_base64, tree.get("path", [])), ""]
    return "".join(f"{line}\n" for line in head).encode() + (text + "\n" + "".join(lines)).encode()


def _field(value: Any) -> bytes:
    match value:
        case bytes():
            return value
        case int():
            return value.to_bytes(4, "little")
        case _:
            return struct.pack(f"<{len(value)}I", *sorted(value))


def _opened(kind: str, message: Mapping[str, Any]) -> Tree:
    body = asdict(BODIES[kind].decode(decode_base64(message["body"])))
    return {**message, "body": body}


def _closed(tree: Tree) -> Tree:
    """Return a tree whose bodies of messages are base64 again."""
    match tree:
        case {"body": dict(body), **others}:
            return {**others, "body": encode_base64(body_of(body))}
        case dict():
            return {key: _closed(value) for key, value in tree.items()}
        case list():
            return [_closed(value) for value in tree]
        case _:
            return tree
