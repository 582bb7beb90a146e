"""`sessions`: what there is to join, and what became of the rest.

Promises that listing promises nothing and sends nothing but the question.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from vdb_participant.commands.reaching import Offline, awaiting, calls_of
from vdb_participant.commands.screen import TITLE_CELLS, console
from vdb_participant.network.client import Client
from vdb_participant.site.config import StateFolder, chosen
from vdb_participant.site.institution import open_site
from vdb_participant.site.keys import Passphrase
from vdb_shared.canonical import canonical_json
from vdb_shared.wire.spoken import doing
from vdb_shared.wire.status import Phase, SessionSummary
from vdb_shared.wording import one_line

_SHOWN = slice(7, 19)
"""Of a session id: enough to name it, and what `status` shows."""


def show(folder: StateFolder, passphrase: Passphrase, offline: Offline | None, *, as_json: bool) -> None:
    """Print the coordinator's sessions, those that can be joined first.

    JSON: a list of {session, title, phase}, the phase in the words of `vdb-coordinator session list --json`.

    Raises:
        UnreachableError: names the cause.
        UsageError: nobody is enrolled here.
    """
    site = open_site(folder, passphrase)
    with awaiting(), Client(calls_of(site, offline, console(stderr=True).print)) as link:
        found = sorted(link.sessions(), key=lambda item: (item.phase is not Phase.ACCEPTING, item.phase.ended))
    if as_json:
        facts = [{"session": item.session, "title": item.title, "phase": item.phase.words} for item in found]
        sys.stdout.write(canonical_json(facts).decode() + "\n")
        return
    for line in listed_lines(found, chosen(folder)):
        console().print(line)


def listed_lines(found: list[SessionSummary], options: str) -> Iterator[str]:
    """Yield what is shown of sessions, in the order given; `options` stand before a command to copy."""
    if not found:
        yield "no session: the lead has opened none yet"
        return
    for item in found:
        yield f"{item.session[_SHOWN]}  {one_line(item.title, TITLE_CELLS)}"
        yield f"  {'can be joined' if item.phase is Phase.ACCEPTING else doing(item.phase)}"
    if found[0].phase is Phase.ACCEPTING:
        session = found[0].session[_SHOWN]
        yield f"What a session would cost and send: vdb-participant {options}join {session} --data DIR --dry-run"
