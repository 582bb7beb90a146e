"""One site's whole measurement: from a spec, a data directory and weights to bounded sums.

Promises that everything that can be refused is refused before any work, that every clip adds within its bounds or counts
as failed, and that the sums do not depend on the order or split of the work. Leaves encoding and noise to the contribution.

Source: protos/README.md §7.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray

from vdb_participant.data.conditions import public_conditions
from vdb_participant.data.dataset import Dataset, Problem
from vdb_participant.data.inputs import Inputs, inputs_of
from vdb_participant.data.resize import fit
from vdb_participant.data.video import decode
from vdb_participant.environment import tokens_of
from vdb_participant.generation.breaker import failure_of
from vdb_participant.generation.cluster import Cluster
from vdb_participant.generation.engine import Engine, Outcome
from vdb_participant.generation.parallel import parallel_profiles
from vdb_participant.generation.profiles import profiles_of
from vdb_participant.generation.progress import Consumer, nobody
from vdb_participant.generation.settings import GenerationSettings, settings_of
from vdb_participant.generation.starts import Starts
from vdb_participant.generation.store import ClipStore, StoredClip, clip_digest
from vdb_participant.generation.workers import Job, devices_of
from vdb_participant.measure.cache import FOLDER, FeatureCache
from vdb_participant.measure.checking import checked_clip
from vdb_participant.measure.efficiency import TIMES
from vdb_participant.measure.extractors.interface import LoadedExtractor
from vdb_participant.measure.extractors.projection import check_anchors
from vdb_participant.measure.extractors.table import load_extractor
from vdb_participant.measure.generating import Generation, Load, Progress
from vdb_participant.measure.judging import Judging
from vdb_participant.measure.manifest import run_manifest
from vdb_participant.measure.observation import Observation
from vdb_participant.measure.sample import Sample
from vdb_participant.measure.shares import shares
from vdb_participant.models import Weights, check_prompts_stay, verify_extractors, verify_model
from vdb_shared.bundle.samples import Failure
from vdb_shared.bundle.statement import CheckedClip
from vdb_shared.canonical import sha256_digest
from vdb_shared.clips import clip_terms
from vdb_shared.errors import DatasetError, SpecError, StatisticError, StoreError
from vdb_shared.layout import (
    contributions_at_most,
    count_block,
    generated_block,
    layout_of,
    measured_definition,
    reference_block,
)
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.features import outcome as outcome_share
from vdb_shared.metrics.statistic import Tally
from vdb_shared.registry.rows import Registry, Row, load_registry
from vdb_shared.spec import Spec
from vdb_shared.tasks import CheckedWork, ClipTask

_LOG = structlog.get_logger("vdb_participant")

Shares = Sequence[tuple[str, NDArray[np.float64]]]

RATED: Final = "rated"
"""Side of a public clip that people scored: made and measured here, and in no sum but with what they said."""

SECOND: Final = "second"
"""Side of a public clip that counts at another site: made and measured like a public one, and in no sum."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a site measures with.

    Attributes:
        models: folder of <model id>/ folders of weights.
        extractors: folder of <extractor id>/ folders of weights.
        device: "auto" (every GPU where there is one), "cpu", "cuda" (every GPU) or "cuda:N".
        registry: the site's own registry files, where it has any.
        workers: processes that generate on the CPU; each GPU has one.
        tell: told of every step and clip, in numbers that stay here; must not wait.
        features: whether features are kept beside the clips, so that measuring them again computes none.
        cluster: where clips are made instead of here; `device` and `workers` are what it was joined with.
        together: GPUs of this machine that make each clip together (generation/parallel.py).
        egress: journal of what leaves for endpoints of external models; None for programs without a state folder.
    """

    models: Path
    extractors: Path
    device: str = "auto"
    registry: Path | None = None
    workers: int = 1
    tell: Consumer = nobody
    features: bool = True
    cluster: Cluster | None = None
    together: int = 1
    egress: Path | None = None


@dataclass(frozen=True, slots=True)
class SiteMeasurement:
    """What a site measured.

    Attributes:
        statistics: sums of every block of `layout_of(spec)`, float64.
        private_records: how many private prompts, captioned clips and reference clips were used; never leaves the site.
        problems: reference clips that could not be measured, with the reason.
        manifest: the run manifest, canonical JSON; says nothing that depends on private records.
        samples: one for each clip.
    """

    statistics: Mapping[str, NDArray[np.float64]] = field(repr=False)
    private_records: Mapping[str, int]
    problems: tuple[Problem, ...]
    manifest: Mapping[str, Any] = field(repr=False)
    samples: tuple[Sample, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Work:
    """What was found in order before any work began."""

    spec: Spec
    inputs: Inputs
    starts: Starts
    rows: Mapping[str, Row | None]
    models: Mapping[str, Weights]
    extractors: Mapping[str, Weights]
    settings: Mapping[str, GenerationSettings]
    rates: Mapping[str, int]


def measure_site(  # noqa: PLR0913 - the last is named
    spec: Spec,
    public_tasks: Sequence[ClipTask],
    dataset: Dataset | None,
    equipment: Equipment,
    store: ClipStore,
    progress: Progress = lambda _stage, _done, _total: None,
    *,
    checked: Sequence[CheckedWork] = (),
) -> SiteMeasurement:
    """Generate and measure a site's share of the public clips and all its private ones.

    Args:
        spec: the spec.
        public_tasks: the site's shard of `tasks.public_tasks`.
        dataset: the data directory; None only where the spec uses no private data.
        equipment: weights and device.
        store: of clips; what it holds is not made again.
        progress: told of each step.
        checked: clips that another site makes too, `tasks.checked_work`; those that do not count here enter no sum.

    Raises:
        SpecError: the spec asks for clips or metrics that cannot be made.
        UsageError: no profile of the spec's class fits this machine.
        DatasetError: the data directory lacks what the spec needs.
        ModelError: weights are missing or changed.
        StoreError: a clip cannot be kept.
    """
    registry = load_registry(equipment.registry)
    cluster = equipment.cluster
    devices = cluster.devices if cluster else devices_of(equipment.device, equipment.workers)
    if equipment.together > 1:
        profiles, devices = parallel_profiles(spec, equipment.together, devices), devices[:1]
    else:
        profiles = profiles_of(spec, registry, devices, cluster.memory if cluster else None)
    settings = settings_of(spec, registry, profiles)
    work = _check(spec, dataset, equipment, registry, settings)
    again = (equipment.models, equipment.registry) if cluster else None
    models = {model.id: model for model in spec.models}
    tokens = tokens_of(registry)
    withheld = frozenset(tokens.values())
    load = Load(work.models, models, settings, work.rows, again, equipment.together, equipment.egress, withheld)
    engine = Engine(spec, store, settings, tell=equipment.tell, starts=work.starts)
    job = Job(spec, store.directory.absolute(), (), load, settings, starts=work.starts, tokens=tokens)
    generation = Generation(engine, job, devices, progress, equipment.tell, cluster)
    cache = FeatureCache(store.directory / FOLDER) if equipment.features else None
    extractors = _load_extractors(work, cluster.here if cluster else devices[0])
    measuring = _Measuring(work, extractors, store, cache, checked)
    for model in spec.models:
        mine = [("public", task) for task in public_tasks if task.model == model.id and measuring.metrics["public"]]
        mine += [(SECOND, item.task) for item in checked if item.task.model == model.id and not item.counted]
        mine += [(RATED, task) for task in measuring.judging.tasks(model)]
        mine += [("private", task) for task in work.inputs.tasks(spec, model, settings[model.id].frames)]
        generation.and_measure(model.id, mine, measuring)
    if work.inputs.clips:
        progress("measuring reference clips", 0, len(work.inputs.clips))
    for done, path in enumerate(work.inputs.clips, start=1):
        if measuring.reference(path):
            work.inputs.check_charged(path)
        progress("measuring reference clips", done, len(work.inputs.clips))
    for name, vector in measuring.judging.shares():
        measuring.tally.add(name, vector)
    return SiteMeasurement(
        statistics=measuring.tally.sums(),
        private_records={
            "prompts": len(work.inputs.prompts),
            "captioned": len(work.inputs.captioned),
            "clips": len(work.inputs.clips) - len(measuring.problems),
        },
        problems=tuple(measuring.problems),
        manifest=run_manifest(
            spec,
            profiles=profiles,
            models=work.models,
            extractors=work.extractors,
            public_devices=measuring.devices,
            checked=measuring.checked,
        ),
        samples=tuple(measuring.samples),
    )


def _check(
    spec: Spec,
    dataset: Dataset | None,
    equipment: Equipment,
    registry: Registry,
    settings: Mapping[str, GenerationSettings],
) -> _Work:
    """Check all that can be checked before any work."""
    layout_of(spec)
    check_prompts_stay(spec, registry)
    inputs = inputs_of(spec, dataset)
    used = {metric.extractor for metric in spec.metrics if metric.extractor is not None}
    return _Work(
        spec=spec,
        inputs=inputs,
        starts=Starts(inputs.conditions | public_conditions(spec, equipment.models, registry)),
        rows={model.id: registry.get(model.id) for model in spec.models},
        models={model.id: verify_model(model, equipment.models, registry) for model in spec.models},
        extractors=verify_extractors(spec, equipment.extractors, used),
        settings=settings,
        rates={model.id: clip_terms(spec, model, registry).fps for model in spec.models},
    )


def _load_extractors(work: _Work, device: str) -> Mapping[str, LoadedExtractor]:
    """Load the extractors before any clip is made: one that does not fit costs seconds, not a night."""
    spec = work.spec
    loaded: dict[str, LoadedExtractor] = {}
    for name, weights in work.extractors.items():
        extractor = load_extractor(weights, spec.extractor(name), device)
        fewest = min(spec.video.frames, *(model.frames or spec.video.frames for model in spec.models))
        wanted = extractor.description.frames
        if wanted is not None and wanted > fewest:
            raise SpecError(f"{fewest} is too few for extractor {name}, which takes {wanted}", field="video.frames")
        loaded[name] = extractor
    for index, metric in enumerate(spec.metrics):
        if definition_of(metric.id).finish == "coverage":
            check_anchors(metric, loaded[metric.extractor or ""], f"metrics.{index}.features")
    return loaded


class _Measuring:
    """Clips on their way into sums."""

    def __init__(
        self,
        work: _Work,
        extractors: Mapping[str, LoadedExtractor],
        store: ClipStore,
        cache: FeatureCache | None,
        checked: Sequence[CheckedWork],
    ) -> None:
        spec = work.spec
        self.tally = Tally(layout_of(spec), capacity=contributions_at_most(spec))
        self.samples: list[Sample] = []
        self.problems: list[Problem] = []
        self.devices: Counter[str] = Counter()
        self.timed = any(metric.id in TIMES for metric in spec.metrics)
        self._spec = spec
        self._starts = work.starts
        self._settings = work.settings
        self._rates = work.rates
        self._compares_with_start = any("condition" in measured_definition(metric).needs for metric in spec.metrics)
        self.judging = Judging(spec, work.inputs.ratings)
        self._extractors = extractors
        self._store = store
        self._cache = cache
        self.metrics = {
            side: [metric for metric in spec.metrics if metric.inputs == side] for side in ("public", "private")
        }
        self._twice = checked
        self._said: dict[ClipTask, CheckedClip | None] = {item.task: None for item in checked}
        distances = (metric for metric in spec.metrics if definition_of(metric.id).compares_with_reference)
        self._distances = {metric.id: metric for metric in distances}

    @property
    def checked(self) -> tuple[CheckedClip, ...]:
        """What is said of each clip that another site makes too, ascending by task."""
        return tuple(
            (self._said[item.task] or CheckedClip(task=0)).model_copy(update={"task": item.number})
            for item in self._twice
        )

    def generated(self, side: str, made: Outcome) -> None:
        """Take in a generated clip, or its failure; of one that people scored only measure what goes with their scores."""
        if side == RATED:
            clip = None if made.failure else self._store.get(made.key)
            self.judging.take(made.task, self._observation(made.task, clip, clip.digest) if clip else None)
        else:
            self._counted(side, made)

    def _counted(self, side: str, made: Outcome) -> None:
        """Add a generated clip, or its failure; of one that counts at another site only note what is said of it."""
        task, kind = made.task, "public" if side == SECOND else side
        digest, added, failure = "", [], None if made.failure is None else failure_of(made.failure)
        if failure is None:
            clip = self._store.get(made.key)
            if clip is None:
                raise StoreError(f"clip {made.key.name} was damaged or removed while it was measured; start again")
            digest = clip.digest
            if side == "public":
                self.devices[clip.device] += 1
            observation = self._observation(task, clip, digest)
            try:
                added = self._shares(kind, task.model, observation)
            except StatisticError as error:
                failure = Failure.UNMEASURED
                _LOG.warning("a clip could not be measured", model=task.model, reason=str(error))
            else:
                if kind == "public" and task in self._said:
                    self._said[task] = checked_clip(self._spec, task.model, digest, clip.frames, dict(added))
        added.append((count_block(kind, task.model), outcome_share(not failure)))
        if side != SECOND:
            self._add(added)
        shares_digest = _digest(added)
        self.samples.append(
            Sample(side, task.model, task.prompt, task.sample, digest, shares_digest, failure, task.condition)
        )

    def _observation(self, task: ClipTask, clip: StoredClip, digest: str) -> Observation:
        settings = self._settings[task.model]
        return Observation(
            clip.frames,
            self._extractors,
            task.prompt,
            clip.seconds,
            digest,
            self._cache,
            fps=float(self._rates[task.model]),
            start=self._starts.frames(task.condition, settings) if self._compares_with_start else None,
            sound=clip.sound,
        )

    def reference(self, path: Path) -> bool:
        """Add a reference clip, or note why it cannot be measured; return whether it was added."""
        video = self._spec.video
        try:
            clip = decode(path, frames=video.frames)
            frames = fit(clip, frames=video.frames, height=video.height, width=video.width)
            digest = clip_digest(frames)
            observation = Observation(frames, self._extractors, digest=digest, cache=self._cache)
            added = self._reference_shares(observation)
        except (DatasetError, StatisticError) as error:
            self.problems.append(Problem(path.name, str(error).removeprefix(f"{path}: ")))
            return False
        self._add(added)
        self.samples.append(Sample("reference", "clips", path.name, 0, digest, _digest(added), None))
        return True

    def _shares(self, side: str, model: str, clip: Observation) -> list[tuple[str, NDArray[np.float64]]]:
        return [
            (generated_block(side, model, metric.id, part), vector)
            for metric in self.metrics[side]
            for part, vector in shares(self._spec, metric, clip, private=side == "private")
        ]

    def _reference_shares(self, clip: Observation) -> list[tuple[str, NDArray[np.float64]]]:
        counted = [(count_block("reference"), np.ones(1))]
        return counted + [
            (reference_block(metric.id, part), vector)
            for metric in self._distances.values()
            for part, vector in shares(self._spec, metric, clip, private=True)
        ]

    def _add(self, added: Shares) -> None:
        for name, vector in added:
            self.tally.add(name, vector)


def _digest(added: Shares) -> str:
    """Return the digest over the vectors that a clip adds, in the order of their blocks."""
    return sha256_digest(b"".join(vector.astype("<f8").tobytes() for _, vector in added))
