"""Statement keys: RFC 8032's vector, purposes kept apart, keys at rest."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from vdb_shared.errors import FormatError, IdentityError, SignatureError, UsageError
from vdb_shared.identity import StatementKey, StatementPublicKey, pre_authentication_encoding


def test_pre_authentication_encoding_is_dsse() -> None:
    """The example of the DSSE specification, protocol.md."""
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_signature_is_plain_ed25519_over_the_encoding() -> None:
    seed = bytes(range(32))
    expected = Ed25519PrivateKey.from_private_bytes(seed).sign(b"DSSEv1 1 t 1 p")
    assert StatementKey.from_seed(seed).sign("t", b"p") == expected


def test_public_key_of_rfc_8032_test_1() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert StatementKey.from_seed(seed).public_key.raw.hex() == public


def test_verify_returns_the_payload_or_raises() -> None:
    key = StatementKey.generate()
    signature = key.sign("a", b"payload")
    assert key.public_key.verify("a", b"payload", signature) == b"payload"
    for kind, payload, forged in (
        ("b", b"payload", signature),
        ("a", b"payloae", signature),
        ("a", b"payload", signature[:-1] + bytes([signature[-1] ^ 1])),
        ("a", b"payload", b""),
    ):
        with pytest.raises(SignatureError):
            key.public_key.verify(kind, payload, forged)
    with pytest.raises(SignatureError):
        StatementKey.generate().public_key.verify("a", b"payload", signature)


def test_a_key_of_small_order_signs_nothing() -> None:
    """Under the neutral element (0, 1) one signature would fit all messages, as RFC 8032's equation alone allows."""
    neutral = b"\x01" + bytes(31)
    signature = neutral + bytes(32)
    Ed25519PublicKey.from_public_bytes(neutral).verify(signature, pre_authentication_encoding("a", b"any message"))
    with pytest.raises(SignatureError):
        StatementPublicKey(neutral).verify("a", b"any message", signature)


def test_a_signature_has_one_spelling() -> None:
    """RFC 8032, section 5.1.7: S is below the order of the base point."""
    key = StatementKey.generate()
    signature = key.sign("a", b"payload")
    order = 2**252 + 27742317777372353535851937790883648493
    second = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(SignatureError):
        key.public_key.verify("a", b"payload", signature[:32] + second.to_bytes(32, "little"))


def test_key_at_rest_needs_its_passphrase() -> None:
    key = StatementKey.generate()
    data = key.to_pem(b"open sesame")
    assert b"ENCRYPTED" in data
    assert StatementKey.from_pem(data, b"open sesame").public_key == key.public_key
    with pytest.raises(
        IdentityError, match="is not opened by this passphrase; check --passphrase-file or VDB_PASSPHRASE"
    ):
        StatementKey.from_pem(data, b"open sesam")
    for missing in (None, b""):
        with pytest.raises(UsageError, match="is encrypted; give --passphrase-file or set VDB_PASSPHRASE"):
            StatementKey.from_pem(data, missing)


def test_a_damaged_key_is_not_taken_for_a_wrong_passphrase() -> None:
    data = StatementKey.generate().to_pem(None)
    with pytest.raises(IdentityError, match="the statement key is damaged, or no private key"):
        StatementKey.from_pem(data[:60] + data[70:], None)


def test_an_encrypted_key_that_is_cut_off_is_not_blamed_on_the_passphrase() -> None:
    """What a wrong passphrase cannot do is told; changed bytes inside look like one, and the words say so."""
    key = StatementKey.generate()
    data = key.to_pem(b"open sesame")
    lines = data.splitlines(keepends=True)
    cut = (
        data[:-60],
        b"".join([*lines[:2], *lines[3:]]),
        data.replace(lines[2][:8], b"!!!!!!!!"),
        lines[0] + lines[-1],
    )
    for damaged in cut:
        with pytest.raises(
            IdentityError, match="is damaged: its file is cut off or changed, and no passphrase opens it"
        ):
            StatementKey.from_pem(damaged, b"open sesame")
    content = bytearray(base64.b64decode(b"".join(lines[1:-1])))
    content[-1] ^= 1
    changed = lines[0] + base64.encodebytes(bytes(content)) + lines[-1]
    for wrong, passphrase in ((data, b"open sesam"), (changed, b"open sesame")):
        with pytest.raises(IdentityError, match=r"not opened by this passphrase.* changed bytes in it look the same"):
            StatementKey.from_pem(wrong, passphrase)


def test_an_empty_passphrase_is_none_that_protects() -> None:
    with pytest.raises(ValueError, match="assword"):
        StatementKey.generate().to_pem(b"")


def test_a_pem_file_with_a_key_of_another_kind_is_refused() -> None:
    data = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(IdentityError, match="not an Ed25519 key"):
        StatementKey.from_pem(data, None)


def test_key_does_not_print() -> None:
    assert "PRIVATE" not in repr(StatementKey.generate())
    assert "_key" not in repr(StatementKey.generate())


def test_public_key_has_32_bytes() -> None:
    with pytest.raises(FormatError, match="32 bytes"):
        StatementPublicKey(b"short")
