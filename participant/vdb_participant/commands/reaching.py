"""How a command reaches the coordinator: over the network, or by files that are carried to a relay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from vdb_participant.commands.screen import console
from vdb_participant.network.absence import Say
from vdb_participant.network.calls import Calls
from vdb_participant.network.connection import Connection
from vdb_participant.offline.channel import Carriage
from vdb_participant.offline.files import Parties
from vdb_participant.offline.mailbox import Mailbox
from vdb_participant.offline.renewing import RenewalSigner
from vdb_participant.site.config import StateFolder, read_config
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.institution import Site
from vdb_shared.errors import AwaitedAnswerError, StoreError, UsageError
from vdb_shared.identity import Signer, StatementPublicKey
from vdb_shared.spec import Spec

ENDED_AWAITING: Final = 3
"""Exit status of a command that ended because something is to be carried; running it again goes on."""

WAYS: Final = 9
"""Files that a session without disturbances takes: the question for it, join, the five rounds, countersignature, witnessing."""


@dataclass(frozen=True, slots=True)
class Offline:
    """That files are carried.

    Attributes:
        exchange: folder with outbox and inbox.
        wait: whether to wait for answers.
        say: told what is to be carried, before waiting.
    """

    exchange: Path
    wait: bool
    say: Callable[[str], None]


@contextmanager
def awaiting() -> Iterator[None]:
    """End with what is to be carried, which is no failure."""
    try:
        yield
    except AwaitedAnswerError as error:
        console().print(str(error))
        raise typer.Exit(ENDED_AWAITING) from error


def calls_of(site: Site, offline: Offline | None, say: Say) -> Calls:
    """Return how a site's calls are made.

    Args:
        site: the institution.
        offline: that files are carried, or None.
        say: told while the coordinator does not answer.

    Raises:
        UsageError: the site is connected, or is not and no folder was named.
    """
    if offline is None:
        return Connection(site.config.address, site.tls, site.egress, say=say)
    parties = Parties(site.config.consortium, site.config.institution)
    return carriage(site.folder, offline, parties, site.config.address, site.signer)


def carriage(folder: StateFolder, offline: Offline, parties: Parties, address: str, signer: Signer) -> Carriage:
    """Return calls as files.

    Raises:
        UsageError: this site is connected, and has no relay; or the folder is not there.
    """
    if not offline.exchange.is_dir():
        raise UsageError(f"{offline.exchange}: there is no such folder; is the stick mounted? else make it")
    try:
        relay = StatementPublicKey(folder.relay_key.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder.path}: this site is connected and has no relay; leave --offline out, or enrol with a relay's offer in "
            "another --dir"
        ) from error
    except OSError as error:
        raise StoreError(f"{folder.relay_key}: cannot be read ({error.strerror}); restore it from a backup") from error
    mailbox = Mailbox(folder.offline, offline.exchange, parties, signer, relay, offline.wait, offline.say)
    renewals = RenewalSigner(folder, read_config(folder), signer) if folder.config.exists() else None
    return Carriage(address, mailbox, EgressJournal(folder.egress), renewals)


def warning(spec: Spec) -> str:
    """Return what whoever carries files must know of a session's deadlines."""
    times = spec.deadlines
    return (
        f"CARRIED BY HAND: {WAYS} files go to the relay and {WAYS} answers come back, and carrying takes time.\n"
        f"  The join must be at the coordinator within {_hours(times.joining)} of the opening, the keys within "
        f"{_hours(times.computing)} after that,\n"
        f"  four more files within {_hours(times.round)} each, the countersignature within {_hours(times.countersigning)}.\n"
        "  Who is late is left out, and what a masked input cost that was carried too late stays spent.\n"
        "  If that is too little time, ask the lead for a spec with longer deadlines before you consent."
    )


def _hours(seconds: int) -> str:
    return (
        f"{seconds} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
    )
