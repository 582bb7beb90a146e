from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

from testkit.consortium import entropy
from vdb_shared.secagg.masking import expand, masked_digest, pair_mask_key, pair_sign, self_mask_key

KEY = entropy("mask", size=32)
T2 = entropy("T2", size=32)


def test_key_stream_is_counter_mode_from_zero() -> None:
    counters = b"".join(block.to_bytes(16, "big") for block in range(3))
    assert expand(KEY, 48) == Cipher(AES256(KEY), ECB()).encryptor().update(counters)  # noqa: S305 - defines CTR


def test_pair_key_is_the_same_from_both_ends_and_differs_otherwise() -> None:
    agreement = entropy("dh", size=32)
    key = pair_mask_key(agreement, T2, (3, 8))
    assert key == pair_mask_key(agreement, T2, (8, 3))
    others = {
        pair_mask_key(agreement, T2, (3, 9)),
        pair_mask_key(agreement, bytes(32), (3, 8)),
        pair_mask_key(T2, T2, (3, 8)),
        self_mask_key(agreement, T2, 3),
    }
    assert len(others | {key}) == 5


def test_self_key_depends_on_all_it_is_given() -> None:
    keys = {
        self_mask_key(bytes(31), T2, 3),
        self_mask_key(bytes(31), T2, 4),
        self_mask_key(bytes(31), bytes(32), 3),
        self_mask_key(b"\x01" + bytes(30), T2, 3),
    }
    assert len(keys) == 4


def test_pair_signs_cancel() -> None:
    assert pair_sign(2, 5) == 1
    assert pair_sign(5, 2) == -1


def test_digest_depends_on_the_bytes() -> None:
    assert masked_digest(bytes(8)) != masked_digest(bytes(16))
