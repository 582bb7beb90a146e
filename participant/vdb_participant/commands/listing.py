"""`sessions`: what there is to join, and what became of the rest.

Promises that listing promises nothing and sends nothing but the question.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from vdb_participant.apart import left
from vdb_participant.commands.reaching import Offline, awaiting, calls_of
from vdb_participant.commands.screen import TITLE_CELLS, console
from vdb_participant.network.client import Client
from vdb_participant.network.link import Link
from vdb_participant.session.terms import Offered, verify_opening
from vdb_participant.site.config import StateFolder, chosen
from vdb_participant.site.institution import Site, open_site
from vdb_participant.site.keys import Passphrase
from vdb_participant.site.policy import check_policy
from vdb_shared.canonical import canonical_json
from vdb_shared.errors import StoreError, UnreachableError, VdbError
from vdb_shared.wire.spoken import listed
from vdb_shared.wire.status import Phase, SessionSummary
from vdb_shared.wording import one_line, wrapped

_LOOKED_AT: Final = 8
"""Of sessions that take institutions: at the spec and roster of so many."""

_CELLS: Final = 100

_SHOWN = slice(7, 19)
"""Of a session id: enough to name it, and what `status` shows."""


def show(folder: StateFolder, passphrase: Passphrase, offline: Offline | None, *, as_json: bool) -> None:
    """Print the coordinator's sessions, those that can be joined first.

    JSON: a list of {session, title, phase, withdrawn, joined, left, obstacle}, the phase in the words of
    `vdb-coordinator session list --json`; whether this site has joined is told of sessions that can be joined still.

    Raises:
        UnreachableError: names the cause.
        UsageError: nobody is enrolled here.
    """
    site = open_site(folder, passphrase)
    with awaiting(), Client(calls_of(site, offline, console(stderr=True).print)) as link:
        found = sorted(link.sessions(), key=lambda item: (item.phase is not Phase.ACCEPTING, item.phase.ended))
        looked_at = 0 if offline else _LOOKED_AT  # each look would be one more file to carry
        gone = {item.session: why for item in found if (why := _left(folder, item.session))}
        accepting = [item.session for item in found if item.phase is Phase.ACCEPTING]
        open_now = [session for session in accepting if session not in gone][:looked_at]
        looks = {session: _look(site, link, session) for session in open_now}
        joined = frozenset(session for session, look in looks.items() if look.joined)
        obstacles = {session: look.obstacle for session, look in looks.items() if look.obstacle and not look.joined}
    if as_json:
        facts = [
            {
                "session": item.session,
                "title": item.title,
                "phase": item.phase.words,
                "withdrawn": item.withdrawn,
                "joined": item.session in joined,
                "left": item.session in gone,
                "obstacle": obstacles.get(item.session, ""),
            }
            for item in found
        ]
        sys.stdout.write(canonical_json(facts).decode() + "\n")
        return
    for line in listed_lines(found, Standings(joined, gone, obstacles), chosen(folder)):
        console().print(line)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at a session tells: whether this site is in it, and why it cannot join it, or "" if it can."""

    joined: bool
    obstacle: str


def _left(folder: StateFolder, session: str) -> str:
    """Return why this site has left a session, or "" if it has not; a damaged journal is for `status` to name."""
    try:
        found = left(folder, session)
    except StoreError:
        return ""
    return "" if found is None else found.why


def _look(site: Site, link: Link, session: str) -> _Look:
    name, joined = site.config.institution, False
    try:
        details = link.details(session)
        joined = any(each.institution == name and each.stage.split(",")[0] == "joined" for each in details.status.sites)
        offered = Offered(details.spec, details.open, details.roster)
        opening = verify_opening(offered, session, site.pins, datetime.now(UTC))
        check_policy(site.policy, opening.spec)
    except UnreachableError:
        raise
    except VdbError as error:
        return _Look(joined, one_line(str(error)))
    return _Look(joined, "")


@dataclass(frozen=True, slots=True)
class Standings:
    """How this site stands to sessions, by their ids.

    Attributes:
        joined: those that it has joined and others can join still.
        left: why it has left others.
        obstacles: why it cannot join others.
    """

    joined: frozenset[str] = frozenset()
    left: Mapping[str, str] = field(default_factory=dict)
    obstacles: Mapping[str, str] = field(default_factory=dict)


def listed_lines(found: list[SessionSummary], ours: Standings, options: str) -> Iterator[str]:
    """Yield what is shown of sessions.

    Args:
        found: in the order to show them in.
        ours: how this site stands to them.
        options: stand before a command to copy.
    """
    if not found:
        yield "no session: the lead has opened none yet"
        return
    for item in found:
        yield f"{item.session[_SHOWN]}  {one_line(item.title, TITLE_CELLS)}"
        yield from wrapped(f"  {_stands(item, ours)}", _CELLS, 4)
    settled = ours.joined | ours.left.keys() | ours.obstacles.keys()
    joinable = [item.session for item in found if item.phase is Phase.ACCEPTING and item.session not in settled]
    if joinable:
        session = joinable[0][_SHOWN]
        yield f"What a session would cost and send: vdb-participant {options}join {session} --data DIR --dry-run"


def _stands(item: SessionSummary, ours: Standings) -> str:
    """Return how a session stands, for this site and the others."""
    accepting = item.phase is Phase.ACCEPTING
    if item.session in ours.left:
        words = f"left by this site for good ({one_line(ours.left[item.session])})"
        return f"{words}; others can join still" if accepting else f"{listed(item)}; {words}"
    if item.session in ours.obstacles:
        return f"cannot be joined by this site: {ours.obstacles[item.session]}"
    if item.session in ours.joined:
        return "joined by this site; others can join still"
    return "can be joined" if accepting else listed(item)
