"""`vdb-coordinator session plan`: what a session would tell and cost, before anybody commits to it.

Leaves the figures to `vdb_shared.planning`. Works without a coordinator and without a network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from vdb_coordinator.commands.presets import preset_names, read_preset
from vdb_coordinator.commands.spec_checks import checked_text, read_spec
from vdb_coordinator.commands.terminal import check_new, console, print_json, write_new
from vdb_shared.bundle.archive import MAX_BUNDLE_BYTES
from vdb_shared.errors import UsageError
from vdb_shared.metrics.catalogue import definition_of
from vdb_shared.planning.assumptions import assume
from vdb_shared.planning.document import plan_json
from vdb_shared.planning.guess import MAX_GUESS_BYTES, Guess, default_guesses, in_units, parse_guesses, template
from vdb_shared.planning.like import guesses_like, read_bundle, seconds_like
from vdb_shared.planning.page import plan_page, plan_picture
from vdb_shared.planning.plan import Plan, plan_session
from vdb_shared.planning.words import facts, number, ratio_words, what_a_metric_tells
from vdb_shared.spec import Spec
from vdb_shared.weights import UNPINNED

_ANY_DIGEST: Final = "sha256:" + 64 * "0"
"""Stands for weights that are not pinned yet: a plan depends on no weights but through random frequencies."""

_MOST_SESSIONS: Final = 1000


@dataclass(frozen=True, slots=True)
class Cohort:
    """What the command line says of the cohort; None stands for the spec's own bounds."""

    participants: int | None
    records: int | None
    prompts: int | None
    dropout: float


@dataclass(frozen=True, slots=True)
class Sources:
    """Where guesses come from."""

    like: Path | None
    guess: Path | None
    seconds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """What is computed and written."""

    plot: Path | None
    as_json: bool
    sessions: int | None


@dataclass(frozen=True, slots=True)
class _Guessed:
    guesses: Mapping[tuple[str, str], Guess]
    words: tuple[str, ...]
    seconds: Mapping[str, float]


def plan(spec: str, cohort: Cohort, sources: Sources, output: Output) -> None:
    """Print the plan of a session.

    Raises:
        UsageError, PrivacyError: something that was given cannot be; one line says what and where.
    """
    if output.plot is not None and output.plot.suffix not in {".html", ".svg"}:
        raise UsageError(f"{output.plot}: a plot is a file named .html or .svg")
    if output.plot is not None:
        check_new(output.plot)
    if output.sessions is not None and not 1 <= output.sessions <= _MOST_SESSIONS:
        raise UsageError(f"--sessions: expected 1 to {_MOST_SESSIONS}, found {output.sessions}")
    parsed = _spec(spec)
    guessed = _guessed(parsed, sources)
    found = plan_session(
        parsed,
        assume(
            parsed,
            participants=cohort.participants,
            dropout=_share(cohort.dropout),
            records=cohort.records,
            prompts=cohort.prompts,
        ),
        guessed.guesses,
        sources=guessed.words,
        seconds=guessed.seconds,
        sessions=output.sessions,
    )
    if output.plot is not None:
        drawn = plan_page(found) if output.plot.suffix == ".html" else plan_picture(found)
        write_new(output.plot, drawn.encode())
    if output.as_json:
        print_json(plan_json(found))
        return
    _print(console(), found)
    if output.plot is not None:
        console().print(f"wrote {output.plot}")


def print_template(spec: str, sources: Sources) -> None:
    """Print a guess file for a spec, to be edited."""
    parsed = _spec(spec)
    console().print(template(parsed, _guessed(parsed, sources).guesses), end="")


def _spec(name: str) -> Spec:
    path = Path(name)
    if path.exists() or name not in preset_names():
        if not path.exists() and path.suffix != ".toml":
            raise UsageError(f"{name}: no such file, and no preset; presets are {', '.join(preset_names())}")
        text, file = read_spec(path), str(path)
    else:
        text, file = read_preset(name), f"preset {name}"
    return checked_text(text.replace(f'"{UNPINNED}"', f'"{_ANY_DIGEST}"'), file)[0]


def _share(value: float) -> Decimal:
    if not math.isfinite(value):
        raise UsageError(f"--dropout: expected a share in [0, 1), found {value}")
    return Decimal(str(value))


def _guessed(spec: Spec, sources: Sources) -> _Guessed:
    guesses: Mapping[tuple[str, str], Guess] = default_guesses(spec)
    words: list[str] = []
    seconds: dict[str, float] = {}
    if sources.like is not None:
        earlier = read_bundle(_read(sources.like, MAX_BUNDLE_BYTES), file=str(sources.like))
        guesses, silent = guesses_like(earlier, spec, guesses)
        words.append(f"{sources.like}" + (f" (defaults for {', '.join(silent)})" if silent else ""))
        seconds |= {model: value for model, value in seconds_like(earlier).items() if value > 0}
    if sources.guess is not None:
        try:
            text = _read(sources.guess, MAX_GUESS_BYTES).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{sources.guess}: is not UTF-8: {error}") from error
        guesses = parse_guesses(text, spec, guesses, file=str(sources.guess))
        words.append(str(sources.guess))
    seconds |= _seconds(spec, sources.seconds)
    return _Guessed(guesses, tuple(words or ["defaults"]), seconds)


def _seconds(spec: Spec, given: tuple[str, ...]) -> dict[str, float]:
    models = [model.id for model in spec.models]
    found: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if name not in models:
            raise UsageError(f"--seconds-per-clip {text}: the spec's models are {', '.join(models)}")
        if not (math.isfinite(seconds) and seconds > 0):
            raise UsageError(f"--seconds-per-clip {text}: expected MODEL=SECONDS with seconds above 0")
        found[name] = seconds
    return found


def _read(path: Path, most: int) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise UsageError(f"{path}: has {len(content)} bytes; at most {most} are allowed")
    return content


def _print(screen: Console, found: Plan) -> None:
    screen.print(f"{found.scenario.spec.title}")
    for name, words in facts(found):
        screen.print(f"  {name:<15} {words}")
    screen.print("  Guessed of clips:")
    for line in _guess_lines(found):
        screen.print(f"    {line}")
    screen.print()
    screen.print(_expected_table(found))
    for outlook in found.outlooks:
        screen.print(f"{outlook.metric.id}, {outlook.metric.inputs} prompts: {what_a_metric_tells(outlook)}")
    for item in found.expected:
        if item.reason and item.model == found.scenario.spec.models[0].id:
            screen.print(f"{item.metric}, {item.inputs} prompts: {item.grade}: {item.reason}")
    screen.print()
    _print_what_ifs(screen, found)
    _print_weights(screen, found)


def _print_what_ifs(screen: Console, found: Plan) -> None:
    if not found.what_ifs:
        screen.print(
            "No other session is compared: none is private, or one evaluation takes long; --sessions 1 compares all."
        )
        return
    screen.print(_what_if_table(found))
    for other in found.what_ifs:
        if other.problem:
            screen.print(f"{other.name}: not possible: {other.problem}")


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 else "right", no_wrap=True)
    return table


def _expected_table(found: Plan) -> Table:
    table = _table("Metric", "Prompts", "Model", "Guessed", "± expected", "Grade")
    for outlook in found.outlooks:
        metric = outlook.metric
        unit = definition_of(metric.id).unit
        for item in found.of((metric.id, metric.inputs)):
            width = f"{number(item.half_width)} {unit}".strip()
            table.add_row(metric.id, metric.inputs, item.model, number(item.value), width, item.grade)
    return table


def _what_if_table(found: Plan) -> Table:
    table = _table("Intervals' length by now")
    for other in found.what_ifs:
        table.add_column(other.name, justify="right")
    for outlook in found.outlooks:
        key = outlook.metric.id, outlook.metric.inputs
        cells = [ratio_words(item.changes[key]) if key in item.changes else "–" for item in found.what_ifs]
        table.add_row(" ".join(key), *cells)
    return table


def _print_weights(screen: Console, found: Plan) -> None:
    for name, factors in found.doubled.items():
        if isinstance(factors, str):
            screen.print(f"weight of {name} doubled: not possible: {factors}")
        else:
            screen.print(
                f"weight of {name} doubled: its noise × {factors[0]:.2f}, that of all others × {factors[1]:.2f}"
            )
    proposal = found.proposal
    if proposal is None:
        return
    screen.print(
        f"proposed weights: the sum of what noise adds to squared intervals falls from {number(proposal.before)} to "
        f"{number(proposal.after)} times their own square"
    )
    for name, weight in proposal.weights.items():
        screen.print(f"  {name}: weight = {weight}")


def _guess_lines(found: Plan) -> list[str]:
    return [
        f"{metric.id}, {metric.inputs}: "
        + ", ".join(
            f"{name} {number(value)}"
            for name, value in in_units(metric, found.guesses[metric.id, metric.inputs]).items()
        )
        for metric in found.scenario.spec.metrics
    ]
