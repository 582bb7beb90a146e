"""Masked inputs are uniform bytes and field elements, independent of the inputs and of each other as far as can be seen.

The consortium is deterministic, so each statistic is one number that does not change; bounds are such that a uniform source
would fail each of them less often than once in 10^6.
"""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from testkit.consortium import Consortium, parameters
from vdb_coordinator.rounds import InputMasked
from vdb_shared.secagg.encoding import LANE_OFFSET
from vdb_shared.secagg.field import FIELD_ORDER
from vdb_shared.secagg.parameters import Seat
from vdb_shared.secagg.transcript import Stage
from vdb_shared.secagg.vectors import Vector

N = 4
LANES = 16384
RARE = 1e-7
SESSIONS = 100


@cache
def masked(value: int, seed: int = 0, lanes: int = LANES) -> dict[Seat, Vector]:
    """Return the masked vectors of a consortium whose inputs are all the same value."""
    sealed = parameters(N, lanes=lanes, seed=seed)
    inputs = {seat: np.full(lanes, value, dtype=np.int64) for seat in sealed.roster}
    all_parties = Consortium(sealed, inputs, seed)
    all_parties.run_until(Stage.CONSISTENCY)
    found = {m.seat: m.masked for m in all_parties.sent if isinstance(m, InputMasked)}
    return {seat: Vector.from_bytes(data, lanes) for seat, data in found.items()}


def uniform_bytes(data: bytes) -> float:
    """Return the p-value of a chi-square test against uniform bytes."""
    counts = np.bincount(np.frombuffer(data, dtype=np.uint8), minlength=256)
    return float(stats.chisquare(counts).pvalue)


@pytest.mark.parametrize("value", [0, -LANE_OFFSET, LANE_OFFSET - 1, 12345])
def test_bytes_of_a_masked_constant_are_uniform(value: int) -> None:
    for vector in masked(value).values():
        assert uniform_bytes(vector.lanes.tobytes()) > RARE
        for place in range(8):
            assert uniform_bytes(vector.lanes.tobytes()[place::8]) > RARE


def test_the_sum_of_fewer_than_all_is_uniform_too() -> None:
    """Pair masks cancel only in the sum of all, and self masks never do."""
    vectors = masked(0)
    for seats in ((0, 1), (1, 2, 3), (0, 1, 2, 3)):
        total = np.sum([vectors[seat].lanes for seat in seats], axis=0, dtype=np.uint64)
        assert uniform_bytes(total.tobytes()) > RARE


def centred(lanes: NDArray[np.uint64]) -> NDArray[np.float64]:
    return lanes.astype(np.float64) / 2.0**63 - 1.0


def test_masked_inputs_do_not_correlate_with_each_other_nor_with_themselves_later() -> None:
    vectors = [centred(vector.lanes) for vector in masked(7).values()]
    bound = 6 / np.sqrt(LANES)  # six standard deviations
    for i, ours in enumerate(vectors):
        assert abs(np.corrcoef(ours[1:], ours[:-1])[0, 1]) < bound
        assert abs(np.corrcoef(ours[4096:], ours[:-4096])[0, 1]) < bound
        for theirs in vectors[:i]:
            assert abs(np.corrcoef(ours, theirs)[0, 1]) < bound


def test_the_same_input_in_another_session_is_masked_anew() -> None:
    bound = 6 / np.sqrt(LANES)
    for seat in range(N):
        one, two = masked(7)[seat].lanes, masked(7, seed=1)[seat].lanes
        assert abs(np.corrcoef(centred(one), centred(two))[0, 1]) < bound
        assert uniform_bytes((one - two).tobytes()) > RARE


def test_masked_blinders_are_uniform_below_the_order() -> None:
    """By a Kolmogorov–Smirnov test of blinder / r, so that the top bits count, which are not uniform bits."""
    blinders = [b for seed in range(SESSIONS) for v in masked(0, seed, 1).values() for b in v.blinders]
    assert len(blinders) == SESSIONS * N
    assert max(blinders) < FIELD_ORDER
    assert float(stats.kstest([b / FIELD_ORDER for b in blinders], "uniform").pvalue) > RARE
    assert uniform_bytes(b"".join(b.to_bytes(32, "little")[:24] for b in blinders)) > RARE
    assert len(set(blinders)) == len(blinders)
