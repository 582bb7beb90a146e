"""An envelope has one form; what it holds is believed only if every signature under it is of a key that is meant."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from vdb_shared.bundle.envelope import Envelope, EnvelopeSignature, sign_envelope
from vdb_shared.canonical import canonical_json, parse_canonical_json, sha256_digest
from vdb_shared.errors import FormatError, SignatureError
from vdb_shared.identity import StatementKey

KIND, PAYLOAD = "application/x", b'{"a":1}'
KEYS = [StatementKey.from_seed(bytes([number]) * 32) for number in range(3)]
IDS = [key.public_key.key_id for key in KEYS]


@pytest.fixture
def envelope() -> Envelope:
    return sign_envelope(KIND, PAYLOAD, *KEYS)


def document(envelope: Envelope) -> Any:
    return parse_canonical_json(envelope.to_json())


def test_its_form_is_that_of_the_specification(envelope: Envelope) -> None:
    assert document(envelope) == {
        "payload": base64.b64encode(PAYLOAD).decode(),
        "payloadType": KIND,
        "signatures": [
            {"keyid": item.key_id, "sig": base64.b64encode(item.signature).decode()} for item in envelope.signatures
        ],
    }
    assert Envelope.from_json(envelope.to_json()) == envelope
    assert envelope.payload_digest == sha256_digest(PAYLOAD)


def test_signatures_are_sorted_whoever_signs_first(envelope: Envelope) -> None:
    assert [item.key_id for item in envelope.signatures] == sorted(IDS)
    assert sign_envelope(KIND, PAYLOAD, *reversed(KEYS)) == envelope


def test_whose_signatures_are_genuine_gives_its_payload(envelope: Envelope) -> None:
    assert envelope.verify(KIND, [key.public_key for key in KEYS]) == PAYLOAD


def test_another_type_is_refused(envelope: Envelope) -> None:
    with pytest.raises(SignatureError, match=r"^expected a payload of type application/y, found application/x$"):
        envelope.verify("application/y", [key.public_key for key in KEYS])


def test_a_signer_that_is_not_meant_is_refused(envelope: Envelope) -> None:
    stranger = envelope.signatures[-1].key_id
    known = [key.public_key for key in KEYS if key.public_key.key_id != stranger]
    with pytest.raises(SignatureError, match=f"^signed by a key that is not known here: {stranger[:16]}$"):
        envelope.verify(KIND, known)


@pytest.mark.parametrize("place", range(3))
def test_every_signature_is_verified(envelope: Envelope, place: int) -> None:
    signatures = list(envelope.signatures)
    signatures[place] = replace(signatures[place], signature=bytes(64))
    with pytest.raises(SignatureError):
        replace(envelope, signatures=tuple(signatures)).verify(KIND, [key.public_key for key in KEYS])
    with pytest.raises(SignatureError):
        replace(envelope, payload=PAYLOAD + b" ").verify(KIND, [key.public_key for key in KEYS])


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value.update(extra=1),
        lambda value: value.pop("payload"),
        lambda value: value.pop("payloadType"),
        lambda value: value.pop("signatures"),
        lambda value: value.update(payload=1),
        lambda value: value.update(payloadType=None),
        lambda value: value.update(signatures={}),
    ],
)
def test_nothing_is_missing_and_nothing_else_is_there(envelope: Envelope, edit: Any) -> None:
    value = document(envelope)
    edit(value)
    with pytest.raises(FormatError, match="not a DSSE envelope with payload, payloadType and signatures"):
        Envelope.from_json(canonical_json(value))


@pytest.mark.parametrize(
    "edit",
    [
        lambda item: item.update(extra=1),
        lambda item: item.pop("keyid"),
        lambda item: item.pop("sig"),
        lambda item: item.update(keyid=1),
        lambda item: item.update(sig=None),
    ],
)
def test_a_signature_is_its_key_and_its_bytes(envelope: Envelope, edit: Any) -> None:
    value = document(envelope)
    edit(value["signatures"][1])
    with pytest.raises(FormatError, match="a signature of an envelope has exactly keyid and sig"):
        Envelope.from_json(canonical_json(value))


def test_signatures_are_there_once_and_in_order(envelope: Envelope) -> None:
    value = document(envelope)
    first, second, third = value["signatures"]
    for wrong in ([], [second, first, third], [first, first, second]):
        value["signatures"] = wrong
        with pytest.raises(FormatError, match="sorted by key id, one for each key"):
            Envelope.from_json(canonical_json(value))


def test_more_signatures_are_put_in_their_places(envelope: Envelope) -> None:
    one = replace(envelope, signatures=envelope.signatures[1:2])
    assert one.with_signatures(envelope.signatures) == envelope
    later = EnvelopeSignature(envelope.signatures[1].key_id, bytes(64))
    assert one.with_signatures([later]).signatures == (later,)
    assert one.with_signatures([]) == one
    assert one.with_signatures(reversed(envelope.signatures)).signatures == envelope.signatures
