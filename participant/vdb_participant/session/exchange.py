"""Rounds 0 to 4 made durable: the pure rounds of `rounds.py` between the journal and a link.

Promises, for every message: entropy and what was received are in the journal before they are used, what is sent is in the
journal before it is sent, and a message that was sent once is only ever sent again with the same bytes. The masked input is
preceded by the ledger's debit and by the record LEAVING, without which it provably never left. Leaves measuring to
`contribution.py` and everything before and after the rounds to `agent.py`.

Source: protos/README.md §4.3, §12.2.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vdb_participant import rounds
from vdb_participant.network.link import Upload
from vdb_participant.phases import Advertised, Agreed, Masked, SharedKeys
from vdb_participant.session.codec import (
    decode_by_seat,
    decode_shared,
    decode_signed_set,
    decode_upload,
    encode_by_seat,
    encode_shared,
    encode_signed,
    encode_signed_set,
    encode_upload,
)
from vdb_participant.session.correspondence import Correspondence
from vdb_participant.site.failpoints import Failpoints
from vdb_participant.site.journal import Journal
from vdb_shared.bundle.envelope import Envelope
from vdb_shared.canonical import digest_bytes
from vdb_shared.errors import ProtocolError, SessionAbortedError
from vdb_shared.identity import Signer
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.secagg.parameters import DIGEST_BYTES, Parameters, Seat
from vdb_shared.wire.status import Phase

ADVERTISE_ENTROPY: Final = "advertise-keys/entropy"
ADVERTISE_SENT: Final = "advertise-keys/sent"
SHARE_RECEIVED: Final = "share-keys/received"
SHARE_ENTROPY: Final = "share-keys/entropy"
SHARE_SENT: Final = "share-keys/sent"
MASK_RECEIVED: Final = "masked-input/received"
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


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the rounds work with.

    Attributes:
        post: the session's journal and link.
        parameters: the sealed facts.
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


def run_rounds(x: Exchange, lanes: Lanes, contribution_of: ContributionOf) -> None:
    """Take part in rounds 0 to 4, from wherever the journal says we are.

    Args:
        x: what the rounds work with.
        lanes: encoded statistic with noise, the same at every call for this session.
        contribution_of: makes the contribution statement; called at most once in the session's life.

    Raises:
        ProtocolError: the coordinator or a peer broke the protocol; nothing more may be sent.
        SessionAbortedError: the session ended, or no longer waits for us.
    """
    advertised = _advertise(x)
    shared = _share(x, advertised)
    masked = _mask(x, shared, lanes, contribution_of)
    # The session may finish without our signature or our shares; our input is in the sum all the same.
    agreed = x.post.in_time(lambda: _agree(x, masked))
    if agreed is not None:
        x.post.in_time(lambda: _reveal(x, agreed))


def left(journal: Journal) -> bool:
    """Return whether the masked input may have left the site."""
    return LEAVING in journal


def _advertise(x: Exchange) -> Advertised:
    entropy = x.post.journal.once(ADVERTISE_ENTROPY, lambda: x.entropy(rounds.ADVERTISE_ENTROPY_BYTES), secret=True)
    phase, own = rounds.advertise(x.parameters, x.seat, x.signer, entropy)
    x.post.keep(ADVERTISE_SENT, encode_signed(own))
    x.post.deliver(ADVERTISE_SENT, lambda: x.post.link.advertise_keys(x.post.session, x.seat, own))
    x.failpoints.reach("after-advertise-keys")
    return phase


def _share(x: Exchange, phase: Advertised) -> SharedKeys:
    def fetch() -> bytes:
        x.post.wait(Phase.SHARING_KEYS)
        return encode_signed_set(x.post.link.advertised_keys(x.post.session))

    received = decode_signed_set(x.post.journal.once(SHARE_RECEIVED, fetch))
    entropy = x.post.journal.once(SHARE_ENTROPY, lambda: x.entropy(rounds.SHARE_KEYS_ENTROPY_BYTES), secret=True)
    following, message = rounds.share_keys(phase, received, entropy)
    x.post.keep(SHARE_SENT, encode_shared({x.seat: message.header}, message.sealed))
    x.post.deliver(SHARE_SENT, lambda: x.post.link.share_keys(x.post.session, x.seat, message.header, message.sealed))
    x.failpoints.reach("after-share-keys")
    return following


def _mask(x: Exchange, phase: SharedKeys, lanes: Lanes, contribution_of: ContributionOf) -> Masked:
    def fetch() -> bytes:
        x.post.wait(Phase.MASKING_INPUT)
        shares = x.post.link.shared_keys(x.post.session, x.seat)
        return encode_shared(shares.headers, shares.sealed)

    headers, sealed = decode_shared(x.post.journal.once(MASK_RECEIVED, fetch, secret=True))

    def state() -> bytes:
        # The statement names the masked vector and the header names the statement; the vector depends on neither.
        _, preview = rounds.mask_input(phase, headers, sealed, lanes, bytes(DIGEST_BYTES))
        return contribution_of(masked_digest(preview.masked))

    contribution = x.post.journal.once(MASK_CONTRIBUTION, state)
    digest = digest_bytes(Envelope.from_json(contribution).payload_digest)
    following, message = rounds.mask_input(phase, headers, sealed, lanes, digest)
    x.post.keep(MASK_SENT, encode_upload(Upload(message.header, message.masked, contribution)), secret=True)
    x.failpoints.reach("before-masked-input")
    if LEAVING not in x.post.journal:
        _check_still_wanted(x)
        x.post.journal.record(LEAVING, b"")
    upload = decode_upload(x.post.journal.recall(MASK_SENT))
    x.post.deliver(MASK_SENT, lambda: x.post.link.upload(x.post.session, x.seat, upload))
    x.failpoints.reach("after-masked-input")
    return following


def _check_still_wanted(x: Exchange) -> None:
    """Check that masked inputs are still taken, so that one which comes too late can be refunded."""
    found = x.post.wait(Phase.MASKING_INPUT).phase
    if found is not Phase.MASKING_INPUT:
        raise SessionAbortedError(f"the session went on without us: it is {found.words}; our input never left")


def _agree(x: Exchange, phase: Masked) -> Agreed:
    def fetch() -> bytes:
        x.post.wait(Phase.CONSISTENCY)
        return encode_signed_set(x.post.link.masked_inputs(x.post.session))

    following, own = rounds.agree(phase, decode_signed_set(x.post.journal.once(AGREE_RECEIVED, fetch)))
    x.post.keep(AGREE_SENT, encode_signed(own))
    x.post.deliver(AGREE_SENT, lambda: x.post.link.sign_consistency(x.post.session, x.seat, own))
    x.failpoints.reach("after-consistency")
    return following


def _reveal(x: Exchange, phase: Agreed) -> None:
    def fetch() -> bytes:
        x.post.wait(Phase.UNMASKING)
        found = x.post.link.consistency(x.post.session)
        strangers = sorted(seat for seat, signed in found.items() if signed.body != phase.own.body)
        if strangers:
            raise ProtocolError(f"seat {strangers[0]} signed another T3 than we did", peer="coordinator")
        return encode_by_seat({seat: signed.signature for seat, signed in found.items()})

    signatures = decode_by_seat(x.post.journal.once(REVEAL_RECEIVED, fetch))
    _, own = rounds.reveal(phase, signatures)
    x.post.keep(REVEAL_SENT, encode_signed(own))
    x.post.deliver(REVEAL_SENT, lambda: x.post.link.reveal_shares(x.post.session, x.seat, own))
    x.failpoints.reach("after-unmask")
