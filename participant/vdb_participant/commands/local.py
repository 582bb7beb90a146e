"""The same evaluation without any federation: all clips made here, exact sums, no noise, nothing sent.

Promises the very clips and figures that a session of the same spec would give over these data alone.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from vdb_participant.data.dataset import Dataset
from vdb_participant.generation.store import ClipStore
from vdb_participant.measure.site import Equipment, SiteMeasurement, measure_site
from vdb_participant.session.keeping_hours import within_hours
from vdb_participant.session.preparation import Resources, check_cluster, joined, verify_materials
from vdb_participant.session.progress import Progress
from vdb_participant.session.stopping import Stopping
from vdb_participant.site.policy import PolicyFile, check_models, check_names
from vdb_shared.audit.leaderboard import ClipClass, counted_of, source_of, tables_of
from vdb_shared.audit.text import footnotes, print_summary
from vdb_shared.canonical import decimal_string
from vdb_shared.evaluation import Evaluation, Result, evaluate
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.metrics.uncertainty import CONFIDENCE
from vdb_shared.registry.rows import load_registry
from vdb_shared.screen import Figures
from vdb_shared.spec import Spec
from vdb_shared.sums import rounded
from vdb_shared.tasks import public_tasks


def run_locally(spec: Spec, resources: Resources, clips: Path, progress: Progress, policy: PolicyFile) -> Evaluation:
    """Return the evaluation of a spec over one data directory.

    Args:
        spec: the spec; its cohort, privacy and deadlines play no part.
        resources: data, weights, device; its `say` is told if we stop at the end of a clip.
        clips: where generated clips are kept.
        progress: told of the work.
        policy: of this site; what it says of privacy, cohorts and consent plays no part.

    Raises:
        BudgetError: the policy does not allow a metric, a model, its licence, or an address.
        DatasetError, ModelError, SpecError: what cannot be used.
    """
    check_names(policy, spec)
    check_models(policy, spec, load_registry(resources.registry))
    check_cluster(policy, resources)
    verify_materials(spec, resources)
    data = Dataset.open(resources.data, frames=spec.video.frames)
    stopping = Stopping(progress, resources.say)
    with stopping.listening():
        found = within_hours(
            policy.hours, lambda told: _measured(spec, resources, clips, data, told), lambda: stopping, resources.say
        )
    return evaluate(spec, found.statistics, None)


def _measured(spec: Spec, resources: Resources, clips: Path, data: Dataset, progress: Progress) -> SiteMeasurement:
    with joined(resources, clips) as cluster:
        equipment = Equipment(
            resources.models,
            resources.models,
            resources.device,
            resources.registry,
            workers=resources.workers,
            tell=resources.tell,
            cluster=cluster,
            together=resources.together,
            egress=resources.egress,
        )
        return measure_site(spec, public_tasks(spec), data, equipment, ClipStore(clips), progress)


def print_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Print the class of the clips, what the figures come to, and one table for each metric, best model first."""
    console.print(f"clips of {ClipClass(evaluation.clip_class, evaluation.profile).words}")
    tables = tables_of(evaluation.to_json(), noised=False)
    print_summary(console, tables, decimal_string(CONFIDENCE))
    for metric, inputs in evaluation.not_apart:
        definition = definition_of(metric)
        better = "higher" if definition.direction == "higher" else "lower"
        unit = f" in {definition.unit}" if definition.unit else ""
        console.print(f"{definition.title}{unit} ({metric}): {source_of(inputs)}, {better} is better", style="bold")
        headings = ("Rank", "Model", "Value", "95 % interval", counted_of(inputs))
        results = [item for item in evaluation.results if (item.metric, item.inputs) == (metric, inputs)]
        ranked = sorted(results, key=lambda item: _order(item, definition.direction))
        console.print(Figures(headings, [_cells(result) for result in ranked], "Model"), soft_wrap=False)
        for result in results:
            if result.reason:
                console.print(f"  {result.model}: {result.reason}", style="dim")
    for note in footnotes(tables):
        console.print(note, style="dim", soft_wrap=True)


def _order(result: Result, direction: str) -> tuple[bool, float, str]:
    value = result.value
    if value is None:
        return True, 0.0, result.model
    return False, -value if direction == "higher" else value, result.model


def _cells(result: Result) -> tuple[str, ...]:
    best, worst = result.ranks or (0, 0)
    rank = "–" if result.ranks is None else str(best) if best == worst else f"{best}–{worst}"
    if result.value is None or result.low is None or result.high is None:
        return rank, result.model, "unavailable", "–", f"{result.count:,.0f}"
    interval = f"{rounded(result.low)} … {rounded(result.high)}"
    return rank, result.model, rounded(result.value), interval, f"{result.count:,.0f}"
