"""A session of five institutions as the reducer sees it: no server, no disk, no clock.

A `Story` keeps state and events; each step appends what its seats send, and then whatever the coordinator itself owes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from testkit.consortium import Participants, expect, signer
from testkit.logs import MadeLog
from testkit.small_specs import small_spec
from testkit.spoiled_shares import spoiled
from testkit.statements import INSTITUTIONS, coordinator_key, make_join, make_roster, sign
from vdb_coordinator.duties import Coordinator
from vdb_coordinator.events import (
    ComplaintReceived,
    ConsistencyReceived,
    Countersigned,
    DeadlinePassed,
    DraftMade,
    Event,
    InputReceived,
    Joined,
    KeysReceived,
    MemberAborted,
    SessionPublished,
    SharesReceived,
    UnmaskingReceived,
)
from vdb_coordinator.logged import opening_entry, witnesses_for
from vdb_coordinator.rounds import (
    CollectingConsistency,
    CollectingMaskedInputs,
    CollectingShares,
    CollectingUnmasking,
)
from vdb_coordinator.sessions import apply, opened
from vdb_coordinator.states import (
    Aggregating,
    Finalising,
    Publishing,
    Sealing,
    SessionState,
    duty_of,
    phase_of,
)
from vdb_participant.phases import SharedKeys
from vdb_participant.rounds import state_input
from vdb_shared import labels
from vdb_shared.bundle.envelope import Envelope, sign_envelope
from vdb_shared.bundle.statement import Abort, Contribution, RunManifest
from vdb_shared.canonical import digest_bytes, digest_string, sha256_digest
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.restarts import verify_restart
from vdb_shared.spec import Spec
from vdb_shared.transparency.proof import LogProof

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
EVERYBODY = tuple(range(len(INSTITUTIONS)))


@dataclass
class Story:
    """A session under way.

    Attributes:
        spec: its spec.
        state: after all events.
        events: from the first on.
        blobs: what events hold by digest.
        attempts: the participants of each attempt at the rounds so far.
    """

    spec: Spec = field(default_factory=small_spec)
    events: list[Event] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    attempts: list[Participants] = field(default_factory=list, repr=False)
    state: SessionState = field(init=False)

    def __post_init__(self) -> None:
        self.coordinator = Coordinator(coordinator_key(0), self.blobs.__getitem__)
        event = self.coordinator.open_session(self.spec, make_roster(), bytes(32), self.now())
        self.events.append(event)
        self.state = opened(event)

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=len(self.events))

    def add(self, event: Event) -> None:
        """Apply an event, and do the duties that follow from it."""
        self.state = apply(self.state, event)
        self.events.append(event)
        if isinstance(event, DraftMade | SessionPublished):
            self.blobs[sha256_digest(event.archive)] = event.archive
        if (duty := duty_of(self.state)) is not None:
            self.add(self.coordinator.perform(duty, self.state, self.now(), bytes(32), self.proof()))

    def proof(self) -> LogProof | None:
        """Return what all who joined saw of the log, where the state waits for that."""
        if not isinstance(self.state, Sealing | Publishing):
            return None
        entry, seats, _ = witnesses_for(self.state)
        log = MadeLog("testbed", coordinator_key(0), [opening_entry(self.state.opening)])
        if isinstance(self.state, Publishing):
            log.entries.append(entry)
        return log.proof(len(log.entries) - 1, {INSTITUTIONS[seat]: signer(0, seat) for seat in seats})

    def expire(self) -> None:
        self.add(DeadlinePassed(self.now(), phase_of(self.state)))

    def join(self, *seats: int) -> None:
        opening = self.state.opening
        for seat in seats:
            join = make_join(opening.open, self.spec, opening.signed_roster, seat, 0)
            self.add(Joined(self.now(), seat, join))

    @property
    def participants(self) -> Participants:
        """Those of the present attempt, each with a vector of zeros."""
        state = expect(Aggregating, self.state)
        sealed = state.sealed.parameters
        while len(self.attempts) <= len(state.restarts):
            made = len(self.attempts)
            known = (
                verify_restart(self.attempts[-1].parameters, state.restarts[made - 1], "coordinator")
                if made
                else sealed
            )
            inputs = {seat: np.zeros(known.lanes, dtype=np.int64) for seat in known.roster}
            self.attempts.append(Participants(known, inputs))
        return self.attempts[-1]

    def advertise(self, *seats: int) -> None:
        for seat in seats:
            self.add(KeysReceived(self.now(), seat, self.participants.advertise(seat)))

    def share(self, *seats: int) -> None:
        messages = self.rounds(CollectingShares).advertised.messages
        for seat in seats:
            sent = self.participants.share_keys(seat, messages)
            self.add(SharesReceived(self.now(), seat, sent.header, sent.sealed))

    def share_spoiled(self, seat: int, holders: Sequence[int]) -> None:
        """Let a seat sign for some holders shares that do not open."""
        sent = self.participants.share_keys(seat, self.rounds(CollectingShares).advertised.messages)
        phase = expect(SharedKeys, self.participants.phases[seat])
        self.participants.phases[seat], wrong = spoiled(phase, sent, signer(0, seat), holders)
        self.add(SharesReceived(self.now(), seat, wrong.header, wrong.sealed))

    def complaint(self, seat: int, dealer: int) -> ComplaintReceived:
        """Return a seat's complaint about what a dealer sealed for it."""
        return ComplaintReceived(self.now(), seat, self.participants.complain(seat, dealer))

    def masked(self, seat: int, /, **changes: Any) -> InputReceived:
        """Return a seat's round 2, with some fields of its contribution changed."""
        collecting = self.rounds(CollectingMaskedInputs)
        prepared = self.participants.prepare_input(seat, collecting.shared.messages, collecting.sealed_for(seat))
        contribution = self.contribution(seat, prepared.masked, **changes)
        self.next_phase, sent = state_input(prepared, digest_bytes(contribution.payload_digest))
        return InputReceived(self.now(), seat, sent.header, contribution, sent.masked)

    def mask(self, *seats: int) -> None:
        made = []
        for seat in seats:
            made.append((self.masked(seat), self.next_phase))
        for event, phase in made:
            self.blobs[sha256_digest(event.masked)] = event.masked
            self.participants.phases[event.seat] = phase
            self.add(event)

    def agree(self, *seats: int) -> None:
        messages = self.rounds(CollectingConsistency).transcript.masked.messages
        for seat in seats:
            self.add(ConsistencyReceived(self.now(), seat, self.participants.agree(seat, messages)))

    def reveal(self, *seats: int) -> None:
        signatures = self.rounds(CollectingUnmasking).signatures
        for seat in seats:
            if isinstance(self.state, Aggregating):
                self.add(UnmaskingReceived(self.now(), seat, self.participants.reveal(seat, signatures)))

    def countersign(self, *seats: int) -> None:
        result = expect(Finalising, self.state).draft.result
        for seat in seats:
            envelope = sign_envelope(labels.TYPE_STATEMENT, result, signer(0, seat))
            self.add(Countersigned(self.now(), seat, envelope))

    def leave(self, seat: int, /, **changes: Any) -> None:
        fields = {
            "session": self.state.opening.session,
            "institution": INSTITUTIONS[seat],
            "stage": "somewhere",
            "reason": "no GPU today",
            "aborted": "2026-01-31T12:00:00Z",
        }
        self.add(MemberAborted(self.now(), seat, sign(Abort(**{**fields, **changes}), signer(0, seat))))

    def rounds(self, kind: type[Any]) -> Any:
        return expect(kind, expect(Aggregating, self.state).rounds)

    def contribution(self, seat: int, masked: bytes, /, **changes: Any) -> Envelope:
        manifest = RunManifest(
            environment={},
            models=(),
            extractors=(),
            profile="exact",
            public_clips_made=0,
            public_clips_failed=0,
            sample_root=sha256_digest(b""),
        )
        fields: dict[str, Any] = {
            "session": self.state.opening.session,
            "seal": expect(Aggregating, self.state).sealed.seal.payload_digest,
            "institution": INSTITUTIONS[seat],
            "seat": seat,
            "masked_input": digest_string(masked_digest(masked)),
            "ledger_entry": sha256_digest(b""),
            "manifest": manifest,
        }
        return sign(Contribution(**{**fields, **changes}), signer(0, seat))


STEPS: Sequence[Callable[..., None]] = (
    Story.join,
    Story.advertise,
    Story.share,
    Story.mask,
    Story.agree,
    Story.reveal,
    Story.countersign,
)


def story(until: Callable[..., None] | None = None) -> Story:
    """Return a session in which everybody did every step before `until`."""
    told = Story()
    for step in STEPS:
        if step is until:
            break
        step(told, *EVERYBODY)
    return told


def forged(signed: Signed) -> Signed:
    """Return a signed message with one bit of its signature flipped."""
    return Signed(signed.body, bytes([signed.signature[0] ^ 1]) + signed.signature[1:])
