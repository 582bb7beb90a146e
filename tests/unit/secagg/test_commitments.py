"""Commitments against a computation by the definition, and sums that are not what was committed."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_arkworks_bls12381 import G1Point, Scalar

from testkit import oracle
from testkit.consortium import entropy
from vdb_shared import labels
from vdb_shared.canonical import sha256_digest
from vdb_shared.errors import FormatError, VerificationError
from vdb_shared.secagg import commitments, generators
from vdb_shared.secagg.commitments import check_weights, commit, commitments_open, decode_commitments
from vdb_shared.secagg.encoding import Ring
from vdb_shared.secagg.field import FIELD_ORDER, reduce_uniform
from vdb_shared.secagg.generators import derive_generators, load_generators
from vdb_shared.secagg.parameters import BLOCK_LANES, blocks_of

LANE = st.integers(0, 2**48 - 1)
SCALAR = st.integers(0, FIELD_ORDER - 1)


def lanes_of(count: int, seed: object = 0) -> Ring:
    return np.frombuffer(entropy("lanes", seed, size=8 * count), dtype="<u8") >> np.uint64(16)


def blinders_of(count: int, seed: object = 0) -> list[int]:
    return reduce_uniform(entropy("blinders", seed, size=64 * blocks_of(count)))


def by_definition(values: Ring, blinder: int) -> G1Point:
    """Return sum v_j G_j + r H, point by point, with generators hashed here."""
    dst = labels.DST_GENERATORS.encode()
    total = G1Point.hash_to_curve(b"blinder", dst) * Scalar.from_le_bytes(blinder.to_bytes(32, "little"))
    for index, value in enumerate(values.tolist()):
        total = total + G1Point.hash_to_curve(b"generator-%d" % index, dst) * Scalar(value)
    return total


@pytest.mark.parametrize("count", [1, 7, 40])
def test_commitment_is_the_defining_sum(count: int) -> None:
    values, (blinder,) = lanes_of(count), blinders_of(count)
    assert commit(values, [blinder]) == by_definition(values, blinder).to_compressed_bytes()


def test_blocks_use_the_same_generators() -> None:
    values, blinders = lanes_of(BLOCK_LANES + 3), blinders_of(BLOCK_LANES + 3)
    whole = commit(values, blinders)
    assert whole == commit(values[:BLOCK_LANES], blinders[:1]) + commit(values[BLOCK_LANES:], blinders[1:])
    assert whole[48:] == by_definition(values[BLOCK_LANES:], blinders[1]).to_compressed_bytes()


def test_generators_are_the_hashes_of_their_names() -> None:
    assert sha256_digest(derive_generators()) == generators.GENERATORS_DIGEST
    bases = load_generators()
    assert len({point.to_compressed_bytes() for point in (*bases.lanes, bases.blinder)}) == BLOCK_LANES + 1


def sums(seats: int, count: int) -> tuple[list[bytes], Ring, list[int]]:
    vectors = [lanes_of(count, seat) for seat in range(seats)]
    blinders = [blinders_of(count, seat) for seat in range(seats)]
    signed = [commit(values, row) for values, row in zip(vectors, blinders, strict=True)]
    total: Ring = np.add.reduce(vectors)
    return signed, total, [sum(column) % FIELD_ORDER for column in zip(*blinders, strict=True)]


@cache
def three_sums() -> tuple[list[bytes], Ring, list[int]]:
    return sums(3, BLOCK_LANES + 5)


@pytest.mark.parametrize("count", [1, 5, BLOCK_LANES, BLOCK_LANES + 1, 3 * BLOCK_LANES + 77])
def test_honest_commitments_open_to_the_sum(count: int) -> None:
    assert commitments_open(*sums(3, count))


BLOCKS = 3


def two_survivors() -> tuple[list[bytes], Ring, list[int]]:
    """Return the commitments of two survivors to three blocks, and what they open to."""
    values = [np.full(BLOCKS * BLOCK_LANES, lane, dtype=np.uint64) for lane in (5, 7)]
    blinders = [reduce_uniform(entropy("blinders", seat, size=64 * BLOCKS)) for seat in range(2)]
    signed = [commit(*one) for one in zip(values, blinders, strict=True)]
    return signed, values[0] + values[1], [(a + b) % FIELD_ORDER for a, b in zip(*blinders, strict=True)]


def test_every_weight_changes_with_whatever_is_checked() -> None:
    signed, totals, blinders = two_survivors()
    changed_lane, other_point = totals.copy(), generators.load_generators().blinder.to_compressed_bytes()
    changed_lane[-1] += np.uint64(1)
    variants = [
        (signed, totals, blinders),
        (signed, changed_lane, blinders),
        (signed, totals, [*blinders[:-1], (blinders[-1] + 1) % FIELD_ORDER]),
        ([signed[0], signed[1][:-48] + other_point], totals, blinders),
        ([other_point + signed[0][48:], signed[1]], totals, blinders),
        (signed[::-1], totals, blinders),
    ]
    weights = [check_weights(*variant) for variant in variants]
    assert all(len({found[block] for found in weights}) == len(variants) for block in range(BLOCKS))


def test_whoever_knows_the_weights_beforehand_opens_another_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights that do not depend on the blinders, errors of two blocks cancel; with the real ones they do not."""
    signed, totals, blinders = two_survivors()
    weights = check_weights(signed, totals, blinders)
    forged = [blinders[0] + weights[1], blinders[1] - weights[0], blinders[2]]
    forged = [blinder % FIELD_ORDER for blinder in forged]
    assert not commitments_open(signed, totals, forged)
    monkeypatch.setattr(commitments, "check_weights", lambda *_: weights)
    assert commitments_open(signed, totals, forged)


def test_damaged_generators_are_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(resources.files("vdb_shared.secagg").joinpath("generators.bin").read_bytes())
    for place in (0, len(data) // 2, len(data) - 1):
        data[place] ^= 1
        (tmp_path / "generators.bin").write_bytes(data)
        data[place] ^= 1
        monkeypatch.setattr(resources, "files", lambda _: tmp_path)
        generators.load_generators.cache_clear()
        with pytest.raises(VerificationError, match=r"generators\.bin is damaged"):
            generators.load_generators()
    monkeypatch.undo()
    assert len(generators.load_generators().lanes) == BLOCK_LANES


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_no_other_sum_and_no_other_blinders_open(data: st.DataObject) -> None:
    signed, total, blinders = three_sums()
    lane = data.draw(st.integers(0, total.size - 1))
    change = data.draw(st.integers(1, 2**64 - 1))
    altered = total.copy()
    altered[lane] += np.uint64(change)
    assert not commitments_open(signed, altered, blinders)
    block = data.draw(st.integers(0, 1))
    shifted = list(blinders)
    shifted[block] = (shifted[block] + data.draw(st.integers(1, FIELD_ORDER - 1))) % FIELD_ORDER
    assert not commitments_open(signed, total, shifted)


def test_two_changes_that_cancel_do_not_open() -> None:
    signed, total, blinders = sums(3, 2 * BLOCK_LANES)
    altered = total.copy()
    altered[3] += np.uint64(1)
    altered[BLOCK_LANES + 3] -= np.uint64(1)  # the same generator in the other block
    assert not commitments_open(signed, altered, blinders)
    swapped = np.concatenate([total[BLOCK_LANES:], total[:BLOCK_LANES]])
    assert not commitments_open(signed, swapped, blinders)


def test_the_weights_are_those_of_the_protocol() -> None:
    """They follow from all that is checked: the sum, the blinders and every survivor's commitments."""
    signed, total, blinders = three_sums()
    raw = b"".join(blinder.to_bytes(32, "little") for blinder in blinders)
    assert check_weights(signed, total, blinders) == oracle.weights(total.astype("<u8").tobytes(), raw, signed)


def test_a_missing_or_repeated_commitment_does_not_open() -> None:
    signed, total, blinders = sums(3, 5)
    assert not commitments_open(signed[:2], total, blinders)
    assert not commitments_open([*signed, signed[0]], total, blinders)


@given(st.lists(LANE, min_size=4, max_size=4), st.lists(LANE, min_size=4, max_size=4), SCALAR, SCALAR)
@settings(max_examples=30, deadline=None)
def test_each_commitment_is_that_of_every_vector_under_exactly_one_blinder(
    values: list[int], others: list[int], blinder: int, wrong: int
) -> None:
    """So a commitment says nothing about the lanes, at any computing power: shown over bases with known logarithms."""
    logarithms, of_blinder = reduce_uniform(entropy("logarithms", size=4 * 64)), 3**100 % FIELD_ORDER
    bases = generators.Generators(tuple(times_g(log) for log in logarithms), times_g(of_blinder))
    apart = sum(log * (ours - theirs) for log, ours, theirs in zip(logarithms, values, others, strict=True))
    equalising = (blinder + apart * pow(of_blinder, -1, FIELD_ORDER)) % FIELD_ORDER
    with other_bases(bases):
        commitment = commit(ring(values), [blinder])
        assert commit(ring(others), [equalising]) == commitment
        assert (commit(ring(others), [wrong]) == commitment) == (wrong == equalising)


def times_g(scalar: int) -> G1Point:
    return G1Point() * Scalar.from_le_bytes(scalar.to_bytes(32, "little"))


def ring(values: list[int]) -> Ring:
    return np.array(values, dtype=np.uint64)


@contextmanager
def other_bases(bases: generators.Generators) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commitments, "load_generators", lambda: bases)
        yield


def test_the_blinder_of_one_block_hides_that_block_only() -> None:
    values = lanes_of(BLOCK_LANES + 3)
    one, two = (commit(values, [first, 5]) for first in (1, 2))
    assert one[:48] != two[:48]
    assert one[48:] == two[48:]


NOT_IN_SUBGROUP = bytes.fromhex(
    # the point with the smallest x on the curve y^2 = x^3 + 4 outside the subgroup of order r: x = 4
    "80" + "00" * 46 + "04"
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(48), "not a point"),
        (b"\xff" * 48, "one encoding"),
        (NOT_IN_SUBGROUP, "not a point"),
        (bytes(47), "expected 1 commitments"),
        (bytes(96), "expected 1 commitments"),
    ],
)
def test_bytes_that_are_no_commitment_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        decode_commitments(data, 1)


def test_the_point_outside_the_subgroup_is_on_the_curve() -> None:
    assert not G1Point.from_compressed_bytes_unchecked(NOT_IN_SUBGROUP).is_in_subgroup()


def test_a_commitment_needs_a_blinder_for_each_block() -> None:
    with pytest.raises(ValueError, match="2 blocks, not 1"):
        commit(lanes_of(BLOCK_LANES + 1), [1])
