"""The two commands of `vdb-audit` for spot checks: ask an institution for records, and check those that it opened.

With `cli.py`, `commands.py` and `reading.py` the only modules of the audit that print, read files or exit.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.log_files import fetch_from, open_log
from vdb_shared.audit.options import Bundle, Json, Log, PolicyFile, Root
from vdb_shared.audit.reading import (
    console,
    note_or_choice_in,
    policy_of,
    print_json,
    root_of,
    say_unpinned,
    say_where_log,
    write_file,
)
from vdb_shared.audit.spot_check import Asked, check_samples
from vdb_shared.audit.text import print_line
from vdb_shared.audit.verified import open_verified
from vdb_shared.bundle.archive import MAX_BUNDLE_BYTES
from vdb_shared.bundle.sample_choice import choice_of, place_of
from vdb_shared.bundle.samples import MOST_OPENED
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.errors import UsageError
from vdb_shared.named_files import read_file
from vdb_shared.roster import Roster


def choose_sample(
    bundle: Bundle,
    log: Annotated[
        str, typer.Option(help="The consortium's log: its URL, or a folder with its files.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="File to write, such as choice.json.", show_default=False)],
    root: Root = None,
    policy: PolicyFile = None,
) -> None:
    """Write the file with which to ask an institution for records: how the log grew after the result.

    The same for every institution and every auditor: nobody chooses. Needs an entry in the log after the result's.
    """
    pinned, demands = root_of(root), policy_of(policy)
    if out.exists():
        raise UsageError(f"{out}: exists already; name another file or remove it")
    data = read_file(bundle, MAX_BUNDLE_BYTES)
    open_verified(str(bundle), data, root=pinned, policy=demands)
    evidence = Evidence(data, pinned or demands.root, demands, draft=False)
    key = log_key(evidence.roster)
    tiles, note = open_log(log, key)
    choice = choice_of(tiles, note, place_of(evidence.result_proof, key))
    write_file(out, choice.encode().decode("ascii"))
    console().print(
        f"{out}: written; an institution answers it with `vdb-participant prove-sample {evidence.result.session[7:19]} "
        f"--checkpoint {shlex.quote(out.name)} --auditor {_auditor(evidence.roster)} --out samples.vdbs`",
        soft_wrap=True,
    )


def check_sample(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    bundle: Bundle,
    file: Annotated[Path, typer.Argument(help="What `vdb-participant prove-sample` wrote.", show_default=False)],
    count: Annotated[int, typer.Option(min=1, max=MOST_OPENED, help="Fewest records that you asked for.")] = 30,
    root: Root = None,
    policy: PolicyFile = None,
    log: Log = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="The file with which you asked, or a checkpoint that you kept.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Check records that an institution opened: are they the ones that the log chose, from the list it had committed to?

    Exit status: 0 everything holds, 1 something does not, 2 wrong usage or output, 3 something could not be tried.
    """
    asked = Asked(
        count,
        root_of(root),
        policy_of(policy),
        None if log is None else fetch_from(log),
        note_or_choice_in(checkpoint),
    )
    report = check_samples(read_file(bundle, MAX_BUNDLE_BYTES), read_file(file, MAX_BUNDLE_BYTES), asked)
    if json:
        print_json(report.to_json())
    else:
        for line in report.lines:
            print_line(console(), line)
        console().print(f"\n{report.verdict}", soft_wrap=True)
        say_unpinned(asked.root, asked.policy)
    say_where_log(report.lines, log)
    raise typer.Exit(report.exit_code)


def _auditor(roster: Roster) -> str:
    """Return for whom the command that is printed asks: the roster's auditor, or a name to be replaced."""
    known = [member.institution for member in roster.members if member.role == "auditor"]
    return known[0] if len(known) == 1 else "your-name"
