"""The vectors below the rounds: bytes and hashes, secret sharing, generators and points."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Final

from py_arkworks_bls12381 import G1Point, Scalar

from vdb_shared import labels
from vdb_shared.canonical import encode_fields, labelled_hash
from vdb_shared.identity import StatementKey, pre_authentication_encoding
from vdb_shared.secagg.agreement import derive_key
from vdb_shared.secagg.field import FIELD_ORDER, reduce_uniform
from vdb_shared.secagg.generators import GENERATORS_DIGEST, load_generators
from vdb_shared.secagg.parameters import BLOCK_LANES, Seat
from vdb_shared.secagg.shamir import combine, split, split_entropy
from vdb_shared.secagg.unmasking import rebuild
from writing import Json, by_seat, entropy, scalars

_FIELD_PRIME: Final = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
"""p of BLS12-381: coordinates are below it."""

_HASHES: Final = {
    labels.HASH_T1: "transcript digest after round 0, here over no message",
    labels.HASH_T2: "transcript digest after round 1",
    labels.HASH_T3: "transcript digest after round 2",
    labels.HASH_SELF_SEED: "H(b)",
    labels.HASH_SEALED_SHARES: "digest of sealed pairs",
    labels.HASH_COMMITMENTS: "digest of commitments",
    labels.HASH_MASKED_INPUT: "digest of y",
    labels.HASH_RESTART: "session of the next attempt",
}

_DERIVATIONS: Final = (
    labels.KDF_MASK_KEY,
    labels.KDF_SHARE_COEFFICIENTS,
    labels.KDF_CHANNEL,
    labels.KDF_SELF_MASK,
    labels.KDF_PAIR_MASK,
)

_TYPES: Final = (
    labels.TYPE_ADVERTISE_KEYS,
    labels.TYPE_SHARE_KEYS,
    labels.TYPE_MASKED_INPUT,
    labels.TYPE_CONSISTENCY,
    labels.TYPE_UNMASKING,
    labels.TYPE_COMPLAINT,
)


def labels_file() -> Json:
    """Return fields, labelled hashes, key derivations and signatures."""
    return {
        "comment": "§2.1 fields and labelled hashes, §2.3 HKDF with info = fields(label, context…), §3.1 signatures",
        "derivations": [_derivation(index, label) for index, label in enumerate(_DERIVATIONS)],
        "fields": _fields(),
        "hashes": [_hash(index, label, comment) for index, (label, comment) in enumerate(_HASHES.items())],
        "signatures": _signatures(),
    }


def _hash(count: int, label: str, comment: str) -> Json:
    parts = [entropy("hash", label, index, size=7 * index) for index in range(count)]
    return {
        "comment": comment,
        "digest": labelled_hash(label, *parts).hex(),
        "label": label,
        "parts": [part.hex() for part in parts],
    }


def _derivation(count: int, label: str) -> Json:
    secret, salt = entropy("secret", label, size=31 + count % 2), entropy("salt", label, size=32)
    context = [entropy("context", label, index, size=4) for index in range(count)]
    return {
        "comment": f"{len(secret)} bytes of secret, {count} parts of context",
        "context": [part.hex() for part in context],
        "info": encode_fields(label.encode(), *context).hex(),
        "key": derive_key(secret, salt, label, *context).hex(),
        "label": label,
        "salt": salt.hex(),
        "secret": secret.hex(),
    }


def _fields() -> list[Json]:
    good = encode_fields(b"", b"vdb", bytes(9))

    def case(name: str, comment: str, data: bytes, count: int, parts: list[bytes] | None) -> Json:
        end = {"error": "FormatError"} if parts is None else {"parts": [part.hex() for part in parts]}
        return {"name": name, "comment": comment, "bytes": data.hex(), "count": count} | end

    return [
        case("three_fields", "an empty field counts", good, 3, [b"", b"vdb", bytes(9)]),
        case("no_fields", "no bytes are no fields", b"", 0, []),
        case("_bad_truncated_length", "the last length is cut", good[:15], 2, None),
        case("_bad_truncated_content", "the last field is cut", good[:-1], 3, None),
        case("_bad_trailing_bytes", "one byte more", good + b"\0", 3, None),
        case("_bad_missing_field", "three fields where four are expected", good, 4, None),
        case("_bad_extra_field", "three fields where two are expected", good, 2, None),
        case("_bad_length_beyond_the_end", "a length of 2^63", bytes(7) + b"\x80" + bytes(16), 1, None),
    ]


def _signatures() -> list[Json]:
    seed = entropy("statement key", size=32)
    key = StatementKey.from_seed(seed)
    body = entropy("payload", size=45)

    def case(name: str, comment: str, payload_type: str, payload: bytes, signature: bytes) -> Json:
        return {
            "comment": comment,
            "encoding": pre_authentication_encoding(payload_type, payload).hex(),
            "name": name,
            "payload": payload.hex(),
            "payload_type": payload_type,
            "public": key.public_key.raw.hex(),
            "seed": seed.hex(),
            "signature": signature.hex(),
        }

    signed = {kind: key.sign(kind, body) for kind in _TYPES}
    cases = [
        case(kind.split(".")[-2], "signed under its type", kind, body, signature) for kind, signature in signed.items()
    ]
    kind, signature = next(iter(signed.items()))
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    scalar = int.from_bytes(signature[32:], "little") + 2**252 + 27742317777372353535851937790883648493
    malleable = signature[:32] + scalar.to_bytes(32, "little")
    bad = [
        case("_bad_signature", "one bit of the signature", kind, body, flipped),
        case("_bad_payload", "one byte more", kind, body + b"\0", signature),
        case("_bad_payload_type", "signed as round 0, shown as round 1", _TYPES[1], body, signature),
        case("_bad_second_signature", "S + L instead of S: RFC 8032 wants S below L", kind, body, malleable),
        case("_bad_short_signature", "63 bytes", kind, body, signature[:-1]),
    ]
    return cases + [entry | {"error": "SignatureError"} for entry in bad]


def shamir_file() -> Json:
    """Return splits, interpolations, and seeds rebuilt in spite of wrong shares."""
    return {
        "combine": _combinations(),
        "comment": "x = seat + 1; scalars are 32 little-endian bytes; coefficients stand highest degree first, 64 bytes each",
        "rebuild": _rebuilds(),
        "split": [_split(1, [4]), _split(2, [0, 1]), _split(3, [0, 2, 3, 6]), _split(4, [5, 1, 65534, 0, 9])],
    }


def _dealt(threshold: int, holders: Collection[Seat]) -> tuple[bytes, bytes, dict[Seat, int]]:
    seed = entropy("shared seed", threshold, size=31)
    drawn = entropy("coefficients", threshold, size=split_entropy(threshold))
    return seed, drawn, split(int.from_bytes(seed, "little"), threshold, holders, drawn)


def _split(threshold: int, holders: Collection[Seat]) -> Json:
    seed, drawn, shares = _dealt(threshold, holders)
    return {
        "coefficients": scalars(reduce_uniform(drawn)),
        "comment": f"threshold {threshold}, seats {', '.join(map(str, holders))}",
        "entropy": drawn.hex(),
        "seed": seed.hex(),
        "shares": _shares(shares),
        "threshold": threshold,
    }


def _shares(shares: Mapping[Seat, int]) -> Json:
    return by_seat({seat: scalars([share])[0] for seat, share in shares.items()})


def _combinations() -> list[Json]:
    _, _, shares = _dealt(3, [0, 2, 3, 6])

    def case(name: str, comment: str, seats: Collection[Seat]) -> Json:
        chosen = {seat: shares[seat] for seat in seats}
        return {"comment": comment, "name": name, "shares": _shares(chosen), "value": scalars([combine(chosen)])[0]}

    return [
        case("three_of_four", "threshold 3: the seed", [0, 3, 6]),
        case("all_four", "the same seed", [0, 2, 3, 6]),
        case("_bad_two_of_four", "too few: another value, which tells nothing", [0, 3]),
    ]


def _rebuilds() -> list[Json]:
    seed, _, shares = _dealt(3, [0, 1, 2, 3, 4])
    large = split(2**248, 3, [0, 1, 2, 3, 4], entropy("large", size=split_entropy(3)))

    def case(name: str, comment: str, shown: Mapping[Seat, int]) -> Json:
        digest = hashlib.sha256(seed).digest()
        found = rebuild(shown, 3, lambda candidate: hashlib.sha256(candidate).digest() == digest)
        return {
            "comment": comment,
            "left_out": None if found is None else list(found[1]),
            "name": name,
            "seed": None if found is None else found[0].hex(),
            "seed_sha256": digest.hex(),
            "shares": _shares(shown),
            "threshold": 3,
        }

    def wrong(*seats: Seat) -> dict[Seat, int]:
        return {seat: 2 * share % FIELD_ORDER if seat in seats else share for seat, share in shares.items()}

    # Three who agree on another polynomial with the same constant term: f(x) + x.
    shaped = {seat: share + seat + 1 if seat in (0, 1, 4) else share for seat, share in shares.items()}

    return [
        case("all_right", "nobody is left out", shares),
        case("one_wrong", "one is left out", wrong(3)),
        case("two_wrong", "two are left out, as many as five holders allow", wrong(0, 4)),
        case(
            "three_wrong_by_agreement", "colluders shape their shares so that two honest holders are left out", shaped
        ),
        case("_bad_three_wrong", "two right shares do not reach the threshold", wrong(0, 1, 4)),
        case("_bad_seed_of_249_bits", "right shares of 2^248, which is no seed", large),
    ]


def generators_file() -> Json:
    """Return some generators, the digest of all, and encodings of points that are read or refused."""
    bases = load_generators()
    chosen = [(f"generator-{index}", bases.lanes[index]) for index in (*range(5), BLOCK_LANES - 1)]
    return {
        "comment": "§4.6: RFC 9380, suite BLS12381G1_XMD:SHA-256_SSWU_RO_; xy is x ‖ y, 48 big-endian bytes each",
        "digest": GENERATORS_DIGEST,
        "dst": labels.DST_GENERATORS,
        "generators": [_point(name, point) for name, point in [*chosen, ("blinder", bases.blinder)]],
        "known_answers": {
            "comment": "RFC 9380, appendix J.9.1, for whoever writes hash_to_curve anew",
            "dst": "QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_",
            "points": [_point(name, G1Point.hash_to_curve(name.encode(), _RFC_DST)) for name in ("", "abc")],
        },
        "points": point_cases(),
    }


_RFC_DST: Final = b"QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"


def _point(name: str, point: G1Point) -> Json:
    return {
        "compressed": bytes(point.to_compressed_bytes()).hex(),
        "name": name,
        "xy": bytes(point.to_xy_bytes_be()).hex(),
    }


def point_cases() -> list[Json]:
    """Return encodings of points: read, or refused."""
    base = bytes(load_generators().lanes[0].to_compressed_bytes())
    small = _small_coordinate()
    second = (int.from_bytes(small, "big") + _FIELD_PRIME).to_bytes(48, "big")
    cases = [
        ("generator", "G_0", base, True),
        ("negative", "−G_0: the other root", bytes([base[0] ^ 0x20]) + base[1:], True),
        ("infinity", "no point: flags 0xc0, all else zero", bytes([0xC0]) + bytes(47), True),
        ("small_coordinate", "a multiple of G_0 whose x is below 2^381 − p", small, True),
        ("_bad_commitment_second_encoding", "the same point with x + p instead of x", second, False),
        ("_bad_infinity_with_sign", "infinity with the flag of the larger root", bytes([0xE0]) + bytes(47), False),
        ("_bad_infinity_with_bits", "infinity with x = 1", bytes([0xC0]) + bytes(46) + b"\1", False),
        ("_bad_not_compressed", "without the flag 0x80", bytes([base[0] & 0x7F]) + base[1:], False),
        ("_bad_commitment_not_on_curve", "no y for x = 1", bytes([0x80]) + bytes(46) + b"\1", False),
        ("_bad_commitment_outside_subgroup", "x = 4, on the curve, of another order than r", outside_subgroup(), False),
        ("_bad_short_point", "47 bytes", base[:-1], False),
    ]
    return [
        {"bytes": data.hex(), "comment": comment, "name": name} | ({} if good else {"error": "FormatError"})
        for name, comment, data, good in cases
    ]


def _small_coordinate() -> bytes:
    """Return a point of the subgroup that has a second spelling below 2^381."""
    point = load_generators().lanes[0]
    for factor in range(1, 200):
        data = bytes((point * Scalar(factor)).to_compressed_bytes())
        if (int.from_bytes(data, "big") & (1 << 381) - 1) + _FIELD_PRIME < 1 << 381:
            return data
    raise RuntimeError("no small multiple has a second spelling")


def outside_subgroup() -> bytes:
    """Return a point of the curve with x = 4 that is not of order r."""
    data = bytes([0x80]) + bytes(46) + b"\4"
    if G1Point.from_compressed_bytes_unchecked(data).is_in_subgroup():
        raise RuntimeError("a point of the subgroup")
    return data
