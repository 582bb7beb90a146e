"""`vdb-participant relay`: the connected machine of a site that is not connected itself.

Like `cli.py`, to which it belongs, it loads what a command needs when it runs.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Carry files between a site without a network and the coordinator.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Exchange = Annotated[Path, typer.Argument(help="Folder that is carried, with outbox/ and inbox/.", show_default=False)]


@app.command(epilog="Example: vdb-participant relay prepare hospital-a.invitation STICK")
def prepare(
    context: typer.Context,
    invitation: Annotated[Path, typer.Argument(help="Invitation file from the lead.", show_default=False)],
    exchange: Exchange,
) -> None:
    """Make the relay's keys here, and the offer with which the site enrols there."""
    _commands().prepare_here(_folder(context), invitation, exchange)


@app.command(epilog="Example: vdb-participant relay carry STICK")
def carry(
    context: typer.Context,
    exchange: Exchange,
    now: Annotated[
        bool, typer.Option("--now", help="Do not wait until the session goes on; that costs another way on foot.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on for ever: for a folder that a data diode or another program fills.")
    ] = False,
) -> None:
    """Deliver the site's requests to the coordinator and write the answers into the inbox."""
    raise typer.Exit(_commands().carry_all(_folder(context), exchange, wait=not now, forever=watch))


def _commands() -> Any:
    return importlib.import_module("vdb_participant.commands.relaying")


def _folder(context: typer.Context) -> Any:
    return importlib.import_module("vdb_participant.site.config").state_folder(context.obj.folder).path
