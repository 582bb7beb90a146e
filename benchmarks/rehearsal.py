"""A whole session of secure aggregation in memory: the participants' rounds, the coordinator's, and a stopwatch beside them.

Promises that every party runs the shipped rounds on what the others really sent, and that the sum is compared with that of the
inputs. Leaves transport, disk and the ledger out; sizes of messages are those of bodies, signatures, sealed pairs and vectors.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

import numpy as np

from vdb_coordinator.rounds import (
    CollectingConsistency,
    CollectingKeys,
    CollectingMaskedInputs,
    CollectingShares,
    CollectingUnmasking,
    ConsistencySigned,
    InputMasked,
    KeysAdvertised,
    KeysShared,
    Message,
    Phase,
    SharesRevealed,
    Summed,
    expire,
    receive,
)
from vdb_participant import rounds
from vdb_shared.identity import StatementKey
from vdb_shared.secagg.encoding import Lanes
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import DIGEST_BYTES, Parameters, Seat, smallest_cohort

_Value = TypeVar("_Value")
ParticipantPhase: TypeAlias = rounds.Advertised | rounds.SharedKeys | rounds.Masked | rounds.Agreed | rounds.Revealed

DROPOUT = Decimal("0.3")
"""θ: at most three in ten may drop out."""


class Stopwatch:
    """What calls took, by name; one list entry for each call.

    Attributes:
        seconds: CPU seconds of this process, all its threads together.
        walls: wall seconds.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.walls: dict[str, list[float]] = defaultdict(list)

    def run(self, name: str, call: Callable[[], _Value]) -> _Value:
        """Return what a call returns, and note how long it took."""
        began, wall = time.process_time(), time.perf_counter()
        try:
            return call()
        finally:
            self.seconds[name].append(time.process_time() - began)
            self.walls[name].append(time.perf_counter() - wall)

    @contextmanager
    def listen(self, module: ModuleType, function: str) -> Iterator[None]:
        """Note how long a function takes wherever this module calls it."""
        original = getattr(module, function)

        def timed(*args: Any, **named: Any) -> Any:
            return self.run(function, lambda: original(*args, **named))

        setattr(module, function, timed)
        try:
            yield
        finally:
            setattr(module, function, original)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a participant sent in a round, and how many bytes its messages had in both directions."""

    message: Message
    up: int
    down: int


Received: TypeAlias = Any
"""What opens a round: nothing, round-0 messages, round-1 headers and sealed pairs, round-2 headers, signatures of T3."""


class Crew:
    """Participants that work one after the other in one process.

    Attributes:
        watch: CPU of each call of a round.
    """

    def __init__(self, parameters: Parameters, keys: Mapping[Seat, StatementKey], inputs: Mapping[Seat, Lanes]) -> None:
        """Hire them.

        Args:
            parameters: the sealed facts.
            keys: statement keys by seat.
            inputs: lanes by seat; seats with the same array share one commitment, as it is too dear to be computed for all.
        """
        self.watch = Stopwatch()
        self._parameters, self._keys, self._inputs = parameters, keys, inputs
        self._phases: dict[Seat, ParticipantPhase] = {}
        self._committed: dict[int, rounds.Committed] = {}
        self._received: Received = None
        self._rounds: dict[str, Callable[[Seat], Sent]] = {
            "advertise": self._advertise,
            "share": self._share,
            "mask": self._mask,
            "agree": self._agree,
            "reveal": self._reveal,
        }

    def listen(self, received: Received) -> None:
        """Take what opens the next round."""
        self._received = received

    def play(self, name: str, seat: Seat) -> Sent:
        """Return what a participant sends in a round."""
        return self._rounds[name](seat)

    def _commit(self, lanes: Lanes) -> rounds.Committed:
        if id(lanes) not in self._committed:
            entropy = os.urandom(rounds.commit_entropy_bytes(lanes.size))
            self._committed[id(lanes)] = self.watch.run(
                "commit", lambda: rounds.commit_input(self._parameters, lanes, entropy)
            )
        return self._committed[id(lanes)]

    def _advertise(self, seat: Seat) -> Sent:
        entropy = os.urandom(rounds.ADVERTISE_ENTROPY_BYTES)
        phase, signed = self.watch.run(
            "advertise", lambda: rounds.advertise(self._parameters, seat, self._keys[seat], entropy)
        )
        self._phases[seat] = phase
        return Sent(KeysAdvertised(seat, signed), _size(signed), 0)

    def _share(self, seat: Seat) -> Sent:
        advertised: Mapping[Seat, Signed] = self._received
        entropy = os.urandom(rounds.SHARE_KEYS_ENTROPY_BYTES)
        before = expect(rounds.Advertised, self._phases[seat])
        commitments = self._commit(self._inputs[seat]).commitments
        self._phases[seat], sent = self.watch.run(
            "share", lambda: rounds.share_keys(before, advertised, entropy, commitments)
        )
        up = _size(sent.header) + sum(map(len, sent.sealed.values()))
        return Sent(KeysShared(seat, sent.header, sent.sealed), up, _sizes(advertised))

    def _mask(self, seat: Seat) -> Sent:
        headers, all_sealed = self._received
        before = expect(rounds.SharedKeys, self._phases[seat])
        sealed, committed = all_sealed[seat], self._commit(self._inputs[seat])
        contribution = os.urandom(DIGEST_BYTES)

        def work() -> tuple[rounds.Masked, rounds.MaskedInputMessage]:
            return rounds.state_input(rounds.mask_input(before, headers, sealed, committed), contribution)

        self._phases[seat], sent = self.watch.run("mask", work)
        up, down = _size(sent.header) + len(sent.masked), _sizes(headers) + sum(map(len, sealed.values()))
        return Sent(InputMasked(seat, sent.header, sent.masked), up, down)

    def _agree(self, seat: Seat) -> Sent:
        headers: Mapping[Seat, Signed] = self._received
        before = expect(rounds.Masked, self._phases[seat])
        self._phases[seat], signed = self.watch.run("agree", lambda: rounds.agree(before, headers))
        return Sent(ConsistencySigned(seat, signed.signature), len(signed.signature), _sizes(headers))

    def _reveal(self, seat: Seat) -> Sent:
        signatures: Mapping[Seat, bytes] = self._received
        before = expect(rounds.Agreed, self._phases[seat])
        self._phases[seat], signed = self.watch.run("reveal", lambda: rounds.reveal(before, signatures))
        return Sent(SharesRevealed(seat, signed), _size(signed), sum(map(len, signatures.values())))


Players: TypeAlias = Callable[[str, Sequence[Seat], Received], Iterable[Sent]]
"""Runs one round, by its name, for these seats."""


class Rehearsal:
    """The coordinator, and participants wherever they run.

    Attributes:
        phase: the coordinator's.
        watch: CPU of each message that it accepts.
        up, down: bytes of each participant's messages.
    """

    def __init__(self, parameters: Parameters, inputs: Mapping[Seat, Lanes], players: Players) -> None:
        """Open the session.

        Args:
            parameters: the sealed facts.
            inputs: lanes by seat, of which the sum must come out.
            players: the participants.
        """
        self.phase: Phase = CollectingKeys(parameters)
        self.watch = Stopwatch()
        self.up: dict[Seat, int] = defaultdict(int)
        self.down: dict[Seat, int] = defaultdict(int)
        self._inputs, self._players = inputs, players
        self._there = sorted(parameters.roster)

    def run(self, before_input: Collection[Seat], after_input: Collection[Seat]) -> Summed:
        """Run all rounds; these drop out after they shared keys, or after their masked input."""
        self.advertise()
        self.share_keys()
        self.mask_inputs(before_input)
        self.agree(after_input)
        self.reveal()
        return self.summed()

    def advertise(self) -> None:
        """Round 0."""
        self._round("advertise", None)

    def share_keys(self) -> None:
        """Commitments, and round 1."""
        self._round("share", expect(CollectingShares, self.phase).advertised.messages)

    def mask_inputs(self, absent: Collection[Seat]) -> None:
        """Round 2, without those who are absent from here on."""
        opened = expect(CollectingMaskedInputs, self.phase)
        self._leave(absent)
        self._round("mask", (opened.shared.messages, {seat: opened.sealed_for(seat) for seat in self._there}))

    def agree(self, absent: Collection[Seat]) -> None:
        """Round 3, without those who are absent from here on."""
        headers = expect(CollectingConsistency, self.phase).transcript.masked.messages
        self._leave(absent)
        self._round("agree", headers)

    def reveal(self) -> None:
        """Round 4."""
        self._round("reveal", expect(CollectingUnmasking, self.phase).signatures)

    def summed(self) -> Summed:
        """Return the end of the session, which must hold the exact sum of the survivors' inputs."""
        end = expect(Summed, self.phase)
        expected = np.sum([self._inputs[seat] for seat in sorted(end.survivors)], axis=0)
        if not np.array_equal(end.totals, expected):
            raise RuntimeError("the sum is not that of the survivors' inputs")
        return end

    def _leave(self, absent: Collection[Seat]) -> None:
        self._there = [seat for seat in self._there if seat not in absent]

    def _round(self, name: str, received: Received) -> None:
        before = self.phase
        for sent in self._players(name, self._there, received):
            self.up[sent.message.seat] += sent.up
            self.down[sent.message.seat] += sent.down
            self.watch.run(name, partial(self._receive, sent.message))
        if type(self.phase) is type(before):
            self.phase = expire(self.phase)

    def _receive(self, message: Message) -> None:
        self.phase = receive(self.phase, message)


def here(crew: Crew) -> Players:
    """Return participants that run in this process."""

    def players(name: str, seats: Sequence[Seat], received: Received) -> Iterator[Sent]:
        crew.listen(received)
        return (crew.play(name, seat) for seat in seats)

    return players


def consortium(participants: int, collusion: int, lanes: int) -> tuple[Parameters, dict[Seat, StatementKey]]:
    """Return the facts of a session among so many participants, and their statement keys."""
    keys = {seat: StatementKey.generate() for seat in range(participants)}
    roster = {seat: key.public_key for seat, key in keys.items()}
    smallest = smallest_cohort(participants, collusion, DROPOUT)
    return Parameters(os.urandom(DIGEST_BYTES), roster, collusion, smallest, lanes), keys


def random_lanes(count: int) -> Lanes:
    """Return lanes over the whole range of a participant's values."""
    return np.frombuffer(os.urandom(8 * count), dtype="<i8").astype(np.int64) >> 16


def _size(signed: Signed) -> int:
    return len(signed.body) + len(signed.signature)


def _sizes(messages: Mapping[Seat, Signed]) -> int:
    return sum(map(_size, messages.values()))


def expect(kind: type[_Value], phase: object) -> _Value:
    """Return a phase that must be of this kind."""
    if not isinstance(phase, kind):
        raise RuntimeError(f"expected {kind.__name__}, found {phase!r}")
    return phase
