"""The metric suite: numerics against independent code, speed of finishes and scores beside their peers, and of the whole suite.

    python benchmarks/metrics.py [--json FILE] [--clips 12] [--small]

Errors are relative. Ratios are medians of alternating runs in this process. The suite's six metrics are measured on the same
MP4 files: once as the product does, one decode and one pass of each extractor for all; once as a loop of single metrics does,
each of which decodes and embeds for itself. Both use the same code for everything else, and the packaged extractors. `--small`
leaves out dimension 2048, which takes minutes.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rows import Row, report
from scipy.linalg import sqrtm
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)
from torchmetrics.image.fid import _compute_fid

from vdb_coordinator.commands.presets import read_preset
from vdb_participant.data.resize import fit
from vdb_participant.data.video import Frames, decode, encode_mp4
from vdb_participant.embedded import WEIGHTS
from vdb_participant.embedded.scenes import render, scenes
from vdb_participant.measure.extractors.interface import LoadedExtractor
from vdb_participant.measure.extractors.table import load_extractor
from vdb_participant.measure.motion.degree import dynamic_degree
from vdb_participant.measure.motion.smoothness import motion_smoothness
from vdb_participant.measure.motion.tracking import motion_features
from vdb_participant.measure.motion.warping import warping_error
from vdb_participant.measure.observation import Observation
from vdb_participant.measure.paired.feature import fsim
from vdb_participant.measure.paired.pixels import psnr
from vdb_participant.measure.paired.structure import ms_ssim, ssim
from vdb_participant.measure.shares import shares
from vdb_participant.models import inspect_weights
from vdb_shared.metrics.features import clip_to_ball, posterior, second_moment
from vdb_shared.metrics.frechet import Moments, frechet_distance
from vdb_shared.metrics.inception import PosteriorSums, log_score
from vdb_shared.metrics.kernel import EmbeddingSums, squared_discrepancy
from vdb_shared.spec import Metric, Spec, parse_spec_toml

Points = NDArray[np.float64]

SIX: Final = (
    "clip-score@1",
    "clip-temp@1",
    "background-consistency@1",
    "fd-clip@1",
    "temporal-flickering@1",
    "frechet-videomae@1",
)
"""Metrics of the suite that is compared: four look at the same embeddings of frames, one at the clip, one at pixels."""

ROUNDS: Final = 5
SETTLING_SECONDS: Final = 0.2
"""Idle threads of BLAS and OpenMP spin for some hundredths of a second, and would be measured with whatever comes next."""


def main() -> int:
    """Run, print, and return 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--small", action="store_true")
    chosen = parser.parse_args()
    rows = [*numerics(small=chosen.small), *finish_speed(), *score_speed(), *suite_speed(chosen.clips)]
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "torchmetrics", "scikit-image"))
    return report(rows, f"relative errors; medians of {ROUNDS} alternating runs; {versions}", chosen.json)


def numerics(*, small: bool) -> list[Row]:
    """Errors against scipy, torchmetrics, scikit-image and definitions."""
    rows = []
    shapes = [(600, 500, 64), (300, 300, 400), (300, 2048, 400), (2048, 2048, 400)]
    for first, second, dimension in shapes if small else [*shapes, (1500, 4096, 2048)]:
        a, b = _cloud(1, first, dimension), _cloud(2, second, dimension)
        name = f"Fréchet, d={dimension}, {first} and {second} clips"
        rows += _frechet_errors(name, a, b)
    rows += [
        Row("JEDi: mean kernel over all pairs", _jedi_error(), "relative", 1e-12),
        Row("Inception score: definition", _inception_error(), "relative", 1e-12),
    ]
    frames, reference = _pair_of_clips()
    rows += [
        Row(
            "PSNR: scikit-image",
            _relative(psnr(frames, reference), _psnr_of_others(frames, reference)),
            "relative",
            1e-12,
        ),
        Row(
            "SSIM: scikit-image",
            _relative(ssim(frames, reference), _ssim_of_others(frames, reference)),
            "relative",
            1e-12,
        ),
        Row(
            "SSIM: torchmetrics, which averages padded borders as well",
            _relative(ssim(frames, reference), _ssim_of_torchmetrics(frames, reference)),
            "relative",
        ),
        Row(
            "MS-SSIM: torchmetrics, which averages padded borders as well",
            _relative(ms_ssim(frames, reference), _ms_ssim_of_torchmetrics(frames, reference)),
            "relative",
        ),
    ]
    return rows


def _frechet_errors(name: str, a: Points, b: Points) -> list[Row]:
    """With fewer clips than dimensions scipy and torchmetrics take roots of rounding; the clips themselves tell the truth."""
    moments = _moments(a), _moments(b)
    ours, truth = frechet_distance(*moments), _from_clips(a, b)
    deficient = min(len(a), len(b)) <= a.shape[1]
    bound = None if deficient else 1e-8
    return [
        Row(f"{name}: singular values of the clips", _relative(ours, truth), "relative", 1e-8),
        Row(f"{name}: scipy's sqrtm", _relative(ours, _by_scipy(*moments)), "relative", bound),
        Row(f"{name}: torchmetrics", _relative(ours, _by_torchmetrics(*moments)), "relative", bound),
        *([Row(f"{name}: scipy's own error", _relative(_by_scipy(*moments), truth), "relative")] if deficient else []),
    ]


def finish_speed() -> list[Row]:
    """Fréchet distance at d=400 beside scipy's route and torchmetrics'."""
    moments = _moments(_cloud(1, 2048, 400)), _moments(_cloud(2, 2048, 400))
    ours, scipy_, torchmetrics_ = _alternating(
        lambda: frechet_distance(*moments),
        lambda: _by_scipy(*moments),
        lambda: _by_torchmetrics(*moments),
        rounds=5 * ROUNDS,
    )
    return [
        Row("Fréchet, d=400", 1000 * ours, "ms"),
        Row("Fréchet, d=400: scipy's sqrtm / ours", scipy_ / ours, "times", 10, at_least=True),
        Row("Fréchet, d=400: torchmetrics / ours", torchmetrics_ / ours, "times", 1, at_least=True),
    ]


def score_speed() -> list[Row]:
    """Clips a second for each score without an extractor, 16 frames of 256x256, and peers where they have it."""
    frames, reference = _pair_of_clips(size=256, frames=16)
    scores: dict[str, Callable[[], object]] = {
        "psnr@1": lambda: psnr(frames, reference),
        "ssim@1": lambda: ssim(frames, reference),
        "ms-ssim@1": lambda: ms_ssim(frames, reference),
        "fsim@1": lambda: fsim(frames, reference),
        "dynamic-degree-dis@1": lambda: dynamic_degree(frames, 8.0),
        "motion-smoothness-dis@1": lambda: motion_smoothness(frames),
        "warping-error-dis@1": lambda: warping_error(frames),
        "fvmd-dis@1, features": lambda: motion_features(frames),
    }
    rows = [
        Row(f"{name}, 16 frames of 256x256", 1 / _alternating(score)[0], "clips/s") for name, score in scores.items()
    ]
    ours, others = _alternating(lambda: ssim(frames, reference), lambda: _ssim_of_others(frames, reference))
    rows.append(Row("SSIM: scikit-image / ours", others / ours, "times"))
    plain = torch.float32
    ours, others = _alternating(
        lambda: ssim(frames, reference), lambda: _ssim_of_torchmetrics(frames, reference, plain)
    )
    rows.append(Row("SSIM: torchmetrics in float32 / ours", others / ours, "times"))
    return rows


def suite_speed(clips: int) -> list[Row]:
    """Six metrics on the same files: decoded and embedded once, against once for each metric."""
    spec = _suite_spec()
    extractors = {
        extractor.id: load_extractor(inspect_weights(WEIGHTS / extractor.id), extractor, "cpu")
        for extractor in spec.extractors
    }
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, scene in enumerate(scenes(0, clips)):
            files.append((Path(folder) / f"{number}.mp4", scene.caption))
            encode_mp4(files[-1][0], _enlarged(render(scene, number)), fps=8)
        once, singly = _alternating(lambda: _shared(spec, extractors, files), lambda: _looped(spec, extractors, files))
    each = _per_metric(spec, extractors)
    return [
        Row(f"suite of six metrics, {clips} MP4 files", clips / once, "clips/s"),
        Row(
            "suite of six metrics: loop that decodes and embeds for each / ours",
            singly / once,
            "times",
            3,
            at_least=True,
        ),
        *(Row(f"{name}, from frames", 1 / seconds, "clips/s") for name, seconds in each.items()),
    ]


def _shared(spec: Spec, extractors: Mapping[str, LoadedExtractor], files: Sequence[tuple[Path, str]]) -> None:
    for path, words in files:
        clip = Observation(_decoded(spec, path), extractors, words)
        for metric in spec.metrics:
            list(shares(spec, metric, clip, private=False))


def _looped(spec: Spec, extractors: Mapping[str, LoadedExtractor], files: Sequence[tuple[Path, str]]) -> None:
    for metric in spec.metrics:
        for path, words in files:
            list(shares(spec, metric, Observation(_decoded(spec, path), extractors, words), private=False))


def _per_metric(spec: Spec, extractors: Mapping[str, LoadedExtractor]) -> dict[str, float]:
    frames = render(scenes(0, 1)[0], 0)

    def measure(metric: Metric) -> Callable[[], object]:
        return lambda: list(shares(spec, metric, Observation(frames, extractors, "a red circle"), private=False))

    return {metric.id: _alternating(measure(metric))[0] for metric in spec.metrics}


def _decoded(spec: Spec, path: Path) -> Frames:
    video = spec.video
    clip = decode(path, frames=video.frames)
    return fit(clip, frames=video.frames, height=video.height, width=video.width)


def _suite_spec() -> Spec:
    """The demo's spec with the six metrics, on public prompts."""
    demo = parse_spec_toml(read_preset("demo"))
    values: dict[str, Any] = demo.model_dump()
    eyes = {extractor.architecture: extractor.id for extractor in demo.extractors}
    of = {"frechet-videomae@1": eyes["VideoMAEModel"], "temporal-flickering@1": None}
    values["metrics"] = tuple(
        {"id": name, "inputs": "public", "extractor": of.get(name, eyes["CLIPModel"])} for name in SIX
    )
    return Spec.model_validate(values)


def _alternating(*works: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """Return the median seconds of each work, run in turn, each after the threads of the one before went to sleep."""
    taken: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    for _ in range(rounds):
        for place, work in enumerate(works):
            time.sleep(SETTLING_SECONDS)
            began = time.perf_counter()
            work()
            taken[place].append(time.perf_counter() - began)
    return [statistics.median(seconds) for seconds in taken]


def _relative(found: float, wanted: float) -> float:
    return abs(found - wanted) / abs(wanted)


def _cloud(seed: int, count: int, dimension: int) -> Points:
    """Heavy-tailed features with a falling spectrum."""
    generator = np.random.default_rng(seed)
    axes = np.linalg.qr(generator.normal(size=(dimension, dimension)))[0]
    spectrum = np.arange(1, dimension + 1) ** -0.6
    return np.asarray(
        generator.standard_t(8, size=(count, dimension)) * spectrum @ axes + 0.1 * generator.normal(size=dimension)
    )


def _moments(points: Points) -> Moments:
    return Moments(points.mean(axis=0), np.cov(points, rowvar=False, ddof=0))


def _from_clips(a: Points, b: Points) -> float:
    """The distance without any covariance: tr (C_a C_b)^(1/2) is the sum of the singular values of A B^T / sqrt(n_a n_b)."""
    gap = a.mean(axis=0) - b.mean(axis=0)
    first, second = ((points - points.mean(axis=0)) / math.sqrt(len(points)) for points in (a, b))
    factors = [_shortened(points) for points in (first, second)]
    common = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    return float(gap @ gap + np.sum(first**2) + np.sum(second**2) - 2 * common)


def _shortened(points: Points) -> Points:
    """Return fewer rows with the same products of columns, where there are more rows than columns."""
    return points if len(points) <= points.shape[1] else np.asarray(np.linalg.qr(points)[1])


def _by_scipy(a: Moments, b: Moments) -> float:
    gap = a.mean - b.mean
    return float(gap @ gap + np.trace(a.covariance + b.covariance - 2 * np.real(sqrtm(a.covariance @ b.covariance))))


def _by_torchmetrics(a: Moments, b: Moments) -> float:
    return float(_compute_fid(*(torch.from_numpy(part) for part in (a.mean, a.covariance, b.mean, b.covariance))))


def _jedi_error() -> float:
    a, b = _cloud(3, 200, 64), _cloud(4, 150, 64)
    limit = 1.0 + max(float(np.linalg.norm(points, axis=1).max()) for points in (a, b))

    def summed(points: Points) -> EmbeddingSums:
        seconds = np.sum([second_moment(clip_to_ball(point / limit)[0]) for point in points], axis=0)
        return EmbeddingSums(seconds, float(len(points)), with_itself=True)

    def kernel(x: Points, y: Points) -> float:
        return float(((x @ y.T / x.shape[1]) ** 2).mean())

    ours = 100 * limit**4 / 64**2 * squared_discrepancy(summed(a), summed(b))
    return _relative(ours, 100 * (kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)))


def _inception_error() -> float:
    chances = np.random.default_rng(5).dirichlet(np.full(400, 0.05), size=500)
    shares_ = [posterior(row) for row in chances]
    sums = PosteriorSums(
        np.sum([share[0] for share in shares_], axis=0), math.fsum(float(share[1][0]) for share in shares_), 500.0
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(chances > 0, chances * (np.log(chances) - np.log(chances.mean(axis=0))), 0.0)
    return _relative(math.exp(log_score(sums)[0]), math.exp(terms.sum(axis=1).mean()))


def _enlarged(frames: Frames, factor: int = 4) -> Frames:
    return np.ascontiguousarray(frames.repeat(factor, axis=1).repeat(factor, axis=2))


def _pair_of_clips(size: int = 192, frames: int = 4) -> tuple[Frames, Frames]:
    """A smooth moving picture, and the same with noise."""
    generator = np.random.default_rng(6)
    coarse = generator.normal(size=(frames, size // 16, size // 16, 3))
    smooth = np.clip(128 + 60 * coarse.repeat(16, axis=1).repeat(16, axis=2), 0, 255)
    noised = np.clip(smooth + generator.normal(size=smooth.shape) * 12, 0, 255)
    return np.rint(noised).astype(np.uint8), np.rint(smooth).astype(np.uint8)


def _psnr_of_others(frames: Frames, reference: Frames) -> float:
    pairs = zip(reference, frames, strict=True)
    return float(np.mean([peak_signal_noise_ratio(one, other, data_range=255) for one, other in pairs]))


def _ssim_of_others(frames: Frames, reference: Frames) -> float:
    def of(one: Frames, other: Frames) -> float:
        return float(
            structural_similarity(
                one,
                other,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                channel_axis=-1,
                data_range=255,
            )
        )

    return float(np.mean([of(one, other) for one, other in zip(reference, frames, strict=True)]))


def _tensor(frames: Frames, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).to(dtype).contiguous()


def _ssim_of_torchmetrics(frames: Frames, reference: Frames, dtype: torch.dtype = torch.float64) -> float:
    found = structural_similarity_index_measure(_tensor(frames, dtype), _tensor(reference, dtype), data_range=255.0)
    return float(found) if isinstance(found, torch.Tensor) else float(found[0])


def _ms_ssim_of_torchmetrics(frames: Frames, reference: Frames) -> float:
    return float(multiscale_structural_similarity_index_measure(_tensor(frames), _tensor(reference), data_range=255.0))


if __name__ == "__main__":
    sys.exit(main())
