import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

from testkit.consortium import entropy
from vdb_shared import labels
from vdb_shared.secagg.masking import add_mask, expand, masked_digest, pair_mask_key, pair_sign, self_mask_key

KEY = entropy("mask", size=32)
T2 = entropy("T2", size=32)


def test_mask_is_the_counter_mode_key_stream() -> None:
    counters = b"".join(block.to_bytes(16, "big") for block in range(3))
    stream = Cipher(AES256(KEY), ECB()).encryptor().update(counters)  # noqa: S305 - the definition of CTR
    vector = np.zeros(5, dtype=np.uint64)
    add_mask(vector, KEY, 1)
    assert vector.tolist() == [int.from_bytes(stream[start : start + 8], "little") for start in range(0, 40, 8)]
    assert expand(KEY, 48) == stream


@pytest.mark.parametrize("lanes", [1, 2, 2**15, 2**15 + 1, 2**16 + 3])
def test_long_vectors_continue_the_stream_and_masks_come_off(lanes: int) -> None:
    vector = np.arange(lanes, dtype=np.uint64)
    add_mask(vector, KEY, 1)
    stream = np.frombuffer(expand(KEY, 8 * lanes), dtype="<u8")
    assert np.array_equal(vector, np.arange(lanes, dtype=np.uint64) + stream)
    add_mask(vector, KEY, -1)
    assert np.array_equal(vector, np.arange(lanes, dtype=np.uint64))


def test_pair_key_is_the_same_from_both_ends_and_differs_otherwise() -> None:
    agreement = entropy("dh", size=32)
    key = pair_mask_key(agreement, T2, labels.VECTOR_LANES, (3, 8))
    assert key == pair_mask_key(agreement, T2, labels.VECTOR_LANES, (8, 3))
    others = {
        pair_mask_key(agreement, T2, labels.VECTOR_BLINDERS, (3, 8)),
        pair_mask_key(agreement, T2, labels.VECTOR_LANES, (3, 9)),
        pair_mask_key(agreement, bytes(32), labels.VECTOR_LANES, (3, 8)),
        pair_mask_key(T2, T2, labels.VECTOR_LANES, (3, 8)),
        self_mask_key(agreement, T2, labels.VECTOR_LANES, 3),
    }
    assert len(others | {key}) == 6


def test_self_key_depends_on_all_it_is_given() -> None:
    seed = bytes(31)
    keys = {
        self_mask_key(seed, T2, labels.VECTOR_LANES, 3),
        self_mask_key(seed, T2, labels.VECTOR_LANES, 4),
        self_mask_key(seed, T2, labels.VECTOR_BLINDERS, 3),
        self_mask_key(seed, bytes(32), labels.VECTOR_LANES, 3),
        self_mask_key(b"\x01" + bytes(30), T2, labels.VECTOR_LANES, 3),
    }
    assert len(keys) == 5


def test_pair_signs_cancel() -> None:
    assert pair_sign(2, 5) == 1
    assert pair_sign(5, 2) == -1


def test_digest_depends_on_the_bytes() -> None:
    assert masked_digest(bytes(8)) != masked_digest(bytes(16))
