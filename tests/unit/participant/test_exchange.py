"""The rounds made durable: whatever crashes, no message is ever sent in two versions, and nothing leaves unpaid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from testkit.consortium import Participants, inputs_for, signer
from testkit.crashes import Crash, Disk, Loss, MemoryLink
from testkit.lives import SEALED, SEAT, SESSION, DyingAt, World, link
from vdb_participant.session.attempts import left
from vdb_participant.session.correspondence import Correspondence
from vdb_participant.session.exchange import (
    ADVERTISE_ENTROPY,
    AGREE_SENT,
    MASK_RECEIVED,
    MASK_SENT,
    SHARE_BLINDERS,
    SHARE_ENTROPY,
)
from vdb_participant.session.records import in_attempt
from vdb_participant.site.journal import Journal
from vdb_shared import labels
from vdb_shared.errors import ProtocolError, SessionAbortedError, StoreError
from vdb_shared.secagg.messages import ConsistencyStatement, Signed
from vdb_shared.secagg.parameters import Seat


def writes_of_a_whole_life() -> int:
    world = World()
    world.live()
    assert world.link.finish().survivors == SEALED.seats
    return world.disk.writes


WRITES = writes_of_a_whole_life()


def test_a_life_has_as_many_records_as_the_documentation_says() -> None:
    assert WRITES == 21


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("crash_at", range(WRITES))
def test_kill_at_any_record_never_sends_a_second_version(crash_at: int, loss: Loss) -> None:
    world = World(Disk(crash_at=crash_at, loss=loss))
    with pytest.raises(Crash):
        world.live()
    assert "input" not in world.link.sent or world.debits
    world.disk.crash_at = None
    world.live()
    world.live()
    assert world.versions == {
        "keys": 1,
        "shares": 1,
        "input": 1,
        "consistency": 1,
        "unmasking": 1,
    }
    assert world.link.finish().survivors == SEALED.seats


class Hasty(MemoryLink):
    """Loses the acknowledgement of every first submission."""

    def _ours(self, kind: str, attempt: int, content: bytes, message: object) -> None:
        first = kind not in self.sent
        super()._ours(kind, attempt, content, message)  # type: ignore[arg-type]  # any field, also a wrong one, is meant
        if first:
            raise Crash


def test_a_lost_acknowledgement_is_answered_with_the_same_bytes() -> None:
    world = World(link=Hasty(Participants(SEALED, inputs_for(SEALED)), SEAT))
    lives = 0
    while lives < 6:
        try:
            world.live()
            break
        except Crash:
            lives += 1
    assert lives == 5
    assert all(len(versions) == 1 for versions in world.link.sent.values())
    assert world.link.finish().survivors == SEALED.seats


def test_a_second_survivor_set_is_never_looked_at() -> None:
    world = World()
    world.live()
    signed = Journal(world.disk, SESSION).recall(AGREE_SENT)
    world.link.phase = MemoryLink(Participants(SEALED, inputs_for(SEALED)), SEAT).phase  # the coordinator starts over
    world.live()
    assert Journal(world.disk, SESSION).recall(AGREE_SENT) == signed
    assert len(world.link.sent["consistency"]) == 1


def test_an_agent_that_computes_other_bytes_stops_instead_of_sending_them() -> None:
    world = World(Disk(crash_at=15))
    with pytest.raises(Crash):
        world.live()
    journal = Journal(Disk(world.disk.data), SESSION)
    with pytest.raises(StoreError, match="finish it with the version that began it"):
        Correspondence(journal, world.link, "s").keep(MASK_SENT, b"other bytes", secret=True)


def test_only_what_is_recorded_is_sent() -> None:
    world = World()
    post = Correspondence(Journal(world.disk, SESSION), world.link, "s")
    sent: list[bytes] = []
    with pytest.raises(ValueError, match="is not recorded, so it must not be sent"):
        post.deliver(MASK_SENT, lambda: sent.append(b"lost in a crash"))
    assert sent == []
    assert world.journal.names == ()
    post.keep(MASK_SENT, b"kept", secret=True)
    post.deliver(MASK_SENT, lambda: sent.append(b"kept"))
    assert sent == [b"kept"]


def erased_at_the_end(world: World) -> set[str]:
    """Return the records whose values are gone when the session has ended."""
    journal = world.journal
    journal.erase_secrets()
    gone = set()
    for name in journal.names:
        try:
            journal.recall(name)
        except StoreError:
            gone.add(name)
    return gone


@pytest.mark.parametrize("garbage", [{}, {0: 2}], ids=["one attempt", "a restart"])
def test_what_a_key_a_mask_or_a_share_could_be_learned_from_is_erased_at_the_end(garbage: dict[int, int]) -> None:
    """In every attempt: these records, as §12.2 has it, and no others."""
    world = World(link=link(garbage=garbage))
    world.live()
    secret = {ADVERTISE_ENTROPY, SHARE_BLINDERS, SHARE_ENTROPY, MASK_RECEIVED, MASK_SENT}
    attempts = range(2 if garbage else 1)
    expected = {in_attempt(attempt, name) for attempt in attempts for name in secret}
    assert erased_at_the_end(world) == {"measurement"} | expected


def test_without_the_leaving_record_the_input_never_left() -> None:
    for crash_at in range(WRITES):
        world = World(Disk(crash_at=crash_at, loss=Loss.NOTHING))
        with pytest.raises(Crash):
            world.live()
        if not left(Journal(Disk(world.disk.data), SESSION)):
            assert "input" not in world.link.sent


def test_an_input_that_nobody_takes_any_more_never_leaves() -> None:
    """It was paid for, and will be refunded: so it is not even offered."""
    world = World()
    with pytest.raises(Crash):
        world.live(DyingAt(place="before-masked-input"))
    assert world.debits == 1
    world.link.go_on_without_us()
    for _ in range(2):
        with pytest.raises(SessionAbortedError, match=r"went on without us \(.*\); our input never left"):
            world.live()
    assert not left(world.journal)
    assert "input" not in world.versions


class Late(MemoryLink):
    """Closes the consistency round before we sign."""

    def sign_consistency(self, *_: object) -> None:
        self.late = True
        raise SessionAbortedError("the round is over")

    def _status(self):  # type: ignore[no-untyped-def]  # a fake; its shape is the Protocol's
        found = super()._status()
        return type(found)(found.phase.FINALISING, 1, "", (), found.attempt) if getattr(self, "late", False) else found


def test_a_session_that_finishes_without_our_signature_is_not_given_up() -> None:
    world = World(link=Late(Participants(SEALED, inputs_for(SEALED)), SEAT))
    world.live()
    assert "unmasking" not in world.link.sent
    assert left(Journal(Disk(world.disk.data), SESSION))


class Divided(MemoryLink):
    """Delivers, among the signatures of T3, what seat 2 signed of another one."""

    def consistency(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        found = super().consistency(session, attempt)
        body = replace(ConsistencyStatement.decode(found[2].body), t3=bytes(32)).encode()
        return {**found, 2: Signed(body, signer(0, 2).sign(labels.TYPE_CONSISTENCY, body))}


def test_who_signed_another_t3_is_named_and_nothing_is_revealed() -> None:
    """Although the others are a quorum."""
    world = World(link=Divided(Participants(SEALED, inputs_for(SEALED)), SEAT))
    for _ in range(2):
        with pytest.raises(ProtocolError, match="seat 2 signed another T3 than we did") as caught:
            world.live()
        assert caught.value.peer == "coordinator"
    assert len(world.link.consistency("", 0).keys() - {2}) >= SEALED.quorum
    assert "unmasking" not in world.versions
