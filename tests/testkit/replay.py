"""Plays the sessions of tests/vectors with the product's code.

Entropy and inputs come from the files, every message is made anew. Shares no code with the program that wrote the files.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from vdb_coordinator.rounds import (
    CollectingConsistency,
    CollectingKeys,
    CollectingMaskedInputs,
    CollectingShares,
    ConsistencySigned,
    InputMasked,
    KeysAdvertised,
    KeysShared,
    Phase,
    expire,
    receive,
)
from vdb_participant.rounds import (
    Advertised,
    Agreed,
    Committed,
    Masked,
    SharedKeys,
    advertise,
    agree,
    commit_input,
    mask_input,
    share_keys,
    state_input,
)
from vdb_shared.identity import StatementKey, StatementPublicKey
from vdb_shared.secagg.encoding import Lanes
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Parameters, Seat

Json: TypeAlias = dict[str, Any]

FOLDER = Path(__file__).parents[1] / "vectors"


def load(name: str) -> Json:
    """Return a file of the vectors."""
    found: Json = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return found


def by_seat(entries: Mapping[str, Any]) -> dict[Seat, Any]:
    """Return an object of the files with its seats as numbers."""
    return {int(seat): value for seat, value in entries.items()}


def signed(entry: Json) -> Signed:
    """Return a signed message of the files."""
    return Signed(bytes.fromhex(entry["body"]), bytes.fromhex(entry["signature"]))


def with_changes(good: Mapping[Seat, Any], changes: Mapping[str, Any]) -> dict[Seat, Any]:
    """Return a mapping with other values; None takes one away."""
    return {seat: value for seat, value in (dict(good) | by_seat(changes)).items() if value is not None}


def parameters_of(section: Json) -> Parameters:
    """Return the parameters of an attempt."""
    return Parameters(
        session=bytes.fromhex(section["session"]),
        roster={seat: StatementPublicKey(bytes.fromhex(key)) for seat, key in by_seat(section["roster"]).items()},
        collusion=section["collusion"],
        smallest_cohort=section["smallest_cohort"],
        lanes=section["lanes"],
        left_out=frozenset(section["left_out"]),
        complained=frozenset(section["complained"]),
    )


def lanes_of(committed: Json, count: int) -> Lanes:
    """Return the lanes of a participant, listed or from their seed."""
    if "lanes" in committed:
        return np.array(committed["lanes"], dtype=np.int64)
    # Imported here so that the product's side needs the second implementation for nothing else.
    from testkit import oracle  # noqa: PLC0415

    return np.array(oracle.lanes_from(committed["lanes_seed"], count), dtype=np.int64)


@dataclass
class Replay:
    """All parties of one attempt; each round is played when it is first asked for.

    Attributes:
        keys, sharing, masking: sections of the files.
        shared_instead: round-1 headers that others than the honest code made, by seat.
    """

    keys: Json
    sharing: Json = field(default_factory=dict)
    masking: Json = field(default_factory=dict)
    shared_instead: Mapping[Seat, Signed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parameters = parameters_of(self.keys["parameters"])
        self.drawn: dict[Seat, Json] = by_seat(self.keys["participants"])
        self.seats = sorted(self.drawn)
        played = {seat: self._advertise(seat) for seat in self.seats}
        self.advertised = {seat: phase for seat, (phase, _) in played.items()}
        self.round0 = {seat: message for seat, (_, message) in played.items()}

    def _advertise(self, seat: Seat) -> tuple[Advertised, Signed]:
        signer = StatementKey.from_seed(bytes.fromhex(self.drawn[seat]["statement_seed"]))
        return advertise(self.parameters, seat, signer, bytes.fromhex(self.drawn[seat]["entropy"]))

    def commit(self, seat: Seat) -> Committed:
        """Return the commitments of a seat."""
        committed = self.sharing["participants"][str(seat)]["committed"]
        lanes = lanes_of(committed, self.parameters.lanes)
        return commit_input(self.parameters, lanes, bytes.fromhex(committed["entropy"]))

    def share(self) -> Replay:
        """Play round 1."""
        self.committed = {seat: self.commit(seat) for seat in self.seats}
        self.shared: dict[Seat, SharedKeys] = {}
        self.round1: dict[Seat, Signed] = {}
        self.sealed: dict[Seat, dict[Seat, bytes]] = {}
        for seat in self.seats:
            fresh = bytes.fromhex(self.sharing["participants"][str(seat)]["entropy"])
            self.shared[seat], sent = share_keys(
                self.advertised[seat], self.round0, fresh, self.committed[seat].commitments
            )
            self.round1[seat], self.sealed[seat] = sent.header, dict(sent.sealed)
        self.round1 |= self.shared_instead
        return self

    def sealed_for(self, seat: Seat) -> dict[Seat, bytes]:
        """Return the pairs that the others sealed for a seat."""
        return {dealer: self.sealed[dealer][seat] for dealer in self.seats if dealer != seat}

    def mask(self) -> Replay:
        """Play round 2 of all whose round-1 header is their own."""
        self.share()
        self.masked: dict[Seat, Masked] = {}
        self.round2: dict[Seat, Signed] = {}
        self.uploads: dict[Seat, bytes] = {}
        for seat in self.seats:
            if seat in self.shared_instead:
                continue
            prepared = mask_input(self.shared[seat], self.round1, self.sealed_for(seat), self.committed[seat])
            contribution = bytes.fromhex(self.masking["participants"][str(seat)]["contribution"])
            self.masked[seat], sent = state_input(prepared, contribution)
            self.round2[seat], self.uploads[seat] = sent.header, sent.masked
        return self

    def agree(self, survivors: Collection[Seat]) -> Replay:
        """Play rounds 2 and 3 with these survivors."""
        self.mask()
        headers = {seat: self.round2[seat] for seat in sorted(survivors)}
        self.agreed: dict[Seat, Agreed] = {}
        self.round3: dict[Seat, Signed] = {}
        for seat in headers:
            self.agreed[seat], self.round3[seat] = agree(self.masked[seat], headers)
        return self

    # The coordinator, with what it accepted before.

    def at_keys(self, seats: Collection[Seat]) -> Phase:
        """Return the coordinator in round 0, with messages of these seats."""
        phase: Phase = CollectingKeys(self.parameters)
        for seat in sorted(seats):
            phase = receive(phase, KeysAdvertised(seat, self.round0[seat]))
        return phase

    def at_shares(self, seats: Collection[Seat]) -> Phase:
        """Return the coordinator in round 1, with messages of these seats."""
        phase = self.at_keys(self.seats)
        assert isinstance(phase, CollectingShares)
        for seat in sorted(seats):
            phase = receive(phase, KeysShared(seat, self.round1[seat], self.sealed[seat]))
        return phase

    def at_inputs(self, seats: Collection[Seat]) -> Phase:
        """Return the coordinator in round 2, with messages of these seats."""
        phase = self.at_shares(self.seats)
        assert isinstance(phase, CollectingMaskedInputs)
        for seat in sorted(seats):
            phase = receive(phase, InputMasked(seat, self.round2[seat], self.uploads[seat]))
        return phase

    def at_signatures(self, survivors: Collection[Seat], seats: Collection[Seat]) -> Phase:
        """Return the coordinator in round 3, with signatures of these seats; survivors as in `agree`."""
        phase = self.at_inputs(survivors)
        if isinstance(phase, CollectingMaskedInputs):
            phase = expire(phase)
        assert isinstance(phase, CollectingConsistency)
        for seat in sorted(seats):
            phase = receive(phase, ConsistencySigned(seat, self.round3[seat].signature))
        return phase
