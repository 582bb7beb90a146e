"""A whole session of secure aggregation in memory: the participants' rounds, the coordinator's, and a stopwatch beside them.

Promises that every party runs the shipped rounds on what the others really sent, and that the sum is compared with that of the
inputs. Leaves transport, disk and the ledger out; sizes of messages are those of bodies, signatures, sealed pairs and vectors.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
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
    """CPU seconds of this process, all its threads together, by what they were spent on; one list entry for each call."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._excluded = 0.0

    def run(self, name: str, call: Callable[[], _Value]) -> _Value:
        """Return what a call returns, and note how long it took."""
        excluded, began = self._excluded, time.process_time()
        try:
            return call()
        finally:
            self.seconds[name].append(time.process_time() - began - (self._excluded - excluded))

    def exclude(self, seconds: float) -> None:
        """Take so much off all calls that are running."""
        self._excluded += seconds

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


@dataclass
class Traffic:
    """Bytes of one participant's messages, in both directions."""

    up: int = 0
    down: int = 0


@dataclass
class Rehearsal:
    """One session: `phase` is the coordinator's.

    Attributes:
        parameters: the sealed facts.
        keys: statement keys by seat.
        inputs: lanes by seat.
        blinder_entropy: fresh bytes for blinders, by number.
        threads: how many participants work at a time.
        watch: CPU of each call of a round.
        traffic: of each participant.
    """

    parameters: Parameters
    keys: Mapping[Seat, StatementKey]
    inputs: Mapping[Seat, Lanes]
    blinder_entropy: Callable[[Seat, int], bytes] = field(default=lambda _, size: os.urandom(size))
    threads: int = 1
    watch: Stopwatch = field(default_factory=Stopwatch)
    traffic: dict[Seat, Traffic] = field(default_factory=lambda: defaultdict(Traffic))
    phase: Phase = field(init=False)

    def __post_init__(self) -> None:
        self.phase = CollectingKeys(self.parameters)
        self._phases: dict[Seat, ParticipantPhase] = {}
        self._there = sorted(self.parameters.roster)

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
        self._each("advertise", self._advertise)

    def share_keys(self) -> None:
        """Round 1."""
        advertised = _expect(CollectingShares, self.phase).advertised.messages
        self._each("share", lambda seat: self._share(seat, advertised))

    def mask_inputs(self, absent: Collection[Seat]) -> None:
        """Round 2, without those who are absent from here on."""
        opened = _expect(CollectingMaskedInputs, self.phase)
        self._leave(absent)
        self._each("mask", lambda seat: self._mask(seat, opened))

    def agree(self, absent: Collection[Seat]) -> None:
        """Round 3, without those who are absent from here on."""
        headers = _expect(CollectingConsistency, self.phase).transcript.masked.messages
        self._leave(absent)
        self._each("agree", lambda seat: self._agree(seat, headers))

    def reveal(self) -> None:
        """Round 4."""
        signatures = _expect(CollectingUnmasking, self.phase).signatures
        self._each("reveal", lambda seat: self._reveal(seat, signatures))

    def summed(self) -> Summed:
        """Return the end of the session, which must hold the exact sum of the survivors' inputs."""
        end = _expect(Summed, self.phase)
        expected = np.sum([self.inputs[seat] for seat in sorted(end.survivors)], axis=0)
        if not np.array_equal(end.totals, expected):
            raise RuntimeError("the sum is not that of the survivors' inputs")
        return end

    def _leave(self, absent: Collection[Seat]) -> None:
        self._there = [seat for seat in self._there if seat not in absent]

    def _each(self, name: str, step: Callable[[Seat], tuple[Message, int, int]]) -> None:
        if self.threads == 1:
            self._receive_all(name, map(step, self._there))
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                self._receive_all(name, pool.map(step, self._there))

    def _receive_all(self, name: str, results: Iterator[tuple[Message, int, int]]) -> None:
        before = self.phase
        for message, up, down in results:
            self.traffic[message.seat].up += up
            self.traffic[message.seat].down += down
            self.watch.run(f"coordinator {name}", lambda: self._receive(message))  # noqa: B023 - called at once
        if type(self.phase) is type(before):
            self.phase = expire(self.phase)

    def _receive(self, message: Message) -> None:
        self.phase = receive(self.phase, message)

    def _advertise(self, seat: Seat) -> tuple[Message, int, int]:
        entropy = os.urandom(rounds.ADVERTISE_ENTROPY_BYTES)
        phase, signed = self.watch.run(
            "advertise", lambda: rounds.advertise(self.parameters, seat, self.keys[seat], entropy)
        )
        self._phases[seat] = phase
        return KeysAdvertised(seat, signed), _size(signed), 0

    def _share(self, seat: Seat, advertised: Mapping[Seat, Signed]) -> tuple[Message, int, int]:
        entropy = os.urandom(rounds.SHARE_KEYS_ENTROPY_BYTES)
        before = _expect(rounds.Advertised, self._phases[seat])
        self._phases[seat], sent = self.watch.run("share", lambda: rounds.share_keys(before, advertised, entropy))
        up = _size(sent.header) + sum(map(len, sent.sealed.values()))
        return KeysShared(seat, sent.header, sent.sealed), up, _sizes(advertised)

    def _mask(self, seat: Seat, opened: CollectingMaskedInputs) -> tuple[Message, int, int]:
        before = _expect(rounds.SharedKeys, self._phases[seat])
        headers, sealed, lanes = opened.shared.messages, opened.sealed_for(seat), self.inputs[seat]
        entropy = self.blinder_entropy(seat, rounds.mask_entropy_bytes(lanes.size))
        contribution = os.urandom(DIGEST_BYTES)

        def work() -> tuple[rounds.Masked, rounds.MaskedInputMessage]:
            return rounds.state_input(rounds.mask_input(before, headers, sealed, lanes, entropy), contribution)

        self._phases[seat], sent = self.watch.run("mask", work)
        down = _sizes(headers) + sum(map(len, sealed.values()))
        return InputMasked(seat, sent.header, sent.masked), _size(sent.header) + len(sent.masked), down

    def _agree(self, seat: Seat, headers: Mapping[Seat, Signed]) -> tuple[Message, int, int]:
        before = _expect(rounds.Masked, self._phases[seat])
        self._phases[seat], signed = self.watch.run("agree", lambda: rounds.agree(before, headers))
        return ConsistencySigned(seat, signed.signature), len(signed.signature), _sizes(headers)

    def _reveal(self, seat: Seat, signatures: Mapping[Seat, bytes]) -> tuple[Message, int, int]:
        before = _expect(rounds.Agreed, self._phases[seat])
        self._phases[seat], signed = self.watch.run("reveal", lambda: rounds.reveal(before, signatures))
        return SharesRevealed(seat, signed), _size(signed), sum(map(len, signatures.values()))


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


def _expect(kind: type[_Value], phase: object) -> _Value:
    if not isinstance(phase, kind):
        raise RuntimeError(f"expected {kind.__name__}, found {phase!r}")
    return phase
