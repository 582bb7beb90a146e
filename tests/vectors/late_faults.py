"""What must be refused in rounds 3 and 4 of the session of four, and sums to which no commitments open.

As in `faults.py`: each case is bad in one way, errors and blame are written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basics import outside_subgroup
from faults import (
    BY_BOTH,
    BY_COORDINATOR,
    BY_PARTICIPANT,
    CULPRIT,
    RECEIVER,
    case,
    common,
    edited,
    flip,
    message,
    resigned,
)
from stories import Unmasking
from vdb_shared import labels
from vdb_shared.canonical import decode_fields
from vdb_shared.secagg.encoding import ring_to_bytes
from vdb_shared.secagg.field import FIELD_ORDER, encode_scalar
from vdb_shared.secagg.messages import encode_seat
from vdb_shared.secagg.parameters import Seat
from writing import Json, by_seat, scalars


def unmasking_faults(unmasking: Unmasking) -> list[Json]:
    """Return what is refused in rounds 3 and 4, seat 3 having dropped out."""
    return [
        *[entry | {"round": 3} for entry in _consistency_faults(unmasking)],
        *[entry | {"round": 4} for entry in _share_faults(unmasking)],
    ]


def _consistency_faults(unmasking: Unmasking) -> list[Json]:
    keys, body = unmasking.masking.sharing.keys, unmasking.transcript.masked.statement.encode()

    def signatures(changes: Mapping[Seat, bytes | None]) -> Json:
        return {"signatures": {str(seat): None if data is None else data.hex() for seat, data in changes.items()}}

    def signed(statement: bytes, seat: Seat, payload_type: str = labels.TYPE_CONSISTENCY) -> bytes:
        return keys.signers[seat].sign(payload_type, statement)

    other = edited(body, {0: flip(unmasking.transcript.masked.statement.t3)})
    whole = edited(body, {3: b"".join(map(encode_seat, (0, 2, 3, 6)))})
    good = unmasking.signatures[CULPRIT].signature
    return [
        case("signature", "one bit of the signature", signatures({CULPRIT: flip(good)}), BY_BOTH),
        case("T3_of_others", "seat 2 signed another T3", signatures({CULPRIT: signed(other, CULPRIT)}), BY_BOTH),
        case("U3_of_others", "seat 2 signed another U3", signatures({CULPRIT: signed(whole, CULPRIT)}), BY_BOTH),
        case(
            "signed_for_another_round",
            "a signature under the payload type of round 4",
            signatures({CULPRIT: signed(body, CULPRIT, labels.TYPE_UNMASKING)}),
            BY_BOTH,
        ),
        case(
            "signer_outside_U3",
            "seat 3 dropped out, and signs",
            signatures({3: signed(body, 3)}),
            {"coordinator": "seat 3", "seat 0": "coordinator"},
        ),
        case("no_quorum", "two signatures, q = 3", signatures({CULPRIT: None}), BY_PARTICIPANT),
        case(
            "own_signature_missing",
            "the three others' signatures, a quorum, without the receiver's own",
            signatures({RECEIVER: None}),
            BY_PARTICIPANT,
        )
        | {"session": "all stay"},
        case(
            "own_signature_changed",
            "the receiver's own with one bit changed",
            signatures({RECEIVER: flip(unmasking.signatures[RECEIVER].signature)}),
            BY_PARTICIPANT,
        ),
    ]


def _share_faults(unmasking: Unmasking) -> list[Json]:
    keys, good = unmasking.masking.sharing.keys, unmasking.revealed[CULPRIT].body
    of_b, of_k = decode_fields(good)[2:]
    first, second, third = (of_b[start : start + 36] for start in (0, 36, 72))

    def of(name: str, comment: str, changes: Mapping[int, bytes]) -> Json:
        signed = resigned(keys, labels.TYPE_UNMASKING, edited(good, changes))
        return case(name, comment, message(signed), BY_COORDINATOR)

    large = first[:4] + encode_scalar(FIELD_ORDER)
    coordinator_only = [
        entry | {"refused_by": BY_COORDINATOR}
        for entry in common(keys, unmasking.revealed, labels.TYPE_UNMASKING, labels.TYPE_CONSISTENCY)
    ]
    return [
        *coordinator_only,
        of("both_kinds_of_share", "also a share of seat 0's k", {3: first[:4] + of_k[4:] + of_k}),
        of("seats_not_ascending", "shares of b of seats 2, 0, 6", {2: second + first + third}),
        of("seat_twice", "the share of seat 0's b twice", {2: first + first + second + third}),
        of("share_not_below_r", "a share of r", {2: large + second + third}),
        of("share_missing", "no share of seat 6's b", {2: first + second}),
        of(
            "share_of_k_of_a_survivor", "the share of seat 6's k instead of its b", {2: first + second, 3: of_k + third}
        ),
        of(
            "share_of_b_of_a_dropout",
            "the share of seat 3's b instead of its k",
            {2: first + second + of_k + third, 3: b""},
        ),
        of("share_of_a_stranger", "also a share of seat 1's k", {3: encode_seat(1) + of_k[4:] + of_k}),
        of("cut_share", "35 bytes of a share", {2: of_b[:-1]}),
    ]


def body_faults(unmasking: Unmasking) -> list[Json]:
    """Return bodies that a decoder refuses by itself, whatever it is compared with afterwards."""
    statement = unmasking.transcript.masked.statement.encode()
    shares = unmasking.revealed[CULPRIT].body
    of_b, of_k = decode_fields(shares)[2:]

    def of(kind: str, name: str, comment: str, body: bytes) -> Json:
        return {"body": body.hex(), "comment": comment, "error": "FormatError", "kind": kind, "name": f"_bad_{name}"}

    def seats(*found: Seat) -> bytes:
        return b"".join(map(encode_seat, found))

    return [
        of("consistency", "U2_outside_U1", "U1 without seat 6", edited(statement, {1: seats(0, 2, 3)})),
        of("consistency", "U3_outside_U2", "U2 without seat 6", edited(statement, {2: seats(0, 2, 3)})),
        of("consistency", "seats_not_ascending", "U3 as 2, 0, 6", edited(statement, {3: seats(2, 0, 6)})),
        of("consistency", "seat_twice", "U3 as 0, 2, 2, 6", edited(statement, {3: seats(0, 2, 2, 6)})),
        of("consistency", "cut_seat", "U3 of 11 bytes", edited(statement, {3: seats(0, 2, 6)[:-1]})),
        of("consistency", "seat_too_large", "U1 with seat 65,535", edited(statement, {1: seats(0, 2, 3, 6, 65535)})),
        of("unmasking", "both_kinds_of_share", "both of seat 0", edited(shares, {3: encode_seat(0) + of_k[4:]})),
        of("unmasking", "seats_not_ascending", "2, 0, 6", edited(shares, {2: of_b[36:72] + of_b[:36] + of_b[72:]})),
        of("unmasking", "seat_too_large", "the sender is 65,535", edited(shares, {1: encode_seat(65535)})),
        of("unmasking", "share_not_below_r", "r", edited(shares, {3: of_k[:4] + encode_scalar(FIELD_ORDER)})),
    ]


def sum_faults(unmasking: Unmasking) -> list[Json]:
    """Return sums to which the survivors' commitments do not open; each case says only what differs from the good sum."""
    known, masking = unmasking.transcript, unmasking.masking
    plain = unmasking.total()
    blinders = plain.reduced_blinders()
    lanes = plain.lanes.copy()
    lanes[0], lanes[1] = plain.lanes[1], plain.lanes[0]
    higher = plain.lanes.copy()
    higher[4] += 1
    other = masking.prepared[2].commitments

    def of(name: str, comment: str, **changes: Any) -> Json:
        return {"comment": comment, "name": f"_bad_{name}", "opens": False} | changes

    commitments = {seat: known.masked.headers[seat].commitments for seat in sorted(known.survivors)}
    return [
        {
            "blinders": scalars(blinders),
            "comment": "the good sum",
            "commitments": by_seat({seat: data.hex() for seat, data in commitments.items()}),
            "encoded": ring_to_bytes(plain.lanes).hex(),
            "name": "sum",
            "opens": True,
        },
        of("sum_altered", "the last lane is one more", encoded=ring_to_bytes(higher).hex()),
        of("lanes_swapped", "lanes 0 and 1 have changed places", encoded=ring_to_bytes(lanes).hex()),
        of("blinder_sum_altered", "R is one more", blinders=scalars([(blinders[0] + 1) % FIELD_ORDER])),
        of(
            "commitment_to_other_lanes",
            "seat 6 committed to seat 2's lanes",
            commitments=by_seat({seat: (other if seat == 6 else data).hex() for seat, data in commitments.items()}),
        ),
        of(
            "commitment_of_a_dropout",
            "seat 3's commitment too, which is not in the sum",
            commitments=by_seat(
                {seat: masking.prepared[seat].commitments.hex() for seat in sorted(masking.prepared)},
            ),
        ),
        of(
            "commitment_outside_subgroup",
            "seat 6's is no point of the subgroup: refused before anything is added",
            commitments=by_seat(
                {seat: (outside_subgroup() if seat == 6 else data).hex() for seat, data in commitments.items()}
            ),
        )
        | {"error": "FormatError"},
        of("blinder_sum_missing", "no R", blinders=[]) | {"error": "FormatError"},
    ]
