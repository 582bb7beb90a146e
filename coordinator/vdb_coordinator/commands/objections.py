"""What the commands about auditors, objections and withdrawals do."""

from __future__ import annotations

import sys
from pathlib import Path

from vdb_coordinator.commands.consortium import administration
from vdb_coordinator.commands.terminal import Common, ask_first, console, write_new
from vdb_coordinator.files import read_file
from vdb_shared.audit.auditor_key import read_public_key
from vdb_shared.bundle.objections import files_of
from vdb_shared.commandline import agreed
from vdb_shared.errors import IdentityError, UsageError
from vdb_shared.wire.enrolment import grouped
from vdb_shared.wire.spoken import doing
from vdb_shared.wire.status import Phase
from vdb_shared.wording import counted, one_line


def admit(common: Common, name: str, key: Path, *, yes: bool) -> None:
    """Put an auditor's key into the roster.

    Raises:
        IdentityError: the fingerprint was not confirmed, or name or key are a member's already.
    """
    public = read_public_key(key)
    console().print(f"the key of {name} is {grouped(public.key_id)}")
    if not yes and not _compared(name):
        raise IdentityError(f"{name} was not admitted")
    with administration(common) as admin:
        version = admin.admit_auditor(name, public)
    console().print(f"{name} is an auditor of sessions opened from now on; the roster has version {version}")


def _compared(name: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("compare the fingerprint on a terminal (or give --yes, for tests only)")
    return agreed(f"Does {name} read out exactly this?")


def carry(common: Common, session: str, file: Path) -> None:
    """Hand in an objection that somebody else signed."""
    objection = read_file(file)
    with administration(common) as admin:
        index = admin.carry_objection(session, objection)
    console().print(f"the objection is entry {index} of the log; whoever reads the log sees it")


def withdraw(common: Common, session: str, reason: str, superseded_by: str, *, yes: bool) -> None:
    """Withdraw a published result."""
    warning = "the public log and whoever reads the result will say for ever that it is withdrawn, and why"
    with administration(common) as admin:
        if not yes:
            found = admin.details(session)
            if found.status.phase is not Phase.PUBLISHED:
                raise UsageError(f"{found.session[7:19]} has no result to withdraw: {doing(found.status.phase)}")
            if found.status.reason:
                raise UsageError(f"{found.session[7:19]}: {one_line(found.status.reason)}, so nothing was done")
            ask_first(f"{found.session[7:19]}: {warning}", "Withdraw it?", yes=False)
        admin.withdraw_result(session, reason, superseded_by)
    console().print("the result is withdrawn; that stands in the log for good, and beside the result")


def fetch(common: Common, session: str, out: Path) -> None:
    """Write what was said of a result as files, those that are there already excepted.

    Raises:
        UsageError: the folder cannot be made, or a file in it cannot be written.
    """
    with administration(common) as admin:
        said = admin.said(session)
    files = files_of(said.objections, said.withdrawal)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be made: {error.strerror}") from error
    for name, data in files.items():
        place = out / name
        if not place.is_file() or read_file(place) != data:
            write_new(place, data)
    words = counted(len(said.objections), "objection")
    console().print(f"{out}: {words}, {'the withdrawal' if said.withdrawal else 'no withdrawal'}")
