"""`vdb-audit`: verify result bundles offline, look into them, show their leaderboards.

The only module of the audit that prints, reads files or exits.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vdb_shared.audit.html import leaderboard_page, report_page
from vdb_shared.audit.inspect import describe
from vdb_shared.audit.leaderboard import leaderboard_of
from vdb_shared.audit.log_files import check_remembered, fetch_from, open_log
from vdb_shared.audit.monitor import monitor
from vdb_shared.audit.policy import DEFAULT_POLICY, MAX_POLICY_BYTES, Policy, parse_policy
from vdb_shared.audit.text import print_facts, print_leaderboard, print_monitored, print_report
from vdb_shared.audit.vbench import print_vbench, vbench_reports
from vdb_shared.audit.verify import verify as audit
from vdb_shared.bundle.archive import MAX_BUNDLE_BYTES, read_archive
from vdb_shared.bundle.record import METRICS
from vdb_shared.canonical import canonical_json, check_digest, sha256_digest
from vdb_shared.commandline import run_script
from vdb_shared.errors import FormatError, UsageError
from vdb_shared.transparency.note import MAX_NOTE_BYTES, NoteKey, parse_key

MAX_ROOT_BYTES = 2**20

app = typer.Typer(
    help="Verify the result of a federated benchmark from one file: no server, no account, no network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

Bundle = Annotated[Path, typer.Argument(help="The result bundle, such as result.vdbb.", show_default=False)]
Root = Annotated[
    str | None,
    typer.Option(help="Trust root you know from elsewhere: sha256:<digest>, or its root.json.", show_default=False),
]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="TOML file with your own bounds; see §10.3.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Html = Annotated[Path | None, typer.Option("--html", help="Also write a self-contained HTML page.", show_default=False)]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")] = False,
) -> None:
    pass


@app.command(epilog="Example: vdb-audit verify result.vdbb --root sha256:4d68… --html report.html")
def verify(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    bundle: Bundle,
    root: Root = None,
    policy: PolicyFile = None,
    log: Annotated[
        str | None,
        typer.Option(help="Also read the consortium's log: its URL, or a folder with its files.", show_default=False),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Checkpoint of the log that you kept, as monitor --remember writes it.", show_default=False),
    ] = None,
    json: Json = False,
    html: Html = None,
) -> None:
    """Try every check on a bundle and say PASS, FAIL or NOT PROVEN for each.

    Exit status: 0 everything holds, 1 a check failed, 2 wrong usage, 3 a required check could not be tried.
    """
    report = audit(
        _read(bundle, MAX_BUNDLE_BYTES),
        root=_root(root),
        policy=_policy(policy),
        fetch=None if log is None else fetch_from(log),
        remembered=None if checkpoint is None else _read(checkpoint, MAX_NOTE_BYTES),
    )
    if html is not None:
        _write(html, report_page(report))
    if json:
        _print_json(report.to_json())
    else:
        print_report(_console(), report)
    raise typer.Exit(report.exit_code)


@app.command(epilog="Example: vdb-audit inspect result.vdbb --json")
def inspect(bundle: Bundle, json: Json = False) -> None:
    """Show what a bundle says about itself, without verifying anything."""
    description = describe(_read(bundle, MAX_BUNDLE_BYTES))
    if json:
        _print_json(description.to_json())
        return
    console = _console()
    print_facts(console, description.facts)
    console.print()
    for name, size in description.members.items():
        console.print(f"{size:>12,}  {name}", soft_wrap=True, highlight=False)
    console.print("\nNothing was verified; use: vdb-audit verify", soft_wrap=True)


@app.command(epilog="Example: vdb-audit leaderboard result.vdbb --html leaderboard.html")
def leaderboard(
    bundle: Bundle, root: Root = None, policy: PolicyFile = None, json: Json = False, html: Html = None
) -> None:
    """Verify a bundle, then show which model is best at what, with intervals and ranks."""
    data = _read(bundle, MAX_BUNDLE_BYTES)
    board = leaderboard_of(data, audit(data, root=_root(root), policy=_policy(policy)))
    if html is not None:
        _write(html, leaderboard_page(board))
    if json:
        sys.stdout.write(read_archive(data)[METRICS].decode("utf-8") + "\n")
    else:
        print_leaderboard(_console(), board)


@app.command(epilog="Example: vdb-audit vbench figures.json")
def vbench(
    file: Annotated[Path, typer.Argument(help="Result bundle, or figures that `run -o` wrote.", show_default=False)],
    root: Root = None,
    policy: PolicyFile = None,
    json: Json = False,
) -> None:
    """Show figures in VBench's terms, for the dimensions that were measured, and say what cannot be compared.

    A bundle is verified first; figures in a file of their own are taken as they are.
    """
    data = _read(file, MAX_BUNDLE_BYTES)
    if not data[:64].lstrip().startswith(b"{"):
        leaderboard_of(data, audit(data, root=_root(root), policy=_policy(policy)))
        data = read_archive(data)[METRICS]
    reports = vbench_reports(data, file=str(file))
    if not reports:
        raise UsageError(f"{file}: no figure of it stands for a dimension of VBench")
    if json:
        _print_json([report.to_json() for report in reports])
    else:
        print_vbench(_console(), reports)


@app.command(
    name="monitor",
    epilog="Example: vdb-audit monitor https://log.example.org --key lung-video/vdb-log+4f2a… --remember seen",
)
def monitor_log(
    log: Annotated[str, typer.Argument(help="The log: its URL, or a folder with its files.", show_default=False)],
    key: Annotated[str, typer.Option(help="Key of the log, as `vdb-coordinator log` prints it.", show_default=False)],
    remember: Annotated[
        Path | None,
        typer.Option(
            help="File that keeps the newest checkpoint, to see next time that the log only grew.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Read a consortium's whole transparency log: every session that was opened, and what became of it.

    Exit status: 0 nothing is wrong, 1 something is, or a session that should have ended has not.
    """
    known = _key(key)
    tiles, note = open_log(log, known)
    if remember is not None and remember.exists():
        check_remembered(tiles, _read(remember, MAX_NOTE_BYTES), known)
    found = monitor(tiles.checkpoint, tiles.entries(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    if json:
        _print_json(found.to_json())
    else:
        print_monitored(_console(), found)
    if remember is not None:
        _write(remember, note.decode("utf-8"))
    raise typer.Exit(1 if found.alarming else 0)


def main() -> None:
    """Run the command line."""
    run_script(app)


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def _print_json(value: object) -> None:
    sys.stdout.write(canonical_json(value).decode("utf-8") + "\n")


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise UsageError(f"{path}: is larger than the {limit} bytes that are accepted")
    return data


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def _root(given: str | None) -> str | None:
    if given is None:
        return None
    if not given.startswith("sha256:"):
        return sha256_digest(_read(Path(given), MAX_ROOT_BYTES))
    try:
        return check_digest(given)
    except FormatError as error:
        raise UsageError(f"--root: {error}") from error


def _key(text: str) -> NoteKey:
    try:
        return parse_key(text)
    except FormatError as error:
        raise UsageError(f"--key: {error}; ask the lead, who sees it with `vdb-coordinator log`") from error


def _policy(path: Path | None) -> Policy:
    return DEFAULT_POLICY if path is None else parse_policy(_read(path, MAX_POLICY_BYTES), file=str(path))


if __name__ == "__main__":
    main()
