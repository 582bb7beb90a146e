"""The local evaluation for notebooks and programs: `vdb_participant.run(spec, data)`, with tables and plots.

Promises the very figures of `vdb-participant run`, and that nothing is sent. They are exact: over private data they are for
the site's own eyes. Needs no pandas and no plotting library; `frame()` alone wants pandas.

Source: protos/README.md §7.3.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vdb_participant.site.storage import write_private
from vdb_shared.errors import UsageError

if TYPE_CHECKING:
    from vdb_shared.audit.chart import Axis
    from vdb_shared.audit.leaderboard import Row, Table
    from vdb_shared.evaluation import Evaluation, Result
    from vdb_shared.spec import Spec

_ROW: Final = 26
_LABELS: Final = 170
"""Height of a line of a plot, and width of the names beside it, in SVG units."""


def run(
    spec: Spec | str | Path,
    data: str | Path,
    *,
    models: str | Path | None = None,
    folder: str | Path | None = None,
    device: str = "auto",
    accept_licences: bool = False,
) -> Run:
    """Run an evaluation here: generate, measure, and return the exact figures; nothing is sent.

    Clips are kept in the state folder and made once: running again, also after an interrupt, goes on.

    Args:
        spec: a spec, or a file with one (TOML or canonical JSON).
        data: data directory, with clips/ and prompts.jsonl.
        models: folder of weights of models and extractors; by default models/ in the state folder.
        folder: state folder; by default VDB_PARTICIPANT or ~/.vdb-participant.
        device: "auto", "cpu", "cuda" or "cuda:N".
        accept_licences: accept the licences of the spec's models, which are printed.

    Raises:
        BudgetError: policy.toml does not allow a metric, a model, its licence, or an address.
        SpecError: a mistake in the spec; names file, line and field.
        DatasetError, ModelError: what cannot be used.
        UsageError: a licence was not accepted, or no model could be measured.
    """
    # Only here is torch loaded, so that importing the package stays quick.
    from vdb_participant.commands.local import run_locally  # noqa: PLC0415 - loads torch
    from vdb_participant.commands.models import accept_licences as check_licences  # noqa: PLC0415 - the same
    from vdb_participant.commands.showing import shown_progress  # noqa: PLC0415 - the same
    from vdb_participant.commands.spec_file import read_spec  # noqa: PLC0415 - the same
    from vdb_participant.session.preparation import Resources  # noqa: PLC0415 - the same
    from vdb_participant.site.config import state_folder  # noqa: PLC0415 - the same
    from vdb_participant.site.policy import policy_in  # noqa: PLC0415 - the same

    state = state_folder(None if folder is None else Path(folder))
    read = read_spec(Path(spec)) if isinstance(spec, str | Path) else spec
    check_licences(state, read, ask=None, accepted=accept_licences, show=_complain)
    weights = state.models if models is None else Path(models)
    with shown_progress() as shown:
        resources = Resources(
            Path(data), weights, device, state.registry, tell=shown.tell, say=shown.say, egress=state.egress
        )
        evaluation = run_locally(read, resources, state.clips, shown.progress, policy_in(state))
    if all(result.value is None for result in evaluation.results):
        reasons = sorted({f"{result.model}: {result.reason}" for result in evaluation.results})
        raise UsageError(f"no model could be measured; {'; '.join(reasons)}")
    return Run(read, evaluation)


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """What an evaluation gave; a notebook shows it as tables with intervals.

    Attributes:
        spec: what was evaluated.
        evaluation: all figures, unrounded.
    """

    spec: Spec
    evaluation: Evaluation

    def __repr__(self) -> str:
        return f"Run({self.spec.title!r}, {len(self.evaluation.results)} figures)"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each metric and model, in the spec's order: plain values, reals unrounded, None where there is none."""
        return [_row(result) for result in self.evaluation.results]

    def frame(self) -> Any:
        """Return the rows as a pandas DataFrame.

        Raises:
            UsageError: pandas is not installed; `rows` is there without it.
        """
        try:
            import pandas as pd  # type: ignore[import-untyped, import-not-found, unused-ignore]  # noqa: PLC0415 - optional
        except ModuleNotFoundError as error:
            raise UsageError("frame() needs pandas (pip install pandas); `rows` needs nothing") from error
        return pd.DataFrame(self.rows)

    def plot(self, metric: str, inputs: str | None = None) -> Plot:
        """Return the models of a metric with their 95 % intervals, best first.

        Args:
            metric: its id, such as "clip-score@1".
            inputs: "public", "private" or "ratings"; needed only where the spec has the metric on several.

        Raises:
            UsageError: the spec has no such metric, or has it on several inputs.
        """
        found = [key for key in self.evaluation.not_apart if key[0] == metric and inputs in (None, key[1])]
        if len(found) != 1:
            listed = ", ".join(f"{name} on {kind}" for name, kind in self.evaluation.not_apart)
            raise UsageError(f"{metric}: expected one metric of the spec, found {len(found)}; it has {listed}")
        table = next(item for item in self._tables() if (item.definition.id, item.inputs) == found[0])
        return Plot(table)

    def _tables(self) -> Sequence[Table]:
        from vdb_shared.audit.leaderboard import tables_of  # noqa: PLC0415 - only who shows tables needs it

        return tables_of(self.evaluation.to_json(), noised=False)

    def _repr_html_(self) -> str:
        from vdb_shared.audit.html import table_cards  # noqa: PLC0415 - likewise

        metrics: Mapping[str, Any] = self.evaluation.to_json()
        return (
            f"<div><p><b>{escape(self.spec.title)}</b></p>{table_cards(self._tables(), metrics['confidence'])}"
            "<p>Exact figures of this site alone: over private data, look before you show them to others.</p></div>"
        )


@dataclass(frozen=True, slots=True)
class Plot:
    """The models of one metric with their intervals, as SVG."""

    table: Table = field(repr=False)

    def save(self, path: str | Path) -> None:
        """Write the plot to an SVG file that only its owner can read.

        Raises:
            UsageError: it cannot be written.
        """
        write_private(Path(path), self._repr_svg_().encode())

    def _repr_svg_(self) -> str:
        from vdb_shared.audit.chart import WIDTH, Axis  # noqa: PLC0415 - only who plots needs it

        shown = [row for row in self.table.rows if row.value and row.low and row.high]
        if not shown:
            raise UsageError("no model of this metric has a value; its reasons stand in `rows`")
        axis = Axis.over([float(end) for row in shown for end in (row.low or "", row.high or "")])
        height, width = _ROW * (len(shown) + 2), _LABELS + WIDTH
        lines = "".join(_line(axis, row, number) for number, row in enumerate(shown))
        definition, end = self.table.definition, _ROW * (len(shown) + 1) + 14
        better = "higher" if definition.direction == "higher" else "lower"
        unit = f" in {definition.unit}" if definition.unit else ""
        title = escape(f"{definition.title}{unit}: {self.table.source}, {better} is better, 95 % intervals")
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12"><title>{title}</title>'
            f'<text x="0" y="16" font-weight="bold">{title}</text>{lines}'
            f'<text x="{_LABELS}" y="{end}" fill="gray">{axis.low:.4g}</text>'
            f'<text x="{width}" y="{end}" fill="gray" text-anchor="end">{axis.high:.4g}</text></svg>'
        )


def _line(axis: Axis, row: Row, number: int) -> str:
    """Return a model's line of a plot: its name, its interval, its value."""
    centre = _ROW * (number + 1) + _ROW // 2
    low, value, high = (_LABELS + axis.place(float(end or "")) for end in (row.low, row.value, row.high))
    label = escape(f"{row.model}: {row.value}, from {row.low} to {row.high}")
    return (
        f'<g><title>{label}</title><text x="0" y="{centre + 4}">{escape(row.model)}</text>'
        f'<path stroke="#06c" stroke-width="2.5" d="M{low} {centre - 5}v10M{low} {centre}H{high}M{high} {centre - 5}v10"/>'
        f'<circle fill="#06c" cx="{value}" cy="{centre}" r="4.5"/></g>'
    )


def _row(result: Result) -> dict[str, Any]:
    best, worst = result.ranks or (None, None)
    return {
        "metric": result.metric,
        "inputs": result.inputs,
        "model": result.model,
        "value": result.value,
        "low": result.low,
        "high": result.high,
        "count": result.count,
        "best_rank": best,
        "worst_rank": worst,
        "grade": result.grade,
        "reason": result.reason,
    }


def _complain(line: str) -> None:
    sys.stderr.write(f"{line}\n")
