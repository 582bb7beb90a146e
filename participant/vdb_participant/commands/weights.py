"""`vdb-participant models`: models that are known, and their weights.

Like `cli.py`, to which it belongs, it loads what a command needs when it runs.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vdb_participant.commands.screen import console
from vdb_shared.canonical import canonical_json
from vdb_shared.commandline import agreed

app = typer.Typer(help="Models that are known, and their weights.", no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
AcceptLicence = Annotated[
    bool, typer.Option("--accept-licence", help="Accept the licences of models without a question.")
]
ModelsFolder = Annotated[
    Path | None,
    typer.Option("--models", help="Folder with the weights of every model and extractor. [default: DIR/models]"),
]
ModelId = Annotated[str, typer.Argument(help="Id of a model; see models list.", show_default=False)]


@app.command("list", epilog="Example: vdb-participant models list --json")
def models_list(context: typer.Context, as_json: Json = False) -> None:
    """Show all models that are known here: the packaged ones and the site's own."""
    registry = _load("commands.models").load_registry(_state(context).registry)
    if as_json:
        show = _load("commands.models").facts
        _print_json([show(row, own=row.id in registry.own) for row in registry.rows.values()])
    else:
        _load("commands.models").print_list(console(), registry.rows.values())


@app.command("show", epilog="Example: vdb-participant models show wan2.1-t2v-1.3b")
def models_show(context: typer.Context, model: ModelId, as_json: Json = False) -> None:
    """Show all that is known of a model, with its licence and the territories that it leaves out."""
    commands = _load("commands.models")
    registry = commands.load_registry(_state(context).registry)
    row = commands.known_model(registry, model)
    if as_json:
        _print_json(commands.facts(row, own=model in registry.own))
    else:
        commands.print_facts(console(), row, own=model in registry.own)


@app.command("verify", epilog="Example: vdb-participant models verify DIR")
def models_verify(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder with <id>/ folders of weights.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Show the manifest digest of each model and extractor, as specs name them, and of every file in it."""
    commands = _load("commands.models")
    found = commands.verified(folder, commands.load_registry(_state(context).registry))
    if as_json:
        _print_json(found)
        return
    for name, item in found.items():
        console().print(f"{name}  {item['manifest']}")
        for file, digest in item["files"].items():
            console().print(f"    {digest}  {file}")


@app.command("fetch", epilog="Example: vdb-participant models fetch wan2.1-t2v-1.3b --from DIR --accept-licence")
def models_fetch(
    context: typer.Context,
    model: ModelId,
    directory: Annotated[Path | None, typer.Option("--from", help="Copy from this directory instead of a hub.")] = None,
    mirror: Annotated[str | None, typer.Option(help="Address of the institution's mirror of the hub.")] = None,
    models: ModelsFolder = None,
    accept_licence: AcceptLicence = False,
) -> None:
    """Show licence and territory, then bring the pinned weights into the folder of models."""
    commands, state = _load("commands.models"), _state(context)
    row = commands.known_model(commands.load_registry(state.registry), model)
    commands.check_fetchable(row)
    source = commands.Source(directory, mirror)
    commands.check_fetch(_load("site.policy").policy_in(state), row, source)
    console(stderr=True).print(f"{row.id}: {commands.notice(row)}")
    commands.accept_licence(state, row, licence_question(), accepted=accept_licence)
    place, digest = commands.fetch(row, source, models or state.models)
    console().print(f"{place}  {digest}")


@app.command("pin", epilog="Example: vdb-participant models pin wan2.1-t2v-1.3b COMMIT DIR")
def models_pin(
    context: typer.Context,
    model: ModelId,
    revision: Annotated[str, typer.Argument(help="Commit of the repository, 40 hex digits.", show_default=False)],
    directory: Annotated[
        Path | None, typer.Argument(help="Directory of weights whose digest is pinned too.", show_default=False)
    ] = None,
) -> None:
    """Write the revision of a model, and the digest of its weights, into the site's own registry."""
    row = _load("commands.models").pin(_state(context), model, revision, directory)
    console().print(f"{row.id}  {row.revision}  {row.manifest}")


@app.command("add", epilog="Example: vdb-participant models add my-model.toml")
def models_add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Registry file with own models.", show_default=False)],
) -> None:
    """Check a file with models of your own and copy it into the site's registry."""
    for name in _load("commands.models").add(_state(context), file):
        console().print(f"added {name}")


@app.command("retry", epilog="Example: vdb-participant models retry wan2.1-t2v-1.3b")
def models_retry(context: typer.Context, model: ModelId, models: ModelsFolder = None) -> None:
    """Forget that clips of a model failed, so that the next run makes them again; finished clips stay."""
    state = _state(context)
    count = _load("commands.retrying").retry(state, model, models or state.models)
    console().print(f"{model}: {count} failed clips will be made again")


def licence_question() -> Any:
    """Return how somebody at a terminal is asked to accept a licence; None where nobody is."""
    return (lambda _: agreed("Accept it?", err=True)) if sys.stdin.isatty() else None


def _load(module: str) -> Any:
    return importlib.import_module(f"vdb_participant.{module}")


def _state(context: typer.Context) -> Any:
    return _load("site.config").state_folder(context.obj.folder)


def _print_json(value: object) -> None:
    sys.stdout.write(canonical_json(value).decode() + "\n")
