"""The seal's terms follow from the spec and the joins, and refuse what cannot be promised."""

from __future__ import annotations

from decimal import Decimal

import pytest

from testkit.consortium import Consortium, expect, inputs_for, parameters
from testkit.specs import small_spec
from vdb_coordinator.rounds import Summed
from vdb_shared.bundle.record import encode_transcript
from vdb_shared.errors import PrivacyError, UsageError
from vdb_shared.seal import MAX_JSON_BYTES, NOT_NOISED, seal_terms, transcript_bytes
from vdb_shared.secagg.generators import GENERATORS_DIGEST
from vdb_shared.secagg.parameters import MAX_SEAT, share_threshold


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


def test_more_than_any_bundle_holds_is_refused_before_anybody_spends_a_budget() -> None:
    spec = small_spec(privacy=small_spec().privacy.model_copy(update={"delta": Decimal("1e-9")}))
    most = MAX_JSON_BYTES // transcript_bytes(1, seal_terms(spec, range(5)).layout.lanes)
    seal_terms(spec, range(most))
    with pytest.raises(UsageError, match=f"{most + 1} institutions with .* lanes: the transcript would have"):
        seal_terms(spec, range(most + 1))


@pytest.mark.parametrize(("seats", "lanes"), [(4, 1), (5, 4096), (6, 9000)])
def test_a_transcript_is_no_larger_than_was_reckoned(seats: int, lanes: int) -> None:
    """At the largest seat numbers, whose decimal digits are the longest."""
    sealed = parameters(seats, lanes=lanes)
    story = Consortium(sealed, inputs_for(sealed))
    story.run()
    found = expect(Summed, story.phase).transcript
    rounds = (found.advertised.messages, found.shared.messages, found.masked.messages)
    longest = [{MAX_SEAT - seat: message for seat, message in messages.items()} for messages in rounds]
    size = len(encode_transcript(*longest))
    assert 0.8 * transcript_bytes(seats, lanes) < size <= transcript_bytes(seats, lanes)


def test_delta_must_suit_the_number_of_records() -> None:
    privacy = small_spec().privacy.model_copy(update={"delta": Decimal("0.001")})
    with pytest.raises(PrivacyError, match=r"privacy.delta"):
        seal_terms(small_spec(privacy=privacy), range(5))


def test_a_session_without_noise_says_so() -> None:
    privacy = small_spec().privacy.model_copy(update={"mechanism": "none"})
    terms = seal_terms(small_spec(privacy=privacy), range(5))
    assert (terms.noise_multiplier, terms.scale) == (NOT_NOISED, NOT_NOISED)
