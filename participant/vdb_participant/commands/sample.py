"""The options of `vdb-participant prove-sample`.

Like `cli.py`, to which it belongs, it loads what a command needs when it runs.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from vdb_participant.commands.unlocking import passphrase_of
from vdb_shared.bundle.samples import MOST_OPENED


def prove_sample(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    session: Annotated[str, typer.Argument(help="Session id, or its beginning.", show_default=False)],
    checkpoint: Annotated[
        Path, typer.Option(help="The auditor's file, as `vdb-audit choose-sample` writes it.", show_default=False)
    ],
    auditor: Annotated[str, typer.Option(help="For whom; stands in the signed file.", show_default=False)],
    out: Annotated[Path, typer.Option(help="File to write, such as samples.vdbs.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, max=MOST_OPENED, help="How many records to open.")] = 30,
    with_clips: Annotated[
        bool, typer.Option("--with-clips", help="Also show the clips, and the words of private records.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="Data directory, if it was moved since the session.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write it without being asked.")] = False,
    log: Annotated[
        str | None,
        typer.Option(help="Read the log here, a URL or folder, not from the coordinator.", show_default=False),
    ] = None,
) -> None:
    """Open records to an auditor's spot check: the log chose them after the result, neither you nor the auditor did.

    Shows all that the file would tell before anything is written.
    """
    wish = _load("commands.sampling").Wish(session, checkpoint, count, auditor, out, with_clips, data, yes, log)
    state = _load("site.config").state_folder(context.obj.folder)
    _load("commands.sampling").prove(state, passphrase_of(context), wish)


def _load(module: str) -> Any:
    return importlib.import_module(f"vdb_participant.{module}")
