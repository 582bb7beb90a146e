"""Scores of movement transcribed from the published formulas, one pixel at a time: slow, and plain enough to compare by eye."""

from __future__ import annotations

import math
from itertools import pairwise

from vdb_participant.data.video import Frames
from vdb_participant.measure.motion.flow import Flow


def bilinear(grid: list[list[list[float]]], x: float, y: float) -> list[float]:
    height, width = len(grid), len(grid[0])
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    x0, y0 = math.floor(x), math.floor(y)
    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
    a, b = x - x0, y - y0
    corners = zip(grid[y0][x0], grid[y0][x1], grid[y1][x0], grid[y1][x1], strict=True)
    return [(1 - a) * (1 - b) * p + a * (1 - b) * q + (1 - a) * b * r + a * b * s for p, q, r, s in corners]


def plain_warping_error(clip: Frames, flow: Flow) -> float | None:
    errors = []
    for index in range(len(clip) - 1):
        f = flow(clip[index], clip[index + 1]).astype(float).tolist()
        b = flow(clip[index + 1], clip[index]).astype(float).tolist()
        one, two = (clip[index] / 255).tolist(), (clip[index + 1] / 255).tolist()
        total, count = 0.0, 0
        for y, row in enumerate(one):
            for x, colour in enumerate(row):
                u, v = f[y][x]
                if not (0 <= x + u <= len(row) - 1 and 0 <= y + v <= len(one) - 1):
                    continue
                bu, bv = bilinear(b, x + u, y + v)
                if (u + bu) ** 2 + (v + bv) ** 2 > 0.01 * (u * u + v * v + bu * bu + bv * bv) + 0.5:
                    continue
                count += 1
                moved = bilinear(two, x + u, y + v)
                total += sum((p - q) ** 2 for p, q in zip(moved, colour, strict=True))
        if count:
            errors.append(total / count)
    return sum(errors) / len(errors) if errors else None


def plain_dynamic_degree(clip: Frames, fps: float, flow: Flow) -> float:
    taken = [clip[index] for index in range(0, len(clip), max(1, round(fps / 8)))]
    threshold, wanted = 6.0 * (min(clip.shape[1:3]) / 256.0), max(1, round(4 * (len(taken) / 16.0)))
    moving_pairs = 0
    for earlier, later in pairwise(taken):
        lengths = sorted((math.hypot(u, v) for row in flow(earlier, later).tolist() for u, v in row), reverse=True)
        largest = lengths[: int(len(lengths) * 0.05)]
        moving_pairs += sum(largest) / len(largest) > threshold
    return 1.0 if moving_pairs >= wanted else 0.0


def plain_smoothness(clip: Frames, flow: Flow) -> float:
    even = clip[::2]
    scores = []
    for number in range(len(even) - 1):
        a, b = even[number], even[number + 1]
        ab, ba = flow(a, b).astype(float), flow(b, a).astype(float)
        total, count = 0.0, 0
        for y in range(clip.shape[1]):
            for x in range(clip.shape[2]):
                # Super SloMo, eq. 4: F(t→0) = -(1 - t) t F(0→1) + t² F(1→0), F(t→1) = (1 - t)² F(0→1) - t (1 - t) F(1→0)
                u0, v0 = -0.25 * ab[y, x] + 0.25 * ba[y, x]
                u1, v1 = 0.25 * ab[y, x] - 0.25 * ba[y, x]
                from_a = bilinear(a.tolist(), x + u0, y + v0)
                from_b = bilinear(b.tolist(), x + u1, y + v1)
                for p, q, real in zip(from_a, from_b, clip[2 * number + 1, y, x].tolist(), strict=True):
                    total += abs(round((p + q) / 2) - real)
                    count += 1
        scores.append(total / count)
    return (255.0 - sum(scores) / len(scores)) / 255.0


def plain_consistency(features: list[list[float]]) -> float:
    total = 0.0
    for index in range(1, len(features)):
        previous = max(0.0, sum(a * b for a, b in zip(features[index - 1], features[index], strict=True)))
        first = max(0.0, sum(a * b for a, b in zip(features[0], features[index], strict=True)))
        total += (previous + first) / 2
    return total / (len(features) - 1)
