import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from testkit.consortium import entropy
from vdb_shared.errors import FormatError
from vdb_shared.secagg.agreement import (
    agree,
    check_public_key,
    derive_key,
    load_private_key,
    mask_private_key,
    public_key,
)

PRIME = 2**255 - 19
SMALL_ORDER = (
    0,
    1,
    PRIME - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)


def test_agreement_is_the_same_from_both_ends() -> None:
    ours, theirs = entropy("a", size=32), entropy("b", size=32)
    assert agree(load_private_key(ours), public_key(theirs)) == agree(load_private_key(theirs), public_key(ours))


@pytest.mark.parametrize("coordinate", SMALL_ORDER)
def test_keys_of_small_order_are_refused(coordinate: int) -> None:
    key = coordinate.to_bytes(32, "little")
    with pytest.raises(ValueError, match=r"."):
        X25519PrivateKey.from_private_bytes(entropy("any", size=32)).exchange(X25519PublicKey.from_public_bytes(key))
    with pytest.raises(FormatError, match="small order"):
        check_public_key(key)


def test_second_spelling_of_a_key_is_refused() -> None:
    key = public_key(entropy("a", size=32))
    assert check_public_key(key) == key
    spelled_again = key[:31] + bytes([key[31] | 0x80])
    private = load_private_key(entropy("b", size=32))
    assert agree(private, spelled_again) == agree(private, key)
    with pytest.raises(FormatError, match="2\\^255"):
        check_public_key(spelled_again)


@pytest.mark.parametrize("coordinate", [PRIME, PRIME + 1, PRIME + 2, 2**255 - 1])
def test_the_prime_and_what_lies_between_it_and_2_to_255_are_no_keys(coordinate: int) -> None:
    """They are second spellings of 0, 1, 2 and 18: not to be caught as points of small order alone."""
    with pytest.raises(FormatError, match="2\\^255 - 19"):
        check_public_key(coordinate.to_bytes(32, "little"))


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(FormatError, match="32 bytes"):
        check_public_key(key)


def test_every_argument_changes_a_derived_key() -> None:
    keys = {
        derive_key(b"secret", b"salt", "label"),
        derive_key(b"other", b"salt", "label"),
        derive_key(b"secret", b"pepper", "label"),
        derive_key(b"secret", b"salt", "other"),
        derive_key(b"secret", b"salt", "label", b"i"),
        derive_key(b"secret", b"salt", "label", b"i", b"j"),
        derive_key(b"secret", b"salt", "label", b"ij"),
    }
    assert len(keys) == 7


def test_mask_key_is_bound_to_the_session() -> None:
    assert mask_private_key(bytes(31), bytes(32)) != mask_private_key(bytes(31), b"\x01" * 32)
