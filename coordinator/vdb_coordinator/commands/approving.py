"""What the commands about proposals do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from vdb_coordinator.approvals import Action, Proposal, parse_proposal, proposal_digest, sign_proposal
from vdb_coordinator.backups.container import read_container
from vdb_coordinator.commands.consortium import administration
from vdb_coordinator.commands.order_files import read_proposal, read_signature
from vdb_coordinator.commands.root_files import contents_of
from vdb_coordinator.commands.terminal import Common, check_new, console, print_json, write_new
from vdb_coordinator.config import Home
from vdb_coordinator.files import read_file
from vdb_coordinator.identity.keys import is_encrypted
from vdb_coordinator.identity.roots import digest_of
from vdb_coordinator.orders import Deed, installation, restoration
from vdb_coordinator.orders import propose as propose_deed
from vdb_coordinator.service.wishes import request_for
from vdb_coordinator.serving.clock import SystemClock
from vdb_shared.audit.auditor_key import read_public_key
from vdb_shared.canonical import canonical_json, encode_base64
from vdb_shared.commandline import agreed
from vdb_shared.errors import UsageError
from vdb_shared.identity import StatementKey


def key(file: Path, passphrase: bytes | None) -> None:
    """Make a key."""
    made = StatementKey.generate()
    write_new(file, made.to_pem(passphrase), secret=True)
    screen = console()
    screen.print(f"wrote {file}; keep it; the audit log names it by its key id {made.public_key.key_id}")
    screen.print("give the lead this line for [approvals.keys] in coordinator.toml:")
    screen.print(f'NAME = "{made.public_key.raw.hex()}"')


def propose_revocation(common: Common, institution: str, reason: str, note: str, output: Path) -> None:
    """Propose a revocation."""
    if reason not in ("compromised", "left"):
        raise UsageError(f"--reason: expected compromised or left, found {reason!r}")
    fields = {"institution": institution, "reason": f"REVOCATION_REASON_{reason.upper()}", "note": note}
    propose(common, "revoke_institution", fields, output)


def propose_auditor(common: Common, name: str, public: Path, output: Path) -> None:
    """Propose to admit an auditor."""
    fields = {"name": name, "statement_key": encode_base64(read_public_key(public).raw)}
    propose(common, "admit_auditor", fields, output)


def propose(common: Common, action: Action, fields: Mapping[str, str], output: Path) -> None:
    """Have the coordinator write a proposal down, and write it to a file."""
    check_new(output)
    with administration(common) as admin:
        body = admin.propose(request_for(action, fields))
    _write(output, body)


def propose_restoration(backup: Path, entries: int, hours: int, output: Path, *, nothing_lost: bool) -> None:
    """Write down that a backup is to be restored; asks no coordinator, since there is none."""
    check_new(output)
    manifest, digest = read_container(backup)
    deed = restoration(manifest.consortium, digest, entries, nothing_lost=nothing_lost)
    _propose_deed(deed, hours, output)


def propose_root(common: Common, file: Path, output: Path) -> None:
    """Write down that a version of the trust root is to be installed; asks no coordinator, which must be stopped then."""
    check_new(output)
    config, (found, data) = Home(common.directory).read_config(), contents_of(file)
    deed = installation(config.consortium, found.version, digest_of(data))
    _propose_deed(deed, config.approvals.hours, output)


def _propose_deed(deed: Deed, hours: int, output: Path) -> None:
    _write(output, propose_deed(deed, hours, SystemClock().now()))
    console().print(f"keep {output.name} and the signatures in one folder, and give it with --order")


def _write(output: Path, body: bytes) -> None:
    write_new(output, body)
    _tell(parse_proposal(body), body)
    console().print(
        f"wrote {output}; each signer runs: vdb-coordinator approvals sign {output.name} --name NAME --key KEY"
    )


def show(file: Path) -> None:
    """Print a proposal."""
    body = read_proposal(file)
    _tell(parse_proposal(body), body)


def sign(common: Common, file: Path, name: str, private_key: Path, *, yes: bool) -> None:
    """Sign a proposal.

    Raises:
        UsageError: nobody is there to ask, or the answer was no.
    """
    body = read_proposal(file)
    _tell(parse_proposal(body), body)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("read it and give --yes")
        if not agreed("Sign exactly this?"):
            raise UsageError("not signed")
    passphrase = common.passphrase_for(encrypted=is_encrypted(private_key))
    signature = sign_proposal(body, StatementKey.from_pem(read_file(private_key), passphrase))
    place = file.with_name(f"{file.name}.{name}.sig")
    write_new(place, f"{name} {encode_base64(signature)}\n".encode())
    console().print(f"wrote {place}; send it to the lead")


def submit(common: Common, file: Path, signatures: tuple[Path, ...]) -> None:
    """Hand in signatures."""
    digest = proposal_digest(read_proposal(file))
    with administration(common) as admin:
        for place in signatures:
            name, signature = read_signature(place)
            approved, needed = admin.approve_proposal(digest, name, signature)
            console().print(f"{name} has signed: {approved} of {needed}")


def list_proposals(common: Common, *, as_json: bool) -> None:
    """List what waits."""
    with administration(common) as admin:
        found = admin.proposals()
    if as_json:
        print_json(
            [
                {
                    "digest": proposal_digest(item.proposal).hex(),
                    "proposal": parse_proposal(item.proposal).model_dump(mode="json"),
                    "approved_by": list(item.approved_by),
                    "needed": item.needed,
                }
                for item in found
            ]
        )
        return
    if not found:
        console().print("nothing waits for signatures")
    for item in found:
        _tell(parse_proposal(item.proposal), item.proposal)
        console().print(f"signed by {', '.join(item.approved_by) or 'nobody'}; {item.needed} must")


def execute(common: Common, file: Path) -> None:
    """Do what was signed."""
    with administration(common) as admin:
        console().print(admin.execute(proposal_digest(read_proposal(file))))


def _tell(proposal: Proposal, body: bytes) -> None:
    screen = console()
    screen.print(f"proposal {proposal_digest(body).hex()} in consortium {proposal.consortium}: {proposal.action}")
    for name, value in proposal.parameters.items():
        screen.print(f"  {name}: {canonical_json(value).decode()}")
    screen.print(f"  proposed by {proposal.proposer} on {proposal.proposed}, until {proposal.expires}")
