"""`vdb-participant journal`: what left this site.

Like `cli.py`, to which it belongs, it loads what a command needs when it runs.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Show what left this site, byte for byte.", no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command(epilog="Example: vdb-participant journal show --session 4f2a")
def show(
    context: typer.Context,
    session: Annotated[str, typer.Option(help="Only what names this session, or its beginning.")] = "",
    as_json: Json = False,
) -> None:
    """Show every message that left: when, to where, by which call, how many bytes, and their digest."""
    _commands().show(_state(context), session, as_json=as_json)


@app.command(epilog="Example: vdb-participant journal verify result.vdbb")
def verify(
    context: typer.Context,
    bundle: Annotated[Path | None, typer.Argument(help="Result that this site is part of.", show_default=False)] = None,
    head: Annotated[str, typer.Option(help="Digest of an entry that you noted; it must be there.")] = "",
    as_json: Json = False,
) -> None:
    """Check the chain, and that what a result has from this site left here; say what left and is not in it, and why."""
    if not _commands().verify(_state(context), bundle, head, as_json=as_json):
        raise typer.Exit(1)


@app.command(epilog="Example: vdb-participant journal export egress.jsonl")
def export(
    context: typer.Context, output: Annotated[Path, typer.Argument(help="New file.", show_default=False)]
) -> None:
    """Check the chain and write a copy of the journal, for whoever is to compare it with what the network saw."""
    _commands().export(_state(context), output)


def _commands() -> Any:
    return importlib.import_module("vdb_participant.commands.departing")


def _state(context: typer.Context) -> Any:
    return importlib.import_module("vdb_participant.site.config").state_folder(context.obj.folder)
