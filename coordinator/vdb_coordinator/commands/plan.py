"""`vdb-coordinator session plan`: what a session would tell and cost, before anybody commits to it.

Leaves the figures to `vdb_shared.planning`, their look to `plan_lines.py`. Works without a coordinator and without a network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from vdb_coordinator.commands.plan_lines import plan_lines
from vdb_coordinator.commands.presets import preset_names, read_preset
from vdb_coordinator.commands.spec_checks import checked_text, read_spec
from vdb_coordinator.commands.terminal import check_new, console, print_json, write_new
from vdb_shared.bundle.archive import MAX_BUNDLE_BYTES
from vdb_shared.errors import UsageError
from vdb_shared.planning.assumptions import assume
from vdb_shared.planning.document import plan_json
from vdb_shared.planning.guess import Guess, default_guesses
from vdb_shared.planning.guess_file import MAX_GUESS_BYTES, parse_guesses, template
from vdb_shared.planning.like import guesses_like, read_bundle, seconds_like
from vdb_shared.planning.page import plan_page, plan_picture
from vdb_shared.planning.plan import plan_session
from vdb_shared.spec import Spec
from vdb_shared.text_files import utf8_text
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
    screen = console()
    for line in plan_lines(found, screen.width):
        screen.print(line)
    if output.plot is not None:
        screen.print(f"wrote {output.plot}")


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
        words.append(sources.like.name + (f" (defaults for {', '.join(silent)})" if silent else ""))
        seconds |= {model: value for model, value in seconds_like(earlier).items() if value > 0}
    if sources.guess is not None:
        text = utf8_text(_read(sources.guess, MAX_GUESS_BYTES), file=str(sources.guess))
        guesses = parse_guesses(text, spec, guesses, file=str(sources.guess))
        words.append(sources.guess.name)
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
