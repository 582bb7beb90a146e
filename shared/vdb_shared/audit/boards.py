"""Figures of several results: one table for each measure, each row naming the result it comes from.

Promises that no table mixes measures (definition, extractor and its map, settings, kind of inputs, class of the
clips), and that ranks are those that a result publishes about its own models: across results nothing is ranked, because
prompts, institutions and settings of models may differ. Leaves it to `compare.py` which differences are more than chance.

Source: protos/README.md §9.6, §10.12.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vdb_shared.audit.leaderboard import Row, Table, source_of, tables_of
from vdb_shared.audit.measure import Measure, measure_of
from vdb_shared.audit.verified import VerifiedBundle, briefly_named, check_distinct, labels_of, said_of, same_session
from vdb_shared.metrics.catalogue import MetricDefinition

BOARDS_VERSION: Final = "vdb-audit-leaderboard/1"

ACROSS: Final = (
    "Each table holds figures of one measure: one definition, extractor, kind of inputs and class of clips. Ranks are "
    "among the models of one result, and all of its comparisons hold together with 95 %. Rows of different results are not "
    "ranked against each other: their prompts, institutions and settings may differ. `vdb-audit compare` says which "
    "differences between two results are more than chance."
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure in a table over several results.

    Attributes:
        result: short name of the result.
        weights: digest of the model's weights; models of one name in two results need not have the same.
        private: whether private records entered it.
        row: the figure.
        noised_count: whether its number of clips or people carries noise.
        mark: "withdrawn", "superseded" or "objected to", where the log or a statement says so of the result; else "".
    """

    result: str
    weights: str
    private: bool
    row: Row
    noised_count: bool
    mark: str = ""

    @property
    def shown(self) -> str:
        """Name of the result, and its mark."""
        return f"{self.result} ({self.mark})" if self.mark else self.result


@dataclass(frozen=True, slots=True)
class Group:
    """All figures of one measure.

    Attributes:
        measure: what they have in common.
        definition: of the metric.
        entries: results in the order given; within each, best first.
    """

    measure: Measure
    definition: MetricDefinition
    entries: tuple[Entry, ...]

    @property
    def words(self) -> str:
        """What the figures measure and on what, in words."""
        measure = self.measure
        direction = "higher is better" if self.definition.direction == "higher" else "lower is better"
        extractor = f"{measure.architecture} {measure.weights[7:15]}" if measure.architecture else ""
        settings = (
            f"{name} {value}" for name in ("limit", "features", "bandwidth", "of") if (value := getattr(measure, name))
        )
        rivals = f"between {', '.join(name for name, _ in measure.rivals)}" if measure.rivals else ""
        parts = (
            source_of(measure.inputs),
            extractor,
            *settings,
            rivals,
            f"clips of class {measure.clip_class}",
            direction,
        )
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Boards:
    """Tables over several results.

    Attributes:
        bundles: verified, by short name, in the order given.
        groups: in the order in which their measures first occur.
        remarks: what a reader must know before anything else.
    """

    bundles: Mapping[str, VerifiedBundle]
    groups: tuple[Group, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the JSON form, as `vdb-audit leaderboard --json` prints it for several bundles."""
        return {
            "version": BOARDS_VERSION,
            "results": [_result_json(name, bundle) for name, bundle in self.bundles.items()],
            "remarks": list(self.remarks),
            "tables": [_group_json(group) for group in self.groups],
        }


def _result_json(name: str, bundle: VerifiedBundle) -> dict[str, object]:
    facts = bundle.facts.to_json()
    about = {
        key: facts[key] for key in ("consortium", "published", "session", "title", "survivors", "epsilon", "delta")
    }
    return about | {
        "name": name,
        "file": bundle.name,
        "bundle": bundle.report.bundle,
        "root_pinned": bundle.report.pinned,
    }


def _group_json(group: Group) -> dict[str, object]:
    measure = group.measure
    names = ("metric", "inputs", "clip_class", "architecture", "weights", "limit", "features", "bandwidth", "of")
    return {name: getattr(measure, name) for name in names} | {
        "definition": measure.definition,
        "direction": group.definition.direction,
        "unit": group.definition.unit,
        "rows": [
            {
                "result": entry.result,
                "mark": entry.mark,
                "model": entry.row.model,
                "weights": entry.weights,
                "value": entry.row.value,
                "low": entry.row.low,
                "high": entry.row.high,
                "count": entry.row.count,
                "grade": entry.row.grade,
                "private": entry.private,
                "ranks": None if entry.row.ranks is None else list(entry.row.ranks),
                "reason": entry.row.reason,
            }
            for entry in group.entries
        ],
    }


def boards_of(bundles: Sequence[VerifiedBundle]) -> Boards:
    """Return the tables of several results.

    Raises:
        UsageError: a bundle is given twice.
    """
    check_distinct(bundles)
    named = dict(zip(labels_of([bundle.name for bundle in bundles]), bundles, strict=True))
    found: dict[Measure, list[Entry]] = {}
    definitions: dict[Measure, MetricDefinition] = {}
    for name, bundle in named.items():
        for measure, table in _tables(bundle):
            definitions[measure] = table.definition
            found.setdefault(measure, []).extend(_entries(name, bundle, table))
    groups = (Group(measure, definitions[measure], tuple(entries)) for measure, entries in found.items())
    brief = briefly_named(bundles)
    remarks = (*said_of(brief), *same_session(brief), *_unpinned(brief))
    return Boards(named, tuple(groups), remarks)


def _tables(bundle: VerifiedBundle) -> Iterator[tuple[Measure, Table]]:
    for table in tables_of(bundle.metrics, noised=bundle.rho is not None):
        yield measure_of(bundle.spec, bundle.asked[table.definition.id, table.inputs]), table


def _entries(name: str, bundle: VerifiedBundle, table: Table) -> Iterator[Entry]:
    weights = {model.id: model.manifest for model in bundle.spec.models}
    for row in table.rows:
        yield Entry(name, weights[row.model], table.private, row, table.noised_counts, _mark(bundle))


def _mark(bundle: VerifiedBundle) -> str:
    standing = bundle.report.standing
    return "" if standing is None else standing.mark


def _unpinned(bundles: Sequence[VerifiedBundle]) -> Iterator[str]:
    names = [bundle.name for bundle in bundles if not bundle.report.pinned]
    if names:
        yield f"The trust root of {', '.join(names)} was taken on its own word; give it with --root."
