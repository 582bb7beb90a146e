"""`vdb-audit`: verify result bundles offline, look into them, compare them, attest what was found.

With `commands.py` and `reading.py` the only modules of the audit that print, read files or exit.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from vdb_shared.audit import commands, spot_commands, time_commands
from vdb_shared.audit.html import leaderboard_page, report_page
from vdb_shared.audit.inspect import describe, describe_statement, is_statement
from vdb_shared.audit.leaderboard import board_json, leaderboard_of
from vdb_shared.audit.log_files import check_remembered, fetch_from, open_log
from vdb_shared.audit.monitor import monitor
from vdb_shared.audit.options import Bundle, Html, Json, Log, PassphraseFile, PolicyFile, Root
from vdb_shared.audit.reading import console as _console
from vdb_shared.audit.reading import note_in, say_unpinned, say_where_log, statements_in
from vdb_shared.audit.reading import policy_of as _policy
from vdb_shared.audit.reading import print_json as _print_json
from vdb_shared.audit.reading import root_of as _root
from vdb_shared.audit.reading import write_file as _write
from vdb_shared.audit.text import print_facts, print_leaderboard, print_monitored, print_report, standing_lines
from vdb_shared.audit.vbench import print_vbench, vbench_reports
from vdb_shared.audit.verify import verify as audit
from vdb_shared.bundle.archive import MAX_BUNDLE_BYTES, read_archive
from vdb_shared.bundle.record import METRICS
from vdb_shared.commandline import run_script
from vdb_shared.errors import FormatError, SignatureError, UsageError
from vdb_shared.named_files import read_file as _read
from vdb_shared.named_files import spare
from vdb_shared.transparency.checkpoint import read_checkpoint
from vdb_shared.transparency.note import MAX_NOTE_BYTES, NoteKey, parse_key

app = typer.Typer(
    help="Verify the result of a federated benchmark from one file: no server, no account, no network.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

Attest = Annotated[
    Path | None, typer.Option(help="If it passes, write what was verified, signed by --key.", show_default=False)
]
Key = Annotated[Path | None, typer.Option(help="Your key, as `vdb-audit key` makes it.", show_default=False)]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")] = False,
) -> None:
    pass


@app.command(
    epilog="Example: vdb-audit verify result.vdbb --root sha256:4d68… --attest result.svr.json --key auditor.pem"
)
def verify(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    bundle: Bundle,
    root: Root = None,
    policy: PolicyFile = None,
    log: Log = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Checkpoint of the log that you kept, as monitor --remember writes it.", show_default=False),
    ] = None,
    statements: Annotated[
        Path | None,
        typer.Option(help="Folder with objections to the result, and its withdrawal: *.dsse.json.", show_default=False),
    ] = None,
    time_stamp: time_commands.TimeStampFile = None,
    tsa_roots: time_commands.TsaRoots = None,
    json: Json = False,
    html: Html = None,
    attest: Attest = None,
    key: Key = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Try every check on a bundle and say PASS, FAIL or NOT PROVEN for each.

    Exit status: 0 everything holds, 1 a check failed, 2 wrong usage or output, 3 a required check could not be tried.
    """
    if key is not None and attest is None and log is not None:
        raise UsageError(
            "--key is your own, to sign what --attest writes; leave it out: the key of the log needs no option here, the "
            "bundle's roster names it, for which the trust root vouches"
        )
    if (attest is None) != (key is None):
        raise UsageError("--attest and --key go together; `vdb-audit key FILE` makes a key")
    pinned, demands = _root(root), _policy(policy)
    given = [path for path in (bundle, policy, checkpoint, time_stamp, tsa_roots, key) if path is not None]
    spare(given, (html, attest))
    report = audit(
        _read(bundle, MAX_BUNDLE_BYTES),
        root=pinned,
        policy=demands,
        fetch=None if log is None else fetch_from(log),
        remembered=note_in(checkpoint),
        statements=statements_in(statements),
        stamp=time_commands.given_stamp(time_stamp, tsa_roots),
    )
    if html is not None:
        _write(html, report_page(report))
    if json:
        _print_json(report.to_json())
    else:
        print_report(_console(), report)
    say_where_log(report.lines, log)
    if attest is not None and key is not None:
        commands.write_attestation(report, demands, pinned, attest, (key, passphrase_file))
    raise typer.Exit(report.exit_code)


@app.command(epilog="Example: vdb-audit inspect result.vdbb --json")
def inspect(bundle: Bundle, json: Json = False) -> None:
    """Show what a bundle, or an objection or withdrawal, says about itself, without verifying anything."""
    data = _read(bundle, MAX_BUNDLE_BYTES)
    if is_statement(data):
        _inspect_statement(bundle, data, json=json)
        return
    try:
        description = describe(data)
    except FormatError as error:
        raise FormatError(f"{bundle}: {error}") from error
    if json:
        _print_json(description.to_json())
        return
    console = _console()
    console.print(str(bundle), soft_wrap=True)
    print_facts(console, description.facts)
    console.print()
    for name, size in description.members.items():
        console.print(f"{size:>12,}  {name}", soft_wrap=True)
    console.print("\nNothing was verified; use: vdb-audit verify", soft_wrap=True)


def _inspect_statement(file: Path, data: bytes, *, json: bool) -> None:
    try:
        said = describe_statement(data)
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from error
    if json:
        _print_json(said)
        return
    _console().print(str(file), soft_wrap=True)
    for name, value in said.items():
        _console().print(f"{name:<14}{value}", soft_wrap=True)
    _console().print("\nNothing was verified; use: vdb-audit verify BUNDLE --statements FOLDER", soft_wrap=True)


@app.command(epilog="Example: vdb-audit leaderboard spring.vdbb autumn.vdbb --html leaderboard.html --csv figures.csv")
def leaderboard(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    bundles: Annotated[list[Path], typer.Argument(help="One or more result bundles.", show_default=False)],
    root: commands.Roots = None,
    policy: PolicyFile = None,
    log: commands.Logs = None,
    json: Json = False,
    html: Html = None,
    csv: Annotated[Path | None, typer.Option(help="Also write all figures as CSV.", show_default=False)] = None,
    latex: Annotated[Path | None, typer.Option(help="Also write tables for LaTeX.", show_default=False)] = None,
) -> None:
    """Verify bundles, then show which model is best at what, with intervals and ranks.

    Of several bundles there is one table for all figures on one scale; results are not ranked against each other.
    """
    spare([*bundles, *([] if policy is None else [policy])], (html, csv, latex))
    opened = commands.open_all(bundles, root, _policy(policy), log)
    commands.write_tables(opened, csv, latex)
    if len(bundles) > 1:
        commands.show_boards(opened, as_json=json, html=html)
        return
    data = _read(bundles[0], MAX_BUNDLE_BYTES)
    board = leaderboard_of(data, opened[0].report)
    if html is not None:
        _write(html, leaderboard_page(board))
    if json:
        _print_json(board_json(data, opened[0].report))
    else:
        print_leaderboard(_console(), board)


app.command(epilog="Example: vdb-audit compare spring.vdbb autumn.vdbb --html compared.html")(commands.compare)
app.command(
    name="object",
    epilog="Example: vdb-audit object result.vdbb --reason figures --text 'the plan had other prompts' --key auditor.pem "
    "--out objection.dsse.json",
)(commands.object_)
app.command(name="key", epilog="Example: vdb-audit key auditor.pem")(commands.new_key)
app.command(epilog="Example: vdb-audit attestation result.svr.json --key auditor.pub.pem --bundle result.vdbb")(
    commands.attestation
)

app.command(
    "time-stamp", epilog="Example: vdb-audit time-stamp result.vdbb --tsa http://tsa.example.org --out result.tsr"
)(time_commands.time_stamp)

app.command("choose-sample", epilog="Example: vdb-audit choose-sample result.vdbb --log URL --out choice.json")(
    spot_commands.choose_sample
)
app.command("check-sample", epilog="Example: vdb-audit check-sample result.vdbb samples.vdbs --count 30 --log URL")(
    spot_commands.check_sample
)


@app.command(epilog="Example: vdb-audit vbench figures.json")
def vbench(
    file: Annotated[Path, typer.Argument(help="Result bundle, or figures that `run -o` wrote.", show_default=False)],
    root: Root = None,
    policy: PolicyFile = None,
    log: Log = None,
    json: Json = False,
) -> None:
    """Show figures in VBench's terms, for the dimensions that were measured, and say what cannot be compared.

    A bundle is verified first; figures in a file of their own are taken as they are.
    """
    data, standing = _read(file, MAX_BUNDLE_BYTES), None
    alone = data[:64].lstrip().startswith(b"{")
    if alone:
        if log is not None:
            raise UsageError(f"{file}: figures in a file of their own stand in no log; give --log with a bundle")
    else:
        given = [None if item is None else [item] for item in (root, log)]
        (bundle,) = commands.open_all([file], given[0], _policy(policy), given[1])
        data, standing = read_archive(data)[METRICS], bundle.report.standing
    reports = vbench_reports(data, file=str(file), mark="" if standing is None else standing.mark)
    if not reports:
        raise UsageError(f"{file}: no figure of it stands for a dimension of VBench")
    if json:
        _print_json([report.to_json() for report in reports])
        return
    for sentence in standing_lines(standing):
        _console().print(sentence, soft_wrap=True)
    print_vbench(_console(), reports)
    if not alone:
        say_unpinned(root, _policy(policy))


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
    kept = None if remember is None else _remembered(remember, known)
    tiles, note = open_log(log, known)
    if kept is not None:
        check_remembered(tiles, kept, known)
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


def _key(text: str) -> NoteKey:
    try:
        return parse_key(text)
    except FormatError as error:
        raise UsageError(
            f"--key: {error}; copy all of the line that `vdb-coordinator log` prints to the lead"
        ) from error


def _remembered(path: Path, key: NoteKey) -> bytes | None:
    """Return the checkpoint of the last reading, or None before the first."""
    if not path.exists():
        if not path.parent.is_dir():
            raise UsageError(f"{path}: its folder does not exist; make it first")
        return None
    note = _read(path, MAX_NOTE_BYTES)
    try:
        read_checkpoint(note, key)
    except (FormatError, SignatureError) as error:
        raise UsageError(f"{path}: is no checkpoint of this log that --remember kept: {error}") from error
    return note


if __name__ == "__main__":
    main()
