"""`vdb-coordinator spec`: start from a preset, pin weights, find mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vdb_coordinator.commands.presets import pin_weights, preset_names, read_preset
from vdb_coordinator.commands.terminal import console, load, print_json, write_new
from vdb_shared.commandline import tell_all_but_last
from vdb_shared.errors import SpecError
from vdb_shared.weights import UNPINNED

app = typer.Typer(help="Write and check benchmark specs.", no_args_is_help=True, rich_markup_mode=None)


@app.command(
    epilog="Example: vdb-coordinator spec init text-to-video --models DIR -o spec.toml. "
    f"Presets: {', '.join(preset_names())}."
)
def init(
    preset: Annotated[str, typer.Argument(help="Name of a preset.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="New file.", show_default=False)],
    models: Annotated[
        Path | None,
        typer.Option(help="Folder with the weights of every model and extractor, by id; pins their digests."),
    ] = None,
) -> None:
    """Copy a commented preset, to edit."""
    text = read_preset(preset)
    if models is not None:
        text = pin_weights(text, models)
    write_new(output, text.encode())
    screen = console()
    screen.print(f"wrote {output}")
    if f'"{UNPINNED}"' in text:
        screen.print('its weights are "unpinned": write their digests in, or use --models DIR')


@app.command(epilog="Example: vdb-coordinator spec lint spec.toml")
def lint(
    spec: Annotated[Path, typer.Argument(help="Benchmark spec, TOML.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Check a spec and say what follows from it; mistakes are named with file, line and field."""
    checks = load("commands.spec_checks")
    try:
        parsed, terms = checks.checked(spec)
    except SpecError as error:
        raise tell_all_but_last(sorted((error, *error.others), key=lambda mistake: mistake.line or 0)) from None
    advice = checks.advice(parsed)
    facts = {
        "digest": parsed.digest,
        "title": parsed.title,
        "institutions at least": parsed.cohort.minimum,
        "of these may drop out": parsed.cohort.minimum - terms.smallest_cohort,
        "numbers in the vector": terms.layout.lanes,
        "of them private": terms.layout.private_lanes,
        "noise multiplier": terms.noise_multiplier,
        "public clips": terms.public_tasks,
    }
    if as_json:
        print_json({name.replace(" ", "_"): value for name, value in facts.items()} | {"advice": advice})
        return
    screen = console()
    screen.print(f"{spec}: in order")
    for name, value in facts.items():
        screen.print(f"  {name:<22} {value}")
    for sentence in advice:
        screen.print(f"advice: {sentence}")
