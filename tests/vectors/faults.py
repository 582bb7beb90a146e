"""What must be refused in rounds 0 to 2 of the session of four, by whom, and who is blamed.

A case says only what differs from the good session. Promises that each is bad in one way: bodies are signed again by the key of
their seat, digests fit, unless that is the fault. Errors and blame are written by hand from §4.5, not observed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from basics import point_cases
from stories import Keys, Masking, Sharing, mask_all, share_all
from vdb_shared import labels
from vdb_shared.canonical import decode_fields, encode_fields
from vdb_shared.secagg.agreement import public_key
from vdb_shared.secagg.field import FIELD_ORDER, encode_scalar
from vdb_shared.secagg.masking import masked_digest
from vdb_shared.secagg.messages import Signed, encode_seat
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.sealing import Route, sealed_digest
from writing import Json, entropy, signed_json

CULPRIT: Final = 2
"""Whose messages are altered, if nothing else is said."""

RECEIVER: Final = 0
"""The participant that shows what participants refuse."""

BY_BOTH: Final = {"coordinator": f"seat {CULPRIT}", f"seat {RECEIVER}": "coordinator"}
BY_COORDINATOR: Final = {"coordinator": f"seat {CULPRIT}"}
BY_PARTICIPANT: Final = {f"seat {RECEIVER}": "coordinator"}

_X25519_PRIME: Final = 2**255 - 19
_SMALL_ORDER: Final = {
    "zero": 0,
    "one": 1,
    "minus_one": _X25519_PRIME - 1,
    "eight": 325606250916557431795983626356110631294008115727848805560023387167927233504,
    "eight_twist": 39382357235489614581723060781553021112529911719440698176882885853963445705823,
}


def case(
    name: str, comment: str, changes: Mapping[str, Any], refused_by: Mapping[str, str], error: str = "ProtocolError"
) -> Json:
    """Return one bad case."""
    return {
        "changes": dict(changes),
        "comment": comment,
        "error": error,
        "name": f"_bad_{name}",
        "refused_by": dict(refused_by),
    }


def message(signed: Signed | None, seat: Seat = CULPRIT) -> Json:
    """Return the change of one signed message; None takes it away."""
    return {"messages": {str(seat): None if signed is None else signed_json(signed)}}


def resigned(keys: Keys, payload_type: str, body: bytes, seat: Seat = CULPRIT) -> Signed:
    """Return a body with a valid signature of the seat."""
    return Signed(body, keys.signers[seat].sign(payload_type, body))


def edited(body: bytes, changes: Mapping[int, bytes]) -> bytes:
    """Return a body with other fields in these places."""
    parts = decode_fields(body)
    return encode_fields(*(changes.get(place, part) for place, part in enumerate(parts)))


def flip(data: bytes) -> bytes:
    """Return the bytes with one bit changed."""
    return bytes([data[0] ^ 1]) + data[1:]


def common(keys: Keys, messages: Mapping[Seat, Signed], payload_type: str, other_type: str) -> list[Json]:
    """Return what is refused of a signed message in every round."""
    good = messages[CULPRIT]

    def of(name: str, comment: str, body: bytes) -> Json:
        return case(name, comment, message(resigned(keys, payload_type, body)), BY_BOTH)

    parts = decode_fields(good.body)
    return [
        case("signature", "one bit of the signature", message(Signed(good.body, flip(good.signature))), BY_BOTH),
        case(
            "signed_for_another_round",
            "a valid signature under another payload type",
            message(resigned(keys, other_type, good.body)),
            BY_BOTH,
        ),
        case(
            "signed_by_another_seat",
            "the right body, signed by seat 6",
            message(Signed(good.body, keys.signers[6].sign(payload_type, good.body))),
            BY_BOTH,
        ),
        of("other_seat", "the body names seat 3", edited(good.body, {1: encode_seat(3)})),
        of("seat_too_large", "the body names seat 65,535", edited(good.body, {1: encode_seat(65535)})),
        of("seat_of_eight_bytes", "the seat in 8 bytes", edited(good.body, {1: parts[1] + bytes(4)})),
        of("truncated_body", "the last byte is missing", good.body[:-1]),
        of("trailing_bytes", "one byte more", good.body + b"\0"),
        of("missing_field", "without the last field", encode_fields(*parts[:-1])),
        of("extra_field", "an empty field more", encode_fields(*parts, b"")),
        of("other_transcript", "the first field has one bit changed", edited(good.body, {0: flip(parts[0])})),
    ]


def sets(messages: Mapping[Seat, Signed], others: Mapping[Seat, Signed]) -> list[Json]:
    """Return what a participant refuses of a round's messages as a whole."""
    absent = {str(seat): None for seat in (2, 3)}
    return [
        case("own_message_missing", "the receiver's own message is not there", message(None, RECEIVER), BY_PARTICIPANT),
        case(
            "own_message_changed",
            "the receiver's own message, validly signed, but not the one it sent",
            message(others[RECEIVER], RECEIVER),
            BY_PARTICIPANT,
        ),
        case("too_few", "two messages, n_min = 3", {"messages": absent}, BY_PARTICIPANT),
    ]


def keys_faults(keys: Keys) -> list[Json]:
    """Return what is refused in round 0."""
    good = keys.messages[CULPRIT].body
    own, first = decode_fields(good), decode_fields(keys.messages[RECEIVER].body)

    def of(name: str, comment: str, changes: Mapping[int, bytes]) -> Json:
        return case(name, comment, message(resigned(keys, labels.TYPE_ADVERTISE_KEYS, edited(good, changes))), BY_BOTH)

    other_nonce = edited(keys.messages[RECEIVER].body, {4: entropy("other nonce", size=32)})
    others = {RECEIVER: resigned(keys, labels.TYPE_ADVERTISE_KEYS, other_nonce, RECEIVER)}
    stranger = edited(good, {1: encode_seat(1), 2: public_key(bytes(32)), 3: public_key(bytes([8] * 32))})
    unsealed = message(resigned(keys, labels.TYPE_ADVERTISE_KEYS, stranger), 1)
    small = [
        of(f"small_order_key_{name}", f"mask key of u = {name}", {3: u.to_bytes(32, "little")})
        for name, u in _SMALL_ORDER.items()
    ]
    base_again = (9 + _X25519_PRIME).to_bytes(32, "little")
    high_bit = own[2][:31] + bytes([own[2][31] | 0x80])
    return [
        *common(keys, keys.messages, labels.TYPE_ADVERTISE_KEYS, labels.TYPE_SHARE_KEYS),
        case(
            "unknown_seat",
            "a message of seat 1, which is not sealed",
            unsealed,
            {"coordinator": "seat 1", "seat 0": "coordinator"},
        ),
        of("repeated_key", "the channel key is seat 0's mask key", {2: first[3]}),
        of("repeated_own_key", "mask key and channel key are one", {3: own[2]}),
        *small,
        of("noncanonical_key", "u = 9 + p, a second spelling of 9", {2: base_again}),
        of("high_bit_key", "bit 255 is set", {2: high_bit}),
        of("short_key", "a channel key of 31 bytes", {2: own[2][:31]}),
        of("short_nonce", "a nonce of 31 bytes", {4: own[4][:31]}),
        *sets(keys.messages, others),
    ]


def sharing_faults(sharing: Sharing) -> list[Json]:
    """Return what is refused in round 1."""
    keys, t1 = sharing.keys, sharing.t1
    good, dealt = sharing.messages[CULPRIT], sharing.sealed[CULPRIT]
    pair = dealt[RECEIVER]

    def dealing(name: str, comment: str, changed: Mapping[Seat, bytes | None], refused_by: Mapping[str, str]) -> Json:
        """Return a case in which the dealer signed the digest of what it sends."""
        sent: dict[Seat, bytes] = {
            seat: data for seat, data in (dict(dealt) | dict(changed)).items() if data is not None
        }
        header = edited(good.body, {3: sealed_digest(t1, CULPRIT, sent)})
        pairs = {str(seat): None if data is None else data.hex() for seat, data in changed.items()}
        sealed = {"sealed": {str(CULPRIT): pairs}}
        return case(name, comment, message(resigned(keys, labels.TYPE_SHARE_KEYS, header)) | sealed, refused_by)

    def delivery(name: str, comment: str, data: bytes) -> Json:
        """Return a case in which what is delivered is not what the header names."""
        changes = {"sealed": {str(CULPRIT): {str(RECEIVER): data.hex()}}}
        found = case(name, comment, changes, {"coordinator": f"seat {CULPRIT}", f"seat {RECEIVER}": f"seat {CULPRIT}"})
        return found | {"error": {"coordinator": "ProtocolError", f"seat {RECEIVER}": "UnusableShareError"}}

    def lane(name: str, value: int) -> Json:
        lanes = sharing.inputs[RECEIVER].tolist()
        lanes[3] = value
        comment = f"lane 3 holds {value}; nobody but the participant itself is at fault"
        return case(name, comment, {"lanes": lanes}, {f"seat {RECEIVER}": ""}, "StatisticError")

    large = sealed_plain(sharing, encode_scalar(FIELD_ORDER) + bytes(32))
    unusable = {f"seat {RECEIVER}": f"seat {CULPRIT}"}
    other_seed = edited(sharing.messages[RECEIVER].body, {2: bytes(32)})
    others = {RECEIVER: resigned(keys, labels.TYPE_SHARE_KEYS, other_seed, RECEIVER)}
    return [
        *common(keys, sharing.messages, labels.TYPE_SHARE_KEYS, labels.TYPE_ADVERTISE_KEYS),
        delivery("sealed_pair_altered", "one bit of the pair for seat 0", flip(pair)),
        delivery("sealed_pair_of_another", "seat 3's pair instead of seat 0's", dealt[3]),
        delivery("sealed_pair_short", "79 bytes", pair[:-1]),
        dealing("signed_pair_short", "79 bytes, with a header that names them", {RECEIVER: pair[:-1]}, BY_COORDINATOR),
        dealing("recipient_missing", "no pair for seat 0", {RECEIVER: None}, BY_COORDINATOR),
        dealing("recipient_itself", "a pair for itself", {CULPRIT: pair}, BY_COORDINATOR),
        dealing("recipient_unknown", "a pair for seat 1, which is not in U1", {1: pair}, BY_COORDINATOR),
        dealing("share_not_below_r", "the share of k for seat 0 is r", {RECEIVER: large}, unusable)
        | {"error": "UnusableShareError"},
        case(
            "pair_not_delivered",
            "no pair of seat 2 for seat 0",
            {"sealed": {str(CULPRIT): {str(RECEIVER): None}}},
            BY_PARTICIPANT,
        ),
        case(
            "short_commitments_digest",
            "31 bytes",
            message(resigned(keys, labels.TYPE_SHARE_KEYS, edited(good.body, {4: bytes(31)}))),
            BY_BOTH,
        ),
        lane("lane_out_of_range", 2**47),
        lane("lane_out_of_range_below", -(2**47) - 1),
        *sets(sharing.messages, others),
    ]


def sealed_plain(sharing: Sharing, plain: bytes, holder: Seat = RECEIVER, dealer: Seat = CULPRIT) -> bytes:
    """Return other bytes, sealed as a pair."""
    route = Route(sharing.t1, dealer, holder)
    key = route.key(sharing.phases[dealer].secrets.channels[holder])
    return ChaCha20Poly1305(key).encrypt(bytes(12), plain, route.associated())


def masking_faults(masking: Masking) -> list[Json]:
    """Return what is refused in round 2."""
    keys = masking.sharing.keys
    good, masked = masking.messages[CULPRIT].body, masking.prepared[CULPRIT].masked
    commitments, others_commitments = masking.prepared[CULPRIT].commitments, masking.prepared[3].commitments

    def header(name: str, comment: str, changes: Mapping[int, bytes], refused_by: Mapping[str, str]) -> Json:
        signed = resigned(keys, labels.TYPE_MASKED_INPUT, edited(good, changes))
        return case(name, comment, message(signed), refused_by)

    def upload(name: str, comment: str, data: bytes) -> Json:
        """Return a case in which the header names the bytes that are sent."""
        signed = resigned(keys, labels.TYPE_MASKED_INPUT, edited(good, {2: masked_digest(data)}))
        return case(name, comment, message(signed) | {"masked": {str(CULPRIT): data.hex()}}, BY_COORDINATOR)

    other = edited(masking.messages[RECEIVER].body, {4: bytes(32)})
    others = {RECEIVER: resigned(keys, labels.TYPE_MASKED_INPUT, other, RECEIVER)}
    points = [
        fixed(masking, entry["name"], entry["comment"], bytes.fromhex(entry["bytes"]), BY_COORDINATOR)
        for entry in point_cases()
        if "error" in entry and len(entry["bytes"]) == 2 * 48
    ]
    too_large = masked[:40] + encode_scalar(FIELD_ORDER)
    return [
        *common(keys, masking.messages, labels.TYPE_MASKED_INPUT, labels.TYPE_SHARE_KEYS),
        header("no_commitments", "none", {3: b""}, BY_BOTH),
        header("commitments_not_fixed", "seat 3's, which it did not fix in round 1", {3: others_commitments}, BY_BOTH),
        fixed(masking, "_bad_wrong_number_of_commitments", "two for one block", commitments * 2, BY_BOTH),
        header("cut_commitment", "47 bytes", {3: commitments[:-1]}, BY_BOTH),
        *points,
        header("short_contribution", "a digest of 31 bytes", {4: bytes(31)}, BY_BOTH),
        case(
            "masked_altered",
            "one bit of y, not what the header names",
            {"masked": {str(CULPRIT): flip(masked).hex()}},
            BY_COORDINATOR,
        ),
        upload("masked_short", "y without its blinder", masked[:40]),
        upload("masked_long", "y with a byte more", masked + b"\0"),
        upload("blinder_not_below_r", "the masked blinder is r", too_large),
        *sets(masking.messages, others),
    ]


def fixed(masking: Masking, name: str, comment: str, commitments: bytes, refused_by: Mapping[str, str]) -> Json:
    """Return a case in which the culprit fixes these commitments in round 1, so that T2 is another, and shows them later."""
    other = mask_all(share_all(masking.sharing.keys, replaced={CULPRIT: commitments}))
    changes = message(other.messages[CULPRIT]) | {
        "masked": {str(CULPRIT): other.prepared[CULPRIT].masked.hex()},
        "shared": {str(CULPRIT): signed_json(other.sharing.messages[CULPRIT])},
    }
    note = f"{comment}; fixed so in round 1 (`shared`)"
    return case(name.removeprefix("_bad_"), note, changes, refused_by)
