"""Elementary draws have exactly the stated probabilities: every word that a source can give is tried."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vdb_participant.noise.exact_draws import KEY_BYTES, MAX_DIVISOR, ExactDraws, key_stream

EVERY_SHORT = np.arange(2**16, dtype="<u2")
KEY = bytes(range(KEY_BYTES))


def source_of(*answers: bytes) -> Callable[[int], bytes]:
    """Return a source that gives these bytes, and checks that so many were asked for."""
    waiting = list(answers)

    def next_bytes(size: int) -> bytes:
        answer = waiting.pop(0)
        assert len(answer) == size
        return answer

    return next_bytes


@pytest.mark.parametrize("divisor", [*range(1, 66), 127, 255, 256, 257, 1000, 2**15 - 1, 2**15])
def test_one_in_k_succeeds_for_exactly_one_in_k_of_the_words_that_are_kept(divisor: int) -> None:
    redrawn = 2**16 % divisor
    # The words drawn again are answered by failures, so that they add no success.
    again = np.full(redrawn, divisor * (2**16 // divisor) - 1, dtype="<u2")
    answers = [EVERY_SHORT.tobytes(), again.tobytes()] if redrawn else [EVERY_SHORT.tobytes()]
    drawn = ExactDraws(source_of(*answers)).bernoulli_reciprocal(divisor, 2**16)
    assert drawn.dtype == np.bool_
    if divisor > 1:
        assert np.count_nonzero(drawn) * divisor == 2**16 - redrawn


def test_a_word_that_fits_no_ratio_is_drawn_again_until_one_does() -> None:
    shorts = [np.array(words, dtype="<u2").tobytes() for words in ([0, 65535, 21845, 65535], [65535, 0], [21844])]
    drawn = ExactDraws(source_of(*shorts)).bernoulli_reciprocal(3, 4)
    assert drawn.tolist() == [True, True, False, True]


@pytest.mark.parametrize("numerator", [0, 1, 2, 3, 127, 128, 255, 256])
def test_a_dyadic_probability_is_hit_by_exactly_so_many_words(numerator: int) -> None:
    words = np.arange(2**8, dtype="<u4") | np.uint32(0xABCDEF00)
    drawn = ExactDraws(source_of(words.tobytes())).bernoulli_dyadic(np.full(2**8, numerator, dtype=np.uint64), 8)
    assert np.count_nonzero(drawn) == numerator


@pytest.mark.parametrize("bits", [0, 1, 21, 32, 33, 49, 63, 64])
def test_uniform_integers_take_every_bit_of_their_range_and_no_other(bits: int) -> None:
    drawn = ExactDraws(key_stream(KEY)).uniform(bits, 4000)
    assert drawn.dtype == np.uint64
    assert int(np.bitwise_or.reduce(drawn)) == 2**bits - 1
    for bit in range(bits):
        # 2000 is expected, with a deviation of 32.
        assert 1800 < np.count_nonzero((drawn >> np.uint64(bit)) & np.uint64(1)) < 2200


def test_a_numerator_beyond_53_bits_is_compared_exactly() -> None:
    word = np.array([2**60 + 1] * 2, dtype="<u8")
    drawn = ExactDraws(source_of(word.tobytes())).bernoulli_dyadic(
        np.array([2**60 + 1, 2**60 + 2], dtype=np.uint64), 61
    )
    assert drawn.tolist() == [False, True]


def test_the_key_stream_goes_on_and_follows_from_the_key() -> None:
    # From `openssl enc -aes-256-ctr` over 32 zero bytes.
    whole = key_stream(KEY)(32)
    assert whole.hex() == "f29000b62a499fd0a9f39a6add2e7780f05d76ae4ab99fe5a6f69b3148c2363d"
    stream = key_stream(KEY)
    assert stream(5) + stream(0) + stream(27) == whole
    assert key_stream(bytes(KEY_BYTES))(32) != whole


def test_what_cannot_be_drawn_is_refused() -> None:
    draws = ExactDraws(key_stream(KEY))
    for bits in (-1, 65):
        with pytest.raises(ValueError, match="64-bit word"):
            draws.uniform(bits, 1)
    for divisor in (0, MAX_DIVISOR + 1):
        with pytest.raises(ValueError, match="divisor"):
            draws.bernoulli_reciprocal(divisor, 1)
    with pytest.raises(ValueError, match="32 bytes"):
        key_stream(bytes(16))
