"""Every value of tests/vectors, computed by the second implementation and by the product, and the files written anew."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from typing import Any

import numpy as np
import pytest

from testkit import oracle, oracle_curve
from testkit.oracle import R, Vector, cut, fields, h, number, u32
from testkit.replay import FOLDER, Json, Replay, by_seat, load, signed
from vdb_coordinator.rounds import ConsistencySigned, SharesRevealed, Summed, receive
from vdb_participant.rounds import reveal
from vdb_shared.secagg.commitments import commitments_open

KEYS, SHARING, MASKING, UNMASKING, TWO_BLOCKS, RESTART, GENERATORS = (
    load(f"{name}.json")
    for name in (
        "keys-and-transcripts",
        "sharing",
        "masking",
        "consistency-and-unmasking",
        "two-blocks",
        "restart",
        "generators",
    )
)
FIRST_ATTEMPT, SECOND_ATTEMPT, THIRD_ATTEMPT = RESTART["attempts"]
WITH_DROPOUT, WITHOUT_DROPOUT = UNMASKING["sessions"]

FOUR = (KEYS, SHARING, MASKING)
THREE = (TWO_BLOCKS["keys"], TWO_BLOCKS["sharing"], TWO_BLOCKS["masking"])
RESTARTED = (THIRD_ATTEMPT["keys"], THIRD_ATTEMPT["sharing"], THIRD_ATTEMPT["masking"])

ALL_KEYS = {
    "four": KEYS,
    "two blocks": THREE[0],
    "attempt 0": FIRST_ATTEMPT["keys"],
    "attempt 1": SECOND_ATTEMPT["keys"],
    "attempt 2": RESTARTED[0],
}
ALL_SHARING = {
    "four": (KEYS, SHARING),
    "two blocks": THREE[:2],
    "attempt 2": RESTARTED[:2],
}
ALL_MASKING = {"four": FOUR, "two blocks": THREE, "attempt 2": RESTARTED}
ALL_UNMASKING = {
    "dropout": (*FOUR, WITH_DROPOUT),
    "all stay": (*FOUR, WITHOUT_DROPOUT),
    "two blocks": (*THREE, TWO_BLOCKS["unmasking"]),
    "attempt 2": (*RESTARTED, THIRD_ATTEMPT["unmasking"]),
}


def of(cases: dict[str, Any], *names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(names or ("case",), [pytest.param(*_tuple(c), id=n) for n, c in cases.items()])


def _tuple(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def message(entry: Json) -> oracle.Message:
    return raw(entry["body"]), raw(entry["signature"])


def messages(section: Json) -> dict[int, oracle.Message]:
    return {seat: message(entry["message"]) for seat, entry in by_seat(section["participants"]).items()}


def assert_is(data: bytes, written: Json) -> None:
    """Bytes are those of the files, whole or by size, first bytes and digest."""
    if "bytes" in written:
        assert data.hex() == written["bytes"]
    else:
        assert data[: len(written["first"]) // 2].hex() == written["first"]
        assert (len(data), hashlib.sha256(data).hexdigest()) == (written["size"], written["sha256"])


def scalars(values: list[int]) -> list[str]:
    return [oracle.scalar(value).hex() for value in values]


def assert_signed(keys: Json, seat: int, payload_type: str, body: bytes, entry: Json) -> None:
    """A message has this body, and the signature that only its seat's key makes."""
    seed = raw(keys["participants"][str(seat)]["statement_seed"])
    assert entry["body"] == body.hex()
    assert entry["signature"] == oracle.sign(seed, oracle.round_type(payload_type), body).hex()
    assert keys["parameters"]["roster"][str(seat)] == oracle.statement_public(seed).hex()


def bases() -> tuple[list[oracle_curve.Point], oracle_curve.Point]:
    """Return the generators of the package, whose digest the vectors name."""
    data = resources.files("vdb_shared.secagg").joinpath("generators.bin").read_bytes()
    assert "sha256:" + hashlib.sha256(data).hexdigest() == GENERATORS["digest"]
    points = [oracle_curve.coordinates(part) for part in cut(data, 96)]
    return points[:-1], points[-1]


def open_to(lanes: list[int], blinder: int, size: int = 6) -> oracle_curve.Point:
    """Return Σ v_j G_j + ρ H."""
    generators, blinding = bases()
    lifted = oracle_curve.weighted(lanes, generators[: len(lanes)], size)
    return oracle_curve.add(lifted, oracle_curve.times(blinder, blinding))


def test_generate_writes_these_files() -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@of(ALL_KEYS, "keys")
def test_round_0(keys: Json) -> None:
    known, session = keys["parameters"], raw(keys["parameters"]["session"])
    for seat, entry in by_seat(keys["participants"]).items():
        k, channel, nonce = (raw(entry["entropy"])[start:end] for start, end in ((0, 31), (31, 63), (63, 95)))
        assert [entry[name] for name in ("mask_seed", "channel_private", "nonce")] == [
            k.hex(),
            channel.hex(),
            nonce.hex(),
        ]
        assert entry["mask_private"] == oracle.mask_private(k, session).hex()
        assert entry["channel_key"] == oracle.x25519_public(channel).hex()
        assert entry["mask_key"] == oracle.x25519_public(raw(entry["mask_private"])).hex()
        body = oracle.advertised_body(session, seat, k, channel, nonce)
        assert_signed(keys, seat, "advertise-keys", body, entry["message"])
    assert keys["t1"] == oracle.chained("T1", session, messages(keys)).hex()
    assert known["threshold"] == oracle.threshold(len(keys["participants"]), known["collusion"])
    assert known["quorum"] == oracle.threshold(len(known["roster"]), known["collusion"])
    assert keys["participants"].keys() == known["roster"].keys() - set(map(str, known["left_out"]))
    replay = Replay(keys)
    assert {seat: (m.body, m.signature) for seat, m in replay.round0.items()} == messages(keys)
    assert (replay.parameters.quorum, sorted(replay.parameters.seats)) == (known["quorum"], replay.seats)


@of(ALL_SHARING, "keys", "sharing")
def test_commitments(keys: Json, sharing: Json) -> None:
    count = keys["parameters"]["lanes"]
    for place, entry in enumerate(sharing["participants"].values()):
        written = entry["committed"]
        lanes = oracle.lanes_from(written["lanes_seed"], count)
        assert written.get("lanes", lanes) == lanes
        encoded = [lane + 2**47 for lane in lanes]
        assert_is(b"".join(lane.to_bytes(8, "little") for lane in encoded), written["encoded"])
        blinders = [number(part) % R for part in cut(raw(written["entropy"]), 64)]
        assert written["blinders"] == scalars(blinders)
        starts = range(0, count, oracle.BLOCK)
        for start, blinder, commitment in zip(starts, blinders, written["commitments"], strict=True):
            block = encoded[start : start + oracle.BLOCK]
            if len(block) < oracle.BLOCK or not place:  # a whole block takes a second; one participant's is enough
                assert commitment == oracle_curve.compress(open_to(block, blinder)).hex()


@of(ALL_SHARING, "keys", "sharing")
def test_round_1(keys: Json, sharing: Json) -> None:
    t1, t = raw(keys["t1"]), keys["parameters"]["threshold"]
    drawn = by_seat(keys["participants"])
    for seat, entry in by_seat(sharing["participants"]).items():
        b, z = raw(entry["entropy"])[:31], raw(entry["entropy"])[31:]
        assert (entry["self_seed"], entry["coefficient_seed"]) == (b.hex(), z.hex())
        assert entry["coefficient_key"] == oracle.derive(z, t1, "share-coefficients").hex()
        of_k, of_b = oracle.coefficients(z, t1, t)
        assert (entry["coefficients_of_k"], entry["coefficients_of_b"]) == (scalars(of_k), scalars(of_b))
        pairs = {
            holder: [oracle.share(of_k, raw(drawn[seat]["mask_seed"]), holder), oracle.share(of_b, b, holder)]
            for holder in drawn
        }
        assert entry["own_pair"] == scalars(pairs.pop(seat))
        assert by_seat(entry["sealed"]).keys() == pairs.keys()
        for holder, pair in pairs.items():
            agreed = oracle.x25519(raw(drawn[seat]["channel_private"]), raw(drawn[holder]["channel_key"]))
            key = oracle.pair_key(agreed, t1, seat, holder)
            assert entry["sealed"][str(holder)] == {
                "agreement": agreed.hex(),
                "associated_data": fields(t1, u32(seat), u32(holder)).hex(),
                "key": key.hex(),
                "pair": oracle.seal(key, t1, seat, holder, b"".join(map(oracle.scalar, pair))).hex(),
            }
        sealed = {holder: raw(pair["pair"]) for holder, pair in by_seat(entry["sealed"]).items()}
        digests = (
            h("self-seed", t1, u32(seat), b),
            oracle.sealed_digest(t1, seat, sealed),
            h("commitments", t1, u32(seat), b"".join(map(raw, entry["committed"]["commitments"]))),
        )
        names = ("self_seed_digest", "sealed_digest", "commitments_digest")
        assert tuple(entry[name] for name in names) == tuple(digest.hex() for digest in digests)
        assert_signed(keys, seat, "share-keys", fields(t1, u32(seat), *digests), entry["message"])
    assert sharing["t2"] == oracle.chained("T2", t1, messages(sharing)).hex()
    replay = Replay(keys, sharing).share()
    assert {seat: (m.body, m.signature) for seat, m in replay.round1.items()} == messages(sharing)


@of(ALL_MASKING, "keys", "sharing", "masking")
def test_round_2(keys: Json, sharing: Json, masking: Json) -> None:
    t2, count = raw(sharing["t2"]), keys["parameters"]["lanes"]
    drawn = by_seat(keys["participants"])
    for seat, entry in by_seat(masking["participants"]).items():
        committed = sharing["participants"][str(seat)]["committed"]
        y = Vector(
            [lane + 2**47 for lane in oracle.lanes_from(committed["lanes_seed"], count)],
            [number(raw(blinder)) for blinder in committed["blinders"]],
        )
        key = oracle.self_mask_key(raw(sharing["participants"][str(seat)]["self_seed"]), t2, seat)
        for sign, derived, written in [(1, key, entry["self_mask"]), *pair_masks(seat, entry, drawn, t2)]:
            assert written["key"] == derived.hex()
            assert_is(oracle.prg(derived, 8 * count + 64 * -(-count // oracle.BLOCK)), written["stream"])
            y.add(oracle.mask(derived, count), sign)
        assert_is(y.encode(), entry["masked"])
        assert entry["masked_digest"] == h("masked-input", y.encode()).hex()
        contribution, commitments = raw(entry["contribution"]), b"".join(map(raw, committed["commitments"]))
        body = fields(t2, u32(seat), h("masked-input", y.encode()), commitments, contribution)
        assert_signed(keys, seat, "masked-input", body, entry["message"])
    replay = Replay(keys, sharing, masking).mask()
    assert {seat: (m.body, m.signature) for seat, m in replay.round2.items()} == messages(masking)


def pair_masks(seat: int, entry: Json, drawn: dict[int, Json], t2: bytes) -> Iterator[tuple[int, bytes, Json]]:
    assert by_seat(entry["pair_masks"]).keys() == drawn.keys() - {seat}
    for peer, written in by_seat(entry["pair_masks"]).items():
        agreed = oracle.x25519(raw(drawn[seat]["mask_private"]), raw(drawn[peer]["mask_key"]))
        assert (written["agreement"], written["sign"]) == (agreed.hex(), 1 if peer > seat else -1)
        yield written["sign"], oracle.pair_mask_key(agreed, t2, seat, peer), written


@of(ALL_UNMASKING, "keys", "sharing", "masking", "unmasking")
def test_rounds_3_and_4(keys: Json, sharing: Json, masking: Json, unmasking: Json) -> None:
    survivors, u1 = unmasking["survivors"], sorted(by_seat(keys["participants"]))
    headers = {seat: m for seat, m in messages(masking).items() if seat in survivors}
    t3 = oracle.chained("T3", raw(sharing["t2"]), headers)
    statement = fields(t3, u32(*u1), u32(*u1), u32(*survivors))
    assert (unmasking["t3"], unmasking["statement"]) == (t3.hex(), statement.hex())
    dealt = dealt_shares(keys, sharing)
    for seat in survivors:
        entry = {"body": unmasking["statement"], "signature": unmasking["signatures"][str(seat)]}
        assert_signed(keys, seat, "consistency", statement, entry)
        of_b = b"".join(u32(dealer) + oracle.scalar(dealt[dealer][seat][1]) for dealer in survivors)
        of_k = b"".join(u32(dealer) + oracle.scalar(dealt[dealer][seat][0]) for dealer in u1 if dealer not in survivors)
        body = fields(t3, u32(seat), of_b, of_k)
        assert_signed(keys, seat, "unmasking", body, unmasking["revealed"][str(seat)])
    t = keys["parameters"]["threshold"]
    for kind, place, dealers in (("b", 1, survivors), ("k", 0, [seat for seat in u1 if seat not in survivors])):
        rebuilt = {
            dealer: oracle.interpolate({seat: dealt[dealer][seat][place] for seat in survivors[-t:]})
            for dealer in dealers
        }
        assert by_seat(unmasking["rebuilt"][kind]) == {d: v.to_bytes(31, "little").hex() for d, v in rebuilt.items()}


def dealt_shares(keys: Json, sharing: Json) -> dict[int, dict[int, tuple[int, int]]]:
    """Return the shares of k and of b by dealer, then holder."""
    t1, t = raw(keys["t1"]), keys["parameters"]["threshold"]
    dealt = {}
    for dealer, entry in by_seat(sharing["participants"]).items():
        of_k, of_b = oracle.coefficients(raw(entry["coefficient_seed"]), t1, t)
        k, b = raw(keys["participants"][str(dealer)]["mask_seed"]), raw(entry["self_seed"])
        dealt[dealer] = {
            holder: (oracle.share(of_k, k, holder), oracle.share(of_b, b, holder))
            for holder in by_seat(keys["participants"])
        }
    return dealt


@of(ALL_UNMASKING, "keys", "sharing", "masking", "unmasking")
def test_sums_by_the_second_implementation(keys: Json, sharing: Json, masking: Json, unmasking: Json) -> None:
    """From what travels alone: masked vectors, rebuilt seeds, public keys."""
    known, t2 = keys["parameters"], raw(sharing["t2"])
    count, survivors = known["lanes"], unmasking["survivors"]
    total = Vector([0] * count, [0] * -(-count // oracle.BLOCK))
    for seat in survivors:
        total.add(masked_vector(keys, sharing, masking, seat))
    for seat, b in by_seat(unmasking["rebuilt"]["b"]).items():
        total.add(oracle.mask(oracle.self_mask_key(raw(b), t2, seat), count), -1)
    for dropped, k in by_seat(unmasking["rebuilt"]["k"]).items():
        private = oracle.mask_private(raw(k), raw(known["session"]))
        assert oracle.x25519_public(private).hex() == keys["participants"][str(dropped)]["mask_key"]
        for seat in survivors:
            agreed = oracle.x25519(private, raw(keys["participants"][str(seat)]["mask_key"]))
            added = 1 if dropped > seat else -1
            total.add(oracle.mask(oracle.pair_mask_key(agreed, t2, seat, dropped), count), -added)
    assert_is(b"".join(lane.to_bytes(8, "little") for lane in total.lanes), unmasking["sum"]["encoded"])
    assert unmasking["sum"]["blinders"] == scalars(total.blinders)
    inputs = [
        oracle.lanes_from(sharing["participants"][str(seat)]["committed"]["lanes_seed"], count) for seat in survivors
    ]
    sums = [sum(column) for column in zip(*inputs, strict=True)]
    assert [lane - len(survivors) * 2**47 for lane in total.lanes] == sums == unmasking["sum"].get("lanes", sums)
    assert_opens(sharing, survivors, total, unmasking["sum"]["weights"])


def masked_vector(keys: Json, sharing: Json, masking: Json, seat: int) -> Vector:
    """Return y of a seat: from the file, or where it holds a digest only, from the product, which must fit the digest."""
    written = masking["participants"][str(seat)]["masked"]
    data = raw(written["bytes"]) if "bytes" in written else Replay(keys, sharing, masking).mask().uploads[seat]
    assert_is(data, written)
    return oracle.vector(data, keys["parameters"]["lanes"])


def assert_opens(sharing: Json, survivors: list[int], total: Vector, written: list[str]) -> None:
    """The survivors' commitments open to the sum: block by block where blocks are small, else all at once as §4.6 says."""
    signed_ones = [list(map(raw, sharing["participants"][str(seat)]["committed"]["commitments"])) for seat in survivors]
    sums = [
        oracle_curve.total([oracle_curve.decompress(c) for c in column]) for column in zip(*signed_ones, strict=True)
    ]
    blocks = [total.lanes[start : start + oracle.BLOCK] for start in range(0, len(total.lanes), oracle.BLOCK)]
    if len(blocks) == 1:
        assert sums == [open_to(blocks[0], total.blinders[0], 8)]
    encoded = b"".join(lane.to_bytes(8, "little") for lane in total.lanes)
    blinders = b"".join(map(oracle.scalar, total.blinders))
    weights = oracle.weights(encoded, blinders, [b"".join(points) for points in signed_ones])
    assert written == [weight.to_bytes(16, "little").hex() for weight in weights]
    left = oracle_curve.total([oracle_curve.times(w, point) for w, point in zip(weights, sums, strict=True)])
    columns = range(len(blocks[0]))
    exponents = [
        sum(w * block[j] for w, block in zip(weights, blocks, strict=True) if j < len(block)) % R for j in columns
    ]
    blinder = sum(w * r for w, r in zip(weights, total.blinders, strict=True)) % R
    assert left == open_to(exponents, blinder, 32)


@of(ALL_UNMASKING, "keys", "sharing", "masking", "unmasking")
def test_sums_by_the_product(keys: Json, sharing: Json, masking: Json, unmasking: Json) -> None:
    survivors = unmasking["survivors"]
    replay = Replay(keys, sharing, masking).agree(survivors)
    phase = replay.at_signatures(survivors, survivors[:-1])
    phase = receive(phase, ConsistencySigned(survivors[-1], raw(unmasking["signatures"][str(survivors[-1])])))
    assert {str(seat): m.signature.hex() for seat, m in replay.round3.items()} == unmasking["signatures"]
    signatures = {seat: m.signature for seat, m in replay.round3.items()}
    for seat in survivors:
        _, shares = reveal(replay.agreed[seat], signatures)
        assert shares == signed(unmasking["revealed"][str(seat)])
        phase = receive(phase, SharesRevealed(seat, shares))
    assert isinstance(phase, Summed)
    encoded = (phase.totals + np.int64(len(survivors) * 2**47)).astype("<u8")
    assert_is(encoded.tobytes(), unmasking["sum"]["encoded"])
    assert scalars(list(phase.blinders)) == unmasking["sum"]["blinders"]
    headers = phase.transcript.masked.headers
    assert commitments_open([headers[seat].commitments for seat in survivors], encoded, phase.blinders)
