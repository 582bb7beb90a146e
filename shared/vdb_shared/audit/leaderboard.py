"""The leaderboard of a verified bundle: one table for each metric, one row for each model.

Promises to show only figures of a bundle in which no check failed. Leaves how it looks to `text.py` and `html.py`.

Source: protos/README.md §9.6.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from vdb_shared.audit.report import Facts, Report
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.record import ACCOUNTING, METRICS
from vdb_shared.canonical import parse_canonical_json
from vdb_shared.errors import VerificationError
from vdb_shared.metrics.catalogue import MetricDefinition, definition_of


@dataclass(frozen=True, slots=True)
class Row:
    """One model's figure; all digits are strings exactly as published.

    Attributes:
        model: its id.
        value, low, high: the figure and its 95 % interval; None when withheld or coarse.
        ranks: best and worst rank the data allow; None when withheld.
        count: clips measured, or people who rated.
        grade: "exact", "noised", "coarse" or "unavailable".
        reason: why it is withheld or coarse, or None.
        histogram: clips in each of 32 bins of the score's range, or None.
        untold: whether it has no value, and ranks that hold every place there is: they say nothing of it.
    """

    model: str
    value: str | None
    low: str | None
    high: str | None
    ranks: tuple[int, int] | None
    count: str
    grade: str
    reason: str | None
    histogram: tuple[int, ...] | None
    untold: bool = False

    @property
    def rank_set(self) -> str:
        """The ranks as people write them: "1", "2–3", or "–" where there are none or they say nothing."""
        if self.ranks is None or self.untold:
            return "–"
        best, worst = self.ranks
        return str(best) if best == worst else f"{best}–{worst}"

    @property
    def instead(self) -> str:
        """What stands in the place of a value that is not there."""
        return "not told apart" if self.untold else "ranks only" if self.ranks else "withheld"


@dataclass(frozen=True, slots=True)
class Table:
    """One metric on one kind of input.

    Attributes:
        definition: what is measured.
        inputs: "public" or "private" prompts, or "ratings" by people.
        private: whether private records entered it.
        rows: best first.
        not_apart: pairs of models that the data cannot tell apart.
        noised_counts: whether the numbers of clips or people carry noise, as those that private records enter do.
    """

    definition: MetricDefinition
    inputs: str
    private: bool
    rows: tuple[Row, ...]
    not_apart: tuple[tuple[str, str], ...]
    noised_counts: bool

    @property
    def title(self) -> str:
        """What is measured and on what: a metric that is asked for on two kinds of inputs has two titles."""
        return f"{self.definition.title} ({self.source})"

    @property
    def source(self) -> str:
        """What the figures come from, in words."""
        return source_of(self.inputs)

    @property
    def counted(self) -> str:
        """Heading of what is counted."""
        return counted_of(self.inputs)


def source_of(inputs: str) -> str:
    """Return in words what the figures of a metric come from."""
    return "ratings by people" if inputs == "ratings" else f"{inputs} prompts"


def counted_of(inputs: str) -> str:
    """Return the heading of what a metric counts."""
    return "People" if inputs == "ratings" else "Clips"


@dataclass(frozen=True, slots=True)
class ClipClass:
    """What all clips behind the figures have in common; no table mixes classes.

    Attributes:
        name: "exact" or "accelerated".
        profile: of the spec.
    """

    name: str
    profile: str

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> ClipClass:
        """Return the class that the JSON form of an evaluation names."""
        return cls(metrics["class"], metrics["profile"])

    @property
    def words(self) -> str:
        """Class and profile, in words."""
        if self.profile == "auto":
            return f"class {self.name}, under the fastest profile of the class that fits each machine"
        return f"class {self.name}, under the profile {self.profile}"


@dataclass(frozen=True, slots=True)
class CheckedSite:
    """What became of the clips that one institution made and another one too; digits as published.

    Attributes:
        institution: its name.
        clips: how many there were to be.
        compared, equal, different, apart: how many could be compared; have the same frames; have others; differ beyond the
            tolerance.
        largest_distance: between what both say of a clip in a distance metric; None where none was compared.
    """

    institution: str
    clips: int
    compared: int
    equal: int
    different: int
    apart: int
    largest_distance: str | None


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Everything a leaderboard shows.

    Attributes:
        facts: what the session was.
        report: how it was verified.
        clips: of which class and profile all generated clips are.
        tables: in the order of the spec.
        counts: numbers of clips, as in metrics.json.
        accounting: accounting.json.
        confidence: of the intervals, such as "0.95".
        checked: clips made at two institutions, by institution; empty where the spec wants none.
    """

    facts: Facts
    report: Report
    clips: ClipClass
    tables: tuple[Table, ...]
    counts: tuple[Mapping[str, Any], ...]
    accounting: Mapping[str, Any]
    confidence: str
    checked: tuple[CheckedSite, ...] = ()


def leaderboard_of(data: bytes, report: Report) -> Leaderboard:
    """Return the leaderboard of a bundle.

    Args:
        data: the whole file.
        report: of its audit.

    Raises:
        VerificationError: a check failed.
        FormatError: the audit was of another file, which is not a bundle.
    """
    report.require()
    if report.facts is None:
        raise VerificationError("the audit is not of a readable bundle", check="V05")
    members = read_archive(data)
    metrics, accounting = parse_canonical_json(members[METRICS]), parse_canonical_json(members[ACCOUNTING])
    return Leaderboard(
        facts=report.facts,
        report=report,
        clips=ClipClass.of(metrics),
        tables=tables_of(metrics, noised=accounting["rho"] is not None),
        counts=tuple(metrics["counts"]),
        accounting=accounting,
        confidence=metrics["confidence"],
        checked=tuple(_checked_site(item) for item in metrics.get("checked", {"sites": ()})["sites"]),
    )


def board_json(data: bytes, report: Report) -> dict[str, Any]:
    """Return metrics.json of an audited bundle, with how the result stands as `standing` where log or statements were read."""
    metrics: dict[str, Any] = parse_canonical_json(read_archive(data)[METRICS])
    return metrics if report.standing is None else metrics | {"standing": report.standing.to_json()}


def tables_of(metrics: Mapping[str, Any], *, noised: bool) -> tuple[Table, ...]:
    """Return a table for each metric of the JSON form of an evaluation, in the order of the spec.

    Args:
        metrics: the JSON form.
        noised: whether noise was added to all that private records enter.
    """
    return tuple(_tables(metrics, noised=noised))


def _tables(metrics: Mapping[str, Any], *, noised: bool) -> Iterator[Table]:
    pairs = {(item["metric"], item["inputs"]): item["pairs"] for item in metrics["not_apart"]}
    for (metric, inputs), items in groupby(metrics["results"], key=lambda item: (item["metric"], item["inputs"])):
        results = list(items)
        definition = definition_of(metric)
        rows = sorted(_told([_row(item) for item in results]), key=lambda row: _order(row, definition))
        yield Table(
            definition=definition,
            inputs=inputs,
            private=any(item["private"] for item in results),
            rows=tuple(rows),
            not_apart=tuple((first, second) for first, second in pairs.get((metric, inputs), ())),
            noised_counts=noised and inputs != "public",
        )


def _checked_site(item: Mapping[str, Any]) -> CheckedSite:
    return CheckedSite(
        institution=item["institution"],
        clips=item["clips"],
        compared=item["clips"] - item["not_compared"],
        equal=item["equal"],
        different=item["close"] + item["apart"],
        apart=item["apart"],
        largest_distance=item["largest_distance"],
    )


def _row(item: Mapping[str, Any]) -> Row:
    return Row(
        model=item["model"],
        value=item["value"],
        low=item["low"],
        high=item["high"],
        ranks=None if item["ranks"] is None else (item["ranks"][0], item["ranks"][1]),
        count=item["count"],
        grade=item["grade"],
        reason=item["reason"],
        histogram=None if item["histogram"] is None else tuple(item["histogram"]),
    )


def _told(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the rows of a table, those marked whose ranks hold every place."""
    ranked = sum(row.ranks is not None for row in rows)
    for row in rows:
        yield replace(row, untold=row.value is None and ranked > 1 and row.ranks == (1, ranked))


def _order(row: Row, definition: MetricDefinition) -> tuple[int, float, float, str]:
    """Models with a value come by it, then those with ranks alone by these, then the others by name."""
    if row.value is not None:
        value = float(row.value)
        return 0, -value if definition.direction == "higher" else value, 0.0, row.model
    if row.ranks is not None:
        return 1, row.ranks[0], row.ranks[1], row.model
    return 2, 0.0, 0.0, row.model
