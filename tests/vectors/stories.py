"""Plays the sessions of the test vectors with the product's code and writes down every value on the way.

Promises that equal names give equal bytes: all entropy is SHAKE-256 of its own name. Leaves to the other modules which sessions
are played, and the bad cases. `tests/protocol/test_vectors.py` checks all of it against a second implementation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from vdb_participant.rounds import (
    ADVERTISE_ENTROPY_BYTES,
    SHARE_KEYS_ENTROPY_BYTES,
    Advertised,
    Committed,
    Prepared,
    SharedKeys,
    advertise,
    agree,
    commit_entropy_bytes,
    commit_input,
    mask_input,
    reveal,
    share_keys,
    state_input,
)
from vdb_shared import labels
from vdb_shared.identity import StatementKey
from vdb_shared.secagg import agreement
from vdb_shared.secagg.commitments import check_weights
from vdb_shared.secagg.encoding import Lanes, encode_lanes, ring_to_bytes
from vdb_shared.secagg.field import reduce_uniform
from vdb_shared.secagg.masking import commitments_digest, expand, masked_digest, pair_mask_key, pair_sign, self_mask_key
from vdb_shared.secagg.messages import Signed
from vdb_shared.secagg.parameters import Parameters, Seat, share_threshold
from vdb_shared.secagg.sealing import Route, sealed_digest, self_seed_digest
from vdb_shared.secagg.shamir import split_entropy
from vdb_shared.secagg.transcript import (
    Transcript,
    chain,
    close_masked,
    close_shared,
    open_masked,
    open_shared,
    open_unmasking,
)
from vdb_shared.secagg.unmasking import Recovered, recover, remove_masks
from vdb_shared.secagg.vectors import Vector
from writing import LISTED_LANES, Json, by_seat, entropy, lanes_name, lanes_of, long_bytes, scalars, signed_json


def statement_seed(story: str, seat: Seat) -> bytes:
    """Return the RFC 8032 seed of a seat's statement key."""
    return entropy(story, "statement key", seat, size=32)


def statement_keys(story: str, seats: Collection[Seat]) -> dict[Seat, StatementKey]:
    """Return the statement keys of all seats."""
    return {seat: StatementKey.from_seed(statement_seed(story, seat)) for seat in seats}


@dataclass(frozen=True)
class Keys:
    """Round 0 of all who may take part."""

    story: str
    parameters: Parameters
    signers: Mapping[Seat, StatementKey]
    drawn: Mapping[Seat, bytes]
    phases: Mapping[Seat, Advertised]
    messages: Mapping[Seat, Signed]

    def json(self) -> Json:
        """Return parameters, keys, bodies, signatures and T1."""
        known = self.parameters
        return {
            "parameters": {
                "collusion": known.collusion,
                "complained": sorted(known.complained),
                "lanes": known.lanes,
                "left_out": sorted(known.left_out),
                "quorum": known.quorum,
                "roster": by_seat({seat: key.raw.hex() for seat, key in known.roster.items()}),
                "session": known.session.hex(),
                "smallest_cohort": known.smallest_cohort,
                "threshold": share_threshold(len(self.phases), known.collusion),
            },
            "participants": by_seat({seat: self._participant(seat) for seat in self.phases}),
            "t1": chain(labels.HASH_T1, known.session, self.messages).hex(),
        }

    def _participant(self, seat: Seat) -> Json:
        secrets = self.phases[seat].secrets
        private = agreement.mask_private_key(secrets.mask_seed, self.parameters.session)
        return {
            "channel_key": agreement.public_key(secrets.channel_private).hex(),
            "channel_private": secrets.channel_private.hex(),
            "entropy": self.drawn[seat].hex(),
            "mask_key": agreement.public_key(private).hex(),
            "mask_private": private.hex(),
            "mask_seed": secrets.mask_seed.hex(),
            "message": signed_json(self.messages[seat]),
            "nonce": self.drawn[seat][-32:].hex(),
            "statement_seed": statement_seed(self.story, seat).hex(),
        }


def advertise_all(story: str, parameters: Parameters, attempt: int = 0) -> Keys:
    """Play round 0."""
    signers = statement_keys(story, parameters.roster)
    drawn = {
        seat: entropy(story, "advertise", attempt, seat, size=ADVERTISE_ENTROPY_BYTES)
        for seat in sorted(parameters.seats)
    }
    played = {seat: advertise(parameters, seat, signers[seat], drawn[seat]) for seat in drawn}
    return Keys(
        story,
        parameters,
        signers,
        drawn,
        {seat: phase for seat, (phase, _) in played.items()},
        {seat: message for seat, (_, message) in played.items()},
    )


@dataclass(frozen=True)
class Sharing:
    """Round 1 of all in U1, and the commitments before it."""

    keys: Keys
    inputs: Mapping[Seat, Lanes]
    blinder_entropy: Mapping[Seat, bytes]
    committed: Mapping[Seat, Committed]
    drawn: Mapping[Seat, bytes]
    phases: Mapping[Seat, SharedKeys]
    messages: Mapping[Seat, Signed]
    sealed: Mapping[Seat, Mapping[Seat, bytes]]

    @property
    def t1(self) -> bytes:
        """T1."""
        return next(iter(self.phases.values())).advertised.t1

    @property
    def t2(self) -> bytes:
        """T2, with all in U2."""
        return close_shared(self.t1, self.messages, {}).t2

    def json(self) -> Json:
        """Return commitments, coefficients, shares, sealed pairs, headers and T2."""
        return {
            "participants": by_seat({seat: self._participant(seat) for seat in self.phases}),
            "t2": self.t2.hex(),
        }

    def brief(self) -> Json:
        """Return what it takes to play the round again, and its outcome."""
        return {
            "participants": by_seat(
                {
                    seat: {
                        "committed": self._committed(seat),
                        "entropy": self.drawn[seat].hex(),
                        "message": signed_json(self.messages[seat]),
                    }
                    for seat in self.phases
                }
            ),
            "t2": self.t2.hex(),
        }

    def _participant(self, seat: Seat) -> Json:
        phase = self.phases[seat]
        key = agreement.derive_key(self.drawn[seat][31:], self.t1, labels.KDF_SHARE_COEFFICIENTS)
        size = split_entropy(phase.advertised.threshold)
        stream = expand(key, 2 * size)
        return {
            "coefficient_key": key.hex(),
            "coefficient_seed": self.drawn[seat][31:].hex(),
            "coefficients_of_b": scalars(reduce_uniform(stream[size:])),
            "coefficients_of_k": scalars(reduce_uniform(stream[:size])),
            "commitments_digest": commitments_digest(self.t1, seat, self.committed[seat].commitments).hex(),
            "committed": self._committed(seat),
            "entropy": self.drawn[seat].hex(),
            "message": signed_json(self.messages[seat]),
            "own_pair": scalars([phase.own_pair.mask_key, phase.own_pair.self_mask]),
            "sealed": by_seat({peer: self._pair(seat, peer) for peer in self.sealed[seat]}),
            "sealed_digest": sealed_digest(self.t1, seat, self.sealed[seat]).hex(),
            "self_seed": phase.secrets.self_seed.hex(),
            "self_seed_digest": self_seed_digest(self.t1, seat, bytes(phase.secrets.self_seed)).hex(),
        }

    def _committed(self, seat: Seat) -> Json:
        lanes, commitments = self.inputs[seat], self.committed[seat].commitments
        listed = lanes.size <= LISTED_LANES
        written: Json = {
            "blinders": scalars(reduce_uniform(self.blinder_entropy[seat])),
            "commitments": [commitments[start : start + 48].hex() for start in range(0, len(commitments), 48)],
            "encoded": long_bytes(ring_to_bytes(encode_lanes(lanes)), listed=listed),
            "entropy": self.blinder_entropy[seat].hex(),
            "lanes_seed": lanes_name(self.keys.story, seat),
        }
        return written | ({"lanes": lanes.tolist()} if listed else {})

    def _pair(self, dealer: Seat, holder: Seat) -> Json:
        route, shared = Route(self.t1, dealer, holder), self.phases[dealer].secrets.channels[holder]
        return {
            "agreement": shared.hex(),
            "associated_data": route.associated().hex(),
            "key": route.key(shared).hex(),
            "pair": self.sealed[dealer][holder].hex(),
        }


def share_all(keys: Keys, attempt: int = 0, replaced: Mapping[Seat, bytes] | None = None) -> Sharing:
    """Play round 1.

    Args:
        keys: round 0.
        attempt: names the entropy.
        replaced: what a seat fixes in place of the commitments to its vector.
    """
    story, known = keys.story, keys.parameters
    seats = sorted(keys.phases)
    inputs = {seat: lanes_of(story, seat, known.lanes) for seat in seats}
    blinders = {
        seat: entropy(story, "blinders", attempt, seat, size=commit_entropy_bytes(known.lanes)) for seat in seats
    }
    committed = {seat: commit_input(known, inputs[seat], blinders[seat]) for seat in seats}
    for seat, commitments in (replaced or {}).items():
        committed[seat] = Committed(committed[seat].vector, commitments)
    drawn = {seat: entropy(story, "share", attempt, seat, size=SHARE_KEYS_ENTROPY_BYTES) for seat in seats}
    played = {
        seat: share_keys(keys.phases[seat], keys.messages, drawn[seat], committed[seat].commitments) for seat in seats
    }
    return Sharing(
        keys,
        inputs,
        blinders,
        committed,
        drawn,
        {seat: phase for seat, (phase, _) in played.items()},
        {seat: sent.header for seat, (_, sent) in played.items()},
        {seat: dict(sent.sealed) for seat, (_, sent) in played.items()},
    )


@dataclass(frozen=True)
class Masking:
    """Round 2 of all in U2."""

    sharing: Sharing
    prepared: Mapping[Seat, Prepared]
    contributions: Mapping[Seat, bytes]
    messages: Mapping[Seat, Signed] = field(init=False)

    def __post_init__(self) -> None:
        stated = {seat: state_input(self.prepared[seat], self.contributions[seat])[1].header for seat in self.prepared}
        object.__setattr__(self, "messages", stated)

    def json(self) -> Json:
        """Return mask keys, masked vectors and headers."""
        return {"participants": by_seat({seat: self._participant(seat) for seat in self.prepared})}

    def _participant(self, seat: Seat) -> Json:
        phase = self.sharing.phases[seat]
        masked = self.prepared[seat].masked
        return {
            "contribution": self.contributions[seat].hex(),
            "masked": long_bytes(masked, listed=self.sharing.keys.parameters.lanes <= LISTED_LANES),
            "masked_digest": masked_digest(masked).hex(),
            "message": signed_json(self.messages[seat]),
            "pair_masks": by_seat({peer: self._pair_mask(seat, peer) for peer in phase.secrets.channels}),
            "self_mask": self._mask(self_mask_key(phase.secrets.self_seed, self.sharing.t2, seat)),
        }

    def _pair_mask(self, seat: Seat, peer: Seat) -> Json:
        phase = self.sharing.phases[seat]
        session = phase.membership.parameters.session
        private = agreement.load_private_key(agreement.mask_private_key(phase.secrets.mask_seed, session))
        shared = agreement.agree(private, phase.advertised.keys[peer].mask_key)
        key = pair_mask_key(shared, self.sharing.t2, (seat, peer))
        return {"agreement": shared.hex(), "sign": pair_sign(seat, peer)} | self._mask(key)

    def _mask(self, key: bytes) -> Json:
        known = self.sharing.keys.parameters
        stream = expand(key, 8 * known.lanes + 64 * known.blocks)
        return {"key": key.hex(), "stream": long_bytes(stream, listed=False)}


def mask_all(sharing: Sharing, attempt: int = 0) -> Masking:
    """Play round 2, with all in U2."""
    story, seats = sharing.keys.story, sorted(sharing.phases)
    prepared = {}
    for seat in seats:
        sealed = {peer: sharing.sealed[peer][seat] for peer in seats if peer != seat}
        prepared[seat] = mask_input(sharing.phases[seat], sharing.messages, sealed, sharing.committed[seat])
    contributions = {seat: entropy(story, "contribution", attempt, seat, size=32) for seat in seats}
    return Masking(sharing, prepared, contributions)


@dataclass(frozen=True)
class Unmasking:
    """Rounds 3 and 4 of U3."""

    transcript: Transcript
    signatures: Mapping[Seat, Signed]
    revealed: Mapping[Seat, Signed]
    masking: Masking

    def json(self) -> Json:
        """Return the statement, signatures, shares, rebuilt seeds and the sum."""
        known = self.transcript
        seeds, plain = self.seeds(), self.total()
        statement = known.masked.statement
        values = sum(self.masking.sharing.inputs[seat] for seat in known.survivors)
        listed = known.parameters.lanes <= LISTED_LANES
        return {
            "rebuilt": {
                "b": by_seat({seat: seed.hex() for seat, seed in seeds.self_mask.items()}),
                "k": by_seat({seat: seed.hex() for seat, seed in seeds.mask_key.items()}),
            },
            "revealed": by_seat({seat: signed_json(message) for seat, message in self.revealed.items()}),
            "signatures": by_seat({seat: message.signature.hex() for seat, message in self.signatures.items()}),
            "statement": statement.encode().hex(),
            "sum": {
                "blinders": scalars(plain.reduced_blinders()),
                "encoded": long_bytes(ring_to_bytes(plain.lanes), listed=listed),
            }
            | {"weights": [weight.hex() for weight in self.weights(plain)]}
            | ({"lanes": np.asarray(values).tolist()} if listed else {}),
            "survivors": sorted(known.survivors),
            "t3": statement.t3.hex(),
        }

    def weights(self, plain: Vector) -> list[bytes]:
        """Return the weights of the check of all blocks at once, 16 bytes each."""
        headers = self.transcript.masked.headers
        signed = [headers[seat].commitments for seat in sorted(headers)]
        weights = check_weights(signed, plain.lanes, plain.reduced_blinders())
        return [weight.to_bytes(16, "little") for weight in weights]

    def seeds(self) -> Recovered:
        """Return the seeds that the shares yield."""
        known = self.transcript
        statement = known.masked.statement
        opened = {
            seat: open_unmasking(known.parameters, statement, seat, message, "generator")
            for seat, message in self.revealed.items()
        }
        found = recover(known, opened)
        if not isinstance(found, Recovered):
            raise RuntimeError(f"the shares do not yield a seed: {found}")
        return found

    def total(self) -> Vector:
        """Return the sums of encoded lanes and of blinders."""
        known = self.transcript
        total = Vector.zeros(known.parameters.lanes)
        for seat in sorted(known.survivors):
            total = total.plus(Vector.from_bytes(self.masking.prepared[seat].masked, known.parameters.lanes))
        return remove_masks(total, known, self.seeds())


def unmask(masking: Masking, survivors: Collection[Seat]) -> Unmasking:
    """Play rounds 3 and 4 with these survivors."""
    sharing = masking.sharing
    keys = sharing.keys
    known = keys.parameters
    advertised = next(iter(sharing.phases.values())).advertised
    headers = {
        seat: open_shared(known, sharing.t1, seat, message, "generator") for seat, message in sharing.messages.items()
    }
    shared = close_shared(sharing.t1, sharing.messages, headers)
    messages = {seat: masking.messages[seat] for seat in sorted(survivors)}
    opened = {seat: open_masked(known, shared, seat, message, "generator") for seat, message in messages.items()}
    transcript = Transcript(known, advertised, shared, close_masked(advertised, shared, messages, opened))
    agreed = {
        seat: agree(state_input(masking.prepared[seat], masking.contributions[seat])[0], messages) for seat in messages
    }
    signatures = {seat: signed for seat, (_, signed) in agreed.items()}
    bare = {seat: signed.signature for seat, signed in signatures.items()}
    revealed = {seat: reveal(phase, bare)[1] for seat, (phase, _) in agreed.items()}
    return Unmasking(transcript, signatures, revealed, masking)
