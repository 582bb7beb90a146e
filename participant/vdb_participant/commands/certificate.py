"""`vdb-participant certificate`: our TLS certificate, which lasts 30 days.

Like `cli.py`, to which it belongs, it loads what a command needs when it runs.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from vdb_participant.commands.unlocking import passphrase_of

app = typer.Typer(
    help="Show or renew our TLS certificate; joining a session renews it by itself.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command(epilog="Example: vdb-participant certificate show")
def show(context: typer.Context, as_json: Json = False) -> None:
    """Show whose certificate it is, from when until when it is good, and when it is renewed. Asks nobody."""
    _commands().show(_state(context), as_json=as_json)


@app.command(epilog="Example: vdb-participant --passphrase-file FILE certificate renew --if-due")
def renew(
    context: typer.Context,
    if_due: Annotated[bool, typer.Option("--if-due", help="Do nothing before a third of its life is over.")] = False,
    offline: Annotated[
        Path | None,
        typer.Option(
            "--offline", help="Folder that is carried to the relay, which holds the certificate.", show_default=False
        ),
    ] = None,
    another_key: Annotated[
        bool,
        typer.Option(
            "--another-key", help="With --offline: the relay was put back from a backup; sign for its new key."
        ),
    ] = False,
) -> None:
    """Make a new TLS key here and have it certified; the statement key signs that. The old one stays good until it ends."""
    passphrase = passphrase_of(context)
    if offline is None:
        _commands().renew(_state(context), passphrase, if_due=if_due)
        return
    way = importlib.import_module("vdb_participant.commands.reaching").Offline(offline, False, lambda _: None)
    _commands().renew_by_files(_state(context), passphrase, way, if_due=if_due, another_key=another_key)


def _commands() -> Any:
    return importlib.import_module("vdb_participant.commands.certifying")


def _state(context: typer.Context) -> Any:
    return importlib.import_module("vdb_participant.site.config").state_folder(context.obj.folder)
