"""What a malicious coordinator and its colluders can compute from all they hold of one attempt.

Promises to take every share they come by, opened by a colluder or revealed by an honest seat, and to check each seed that
these give against what its owner signed: what is returned here, an attacker has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from testkit.adversary import seed_of
from testkit.consortium import inputs_for
from testkit.hostile import Attempt
from vdb_shared.errors import FormatError
from vdb_shared.secagg import agreement
from vdb_shared.secagg.encoding import Lanes, decode_totals
from vdb_shared.secagg.masking import pair_mask_key, pair_sign, self_mask_key
from vdb_shared.secagg.messages import AdvertisedKeys, SharedKeysHeader, Signed
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.sealing import Route, SharePair, open_sealed, self_seed_digest
from vdb_shared.secagg.vectors import Vector


@dataclass(frozen=True)
class Seeds:
    """The seeds of honest participants that are known.

    Attributes:
        self_mask: b, by seat.
        mask_key: k, by seat.
    """

    self_mask: Mapping[Seat, bytes]
    mask_key: Mapping[Seat, bytes]


def seeds_in(attempt: Attempt) -> Seeds:
    """Return all seeds that can be rebuilt."""
    self_mask: dict[Seat, bytes] = {}
    mask_key: dict[Seat, bytes] = {}
    answers = attempt.answers.values()
    for dealer, sent in attempt.shared.items():
        held = _held(attempt, dealer)
        t1 = SharedKeysHeader.decode(sent.header.body).t1
        of_b = {seat: pair.self_mask for seat, pair in held.items()}
        of_b |= {answer.seat: answer.self_mask[dealer] for answer in answers if dealer in answer.self_mask}
        of_k = {seat: pair.mask_key for seat, pair in held.items()}
        of_k |= {answer.seat: answer.mask_key[dealer] for answer in answers if dealer in answer.mask_key}
        b, k = (seed_of(shares) if shares else None for shares in (of_b, of_k))
        if b is not None and self_seed_digest(t1, dealer, b) == _header(sent.header).self_seed_digest:
            self_mask[dealer] = b
        if k is not None and _public(attempt, k) == _keys(attempt.advertised[dealer]).mask_key:
            mask_key[dealer] = k
    return Seeds(self_mask, mask_key)


def sums_in(attempt: Attempt, known: Seeds) -> dict[frozenset[Seat], Lanes]:
    """Return the sums over honest inputs that come out, by their seats.

    Within one T2 there is at most one: every input whose b is known, if k is known of all others that took part.
    """
    found: dict[frozenset[Seat], Lanes] = {}
    for t2 in sorted({attempt.t2(seat) for seat in attempt.masked}):
        group = {seat for seat in attempt.masked if attempt.t2(seat) == t2}
        members = attempt.round1[min(group)].keys()
        summed = frozenset(group & known.self_mask.keys())
        rest = members - summed - attempt.colluders.keys()
        if summed and rest <= known.mask_key.keys():
            found[summed] = _unmasked(attempt, known, summed, frozenset(members - summed))
    return found


def true_sum(attempt: Attempt, seats: frozenset[Seat]) -> Lanes:
    """Return the sum of these inputs in the clear."""
    inputs = inputs_for(attempt.parameters)
    total: Lanes = np.sum([inputs[seat] for seat in seats], axis=0)
    return total


def _unmasked(attempt: Attempt, known: Seeds, summed: frozenset[Seat], outside: frozenset[Seat]) -> Lanes:
    lanes, total = attempt.parameters.lanes, Vector.zeros(attempt.parameters.lanes)
    for seat in summed:
        total = total.plus(Vector.from_bytes(attempt.masked[seat].masked, lanes))
    total, t2 = total.copy(), attempt.t2(min(summed))
    for seat in summed:
        total.add_mask(self_mask_key(known.self_mask[seat], t2, seat), -1)
    for other in outside:
        colluding = attempt.colluders.get(other)
        seed = bytes(colluding.phase.secrets.mask_seed) if colluding else known.mask_key[other]
        private = agreement.load_private_key(agreement.mask_private_key(seed, attempt.parameters.session))
        for seat in summed:
            common = agreement.agree(private, _keys(attempt.advertised[seat]).mask_key)
            total.add_mask(pair_mask_key(common, t2, (seat, other)), -pair_sign(seat, other))
    return decode_totals(total.lanes, len(summed))


def _held(attempt: Attempt, dealer: Seat) -> dict[Seat, SharePair]:
    sent = attempt.shared[dealer]
    found = {}
    for seat, colluder in attempt.colluders.items():
        channel = agreement.load_private_key(bytes(colluder.phase.secrets.channel_private))
        common = agreement.agree(channel, _keys(attempt.advertised[dealer]).channel_key)
        try:
            found[seat] = open_sealed(sent.sealed.get(seat, b""), Route(attempt.t1(dealer), dealer, seat), common)
        except FormatError:
            continue
    return found


def _public(attempt: Attempt, seed: bytes) -> bytes:
    return agreement.public_key(agreement.mask_private_key(seed, attempt.parameters.session))


def _keys(signed: Signed) -> AdvertisedKeys:
    return AdvertisedKeys.decode(signed.body)


def _header(signed: Signed) -> SharedKeysHeader:
    return SharedKeysHeader.decode(signed.body)
