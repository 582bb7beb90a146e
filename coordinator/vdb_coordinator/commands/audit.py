"""`vdb-coordinator audit`: what leads and the coordinator did, for others to check.

Leaves what the commands do to `auditing.py`, which is imported when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vdb_coordinator.commands.terminal import common_of, load

app = typer.Typer(
    help="Show, export and check the audit log: who did what when, and what was refused.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command(epilog="Example: vdb-coordinator --dir consortium audit show --last 20")
def show(
    context: typer.Context,
    last: Annotated[int, typer.Option(min=1, help="So many entries, the newest.")] = 50,
    as_json: Json = False,
) -> None:
    """Print the newest entries; the server may run."""
    load("commands.auditing").show(common_of(context), last, as_json=as_json)


@app.command(epilog="Example: vdb-coordinator --dir consortium audit export -o audit.jsonl")
def export(
    context: typer.Context,
    output: Annotated[Path, typer.Option("-o", "--output", help="New file.", show_default=False)],
) -> None:
    """Write all entries up to the end that the coordinator signed last; the server may run."""
    load("commands.auditing").export(common_of(context), output)


@app.command(epilog="Example: vdb-coordinator audit verify audit.jsonl --key KEY --earlier last-year.jsonl")
def verify(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Export.", show_default=False)],
    key: Annotated[
        str,
        typer.Option(help="Key of the consortium's log, from elsewhere. [default: that of --dir]", show_default=False),
    ] = "",
    earlier: Annotated[
        list[Path] | None,
        typer.Option(help="Earlier export, which must be its beginning; once for each.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that an export is whole, in order, signed, and goes on from earlier ones; needs no coordinator and no network."""
    load("commands.auditing").verify(common_of(context), file, key, tuple(earlier or ()), as_json=as_json)
