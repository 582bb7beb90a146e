"""Stories of participants that vanish: n - t may, at every round; one more may not."""

import pytest

from testkit.consortium import STAGES, Consortium, Network, consortium, inputs_for, parameters
from vdb_coordinator.rounds import (
    CollectingConsistency,
    CollectingMaskedInputs,
    Failed,
    KeysShared,
    Message,
    SharesRevealed,
    Summed,
    expire,
    receive,
)
from vdb_shared.errors import ProtocolError, SessionAbortedError
from vdb_shared.secagg.parameters import share_threshold
from vdb_shared.secagg.transcript import Stage

SIZES = [(3, 1), (4, 1), (5, 1), (7, 2)]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("n", "c"), SIZES)
def test_as_many_as_the_threshold_spares_may_vanish(n: int, c: int, stage: Stage) -> None:
    all_parties = consortium(n, collusion=c)
    spared = n - share_threshold(n, c)
    end = all_parties.run(dict.fromkeys(range(spared), stage))
    assert isinstance(end, Summed)
    counted = range(spared if stage in STAGES[:3] else 0, n)
    assert end.totals.tolist() == all_parties.total(list(counted)).tolist()


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("n", "c"), SIZES)
def test_one_more_ends_the_session_and_says_where(n: int, c: int, stage: Stage) -> None:
    end = consortium(n, collusion=c).run(dict.fromkeys(range(n - share_threshold(n, c) + 1), stage))
    assert isinstance(end, Failed)
    assert end.stage == stage
    assert end.missing == frozenset(range(n - share_threshold(n, c) + 1))


def test_too_few_answers_are_nobodys_contradiction() -> None:
    """Who answered is not accused because the others did not."""
    end = consortium(5).run(dict.fromkeys(range(2), Stage.UNMASKING))
    assert isinstance(end, Failed)
    assert end.reason == "3 revealed shares, 4 are needed"


def test_losses_of_all_rounds_add_up() -> None:
    all_parties = consortium(7, collusion=2)
    end = all_parties.run({0: Stage.SHARE_KEYS, 1: Stage.MASKED_INPUT})
    assert isinstance(end, Summed)
    assert end.dropped == {0: Stage.SHARE_KEYS, 1: Stage.MASKED_INPUT}
    assert end.transcript.shared.seats == frozenset(range(1, 7))
    dropouts = {0: Stage.SHARE_KEYS, 1: Stage.MASKED_INPUT, 2: Stage.CONSISTENCY}
    assert isinstance(consortium(7, collusion=2).run(dropouts), Failed)


def test_late_input_of_a_dropout_is_refused_after_its_key_was_named() -> None:
    class Slow(Network):
        late: Message | None = None

        def up(self, message: Message) -> Message | None:
            if isinstance(message, KeysShared) and message.seat == 4:
                self.late = message
                return None
            return message

    network = Slow()
    sealed = parameters(5)
    all_parties = Consortium(sealed, inputs_for(sealed), network=network)
    all_parties.advertise()
    all_parties.share_keys()
    assert network.late is not None
    with pytest.raises(ProtocolError, match=r"seat 4: .*after that round closed") as caught:
        receive(all_parties.phase, network.late)
    assert caught.value.peer == "seat 4"


def test_nobody_waits_for_who_dropped_out_before() -> None:
    all_parties = consortium(5)
    all_parties.run_until(Stage.MASKED_INPUT, {4: Stage.SHARE_KEYS})
    assert all_parties.at(CollectingMaskedInputs).missing == {0, 1, 2, 3}


def test_the_sum_waits_for_no_more_than_the_threshold() -> None:
    all_parties = consortium(5)
    all_parties.run_until(Stage.UNMASKING)
    ready = all_parties.phase
    all_parties.reveal()
    revealed = [message for message in all_parties.sent if isinstance(message, SharesRevealed)]
    assert len(revealed) == 5
    phase = ready
    for message in revealed[1:]:
        assert not isinstance(phase, Summed)
        phase = receive(phase, message)
    assert isinstance(phase, Summed)
    assert phase.totals.tolist() == all_parties.total(range(5)).tolist()


def test_early_expiry_never_opens_a_round_below_the_smallest_cohort() -> None:
    all_parties = consortium(5)
    assert isinstance(expire(all_parties.phase), Failed)
    all_parties.run_until(Stage.CONSISTENCY)
    assert isinstance(all_parties.phase, CollectingConsistency)
    assert isinstance(expire(all_parties.phase), Failed)


def test_a_failed_session_stays_failed() -> None:
    failed = expire(consortium(5).phase)
    assert expire(failed) is failed
    other = consortium(5)
    other.advertise()
    with pytest.raises(SessionAbortedError, match="advertise-keys"):
        receive(failed, other.sent[0])


def test_a_sum_does_not_expire() -> None:
    end = consortium(4).run()
    assert isinstance(end, Summed)
    assert expire(end) is end
