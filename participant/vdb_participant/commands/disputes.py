"""`vdb-participant object` and `objections`: what is said of a result after it was published.

Like `cli.py`, to which it belongs, it loads what a command needs when it runs.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from vdb_participant.commands.screen import console
from vdb_participant.commands.unlocking import passphrase_of

Session = Annotated[str, typer.Argument(help="Session id, or its beginning.", show_default=False)]


def object_to(
    context: typer.Context,
    session: Session,
    reason: Annotated[
        str, typer.Option(help="data, model, software, figures, privacy, procedure or other.", show_default=False)
    ] = "",
    text: Annotated[str, typer.Option(help="Why; everybody can read it.", show_default=False)] = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Keep the signed objection in this new file too.")
    ] = None,
    carry: Annotated[
        Path | None, typer.Option(help="Hand in what an auditor signed, instead of an objection of our own.")
    ] = None,
) -> None:
    """Object to a published result, in this institution's name: signed, and logged for good.

    A site without a network signs it into the file that -o names, which any member hands in with --carry.
    """
    commands, state, passphrase = _commands(), _state(context), passphrase_of(context)
    if carry is not None:
        commands.carry(state, passphrase, session, carry)
    else:
        commands.object_here(state, passphrase, session, (reason, text), output)


def objections(
    context: typer.Context,
    session: Session,
    out: Annotated[Path, typer.Option(help="Folder to write the signed statements to.", show_default=False)],
    offline: Annotated[
        Path | None, typer.Option("--offline", help="No network here: see join.", show_default=False)
    ] = None,
) -> None:
    """Write all objections to a result, and its withdrawal, as files for `vdb-audit verify --statements`."""
    reaching = importlib.import_module("vdb_participant.commands.reaching")
    carried = offline and reaching.Offline(offline, False, console(stderr=True).print)
    _commands().fetch(_state(context), passphrase_of(context), session, out, carried)


def _commands() -> Any:
    return importlib.import_module("vdb_participant.commands.objecting")


def _state(context: typer.Context) -> Any:
    return importlib.import_module("vdb_participant.site.config").state_folder(context.obj.folder)
