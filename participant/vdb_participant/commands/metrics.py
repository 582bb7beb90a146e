"""`vdb-participant metrics`: what can be measured, how it is defined, what leaves a site for it, and under which licence.

Promises that text, JSON and docs/metrics.md say the same: what the catalogue says. Loads no machine learning framework; what
fits a map does, when it runs.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from vdb_participant.commands.screen import console
from vdb_participant.data.ratings import RATINGS_FILE, SCORE, VOTE
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import UsageError
from vdb_shared.metrics.catalogue import CATALOGUE, MetricDefinition, refusals
from vdb_shared.metrics.finishes import FINISHES, FinishName, Shape

app = typer.Typer(help="Metrics, and how each is defined.", no_args_is_help=True, rich_markup_mode=None)

_CLIPS_A_LINE: Final = 100
"""Public clips between two lines of progress."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command("list", epilog="Example: vdb-participant metrics list --json")
def metrics_list(
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/metrics.md.")] = False,
) -> None:
    """Show every metric of the catalogue."""
    if as_json and markdown:
        raise UsageError("--json and --markdown exclude each other; give one")
    if as_json:
        _print_json([facts(definition) for definition in CATALOGUE.values()])
    elif markdown:
        sys.stdout.write(page())
    else:
        print_list(console())


@app.command("show", epilog="Example: vdb-participant metrics show clip-score@1")
def metrics_show(
    metric: Annotated[str, typer.Argument(help="Id of a metric; see metrics list.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show how a metric is defined, what a clip adds to the sums for it, its licence and its oracle."""
    definition = known_metric(metric)
    if as_json:
        _print_json(facts(definition))
        return
    for name, value in facts(definition).items():
        console().print(f"{name:<16} {value if isinstance(value, str) else canonical_json(value).decode()}")


@app.command(
    "fit-map",
    epilog="Example: vdb-participant metrics fit-map models/videomae-base public-clips -o models/videomae-64 "
    "--dimension auto --records 2000 --epsilon 4",
)
def fit_map(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    extractor: Annotated[Path, typer.Argument(help="Folder of a raw extractor.", show_default=False)],
    clips: Annotated[
        Path, typer.Argument(help="Folder of public clips: videos, or generated ones.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder.", show_default=False)],
    dimension: Annotated[str, typer.Option(help="Axes to keep: 16, 32, 64, 128 or auto.")] = "64",
    records: Annotated[
        int | None, typer.Option(min=1, help="Reference clips of all institutions in the planned session.")
    ] = None,
    epsilon: Annotated[str | None, typer.Option(help="Of the planned session.", show_default=False)] = None,
    private_models: Annotated[
        int, typer.Option(min=0, max=1000, help="Models whose clips come from private prompts in that session.")
    ] = 0,
    noise: Annotated[
        float | None, typer.Option(min=0, help="Noise of a covariance's entries, instead of records and epsilon.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Of a clip, as the spec's [video] says.")] = None,
    height: Annotated[int | None, typer.Option(min=1, help="As the spec's [video] says.")] = None,
    width: Annotated[int | None, typer.Option(min=1, help="As the spec's [video] says.")] = None,
    architecture: Annotated[str, typer.Option(help="As specs write it, where config.json does not tell.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Json = False,
) -> None:
    """Fit the public map that dp-fvd@1 needs, and write the extractor with it into a new folder."""
    if (height is None) != (width is None):
        raise UsageError("--height and --width: go together; give both or neither")
    wishes = importlib.import_module("vdb_participant.commands.mapping_wishes")
    shape = wishes.Shape(frames, None if height is None or width is None else (height, width))
    asked = wishes.granted(
        wishes.Wish(extractor, clips, output, dimension, shape, architecture, device),
        wishes.Plan(noise, records, _decimal(epsilon), private_models),
    )
    mapping = importlib.import_module("vdb_participant.commands.mapping")
    facts = mapping.fit_map(asked, _tell)
    if as_json:
        _print_json(facts)
    else:
        console().print(mapping.lines_of(facts))


def _tell(done: int, total: int) -> None:
    if done % _CLIPS_A_LINE == 0 and done < total:
        console(stderr=True).print(f"{done} of {total} public clips seen")


def _decimal(epsilon: str | None) -> Decimal | None:
    try:
        return None if epsilon is None else Decimal(epsilon)
    except InvalidOperation as error:
        raise UsageError(f"--epsilon {epsilon}: expected a number") from error


def known_metric(name: str) -> MetricDefinition:
    """Return a metric's definition by its id, or by its name where only one version is known.

    Raises:
        UsageError: there is none; says why where it does not federate.
    """
    versions = [found for found in CATALOGUE.values() if name in (found.id, found.id.partition("@")[0])]
    if versions:
        return versions[-1]
    for refusal in refusals():
        if name.partition("@")[0] in refusal.names:
            raise UsageError(f"{name}: does not federate: {refusal.reason}; ask for {refusal.instead}")
    near = difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "see `metrics list`"
    raise UsageError(f"{name}: no such metric is known; {hint}")


def facts(definition: MetricDefinition) -> dict[str, Any]:
    """Return all that is known of a metric, as JSON without reals."""
    return {
        "id": definition.id,
        "title": definition.title,
        "definition": definition.definition,
        "digest": definition.digest,
        "better": definition.direction,
        "unit": definition.unit or "-",
        "range": _range(definition),
        "needs": list(_needs(definition)),
        "settings": _settings(definition),
        "inputs": list(_inputs(definition)),
        "share": FINISHES[definition.finish].share,
        "lanes": FINISHES[definition.finish].lanes,
        "bound": _bound(definition.finish),
        "reference": definition.compares_with_reference,
        "citation": definition.citation,
        "licence": definition.weights_licence or "-",
        "oracle": definition.oracle,
    } | (_of_ratings(definition) if definition.of_ratings else {})


def _settings(definition: MetricDefinition) -> dict[str, str]:
    """Return the fields of a spec's metric that it uses beside those of every metric."""
    found: dict[str, str] = {name: use for name, use in definition.uses.items() if use != "refused"}
    return found | ({"of": "required"} if definition.finish == "correlation" else {})


def _of_ratings(definition: MetricDefinition) -> dict[str, str]:
    """Return what a metric of people's ratings needs, and where it goes."""
    lines = [f'id = "{definition.id}"', 'inputs = "ratings"']
    line, kind = VOTE, "a vote"
    if definition.finish == "correlation":
        lines.append('of = "temporal-flickering@1"')
        line, kind = SCORE, "a score"
    found = {"spec": f"[[metrics]] {', '.join(lines)}"}
    if definition.finish == "correlation":
        found["of"] = (
            "id of the metric that is compared with people: any that gives a clip a score of what it shows, with the settings "
            "that it needs (extractor, limit) beside it; the spec need not ask for that metric by itself"
        )
    return found | {
        "ratings": f"in {RATINGS_FILE} in the institution's data folder, {kind} a line, as a JSON object; all ratings of one "
        "person are one record; `data check DIR --spec SPEC` says which are used",
        "line": line,
        "spec_of_line": "digest of the spec that the clips were made by; `spec lint` and `data check --spec` print it",
    }


def print_list(out: Console) -> None:
    """Print one line for each metric."""
    lines = [("Metric", "Title", "Better", "Needs", "Inputs")]
    for definition in CATALOGUE.values():
        needs = ", ".join(_needs(definition)) or "-"
        lines.append((definition.id, definition.title, definition.direction, needs, ", ".join(_inputs(definition))))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        out.print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def page() -> str:
    """Return docs/metrics.md."""
    return "\n".join([*_introduction(), *_table(), "", *_definitions(), *_not_federated()]) + "\n"


def _introduction() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "Made by `vdb-participant metrics list --markdown`; the source is `shared/vdb_shared/metrics/catalogue.toml`, and"
    yield "protos/README.md §7 says how sums become values. An id with its version names one definition for ever: its digest"
    yield "covers every word of the row. *Lanes* are what one model's side takes of a session's vector: d is a feature's"
    yield "length, m and L are the spec's `features`, K a classifier's classes; of ratings by people they are of all M models"
    yield "together. *Bound* is the L2 norm that one clip's share, or one rater's, to each block never exceeds."
    yield ""


def _table() -> Iterator[str]:
    yield "| id | better | range | needs | lanes | bound |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for definition in CATALOGUE.values():
        needs = ", ".join(_needs(definition)) or "frames alone"
        lanes, bound = FINISHES[definition.finish].lanes, _bound(definition.finish)
        yield f"| `{definition.id}` | {definition.direction} | {_range(definition)} | {needs} | {lanes} | {bound} |"


def _definitions() -> Iterator[str]:
    for definition in CATALOGUE.values():
        yield f"## {definition.title} (`{definition.id}`)"
        yield ""
        yield f"{definition.definition[0].upper()}{definition.definition[1:]}."
        yield ""
        settings = [f"`{name}` {use}" for name, use in definition.uses.items() if use != "refused"]
        if settings:
            yield f"* In the spec: {', '.join(settings)}."
        if definition.public_only:
            yield f"* Public inputs only: {definition.public_only}."
        if definition.of_ratings:
            yield "* Ratings by people only; a record is a rater with all ratings."
            told = _of_ratings(definition)
            yield f"* In the spec: `{told['spec']}`" + (f"; `of` is the {told['of']}." if "of" in told else ".")
            yield f"* Ratings stand {told['ratings']}: `{told['line']}`. `spec` is the {told['spec_of_line']}."
        yield f"* One {'rater' if definition.of_ratings else 'clip'} adds {FINISHES[definition.finish].share}."
        yield f"* Source: {definition.citation}."
        if definition.weights_licence:
            yield f"* Weights: {definition.weights_licence}."
        yield f"* Checked against: {definition.oracle}."
        yield f"* Digest: `{definition.digest}`"
        yield ""


def _not_federated() -> Iterator[str]:
    yield "## What does not federate"
    yield ""
    yield "| asked for | why not | instead |"
    yield "| --- | --- | --- |"
    for refusal in refusals():
        yield f"| {', '.join(refusal.names)} | {refusal.reason} | {refusal.instead} |"


def _range(definition: MetricDefinition) -> str:
    if definition.finish in {"kernel", "sketch"}:
        return "from about 0"
    if definition.compares_with_reference and definition.high is None:
        return "from 0"
    if definition.finish in {"vendi", "rke", "inception"}:
        return "from 1"
    return f"{definition.low} to {'`limit`' if definition.high is None else definition.high}"


def _needs(definition: MetricDefinition) -> Iterator[str]:
    if definition.architectures:
        yield " or ".join(definition.architectures)
    yield from definition.needs
    if definition.compares_with_reference:
        yield "reference clips"
    if definition.of_ratings:
        yield "ratings by people"


def _inputs(definition: MetricDefinition) -> Iterator[str]:
    if definition.of_ratings:
        yield "ratings"
        return
    yield "public"
    if not definition.public_only:
        yield "private"


def _bound(finish: FinishName) -> str:
    parts = FINISHES[finish].parts(Shape(private=True, dimension=2, features=2, models=2))
    return "; ".join("1" if part.bound_squared == 1 else f"√{part.bound_squared}" for part in parts)


def _print_json(value: object) -> None:
    sys.stdout.write(canonical_json(value).decode() + "\n")
