"""DSSE envelopes: payload bytes with the signatures of one or more institutions.

Stricter than the general format: every signature must verify, every signer must be known, nobody signs twice, and the
envelope is canonical JSON. What is verified is the bytes received.

Source: DSSE v1 (secure-systems-lab/dsse, envelope.md); protos/README.md §9.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vdb_shared.canonical import (
    canonical_json,
    decode_base64,
    encode_base64,
    parse_canonical_json,
    sha256_digest,
)
from vdb_shared.errors import FormatError, SignatureError
from vdb_shared.identity import Signer, StatementPublicKey


@dataclass(frozen=True, slots=True)
class EnvelopeSignature:
    """One signature: the signer's key id (64 hex digits) and 64 bytes."""

    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, its type, and signatures sorted by key id."""

    payload_type: str
    payload: bytes
    signatures: tuple[EnvelopeSignature, ...]

    @property
    def payload_digest(self) -> str:
        """Digest of the payload bytes; statements name each other by it."""
        return sha256_digest(self.payload)

    def to_json(self) -> bytes:
        """Return the envelope's canonical JSON bytes."""
        return canonical_json(
            {
                "payload": encode_base64(self.payload),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": item.key_id, "sig": encode_base64(item.signature)} for item in self.signatures
                ],
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> Envelope:
        """Return the envelope with exactly these bytes.

        Raises:
            FormatError: not a canonical envelope, no signature, signatures unsorted or repeated.
        """
        match parse_canonical_json(data):
            case {"payload": str(payload), "payloadType": str(kind), "signatures": list(items), **rest} if not rest:
                signatures = tuple(_signature(item) for item in items)
            case _:
                raise FormatError("not a DSSE envelope with payload, payloadType and signatures")
        key_ids = [item.key_id for item in signatures]
        if not key_ids or key_ids != sorted(set(key_ids)):
            raise FormatError("signatures of an envelope must be there, sorted by key id, one for each key")
        return cls(kind, decode_base64(payload), signatures)

    def verify(self, payload_type: str, keys: Iterable[StatementPublicKey]) -> bytes:
        """Return the payload if the type is the expected one and every signature is one of these keys'.

        Raises:
            SignatureError: another type, an unknown signer, or a signature that does not verify.
        """
        if self.payload_type != payload_type:
            raise SignatureError(f"expected a payload of type {payload_type}, found {self.payload_type}")
        known: Mapping[str, StatementPublicKey] = {key.key_id: key for key in keys}
        for item in self.signatures:
            if item.key_id not in known:
                raise SignatureError(f"signed by a key that is not known here: {item.key_id[:16]}")
            known[item.key_id].verify(self.payload_type, self.payload, item.signature)
        return self.payload

    def with_signatures(self, others: Iterable[EnvelopeSignature]) -> Envelope:
        """Return the envelope with more signatures; one signature for each key is kept."""
        merged = {item.key_id: item for item in (*self.signatures, *others)}
        return Envelope(self.payload_type, self.payload, tuple(merged[key] for key in sorted(merged)))


def sign_envelope(payload_type: str, payload: bytes, *signers: Signer) -> Envelope:
    """Return an envelope over the payload with the signatures of all signers."""
    signatures = (EnvelopeSignature(s.public_key.key_id, s.sign(payload_type, payload)) for s in signers)
    return Envelope(payload_type, payload, tuple(sorted(signatures, key=lambda item: item.key_id)))


def _signature(item: object) -> EnvelopeSignature:
    match item:
        case {"keyid": str(key_id), "sig": str(signature), **rest} if not rest:
            return EnvelopeSignature(key_id, decode_base64(signature))
        case _:
            raise FormatError("a signature of an envelope has exactly keyid and sig")
