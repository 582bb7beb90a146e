from decimal import Decimal

import pytest

from testkit.consortium import parameters, signer
from vdb_shared.secagg.parameters import Parameters, share_threshold, smallest_cohort


@pytest.mark.parametrize(
    ("advertised", "collusion", "threshold"),
    [(3, 1, 3), (4, 1, 3), (5, 1, 4), (7, 2, 5), (10, 3, 7), (20, 6, 14), (100, 33, 67), (1000, 100, 551)],
)
def test_threshold_is_the_one_the_protocol_tabulates(advertised: int, collusion: int, threshold: int) -> None:
    assert share_threshold(advertised, collusion) == threshold


@pytest.mark.parametrize(("n", "c"), [(n, c) for n in range(3, 40) for c in range(1, n - 1)])
def test_two_quorums_share_more_than_the_colluders(n: int, c: int) -> None:
    assert 2 * share_threshold(n, c) - n > c


@pytest.mark.parametrize(
    ("joined", "collusion", "dropout", "expected"),
    [
        (10, 1, "0", 10),
        (10, 1, "0.1", 9),
        (10, 1, "0.15", 9),
        (10, 3, "0.49", 7),
        (3, 1, "0.4", 3),
        (10, 1, "0.0000000000000000000000000000000001", 10),
        (25, 1, "0.44", 14),  # in floating point 0.56 · 25 is a little more than 14
        (50, 1, "0.42", 29),
    ],
)
def test_smallest_cohort_takes_the_strictest_bound(joined: int, collusion: int, dropout: str, expected: int) -> None:
    assert smallest_cohort(joined, collusion, Decimal(dropout)) == expected


def test_collusion_floor_counts_when_it_is_the_largest() -> None:
    assert smallest_cohort(4, 3, Decimal("0.4")) == 5


def _built(**changes: object) -> Parameters:
    good = parameters(5)
    values: dict[str, object] = {
        "session": good.session,
        "roster": good.roster,
        "collusion": 1,
        "smallest_cohort": 4,
        "lanes": 5,
    }
    return Parameters(**(values | changes))  # type: ignore[arg-type]  # any field, also a wrong one, is meant


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"session": b"short"}, "session"),
        ({"collusion": 0}, "collusion"),
        ({"smallest_cohort": 3}, "smallest_cohort"),
        ({"smallest_cohort": 6}, "smallest_cohort"),
        ({"smallest_cohort": 5, "left_out": frozenset({1})}, "smallest_cohort"),
        ({"lanes": 0}, "lanes"),
        ({"roster": {seat: signer(0, 0).public_key for seat in range(5)}}, "roster"),
        ({"roster": {seat: signer(0, seat).public_key for seat in (0, 1, 2, 3, 65535)}}, "roster"),
    ],
)
def test_impossible_parameters_are_refused_by_name(changes: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        _built(**changes)


def test_two_institutions_are_too_few_for_each_other() -> None:
    """With one of them colluding, the sum of two is the other one's input: c + 2 is the least that any seal may say."""
    roster = {seat: signer(0, seat).public_key for seat in range(2)}
    with pytest.raises(ValueError, match="smallest_cohort: 2 is not between 3 and the 2 who may take part"):
        _built(roster=roster, smallest_cohort=2)
