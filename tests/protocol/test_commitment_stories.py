"""Stories of survivors that commit to what they do not mask, and of a coordinator that publishes what was not committed to."""

from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_arkworks_bls12381 import G1Point

from testkit.adversary import Equivocator, equivocator, everyone
from testkit.consortium import Consortium, Participants, consortium, inputs_for, parameters, signer
from vdb_coordinator.rounds import CollectingMaskedInputs, Failed, InputMasked, Phase, Summed, receive
from vdb_participant.rounds import Committed
from vdb_shared import labels
from vdb_shared.errors import ProtocolError
from vdb_shared.secagg import transcript
from vdb_shared.secagg.commitments import commit, commitments_open
from vdb_shared.secagg.encoding import LANE_OFFSET, Ring
from vdb_shared.secagg.field import FIELD_ORDER
from vdb_shared.secagg.messages import MaskedInputHeader, Signed
from vdb_shared.secagg.parameters import BLOCK_LANES, Seat
from vdb_shared.secagg.transcript import Stage
from vdb_shared.secagg.vectors import Vector

N: Final = 5
LIAR: Final = 2


class Lying(Participants):
    """Participants of whom one fixes, in round 1 and for good, what the story makes of its vector."""

    def committed(self, seat: Seat) -> Committed:
        honest = super().committed(seat)
        return self.lie(honest) if seat == LIAR else honest

    def lie(self, honest: Committed) -> Committed:
        return honest


class OtherLanes(Lying):
    def lie(self, honest: Committed) -> Committed:
        return Committed(honest.vector, commit(honest.vector.lanes + np.uint64(1), honest.vector.blinders))


class OtherBlinder(Lying):
    def lie(self, honest: Committed) -> Committed:
        return Committed(honest.vector, commit(honest.vector.lanes, [honest.vector.blinders[0] + 1]))


class NoPoint(Lying):
    def lie(self, honest: Committed) -> Committed:
        return Committed(honest.vector, bytes(48))


class TooManyCommitments(Lying):
    def lie(self, honest: Committed) -> Committed:
        return Committed(honest.vector, 2 * honest.commitments)


class LaneOutOfRange(Lying):
    def lie(self, honest: Committed) -> Committed:
        vector = Vector(honest.vector.lanes + np.uint64(2**52), list(honest.vector.blinders))
        return Committed(vector, commit(vector.lanes, vector.blinders))


class LaneFarBelow(Lying):
    """Masks and commits to v - K, as an integer: below zero, where no encoded lane can be."""

    DISTANCE: Final = 2**48

    def lie(self, honest: Committed) -> Committed:
        lanes = honest.vector.lanes - np.uint64(self.DISTANCE)  # wraps around in the ring
        beside = commit(np.full_like(lanes, self.DISTANCE), [0])
        points = G1Point.from_compressed_bytes(honest.commitments) - G1Point.from_compressed_bytes(beside)
        return Committed(Vector(lanes, list(honest.vector.blinders)), points.to_compressed_bytes())


def story_with(kind: type[Lying]) -> Consortium:
    sealed = parameters(N)
    story = Consortium(sealed, inputs_for(sealed))
    story.participants = kind(sealed, story.inputs)
    return story


@pytest.mark.parametrize("kind", [OtherLanes, OtherBlinder])
def test_a_survivor_that_committed_to_something_else_ends_the_session_and_nobody_is_named(kind: type[Lying]) -> None:
    """The sum shows that somebody lied; who did would show only in what must stay hidden."""
    end = story_with(kind).run()
    assert isinstance(end, Failed)
    assert end.stage == Stage.UNMASKING
    assert "some survivor committed to other lanes than it masked" in end.reason
    assert "seat" not in end.reason
    assert end.missing == frozenset()


def test_a_lane_that_no_honest_vector_holds_ends_the_session() -> None:
    end = story_with(LaneOutOfRange).run()
    assert isinstance(end, Failed)
    assert "the masks do not cancel" in end.reason
    assert "seat" not in end.reason


def test_a_lane_outside_the_range_that_the_others_make_up_for_goes_unnoticed() -> None:
    """The range is each honest site's own promise (§4.6): a liar reaches as far as all survivors together, and no further."""
    story = story_with(LaneFarBelow)
    end = story.run()
    assert isinstance(end, Summed)
    assert end.totals.tolist() == (story.total(set(range(N))) - LaneFarBelow.DISTANCE).tolist()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(NoPoint, "not a point of the prime-order subgroup"), (TooManyCommitments, "holds 2 commitments, expected 1")],
)
def test_bytes_that_are_no_commitments_name_their_seat(kind: type[Lying], reason: str) -> None:
    story = story_with(kind)
    with pytest.raises(ProtocolError, match=reason) as caught:
        story.run()
    assert caught.value.peer == f"seat {LIAR}"
    assert isinstance(story.phase, CollectingMaskedInputs)


def test_who_sends_no_commitments_drops_out_and_the_others_are_summed() -> None:
    story = story_with(NoPoint)
    end = story.run({LIAR: Stage.MASKED_INPUT})
    assert isinstance(end, Summed)
    assert end.totals.tolist() == story.total(set(range(N)) - {LIAR}).tolist()


# What the coordinator publishes.


def encoded(end: Summed) -> Ring:
    return (end.totals + len(end.survivors) * LANE_OFFSET).astype(np.uint64)


def signed_commitments(end: Summed) -> list[bytes]:
    return [end.transcript.masked.headers[seat].commitments for seat in sorted(end.survivors)]


END: Final[list[Summed]] = []


def finished() -> Summed:
    if not END:
        end = consortium(N, lanes=BLOCK_LANES + 4).run({4: Stage.MASKED_INPUT})
        assert isinstance(end, Summed)
        END.append(end)
    return END[0]


def test_what_was_summed_opens_what_the_survivors_signed() -> None:
    end = finished()
    assert commitments_open(signed_commitments(end), encoded(end), end.blinders)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, BLOCK_LANES + 3), st.integers(1, 2**50), st.sampled_from((1, -1)))
def test_a_sum_with_one_lane_changed_does_not_open(lane: int, change: int, sign: int) -> None:
    end = finished()
    totals = encoded(end).astype(object)
    totals[lane] = (totals[lane] + sign * change) % 2**64
    assert not commitments_open(signed_commitments(end), totals.astype(np.uint64), end.blinders)


def test_other_blinders_another_cohort_and_no_cohort_do_not_open() -> None:
    end = finished()
    signed, totals = signed_commitments(end), encoded(end)
    swapped = end.blinders[::-1]
    assert not commitments_open(signed, totals, swapped)
    assert not commitments_open(signed, totals, [end.blinders[0], (end.blinders[1] + 1) % FIELD_ORDER])
    assert not commitments_open(signed[1:], totals, end.blinders)
    assert not commitments_open([], totals, end.blinders)


def test_a_change_of_a_lane_hidden_in_the_blinder_does_not_open() -> None:
    end = finished()
    totals = encoded(end)
    totals[0] += np.uint64(1)
    for blinder in (end.blinders[0] - 1, end.blinders[0] + 1):
        assert not commitments_open(signed_commitments(end), totals, [blinder % FIELD_ORDER, end.blinders[1]])


# A commitment that is chosen after seeing the others'.


def masked_story() -> Equivocator:
    story = equivocator(N)
    story.share_keys(everyone(range(N), range(N)))
    story.mask_inputs(everyone(range(N), range(N)))
    return story


def rogue(story: Equivocator, published: Ring) -> bytes:
    """Return the colluder's commitment for which all commitments together open to this sum with blinder 1."""
    wanted = G1Point.from_compressed_bytes(commit(published, [1]))
    for seat in set(range(N)) - {LIAR}:
        header = MaskedInputHeader.decode(story.masked[seat].header.body)
        wanted = wanted - G1Point.from_compressed_bytes(header.commitments)
    return wanted.to_compressed_bytes()


def with_rogue_header(story: Equivocator, published: Ring) -> None:
    sent = story.masked[LIAR]
    body = replace(MaskedInputHeader.decode(sent.header.body), commitments=rogue(story, published)).encode()
    story.masked[LIAR] = replace(sent, header=Signed(body, signer(0, LIAR).sign(labels.TYPE_MASKED_INPUT, body)))


PUBLISHED: Final[Ring] = np.array([1, 2, 3, 4, 5], dtype=np.uint64)


def test_a_commitment_chosen_after_the_others_is_refused_by_everyone() -> None:
    story = masked_story()
    with_rogue_header(story, PUBLISHED)
    with pytest.raises(ProtocolError, match="message of seat 2 holds other commitments") as caught:
        story.agree({0: range(N)})
    assert caught.value.peer == "coordinator"
    honest = consortium(N)
    honest.run_until(Stage.MASKED_INPUT)
    phase: Phase = honest.phase
    with pytest.raises(ProtocolError, match="message of seat 2 holds other commitments") as caught:
        receive(phase, InputMasked(LIAR, story.masked[LIAR].header, story.masked[LIAR].masked))
    assert caught.value.peer == "seat 2"


def test_unless_round_1_fixes_them_a_coordinator_and_one_colluder_publish_any_sum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Whatever:
        def __ne__(self, _: object) -> bool:
            return False

    monkeypatch.setattr(transcript, "commitments_digest", lambda *_: Whatever())
    story = masked_story()
    with_rogue_header(story, PUBLISHED)
    honest = sorted(set(range(N)) - {LIAR})
    story.agree(everyone(honest, range(N)))
    story.reveal(0, honest)
    commitments = [MaskedInputHeader.decode(story.masked[seat].header.body).commitments for seat in range(N)]
    assert commitments_open(commitments, PUBLISHED, [1])
