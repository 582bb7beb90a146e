"""`vdb-participant prompts`: suites to write into specs, and what is wrong with prompts or what they consist of.

Like `cli.py`, to which it belongs, it loads what a command needs when it runs.
"""

from __future__ import annotations

import importlib
import sys
from typing import Annotated, Any

import typer

from vdb_participant.commands.screen import console
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import UsageError

app = typer.Typer(
    help="Look at prompts, of suites or your own; everything is read on this machine alone and nothing is sent.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FORMS = ("text", "toml", "jsonl", "json")

Source = Annotated[
    str,
    typer.Argument(
        metavar="FILE|SUITE", help="Name of a suite, suite file (.toml), or prompts.jsonl.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command("list", epilog="Example: vdb-participant prompts list --json")
def list_suites(as_json: Json = False) -> None:
    """Show the suites that come with this package."""
    facts = _files().suite_facts()
    if as_json:
        _print_json(facts)
        return
    for suite in facts:
        console().print(f"{suite['name']:<20} {suite['prompts']:>4}  {suite['purpose']}")


@app.command(epilog="Example: vdb-participant prompts show quick --format toml >> spec.toml")
def show(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="Name of a suite, or suite file (.toml).", show_default=False)
    ],
    form: Annotated[
        str, typer.Option("--format", help="text; toml: entries of a spec; jsonl: lines of prompts.jsonl; json.")
    ] = "text",
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Only prompts with NAME=VALUE, such as category=city; may be repeated."),
    ] = None,
) -> None:
    """Print the prompts of a suite, to read or to paste; tags are no part of a spec."""
    if form not in FORMS:
        raise UsageError(f"--format {form}: expected one of {', '.join(FORMS)}")
    files = _files()
    sys.stdout.write(files.written(files.suite_prompts(suite, tag or ()), form))


@app.command(epilog="Example: vdb-participant prompts lint DIR/prompts.jsonl")
def lint(source: Source, as_json: Json = False) -> None:
    """Find mistakes in prompts, one line each, without repeating a prompt's words; nothing is sent.

    Exit status: 0 no errors (there may be warnings), 1 errors, 2 the file cannot be used.
    """
    files = _files()
    examined = files.examine(source)
    if as_json:
        _print_json(examined.to_json())
    else:
        files.print_findings(console(), examined)
    raise typer.Exit(1 if examined.errors else 0)


@app.command(epilog="Example: vdb-participant prompts stats general --json")
def stats(source: Source, as_json: Json = False) -> None:
    """Count prompts, words and tags; numbers alone, and nothing is sent."""
    files = _files()
    examined = files.examine(source)
    counts = importlib.import_module("vdb_shared.prompts.counts").count(examined.drafts)
    if as_json:
        _print_json(counts.to_json() | {"errors": len(examined.errors)})
    else:
        files.print_counts(console(), examined, counts)


def _files() -> Any:
    return importlib.import_module("vdb_participant.commands.prompt_files")


def _print_json(value: object) -> None:
    sys.stdout.write(canonical_json(value).decode() + "\n")
