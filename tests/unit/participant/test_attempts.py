"""A dealer that seals what does not open costs an attempt, not the session; without a signed complaint nobody begins again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from testkit.consortium import Participants, expect, inputs_for, parameters
from testkit.crashes import Crash, Disk, Loss, MemoryLink, sealing_garbage
from testkit.lives import SEALED, SEAT, DyingAt, World, lanes_of, link
from vdb_coordinator.phases import CollectingMaskedInputs
from vdb_coordinator.rounds import Complained, InputMasked, Message, expire, receive, restart_by
from vdb_coordinator.rounds import Phase as RoundPhase
from vdb_participant import rounds
from vdb_participant.network.link import Upload
from vdb_participant.phases import Advertised, SharedKeys, SharedKeysMessage
from vdb_participant.session.attempts import left
from vdb_participant.session.correspondence import ACKNOWLEDGED
from vdb_participant.session.exchange import AGREE_SENT, COMPLAINT_SENT, LEAVING
from vdb_participant.session.records import RESTART, in_attempt, present_attempt
from vdb_participant.site.failpoints import Place
from vdb_shared.errors import ProtocolError, SessionAbortedError, UnusableShareError
from vdb_shared.secagg.messages import Complaint, Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.restarts import Restart, verify_restart
from vdb_shared.wire.status import Phase, SessionStatus, Shares

SEVEN = parameters(7, lanes=6)
OURS = {0: SEAT}
"""Seat 0 seals garbage for us: we complain."""

THEIRS = {0: 2}
"""Seat 0 seals garbage for another: our masked input is there already when it complains."""

WHOLE = ("keys", "shares", "input", "consistency", "unmasking")
SENT = {
    "ours": {"keys", "shares", "complaint", *(f"attempt-1/{kind}" for kind in WHOLE)},
    "theirs": {"keys", "shares", "input", *(f"attempt-1/{kind}" for kind in WHOLE)},
}
STORIES = {"ours": OURS, "theirs": THEIRS}


def lived(garbage: Mapping[Seat, Seat]) -> World:
    world = World(link=link(garbage=garbage))
    world.live()
    return world


def assert_whole(world: World, story: str) -> None:
    """Check that every message was sent in one version, and that the sum is of the same lanes without the dealer."""
    assert world.versions == dict.fromkeys(SENT[story], 1)
    assert world.debits == 1
    found = world.link.finish()
    assert found.survivors == SEALED.seats - {0}
    expected = sum(
        (world.link.others.inputs[seat] for seat in (2, 3, 4)), lanes_of(world.journal.recall("measurement"))
    )
    assert np.array_equal(found.totals, expected)


@pytest.mark.parametrize("story", STORIES)
def test_the_rounds_begin_again_without_the_dealer(story: str) -> None:
    world = lived(STORIES[story])
    assert_whole(world, story)
    assert world.stated == ([1] if story == "ours" else [0, 1])
    assert present_attempt(world.journal) == 1


WRITES = {story: lived(garbage).disk.writes for story, garbage in STORIES.items()}


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize(("story", "crash_at"), [(story, at) for story in STORIES for at in range(10, WRITES[story])])
def test_kill_at_any_record_around_a_restart(story: str, crash_at: int, loss: Loss) -> None:
    world = World(Disk(crash_at=crash_at, loss=loss), link(garbage=STORIES[story]))
    with pytest.raises(Crash):
        world.live()
    world.disk.crash_at = None
    world.live()
    world.live()
    assert_whole(world, story)


@pytest.mark.parametrize("place", ["after-complaint", "after-restart"])
def test_killed_around_a_complaint_it_goes_on(place: Place) -> None:
    world = World(link=link(garbage=OURS))
    with pytest.raises(Crash):
        world.live(DyingAt(place=place))
    assert not left(world.journal)
    world.live()
    assert_whole(world, "ours")


class Forgetful(MemoryLink):
    """Takes every complaint, and loses the acknowledgement of the first."""

    lost = False

    def complain(self, session: str, seat: Seat, attempt: int, complaint: Signed) -> None:
        super().complain(session, seat, attempt, complaint)
        if not self.lost:
            self.lost = True
            raise Crash


def test_after_a_complaint_nothing_else_is_sent_in_its_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by a later life that could open the pair."""
    world = World(link=Forgetful(Participants(SEALED, inputs_for(SEALED)), SEAT, OURS))
    with pytest.raises(Crash):
        world.live()
    assert COMPLAINT_SENT in world.journal
    assert COMPLAINT_SENT + ACKNOWLEDGED not in world.journal
    real = rounds.mask_input

    def never_in_the_first_attempt(phase: SharedKeys, *rest: object) -> object:
        assert phase.membership.parameters.left_out
        return real(phase, *rest)  # type: ignore[arg-type]  # what it was called with

    monkeypatch.setattr(rounds, "mask_input", never_in_the_first_attempt)
    world.live()
    assert_whole(world, "ours")


def test_a_dealer_after_another() -> None:
    world = World(link=link(SEVEN, {0: SEAT, 3: 2}), sealed=SEVEN)
    world.live()
    assert world.link.finish().survivors == SEVEN.seats - {0, 3}
    assert present_attempt(world.journal) == 2
    assert set(world.versions.values()) == {1}
    assert world.debits == 1


def test_too_few_are_left() -> None:
    world = World(link=link(garbage={0: SEAT, 3: 2}))
    with pytest.raises(SessionAbortedError, match=r"only 3 of at least 4"):
        world.live()


def test_an_input_of_an_earlier_attempt_counts_as_left() -> None:
    world = World(link=link(garbage=THEIRS))
    with pytest.raises(Crash):
        world.live(DyingAt(place="after-restart"))
    assert in_attempt(1, LEAVING) not in world.journal
    assert left(world.journal)


class Altering(MemoryLink):
    """Alters a pair on its way to us, in every attempt."""

    def shared_keys(self, session: str, seat: Seat, attempt: int) -> Shares:
        found = super().shared_keys(session, seat, attempt)
        return Shares(found.headers, {**found.sealed, min(found.sealed): bytes(80)})


def test_we_complain_once_in_a_session() -> None:
    """A coordinator that alters what it delivers gets one complaint of each of us, and no input."""
    world = World(link=Altering(Participants(SEVEN, inputs_for(SEVEN)), SEAT), sealed=SEVEN)
    for _ in range(2):
        with pytest.raises(UnusableShareError, match="seat 2"):
            world.live()
    assert set(world.versions) == {"keys", "shares", "complaint", "attempt-1/keys", "attempt-1/shares"}
    assert not left(world.journal)


class Deaf(MemoryLink):
    """Acknowledges complaints and goes on without them."""

    def complain(self, session: str, seat: Seat, attempt: int, complaint: Signed) -> None:
        self.sent.setdefault("complaint", set()).add(complaint.body)

    def wait(self, session: str, phase: Phase, attempt: int = 0) -> SessionStatus:
        published = SessionStatus(Phase.PUBLISHED, 1, "", (), 0)
        return published if "complaint" in self.sent else super().wait(session, phase, attempt)


def test_a_complaint_that_restarts_nothing_ends_the_session() -> None:
    world = World(link=Deaf(Participants(SEALED, inputs_for(SEALED)), SEAT, OURS))
    with pytest.raises(SessionAbortedError, match="went on without us"):
        world.live()
    assert set(world.versions) == {"keys", "shares", "complaint"}


def test_we_are_left_out_when_we_sealed_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    real = rounds.share_keys

    def garbling(phase: Advertised, *rest: object) -> tuple[SharedKeys, SharedKeysMessage]:
        following, message = real(phase, *rest)  # type: ignore[arg-type]  # what it was called with
        if phase.membership.seat != SEAT:
            return following, message
        bad = sealing_garbage(following, message, 3)
        return replace(following, own=bad.header), bad

    monkeypatch.setattr("vdb_participant.session.exchange.rounds.share_keys", garbling)
    world = World(link=link())
    for _ in range(2):
        with pytest.raises(SessionAbortedError, match="restarted without us: seat 3 says that what we sealed"):
            world.live()
    assert not any(kind.startswith("attempt-1") for kind in world.versions)


# A coordinator that wants another attempt without cause.


def accusation(played: MemoryLink, dealer: Seat = 0, complainer: Seat = 2, without: Seat | None = None) -> Restart:
    """Return what a member of the coordinator's own signs in this attempt, whether or not it is true.

    Args:
        played: the coordinator, in round 2.
        dealer: whom it names.
        complainer: the member.
        without: a seat of which it was not shown the keys in round 0.
    """
    opened = expect(CollectingMaskedInputs, played.phase)
    advertised = {seat: signed for seat, signed in opened.advertised.messages.items() if seat != without}
    members = Participants(played.others.parameters, played.others.inputs)
    members.advertise(complainer)
    members.share_keys(complainer, advertised)
    return Restart(advertised, complainer, members.complain(complainer, dealer))


@dataclass
class Claiming(MemoryLink):
    """Says after our masked input of an attempt that the rounds were restarted, and shows what `claim` makes up."""

    claim: Callable[[MemoryLink], tuple[Restart, ...]] = lambda _link: ()
    at: int = 0
    claimed: tuple[Restart, ...] | None = None

    def restarts(self, session: str) -> tuple[Restart, ...]:
        return super().restarts(session) if self.claimed is None else self.claimed

    def _status(self) -> SessionStatus:
        found = super()._status()
        return found if self.claimed is None else replace(found, attempt=found.attempt + 1)

    def upload(self, session: str, seat: Seat, attempt: int, upload: Upload) -> None:
        if attempt == self.at:
            self.claimed = self.claim(self)
        super().upload(session, seat, attempt, upload)


def claiming(claim: Callable[[MemoryLink], tuple[Restart, ...]], at: int = 0) -> World:
    garbage = THEIRS if at else {}
    return World(link=Claiming(Participants(SEVEN, inputs_for(SEVEN)), SEAT, garbage, claim=claim, at=at), sealed=SEVEN)


def assert_refused(world: World, words: str, next_attempt: int = 1) -> None:
    """Check that a life ends with this error, the next one as well, and that nothing is sent in the claimed attempt."""
    for _ in range(2):
        with pytest.raises(ProtocolError, match=words) as caught:
            world.live()
        assert caught.value.peer == "coordinator"
    assert not any(kind.startswith(f"attempt-{next_attempt}/") for kind in world.versions)
    assert left(world.journal)


def test_whoever_signs_a_complaint_is_believed() -> None:
    """The stories below fail for their reason: a complaint made like theirs is followed where it may be."""
    world = claiming(lambda played: (accusation(played),))
    with pytest.raises(ProtocolError, match="does not show why"):  # it is in the first attempt after all
        world.live()
    assert "attempt-1/keys" in world.versions


def test_a_restart_without_a_complaint_is_refused() -> None:
    assert_refused(claiming(lambda _played: ()), "does not show why")


def test_a_complaint_that_nobody_signed_is_refused() -> None:
    def claim(played: MemoryLink) -> tuple[Restart, ...]:
        signed = accusation(played)
        body = replace(Complaint.decode(signed.complaint.body), dealer=3).encode()
        return (replace(signed, complaint=Signed(body, signed.complaint.signature)),)

    assert_refused(claiming(claim), "signature")


def test_a_complaint_that_another_is_said_to_have_signed_is_refused() -> None:
    assert_refused(claiming(lambda played: (replace(accusation(played), complainer=3),)), "seat")


def test_the_second_complaint_of_a_member_is_refused() -> None:
    """Else a coordinator could leave out as many as it likes through one member of its own."""

    def claim(played: MemoryLink) -> tuple[Restart, ...]:
        return (played.made[0], accusation(played, dealer=3, complainer=played.made[0].complainer))

    assert_refused(claiming(claim, at=1), "complains a second time", next_attempt=2)


def test_a_restart_of_another_round_0_than_ours_is_refused() -> None:
    """The complaint itself holds, but its sender was shown a round 0 without seat 6."""

    def claim(played: MemoryLink) -> tuple[Restart, ...]:
        elsewhere = accusation(played, without=6)
        assert verify_restart(SEVEN, elsewhere, "coordinator").left_out == {0}
        return (elsewhere,)

    assert_refused(claiming(claim), "shows other keys in its restart than it showed us before")


def test_an_old_restart_is_not_followed_twice() -> None:
    assert_refused(claiming(lambda played: (played.made[0],) * 2, at=1), "seat 0, without which", next_attempt=2)


def as_if_nobody_complained(played: MemoryLink) -> RoundPhase:
    """Return round 3 of the present attempt, reached with the inputs of all but the dealer and who found it out."""
    phase: RoundPhase = played.phase
    opened = expect(CollectingMaskedInputs, phase)
    for seat in (3, 4, 5, 6):
        made = played.others.mask_input(seat, opened.shared.messages, opened.sealed_for(seat))
        phase = receive(phase, InputMasked(seat, made.header, made.masked))
    return expire(phase)


class Keeping(MemoryLink):
    """Keeps a complaint that holds to itself, and restarts once we have signed T3."""

    def _take(self, *messages: Message) -> None:
        for message in messages:
            if isinstance(message, Complained):
                self._go_on_without(message)
            else:
                super()._take(message)

    def _go_on_without(self, complained: Complained) -> None:
        self.kept = restart_by(expect(CollectingMaskedInputs, self.phase), complained)
        self.phase = as_if_nobody_complained(self)

    def sign_consistency(self, session: str, seat: Seat, attempt: int, statement: Signed) -> None:
        super().sign_consistency(session, seat, attempt, statement)
        assert verify_restart(SEVEN, self.kept, "coordinator").left_out == {0}
        self.made.append(self.kept)


@pytest.mark.parametrize("dies", [False, True])
def test_after_signing_t3_no_restart_is_followed(dies: bool) -> None:
    world = World(link=Keeping(Participants(SEVEN, inputs_for(SEVEN)), SEAT, THEIRS), sealed=SEVEN)
    if dies:
        with pytest.raises(Crash):
            world.live(DyingAt(place="after-consistency"))
    assert_refused(world, "although we signed which inputs to unmask")
    assert AGREE_SENT in world.journal
    assert f"{RESTART}1" not in world.journal


class Backward(MemoryLink):
    """Goes back to the first attempt."""

    def _status(self) -> SessionStatus:
        found = super()._status()
        back = self.attempt == 1 and "attempt-1/input" in self.sent
        return replace(found, attempt=0, phase=Phase.PUBLISHED) if back else found


def test_attempts_only_move_forward() -> None:
    world = World(link=Backward(Participants(SEALED, inputs_for(SEALED)), SEAT, THEIRS))
    with pytest.raises(ProtocolError, match="is back in attempt 0"):
        world.live()


class Returning(MemoryLink):
    """Follows a complaint, and is back in the first attempt once we have signed a T3 in the second."""

    first: RoundPhase
    back = False

    def wait(self, session: str, phase: Phase, attempt: int = 0) -> SessionStatus:
        return self._status() if self.back else super().wait(session, phase, attempt)

    def sign_consistency(self, session: str, seat: Seat, attempt: int, statement: Signed) -> None:
        super().sign_consistency(session, seat, attempt, statement)
        self.phase, self.back = self.first, True
        self.made.clear()

    def _take(self, *messages: Message) -> None:
        for message in messages:
            if isinstance(message, Complained):
                self.first = as_if_nobody_complained(self)
            super()._take(message)


def test_a_later_life_does_not_go_back_either() -> None:
    """Else it would sign a T3 in each of two attempts, and both might reach a quorum: two sums that differ in few inputs."""
    world = World(link=Returning(Participants(SEVEN, inputs_for(SEVEN)), SEAT, THEIRS), sealed=SEVEN)
    with pytest.raises(Crash):
        world.live(DyingAt(place="after-consistency"))
    assert world.link.masked_inputs("", 0).keys() == {SEAT, 3, 4, 5, 6}, "enough for a T3 of the first attempt"
    for _ in range(2):
        with pytest.raises(ProtocolError, match="is back in attempt 0") as caught:
            world.live()
        assert caught.value.peer == "coordinator"
    assert "attempt-1/consistency" in world.versions
    assert "consistency" not in world.versions
