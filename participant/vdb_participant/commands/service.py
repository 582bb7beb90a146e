"""`vdb-participant service`: a systemd unit for a session.

Like `cli.py`, to which it belongs, it loads what a command needs when it runs.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from vdb_participant.commands.makers import Device

app = typer.Typer(
    help="Go on with a session as a service of systemd, also after the machine was restarted.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Session = Annotated[str, typer.Argument(help="Session id, or its beginning; consented to before.", show_default=False)]
Models = Annotated[Path | None, typer.Option("--models", help="Folder of weights. [default: DIR/models]")]


@app.command("print", epilog="Example: vdb-participant service print 4f2a")
def show(context: typer.Context, session: Session, models: Models = None, device: Device = "auto") -> None:
    """Print the unit that goes on with a session; the place for changes of your own."""
    _commands().show(_state(context), _wish(context, session, models, device))


@app.command(epilog="Example: vdb-participant --passphrase-file FILE service install 4f2a")
def install(
    context: typer.Context,
    session: Session,
    models: Models = None,
    device: Device = "auto",
    units: Annotated[Path | None, typer.Option(help="Folder to write to. [default: ~/.config/systemd/user]")] = None,
) -> None:
    """Write the unit for this user's systemd, and say how to start it. Nothing is started, and nobody consents by this."""
    _commands().install(_state(context), _wish(context, session, models, device), units)


@app.command(hidden=True, epilog="Example: vdb-participant service due 4f2a")
def due(context: typer.Context, session: Session) -> None:
    """Exit with 0 if the session has not ended for this site, else with 1; the unit asks before it starts anything."""
    raise typer.Exit(0 if _commands().is_due(_state(context), session) else 1)


def _wish(context: typer.Context, session: str, models: Path | None, device: str) -> Any:
    return _commands().Wish(session, models, device, context.obj.passphrase_file)


def _commands() -> Any:
    return importlib.import_module("vdb_participant.commands.serving")


def _state(context: typer.Context) -> Any:
    return importlib.import_module("vdb_participant.site.config").state_folder(context.obj.folder)
