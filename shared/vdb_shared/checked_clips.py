"""The public clips that two sites made: what each says of them, side by side.

Promises that which clips are compared follows from the spec and from who joined, that a site which lacks what it should have
said is named, and that nothing a manifest says makes the comparison fail. Finds mistakes (a broken driver, another model): who
wants to deceive knows beforehand which clips are compared. Leaves making the clips to the participant, and what to think of
differences to `audit`.

Source: protos/README.md §6.3, §7.5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from vdb_shared.bundle.statement import VECTOR_LANES, CheckedClip, RunManifest
from vdb_shared.canonical import decimal_string, decode_base64
from vdb_shared.layout import feature_dimension
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.finishes import FRECHET_FINISHES
from vdb_shared.spec import Grade, Metric, Spec
from vdb_shared.sums import rounded
from vdb_shared.tasks import CheckedTask, checked_tasks

Outcome = Literal["equal", "close", "apart", "not compared"]
"""Of two clips: the same frames; others within the tolerance of their class; beyond it; or there are no two clips."""

DROPPED_OUT: Final = "is not in the sum"
NO_RECORD: Final = "says nothing of it that fits the spec"
NOT_MADE: Final = "could not make or measure it"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two sites' clips of one task may be from each other and still pass for the same.

    Attributes:
        score: on [0, 1].
        distance: L2, between vectors of norm about 1.
        thumbnail: largest difference of two cells, in levels of 0 to 255.
    """

    score: float
    distance: float
    thumbnail: int

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "score": decimal_string(self.score),
            "distance": decimal_string(self.distance),
            "thumbnail": self.thumbnail,
        }


TOLERANCES: Final[Mapping[Grade, Tolerance]] = {
    "exact": Tolerance(score=0.01, distance=0.05, thumbnail=4),
    "accelerated": Tolerance(score=0.05, distance=0.25, thumbnail=32),
}
"""By the class of the clips: `exact` leaves room for devices that round differently, `accelerated` for 16-bit arithmetic and
caches besides. With the embedded models, of 18 clips other kernels of a CPU changed 10, by at most 3e-5, 6e-5 and 0 (score,
distance, thumbnail), bfloat16 changed all, by at most 0.003, 0.06 and 8; other noise changed each by at least 0.16 in distance
and 65 in the thumbnail, another model by 0.5 and 108."""


@dataclass(frozen=True, slots=True)
class CheckedPair:
    """One clip and what two institutions say of it.

    Attributes:
        task: its number in the order of `tasks.public_tasks`.
        model, prompt: ids.
        sample: its number.
        institutions: the one where it counts, then the other.
        outcome: of the comparison.
        reason: why there was none, or "".
        blamed: the institution that the reason names, or "".
        scores: difference by metric, on [0, 1].
        distances: by metric that is a distance.
        thumbnail: largest difference of two cells, in levels.
    """

    task: int
    model: str
    prompt: str
    sample: int
    institutions: tuple[str, str]
    outcome: Outcome
    reason: str = ""
    blamed: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    distances: Mapping[str, float] = field(default_factory=dict)
    thumbnail: int = 0

    def to_json(self) -> dict[str, object]:
        """Return the JSON form: what was compared, or why nothing was."""
        found: dict[str, object] = {
            "task": self.task,
            "model": self.model,
            "prompt": self.prompt,
            "sample": self.sample,
            "institutions": list(self.institutions),
            "outcome": self.outcome,
        }
        if self.outcome == "not compared":
            return found | {"reason": f"{self.blamed} {self.reason}"}
        return found | {
            "scores": {metric: rounded(value) for metric, value in self.scores.items()},
            "distances": {metric: rounded(value) for metric, value in self.distances.items()},
            "thumbnail": self.thumbnail,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """All clips of a session that two institutions were to make.

    Attributes:
        tolerance: of their class.
        institutions: those that joined, in order of seat.
        pairs: ascending by task.
    """

    tolerance: Tolerance
    institutions: tuple[str, ...]
    pairs: tuple[CheckedPair, ...]

    @property
    def compared(self) -> tuple[CheckedPair, ...]:
        """Pairs that could be compared."""
        return tuple(pair for pair in self.pairs if pair.outcome != "not compared")

    @property
    def apart(self) -> tuple[CheckedPair, ...]:
        """Pairs that differ beyond the tolerance."""
        return tuple(pair for pair in self.pairs if pair.outcome == "apart")

    @property
    def owed(self) -> tuple[CheckedPair, ...]:
        """Pairs that were not compared although both institutions are in the sum."""
        return tuple(pair for pair in self.pairs if pair.reason not in ("", DROPPED_OUT))

    def to_json(self) -> dict[str, object]:
        """Return the JSON form, a part of metrics.json."""
        return {
            "tolerance": self.tolerance.to_json(),
            "sites": [self._site(name) for name in self.institutions],
            "pairs": [pair.to_json() for pair in self.pairs],
        }

    def _site(self, institution: str) -> dict[str, object]:
        mine = [pair for pair in self.pairs if institution in pair.institutions]
        found = [pair.outcome for pair in mine]
        distances = [distance for pair in mine for distance in pair.distances.values()]
        return {
            "institution": institution,
            "clips": len(mine),
            "equal": found.count("equal"),
            "close": found.count("close"),
            "apart": found.count("apart"),
            "not_compared": found.count("not compared"),
            "largest_distance": rounded(max(distances)) if distances else None,
        }


def compare_checked(spec: Spec, institutions: Sequence[str], manifests: Mapping[str, RunManifest]) -> Comparison | None:
    """Return what institutions say of the clips that two of them made, or None if the spec wants none made twice.

    Args:
        spec: the spec.
        institutions: those that joined, in order of seat.
        manifests: of those in the sum, by institution.
    """
    tasks = checked_tasks(spec, len(institutions))
    if not tasks:
        return None
    said = {name: {item.task: item for item in manifest.checked} for name, manifest in manifests.items()}
    pairs = tuple(_pair(spec, task, (institutions[task.first], institutions[task.second]), said) for task in tasks)
    return Comparison(TOLERANCES[spec.generation.clip_class], tuple(institutions), pairs)


VECTORED: Final = FRECHET_FINISHES | {"kernel"}
"""Finishes whose shares two sites compare: features, and random features, which differ as little as the clips do."""


def compared_metrics(spec: Spec) -> tuple[list[Metric], list[Metric]]:
    """Return the metrics of public clips of which two sites compare scores, and those of which they compare vectors.

    How long a clip takes is no business of the comparison: devices differ.
    """
    public = [metric for metric in spec.metrics if metric.inputs == "public"]
    scores = [metric for metric in public if definition_of(metric.id).finish == "mean"]
    return (
        [metric for metric in scores if "timing" not in definition_of(metric.id).needs],
        [metric for metric in public if definition_of(metric.id).finish in VECTORED],
    )


def compared_vector(spec: Spec, metric: Metric, share: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return what two sites compare of a clip's share in a distance: at most VECTOR_LANES numbers for all metrics together.

    Of a Fréchet distance the first coordinates (principal axes come first); of a kernel distance every k-th feature times √k,
    which keeps distances between clips what they are on average, since features are drawn alike.

    Args:
        spec: the spec.
        metric: one of its distances with public inputs.
        share: of the metric's first block, float64 (`metrics/features.py`).
    """
    lanes = max(1, VECTOR_LANES // len(compared_metrics(spec)[1]))
    if definition_of(metric.id).finish in FRECHET_FINISHES:
        return share[: min(feature_dimension(spec, metric), lanes)].astype(np.float32)
    step = math.ceil(share.size / lanes)
    return (share[::step] * math.sqrt(step)).astype(np.float32)


def _pair(
    spec: Spec, task: CheckedTask, institutions: tuple[str, str], said: Mapping[str, Mapping[int, CheckedClip]]
) -> CheckedPair:
    each = len(spec.prompts) * spec.generation.samples
    model, rest = divmod(task.number, each)
    prompt, sample = divmod(rest, spec.generation.samples)
    named = (task.number, spec.models[model].id, spec.prompts[prompt].id, sample, institutions)
    for name in institutions:
        if name not in said:
            return CheckedPair(*named, "not compared", DROPPED_OUT, name)
    clips: list[CheckedClip] = []
    for name in institutions:
        clip = said[name].get(task.number)
        if clip is None or clip.clip is None or not fits(spec, clip):
            reason = NOT_MADE if clip is not None and clip.clip is None else NO_RECORD
            return CheckedPair(*named, "not compared", reason, name)
        clips.append(clip)
    return _compared(spec, named, clips[0], clips[1])


def fits(spec: Spec, clip: CheckedClip) -> bool:
    """Return whether a site says of a clip what the spec's metrics ask for, no more and no less."""
    scores, distances = compared_metrics(spec)
    lengths = {metric.id: _length(spec, metric) for metric in distances}
    found = {metric: len(decode_base64(vector)) // 4 for metric, vector in clip.vectors.items()}
    return clip.scores.keys() == {metric.id for metric in scores} and found == lengths


def _length(spec: Spec, metric: Metric) -> int:
    dims = (
        feature_dimension(spec, metric) if definition_of(metric.id).finish in FRECHET_FINISHES else metric.features or 0
    )
    return compared_vector(spec, metric, np.zeros(dims)).size


def _compared(
    spec: Spec, named: tuple[int, str, str, int, tuple[str, str]], one: CheckedClip, other: CheckedClip
) -> CheckedPair:
    scores = {metric: float(abs(score - other.scores[metric])) for metric, score in one.scores.items()}
    distances = {metric: _distance(vector, other.vectors[metric]) for metric, vector in one.vectors.items()}
    thumbnail = max(abs(a - b) for a, b in _cells(one.thumbnail, other.thumbnail))
    tolerance = TOLERANCES[spec.generation.clip_class]
    outcome: Outcome = "equal" if one.clip == other.clip else "close"
    if (
        max(scores.values(), default=0.0) > tolerance.score
        or max(distances.values(), default=0.0) > tolerance.distance
        or thumbnail > tolerance.thumbnail
    ):
        outcome = "apart"
    return CheckedPair(*named, outcome, scores=scores, distances=distances, thumbnail=thumbnail)


def _distance(one: str, other: str) -> float:
    """Return the L2 distance of two vectors, the same on every machine: the audit compares digits."""
    first, second = (np.frombuffer(decode_base64(text), "<f4").astype(np.float64) for text in (one, other))
    return math.sqrt(math.fsum((first - second) ** 2))


def _cells(one: str, other: str) -> Iterator[tuple[int, int]]:
    return zip(decode_base64(one), decode_base64(other), strict=True)
