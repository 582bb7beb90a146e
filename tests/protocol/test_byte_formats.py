"""A second implementation of §4 of the specification, written with hashlib, hmac and integers, gives the same bytes."""

import hashlib
import hmac
import struct
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from testkit.consortium import Consortium, consortium, entropy
from vdb_coordinator.rounds import (
    ConsistencySigned,
    InputMasked,
    KeysAdvertised,
    KeysShared,
    SharesRevealed,
    Summed,
)
from vdb_shared.secagg.messages import Signed

N, T, LANES = 4, 3, 3
ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
SESSION = entropy("session", 0, size=32)


def fields(*parts: bytes) -> bytes:
    return b"".join(struct.pack("<Q", len(part)) + part for part in parts)


def h(label: str, *parts: bytes) -> bytes:
    return hashlib.sha256(fields(f"vdb-secagg/1|{label}".encode(), *parts)).digest()


def hkdf(secret: bytes, salt: bytes, label: str, *context: bytes) -> bytes:
    info = fields(f"vdb-secagg/1|{label}".encode(), *context)
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\x01", "sha256")


def u32(*seats: int) -> bytes:
    return struct.pack(f"<{len(seats)}I", *seats)


def stream(key: bytes, size: int) -> bytes:
    return Cipher(AES256(key), CTR(bytes(16))).encryptor().update(bytes(size))


def words(data: bytes) -> list[int]:
    return [word for (word,) in struct.iter_unpack("<Q", data)]


def public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def dh(private: bytes, peer: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(peer))


def drawn(seat: int) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Return k, channel key, nonce, b and the coefficients' seed of a seat."""
    first, second = entropy("advertise", 0, seat, size=95), entropy("share", 0, seat, size=63)
    return first[:31], first[31:63], first[63:], second[:31], second[31:]


def mask_private(seat: int) -> bytes:
    return hkdf(drawn(seat)[0], SESSION, "mask-key")


def chained(label: str, previous: bytes, messages: Mapping[int, Signed]) -> bytes:
    parts = [part for seat in sorted(messages) for part in (u32(seat), messages[seat].body, messages[seat].signature)]
    return h(label, previous, *parts)


def share_values(seat: int, t1: bytes) -> dict[int, tuple[int, int]]:
    """Return for each holder the shares of k and of b that a dealer deals."""
    k, _, _, b, seed = drawn(seat)
    uniform = stream(hkdf(seed, t1, "share-coefficients"), 2 * (T - 1) * 64)
    values: dict[int, tuple[int, int]] = {}
    for holder in range(N):
        pair = []
        for secret, part in ((k, uniform[:128]), (b, uniform[128:])):
            high, low = (int.from_bytes(part[start : start + 64], "little") for start in (0, 64))
            x = holder + 1
            pair.append((high * x * x + low * x + int.from_bytes(secret, "little")) % ORDER)
        values[holder] = (pair[0], pair[1])
    return values


def session() -> tuple[Consortium, Summed]:
    all_parties = consortium(N, lanes=LANES)
    end = all_parties.run()
    assert isinstance(end, Summed)
    return all_parties, end


def test_round_0() -> None:
    all_parties, end = session()
    for message in all_parties.sent:
        if isinstance(message, KeysAdvertised):
            seat = message.seat
            _, channel, nonce, _, _ = drawn(seat)
            assert message.signed.body == fields(SESSION, u32(seat), public(channel), public(mask_private(seat)), nonce)
    assert end.transcript.advertised.t1 == chained("T1", SESSION, end.transcript.advertised.messages)


def test_round_1() -> None:
    all_parties, end = session()
    t1 = end.transcript.advertised.t1
    for message in all_parties.sent:
        if not isinstance(message, KeysShared):
            continue
        seat = message.seat
        sealed = {}
        for holder, (of_k, of_b) in share_values(seat, t1).items():
            if holder != seat:
                agreed = dh(drawn(seat)[1], public(drawn(holder)[1]))
                key = hkdf(agreed, t1, "channel", u32(seat), u32(holder))
                plain = of_k.to_bytes(32, "little") + of_b.to_bytes(32, "little")
                sealed[holder] = ChaCha20Poly1305(key).encrypt(bytes(12), plain, fields(t1, u32(seat), u32(holder)))
        assert message.sealed == sealed
        flat = [part for holder in sorted(sealed) for part in (u32(holder), sealed[holder])]
        assert message.header.body == fields(
            t1, u32(seat), h("self-seed", t1, u32(seat), drawn(seat)[3]), h("sealed-shares", t1, u32(seat), *flat)
        )
    assert end.transcript.shared.t2 == chained("T2", t1, end.transcript.shared.messages)


def test_round_2() -> None:
    all_parties, end = session()
    t2 = end.transcript.shared.t2
    for message in all_parties.sent:
        if not isinstance(message, InputMasked):
            continue
        seat = message.seat
        lanes = [int(value) + 2**47 for value in all_parties.inputs[seat]]
        streams = [(1, hkdf(drawn(seat)[3], t2, "self-mask", b"lanes", u32(seat)))]
        for peer in set(range(N)) - {seat}:
            agreed = dh(mask_private(seat), public(mask_private(peer)))
            pair = (u32(min(seat, peer)), u32(max(seat, peer)))
            streams.append((1 if peer > seat else -1, hkdf(agreed, t2, "pair-mask", b"lanes", *pair)))
        for sign, key in streams:
            mask = words(stream(key, 8 * LANES))
            lanes = [(lane + sign * word) % 2**64 for lane, word in zip(lanes, mask, strict=True)]
        masked = struct.pack(f"<{LANES}Q", *lanes)
        assert message.masked == masked
        contribution = entropy("contribution", 0, seat, size=32)
        assert message.header.body == fields(t2, u32(seat), h("masked-input", masked), b"", b"", contribution)


def test_rounds_3_and_4() -> None:
    all_parties, end = session()
    t1 = end.transcript.advertised.t1
    t3 = chained("T3", end.transcript.shared.t2, end.transcript.masked.messages)
    body = fields(t3, u32(*range(N)), u32(*range(N)), u32(*range(N)))
    assert end.transcript.masked.statement.encode() == body
    for message in all_parties.sent:
        if isinstance(message, ConsistencySigned):
            key = all_parties.parameters.roster[message.seat]
            key.verify("application/vnd.vdb.secagg.consistency.v1", body, message.signature)
        if isinstance(message, SharesRevealed):
            shares = b"".join(
                u32(dealer) + share_values(dealer, t1)[message.seat][1].to_bytes(32, "little") for dealer in range(N)
            )
            assert message.signed.body == fields(t3, u32(message.seat), shares, b"")


def test_transcript_digests_have_not_changed_since_they_were_published() -> None:
    _, end = session()
    assert end.transcript.advertised.t1.hex() == "212eb84030653ff4326de93c0c299e9ce62f3a85395f37486d2ba3598ffd415f"
    assert end.transcript.shared.t2.hex() == "8460ccb3aee889e6774a26947248dc1e1b840f600a5d75aa9af22c919e00a8ce"
    assert (
        end.transcript.masked.statement.t3.hex() == "bb8b9e3a709385d085ae9b42661d30124e4450ec48f816f296a779ae903fd24c"
    )
