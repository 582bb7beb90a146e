"""`vdb-participant sessions`, `status` and `leave`.

Like `cli.py`, to which it belongs, it loads what a command needs when it runs.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from vdb_participant.commands.screen import console
from vdb_participant.commands.unlocking import passphrase_of

OfflineFolder = Annotated[Path | None, typer.Option("--offline", help="No network here: see join.", show_default=False)]


def sessions(
    context: typer.Context,
    offline: OfflineFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """List the coordinator's sessions: which can be joined, and how far the others are."""
    listing = importlib.import_module("vdb_participant.commands.listing")
    listing.show(_state(context), passphrase_of(context), _carried(offline), as_json=as_json)


def status(
    context: typer.Context,
    session: Annotated[str, typer.Argument(help="Session id, or its beginning. [default: all]")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Show what the agent is doing in every session: how far it is, what it cost, and what leaving it now would mean.

    Also whether the coordinator's server answers: it is greeted without our certificate, and with --json not even that.
    """
    _commands().show(_state(context), session, as_json=as_json)


def leave(
    context: typer.Context,
    session: Annotated[str, typer.Argument(help="Session id, or its beginning.", show_default=False)],
    reason: Annotated[
        str, typer.Option(help="Why, in a signed statement to the coordinator.")
    ] = "the institution decided to leave",
    yes: Annotated[bool, typer.Option("--yes", help="Leave without being asked.")] = False,
    offline: OfflineFolder = None,
) -> None:
    """Say what leaving a session now would mean, ask, and leave it for good."""
    commands = _commands()
    commands.leave(_state(context), passphrase_of(context), commands.Wish(session, reason, yes, _carried(offline)))


def _carried(offline: Path | None) -> Any:
    reaching = importlib.import_module("vdb_participant.commands.reaching")
    return offline and reaching.Offline(offline, False, console(stderr=True).print)


def _commands() -> Any:
    return importlib.import_module("vdb_participant.commands.standing")


def _state(context: typer.Context) -> Any:
    return importlib.import_module("vdb_participant.site.config").state_folder(context.obj.folder)
