"""A malicious coordinator with colluders against honest institutions whose durable code is real: journal, rounds, restarts.

Each step of an institution is a life of its own: it goes on from its journal and ends where nothing is on offer for it. The
coordinator keeps all it was sent, of as many attempts as it likes beside each other.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from testkit.consortium import entropy, inputs_for, parameters, signer
from testkit.crashes import Disk, RoundsOnly
from vdb_participant.network.link import Upload
from vdb_participant.rounds import (
    ADVERTISE_ENTROPY_BYTES,
    SHARE_KEYS_ENTROPY_BYTES,
    Advertised,
    MaskedInputMessage,
    SharedKeys,
    SharedKeysMessage,
    advertise,
    commit_entropy_bytes,
    commit_input,
    mask_input,
    share_keys,
    state_input,
)
from vdb_participant.session.attempts import run_rounds
from vdb_participant.session.correspondence import Correspondence
from vdb_participant.session.exchange import Exchange
from vdb_participant.site.journal import Journal
from vdb_shared import labels
from vdb_shared.bundle.envelope import sign_envelope
from vdb_shared.errors import ProtocolError, SessionAbortedError
from vdb_shared.secagg.messages import (
    ConsistencyStatement,
    MaskedInputHeader,
    SharedKeysHeader,
    Signed,
    UnmaskingShares,
)
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.secagg.restarts import Restart
from vdb_shared.wire.status import Phase, SessionStatus, Shares

REFUSALS = (ProtocolError, SessionAbortedError)
JOURNAL = bytes(32)
T = TypeVar("T")


class Pause(BaseException):
    """Nothing is on offer for what a life waits for."""


@dataclass(frozen=True)
class Offer:
    """What the coordinator lets one institution come to.

    Attributes:
        phase: the only one that it is told of.
        messages: of others, or signatures of T3.
        sealed: pairs for it.
    """

    phase: Phase = Phase.ADVERTISING_KEYS
    messages: Mapping[Seat, Signed] = field(default_factory=dict)
    sealed: Mapping[Seat, bytes] = field(default_factory=dict)


class Colluder:
    """A member of the coordinator's own in one attempt: for every view it has messages that fit."""

    def __init__(self, sealed: Parameters, seat: Seat) -> None:
        self.sealed, self.seat = sealed, seat
        fresh = entropy("colluder", sealed.session, seat, size=ADVERTISE_ENTROPY_BYTES)
        self.phase: Advertised
        self.phase, self.keys = advertise(sealed, seat, signer(0, seat), fresh)
        lanes = inputs_for(sealed)[seat]
        self._committed = commit_input(sealed, lanes, bytes(commit_entropy_bytes(lanes.size)))

        self._dealt: dict[frozenset[Seat], tuple[SharedKeys, SharedKeysMessage] | None] = {}

    def deal(self, view: Mapping[Seat, Signed]) -> tuple[SharedKeys, SharedKeysMessage] | None:
        """Return round 1 for a view, if there can be one."""
        seats = frozenset(view)
        if seats not in self._dealt:
            try:
                fresh = bytes(SHARE_KEYS_ENTROPY_BYTES)
                self._dealt[seats] = share_keys(self.phase, view, fresh, self._committed.commitments)
            except ProtocolError:
                self._dealt[seats] = None
        return self._dealt[seats]

    def header(
        self, view: Mapping[Seat, Signed], headers: Mapping[Seat, Signed], sealed: Mapping[Seat, bytes]
    ) -> Signed | None:
        """Return the header of round 2 for a view, if there can be one."""
        dealt = self.deal(view)
        if dealt is None:
            return None
        try:
            prepared = mask_input(dealt[0], headers, sealed, self._committed)
        except ProtocolError:
            return None
        return state_input(prepared, bytes(32))[1].header


@dataclass
class Attempt:
    """What the coordinator knows of one attempt: all that the honest sent, and what each of them was shown."""

    parameters: Parameters
    colluders: Mapping[Seat, Colluder]
    restarts: tuple[Restart, ...] = ()
    advertised: dict[Seat, Signed] = field(default_factory=dict)
    shared: dict[Seat, SharedKeysMessage] = field(default_factory=dict)
    masked: dict[Seat, MaskedInputMessage] = field(default_factory=dict)
    signed: dict[Seat, Signed] = field(default_factory=dict)
    answered: dict[Seat, Signed] = field(default_factory=dict)
    complaints: dict[Seat, Signed] = field(default_factory=dict)
    round0: dict[Seat, Mapping[Seat, Signed]] = field(default_factory=dict)
    round1: dict[Seat, Mapping[Seat, Signed]] = field(default_factory=dict)

    def copy(self) -> Attempt:
        """Return an attempt that goes on by itself."""
        return replace(
            self,
            advertised=dict(self.advertised),
            shared=dict(self.shared),
            masked=dict(self.masked),
            signed=dict(self.signed),
            answered=dict(self.answered),
            complaints=dict(self.complaints),
            round0=dict(self.round0),
            round1=dict(self.round1),
        )

    @property
    def answers(self) -> dict[Seat, UnmaskingShares]:
        """What the honest revealed."""
        return {seat: UnmaskingShares.decode(signed.body) for seat, signed in self.answered.items()}

    def statement(self, seat: Seat) -> ConsistencyStatement:
        """Return what a seat signed."""
        return ConsistencyStatement.decode(self.signed[seat].body)

    def t1(self, seat: Seat) -> bytes:
        """Return the T1 that a seat signed."""
        return SharedKeysHeader.decode(self.shared[seat].header.body).t1

    def t2(self, seat: Seat) -> bytes:
        """Return the T2 that a seat signed."""
        return MaskedInputHeader.decode(self.masked[seat].header.body).t2

    def offer(self, seat: Seat, lacking: Collection[Seat], *, careless: bool, forged: bool = False) -> Offer:
        """Return the next step of a seat, in a view without some; nothing when even a quorum of one less is out of reach.

        Args:
            seat: whose.
            lacking: who is not in its view.
            careless: also show messages of those who signed another transcript.
            forged: make up the signatures of T3 that are not there.
        """
        if seat in self.signed:
            found = self._signatures(seat, forged=forged)
            return Offer(Phase.UNMASKING, found) if len(found) >= self.parameters.quorum - 1 else Offer()
        if seat in self.masked:
            return Offer(Phase.CONSISTENCY, without(self._inputs(seat, careless=careless), lacking))
        if seat in self.shared:
            return self._shares(seat, lacking, careless=careless)
        everybody = self.advertised | {peer: colluder.keys for peer, colluder in self.colluders.items()}
        return Offer(Phase.SHARING_KEYS, without(everybody, lacking))

    def _shares(self, seat: Seat, lacking: Collection[Seat], *, careless: bool) -> Offer:
        view = self.round0[seat]
        dealt = {
            peer: message
            for peer, message in self.shared.items()
            if peer in view and (careless or self.t1(peer) == self.t1(seat))
        }
        dealt |= {
            peer: found[1]
            for peer, colluder in self.colluders.items()
            if peer in view and (found := colluder.deal(view)) is not None
        }
        dealt = {peer: message for peer, message in dealt.items() if peer not in lacking}
        pairs = {peer: message.sealed.get(seat, b"") for peer, message in dealt.items() if peer != seat}
        return Offer(Phase.MASKING_INPUT, {peer: message.header for peer, message in dealt.items()}, pairs)

    def _inputs(self, seat: Seat, *, careless: bool) -> dict[Seat, Signed]:
        view, headers = self.round0[seat], self.round1[seat]
        found = {
            peer: message.header
            for peer, message in self.masked.items()
            if peer in headers and (careless or self.t2(peer) == self.t2(seat))
        }
        for peer, colluder in self.colluders.items():
            pairs = self._pairs_for(peer, headers.keys() - {peer}, view)
            header = colluder.header(view, headers, pairs) if peer in headers else None
            found |= {peer: header} if header is not None else {}
        return found

    def _pairs_for(self, colluder: Seat, dealers: Collection[Seat], view: Mapping[Seat, Signed]) -> dict[Seat, bytes]:
        pairs = {peer: self.shared[peer].sealed.get(colluder, b"") for peer in dealers if peer in self.shared}
        for peer in self.colluders.keys() & set(dealers):
            dealt = self.colluders[peer].deal(view)
            pairs[peer] = dealt[1].sealed.get(colluder, b"") if dealt is not None else b""
        return pairs

    def _signatures(self, seat: Seat, *, forged: bool) -> dict[Seat, Signed]:
        body = self.signed[seat].body
        survivors = self.statement(seat).masked
        found = {peer: signed for peer, signed in self.signed.items() if peer in survivors and signed.body == body}
        for peer in survivors & self.colluders.keys():
            found[peer] = Signed(body, signer(0, peer).sign(labels.TYPE_CONSISTENCY, body))
        return {peer: Signed(body, bytes(64)) for peer in survivors if forged} | found


def without(messages: Mapping[Seat, Signed], lacking: Collection[Seat]) -> dict[Seat, Signed]:
    """Return the messages of a view that lacks some seats."""
    return {seat: signed for seat, signed in messages.items() if seat not in lacking}


@dataclass
class HostileLink(RoundsOnly):
    """The coordinator in one life of one institution; implements Link.

    Attributes:
        seat: the institution.
        present: the attempt that it is in.
        target: the one into which it is led.
        offer: what it is shown.
    """

    seat: Seat
    present: Attempt
    target: Attempt
    offer: Offer

    def wait(self, session: str, phase: Phase, attempt: int = 0) -> SessionStatus:
        """Tell of a restart or of the phase on offer; what else is waited for does not come in this life."""
        led = len(self.target.restarts)
        if led > attempt or (phase is Phase.ADVERTISING_KEYS and attempt == led):
            return SessionStatus(Phase.ADVERTISING_KEYS, 1, "", (), led)
        if phase is self.offer.phase:
            return SessionStatus(phase, 1, "", (), attempt)
        raise Pause

    def restarts(self, session: str) -> tuple[Restart, ...]:
        return self.target.restarts

    def advertise_keys(self, session: str, seat: Seat, attempt: int, keys: Signed) -> None:
        once(self._at(attempt).advertised, seat, keys)

    def advertised_keys(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        return self.offer.messages

    def share_keys(self, session: str, seat: Seat, attempt: int, header: Signed, sealed: Mapping[Seat, bytes]) -> None:
        once(self._at(attempt).shared, seat, SharedKeysMessage(header, sealed))
        self._at(attempt).round0.setdefault(seat, self.offer.messages)

    def shared_keys(self, session: str, seat: Seat, attempt: int) -> Shares:
        return Shares(self.offer.messages, self.offer.sealed)

    def upload(self, session: str, seat: Seat, attempt: int, upload: Upload) -> None:
        once(self._at(attempt).masked, seat, MaskedInputMessage(upload.header, upload.masked))
        self._at(attempt).round1.setdefault(seat, self.offer.messages)

    def complain(self, session: str, seat: Seat, attempt: int, complaint: Signed) -> None:
        once(self._at(attempt).complaints, seat, complaint)

    def masked_inputs(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        return self.offer.messages

    def sign_consistency(self, session: str, seat: Seat, attempt: int, statement: Signed) -> None:
        once(self._at(attempt).signed, seat, statement)

    def consistency(self, session: str, attempt: int) -> Mapping[Seat, Signed]:
        return self.offer.messages

    def reveal_shares(self, session: str, seat: Seat, attempt: int, shares: Signed) -> None:
        once(self._at(attempt).answered, seat, shares)

    def _at(self, attempt: int) -> Attempt:
        return self.target if attempt == len(self.target.restarts) else self.present


def once(kept: dict[Seat, T], seat: Seat, message: T) -> None:
    """Keep a message, of which there may be one version."""
    assert kept.setdefault(seat, message) == message, f"seat {seat} sends a second version"


@dataclass
class Standoff:
    """One session: the honest with their disks, and the coordinator with all it knows.

    Attributes:
        sealed: the facts of the first attempt.
        disks: of the honest.
        attempts: by what opens their transcript.
        present: the attempt in which each of the honest is.
        gone: who has left, or will never be heard of again.
    """

    sealed: Parameters
    disks: dict[Seat, Disk]
    attempts: dict[bytes, Attempt]
    present: dict[Seat, bytes]
    gone: set[Seat] = field(default_factory=set)

    @property
    def honest(self) -> list[Seat]:
        """The honest seats."""
        return sorted(self.disks)

    def copy(self) -> Standoff:
        """Return the same session, which goes on by itself."""
        disks = {seat: Disk(disk.data) for seat, disk in self.disks.items()}
        attempts = {session: attempt.copy() for session, attempt in self.attempts.items()}
        return Standoff(self.sealed, disks, attempts, dict(self.present), set(self.gone))

    def attempt_of(self, seat: Seat) -> Attempt:
        """Return the attempt in which a seat is."""
        return self.attempts[self.present[seat]]

    def restarted(self, parameters: Parameters, restarts: tuple[Restart, ...]) -> Attempt:
        """Return an attempt, begun if it is new."""
        return self.attempts.setdefault(
            parameters.session, begun(parameters, self.sealed.seats - set(self.honest), restarts)
        )

    def live(self, seat: Seat, offer: Offer, target: Attempt | None = None) -> None:
        """One life of one institution, with this on offer."""
        present = self.attempt_of(seat)
        link = HostileLink(seat, present, target or present, offer)
        journal = Journal(self.disks[seat], JOURNAL)
        exchange = Exchange(
            Correspondence(journal, link, "session"),
            self.sealed,
            seat,
            signer(0, seat),
            entropy=lambda size: entropy("life", seat, journal.names, size=size),
        )
        try:
            run_rounds(
                exchange, inputs_for(self.sealed)[seat], lambda y: sign_envelope("test", y, signer(0, seat)).to_json()
            )
        except Pause:
            pass
        except REFUSALS:
            self.gone.add(seat)
        if target is not None and seat in target.advertised:
            self.present[seat] = target.parameters.session


def begun(sealed: Parameters, colluders: Collection[Seat], restarts: tuple[Restart, ...] = ()) -> Attempt:
    """Return an attempt of which nothing has been seen yet."""
    return Attempt(sealed, {seat: Colluder(sealed, seat) for seat in colluders if seat in sealed.seats}, restarts)


@functools.cache
def standoff(joined: int, collusion: int, dropout: str, rounds: int) -> Standoff:
    """Return a session in which everybody was shown the same in so many rounds; to be copied. The last seats collude."""
    sealed = parameters(joined, collusion=collusion, lanes=1, dropout=dropout)
    honest = range(joined - collusion)
    first = begun(sealed, range(joined - collusion, joined))
    played = Standoff(
        sealed, {seat: Disk() for seat in honest}, {sealed.session: first}, dict.fromkeys(honest, sealed.session)
    )
    for seat in honest:
        played.live(seat, Offer())
    for _ in range(rounds):
        for seat in honest:
            played.live(seat, first.offer(seat, (), careless=False))
    return played
