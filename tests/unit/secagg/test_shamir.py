import pytest
import shamirs
from hypothesis import given
from hypothesis import strategies as st

from testkit.consortium import entropy
from vdb_shared.secagg.field import FIELD_ORDER
from vdb_shared.secagg.shamir import combine, lagrange_at_zero, split, split_all, split_entropy

SECRET = st.integers(0, FIELD_ORDER - 1)


@st.composite
def sharings(draw: st.DrawFn) -> tuple[int, int, list[int]]:
    seats = draw(st.lists(st.integers(0, 65534), min_size=2, max_size=9, unique=True))
    return draw(SECRET), draw(st.integers(2, len(seats))), seats


@given(sharings())
def test_independent_implementation_rebuilds_our_shares(sharing: tuple[int, int, list[int]]) -> None:
    secret, threshold, seats = sharing
    shares = split(secret, threshold, seats, entropy(sharing, size=split_entropy(threshold)))
    theirs = [shamirs.share(seat + 1, value, FIELD_ORDER) for seat, value in list(shares.items())[-threshold:]]
    assert shamirs.interpolate(theirs, threshold=threshold) == secret


@given(SECRET, st.integers(2, 8))
def test_we_rebuild_shares_of_the_independent_implementation(secret: int, threshold: int) -> None:
    theirs = shamirs.shares(secret, quantity=9, modulus=FIELD_ORDER, threshold=threshold)
    assert combine({share.index - 1: share.value for share in theirs[-threshold:]}) == secret


@given(sharings())
def test_fewer_than_threshold_shares_do_not_rebuild(sharing: tuple[int, int, list[int]]) -> None:
    secret, threshold, seats = sharing
    shares = split(secret, threshold, seats, entropy(sharing, size=split_entropy(threshold)))
    assert combine(dict(list(shares.items())[: threshold - 1])) != secret


def test_polynomial_is_what_the_entropy_says() -> None:
    fresh = (2).to_bytes(64, "little") + (3).to_bytes(64, "little")
    assert split(5, 3, [0, 1, 2], fresh) == {0: 2 + 3 + 5, 1: 2 * 4 + 3 * 2 + 5, 2: 2 * 9 + 3 * 3 + 5}


def test_independent_implementation_rebuilds_our_shares_for_many_holders() -> None:
    threshold, seats = 40, range(3300)
    shares = split(7, threshold, seats, entropy("many", size=split_entropy(threshold)))
    theirs = [shamirs.share(seat + 1, value, FIELD_ORDER) for seat, value in list(shares.items())[-threshold:]]
    assert shamirs.interpolate(theirs, threshold=threshold) == 7


@pytest.mark.parametrize(("threshold", "holders"), [(3, 5), (260, 520)])
def test_secrets_split_together_have_the_shares_of_secrets_split_alone(threshold: int, holders: int) -> None:
    fresh, size = entropy("together", size=2 * split_entropy(threshold)), split_entropy(threshold)
    together = split_all([5, 8], threshold, range(holders), fresh)
    assert together == [
        split(5, threshold, range(holders), fresh[:size]),
        split(8, threshold, range(holders), fresh[size:]),
    ]


def test_coefficients_are_computed_once_for_a_set_of_holders() -> None:
    assert lagrange_at_zero((0, 4, 7)) is lagrange_at_zero((0, 4, 7))


@pytest.mark.parametrize(
    ("secret", "threshold", "size", "named"),
    [
        (FIELD_ORDER, 2, 64, "field"),
        (-1, 2, 64, "field"),
        (1, 0, 0, "threshold"),
        (1, 4, 192, "threshold"),
        (1, 2, 63, "entropy"),
    ],
)
def test_misuse_is_named(secret: int, threshold: int, size: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        split(secret, threshold, [0, 1, 2], bytes(size))


def test_no_shares_rebuild_nothing() -> None:
    with pytest.raises(ValueError, match="no shares"):
        combine({})
