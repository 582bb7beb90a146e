"""What the commands about sessions do."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from vdb_coordinator.commands.administration import Administration
from vdb_coordinator.commands.consortium import administration
from vdb_coordinator.commands.terminal import Common, ask_first, console, load, print_json
from vdb_shared.audit.policy import readers_refuse
from vdb_shared.errors import SessionAbortedError
from vdb_shared.spec import Spec, parse_spec_json
from vdb_shared.wire.spoken import doing, ended, listed, reached
from vdb_shared.wire.status import Phase, SessionStatus
from vdb_shared.wording import counted, one_line


def create(common: Common, spec: Path, supersedes: str = "", *, as_json: bool) -> None:
    """Open a session."""
    parsed: Spec = load("commands.spec_checks").checked(spec)[0]
    with administration(common) as admin:
        twins = _open_with(admin, parsed)
        session = admin.create_session(parsed, supersedes)
    if as_json:
        print_json({"session": session, "spec": parsed.digest, "open_with_same_spec": twins})
        return
    screen = console()
    screen.print(f"session {session}")
    for twin in twins:
        screen.print(
            f"note: session {twin[7:19]} has the same spec and is open still; who joins both pays for both. To end one: "
            f"vdb-coordinator {common.chosen}session abort {twin[7:19]} --reason WHY"
        )
    if warning := readers_refuse(parsed.privacy.epsilon, parsed.privacy.delta):
        screen.print(f"note: {warning}")
    screen.print(f"institutions join with: vdb-participant join {session[7:19]} --data DIR")
    screen.print(
        "with --models DIR where the agreed weights lie elsewhere than in the agent's folder; add --dry-run to look first"
    )


def _open_with(admin: Administration, spec: Spec) -> list[str]:
    """Return the sessions with this spec that have not ended."""
    alike = [item.session for item in admin.sessions() if item.title == spec.title and not item.phase.ended]
    return [session for session in alike if admin.details(session).spec == spec.canonical()]


def list_sessions(common: Common, *, as_json: bool) -> None:
    """List all sessions."""
    with administration(common) as admin:
        sessions = admin.sessions()
    if as_json:
        print_json(
            [
                {
                    "session": item.session,
                    "title": item.title,
                    "phase": item.phase.words,
                    "withdrawn": item.withdrawn,
                }
                for item in sessions
            ]
        )
        return
    for item in sessions:
        console().print(f"{item.session[7:19]}  {item.title}: {listed(item)}")


_NOT_IN: Final = ("has not joined", "did not join", "left", "revoked")
"""Stages of institutions that a session's end costs nothing."""


def status(common: Common, session: str, *, as_json: bool) -> None:
    """Show how far a session is."""
    with administration(common) as admin:
        details = admin.details(session)
    if as_json:
        print_json({"session": details.session, **_as_json(details.status)})
        return
    screen = console()
    screen.print(f"session {details.session}: {_headline(details.status)}")
    for site in details.status.sites:
        screen.print(f"  {site.institution:<24} {reached(site.stage, details.status.phase)}")
    if details.status.phase is Phase.PUBLISHED:
        screen.print(f"its result: vdb-coordinator {common.chosen}export {details.session[7:19]} -o result.vdbb")


def watch(common: Common, session: str, *, as_json: bool) -> None:
    """Print every change until a session has ended.

    Raises:
        SessionAbortedError: it ended without a result.
    """
    screen = console()
    seen: SessionStatus | None = None
    with administration(common) as admin:
        for news in admin.watch(session):
            if as_json:
                print_json(_as_json(news))
            else:
                for line in _changes(seen, news):
                    screen.print(f"{datetime.now().astimezone():%H:%M:%S}  {line}")
            seen = news
    if seen is not None and seen.phase is Phase.ABORTED:
        raise SessionAbortedError(f"the session was aborted: {ended(seen.reason, seen.sites)}")


def abort(common: Common, session: str, reason: str, *, yes: bool) -> None:
    """End a session without a result."""
    with administration(common) as admin:
        if not yes:
            found = admin.details(session)
            session, joined = found.session, sum(site.stage not in _NOT_IN for site in found.status.sites)
            title = parse_spec_json(found.spec).title
            there = counted(joined, "institution")
            warning = (
                f"{session[7:19]}  {one_line(title)}: {_headline(found.status)}; {there} in it. It ends for good and without a "
                "result; budget that was spent on inputs which left is not given back"
            )
            ask_first(warning, "Abort it?", yes=False)
        admin.abort_session(session, reason)
    console().print("the session is aborted; every institution will be told why")


def _headline(status: SessionStatus) -> str:
    words, why = doing(status.phase, status.attempt), ended(status.reason, status.sites)
    return f"{words}: {why}" if why else words


def _changes(before: SessionStatus | None, now: SessionStatus) -> list[str]:
    """Return one line for each site that moved, and then one for the phase."""
    known = {site.institution: site.stage for site in before.sites} if before else {}
    lines = [
        f"{site.institution}: {reached(site.stage)}" for site in now.sites if known.get(site.institution) != site.stage
    ]
    if before is None or (before.attempt, before.phase) != (now.attempt, now.phase):
        lines.append(f"— {_headline(now)}")
    return lines


def _as_json(status: SessionStatus) -> dict[str, Any]:
    return {
        "phase": status.phase.words,
        "attempt": status.attempt,
        "event": status.event,
        "reason": status.reason,
        "sites": [{"institution": site.institution, "seat": site.seat, "stage": site.stage} for site in status.sites],
    }
