"""Values of polynomials by either method are those of the plain formula."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.consortium import entropy
from vdb_shared.secagg.field import FIELD_ORDER, reduce_uniform
from vdb_shared.secagg.polynomials import evaluate

LARGEST = FIELD_ORDER - 1
LARGEST_POINT = 2**16 - 1


def plain(coefficients: Sequence[int], point: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * point + coefficient) % FIELD_ORDER
    return value


def uniform(name: str, count: int) -> list[int]:
    return reduce_uniform(entropy(name, count, size=64 * count))


@given(
    st.lists(st.integers(0, LARGEST_POINT), min_size=1, max_size=9, unique=True),
    st.lists(st.one_of(st.integers(0, LARGEST), st.just(LARGEST)), min_size=1, max_size=40),
)
def test_few_values_are_those_of_the_formula(points: list[int], coefficients: list[int]) -> None:
    assert evaluate([coefficients], points) == [[plain(coefficients, point) for point in points]]


# Enough points and coefficients for the matrix product; lengths around those at which a polynomial is cut.
@pytest.mark.parametrize(
    ("points", "length"), [(1024, 128), (1020, 129), (520, 256), (511, 257), (44_000, 3), (2, 65_536), (401, 331)]
)
def test_many_values_are_those_of_the_formula(points: int, length: int) -> None:
    polynomials = [uniform("first", length), uniform("second", length)]
    places = list(range(1, points + 1))
    assert evaluate(polynomials, places) == [[plain(one, place) for place in places] for one in polynomials]


@pytest.mark.parametrize("length", [128, 331, 65_536])
def test_the_largest_numbers_stay_exact(length: int) -> None:
    places = list(range(LARGEST_POINT - 2**17 // length, LARGEST_POINT + 1))
    coefficients = [LARGEST] * length
    assert evaluate([coefficients], places) == [[plain(coefficients, place) for place in places]]


def test_other_points_have_other_values() -> None:
    coefficients = uniform("one", 256)
    for first in (1, 2, 60_000):
        places = list(range(first, first + 520))
        assert evaluate([coefficients], places) == [[plain(coefficients, place) for place in places]]
