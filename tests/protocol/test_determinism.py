"""Equal arguments give equal bytes, so that a participant can replay its journal after a crash."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import pytest

from testkit.consortium import Participants, consortium, entropy, expect, inputs_for, parameters, signer
from vdb_coordinator.rounds import CollectingKeys, Phase, Summed, receive
from vdb_participant.rounds import (
    Advertised,
    Agreed,
    Committed,
    Masked,
    Prepared,
    Revealed,
    SharedKeys,
    advertise,
    agree,
    commit_entropy_bytes,
    commit_input,
    complain,
    mask_input,
    reveal,
    share_keys,
    state_input,
)
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import Stage

_Item = TypeVar("_Item")

N = 4


def test_the_same_session_twice_is_the_same_bytes() -> None:
    first, second = consortium(N), consortium(N)
    dropouts = {1: Stage.MASKED_INPUT}
    first.run(dropouts)
    second.run(dropouts)
    assert first.sent == second.sent


def test_every_transition_repeats_itself_whatever_the_order_of_what_it_was_sent() -> None:
    sealed = parameters(N)
    inputs = inputs_for(sealed)
    others = Participants(sealed, inputs)
    me, key = 0, signer(0, 0)

    fresh = entropy("advertise", 0, sealed.session, me, size=95)
    phase0, own = advertise(sealed, me, key, fresh)
    assert advertise(sealed, me, key, fresh)[1] == own
    advertised = {seat: others.advertise(seat) for seat in range(N)}

    blinders = entropy("blinders", 0, sealed.session, me, size=commit_entropy_bytes(sealed.lanes))
    committed = commit_input(sealed, inputs[me], blinders)
    assert commit_input(sealed, inputs[me], blinders).commitments == committed.commitments

    fresh = entropy("share", 0, sealed.session, me, size=63)
    phase1, shared = share_keys(phase0, advertised, fresh, committed.commitments)
    assert share_keys(phase0, backwards(advertised), fresh, committed.commitments)[1] == shared
    sent = {seat: others.share_keys(seat, advertised) for seat in range(N)}
    assert sent[me] == shared

    headers = {seat: message.header for seat, message in sent.items()}
    sealed_pairs = {seat: {peer: sent[peer].sealed[seat] for peer in sent if peer != seat} for seat in sent}
    prepared = mask_input(phase1, headers, sealed_pairs[me], committed)
    assert mask_input(phase1, backwards(headers), backwards(sealed_pairs[me]), committed) == prepared
    contribution = entropy("contribution", 0, me, size=32)
    phase2, masked = state_input(prepared, contribution)
    assert state_input(prepared, contribution)[1] == masked
    assert complain(phase1, 2) == complain(phase1, 2)
    inputs_sent = {seat: others.mask_input(seat, headers, sealed_pairs[seat]) for seat in range(N)}
    assert inputs_sent[me] == masked

    masked_headers = {seat: message.header for seat, message in inputs_sent.items()}
    phase3, agreed = agree(phase2, masked_headers)
    assert agree(phase2, backwards(masked_headers))[1] == agreed
    signatures = {seat: others.agree(seat, masked_headers).signature for seat in range(N)}

    assert reveal(phase3, signatures) == reveal(phase3, backwards(signatures))


def backwards(messages: Mapping[Seat, _Item]) -> dict[Seat, _Item]:
    return dict(reversed(list(messages.items())))


def test_inputs_are_not_changed_by_masking() -> None:
    all_parties = consortium(N)
    before = {seat: lanes.copy() for seat, lanes in all_parties.inputs.items()}
    all_parties.run()
    for seat, lanes in all_parties.inputs.items():
        assert np.array_equal(lanes, before[seat])


def test_other_entropy_gives_other_keys_seeds_and_shares() -> None:
    sealed = parameters(N)
    one, own = advertise(sealed, 0, signer(0, 0), entropy(1, size=95))
    two, other = advertise(sealed, 0, signer(0, 0), entropy(2, size=95))
    assert own != other
    assert one.secrets.mask_seed != two.secrets.mask_seed
    assert one.secrets.channel_private != two.secrets.channel_private
    advertised = {seat: Participants(sealed, {}).advertise(seat) for seat in range(1, N)} | {0: own}
    shares = [share_keys(one, advertised, entropy(place, size=63), bytes(48))[1] for place in range(2)]
    assert shares[0].header != shares[1].header
    assert not set(shares[0].sealed.values()) & set(shares[1].sealed.values())


def test_coordinator_replays_its_events_to_the_same_phase() -> None:
    all_parties = consortium(N)
    end = all_parties.run()
    phase: Phase = CollectingKeys(all_parties.parameters)
    for message in all_parties.sent:
        phase = receive(phase, message)
    assert phase == end
    assert expect(Summed, phase).totals.tolist() == expect(Summed, end).totals.tolist()


def test_receiving_leaves_the_phase_before_as_it_was() -> None:
    all_parties = consortium(N)
    all_parties.run()
    phases: list[Phase] = [CollectingKeys(all_parties.parameters)]
    for message in all_parties.sent:
        phases.append(receive(phases[-1], message))
    for place, message in enumerate(all_parties.sent):
        assert receive(phases[place], message) == phases[place + 1]


@pytest.mark.parametrize("kind", [Advertised, SharedKeys, Committed, Prepared, Masked, Agreed, Revealed])
def test_phases_cannot_be_changed(kind: type[object]) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # dataclasses keep it there
    assert "__slots__" in vars(kind)
