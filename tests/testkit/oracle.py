"""A second implementation of §4 of the specification, for comparison only: hashlib, hmac, integers and one AES block at a time.

Written from the text of protos/README.md alone. Promises nothing about speed or constant time. Takes no code of the product;
Ed25519 and ChaCha20-Poly1305 are the library's.

Source: protos/README.md §2, §4; RFC 5869 (HKDF), RFC 7748, section 5 (X25519), NIST SP 800-38A (counter mode), Shamir 1979.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

R = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
BLOCK = 4096
_P25519 = 2**255 - 19

Message = tuple[bytes, bytes]
"""Body and signature."""


def u32(*seats: int) -> bytes:
    return b"".join(seat.to_bytes(4, "little") for seat in seats)


def scalar(value: int) -> bytes:
    return value.to_bytes(32, "little")


def number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def fields(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts)


def labelled(label: str, *parts: bytes) -> bytes:
    return hashlib.sha256(fields(label.encode("ascii"), *parts)).digest()


def h(label: str, *parts: bytes) -> bytes:
    return labelled(f"vdb-secagg/1|{label}", *parts)


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes: extract (RFC 5869, §2.2), then the one block T(1) of expand (§2.3)."""
    pseudorandom = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(pseudorandom, info + b"\x01", hashlib.sha256).digest()


def derive(secret: bytes, salt: bytes, label: str, *context: bytes) -> bytes:
    return hkdf(secret, salt, fields(f"vdb-secagg/1|{label}".encode("ascii"), *context))


def prg(key: bytes, size: int) -> bytes:
    """Return the key stream: the counters 0, 1, 2, … as big-endian blocks, each enciphered by itself."""
    blocks = -(-size // 16)
    counters = b"".join(counter.to_bytes(16, "big") for counter in range(blocks))
    # ECB enciphers each block by itself, which is what counter mode is made of.
    return Cipher(AES256(key), ECB()).encryptor().update(counters)[:size]  # noqa: S305


def pae(payload_type: str, payload: bytes) -> bytes:
    kind = payload_type.encode("ascii")
    return b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])


def round_type(name: str) -> str:
    return f"application/vnd.vdb.secagg.{name}.v1"


def sign(seed: bytes, payload_type: str, payload: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(pae(payload_type, payload))


def statement_public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def verify(public: bytes, payload_type: str, message: Message) -> None:
    """Raise InvalidSignature if the signature is not over the body."""
    Ed25519PublicKey.from_public_bytes(public).verify(message[1], pae(payload_type, message[0]))


def x25519(private: bytes, point: bytes) -> bytes:
    """Return the u-coordinate of the product, by the Montgomery ladder of RFC 7748, §5."""
    k = number(private) & ~7 & ~(1 << 255) | 1 << 254
    x1 = number(point) & ((1 << 255) - 1)
    x2, z2, x3, z3 = 1, 0, x1, 1
    for bit in reversed(range(255)):
        if swap := k >> bit & 1:
            x2, x3, z2, z3 = x3, x2, z3, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb = d * a, c * b
        x3, z3 = (da + cb) ** 2 % _P25519, x1 * (da - cb) ** 2 % _P25519
        e = a * a - b * b
        x2, z2 = a * a * b * b % _P25519, e * (a * a + 121665 * e) % _P25519
        if swap:
            x2, x3, z2, z3 = x3, x2, z3, z2
    return scalar(x2 * pow(z2, -1, _P25519) % _P25519) if z2 else bytes(32)


def x25519_public(private: bytes) -> bytes:
    return x25519(private, scalar(9))


def mask_private(k: bytes, session: bytes) -> bytes:
    return derive(k, session, "mask-key")


def threshold(members: int, collusion: int) -> int:
    return (members + collusion) // 2 + 1


def chained(label: str, previous: bytes, messages: Mapping[int, Message]) -> bytes:
    return h(label, previous, *(part for seat in sorted(messages) for part in (u32(seat), *messages[seat])))


def advertised_body(session: bytes, seat: int, k: bytes, channel: bytes, nonce: bytes) -> bytes:
    return fields(session, u32(seat), x25519_public(channel), x25519_public(mask_private(k, session)), nonce)


def coefficients(z: bytes, t1: bytes, t: int) -> tuple[list[int], list[int]]:
    """Return the coefficients of k's and of b's polynomial, highest degree first, without the constant terms."""
    drawn = [number(part) % R for part in cut(prg(derive(z, t1, "share-coefficients"), 128 * (t - 1)), 64)]
    return drawn[: t - 1], drawn[t - 1 :]


def share(higher: Sequence[int], seed: bytes, seat: int) -> int:
    """Return the polynomial's value at seat + 1."""
    ascending = [number(seed), *reversed(higher)]
    value = 0
    power = 1
    for coefficient in ascending:
        value += coefficient * power
        power *= seat + 1
    return value % R


def interpolate(shares: Mapping[int, int]) -> int:
    """Return the value at 0 of the lowest polynomial through the shares."""
    total = 0
    for seat, value in shares.items():
        above, below = 1, 1
        for other in shares:
            if other != seat:
                above, below = above * (other + 1) % R, below * (other - seat) % R
        total += value * above * pow(below, -1, R)
    return total % R


def pair_key(agreed: bytes, t1: bytes, dealer: int, holder: int) -> bytes:
    return derive(agreed, t1, "channel", u32(dealer), u32(holder))


def seal(key: bytes, t1: bytes, dealer: int, holder: int, plain: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(bytes(12), plain, fields(t1, u32(dealer), u32(holder)))


def sealed_digest(t1: bytes, dealer: int, sealed: Mapping[int, bytes]) -> bytes:
    parts = [part for holder in sorted(sealed) for part in (u32(holder), sealed[holder])]
    return h("sealed-shares", t1, u32(dealer), *parts)


def self_mask_key(b: bytes, t2: bytes, seat: int) -> bytes:
    return derive(b, t2, "self-mask", u32(seat))


def pair_mask_key(agreed: bytes, t2: bytes, one: int, other: int) -> bytes:
    return derive(agreed, t2, "pair-mask", u32(min(one, other)), u32(max(one, other)))


class Vector:
    """Lanes mod 2^64 and blinders mod r."""

    def __init__(self, lanes: Sequence[int], blinders: Sequence[int]) -> None:
        self.lanes, self.blinders = list(lanes), list(blinders)

    def add(self, other: Vector, sign: int = 1) -> None:
        self.lanes = [(a + sign * b) % 2**64 for a, b in zip(self.lanes, other.lanes, strict=True)]
        self.blinders = [(a + sign * b) % R for a, b in zip(self.blinders, other.blinders, strict=True)]

    def encode(self) -> bytes:
        return b"".join(lane.to_bytes(8, "little") for lane in self.lanes) + b"".join(map(scalar, self.blinders))


def mask(key: bytes, lanes: int) -> Vector:
    """Return M(key)."""
    stream = prg(key, 8 * lanes + 64 * -(-lanes // BLOCK))
    return Vector(
        [number(part) for part in cut(stream[: 8 * lanes], 8)],
        [number(part) % R for part in cut(stream[8 * lanes :], 64)],
    )


def vector(data: bytes, lanes: int) -> Vector:
    """Return the vector that travelled as these bytes."""
    return Vector(
        [number(part) for part in cut(data[: 8 * lanes], 8)], [number(part) for part in cut(data[8 * lanes :], 32)]
    )


def lanes_from(text: str, count: int) -> list[int]:
    """Return the lanes that a `lanes_seed` of the vectors stands for."""
    drawn = hashlib.shake_256(text.encode()).digest(8 * count)
    return [int.from_bytes(part, "little", signed=True) >> 16 for part in cut(drawn, 8)]


def weights(encoded: bytes, blinders: bytes, commitments: Sequence[bytes]) -> list[int]:
    """Return the weights of the check of §4.6: one for each block."""
    text = fields(b"vdb-secagg/1|commitment-weights", encoded, blinders, *commitments)
    return [number(part) for part in cut(hashlib.shake_256(text).digest(len(blinders) // 2), 16)]
