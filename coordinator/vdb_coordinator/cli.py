"""`vdb-coordinator`: the lead's commands. The only module of the coordinator that exits.

Commands import what they need when they run: help and specs need no gRPC.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vdb_coordinator.commands import approvals as approvals_commands
from vdb_coordinator.commands import audit as audit_commands
from vdb_coordinator.commands import root as root_commands
from vdb_coordinator.commands import spec as spec_commands
from vdb_coordinator.commands.terminal import DIRECTORY_VARIABLE, Common, common_of, load
from vdb_shared.commandline import run_script

app = typer.Typer(
    help="Run a consortium that benchmarks video diffusion models on data that never leaves its institutions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
session_app = typer.Typer(help="Open, watch and end sessions.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(spec_commands.app, name="spec")
app.add_typer(session_app, name="session")
app.add_typer(root_commands.app, name="root")
app.add_typer(audit_commands.app, name="audit")
app.add_typer(approvals_commands.app, name="approvals")


class Reason(StrEnum):
    """Why an institution is revoked."""

    COMPROMISED = "compromised"
    LEFT = "left"


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Session = Annotated[str, typer.Argument(help="Session id, or its beginning.", show_default=False)]
Institution = Annotated[str, typer.Argument(help="Name of the institution, such as hospital-a.", show_default=False)]


class Profile(StrEnum):
    """What a bundle holds."""

    PUBLIC = "public"
    FULL = "full"


@app.callback()
def _common(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Option("--dir", envvar=DIRECTORY_VARIABLE, help="The coordinator's directory.")
    ] = Path(),
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File whose first line unlocks the keys; else VDB_PASSPHRASE, else a question.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")] = False,
) -> None:
    del debug  # read from the arguments by `main`, which also sees errors of the options themselves
    context.obj = Common(directory, passphrase_file)


@app.command(epilog="Example: vdb-coordinator init consortium --consortium lung-video --address vdb.example.org:7443")
def init(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="New directory for keys and database.", show_default=False)],
    consortium: Annotated[
        str | None, typer.Option(help="Name of the consortium. [default: the directory's name]", show_default=False)
    ] = None,
    address: Annotated[str, typer.Option(help="host:port that institutions connect to.")] = "localhost:7443",
    listen: Annotated[
        str | None, typer.Option(help="host:port to bind. [default: the address's port, on all interfaces]")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(help="postgresql://USER@HOST/NAME, password in ~/.pgpass. [default: a file in the directory]"),
    ] = None,
    plaintext_keys: Annotated[
        bool, typer.Option("--plaintext-keys", help="Store keys unencrypted (tests only).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Found a consortium: trust root, certificate authority, keys, database."""
    commands = load("commands.server")
    founded = commands.Founding(directory, consortium, address, listen, database)
    commands.init(founded, None if plaintext_keys else common_of(context).new_passphrase(), as_json=as_json)


@app.command(epilog="Example: vdb-coordinator --dir consortium serve")
def serve(
    context: typer.Context,
    listen: Annotated[str | None, typer.Option(help="host:port to bind instead of the configured one.")] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Write logs as JSON.")] = False,
) -> None:
    """Serve institutions and leads until interrupted."""
    load("commands.server").serve(common_of(context), listen, as_json=json_logs)


@app.command(epilog="Example: vdb-coordinator --dir consortium invite hospital-a -o hospital-a.invitation")
def invite(
    context: typer.Context,
    institution: Institution,
    output: Annotated[Path, typer.Option("-o", "--output", help="New file; send it privately.", show_default=False)],
) -> None:
    """Make a single-use invitation, good for 72 hours."""
    load("commands.consortium").invite(common_of(context), institution, output)


@app.command(epilog="Example: vdb-coordinator --dir consortium approve hospital-a")
def approve(
    context: typer.Context,
    institution: Institution,
    fingerprint: Annotated[
        str | None, typer.Option(help="What the institution read out; spaces do not matter.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve without comparing (tests only).")] = False,
) -> None:
    """Make an institution a member, after comparing its key's fingerprint by telephone."""
    load("commands.consortium").approve(common_of(context), institution, fingerprint, yes=yes)


@app.command(epilog="Example: vdb-coordinator --dir consortium revoke hospital-a --reason compromised")
def revoke(
    context: typer.Context,
    institution: Institution,
    reason: Annotated[
        Reason,
        typer.Option(help="What the public log will say: its key may be in other hands, or it takes part no more."),
    ],
    note: Annotated[str, typer.Option(help="More words, for the coordinator's own records.", show_default=False)] = "",
    yes: Yes = False,
) -> None:
    """End a membership for good: at once, on open connections too, and for everybody to see in the log."""
    load("commands.consortium").revoke(common_of(context), institution, reason.value, note, yes=yes)


@app.command(epilog="Example: vdb-coordinator --dir consortium auditor court auditor.pub.pem")
def auditor(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the auditor.", show_default=False)],
    key: Annotated[Path, typer.Argument(help="Public key, as `vdb-audit key` writes it.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Admit without comparing (tests only).")] = False,
) -> None:
    """Admit an auditor, who may object to results of sessions opened from now on, after comparing the key's fingerprint."""
    load("commands.objections").admit(common_of(context), name, key, yes=yes)


@app.command(epilog="Example: vdb-coordinator --dir consortium enrolments")
def enrolments(context: typer.Context, as_json: Json = False) -> None:
    """List invitations and members."""
    load("commands.consortium").enrolments(common_of(context), as_json=as_json)


@app.command(epilog="Example: vdb-coordinator --dir consortium fingerprint")
def fingerprint(context: typer.Context, as_json: Json = False) -> None:
    """Print the trust root's fingerprint, which auditors give to `vdb-audit verify --root`."""
    load("commands.consortium").fingerprint(common_of(context), as_json=as_json)


@app.command(epilog="Example: vdb-coordinator --dir consortium log")
def log(context: typer.Context, as_json: Json = False) -> None:
    """Print the transparency log's key, which auditors give to `vdb-audit monitor`, and where its files are."""
    load("commands.consortium").log(common_of(context), as_json=as_json)


@app.command(epilog="Example: vdb-coordinator --dir consortium export 4f2a -o result.vdbb")
def export(
    context: typer.Context,
    session: Session,
    output: Annotated[Path, typer.Option("-o", "--output", help="New file.", show_default=False)],
    profile: Annotated[Profile, typer.Option(help="full: for an accredited auditor alone.")] = Profile.PUBLIC,
    yes: Annotated[bool, typer.Option("--yes", help="Write the full profile without being asked.")] = False,
) -> None:
    """Write the result bundle of a published session.

    The profile full adds the masked vectors and the shares that were revealed, so that unmasking can be played again. Whoever
    has it sees what this coordinator sees: guard it as this directory. It is read from the directory; the server may run.
    """
    if profile is Profile.FULL:
        load("commands.full_profile").export_full(common_of(context), session, output, yes=yes)
    else:
        load("commands.consortium").export(common_of(context), session, output)


@app.command(epilog="Example: vdb-coordinator --dir consortium fsck")
def fsck(context: typer.Context, as_json: Json = False) -> None:
    """Read everything that is kept, while nobody serves it, and say what is damaged."""
    load("commands.upkeep").fsck(common_of(context), as_json=as_json)


@app.command(epilog="Example: vdb-coordinator --dir consortium backup --to /mnt/backups")
def backup(
    context: typer.Context,
    to: Annotated[
        Path | None, typer.Option(help="New file, or a folder that gets a dated one.", show_default=False)
    ] = None,
    check: Annotated[Path | None, typer.Option(help="Backup to check instead.", show_default=False)] = None,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Leave the private keys out; `restore` asks for them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write all that is kept into one file, also while it is served; the file holds the private keys."""
    load("commands.backup").backup(common_of(context), to, check, with_keys=not without_keys, as_json=as_json)


@app.command(
    epilog="Example: vdb-coordinator restore backup.vdbbackup --into consortium --log https://log.example.org "
    "--log hospital-a-checkpoint"
)
def restore(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Backup.", show_default=False)],
    into: Annotated[Path, typer.Option(help="New directory.", show_default=False)],
    database: Annotated[
        str | None,
        typer.Option(help="Empty PostgreSQL database. [default: a file in the directory]", show_default=False),
    ] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(
            help="Newest log: URL or folder, and checkpoints of institutions, once for each.", show_default=False
        ),
    ] = None,
    newest_known: Annotated[
        int | None,
        typer.Option(min=0, help="Entries of the newest log that anybody has seen: ask all.", show_default=False),
    ] = None,
    nothing_lost: Annotated[
        bool, typer.Option("--nothing-lost", help="Nobody served after this backup: open sessions go on.")
    ] = False,
    keys: Annotated[
        Path | None, typer.Option(help="Folder with the keys, for a backup without them.", show_default=False)
    ] = None,
    order: Annotated[
        Path | None,
        typer.Option(
            help="What several people signed, where the backup's policy wants that; signatures beside it.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a coordinator from a backup, which goes on from the newest log; say what is lost, and check everything."""
    commands, restoring = load("commands.backup"), load("backups.restoring")
    handed = None if order is None else load("commands.order_files").read_order(order)
    wish = restoring.Wish(file, into, database, tuple(log or ()), newest_known, nothing_lost, keys, handed)
    commands.restore(common_of(context), wish, as_json=as_json)


@session_app.command(epilog="Example: vdb-coordinator --dir consortium session create spec.toml")
def create(
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(help="Benchmark spec, TOML.", show_default=False)],
    supersedes: Annotated[
        str,
        typer.Option(help="Published session whose result this one is to replace; said to all.", show_default=False),
    ] = "",
    as_json: Json = False,
) -> None:
    """Open a session for all members; prints its id."""
    load("commands.session").create(common_of(context), spec, supersedes, as_json=as_json)


@session_app.command(
    epilog="Example: vdb-coordinator session plan spec.toml --participants 8 --records 2000 --plot plan.html. "
    "SPEC may also be the name of a preset; its weights need not be pinned."
)
def plan(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    spec: Annotated[str, typer.Argument(help="Benchmark spec, TOML, or name of a preset.", show_default=False)],
    participants: Annotated[
        int | None, typer.Option(help="Institutions that join. [default: the spec's minimum]", show_default=False)
    ] = None,
    records: Annotated[
        int | None, typer.Option(help="Reference clips of each. [default: the spec's maximum]", show_default=False)
    ] = None,
    prompts: Annotated[
        int | None, typer.Option(help="Private prompts of each. [default: as many as records]", show_default=False)
    ] = None,
    dropout: Annotated[float, typer.Option(help="Share of them that drops out.")] = 0.0,
    like: Annotated[
        Path | None, typer.Option(help="Result bundle of an earlier session to guess from.", show_default=False)
    ] = None,
    guess: Annotated[
        Path | None, typer.Option(help="TOML file with guesses; goes before --like.", show_default=False)
    ] = None,
    guess_template: Annotated[
        bool, typer.Option("--guess-template", help="Print a guess file to edit, and plan nothing.")
    ] = False,
    seconds_per_clip: Annotated[
        list[str] | None, typer.Option(help="MODEL=SECONDS, for GPU-hours; once for each model.", show_default=False)
    ] = None,
    sessions: Annotated[
        int | None, typer.Option(help="Sessions to draw. [default: 45, fewer for large specs]", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="New file, .html or .svg, with a picture of the plan.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a session would tell and cost, before anybody commits to it; needs no coordinator."""
    commands = load("commands.plan")
    sources = commands.Sources(like, guess, tuple(seconds_per_clip or ()))
    cohort = commands.Cohort(participants, records, prompts, dropout)
    if guess_template:
        commands.print_template(spec, sources)
    else:
        commands.plan(spec, cohort, sources, commands.Output(plot, as_json, sessions))


@session_app.command(name="list", epilog="Example: vdb-coordinator --dir consortium session list")
def list_sessions(context: typer.Context, as_json: Json = False) -> None:
    """List all sessions, oldest first."""
    load("commands.session").list_sessions(common_of(context), as_json=as_json)


@session_app.command(epilog="Example: vdb-coordinator --dir consortium session status 4f2a")
def status(context: typer.Context, session: Session, as_json: Json = False) -> None:
    """Show how far a session and each institution is."""
    load("commands.session").status(common_of(context), session, as_json=as_json)


@session_app.command(epilog="Example: vdb-coordinator --dir consortium session watch 4f2a")
def watch(context: typer.Context, session: Session, as_json: Json = False) -> None:
    """Print every change until the session has ended; exit status 0 when it was published, 1 when aborted."""
    load("commands.session").watch(common_of(context), session, as_json=as_json)


@session_app.command(epilog="Example: vdb-coordinator --dir consortium session abort 4f2a --reason 'wrong prompts'")
def abort(
    context: typer.Context,
    session: Session,
    reason: Annotated[str, typer.Option(help="Why; every institution sees it.", show_default=False)],
    yes: Yes = False,
) -> None:
    """End a session without a result."""
    load("commands.session").abort(common_of(context), session, reason, yes=yes)


@session_app.command(name="object", epilog="Example: vdb-coordinator session object 4f2a objection.dsse.json")
def carry_objection(
    context: typer.Context,
    session: Session,
    file: Annotated[Path, typer.Argument(help="Signed objection, as `vdb-audit object` makes it.", show_default=False)],
) -> None:
    """Hand in an auditor's objection to a published result; it is logged as it is."""
    load("commands.objections").carry(common_of(context), session, file)


@session_app.command(
    epilog="Example: vdb-coordinator session withdraw 4f2a --reason 'a site used other clips' --superseded-by 77c0"
)
def withdraw(
    context: typer.Context,
    session: Session,
    reason: Annotated[str, typer.Option(help="Why; everybody can read it.", show_default=False)],
    superseded_by: Annotated[
        str, typer.Option(help="Session whose result replaces it, or is to.", show_default=False)
    ] = "",
    yes: Yes = False,
) -> None:
    """Withdraw a published result: signed and logged for good. The result stays readable."""
    load("commands.objections").withdraw(common_of(context), session, reason, superseded_by, yes=yes)


@session_app.command(epilog="Example: vdb-coordinator session objections 4f2a --out statements")
def objections(
    context: typer.Context,
    session: Session,
    out: Annotated[Path, typer.Option(help="Folder to write the signed statements to.", show_default=False)],
) -> None:
    """Write all objections to a result, and its withdrawal, as files for `vdb-audit verify --statements`."""
    load("commands.objections").fetch(common_of(context), session, out)


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what went wrong is said in our own words
    run_script(app, extra="coordinator")
