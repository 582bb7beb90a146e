"""`vdb-coordinator root`: several keys for the trust root, a threshold, keys that are replaced.

Leaves what a version is to `identity/roots.py`, and what the commands do to `root_files.py`, which is imported when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vdb_coordinator.commands.terminal import common_of, load

app = typer.Typer(
    help="Keep the trust root: more keys, a threshold, keys that are replaced.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Copies = Annotated[
    list[Path], typer.Argument(help="Proposed version, in one or more signed copies.", show_default=False)
]


@app.command(epilog="Example: vdb-coordinator root key my-root-key.pem")
def key(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="New file for the private key.", show_default=False)],
    plaintext_keys: Annotated[
        bool, typer.Option("--plaintext-keys", help="Store the key unencrypted (tests only).")
    ] = False,
) -> None:
    """Make a root key on its holder's own machine; FILE.pub beside it goes to the lead."""
    passphrase = None if plaintext_keys else common_of(context).new_passphrase()
    load("commands.root_files").key(file, passphrase)


@app.command(epilog="Example: vdb-coordinator --dir consortium root show")
def show(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="Proposed version. [default: the newest one]", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a version of the trust root: its keys, how many must sign, and who has."""
    load("commands.root_files").show(common_of(context), file, as_json=as_json)


@app.command(
    epilog="Example: vdb-coordinator --dir consortium root change --add anna.pub --threshold 2 -o next-root.json"
)
def change(
    context: typer.Context,
    output: Annotated[Path, typer.Option("-o", "--output", help="New file, to be signed.", show_default=False)],
    add: Annotated[
        list[Path] | None, typer.Option(help="Public key of a new holder, once for each.", show_default=False)
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(help="Fingerprint of a key that is to go, once for each.", show_default=False)
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(min=1, help="How many holders must sign from then on.", show_default=False)
    ] = None,
    new_roster_key: Annotated[
        bool, typer.Option("--new-roster-key", help="Make a new key for the roster too.")
    ] = False,
) -> None:
    """Propose the next version of the trust root; without options it only renews the expiry."""
    commands = load("commands.root_files")
    wish = commands.Wish(tuple(add or ()), tuple(remove or ()), threshold, new_roster_key)
    commands.change(common_of(context), wish, output)


@app.command(epilog="Example: vdb-coordinator root sign next-root.json --key my-root-key.pem")
def sign(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Proposed version; gets a signature.", show_default=False)],
    private_key: Annotated[
        Path | None, typer.Option("--key", help="Root key. [default: keys/root.pem in --dir]", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Sign a proposed version with a root key; needs no coordinator and no network."""
    load("commands.root_files").sign(common_of(context), file, private_key, yes=yes)


@app.command(epilog="Example: vdb-coordinator --dir consortium root install next-root.json")
def install(
    context: typer.Context,
    files: Copies,
    order: Annotated[
        Path | None,
        typer.Option(
            help="What several people signed, where coordinator.toml wants that; signatures beside it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a proposed version the trust root, once enough holders have signed; the coordinator must be stopped."""
    load("commands.root_files").install(common_of(context), files, order)
