"""Each guard is what stops its attack: with the guard in place it is refused, with the guard taken out it succeeds."""

from collections.abc import Collection

import numpy as np
import pytest

from testkit.adversary import Equivocator, equivocator, everyone, held_by, seed_of, unmask_one, unmask_sum
from testkit.consortium import Participants, entropy, expect, inputs_for, parameters
from vdb_participant import rounds as participant_rounds
from vdb_participant.rounds import Masked, SharedKeys, agree, reveal
from vdb_shared.errors import FormatError, ProtocolError
from vdb_shared.secagg import transcript
from vdb_shared.secagg.commitments import commit
from vdb_shared.secagg.encoding import encode_lanes
from vdb_shared.secagg.messages import ConsistencyStatement, MaskedInputHeader, Signed, UnmaskingShares
from vdb_shared.secagg.parameters import Parameters, Seat


def up_to_masked(story: Equivocator) -> None:
    seats = range(len(story.parameters.roster))
    story.share_keys(everyone(seats, seats))
    story.mask_inputs(everyone(seats, seats))


def shares_in(message: Signed) -> UnmaskingShares:
    return UnmaskingShares.decode(message.body)


# A coordinator that plays all others.


def puppets_around(victim: Seat) -> tuple[Participants, Participants]:
    """Return the victim, who has the sealed roster, and a consortium of the coordinator's with statement keys of its own."""
    sealed = parameters(5)
    own_keys = parameters(5, seed="puppets").roster
    roster = {seat: sealed.roster[seat] if seat == victim else own_keys[seat] for seat in sealed.roster}
    theirs = Parameters(sealed.session, roster, sealed.collusion, sealed.smallest_cohort, sealed.lanes)
    return Participants(sealed, inputs_for(sealed)), Participants(theirs, inputs_for(sealed), seed="puppets")


def test_keys_the_coordinator_made_up_are_refused() -> None:
    victim, puppets = puppets_around(0)
    messages = {0: victim.advertise(0)} | {seat: puppets.advertise(seat) for seat in range(1, 5)}
    with pytest.raises(ProtocolError, match="message of seat 1: signature") as caught:
        victim.share_keys(0, messages)
    assert caught.value.peer == "coordinator"


def test_without_signatures_a_coordinator_that_plays_all_others_reads_the_victims_lanes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transcript, "_verify", lambda *_: None)
    victim, puppets = puppets_around(0)
    others = range(1, 5)
    advertised = {0: victim.advertise(0)} | {seat: puppets.advertise(seat) for seat in others}
    shared = {0: victim.share_keys(0, advertised)} | {seat: puppets.share_keys(seat, advertised) for seat in others}
    headers = {seat: sent.header for seat, sent in shared.items()}
    masked = victim.mask_input(0, headers, {seat: shared[seat].sealed[0] for seat in others}).masked
    story = Equivocator(victim.parameters, victim.inputs)
    story.advertised, story.shared = advertised, shared
    channels = {seat: bytes(expect(SharedKeys, puppets.phases[seat]).secrets.channel_private) for seat in others}
    found = held_by(story, 0, channels, range(5))
    mask_seed = seed_of({seat: pair.mask_key for seat, pair in found.items()})
    self_seed = seed_of({seat: pair.self_mask for seat, pair in found.items()})
    assert mask_seed is not None
    assert self_seed is not None
    lanes = unmask_one(masked, 0, (mask_seed, self_seed), story.rounds(range(5)), victim.parameters.session)
    assert lanes.tolist() == victim.inputs[0].tolist()


# Both kinds of share of one participant.


def test_both_kinds_of_share_in_one_answer_are_refused() -> None:
    with pytest.raises(FormatError, match="only one may ever be revealed"):
        UnmaskingShares(bytes(32), 0, {1: 1}, {1: 1})


def test_participants_that_answered_two_views_would_give_a_survivor_away() -> None:
    """Why a participant signs one T3 only and records it before it sends: the pure rounds would do it twice."""
    story = equivocator(5)
    up_to_masked(story)
    victim, all_seats, without_it = 0, range(5), range(1, 5)
    answers: list[UnmaskingShares] = []
    for view in (all_seats, without_it):
        headers = {seat: story.masked[seat].header for seat in view}
        again = {seat: agree(expect(Masked, story.participants.phases[seat]), headers) for seat in without_it}
        signatures = {seat: signed.signature for seat, (_, signed) in again.items()}
        answers += [shares_in(reveal(phase, signatures)[1]) for phase, _ in again.values()]
    first, second = answers[:4], answers[4:]
    mask_seed = seed_of({answer.seat: answer.mask_key[victim] for answer in second})
    self_seed = seed_of({answer.seat: answer.self_mask[victim] for answer in first})
    assert mask_seed is not None
    assert self_seed is not None
    masked = story.masked[victim].masked
    lanes = unmask_one(masked, victim, (mask_seed, self_seed), story.rounds(all_seats), story.parameters.session)
    assert lanes.tolist() == story.inputs[victim].tolist()


# Views of U3 that differ.

FEW = (0, 1, 9)
MANY = tuple(range(2, 9))
"""Seat 9 colludes. Each honest participant is shown a view that lacks four of MANY but never itself, and so that each of MANY
is missing from the views of five."""


def views_that_add_up_to_few() -> dict[Seat, Collection[Seat]]:
    missing = {MANY[k]: {MANY[(k + step) % 7] for step in range(1, 5)} for k in range(7)}
    missing |= {0: set(MANY[:4]), 1: set(MANY[3:])}
    return {seat: sorted(set(range(10)) - missing[seat]) for seat in range(9)}


def test_views_of_u3_that_differ_reach_no_quorum() -> None:
    story = equivocator(10)
    assert story.parameters.smallest_cohort == 6
    up_to_masked(story)
    views = views_that_add_up_to_few()
    story.agree(views)
    for seat in views:
        with pytest.raises(ProtocolError, match="no quorum: expected 6 signatures, found 1"):
            story.reveal(seat, [seat])
        with pytest.raises(ProtocolError, match="signature"):
            story.reveal(seat, views.keys() & set(views[seat]))


def test_without_the_consistency_round_views_of_six_add_up_to_a_sum_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every view holds n_min = 6 or more, yet b of three and k of seven reach the threshold, and one of the three colludes."""
    monkeypatch.setattr(Parameters, "quorum", property(lambda _: 1))
    story = equivocator(10)
    up_to_masked(story)
    views = views_that_add_up_to_few()
    story.agree(views)
    answers = [shares_in(story.reveal(seat, [seat])) for seat in views]
    held = expect(Masked, story.participants.phases[9]).held
    answers.append(
        UnmaskingShares(
            bytes(32),
            9,
            {seat: held[seat].self_mask for seat in FEW},
            {seat: held[seat].mask_key for seat in MANY},
        )
    )
    found = unmask_sum(story, story.transcript(range(10), FEW), answers)
    assert (found - story.inputs[9]).tolist() == (story.inputs[0] + story.inputs[1]).tolist()


# A cohort that is too small.


def test_a_cohort_below_the_smallest_is_refused_in_every_round() -> None:
    story = equivocator(10)
    small, everybody = range(5), range(10)
    with pytest.raises(ProtocolError, match="U1 holds 5 participants, expected at least 6"):
        story.share_keys({0: small})
    story.share_keys(everyone(everybody, everybody))
    with pytest.raises(ProtocolError, match="U2 holds 5 participants, expected at least 6"):
        story.mask_inputs({0: small})
    story.mask_inputs(everyone(everybody, everybody))
    with pytest.raises(ProtocolError, match="U3 holds 5 participants, expected at least 6"):
        story.agree({0: small})


def test_without_the_smallest_cohort_two_colluders_are_enough_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(participant_rounds, "_check_set", lambda *_: None)
    monkeypatch.setattr(Parameters, "quorum", property(lambda _: 1))
    story = equivocator(10, 2)
    few = (0, 8, 9)
    story.share_keys(everyone(few, few))
    story.mask_inputs(everyone(few, few))
    story.agree(everyone(few, few))
    answers = [shares_in(story.reveal(seat, few)) for seat in few]
    found = unmask_sum(story, story.transcript(few, few), answers)
    assert (found - story.inputs[8] - story.inputs[9]).tolist() == story.inputs[0].tolist()


# Commitments without blinders.

RANGE = range(-60, 61)


def guess(commitments: bytes, others: list[int]) -> list[int]:
    """Return the values of lane 0 that a commitment would fit if it had no blinder and the other lanes were known."""
    found = []
    for value in RANGE:
        lanes = encode_lanes(np.array([value, *others], dtype=np.int64))
        if commit(lanes, [0]) == commitments:
            found.append(value)
    return found


def commitments_of_a_small_count() -> tuple[bytes, list[int]]:
    sealed = parameters(4, lanes=3)
    inputs = inputs_for(sealed) | {0: np.array([37, 2, -5], dtype=np.int64)}
    story = Equivocator(sealed, inputs)
    up_to_masked(story)
    return MaskedInputHeader.decode(story.masked[0].header.body).commitments, [2, -5]


def test_commitments_fit_no_guess() -> None:
    assert guess(*commitments_of_a_small_count()) == []


def test_without_blinders_a_small_lane_is_found_by_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(participant_rounds, "reduce_uniform", lambda data: [0] * (len(data) // 64))
    assert guess(*commitments_of_a_small_count()) == [37]


# A second statement.


def test_a_statement_is_signed_over_all_three_sets() -> None:
    """Two views that differ in one set only are two statements, so no signature serves both."""
    t3 = entropy("T3", size=32)
    whole, less = frozenset(range(6)), frozenset(range(5))
    statements = {
        ConsistencyStatement(t3, u1, u2, u3).encode()
        for u1, u2, u3 in ((whole, whole, whole), (whole, whole, less), (whole, less, less), (less, less, less))
    }
    assert len(statements) == 4
