"""`status` and `leave`: what the agent is doing in each session, and how to leave one with the consequence said first."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from vdb_participant.apart import leave_session
from vdb_participant.commands.reaching import ENDED_AWAITING, Offline, calls_of
from vdb_participant.commands.screen import TITLE_CELLS, console, row_cells
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.offline.mailbox import waiting
from vdb_participant.session import records
from vdb_participant.session.records import Consented
from vdb_participant.session.standing import CONSEQUENCES, Step, step_of, without_us
from vdb_participant.site.config import StateFolder, check_folder, read_config
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.institution import open_site
from vdb_participant.site.journal_format import read_journal
from vdb_participant.site.keys import Passphrase, TlsIdentity
from vdb_participant.site.ledger import Ledger
from vdb_participant.site.policy import check_address, policy_in
from vdb_shared.canonical import canonical_json, decimal_string, digest_bytes
from vdb_shared.commandline import agreed
from vdb_shared.errors import StoreError, UsageError, VdbError
from vdb_shared.privacy.ledger import LedgerEntry
from vdb_shared.roster import parse_roster
from vdb_shared.spec import parse_spec_json
from vdb_shared.wording import one_line, wrapped


@dataclass(frozen=True, slots=True)
class Standing:
    """One session as this site's own files show it; nobody is asked.

    Attributes:
        session: session id.
        title: of its spec.
        step: how far we are.
        outcome: how it ended for us, or "".
        at_work: whether a process works on it now.
        last: when the journal grew last, UTC.
        spent: rho that is debited for it and was not taken back, or "".
        others: whether enough institutions are left when we leave, or "".
    """

    session: str
    title: str
    step: Step
    outcome: str
    at_work: bool
    last: datetime
    spent: str
    others: str = ""

    @property
    def leaving(self) -> str:
        """What follows if we leave now."""
        return " ".join(part for part in (CONSEQUENCES[self.step], self.others) if part)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator typed."""

    session: str
    reason: str
    yes: bool
    offline: Offline | None = None


def show(folder: StateFolder, name: str, *, as_json: bool) -> None:
    """Print how every session stands, or those whose id begins with `name`, and whether the coordinator's server answers.

    Sessions are read from this site's own files; the coordinator is only greeted, which needs no passphrase, and in JSON not
    even that.

    Raises:
        UsageError: there is no such state folder, or no session begins with `name`.
        StoreError: a journal is damaged.
    """
    check_folder(folder)
    found = [item for item in _standings(folder) if item.session.startswith(f"sha256:{name.removeprefix('sha256:')}")]
    if name and not found:
        raise UsageError(f"{name}: nobody consented to such a session here")
    if as_json:
        sys.stdout.write(canonical_json([_facts(item) for item in found]).decode() + "\n")
        return
    out = console()
    if (number := waiting(folder.offline)) is not None:
        out.print(
            f"request {number} waits for its answer: carry the outbox to the relay, then run the same command again"
        )
    for line in _lines(folder, found, row_cells(out)):
        out.print(line)
    if not folder.relay_key.exists():  # a site without a network greets nobody
        out.print(
            _coordinator(folder, "Nothing is lost: what stands above is kept here" if found else "Nothing is lost")
        )


def _lines(folder: StateFolder, found: list[Standing], width: int) -> Iterator[str]:
    """Yield what is shown of all sessions."""
    if not found:
        yield "no session: nobody consented to one here"
    for item in found:
        yield from session_lines(item, width)
    if any(item.step is Step.MEASURING and item.at_work for item in found):
        yield from _outside_hours(folder)


def session_lines(item: Standing, width: int) -> Iterator[str]:
    """Yield what is shown of a session, in rows of so many cells."""
    yield f"{item.session[7:19]}  {one_line(item.title, TITLE_CELLS)}"
    at = " by a process that works on it now" if item.at_work else "; no process works on it now"
    how = one_line(item.outcome) or item.step.value
    yield from wrapped(f"  {how} (last step {item.last:%Y-%m-%d %H:%M:%S} UTC{at})", width, 4)
    yield f"  budget: {f'rho {item.spent} debited' if item.spent else 'nothing debited'}"
    if item.step is not Step.ENDED:
        yield from wrapped(f"  leaving now: {item.leaving}", width, 4)


def _outside_hours(folder: StateFolder) -> Iterator[str]:
    """Yield that no model runs now, and from when on they do; nothing within the hours, or where they cannot be told."""
    try:
        hours = policy_in(folder).hours
    except VdbError:
        return
    now = datetime.now(UTC)
    if hours is not None and not hours.open_at(now):
        yield f"no model runs here now: policy.toml allows it from {hours.opens(now):%a %Y-%m-%d %H:%M %Z} on (gpu_hours)"


def _coordinator(folder: StateFolder, comfort: str) -> str:
    """Return whether the coordinator's server answers, as far as a greeting without our certificate tells.

    Args:
        folder: of the site.
        comfort: what is said where nobody answers; not where somebody else may.
    """
    try:
        config = read_config(folder)
        if not _is_ours(folder):
            return (
                f"coordinator: {config.address} was not greeted, since what leaves is recorded in {folder.egress}, which is "
                "another user's; run this as the user who runs the agent"
            )
        check_address(policy_in(folder), config.address, "the coordinator's address")
        shown_nothing = TlsIdentity(b"", b"", config.ca_certificate.encode())
        reached = Connection(config.address, shown_nothing, EgressJournal(folder.egress)).probe()
    except VdbError as error:
        return str(error)
    if reached.port:
        return f"coordinator: {config.address} cannot be reached now: {reached.port}. {comfort}"
    if reached.tls:
        return f"coordinator: {config.address} cannot be reached now: {reached.tls}"
    return f"coordinator: its server at {config.address} answers over TLS"


def _is_ours(folder: StateFolder) -> bool:
    """Return whether the egress journal is this user's, or would be: another's agent could not write on in ours."""
    found = folder.egress if folder.egress.exists() else folder.path
    return found.stat().st_uid == os.geteuid()


def leave(folder: StateFolder, passphrase: Passphrase, wish: Wish) -> None:
    """Say what follows, ask, and leave a session.

    Raises:
        UsageError: there is no such session here, it has ended, or nobody could be asked.
        StoreError: the agent works on it now.
    """
    found, reason = _to_leave(folder, wish.session), " ".join(wish.reason.split())
    if not reason:
        raise UsageError("--reason: say in a few words why; the coordinator and the lead read it")
    out = console()
    out.print(f"{found.session[7:19]}  {one_line(found.title, TITLE_CELLS)}: {found.step.value}")
    out.print(found.leaving)
    out.print("It is for good: this site cannot come back into the session.")
    if not wish.yes:
        _ask()
    site = open_site(folder, passphrase)
    with Client(calls_of(site, wish.offline, console(stderr=True).print)) as link:
        told = leave_session(site, link, found.session, reason)
    out.print("left" if told else "left; the coordinator was not told, and will see it at the deadline")
    if not told and wish.offline is not None:
        out.print(f"carry {wish.offline.exchange}/outbox to the relay, so that the others need not wait")
        raise typer.Exit(ENDED_AWAITING)


def _to_leave(folder: StateFolder, name: str) -> Standing:
    """Return the session that is meant, if it can be left."""
    session = folder.find_session(name)
    found = next((item for item in _standings(folder) if item.session == session), None)
    if found is None:
        raise UsageError(f"{name}: nobody consented to such a session here; there is nothing to leave")
    if found.step is Step.ENDED:
        raise UsageError(
            f"session {found.session[7:19]} has ended for us ({one_line(found.outcome)}); there is nothing to leave"
        )
    if found.at_work:
        raise StoreError(
            f"session {found.session[7:19]}: the agent works on it now; stop it first (Ctrl-C, or systemctl stop)"
        )
    return found


def _ask() -> None:
    if not sys.stdin.isatty():
        raise UsageError("not left, nothing was sent: this needs a terminal, or --yes")
    if not agreed("Leave?"):
        console().print("not left; nothing was sent")
        raise typer.Exit(1)


def _standings(folder: StateFolder) -> Iterator[Standing]:
    """Yield how each session stands, the one that grew last first."""
    places = sorted((folder.path / "sessions").glob("*/journal"), key=lambda place: -place.stat().st_mtime)
    debited = _debited(folder)
    for place in places:
        session = f"sha256:{place.parent.name}"
        found = {record.name: record.value for record in _read(place, session)}
        if records.CONSENTED not in found:
            continue
        offered = Consented.decode(found[records.CONSENTED]).offered
        spec, step = parse_spec_json(offered.spec), step_of(found)
        last = datetime.fromtimestamp(place.stat().st_mtime, UTC)
        outcome = found.get(records.OUTCOME, b"").decode(errors="replace")
        sealed = found.get(records.SEAL_RECEIVED)
        joined = 0 if sealed is None else len(records.decode_sealed(sealed).joins)
        others = without_us(step, spec, len(parse_roster(offered.roster.roster).participants), joined)
        words = (spec.title, step, outcome, _at_work(place), last, debited.get(session, ""), others)
        yield Standing(session, *words)


def _read(place: Path, session: str) -> tuple[Any, ...]:
    try:
        return read_journal(place.read_bytes(), digest_bytes(session)).records
    except OSError as error:
        raise StoreError(f"{place}: cannot be read ({error.strerror})") from error


def _debited(folder: StateFolder) -> dict[str, str]:
    """Return what each session has cost, by id; a debit that was taken back is none."""
    if not folder.ledger.exists():
        return {}
    with Ledger(folder.ledger) as ledger:
        chain: tuple[LedgerEntry, ...] = ledger.chain()
    costs: dict[str, str] = {}
    for entry in chain:
        if entry.kind == "debit":
            costs[entry.charge.session] = decimal_string(entry.charge.rho)
        else:
            costs.pop(entry.charge.session, None)
    return costs


def _at_work(journal: Path) -> bool:
    """Return whether a process holds the session's lock."""
    try:
        with journal.with_suffix(".lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _facts(item: Standing) -> dict[str, Any]:
    return {
        "session": item.session,
        "title": item.title,
        "step": item.step.name.lower(),
        "words": item.step.value,
        "outcome": item.outcome,
        "at_work": item.at_work,
        "last": item.last.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "rho": item.spent,
        "leaving": item.leaving,
    }
