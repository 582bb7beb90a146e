"""Wrong shares, seeds and inputs, which show only when the masks come off: worked around where possible, else no sum."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from testkit.adversary import Replacing, remasked, reshared, signed_by
from testkit.consortium import Consortium, consortium, entropy, expect
from vdb_coordinator.rounds import (
    CollectingUnmasking,
    Failed,
    InputMasked,
    KeysShared,
    Phase,
    SharesRevealed,
    Summed,
    expire,
    receive,
)
from vdb_participant.rounds import Advertised, SharedKeys
from vdb_shared import labels
from vdb_shared.errors import ProtocolError
from vdb_shared.secagg.messages import Signed, UnmaskingShares
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import Stage
from vdb_shared.secagg.unmasking import LeftOutShare

N = 5
LIAR = 2
OTHER = entropy("other", size=32)


def revealing(absent: dict[Seat, Stage] | None = None) -> tuple[Phase, list[SharesRevealed], Consortium]:
    all_parties = consortium(N)
    all_parties.run_until(Stage.UNMASKING, absent)
    phase = all_parties.phase
    all_parties.reveal()
    return phase, [message for message in all_parties.sent if isinstance(message, SharesRevealed)], all_parties


def rewritten(message: SharesRevealed, change: Callable[[UnmaskingShares], UnmaskingShares]) -> SharesRevealed:
    body = change(UnmaskingShares.decode(message.signed.body)).encode()
    return SharesRevealed(message.seat, signed_by(message.seat, labels.TYPE_UNMASKING, body))


def with_wrong_share_for(dealer: Seat) -> Callable[[UnmaskingShares], UnmaskingShares]:
    return lambda shares: replace(shares, self_mask={**shares.self_mask, dealer: shares.self_mask[dealer] ^ 1})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda shares: replace(shares, t3=OTHER), "is for T3"),
        (lambda shares: replace(shares, seat=3), "names seat 3"),
        (lambda shares: replace(shares, self_mask={0: 1}), "another set than the survivors"),
        (lambda shares: replace(shares, mask_key={}), "another set than those who dropped out"),
        (lambda shares: replace(shares, mask_key={**shares.mask_key, 9: 1}), "another set than those who dropped out"),
    ],
)
def test_faulty_unmasking_is_refused(change: Callable[[UnmaskingShares], UnmaskingShares], reason: str) -> None:
    phase, revealed, _ = revealing({4: Stage.MASKED_INPUT})
    with pytest.raises(ProtocolError, match=reason) as caught:
        receive(phase, rewritten(revealed[LIAR], change))
    assert caught.value.peer == "seat 2"


def test_forged_unmasking_is_refused() -> None:
    phase, revealed, _ = revealing()
    with pytest.raises(ProtocolError, match="signature"):
        receive(phase, SharesRevealed(LIAR, Signed(revealed[LIAR].signed.body, bytes(64))))


def test_wrong_shares_of_one_participant_are_worked_around_when_one_more_answers() -> None:
    phase, revealed, all_parties = revealing()
    wrong = rewritten(revealed[0], with_wrong_share_for(3))
    for message in [wrong, *revealed[1:4]]:
        phase = receive(phase, message)
    assert isinstance(phase, CollectingUnmasking)
    end = receive(phase, revealed[4])
    assert isinstance(end, Summed)
    assert end.left_out == (LeftOutShare(dealer=3, holder=0),)
    assert end.totals.tolist() == all_parties.total(range(N)).tolist()


def test_who_was_wrong_for_one_dealer_is_left_out_for_the_next_if_somebody_must_be() -> None:
    """The order in which sets are tried is the protocol's, so that every coordinator leaves out the same."""
    all_parties = consortium(7)
    all_parties.run_until(Stage.UNMASKING)
    phase = all_parties.phase
    all_parties.reveal()
    revealed = {message.seat: message for message in all_parties.sent if isinstance(message, SharesRevealed)}
    revealed[5] = rewritten(revealed[5], with_wrong_share_for(0))
    revealed[6] = rewritten(rewritten(revealed[6], with_wrong_share_for(0)), with_wrong_share_for(1))
    for seat in (6, 5, 4, 3, 2, 1, 0):
        phase = receive(phase, revealed[seat])
    assert isinstance(phase, Summed)
    assert phase.left_out == tuple(LeftOutShare(dealer, holder) for dealer in (0, 1) for holder in (5, 6))


def test_wrong_shares_without_a_spare_answer_end_the_session_with_the_reason() -> None:
    phase, revealed, _ = revealing({4: Stage.CONSISTENCY})
    for message in [*revealed[:3], rewritten(revealed[3], with_wrong_share_for(1))]:
        phase = receive(phase, message)
    assert isinstance(phase, Failed)
    assert phase.stage == Stage.UNMASKING
    assert "self-mask seed of seat 1" in phase.reason


def test_wrong_shares_and_no_more_answers_before_the_deadline_end_the_session() -> None:
    phase, revealed, _ = revealing()
    for message in [rewritten(revealed[0], with_wrong_share_for(1)), *revealed[1:4]]:
        phase = receive(phase, message)
    end = expire(phase)
    assert isinstance(end, Failed)
    assert end.missing == {4}


def test_wrong_share_of_a_mask_key_is_noticed() -> None:
    phase, revealed, _ = revealing({4: Stage.MASKED_INPUT})
    wrong = rewritten(revealed[0], lambda shares: replace(shares, mask_key={4: shares.mask_key[4] ^ 1}))
    for message in [wrong, *revealed[1:]]:
        phase = receive(phase, message)
    assert isinstance(phase, Failed)
    assert "mask-key seed of seat 4" in phase.reason


def test_a_self_mask_seed_that_its_header_does_not_name_is_never_used() -> None:
    all_parties = consortium(N)
    all_parties.network = Replacing(KeysShared, LIAR, lambda m: reshared(m, self_seed_digest=OTHER))
    all_parties.run_until(Stage.MASKED_INPUT)
    phases = all_parties.participants.phases
    changed = expect(KeysShared, next(m for m in all_parties.sent if isinstance(m, KeysShared) and m.seat == LIAR))
    phases[LIAR] = replace(expect(SharedKeys, phases[LIAR]), own=changed.header)
    end = all_parties.run()
    assert isinstance(end, Failed)
    assert "self-mask seed of seat 2" in end.reason


def test_a_mask_key_seed_that_does_not_make_the_advertised_key_is_never_used() -> None:
    all_parties = consortium(N)
    all_parties.run_until(Stage.SHARE_KEYS)
    phases = all_parties.participants.phases
    advertised = expect(Advertised, phases[LIAR])
    phases[LIAR] = replace(advertised, secrets=replace(advertised.secrets, mask_seed=bytearray(31)))
    end = all_parties.run({LIAR: Stage.MASKED_INPUT})
    assert isinstance(end, Failed)
    assert "mask-key seed of seat 2" in end.reason


def test_masks_that_do_not_cancel_give_no_sum() -> None:
    all_parties = consortium(N)
    noise = entropy("noise", size=8 * all_parties.parameters.lanes) + bytes(32)
    all_parties.network = Replacing(InputMasked, LIAR, lambda m: remasked(m, masked=noise))
    all_parties.run_until(Stage.CONSISTENCY)
    end = all_parties.run({LIAR: Stage.CONSISTENCY})
    assert isinstance(end, Failed)
    assert "the masks do not cancel" in end.reason
