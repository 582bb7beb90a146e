"""Stories of pairs that do not open, of complaints that are not what they seem, and of what a complaint must not reveal."""

from collections.abc import Mapping

import pytest

from testkit.adversary import Equivocator, equivocator, everyone, held_by, seed_of, unmask_one
from testkit.consortium import STAGES, Consortium, Network, consortium, expect, inputs_for, parameters
from vdb_coordinator.rounds import (
    CollectingKeys,
    CollectingMaskedInputs,
    Complained,
    Failed,
    InputMasked,
    Message,
    Summed,
    receive,
)
from vdb_participant.rounds import SharedKeys
from vdb_shared.errors import ProtocolError, UnusableShareError
from vdb_shared.secagg.messages import Complaint, Signed
from vdb_shared.secagg.parameters import Seat, share_threshold
from vdb_shared.secagg.transcript import Stage

N = 7
DEALER, COMPLAINER = 2, 5


def with_garbage(garbage: Mapping[Seat, list[Seat]], joined: int = N, collusion: int = 1) -> Consortium:
    sealed = parameters(joined, collusion=collusion)
    return Consortium(sealed, inputs_for(sealed), garbage=garbage)


def awaiting_inputs(garbage: Mapping[Seat, list[Seat]] | None = None) -> Consortium:
    story = with_garbage(garbage or {DEALER: [COMPLAINER]})
    story.run_until(Stage.MASKED_INPUT)
    return story


def complaint(story: Consortium, seat: Seat = COMPLAINER, dealer: Seat = DEALER) -> Complained:
    return Complained(seat, story.participants.complain(seat, dealer))


# Dealers that seal garbage.


def test_the_rounds_restart_without_the_dealer_and_sum_all_others() -> None:
    story = with_garbage({DEALER: [COMPLAINER]})
    end = story.run()
    assert isinstance(end, Summed)
    assert end.survivors == frozenset(range(N)) - {DEALER}
    assert end.totals.tolist() == story.total(end.survivors).tolist()
    assert end.transcript.parameters.left_out == {DEALER}
    assert len(story.restarts) == 1


def test_garbage_for_everybody_costs_one_restart_like_garbage_for_one() -> None:
    story = with_garbage({DEALER: list(range(N))})
    end = story.run()
    assert isinstance(end, Summed)
    assert len(story.restarts) == 1
    assert end.totals.tolist() == story.total(end.survivors).tolist()


def test_each_dealer_of_garbage_costs_one_restart_until_too_few_are_left() -> None:
    story = with_garbage({0: [6], 1: [5], 2: [4]})
    end = story.run()
    assert [restart.dealer for restart in story.restarts] == [2, 1]
    assert isinstance(end, Failed)
    assert end.stage == Stage.MASKED_INPUT
    assert "without seat 0 only 4 of at least 5 participants are left" in end.reason


def test_two_dealers_of_garbage_are_left_out_one_after_the_other() -> None:
    story = with_garbage({0: [6], 1: [5]})
    end = story.run()
    assert isinstance(end, Summed)
    assert story.parameters.left_out == {0, 1}
    assert end.totals.tolist() == story.total(range(2, N)).tolist()


def test_nothing_of_the_attempt_before_is_used_again() -> None:
    story = with_garbage({DEALER: [COMPLAINER]})
    story.run()
    first: dict[Seat, bytes] = {}
    for message in story.sent:
        if isinstance(message, InputMasked):
            assert first.get(message.seat) != message.masked
            first[message.seat] = message.masked
    before, after = story.restarts[0].advertised, story.at(Summed).transcript.advertised.messages
    for seat in after:
        assert before[seat].body != after[seat].body


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("n", "c"), [(5, 1), (7, 2), (10, 3)])
def test_after_a_restart_as_many_may_vanish_as_the_smallest_cohort_spares(n: int, c: int, stage: Stage) -> None:
    """The left-out dealer counts as one of the n − n_min; rounds 3 and 4 need q on all n."""
    spared = n - share_threshold(n, c) - 1
    leaving = dict.fromkeys(range(1, 1 + spared), stage)
    end = restarted_and_left(n, c, leaving)
    assert isinstance(end, Summed)
    one_more = restarted_and_left(n, c, dict.fromkeys(range(1, 2 + spared), stage))
    if stage == Stage.UNMASKING and share_threshold(n - 1, c) < share_threshold(n, c):
        assert isinstance(one_more, Summed)  # t is counted on the smaller U1, and the quorum was reached before
    else:
        assert isinstance(one_more, Failed)
        assert one_more.stage == stage


def restarted_and_left(n: int, c: int, dropouts: Mapping[Seat, Stage]) -> object:
    story = with_garbage({0: [n - 1]}, n, c)
    story.run_until(Stage.MASKED_INPUT)
    while not story.restarts:
        story.mask_inputs()
    return story.run(dropouts)


# Complaints that restart nothing.


def test_a_pair_altered_in_transit_costs_the_dealer_its_place_and_nobody_its_privacy() -> None:
    """Nobody can tell who was at fault, so it works like a lost message: a coordinator could have lost the dealer's as well."""

    class Altering(Network):
        def sealed(self, seat: Seat, sealed: Mapping[Seat, bytes]) -> Mapping[Seat, bytes]:
            return {**sealed, DEALER: bytes(80)} if seat == COMPLAINER and DEALER in sealed else sealed

    story = consortium(N)
    story.network = Altering()
    end = story.run()
    assert isinstance(end, Summed)
    assert end.survivors == frozenset(range(N)) - {DEALER}
    assert story.restarts[0].dealer == DEALER
    assert story.restarts[0].complainer == COMPLAINER


def test_a_participant_has_one_complaint_in_a_session_and_then_drops_out() -> None:
    """So one liar costs the consortium one honest participant, not all of them."""

    class AlteringAll(Network):
        def sealed(self, seat: Seat, sealed: Mapping[Seat, bytes]) -> Mapping[Seat, bytes]:
            return {**sealed, min(sealed): bytes(80)} if seat == COMPLAINER else sealed

    story = consortium(N)
    story.network = AlteringAll()
    story.run_until(Stage.MASKED_INPUT)
    story.mask_inputs()
    story.run_until(Stage.MASKED_INPUT)
    with pytest.raises(
        ProtocolError, match="seat 5 complains a second time; only its first complaint counts"
    ) as caught:
        receive(story.phase, complaint(story, dealer=1))
    assert caught.value.peer == "seat 5"
    end = story.run()
    assert isinstance(end, Summed)
    assert len(story.restarts) == 1
    assert end.survivors == frozenset(range(N)) - {0, COMPLAINER}
    assert end.totals.tolist() == story.total(end.survivors).tolist()


@pytest.mark.parametrize("holder", [0, 3, 6])
@pytest.mark.parametrize("dealer", [1, 2, 5])
def test_an_altered_pair_names_its_dealer_to_the_participant(dealer: Seat, holder: Seat) -> None:
    story = equivocator(N)
    story.share_keys(everyone(range(N), range(N)))
    pairs = story.sealed_for(holder, range(N))
    for place in (0, 40, 79):
        bit = bytes([pairs[dealer][place] ^ 1])
        altered = pairs | {dealer: pairs[dealer][:place] + bit + pairs[dealer][place + 1 :]}
        with pytest.raises(UnusableShareError, match="the rounds must restart without it") as caught:
            story.participants.prepare_input(holder, story.headers(range(N)), altered)
        assert caught.value.peer == f"seat {dealer}"
        assert caught.value.dealer == dealer


def test_a_complaint_after_ones_masked_input_is_refused() -> None:
    story = awaiting_inputs({DEALER: [6]})
    late = complaint(story)
    opened = story.at(CollectingMaskedInputs)
    sent = story.participants.mask_input(COMPLAINER, opened.shared.messages, opened.sealed_for(COMPLAINER))
    phase = receive(opened, InputMasked(COMPLAINER, sent.header, sent.masked))
    with pytest.raises(ProtocolError, match="seat 5: complains after its masked input"):
        receive(phase, late)


@pytest.mark.parametrize("stage", [Stage.ADVERTISE_KEYS, Stage.SHARE_KEYS, Stage.CONSISTENCY, Stage.UNMASKING, None])
def test_a_complaint_outside_round_2_is_refused(stage: Stage | None) -> None:
    told = complaint(awaiting_inputs())
    story = consortium(N)
    story.run_until(stage)
    with pytest.raises(ProtocolError, match="seat 5: complains when no masked inputs are awaited"):
        receive(story.phase, told)


def test_only_who_shared_keys_may_complain_and_be_complained_about() -> None:
    story = with_garbage({DEALER: [COMPLAINER]})
    story.run_until(Stage.MASKED_INPUT, {0: Stage.SHARE_KEYS})
    with pytest.raises(ProtocolError, match="seat 0: is not among those who shared keys"):
        receive(story.phase, Complained(0, complaint(story).signed))
    with pytest.raises(ProtocolError, match="seat 5: complains about seat 0, which shared no keys"):
        receive(story.phase, complaint(story, dealer=0))
    with pytest.raises(ProtocolError, match="seat 9: is not among those who shared keys"):
        receive(story.phase, Complained(9, complaint(story).signed))


def test_nobody_complains_about_itself() -> None:
    story = awaiting_inputs()
    with pytest.raises(ProtocolError, match="seat 2: seat 2 complains about itself"):
        receive(story.phase, complaint(story, DEALER, DEALER))


def test_a_forged_complaint_and_that_of_another_seat_or_attempt_are_refused() -> None:
    story = awaiting_inputs()
    told = complaint(story)
    with pytest.raises(ProtocolError, match="seat 4: message of seat 4: signature"):
        receive(story.phase, Complained(4, told.signed))
    with pytest.raises(ProtocolError, match="seat 5: message of seat 5: signature"):
        receive(story.phase, Complained(COMPLAINER, Signed(told.signed.body, bytes(64))))
    restarted = receive(story.phase, told)
    assert isinstance(restarted, CollectingKeys)
    with pytest.raises(ProtocolError, match="seat 5: complains when no masked inputs are awaited"):
        receive(restarted, told)
    later = with_garbage({3: [4]})
    later.run_until(Stage.MASKED_INPUT)
    later.mask_inputs()
    later.run_until(Stage.MASKED_INPUT)
    with pytest.raises(ProtocolError, match="message of seat 5 is for T1"):
        receive(later.phase, told)


def test_a_second_complaint_in_an_attempt_comes_too_late() -> None:
    story = awaiting_inputs({DEALER: [COMPLAINER], 3: [4]})
    first, second = complaint(story), complaint(story, 4, 3)
    restarted = receive(story.phase, first)
    assert isinstance(restarted, CollectingKeys)
    assert restarted.parameters.left_out == {DEALER}
    with pytest.raises(ProtocolError, match="complains when no masked inputs are awaited"):
        receive(restarted, second)


@pytest.mark.parametrize("colluders", [[6], [5, 6]])
def test_colluders_that_complain_for_no_reason_have_one_honest_participant_left_out_each(colluders: list[Seat]) -> None:
    story = consortium(N, collusion=2)
    for honest, colluder in enumerate(colluders):
        story.run_until(Stage.MASKED_INPUT)
        if len(story.parameters.roster) - honest - 1 < story.parameters.smallest_cohort:
            break
        story.complain(colluder, honest)
    end = story.run()
    assert isinstance(end, Summed)
    assert end.totals.tolist() == story.total(range(len(colluders), N)).tolist()


def test_complaints_never_bring_a_cohort_below_the_smallest() -> None:
    story = consortium(N)
    for honest, colluder in ((0, 6), (1, 5)):
        story.run_until(Stage.MASKED_INPUT)
        story.complain(colluder, honest)
    story.run_until(Stage.MASKED_INPUT)
    story.phase = receive(story.phase, complaint(story, 4, 2))
    assert isinstance(story.phase, Failed)
    assert "only 4 of at least 5 participants are left" in story.phase.reason


def test_who_complained_in_vain_drops_out_and_the_rounds_go_on() -> None:
    class Losing(Network):
        def up(self, message: Message) -> Message | None:
            return None if isinstance(message, Complained) else message

    story = with_garbage({DEALER: [COMPLAINER]})
    story.network = Losing()
    end = story.run()
    assert isinstance(end, Summed)
    assert end.dropped == {COMPLAINER: Stage.MASKED_INPUT}
    assert end.totals.tolist() == story.total(set(range(N)) - {COMPLAINER}).tolist()


# What complaints reveal.


def provoked(story: Equivocator, victim: Seat) -> dict[Seat, Signed]:
    """Return the complaints of all but the victim, for each of whom the coordinator altered a pair."""
    seats = range(len(story.parameters.roster))
    story.share_keys(everyone(seats, seats))
    story.mask_inputs({victim: seats})
    complaints = {}
    for seat in set(seats) - {victim}:
        pairs = story.sealed_for(seat, seats)
        with pytest.raises(UnusableShareError) as caught:
            story.participants.prepare_input(seat, story.headers(seats), pairs | {min(pairs): bytes(80)})
        complaints[seat] = story.participants.complain(seat, caught.value.dealer)
    return complaints


def test_a_coordinator_that_makes_all_but_one_complain_is_told_nothing_that_it_did_not_know() -> None:
    story = equivocator(10, 3)
    complaints = provoked(story, 0)
    t1 = story.rounds(range(10))[0].t1
    for seat, signed in complaints.items():
        assert signed.body == Complaint(t1, seat, 0).encode()
    assert len(complaints) == 9


def test_if_complaints_showed_channel_keys_it_would_read_that_ones_lanes() -> None:
    """Why a complaint proves nothing: keys that would prove it open the victim's pairs when it has sent its input."""
    story = equivocator(10, 3)
    victim, seats = 0, range(10)
    phases = story.participants.phases
    keys = {seat: bytes(expect(SharedKeys, phases[seat]).secrets.channel_private) for seat in provoked(story, victim)}
    known = held_by(story, victim, keys, seats)
    mask_seed = seed_of({holder: pair.mask_key for holder, pair in known.items()})
    self_seed = seed_of({holder: pair.self_mask for holder, pair in known.items()})
    assert mask_seed is not None
    assert self_seed is not None
    masked = story.masked[victim].masked
    lanes = unmask_one(masked, victim, (mask_seed, self_seed), story.rounds(seats), story.parameters.session)
    assert lanes.tolist() == story.inputs[victim].tolist()


@pytest.mark.parametrize(("n", "c"), [(4, 1), (7, 2), (10, 3), (13, 4)])
def test_one_share_less_than_the_threshold_gives_no_seed(n: int, c: int) -> None:
    story = equivocator(n, c)
    story.share_keys(everyone(range(n), range(n)))
    phases, threshold = story.participants.phases, share_threshold(n, c)
    keys = {seat: bytes(expect(SharedKeys, phases[seat]).secrets.channel_private) for seat in range(1, threshold + 1)}
    known = held_by(story, 0, keys, range(n))
    for kind in ("mask_key", "self_mask"):
        shares = {holder: getattr(pair, kind) for holder, pair in known.items()}
        assert seed_of(shares) is not None
        del shares[1]
        assert seed_of(shares) is None
