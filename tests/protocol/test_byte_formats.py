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
from py_arkworks_bls12381 import G1Point, Scalar

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
    first, second = (
        entropy("advertise", 0, SESSION, seat, size=95),
        entropy("share", 0, SESSION, seat, size=63),
    )
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


def committed(lanes: list[int], blinder: int) -> bytes:
    """Return the commitment of one block: Σ v_j·G_j + r·H with generators that are hashed here."""
    dst = b"vdb-secagg/1|generators|BLS12381G1_XMD:SHA-256_SSWU_RO_"
    total = G1Point.hash_to_curve(b"blinder", dst) * Scalar.from_le_bytes(blinder.to_bytes(32, "little"))
    for index, lane in enumerate(lanes):
        total = total + G1Point.hash_to_curve(f"generator-{index}".encode(), dst) * Scalar(lane)
    return total.to_compressed_bytes()


def plain(all_parties: Consortium, seat: int) -> tuple[list[int], int]:
    """Return a seat's encoded lanes and its blinder."""
    lanes = [int(value) + 2**47 for value in all_parties.inputs[seat]]
    return lanes, int.from_bytes(entropy("blinders", 0, SESSION, seat, size=64), "little") % ORDER


def commitment_of(all_parties: Consortium, seat: int) -> bytes:
    return committed(*plain(all_parties, seat))


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
            t1,
            u32(seat),
            h("self-seed", t1, u32(seat), drawn(seat)[3]),
            h("sealed-shares", t1, u32(seat), *flat),
            h("commitments", t1, u32(seat), commitment_of(all_parties, seat)),
        )
    assert end.transcript.shared.t2 == chained("T2", t1, end.transcript.shared.messages)


def test_round_2() -> None:
    all_parties, end = session()
    t2 = end.transcript.shared.t2
    for message in all_parties.sent:
        if not isinstance(message, InputMasked):
            continue
        seat = message.seat
        lanes, blinder = plain(all_parties, seat)
        commitment = committed(lanes, blinder)
        streams = [(1, hkdf(drawn(seat)[3], t2, "self-mask", u32(seat)))]
        for peer in set(range(N)) - {seat}:
            agreed = dh(mask_private(seat), public(mask_private(peer)))
            pair = (u32(min(seat, peer)), u32(max(seat, peer)))
            streams.append((1 if peer > seat else -1, hkdf(agreed, t2, "pair-mask", *pair)))
        for sign, key in streams:
            uniform = stream(key, 8 * LANES + 64)
            mask = words(uniform[: 8 * LANES])
            lanes = [(lane + sign * word) % 2**64 for lane, word in zip(lanes, mask, strict=True)]
            blinder = (blinder + sign * int.from_bytes(uniform[8 * LANES :], "little")) % ORDER
        masked = struct.pack(f"<{LANES}Q", *lanes) + blinder.to_bytes(32, "little")
        assert message.masked == masked
        contribution = entropy("contribution", 0, seat, size=32)
        assert message.header.body == fields(t2, u32(seat), h("masked-input", masked), commitment, contribution)


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


def test_the_sum_and_its_blinder_are_what_the_commitments_add_up_to() -> None:
    all_parties, end = session()
    blinders = [int.from_bytes(entropy("blinders", 0, SESSION, seat, size=64), "little") for seat in range(N)]
    assert end.blinders == (sum(blinders) % ORDER,)
    assert end.totals.tolist() == [sum(int(lanes[j]) for lanes in all_parties.inputs.values()) for j in range(LANES)]


def test_transcript_digests_have_not_changed_since_they_were_published() -> None:
    _, end = session()
    assert end.transcript.advertised.t1.hex() == "78adbac3e6c8694b63921e0109d3bd7a53dbcb801d4815d3451f16ace538c339"
    assert end.transcript.shared.t2.hex() == "5302d71349d0ced81a405a9b5d417fc82c4ac57d5b9a95e593d5743162f5f81a"
    assert (
        end.transcript.masked.statement.t3.hex() == "7a4db76173e72171edfcb3351d6f0d6b631abe957a49eedb633089e212733b1e"
    )
