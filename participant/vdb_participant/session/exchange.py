"""Rounds 0 to 4 of one attempt made durable: the pure rounds of `rounds.py` between the journal and a link.

Promises, for every message: entropy and what was received are in the journal before they are used, what is sent is in the
journal before it is sent, and a message that was sent once is only ever sent again with the same bytes. The masked input is
preceded by the ledger's debit and by the record LEAVING, without which it provably never left; a complaint takes its place,
and nothing follows it. Seeds and keys are overwritten in memory when the round that needs them last has ended. Leaves
restarts to `attempts.py`, measuring to `contribution.py` and everything before and after the rounds to `agent.py`.

Source: protos/README.md §4.3, §12.2.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from vdb_participant import rounds
from vdb_participant.network.link import Upload
from vdb_participant.phases import Advertised, Agreed, Committed, Masked, Prepared, Secrets, SharedKeys
from vdb_participant.session.codec import (
    decode_by_seat,
    decode_shared,
    decode_signed,
    decode_signed_set,
    decode_upload,
    encode_by_seat,
    encode_shared,
    encode_signed,
    encode_signed_set,
    encode_upload,
)
from vdb_participant.session.correspondence import Correspondence
from vdb_participant.session.records import in_attempt
from vdb_participant.site.failpoints import Failpoints
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.canonical import digest_bytes
from vdb_shared.errors import ProtocolError, RoundsRestartedError, SessionAbortedError, UnusableShareError
from vdb_shared.identity import Signer
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Parameters, Seat
from vdb_shared.wire.spoken import doing
from vdb_shared.wire.status import Phase, SessionStatus

ADVERTISE_ENTROPY: Final = "advertise-keys/entropy"
ADVERTISE_SENT: Final = "advertise-keys/sent"
SHARE_RECEIVED: Final = "share-keys/received"
SHARE_ENTROPY: Final = "share-keys/entropy"
SHARE_BLINDERS: Final = "share-keys/blinders"
SHARE_SENT: Final = "share-keys/sent"
MASK_RECEIVED: Final = "masked-input/received"
COMPLAINT_SENT: Final = "complaint/sent"
"""In place of everything below: whoever complains sends nothing more in its attempt."""
MASK_CONTRIBUTION: Final = "masked-input/contribution"
MASK_SENT: Final = "masked-input/sent"
LEAVING: Final = "masked-input/leaving"
"""Recorded before the first byte of the masked input is offered to the network; a session without it is refunded."""
AGREE_RECEIVED: Final = "consistency/received"
AGREE_SENT: Final = "consistency/sent"
REVEAL_RECEIVED: Final = "unmasking/received"
REVEAL_SENT: Final = "unmasking/sent"

Lanes = NDArray[np.int64]
ContributionOf = Callable[[bytes], bytes]
"""From the digest of the masked vector to the envelope of the contribution statement; debits the ledger on the way."""

Erasable = TypeVar("Erasable", Secrets, Committed)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one attempt of the rounds works with.

    Attributes:
        post: the session's journal and link.
        parameters: the sealed facts, in this attempt.
        seat: ours.
        signer: our statement key.
        entropy: the operating system's, by number of bytes.
        failpoints: none outside tests.
    """

    post: Correspondence
    parameters: Parameters
    seat: Seat
    signer: Signer = field(repr=False)
    entropy: Callable[[int], bytes] = os.urandom
    failpoints: Failpoints = field(default_factory=Failpoints)

    @property
    def attempt(self) -> int:
        """How often the rounds were restarted."""
        return len(self.parameters.left_out)

    def name(self, record: str) -> str:
        """Return what a record is called in this attempt."""
        return in_attempt(self.attempt, record)

    def once(self, record: str, make: Callable[[], bytes], *, secret: bool = False) -> bytes:
        """Return what this attempt recorded under a name; if nothing, make it and record it first."""
        return self.post.journal.once(self.name(record), make, secret=secret)

    def send(self, record: str, signed: bytes, call: Callable[[], None]) -> None:
        """Record a message and deliver it, unless it was."""
        self.post.keep(self.name(record), signed)
        self.post.deliver(self.name(record), call)

    def wait(self, phase: Phase) -> SessionStatus:
        """Return once this attempt has reached a phase; raises as `Correspondence.wait_in`."""
        return self.post.wait_in(self.attempt, phase)


def run_attempt(x: Exchange, lanes: Lanes, contribution_of: ContributionOf) -> None:
    """Take part in rounds 0 to 4 of one attempt, from wherever the journal says we are.

    Args:
        x: what the rounds work with.
        lanes: encoded statistic with noise, the same at every call for this session.
        contribution_of: makes the contribution statement; called at most once in the attempt's life.

    Raises:
        RoundsRestartedError: the coordinator says that the rounds go on in a later attempt.
        ProtocolError: the coordinator or a peer broke the protocol; nothing more may be sent.
        SessionAbortedError: the session ended, or no longer waits for us.
    """
    advertised = _advertise(x)
    with _erased(_commit(x, lanes)) as committed:
        with _erased(advertised.secrets):
            shared = _share(x, advertised, committed)
        with _erased(shared.secrets):
            masked = _mask(x, shared, committed, contribution_of)
    # The session may finish without our signature or our shares; our input is in the sum all the same.
    agreed = x.post.in_time(x.attempt, lambda: _agree(x, masked))
    if agreed is not None:
        x.post.in_time(x.attempt, lambda: _reveal(x, agreed))


@contextmanager
def _erased(secrets: Erasable) -> Iterator[Erasable]:
    """Overwrite secrets in memory after their last use; a later life makes them anew from the journal."""
    try:
        yield secrets
    finally:
        secrets.erase()


def _advertise(x: Exchange) -> Advertised:
    entropy = x.once(ADVERTISE_ENTROPY, lambda: x.entropy(rounds.ADVERTISE_ENTROPY_BYTES), secret=True)
    phase, own = rounds.advertise(x.parameters, x.seat, x.signer, entropy)
    link, session = x.post.link, x.post.session
    x.send(ADVERTISE_SENT, encode_signed(own), lambda: link.advertise_keys(session, x.seat, x.attempt, own))
    x.failpoints.reach("after-advertise-keys")
    return phase


def _commit(x: Exchange, lanes: Lanes) -> Committed:
    blinders = x.once(SHARE_BLINDERS, lambda: x.entropy(rounds.commit_entropy_bytes(lanes.size)), secret=True)
    return rounds.commit_input(x.parameters, lanes, blinders)


def _share(x: Exchange, phase: Advertised, committed: Committed) -> SharedKeys:
    link, session = x.post.link, x.post.session

    def fetch() -> bytes:
        x.wait(Phase.SHARING_KEYS)
        return encode_signed_set(link.advertised_keys(session, x.attempt))

    received = decode_signed_set(x.once(SHARE_RECEIVED, fetch))
    entropy = x.once(SHARE_ENTROPY, lambda: x.entropy(rounds.SHARE_KEYS_ENTROPY_BYTES), secret=True)
    following, message = rounds.share_keys(phase, received, entropy, committed.commitments)
    x.send(
        SHARE_SENT,
        encode_shared({x.seat: message.header}, message.sealed),
        lambda: link.share_keys(session, x.seat, x.attempt, message.header, message.sealed),
    )
    x.failpoints.reach("after-share-keys")
    return following


def _mask(x: Exchange, phase: SharedKeys, committed: Committed, contribution_of: ContributionOf) -> Masked:
    prepared = _prepare(x, phase, committed)
    contribution = x.once(MASK_CONTRIBUTION, lambda: contribution_of(masked_digest(prepared.masked)))
    digest = digest_bytes(Envelope.from_json(contribution).payload_digest)
    following, message = rounds.state_input(prepared, digest)
    x.post.keep(x.name(MASK_SENT), encode_upload(Upload(message.header, message.masked, contribution)), secret=True)
    x.failpoints.reach("before-masked-input")
    if x.name(LEAVING) not in x.post.journal:
        _check_still_wanted(x)
        x.post.journal.record(x.name(LEAVING), b"")
    upload = decode_upload(x.post.journal.recall(x.name(MASK_SENT)))
    x.post.deliver(x.name(MASK_SENT), lambda: x.post.link.upload(x.post.session, x.seat, x.attempt, upload))
    x.failpoints.reach("after-masked-input")
    return following


def _prepare(x: Exchange, phase: SharedKeys, committed: Committed) -> Prepared:
    """Return the masked input, or complain about a dealer, once in a session, and leave this attempt."""

    def fetch() -> bytes:
        x.wait(Phase.MASKING_INPUT)
        shares = x.post.link.shared_keys(x.post.session, x.seat, x.attempt)
        return encode_shared(shares.headers, shares.sealed)

    headers, sealed = decode_shared(x.once(MASK_RECEIVED, fetch, secret=True))
    if x.name(COMPLAINT_SENT) not in x.post.journal:
        try:
            return rounds.mask_input(phase, headers, sealed, committed)
        except UnusableShareError as error:
            if x.seat in x.parameters.complained:
                raise  # a second complaint would be refused; and somebody plays with us
            x.post.keep(x.name(COMPLAINT_SENT), encode_signed(rounds.complain(phase, error.dealer)))
    return _complain(x, decode_signed(x.post.journal.recall(x.name(COMPLAINT_SENT))))


def _complain(x: Exchange, complaint: Signed) -> NoReturn:
    """Send our complaint, and wait for the restart or the end: nothing more is sent in this attempt."""
    x.post.deliver(x.name(COMPLAINT_SENT), lambda: x.post.link.complain(x.post.session, x.seat, x.attempt, complaint))
    x.failpoints.reach("after-complaint")
    status = x.post.wait_for_restart(x.attempt)
    if status.attempt > x.attempt:
        raise RoundsRestartedError("the rounds were restarted because of our complaint, or another one")
    raise SessionAbortedError(
        "the session went on without us: our complaint restarted nothing; no input of ours is in it"
    )


def _check_still_wanted(x: Exchange) -> None:
    """Check that masked inputs are still taken, so that one which comes too late can be refunded."""
    found = x.wait(Phase.MASKING_INPUT).phase
    if found is not Phase.MASKING_INPUT:
        raise SessionAbortedError(f"the session went on without us ({doing(found)}); our input never left")


def _agree(x: Exchange, phase: Masked) -> Agreed:
    link, session = x.post.link, x.post.session

    def fetch() -> bytes:
        x.wait(Phase.CONSISTENCY)
        return encode_signed_set(link.masked_inputs(session, x.attempt))

    following, own = rounds.agree(phase, decode_signed_set(x.once(AGREE_RECEIVED, fetch)))
    x.send(AGREE_SENT, encode_signed(own), lambda: link.sign_consistency(session, x.seat, x.attempt, own))
    x.failpoints.reach("after-consistency")
    return following


def _reveal(x: Exchange, phase: Agreed) -> None:
    link, session = x.post.link, x.post.session

    def fetch() -> bytes:
        x.wait(Phase.UNMASKING)
        found = link.consistency(session, x.attempt)
        strangers = sorted(seat for seat, signed in found.items() if signed.body != phase.own.body)
        if strangers:
            raise ProtocolError(f"seat {strangers[0]} signed another T3 than we did", peer="coordinator")
        return encode_by_seat({seat: signed.signature for seat, signed in found.items()})

    signatures = decode_by_seat(x.once(REVEAL_RECEIVED, fetch))
    _, own = rounds.reveal(phase, signatures)
    x.send(REVEAL_SENT, encode_signed(own), lambda: link.reveal_shares(session, x.seat, x.attempt, own))
    x.failpoints.reach("after-unmask")
