"""`relay` as whoever runs the connected machine sees it: what was delivered, and what was refused, a line each."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from vdb_participant.commands.screen import console
from vdb_participant.offline.mailbox import INBOX, OFFER, OUTBOX
from vdb_participant.offline.relay import Relay
from vdb_participant.offline.relay_folder import RelayFolder, prepare
from vdb_participant.site.config import grouped_fingerprint
from vdb_participant.site.enrolment import read_invitation
from vdb_participant.site.failpoints import failpoints_from_environment
from vdb_participant.site.storage import make_folder, write_durably
from vdb_shared.errors import UnreachableError

WATCH_SECONDS: Final = 2.0


def prepare_here(folder: Path, invitation: Path, exchange: Path) -> None:
    """Make a relay's folder, and write its offer where it is carried from.

    Raises:
        IdentityError: the folder is another relay's or a site's.
    """
    relay, invited = RelayFolder(folder), read_invitation(invitation)
    place = exchange / INBOX / f"{invited.institution}{OFFER}"
    write_durably(place, prepare(relay, invited))
    make_folder(exchange / OUTBOX)
    out = console()
    out.print(f"{place}: carry it to the machine without a network; it is as secret as the invitation that is in it")
    out.print(f"fingerprint of this relay: {grouped_fingerprint(relay.signer().public_key.key_id)}")
    out.print(f"There: vdb-participant enroll {place} --offline {exchange}")


def carry_all(folder: Path, exchange: Path, *, wait: bool, forever: bool) -> int:
    """Carry out what lies in the outbox and return the exit status: 1 if a file was refused.

    Raises:
        UnreachableError: the coordinator cannot be reached; with `forever` it is tried again instead.
    """
    out, refused = console(), 0
    failpoints = failpoints_from_environment()
    relay, told = Relay(RelayFolder(folder), exchange, wait, out.print, failpoints=failpoints), set[str]()
    while True:
        try:
            done = relay.carry()
        except UnreachableError as error:
            if not forever:
                raise
            done = None
            _once(told, str(error))
        if done is not None:
            refused += len(done.refused)
            for line in (*done.refused, *(f"{place}: written" for place in done.answered)):
                _once(told, line)
        if not forever:
            return 1 if refused else 0
        time.sleep(WATCH_SECONDS)


def _once(told: set[str], line: str) -> None:
    """Print a line, unless it was printed before: with --watch the same files lie there again and again."""
    if line not in told:
        told.add(line)
        console().print(line)
