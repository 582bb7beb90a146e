"""`vdb-coordinator approvals`: what one lead alone cannot order, from proposal to deed.

Leaves what the commands do to `approving.py`, which is imported when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vdb_coordinator.commands.terminal import common_of, load

app = typer.Typer(
    help="Order together what coordinator.toml wants several people to sign.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
propose_app = typer.Typer(
    help="Write down what is to be done, for others to sign.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(propose_app, name="propose")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="New file, to be signed.", show_default=False)]
File = Annotated[Path, typer.Argument(help="Proposal.", show_default=False)]
Name = Annotated[str, typer.Argument(help="Name of the institution or the auditor.", show_default=False)]
Session = Annotated[str, typer.Argument(help="Session id, or its beginning.", show_default=False)]
Why = Annotated[str, typer.Option(help="Why.", show_default=False)]


@app.command(epilog="Example: vdb-coordinator approvals key anna.pem")
def key(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="New file for the private key.", show_default=False)],
    plaintext_keys: Annotated[
        bool, typer.Option("--plaintext-keys", help="Store the key unencrypted (tests only).")
    ] = False,
) -> None:
    """Make a key on its holder's own machine, and print what the lead puts into coordinator.toml."""
    passphrase = None if plaintext_keys else common_of(context).new_passphrase()
    _commands().key(file, passphrase)


@propose_app.command(epilog="Example: vdb-coordinator approvals propose revoke hospital-a --reason left -o revoke.json")
def revoke(
    context: typer.Context,
    institution: Name,
    reason: Annotated[str, typer.Option(help="compromised or left.", show_default=False)],
    output: Output,
    note: Annotated[str, typer.Option(help="More words, for the audit log.", show_default=False)] = "",
) -> None:
    """Propose to end a membership."""
    _commands().propose_revocation(common_of(context), institution, reason, note, output)


@propose_app.command(
    epilog="Example: vdb-coordinator approvals propose abort 4f2a --reason 'wrong prompts' -o abort.json"
)
def abort(context: typer.Context, session: Session, reason: Why, output: Output) -> None:
    """Propose to end a session without a result."""
    _commands().propose(common_of(context), "abort_session", {"session": session, "reason": reason}, output)


@propose_app.command(
    name="close-early", epilog="Example: vdb-coordinator approvals propose close-early 4f2a -o close.json"
)
def close_early(context: typer.Context, session: Session, output: Output) -> None:
    """Propose to end joining or computing before its deadline, with the institutions that are there now."""
    _commands().propose(common_of(context), "close_early", {"session": session}, output)


@propose_app.command(epilog="Example: vdb-coordinator approvals propose withdraw 4f2a --reason 'other clips' -o w.json")
def withdraw(
    context: typer.Context,
    session: Session,
    reason: Why,
    output: Output,
    superseded_by: Annotated[str, typer.Option(help="Session whose result replaces it.", show_default=False)] = "",
) -> None:
    """Propose to withdraw a published result."""
    fields = {"session": session, "reason": reason, "superseded_by": superseded_by}
    _commands().propose(common_of(context), "withdraw_result", fields, output)


@propose_app.command(
    epilog="Example: vdb-coordinator approvals propose approve hospital-a --fingerprint FFFF -o a.json"
)
def approve(
    context: typer.Context,
    institution: Name,
    fingerprint: Annotated[str, typer.Option(help="What the institution read out.", show_default=False)],
    output: Output,
) -> None:
    """Propose to make an institution a member; whoever signs has compared the fingerprint."""
    fields = {"institution": institution, "fingerprint": fingerprint}
    _commands().propose(common_of(context), "approve_enrolment", fields, output)


@propose_app.command(epilog="Example: vdb-coordinator approvals propose admit court auditor.pub.pem -o admit.json")
def admit(
    context: typer.Context,
    name: Name,
    public: Annotated[Path, typer.Argument(help="Public key, as `vdb-audit key` writes it.", show_default=False)],
    output: Output,
) -> None:
    """Propose to admit an auditor."""
    _commands().propose_auditor(common_of(context), name, public, output)


@propose_app.command(
    epilog="Example: vdb-coordinator approvals propose restore testbed.vdbbackup --entries 240 -o restore.json"
)
def restore(
    backup: Annotated[Path, typer.Argument(help="Backup.", show_default=False)],
    entries: Annotated[
        int,
        typer.Option(
            min=0, help="Entries that the log at least has: the newest that anybody has seen.", show_default=False
        ),
    ],
    output: Output,
    nothing_lost: Annotated[
        bool, typer.Option("--nothing-lost", help="Nobody served after this backup: open sessions go on.")
    ] = False,
    hours: Annotated[int, typer.Option(min=1, help="How long it may be signed and done.")] = 72,
) -> None:
    """Propose to restore a backup; asks no coordinator. `restore --order FILE` does it."""
    _commands().propose_restoration(backup, entries, hours, output, nothing_lost=nothing_lost)


@propose_app.command(
    name="install-root",
    epilog="Example: vdb-coordinator --dir consortium approvals propose install-root next-root.json -o order.json",
)
def install_root(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Proposed version of the trust root.", show_default=False)],
    output: Output,
) -> None:
    """Propose to install a version of the trust root; asks no coordinator. `root install --order FILE` does it."""
    _commands().propose_root(common_of(context), file, output)


@app.command(epilog="Example: vdb-coordinator approvals show revoke.json")
def show(file: File) -> None:
    """Print what a proposal says, word for word; asks nobody."""
    _commands().show(file)


@app.command(epilog="Example: vdb-coordinator approvals sign revoke.json --name anna --key anna.pem")
def sign(
    context: typer.Context,
    file: File,
    name: Annotated[str, typer.Option(help="Your name in coordinator.toml.", show_default=False)],
    private_key: Annotated[Path, typer.Option("--key", help="Your key.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Show a proposal and sign it; writes FILE.NAME.sig for the lead. Needs no coordinator and no network."""
    _commands().sign(common_of(context), file, name, private_key, yes=yes)


@app.command(epilog="Example: vdb-coordinator --dir consortium approvals submit revoke.json revoke.json.anna.sig")
def submit(
    context: typer.Context,
    file: File,
    signatures: Annotated[list[Path], typer.Argument(help="Signatures of it.", show_default=False)],
) -> None:
    """Hand signatures of a proposal to the coordinator."""
    _commands().submit(common_of(context), file, tuple(signatures))


@app.command(name="list", epilog="Example: vdb-coordinator --dir consortium approvals list")
def list_proposals(context: typer.Context, as_json: Json = False) -> None:
    """List what waits for signatures, and who has signed."""
    _commands().list_proposals(common_of(context), as_json=as_json)


@app.command(epilog="Example: vdb-coordinator --dir consortium approvals execute revoke.json")
def execute(context: typer.Context, file: File) -> None:
    """Do what enough people have signed; once."""
    _commands().execute(common_of(context), file)


def _commands() -> Any:
    return load("commands.approving")
