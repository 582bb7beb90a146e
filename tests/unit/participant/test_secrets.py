"""No secret of the rounds is ever printed, logged, or said in an error, and none is left in memory that can be overwritten."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import structlog

from testkit.consortium import Participants, expect, inputs_for
from testkit.crashes import MemoryLink
from testkit.lives import SEALED, SEAT, World, lanes_of, link
from testkit.secrets import Haystack, forms, journal_secrets, lane_secrets, share_secrets
from vdb_participant import rounds
from vdb_participant.phases import Committed, Prepared, Revealed, Secrets, SharedKeys
from vdb_participant.session.records import MEASURED
from vdb_shared.errors import StatisticError, VdbError
from vdb_shared.secagg.messages import Signed
from vdb_shared.wire.status import Shares

STEPS = ("advertise", "commit_input", "share_keys", "mask_input", "state_input", "complain", "agree", "reveal")


@dataclass
class Watch:
    """What the rounds returned, and what was seen of it and of everything else."""

    returned: list[object] = field(default_factory=list)
    seen: Haystack = field(default_factory=Haystack)

    def spy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Look at every value that goes into the rounds and comes out of them."""
        for name in STEPS:
            monkeypatch.setattr(rounds, name, self._watched(getattr(rounds, name)))

    def _watched(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*given: Any) -> Any:
            self.seen.add([item for item in given if not isinstance(item, bytes | np.ndarray)])
            made = step(*given)
            for item in made if isinstance(made, tuple) else (made,):
                self.returned.append(item)
                for part in parts_of(item):
                    self.seen.add(part)
            return made

        return watched

    def of(self, kind: type[Any]) -> list[Any]:
        return [item for item in self.returned if isinstance(item, kind)]


def parts_of(value: object) -> Iterator[object]:
    """Yield a state and every state within it; raw fields are what repr must hide."""
    yield value
    if is_dataclass(value):
        for part in fields(value):
            yield from parts_of(getattr(value, part.name)) if is_dataclass(getattr(value, part.name)) else ()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    found = Watch()
    found.spy(monkeypatch)
    return found


@pytest.fixture
def output(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """All logging from DEBUG on, structured or not, and both streams."""
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as events:

        def read() -> str:
            printed = capfd.readouterr()
            return f"{printed.out}\n{printed.err}\n{caplog.text}\n{events}"

        yield read


def secrets_of(world: World, watch: Watch, prefix: str = "") -> dict[str, bytes]:
    """Return every secret of an attempt that went through round 2, without the shares that round 4 reveals."""
    found = journal_secrets(world.journal, prefix) | lane_secrets(lanes_of(world.journal.recall(MEASURED)))
    for prepared in watch.of(Prepared):
        found |= share_secrets(prepared.held)
    revealed = {f"share of b of seat {seat}" for view in watch.of(Revealed) for seat in view.statement.masked}
    return {name: secret for name, secret in found.items() if name not in revealed}


def look_around(world: World, watch: Watch) -> None:
    """Add what is seen of everything that outlives the rounds."""
    journal = world.journal
    for value in (world.link.phase, world.link.made, journal, journal.names):
        watch.seen.add(value)
    for record in journal._records.values():
        watch.seen.add(record)


@pytest.mark.parametrize("garbage", [{}, {0: 2}], ids=["one attempt", "a restart"])
def test_a_whole_session_shows_no_secret(watch: Watch, output: Callable[[], str], garbage: dict[int, int]) -> None:
    world = World(link=link(garbage=garbage))
    world.live()
    look_around(world, watch)
    watch.seen.add(output())
    assert watch.seen.holds(secrets_of(world, watch)) == set()
    if garbage:
        assert watch.seen.holds(secrets_of(world, watch, "attempt-1/")) == set()


# Errors of every round.


class Lossy(MemoryLink):
    """Hands over what a chosen method changes."""

    def __init__(self, method: str, change: Callable[[Any], Any]) -> None:
        super().__init__(Participants(SEALED, inputs_for(SEALED)), SEAT)
        real = getattr(self, method)
        setattr(self, method, lambda *given: change(real(*given)))


def forged(messages: dict[int, Signed]) -> dict[int, Signed]:
    return {**messages, 0: Signed(messages[0].body, bytes(64))}


def without_us(messages: dict[int, Any]) -> dict[int, Any]:
    return {seat: message for seat, message in messages.items() if seat != SEAT}


BREACHES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a forged key": ("advertised_keys", forged),
    "our key missing": ("advertised_keys", without_us),
    "a forged header": ("shared_keys", lambda found: Shares(forged(found.headers), found.sealed)),
    "a pair altered": ("shared_keys", lambda found: Shares(found.headers, {**found.sealed, 0: bytes(80)})),
    "pairs missing": ("shared_keys", lambda found: Shares(found.headers, {})),
    "a forged input": ("masked_inputs", forged),
    "another T3": ("consistency", lambda found: {**found, 0: Signed(b"another view", bytes(64))}),
    "a forged T3": ("consistency", forged),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_no_error_of_the_rounds_says_a_secret(watch: Watch, output: Callable[[], str], breach: str) -> None:
    world = World(link=Lossy(*BREACHES[breach]))
    with pytest.raises(VdbError) as caught:
        world.live()
    watch.seen.add(caught.value)
    watch.seen.add("".join(traceback.format_exception(caught.value)))
    look_around(world, watch)
    watch.seen.add(output())
    journal = world.journal
    found = lane_secrets(lanes_of(journal.recall(MEASURED)))
    found |= {name: journal.recall(name) for name in journal.names if name.endswith(("/entropy", "/blinders"))}
    for prepared in watch.of(Prepared):
        found |= share_secrets(prepared.held)
    assert watch.seen.holds(found) == set()


def test_a_lane_that_does_not_fit_is_not_told() -> None:
    lanes = np.array([1, 2**47 + 123_456_789, 3, 4, 5, 6], dtype=np.int64)
    with pytest.raises(StatisticError) as caught:
        rounds.commit_input(SEALED, lanes, bytes(rounds.commit_entropy_bytes(6)))
    assert Haystack([str(caught.value).encode()]).holds(lane_secrets(lanes[1:2])) == set()


# The search itself.


def leaks() -> dict[str, Callable[[bytes], None]]:
    log, structured = logging.getLogger("vdb_participant"), structlog.get_logger("vdb_participant")
    return {
        "print": lambda secret: sys.stdout.write(secret.hex()) and None,
        "log": lambda secret: log.debug("drew %s", int.from_bytes(secret, "little")),
        "structured log": lambda secret: structured.info("drew", seed=secret),
        "stderr": lambda secret: os.write(2, secret) and None,
    }


@pytest.mark.parametrize("way", leaks())
def test_a_secret_that_is_shown_is_found(watch: Watch, output: Callable[[], str], way: str) -> None:
    world = World()
    world.live()
    secrets = secrets_of(world, watch)
    assert len(secrets) == 6 + 2 * 6 + 5
    for name, secret in secrets.items():
        if way == "stderr":
            watch.seen.add(secret)  # undecodable bytes do not survive the capture
        leaks()[way](secret)
        watch.seen.add(output())
        assert name in watch.seen.holds(secrets)


def test_every_form_is_found() -> None:
    secret = os.urandom(32)
    for form in forms(secret):
        assert Haystack([b"before " + form + b" after"]).holds({"it": secret}) == {"it"}
    assert Haystack([repr(SharedKeys).encode()]).holds({"it": secret}) == set()


def test_a_state_that_shows_its_secret_is_found(watch: Watch) -> None:
    world = World()
    world.live()
    (prepared,) = watch.of(Prepared)
    shown = Haystack()
    shown.add([pair.mask_key for pair in prepared.held.values()])
    assert shown.holds(secrets_of(world, watch)) == {f"share of k of seat {seat}" for seat in SEALED.seats}


# What is left in memory.


def test_seeds_keys_and_lanes_are_overwritten_when_the_rounds_have_ended(watch: Watch) -> None:
    buffers: list[Secrets] = []
    world = World()
    world.live()
    buffers = [item.secrets for item in watch.returned if hasattr(item, "secrets")]
    assert len(buffers) == 2
    for secrets in buffers:
        for buffer in (secrets.mask_seed, secrets.channel_private, secrets.self_seed, *secrets.channels.values()):
            assert not any(buffer)
    assert [len(secrets.channels) for secrets in buffers] == [0, len(SEALED.seats) - 1]
    (committed,) = watch.of(Committed)
    assert not committed.vector.lanes.any()
    assert not committed.vector.blinders


def test_they_are_overwritten_also_when_a_round_fails(watch: Watch) -> None:
    world = World(link=Lossy("shared_keys", lambda found: Shares(found.headers, {})))
    with pytest.raises(VdbError):
        world.live()
    (shared,) = watch.of(SharedKeys)
    assert not any(expect(Secrets, shared.secrets).self_seed)
    (committed,) = watch.of(Committed)
    assert not committed.vector.lanes.any()


def test_a_later_life_makes_them_again_from_the_journal(watch: Watch) -> None:
    world = World()
    world.live()
    first = [item.own for item in watch.of(SharedKeys)]
    world.live()
    assert [item.own for item in watch.of(SharedKeys)] == first * 2
