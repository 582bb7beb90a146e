"""The participant's rounds 0 to 4, and its complaint, as pure transitions between typed phases.

Promises that nothing leaves a phase before every check of the protocol on what the coordinator sent has passed, that a
share of one kind only is revealed for each peer, and that equal arguments give equal bytes, so that the durable layer
can replay. Leaves to that layer: recording entropy and messages before use, debiting the ledger before the message of
`state_input` leaves, signing one T3 and revealing once per session, also after a restart, sending nothing more in an attempt
after a complaint, and erasing secrets when a round has ended.

What a correct coordinator would have refused is blamed on "coordinator"; a sealed share that does not open, on its
dealer.

Source: Bonawitz et al. 2017, section 6; protos/README.md §4.3 to §4.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from vdb_participant.phases import (
    Advertised,
    Agreed,
    Committed,
    Masked,
    MaskedInputMessage,
    Membership,
    Prepared,
    Revealed,
    Secrets,
    SharedKeys,
    SharedKeysMessage,
)
from vdb_shared import labels
from vdb_shared.errors import FormatError, ProtocolError, UnusableShareError
from vdb_shared.identity import Signer
from vdb_shared.secagg import agreement, shamir
from vdb_shared.secagg.commitments import commit
from vdb_shared.secagg.encoding import Lanes, encode_lanes
from vdb_shared.secagg.field import UNIFORM_BYTES, reduce_uniform
from vdb_shared.secagg.masking import commitments_digest, expand, masked_digest, pair_mask_key, pair_sign, self_mask_key
from vdb_shared.secagg.messages import (
    NONCE_BYTES,
    AdvertisedKeys,
    Complaint,
    MaskedInputHeader,
    SharedKeysHeader,
    Signed,
    UnmaskingShares,
)
from vdb_shared.secagg.parameters import DIGEST_BYTES, Parameters, Seat, blocks_of
from vdb_shared.secagg.sealing import Route, SharePair, open_sealed, seal, sealed_digest, self_seed_digest
from vdb_shared.secagg.transcript import (
    COORDINATOR,
    AdvertisedRound,
    SharedRound,
    check_distinct_keys,
    close_advertised,
    close_masked,
    close_shared,
    open_advertised,
    open_masked,
    open_shared,
    verify_consistency,
)
from vdb_shared.secagg.vectors import Vector

__all__ = [
    "ADVERTISE_ENTROPY_BYTES",
    "SHARE_KEYS_ENTROPY_BYTES",
    "Advertised",
    "Agreed",
    "Committed",
    "Masked",
    "MaskedInputMessage",
    "Membership",
    "Prepared",
    "Revealed",
    "Secrets",
    "SharedKeys",
    "SharedKeysMessage",
    "advertise",
    "agree",
    "commit_entropy_bytes",
    "commit_input",
    "complain",
    "mask_input",
    "reveal",
    "share_keys",
    "state_input",
]

ADVERTISE_ENTROPY_BYTES: Final = agreement.SEED_BYTES + agreement.KEY_BYTES + NONCE_BYTES
"""Uniform bytes `advertise` takes: mask-key seed k, channel private key, nonce."""

SHARE_KEYS_ENTROPY_BYTES: Final = agreement.SEED_BYTES + agreement.KEY_BYTES
"""Uniform bytes `share_keys` takes: self-mask seed b, seed of the Shamir coefficients."""


def commit_entropy_bytes(lanes: int) -> int:
    """Return how many uniform bytes `commit_input` takes: 64 for the blinder of each block."""
    return UNIFORM_BYTES * blocks_of(lanes)


def commit_input(parameters: Parameters, lanes: Lanes, entropy: bytes) -> Committed:
    """Commit to the vector, before round 1.

    Args:
        parameters: of this attempt.
        lanes: encoded statistic with noise, (lanes,), int64, in [-2^47, 2^47).
        entropy: `commit_entropy_bytes(lanes)` uniform bytes for the blinders, used for this attempt only.

    Raises:
        StatisticError: a lane does not fit.
        ValueError: another number of lanes or bytes.
    """
    if lanes.shape != (parameters.lanes,):
        raise ValueError(f"expected {parameters.lanes} lanes, found shape {lanes.shape}")
    drawn, _ = _draw(entropy, commit_entropy_bytes(lanes.size), len(entropy))
    vector = Vector(encode_lanes(lanes), reduce_uniform(drawn))
    return Committed(vector, commit(vector.lanes, vector.blinders))


def advertise(parameters: Parameters, seat: Seat, signer: Signer, entropy: bytes) -> tuple[Advertised, Signed]:
    """Round 0: make the session's keys.

    Args:
        parameters: the sealed facts, which the caller has recomputed.
        seat: ours.
        signer: our statement key, the one the sealed roster names.
        entropy: ADVERTISE_ENTROPY_BYTES uniform bytes, used for this session only.

    Raises:
        ValueError: the seat is not this signer's, or the entropy has another length.
    """
    if parameters.roster.get(seat) != signer.public_key:
        raise ValueError(f"seat {seat} of the sealed roster does not have this signer's key")
    mask_seed, rest = _draw(entropy, ADVERTISE_ENTROPY_BYTES, agreement.SEED_BYTES)
    channel_private, nonce = rest[: agreement.KEY_BYTES], rest[agreement.KEY_BYTES :]
    mask_private = agreement.mask_private_key(mask_seed, parameters.session)
    keys = AdvertisedKeys(
        parameters.session, seat, agreement.public_key(channel_private), agreement.public_key(mask_private), nonce
    )
    membership = Membership(parameters, seat, signer)
    own = membership.sign(labels.TYPE_ADVERTISE_KEYS, keys.encode())
    secrets = Secrets(bytearray(mask_seed), bytearray(channel_private), bytearray(), {})
    return Advertised(membership, own, secrets), own


def share_keys(
    phase: Advertised, advertised: Mapping[Seat, Signed], entropy: bytes, commitments: bytes
) -> tuple[SharedKeys, SharedKeysMessage]:
    """Round 1: verify all keys, share k and b, seal a pair of shares for each other member of U1, fix our commitments.

    Args:
        phase: after round 0.
        advertised: the round-0 messages of U1.
        entropy: SHARE_KEYS_ENTROPY_BYTES uniform bytes; never two different ones in an attempt.
        commitments: those of `commit_input`.

    Raises:
        ProtocolError: the messages break a rule of §4.5.
    """
    me = phase.membership
    round0 = _verify_advertised(phase, advertised)
    self_seed, coefficient_seed = _draw(entropy, SHARE_KEYS_ENTROPY_BYTES, agreement.SEED_BYTES)
    mask_seed, channel_private = phase.secrets.mask_seed, phase.secrets.channel_private
    pairs = _deal(round0, mask_seed, self_seed, coefficient_seed)
    channel = agreement.load_private_key(channel_private)
    channels = {
        seat: bytearray(agreement.agree(channel, round0.keys[seat].channel_key))
        for seat in sorted(round0.seats - {me.seat})
    }
    sealed = {seat: seal(pairs[seat], Route(round0.t1, me.seat, seat), shared) for seat, shared in channels.items()}
    header = SharedKeysHeader(
        round0.t1,
        me.seat,
        self_seed_digest(round0.t1, me.seat, self_seed),
        sealed_digest(round0.t1, me.seat, sealed),
        commitments_digest(round0.t1, me.seat, commitments),
    )
    own = me.sign(labels.TYPE_SHARE_KEYS, header.encode())
    secrets = Secrets(bytearray(mask_seed), bytearray(channel_private), bytearray(self_seed), channels)
    return SharedKeys(me, round0, own, secrets, pairs[me.seat]), SharedKeysMessage(own, sealed)


def mask_input(
    phase: SharedKeys, headers: Mapping[Seat, Signed], sealed: Mapping[Seat, bytes], committed: Committed
) -> Prepared:
    """Round 2, first half: verify all headers, open the shares addressed to us, mask the vector.

    Args:
        phase: after round 1.
        headers: the round-1 headers of U2.
        sealed: what each other member of U2 sealed for us, by sender.
        committed: the vector to which round 1 fixed the commitments.

    Raises:
        UnusableShareError: a seat's sealed pair does not open; see `complain`.
        ProtocolError: the messages break a rule of §4.5.
    """
    me = phase.membership
    round1 = _verify_shared(phase, headers)
    held = _open_shares(phase, round1, sealed)
    fixed = round1.headers[me.seat].commitments_digest
    if commitments_digest(phase.advertised.t1, me.seat, committed.commitments) != fixed:
        raise ValueError("round 1 fixed other commitments than those of this vector")
    vector = committed.vector.copy()
    vector.add_masks(_masks(phase, round1))
    return Prepared(me, phase.advertised, round1, vector.to_bytes(), committed.commitments, held)


def state_input(phase: Prepared, contribution: bytes) -> tuple[Masked, MaskedInputMessage]:
    """Round 2, second half: sign the header that binds masked input, commitments and contribution statement.

    Args:
        phase: the masked input.
        contribution: SHA-256 of our contribution statement's payload, 32 bytes; the statement names the masked digest.

    Raises:
        ValueError: a digest of another size.
    """
    me = phase.membership
    if len(contribution) != DIGEST_BYTES:
        raise ValueError(f"expected {DIGEST_BYTES} bytes of digest, found {len(contribution)}")
    header = MaskedInputHeader(
        t2=phase.shared.t2,
        seat=me.seat,
        masked_digest=masked_digest(phase.masked),
        commitments=phase.commitments,
        contribution=contribution,
    )
    own = me.sign(labels.TYPE_MASKED_INPUT, header.encode())
    return Masked(me, phase.advertised, phase.shared, own, phase.held), MaskedInputMessage(own, phase.masked)


def complain(phase: SharedKeys, dealer: Seat) -> Signed:
    """Instead of round 2: say, under our signature, that a dealer's sealed pair does not open. Reveals nothing.

    Args:
        phase: after round 1; nothing more may be sent in this attempt.
        dealer: as `mask_input` found it.
    """
    me = phase.membership
    complaint = Complaint(phase.advertised.t1, me.seat, dealer)
    return me.sign(labels.TYPE_COMPLAINT, complaint.encode())


def agree(phase: Masked, headers: Mapping[Seat, Signed]) -> tuple[Agreed, Signed]:
    """Round 3: verify the survivors' headers and sign the view of the session they give.

    Args:
        phase: after round 2.
        headers: the round-2 headers of U3.

    Returns:
        The next phase, and the consistency statement with our signature. The caller records T3 before it sends.

    Raises:
        ProtocolError: the messages break a rule of §4.5.
    """
    me = phase.membership
    _check_set("U3", headers, phase.shared.seats, me)
    _check_own(headers, phase.own, me.seat)
    opened = {
        seat: open_masked(me.parameters, phase.shared, seat, headers[seat], COORDINATOR) for seat in sorted(headers)
    }
    statement = close_masked(phase.advertised, phase.shared, headers, opened).statement
    own = me.sign(labels.TYPE_CONSISTENCY, statement.encode())
    return Agreed(me, statement, own, me.parameters.quorum, phase.held), own


def reveal(phase: Agreed, signatures: Mapping[Seat, bytes]) -> tuple[Revealed, Signed]:
    """Round 4: given a quorum for our own T3, reveal one share for each member of U2.

    Args:
        phase: after round 3.
        signatures: round-3 signatures by seat. The caller records "revealed" before it sends.

    Raises:
        ProtocolError: a signature that is not over our own T3, or fewer than q.
    """
    me = phase.membership
    statement = phase.statement
    if signatures.get(me.seat) != phase.own.signature:
        raise ProtocolError("our own signature of T3 is missing or changed; stop this session", peer=COORDINATOR)
    strangers = sorted(signatures.keys() - statement.masked)
    if strangers:
        raise ProtocolError(f"seat {strangers[0]} signs T3, but is no survivor", peer=COORDINATOR)
    for seat in sorted(signatures):
        verify_consistency(me.parameters, seat, Signed(phase.own.body, signatures[seat]), COORDINATOR)
    if len(signatures) < phase.quorum:
        raise ProtocolError(f"no quorum: expected {phase.quorum} signatures, found {len(signatures)}", peer=COORDINATOR)
    dropped = statement.shared - statement.masked
    shares = UnmaskingShares(
        statement.t3,
        me.seat,
        self_mask={seat: phase.held[seat].self_mask for seat in statement.masked},
        mask_key={seat: phase.held[seat].mask_key for seat in dropped},
    )
    return Revealed(statement), me.sign(labels.TYPE_UNMASKING, shares.encode())


def _draw(entropy: bytes, expected: int, first: int) -> tuple[bytes, bytes]:
    if len(entropy) != expected:
        raise ValueError(f"expected {expected} bytes of entropy, found {len(entropy)}")
    return entropy[:first], entropy[first:]


def _check_set(name: str, messages: Mapping[Seat, Signed], outer: frozenset[Seat], me: Membership) -> None:
    strangers = sorted(messages.keys() - outer)
    if strangers:
        raise ProtocolError(f"{name} holds seat {strangers[0]}, which the round before did not", peer=COORDINATOR)
    smallest = me.parameters.smallest_cohort
    if len(messages) < smallest:
        raise ProtocolError(
            f"{name} holds {len(messages)} participants, expected at least {smallest}", peer=COORDINATOR
        )


def _check_own(messages: Mapping[Seat, Signed], own: Signed, seat: Seat) -> None:
    if messages.get(seat) != own:
        raise ProtocolError("our own message is missing or changed; stop this session", peer=COORDINATOR)


def _verify_advertised(phase: Advertised, messages: Mapping[Seat, Signed]) -> AdvertisedRound:
    me = phase.membership
    _check_set("U1", messages, me.parameters.seats, me)
    _check_own(messages, phase.own, me.seat)
    keys = {seat: open_advertised(me.parameters, seat, messages[seat], COORDINATOR) for seat in sorted(messages)}
    check_distinct_keys(list(keys.values()), COORDINATOR)
    return close_advertised(me.parameters, messages, keys)


def _verify_shared(phase: SharedKeys, messages: Mapping[Seat, Signed]) -> SharedRound:
    me = phase.membership
    t1 = phase.advertised.t1
    _check_set("U2", messages, phase.advertised.seats, me)
    _check_own(messages, phase.own, me.seat)
    headers = {seat: open_shared(me.parameters, t1, seat, messages[seat], COORDINATOR) for seat in sorted(messages)}
    return close_shared(t1, messages, headers)


def _deal(round0: AdvertisedRound, mask_seed: agreement.Secret, self_seed: bytes, seed: bytes) -> dict[Seat, SharePair]:
    key = agreement.derive_key(seed, round0.t1, labels.KDF_SHARE_COEFFICIENTS)
    stream = expand(key, 2 * shamir.split_entropy(round0.threshold))
    seats = sorted(round0.seats)
    seeds = [int.from_bytes(mask_seed, "little"), int.from_bytes(self_seed, "little")]
    mask_key, self_mask = shamir.split_all(seeds, round0.threshold, seats, stream)
    return {seat: SharePair(mask_key[seat], self_mask[seat]) for seat in seats}


def _open_shares(phase: SharedKeys, round1: SharedRound, sealed: Mapping[Seat, bytes]) -> dict[Seat, SharePair]:
    me = phase.membership.seat
    if sealed.keys() != round1.seats - {me}:
        raise ProtocolError("sealed shares are not those of exactly the others in U2", peer=COORDINATOR)
    held = {me: phase.own_pair}
    for sender in sorted(sealed):
        route = Route(phase.advertised.t1, sender, me)
        try:
            held[sender] = open_sealed(sealed[sender], route, phase.secrets.channels[sender])
        except FormatError as error:
            raise UnusableShareError(
                f"its sealed shares for seat {me} are unusable ({error}); the rounds must restart without it",
                dealer=sender,
            ) from error
    return held


def _masks(phase: SharedKeys, round1: SharedRound) -> Iterator[tuple[bytes, int]]:
    """Yield the keys of our own mask and of those we share with the others, each with its sign."""
    me = phase.membership
    yield self_mask_key(phase.secrets.self_seed, round1.t2, me.seat), 1
    mask_private = agreement.load_private_key(
        agreement.mask_private_key(phase.secrets.mask_seed, me.parameters.session)
    )
    for peer in sorted(round1.seats - {me.seat}):
        shared = agreement.agree(mask_private, phase.advertised.keys[peer].mask_key)
        yield pair_mask_key(shared, round1.t2, (me.seat, peer)), pair_sign(me.seat, peer)
