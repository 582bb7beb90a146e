"""Where passphrases come from: a file, the environment, or a question at a terminal; asked for when they are needed."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer

from vdb_shared.commandline import secret


def passphrase_of(context: typer.Context) -> Any:
    """Return what gives the passphrase of the site's keys; see `site.keys.passphrase_from`."""
    ask = (lambda: secret("Passphrase of the keys")) if sys.stdin.isatty() else None
    return importlib.import_module("vdb_participant.site.keys").passphrase_from(context.obj.passphrase_file, ask)


def new_passphrase_of(context: typer.Context, *, plaintext: bool) -> Any:
    """Return what gives a passphrase for new keys, asked for twice; None where they are to lie unencrypted."""
    if plaintext:
        return None
    ask = (lambda: secret("New passphrase for the keys", twice=True)) if sys.stdin.isatty() else None
    return importlib.import_module("vdb_participant.site.keys").passphrase_from(context.obj.passphrase_file, ask)
