"""The commands of enrolment as the operator sees them: fingerprint, waiting, and which session comes next."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from vdb_participant.commands.screen import console
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.site import enrolment
from vdb_participant.site.config import StateFolder, grouped_fingerprint
from vdb_participant.site.institution import open_site
from vdb_participant.site.keys import Passphrase
from vdb_shared.errors import IdentityError, UsageError
from vdb_shared.wire.status import Phase

POLL_SECONDS: Final = 2.0


def enroll(folder: StateFolder, invitation: Path, passphrase: Passphrase | None, *, wait: bool) -> None:
    """Ask for membership; take it home if the lead has approved, or wait for that.

    Raises:
        IdentityError: the invitation is not good, in the coordinator's words.
        UnreachableError: names the cause.
    """
    request = enrolment.begin(folder, enrolment.read_invitation(invitation), passphrase, datetime.now(UTC))
    enrolment.submit(folder, request)
    out = console()
    out.print(f"{request.invitation.institution} asks to join consortium {request.invitation.consortium}")
    out.print(f"fingerprint: {grouped_fingerprint(request.fingerprint)}")
    out.print("Read it out to the lead by telephone; the lead approves when it is the same there.")
    found = enrolment.ask(folder, request)
    while wait and found is None:
        time.sleep(POLL_SECONDS)
        found = enrolment.ask(folder, request)
    if found is None:
        out.print(f"Once approved, run: vdb-participant enroll {invitation}")
        return
    config = enrolment.finish(folder, request, found, passphrase or (lambda: b""), datetime.now(UTC))
    out.print(f"{config.institution} is a member of {config.consortium}. Next: vdb-participant doctor")


def enrol_for_session(
    folder: StateFolder, invitation: Path, new_passphrase: Passphrase | None, passphrase: Passphrase
) -> str:
    """Enrol if that is still to be done, and return the one session that takes institutions.

    Raises:
        UsageError: there is none, or more than one.
    """
    if not folder.config.exists():
        enroll(folder, invitation, new_passphrase, wait=True)
    site = open_site(folder, passphrase)
    if site.config.institution != enrolment.read_invitation(invitation).institution:
        raise IdentityError(f"{folder.path}: {site.config.institution} is enrolled here; choose another --dir")
    with Client(Connection(site.config.address, site.tls, site.egress)) as client:
        waiting = [item for item in client.sessions() if item.phase is Phase.ACCEPTING]
    if len(waiting) != 1:
        listed = "; ".join(f"{item.session[7:19]} {item.title}" for item in waiting) or "none"
        raise UsageError(f"expected one session that takes institutions, found {len(waiting)}: {listed}; name one")
    return waiting[0].session
