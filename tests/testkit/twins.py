"""Pairs of sessions over made-up populations, evaluated as real ones are: what comparisons of two results are tried on.

Only signatures are left out: a pair's figures go into the comparison as those of bundles that were verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from testkit.metric_specs import make_spec
from vdb_shared.audit.report import Facts, Report
from vdb_shared.audit.verified import VerifiedBundle
from vdb_shared.canonical import canonical_json, parse_canonical_json, sha256_digest
from vdb_shared.evaluation import Evaluation, evaluate
from vdb_shared.layout import layout_of, promise_of
from vdb_shared.metrics.features import score_histogram
from vdb_shared.metrics.statistic import Layout, Statistics
from vdb_shared.privacy.accountant import account
from vdb_shared.privacy.calibration import Calibration, calibrate
from vdb_shared.privacy.mechanism import NoiseLevel, noise_level
from vdb_shared.secagg.parameters import smallest_cohort
from vdb_shared.spec import Spec

Generator = np.random.Generator

ONE = ("archive-oslo", "clinic-lyon", "film-studio", "lab-kyoto")
OTHER = ("gallery-porto", "hospital-graz", "museum-lima", "school-turin")

SCORES_AND_RATES = (
    {"id": "temporal-flickering@1", "inputs": "public"},
    {"id": "clip-score@1", "inputs": "public", "extractor": "tiny-clip"},
    {"id": "dynamic-degree-dis@1", "inputs": "public"},
    {"id": "temporal-flickering@1", "inputs": "private"},
)


@cache
def score_spec(seed: int = 0) -> Spec:
    """Return a spec of scores and rates; specs of two seeds have other clips."""
    generation = {"private_share": "1", "guidance": str(1 + seed)}
    models = ("alpha", "beta", "gamma")
    return make_spec(list(SCORES_AND_RATES), models=models, generation=generation, privacy={"epsilon": "8"})


@cache
def calibration_of(spec: Spec, institutions: int) -> tuple[Layout, Calibration]:
    layout = layout_of(spec)
    smallest = smallest_cohort(institutions, spec.cohort.collusion, spec.cohort.dropout)
    return layout, calibrate(promise_of(spec, joined=institutions, smallest_cohort=smallest), layout)


@cache
def accounting_of(spec: Spec, institutions: int) -> bytes:
    return canonical_json(account(calibration_of(spec, institutions)[1]).to_json())


def scored_session(
    spec: Spec, clips: Mapping[str, int], generator: Generator, *, means: Mapping[str, float] | None = None
) -> Evaluation:
    """Return the figures of a session in which every score is drawn from one beta distribution.

    Args:
        spec: of scores and rates.
        clips: of each model, on the sides "public" and "private".
        generator: of all that is drawn.
        means: of the scores of a model, if not 0.6; a rate is half of it.
    """
    layout, calibration = calibration_of(spec, len(ONE))
    noise = noise_level(layout, calibration, len(ONE)) or NoiseLevel({})
    drawn = _drawn(layout, clips, means or {}, generator)
    noised = {name: values + noise.of(name) * generator.normal(size=values.size) for name, values in drawn.items()}
    return evaluate(spec, noised, noise)


def _drawn(layout: Layout, clips: Mapping[str, int], means: Mapping[str, float], generator: Generator) -> Statistics:
    sums = {}
    scores: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    for block in layout.blocks:
        side, model, metric, *part = block.name.split("/")
        mean = means.get(model, 0.6)
        if not part:
            sums[block.name] = np.array([float(clips[side]), 0.0])
        elif part == ["events"]:
            sums[block.name] = np.array([float(generator.binomial(clips[side], mean / 2))])
        else:
            key = f"{side}/{model}/{metric}"
            if key not in scores:
                scores[key] = generator.beta(8 * mean, 8 * (1 - mean), clips[side])
            drawn = scores[key]
            if part == ["moments"]:
                sums[block.name] = np.array([drawn.sum(), (drawn**2).sum()])
            else:
                sums[block.name] = np.sum([score_histogram(float(score)) for score in drawn], axis=0)
    return sums


def as_published(name: str, spec: Spec, evaluation: Evaluation, institutions: Sequence[str]) -> VerifiedBundle:
    """Return figures as those of a bundle that was verified, of a session of these institutions."""
    metrics = canonical_json(evaluation.to_json())
    facts = Facts(
        session=sha256_digest(name.encode()),
        seal=sha256_digest(b"seal" + name.encode()),
        consortium="testbed",
        title=spec.title,
        joined=tuple(institutions),
        survivors=tuple(institutions),
        dropped={},
        private=True,
        epsilon=str(spec.privacy.epsilon),
        delta=str(spec.privacy.delta),
        root=sha256_digest(b"root"),
        published="2026-01-31T12:40:00Z",
    )
    return VerifiedBundle(
        name=name,
        report=Report(sha256_digest(metrics), len(metrics), (), facts, pinned=True),
        facts=facts,
        spec=spec,
        metrics=parse_canonical_json(metrics),
        accounting=parse_canonical_json(accounting_of(spec, len(institutions))),
        keys={institution: sha256_digest(institution.encode()) for institution in institutions},
    )
