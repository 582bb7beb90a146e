"""Published figures in VBench's terms: from metrics.json to one table for each model and kind of prompts.

Promises that a withheld figure is a missing dimension, and that noise in a figure is said beside it. Leaves the formula to
`metrics/vbench.py`, and whether the figures can be believed to the audit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console

from vdb_shared.errors import UsageError
from vdb_shared.fields import Real
from vdb_shared.metrics.vbench import DIMENSIONS, VBenchReport, vbench_report
from vdb_shared.schema_words import first_field
from vdb_shared.screen import Figures
from vdb_shared.sums import rounded

OTHER_PROMPTS: Final = (
    "Prompts are the spec's, not VBench's: only figures over VBench's own prompts can stand beside its table."
)
"""Holds for every figure."""


class FigureFile(BaseModel):
    """One of the results in metrics.json, as far as it is needed here."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    metric: str
    inputs: str
    model: str
    value: Real | None
    grade: str


class FiguresFile(BaseModel):
    """metrics.json, as far as it is needed here."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    results: tuple[FigureFile, ...]


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One model on one kind of prompts.

    Attributes:
        model: its id.
        inputs: "public" or "private" prompts.
        report: its figures in VBench's terms.
        grades: by metric id: "exact", "noised" or "coarse".
        mark: "withdrawn", "superseded" or "objected to", where the log says so of the result; else "".
    """

    model: str
    inputs: str
    report: VBenchReport
    grades: Mapping[str, str]
    mark: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the JSON form: reals as decimal strings of 6 significant digits; a mark only where there is one."""
        groups = self.report.groups
        return ({"mark": self.mark} if self.mark else {}) | {
            "model": self.model,
            "inputs": self.inputs,
            "formula": self.report.words,
            "quality": _optional(groups.quality),
            "semantic": _optional(groups.semantic),
            "total": _optional(groups.total),
            "missing": list(self.report.missing),
            "dimensions": [
                {
                    "dimension": score.dimension.name,
                    "group": score.dimension.group,
                    "metric": score.source.metric,
                    "raw": rounded(score.raw),
                    "normalised": rounded(score.normalised),
                    "weight": rounded(score.dimension.weight),
                    "grade": self.grades[score.source.metric],
                    "comparable": not score.source.differs,
                    "remark": score.words,
                }
                for score in self.report.scores
            ],
        }


def vbench_reports(data: bytes, *, file: str, mark: str = "") -> tuple[ModelReport, ...]:
    """Return the figures of every model that has one of VBench's dimensions, in the order of the figures.

    Args:
        data: the bytes of metrics.json.
        file: its name, for messages.
        mark: of the result, see `ModelReport`.

    Raises:
        UsageError: not figures.
        StatisticError: a value is not on VBench's scale.
    """
    try:
        results = FiguresFile.model_validate_json(data).results
    except ValidationError as error:
        problem = ": ".join(part for part in (file, *first_field(error)) if part)
        raise UsageError(f"{problem}; expected figures as `vdb-participant run -o` writes them") from error
    reports = []
    for model, inputs in dict.fromkeys((result.model, result.inputs) for result in results):
        found = [item for item in results if (item.model, item.inputs) == (model, inputs) and item.value is not None]
        report = vbench_report({item.metric: float(item.value) for item in found if item.value is not None})
        if report.scores:
            reports.append(ModelReport(model, inputs, report, {item.metric: item.grade for item in found}, mark))
    return tuple(reports)


def print_vbench(console: Console, reports: tuple[ModelReport, ...]) -> None:
    """Print one table for each model and kind of prompts, with what is missing and what cannot be compared."""
    for item in reports:
        report = item.report
        model = f"{item.model} ({item.mark})" if item.mark else item.model
        console.print(f"{model}, {item.inputs} prompts. {report.words}", style="bold")
        rows = []
        for score in report.scores:
            grade = item.grades[score.source.metric]
            raw = rounded(score.raw) + ("" if grade == "exact" else f" ({grade})")
            rows.append((score.dimension.name, raw, f"{score.normalised:.2%}", f"{score.dimension.weight:g}"))
        console.print(Figures(("Dimension", "Raw", "Normalised", "Weight"), rows, "Dimension"))
        for score in report.scores:
            console.print(f"  {score.dimension.name}: {score.words}", soft_wrap=True)
        console.print(f"  {_group_words(report)}", soft_wrap=True)
        console.print(f"  missing: {', '.join(report.missing) or 'nothing'}\n", soft_wrap=True)
    console.print(OTHER_PROMPTS, soft_wrap=True)


def _group_words(report: VBenchReport) -> str:
    counts = {group: _share(report, group) for group in ("quality", "semantic")}
    groups = report.groups
    parts = [
        f"{name} score {value:.2%} over {counts[name]} dimensions"
        for name, value in (("quality", groups.quality), ("semantic", groups.semantic))
        if value is not None
    ]
    total = "no total, which needs all of them" if groups.total is None else f"total {groups.total:.2%}"
    return "; ".join((*parts, total))


def _share(report: VBenchReport, group: str) -> str:
    measured = sum(score.dimension.group == group for score in report.scores)
    return f"{measured} of {sum(dimension.group == group for dimension in DIMENSIONS)}"


def _optional(value: float | None) -> str | None:
    return None if value is None else rounded(value)
