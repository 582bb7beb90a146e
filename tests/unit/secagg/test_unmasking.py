from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.consortium import entropy
from vdb_shared.secagg.field import FIELD_ORDER
from vdb_shared.secagg.shamir import combine, split, split_entropy
from vdb_shared.secagg.unmasking import rebuild

SEED = entropy("seed", size=31)


def shares_of(seed: bytes, threshold: int, holders: int) -> dict[int, int]:
    fresh = entropy("coefficients", size=split_entropy(threshold))
    return split(int.from_bytes(seed, "little"), threshold, range(holders), fresh)


def unrelated(holder: int) -> int:
    return int.from_bytes(entropy("wrong", holder, size=64), "little") % FIELD_ORDER


@given(st.integers(2, 7), st.integers(0, 3), st.data())
def test_wrong_shares_are_found_while_enough_right_ones_remain(threshold: int, spare: int, data: st.DataObject) -> None:
    shares = shares_of(SEED, threshold, threshold + spare)
    wrong = data.draw(st.lists(st.sampled_from(sorted(shares)), unique=True, max_size=spare))
    for seat in wrong:
        shares[seat] = unrelated(seat)
    assert rebuild(shares, threshold, lambda seed: seed == SEED) == (SEED, tuple(sorted(wrong)))


@pytest.mark.parametrize("spare", [0, 1, 2])
def test_one_wrong_share_too_many_rebuilds_nothing(spare: int) -> None:
    shares = shares_of(SEED, 4, 4 + spare)
    for seat in range(spare + 1):
        shares[seat] = unrelated(seat)
    assert rebuild(shares, 4, lambda seed: seed == SEED) is None


def test_colluding_holders_can_have_another_left_out_but_cannot_change_the_seed() -> None:
    shares = shares_of(SEED, 4, 5)
    shares[0] += 1
    shares[1] += 1
    assert rebuild(shares, 4, lambda seed: seed == SEED) == (SEED, (2,))


def test_fewer_shares_than_the_threshold_rebuild_nothing() -> None:
    """Even if what they come to would pass for a seed."""
    shares = dict.fromkeys(range(3), 5)
    assert rebuild(shares, 3, lambda _: True) == ((5).to_bytes(31, "little"), ())
    assert rebuild(shares, 4, lambda _: True) is None


def test_leaving_out_holders_equals_interpolating_without_them() -> None:
    tried: list[bytes] = []

    def remember(seed: bytes) -> bool:
        tried.append(seed)
        return False

    shares = {seat: seat**5 % FIELD_ORDER for seat in range(6)}
    assert rebuild(shares, 4, remember) is None
    expected = [
        combine({seat: value for seat, value in shares.items() if seat not in left_out})
        for size in range(3)
        for left_out in combinations(range(6), size)
    ]
    assert tried == [value.to_bytes(31, "little") for value in expected if value < 2**248]


def test_as_many_sets_are_tried_as_the_protocol_says() -> None:
    shares = dict.fromkeys(range(40), 1)
    trials = 0

    def count(_: bytes) -> bool:
        nonlocal trials
        trials += 1
        return False

    assert rebuild(shares, 10, count) is None
    assert trials == 10_000


def test_who_was_wrong_for_one_dealer_is_suspected_first_for_the_next() -> None:
    """Three wrong of forty are beyond what is searched, but not beyond what is known."""
    shares, wrong = shares_of(SEED, 30, 40), (37, 38, 39)
    for seat in wrong:
        shares[seat] = unrelated(seat)
    assert rebuild(shares, 30, lambda seed: seed == SEED) is None
    assert rebuild(shares, 30, lambda seed: seed == SEED, wrong) == (SEED, wrong)


def test_nobody_is_left_out_for_an_earlier_fault() -> None:
    shares = shares_of(SEED, 4, 7)
    assert rebuild(shares, 4, lambda seed: seed == SEED, (2,)) == (SEED, ())
    shares[3] += 1
    assert rebuild(shares, 4, lambda seed: seed == SEED, (2,)) == (SEED, (3,))
    assert rebuild(shares, 4, lambda seed: seed == SEED, (0, 1, 2, 4)) == (SEED, (3,))
