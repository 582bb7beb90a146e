"""The seal's terms follow from the spec and the joins, and refuse what cannot be promised."""

from __future__ import annotations

from decimal import Decimal

import pytest

from testkit.specs import small_spec
from vdb_shared.errors import PrivacyError
from vdb_shared.seal import NOT_NOISED, seal_terms
from vdb_shared.secagg.generators import GENERATORS_DIGEST
from vdb_shared.secagg.parameters import share_threshold


def test_terms_do_not_depend_on_the_order_of_joins() -> None:
    assert seal_terms(small_spec(), [4, 0, 2, 9, 7]) == seal_terms(small_spec(), [0, 2, 4, 7, 9])


def test_positions_follow_the_seats() -> None:
    terms = seal_terms(small_spec(), [4, 0, 2, 9, 7])
    assert [terms.position(seat) for seat in (0, 2, 4, 7, 9)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("joined", range(4, 20))
def test_no_two_disjoint_cohorts_can_finish(joined: int) -> None:
    terms = seal_terms(small_spec(), range(joined))
    assert 2 * terms.smallest_cohort > joined + 1
    assert terms.smallest_cohort >= share_threshold(joined, 1)


def test_more_joins_allow_a_finer_scale() -> None:
    few, many = seal_terms(small_spec(), range(4)), seal_terms(small_spec(), range(12))
    assert Decimal(few.scale) < Decimal(many.scale)
    assert few.noise_multiplier == many.noise_multiplier


def test_the_generators_of_the_commitments_are_fixed_with_the_terms() -> None:
    assert seal_terms(small_spec(), range(5)).generators == GENERATORS_DIGEST


def test_too_few_joins_are_refused() -> None:
    with pytest.raises(PrivacyError, match=r"cohort.minimum: 4 institutions must join, only 3 did"):
        seal_terms(small_spec(), range(3))


def test_delta_must_suit_the_number_of_records() -> None:
    privacy = small_spec().privacy.model_copy(update={"delta": Decimal("0.001")})
    with pytest.raises(PrivacyError, match=r"privacy.delta"):
        seal_terms(small_spec(privacy=privacy), range(5))


def test_a_session_without_noise_says_so() -> None:
    privacy = small_spec().privacy.model_copy(update={"mechanism": "none"})
    terms = seal_terms(small_spec(privacy=privacy), range(5))
    assert (terms.noise_multiplier, terms.scale) == (NOT_NOISED, NOT_NOISED)
