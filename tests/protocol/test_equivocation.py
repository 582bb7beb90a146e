"""Stories of a coordinator that shows different participants different views."""

from dataclasses import replace

import pytest

from testkit.adversary import equivocator, everyone
from testkit.consortium import Participants, inputs_for, parameters, signer
from vdb_shared import labels
from vdb_shared.errors import ProtocolError


def test_two_views_of_u1_are_noticed_in_the_next_round() -> None:
    coordinator = equivocator(7, 2)
    without_6, without_5 = range(6), (0, 1, 2, 3, 4, 6)
    coordinator.share_keys(everyone((0, 1, 2, 5), without_6) | everyone((3, 4, 6), without_5))
    with pytest.raises(ProtocolError, match="message of seat 3 is for T1") as caught:
        coordinator.mask_inputs({0: (0, 1, 2, 3, 4)})
    assert caught.value.peer == "coordinator"


def test_a_share_sealed_under_another_view_does_not_open() -> None:
    coordinator = equivocator(7, 2)
    coordinator.share_keys(everyone((0, 1, 2, 5, 6), range(7)) | everyone((3, 4), range(6)))
    foreign = coordinator.shared[3].sealed[0]
    headers = {seat: coordinator.shared[seat].header for seat in (0, 1, 2, 5, 6)}
    sealed = {seat: coordinator.shared[seat].sealed[0] for seat in (1, 2, 5)} | {6: foreign}
    with pytest.raises(ProtocolError, match="does not open") as caught:
        coordinator.participants.mask_input(0, headers, sealed)
    assert caught.value.peer == "seat 6"


def test_two_views_of_u2_are_noticed_in_the_next_round() -> None:
    coordinator = equivocator(7, 2)
    coordinator.share_keys(everyone(range(7), range(7)))
    coordinator.mask_inputs(everyone((0, 1, 2, 5), range(6)) | everyone((3, 4, 6), (0, 1, 2, 3, 4, 6)))
    with pytest.raises(ProtocolError, match="message of seat 3 is for T2"):
        coordinator.agree({0: (0, 1, 2, 3, 4)})


def test_two_views_of_u3_leave_neither_with_a_quorum() -> None:
    coordinator = equivocator(7, 2)
    coordinator.share_keys(everyone(range(7), range(7)))
    coordinator.mask_inputs(everyone(range(7), range(7)))
    coordinator.agree(everyone((0, 1, 2, 5), range(6)) | everyone((3, 4, 6), (0, 1, 2, 3, 4, 6)))
    with pytest.raises(ProtocolError, match="no quorum: expected 5 signatures, found 4"):
        coordinator.reveal(0, (0, 1, 2, 5))
    with pytest.raises(ProtocolError, match="message of seat 3: signature"):
        coordinator.reveal(0, (0, 1, 2, 3, 5))
    with pytest.raises(ProtocolError, match="seat 6 signs T3, but is no survivor"):
        coordinator.reveal(0, (0, 1, 2, 5, 6))


def test_quorum_is_counted_on_all_joins_although_u2_is_smaller() -> None:
    """10 joined, so q = 6; counted on the 6 of U2 it would be 4, and two halves of the honest could each reach it."""
    coordinator = equivocator(10)
    six = range(6)
    coordinator.share_keys(everyone(range(10), range(10)))
    coordinator.mask_inputs(everyone(six, six))
    coordinator.agree(everyone(six, six))
    with pytest.raises(ProtocolError, match="no quorum: expected 6 signatures, found 5"):
        coordinator.reveal(0, range(5))
    coordinator.reveal(0, six)


def test_quorum_is_counted_on_all_joins_although_u1_is_smaller() -> None:
    coordinator = equivocator(10)
    six = range(6)
    coordinator.share_keys(everyone(six, six))
    coordinator.mask_inputs(everyone(six, six))
    coordinator.agree(everyone(six, six))
    with pytest.raises(ProtocolError, match="no quorum: expected 6 signatures, found 5"):
        coordinator.reveal(0, range(5))
    coordinator.reveal(0, six)


def test_two_disjoint_halves_cannot_be_summed_under_one_name() -> None:
    """Each half would have its own threshold of 4; the smallest cohort is counted against all 10 who joined."""
    coordinator = equivocator(10)
    for half in (range(5), range(5, 10)):
        with pytest.raises(ProtocolError, match="U1 holds 5 participants, expected at least 6"):
            coordinator.share_keys(everyone(half, half))


def test_a_colluder_that_signs_both_views_gives_neither_more_than_the_other_lacks() -> None:
    coordinator = equivocator(7, 2)
    coordinator.share_keys(everyone(range(7), range(7)))
    coordinator.mask_inputs(everyone(range(7), range(7)))
    first, second = range(6), (0, 1, 2, 3, 4, 6)
    coordinator.agree(everyone((0, 1, 2), first) | everyone((3, 4, 6), second))
    statement = coordinator.agreed[2].body
    signatures = {seat: coordinator.agreed[seat].signature for seat in (0, 1, 2)}
    signatures[3] = signer(0, 3).sign(labels.TYPE_CONSISTENCY, statement)
    with pytest.raises(ProtocolError, match="no quorum: expected 5 signatures, found 4"):
        coordinator.participants.reveal(0, signatures)


def test_messages_of_another_session_are_refused() -> None:
    ours, sealed = equivocator(4), parameters(4)
    elsewhere = Participants(replace(sealed, session=bytes(32)), inputs_for(sealed))
    own = {3: elsewhere.advertise(3)}
    with pytest.raises(ProtocolError, match="message of seat 0 is for session"):
        elsewhere.share_keys(3, {seat: ours.advertised[seat] for seat in range(3)} | own)
