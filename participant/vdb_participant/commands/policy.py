"""`vdb-participant policy`: the site's own rules.

Like `cli.py`, to which it belongs, it loads what a command needs when it runs.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="The site's own rules, which no spec overrides.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Keep `lint` a command of its own, though it is the only one."""


@app.command(epilog="Example: vdb-participant policy lint --spec spec.toml")
def lint(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="Policy. [default: DIR/policy.toml]", show_default=False)] = None,
    spec: Annotated[Path | None, typer.Option(help="Also say whether the policy allows this spec.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Explain every mistake in policy.toml with its line, and rules that cannot mean what they seem to."""
    state = importlib.import_module("vdb_participant.site.config").state_folder(context.obj.folder)
    found = _commands().examine(state, file or state.policy, spec)
    if as_json:
        sys.stdout.write(_commands().encoded(found))
    else:
        _commands().tell(found)
    if found.refused:
        raise typer.Exit(1)


def _commands() -> Any:
    return importlib.import_module("vdb_participant.commands.policing")
