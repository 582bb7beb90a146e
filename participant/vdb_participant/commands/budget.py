"""`vdb-participant budget`: the site's privacy ledger.

Like `cli.py`, to which it belongs, it loads what a command needs when it runs.
"""

from __future__ import annotations

import importlib
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Show the site's privacy ledger.", rich_markup_mode=None)


class Form(Enum):
    """How the ledger is written."""

    JSON = "json"
    CSV = "csv"


@app.callback(invoke_without_command=True, epilog="Example: vdb-participant budget --json")
def budget(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False
) -> None:
    """Show what each data set has spent, session by session, and what remains."""
    if context.invoked_subcommand is None:
        _commands().show(_state(context), as_json=as_json)


@app.command(epilog="Example: vdb-participant budget verify --receipt result.vdbb")
def verify(
    context: typer.Context,
    receipt: Annotated[
        list[Path] | None,
        typer.Option(help="Result that this site is part of; its debit must be there. May be repeated."),
    ] = None,
    head: Annotated[str, typer.Option(help="Digest of an entry that you noted; it must be there.")] = "",
) -> None:
    """Check the hash chain, the lists of records, and that the debits are there which this site has signed for."""
    _commands().verify(_state(context), receipt or (), head)


@app.command(epilog="Example: vdb-participant budget export --format csv --output ledger.csv")
def export(
    context: typer.Context,
    form: Annotated[Form, typer.Option("--format", help="json or csv.")] = Form.JSON,
    output: Annotated[
        Path | None, typer.Option(help="New file. [default: standard output]", show_default=False)
    ] = None,
) -> None:
    """Write the ledger for a data protection officer: all but the digests of single records."""
    _commands().export(_state(context), form.value, output)


def _commands() -> Any:
    return importlib.import_module("vdb_participant.commands.budgeting")


def _state(context: typer.Context) -> Any:
    return importlib.import_module("vdb_participant.site.config").state_folder(context.obj.folder)
