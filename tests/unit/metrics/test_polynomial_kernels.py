"""JEDi and the sketched kernel of degree 3, from sums alone, are means of their kernels over all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from vdb_shared.metrics.features import clip_to_ball, second_moment
from vdb_shared.metrics.kernel import EmbeddingSums, squared_discrepancy
from vdb_shared.metrics.sketch import Sketch, kernel_bound, sketch_share, sketch_unit

Points = NDArray[np.float64]

MANIFEST = "sha256:" + "7" * 64
DIMENSION = 6
LIMIT = 8.0


def points(seed: int, count: int, shift: float = 0.0) -> Points:
    return np.asarray(np.random.default_rng(seed).normal(size=(count, DIMENSION)) + shift)


def jedi_sums(values: Points) -> EmbeddingSums:
    shares = [second_moment(clip_to_ball(value / LIMIT)[0]) for value in values]
    return EmbeddingSums(np.sum(shares, axis=0), float(len(values)), with_itself=True)


def test_jedi_is_a_hundred_times_the_mean_kernel_over_all_pairs() -> None:
    a, b = points(0, 30), points(1, 20, 0.5)

    def kernel(x: Points, y: Points) -> Points:
        return np.asarray((x @ y.T / DIMENSION) ** 2)

    wanted = 100 * (kernel(a, a).mean() + kernel(b, b).mean() - 2 * kernel(a, b).mean())
    found = 100 * LIMIT**4 / DIMENSION**2 * squared_discrepancy(jedi_sums(a), jedi_sums(b))
    assert found == pytest.approx(wanted, rel=1e-12)


def test_noise_does_not_move_jedi_on_average() -> None:
    a, b = jedi_sums(points(0, 200)), jedi_sums(points(1, 200, 0.3))
    truth = squared_discrepancy(a, b)
    generator = np.random.default_rng(2)
    found = []
    for _ in range(2000):
        noised = a.sums + 3.0 * generator.normal(size=a.sums.size)
        found.append(squared_discrepancy(EmbeddingSums(noised, a.count, 3.0, with_itself=True), b))
    assert abs(np.mean(found) - truth) < 4 * np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) + a.sums.size * (3.0 / a.count) ** 2 - truth) > 4 * np.std(found) / math.sqrt(len(found))


def cube(a: Points, b: Points) -> Points:
    return np.asarray((a @ b.T / DIMENSION + 1) ** 3)


def sketched(values: Points, sketch: Sketch) -> EmbeddingSums:
    shares = np.array([sketch_share(value, LIMIT, sketch) for value in values])
    return EmbeddingSums(shares[:, :-1].sum(axis=0), float(len(values)), squares=float(shares[:, -1].sum()))


def test_products_of_sketches_are_the_kernel_on_average() -> None:
    a, b = points(3, 1)[0], points(4, 1)[0]
    vectors = [np.append(x / math.sqrt(DIMENSION), 1.0) for x in (a, b)]
    products = []
    for number in range(400):
        sketch = Sketch.of("sha256:" + f"{number:064x}", DIMENSION, 256)
        products.append(float(sketch(vectors[0]) @ sketch(vectors[1])))
    assert abs(np.mean(products) - float(cube(a[None], b[None])[0, 0])) < 4 * np.std(products) / math.sqrt(400)


def test_a_wide_sketch_gives_the_exact_statistic_within_a_few_percent() -> None:
    a, b = points(5, 60), points(6, 50, 0.8)
    sketch = Sketch.of(MANIFEST, DIMENSION, 8192)
    found = sketch_unit(DIMENSION, LIMIT) ** 2 * squared_discrepancy(sketched(a, sketch), sketched(b, sketch))

    def off_diagonal(kernel: Points) -> float:
        return float((kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1)))

    exact = off_diagonal(cube(a, a)) + off_diagonal(cube(b, b)) - 2 * float(cube(a, b).mean())
    assert found == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 1e9])
def test_sketch_shares_stay_in_their_bound(scale: float) -> None:
    sketch = Sketch.of(MANIFEST, DIMENSION, 64)
    for value in points(7, 40) * scale:
        share = sketch_share(value, LIMIT, sketch)
        assert share.shape == (65,)
        assert math.fsum(share**2) <= 2.0


def test_features_at_the_limit_are_rarely_shortened() -> None:
    """The unit leaves room: at the limit a sketch of 1024 lanes is within it in at least 99 of 100 draws."""
    value = points(8, 1)[0]
    value *= LIMIT / np.linalg.norm(value)
    inside = 0
    for number in range(100):
        sketch = Sketch.of("sha256:" + f"{number:064x}", DIMENSION, 1024)
        raw = sketch(np.append(value / math.sqrt(DIMENSION), 1.0))
        inside += float(np.linalg.norm(raw)) <= sketch_unit(DIMENSION, LIMIT)
    assert inside >= 99
    assert kernel_bound(DIMENSION, LIMIT) == pytest.approx(math.sqrt(float(cube(value[None], value[None])[0, 0])))
