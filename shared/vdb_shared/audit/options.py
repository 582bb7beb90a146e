"""Arguments and options that several commands of `vdb-audit` have in common: one help text for one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Bundle = Annotated[Path, typer.Argument(help="The result bundle, such as result.vdbb.", show_default=False)]
Root = Annotated[
    str | None,
    typer.Option(help="Trust root you know from elsewhere: sha256:<digest>, or its root.json.", show_default=False),
]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="TOML file with your own bounds; see §10.3.", show_default=False)
]
Log = Annotated[
    str | None,
    typer.Option(help="Also read the consortium's log: its URL, or a folder with its files.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Html = Annotated[Path | None, typer.Option("--html", help="Also write a self-contained HTML page.", show_default=False)]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="File whose first line unlocks the key; else VDB_PASSPHRASE, else a question.", show_default=False
    ),
]
