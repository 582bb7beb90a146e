"""`join` as the operator sees it: the plan, the question, the work, the end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import typer

from vdb_participant.agent import Request, look, take_part
from vdb_participant.apart import left, result_without_us
from vdb_participant.commands.connecting import clock_note
from vdb_participant.commands.reaching import Offline, awaiting, calls_of, warning
from vdb_participant.commands.sampling import tell_dropped
from vdb_participant.commands.screen import console
from vdb_participant.commands.showing import shown_progress
from vdb_participant.data.folder import data_root
from vdb_participant.network.absence import Say
from vdb_participant.network.calls import Calls
from vdb_participant.network.client import Client
from vdb_participant.network.connection import Connection
from vdb_participant.session import records
from vdb_participant.session.consent import Plan
from vdb_participant.session.finishing import RESULT_FILE
from vdb_participant.session.preparation import Resources, Withheld
from vdb_participant.session.stopping import Stopping
from vdb_participant.site.config import StateFolder, chosen
from vdb_participant.site.failpoints import failpoints_from_environment
from vdb_participant.site.institution import Site, open_site
from vdb_participant.site.keys import Passphrase
from vdb_participant.site.policy import PolicyFile
from vdb_participant.site.renewal import Keeper
from vdb_shared.audit.evidence import Evidence
from vdb_shared.audit.policy import DEFAULT_POLICY, readers_refuse
from vdb_shared.commandline import agreed
from vdb_shared.errors import SessionAbortedError, UnreachableError, UsageError, VdbError
from vdb_shared.spec import Spec
from vdb_shared.wording import one_line


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator typed.

    Attributes:
        session: session id, or its beginning.
        resources: data, weights, device.
        licences: raises where a model's licence is not accepted.
        withheld: returns the models whose licences are not accepted, without a question.
        yes: consent without being asked.
        offline: where files are carried.
    """

    session: str
    resources: Resources
    licences: Callable[[Spec], None]
    withheld: Withheld
    yes: bool
    offline: Offline | None = None


def check_data_folder(folder: StateFolder, session: str, data: Path) -> None:
    """Refuse a mistyped data folder before anybody is asked for a passphrase, enrolled or looked for at a terminal.

    A session that was joined goes on without this: what it needs of the data may be measured by now.

    Raises:
        DatasetError: see `data_root`.
    """
    if folder.find_session(session) is None:
        data_root(data)


def dry_run(folder: StateFolder, passphrase: Passphrase, wish: Wish) -> None:
    """Show the plan of a session and do nothing.

    Raises:
        SessionAbortedError: this site has left the session.
        VdbError: see `look`.
    """
    known = folder.find_session(wish.session)
    if known is not None and (gone := left(folder, known)) is not None:
        raise SessionAbortedError(f"session {known[7:19]}: {records.WE_LEFT}{gone.why}{records.NEVER_AGAIN}")
    site = open_site(folder, passphrase)
    with awaiting(), shown_progress() as shown, Client(calls_of(site, wish.offline, shown.say)) as link:
        prepared = look(site, link, wish.session, replace(wish.resources, say=shown.say), wish.withheld)
        notes = () if wish.offline is not None else _beside_the_plan(link, wish.session)
    for text in (prepared.plan.text, *notes):
        console().print(text)
    if wish.offline is not None:
        console().print(warning(prepared.spec))


def join(folder: StateFolder, passphrase: Passphrase, wish: Wish) -> None:
    """Take part in a session from wherever its journal says we are."""
    failpoints = failpoints_from_environment()
    asked_once = cache(passphrase)
    site = open_site(folder, asked_once)
    tell_dropped(site)
    out, was_there = console(), _has_result(folder, wish.session)

    def licences(spec: Spec) -> None:
        wish.licences(spec)
        if wish.offline is not None:
            out.print(warning(spec))

    with awaiting(), shown_progress() as shown:
        calls = _calls(site, wish, Keeper.of(site, asked_once, failpoints), shown.say)
        stopping = Stopping(shown.progress, shown.say)
        resources = replace(wish.resources, tell=shown.tell, say=shown.say)
        ready = partial(_check_askable, wish, site.policy)
        with Client(calls) as link, stopping.listening():
            notes = partial(_beside_the_plan, link, wish.session)
            request = Request(
                wish.session, resources, partial(_ask, wish, notes), stopping, failpoints, ready, licences
            )
            if isinstance(calls, Connection):
                calls.agreement()  # before anything else, so that a program that is too old is told so
            try:
                outcome = take_part(site, link, request)
            except SessionAbortedError as error:
                if wish.offline is None:  # else it would be one more file to carry
                    _keep_what_others_published(site, link, wish, error)
                raise
            said = _said_since(link, outcome.session) if was_there and wish.offline is None else ""
    out.print(f"published: {outcome.bundle}")
    if said:
        words = f"vdb-participant {chosen(folder)}objections {outcome.session[7:19]} --out DIR"
        out.print(f"the coordinator says that {said}; its signed statement, and objections: {words}")
    out.print(f"verify it with: vdb-audit verify {outcome.bundle} --root {site.config.root_fingerprint}")
    privacy = Evidence(outcome.bundle.read_bytes(), None, DEFAULT_POLICY, draft=False).spec.privacy
    if refused := readers_refuse(privacy.epsilon, privacy.delta):
        out.print(f"note: {refused}")
    show_page(folder, outcome.session)


def _has_result(folder: StateFolder, name: str) -> bool:
    session = folder.find_session(name)
    return session is not None and (folder.session(session) / RESULT_FILE).exists()


def _said_since(link: Client, session: str) -> str:
    """Return what the coordinator says of a result that we have, or "": "the result is withdrawn: why"."""
    try:
        return one_line(link.details(session).status.reason)
    except VdbError:
        return ""


def _keep_what_others_published(site: Site, link: Client, wish: Wish, why: SessionAbortedError) -> None:
    """Keep the result of a session that ended without us, and say where it is, before it is said why.

    Raises:
        SessionAbortedError: why it ended without us, and where the result is, if there is one.
        VerificationError, ProtocolError: that is not in order.
    """
    session = site.folder.find_session(wish.session)
    try:
        kept = None if session is None else result_without_us(site, link, session)
    except UnreachableError:
        return
    if kept is not None:
        raise SessionAbortedError(
            f"{why}; the others published a result without us, which passed the audit and is kept in {kept}: `vdb-participant "
            f"{chosen(site.folder)}report {wish.session}` makes its page"
        ) from why


def _check_askable(wish: Wish, policy: PolicyFile) -> None:
    if wish.yes and not policy.unattended_consent:
        raise UsageError(
            "not joined, nothing was sent: --yes consents without a person, which policy.toml does not allow; consent at a "
            "terminal, or set unattended_consent = true there"
        )
    if not wish.yes and not sys.stdin.isatty():
        raise UsageError(
            "not joined, nothing was sent: consent needs a terminal to be asked on, or --yes; `join --dry-run` shows the plan "
            "without either"
        )


def _beside_the_plan(link: Client, session: str) -> tuple[str, ...]:
    """Return what the reader of a plan should know that is no part of it: our clock, and who cannot take part any more."""
    sites = link.details(session).status.sites
    gone = ", ".join(one_line(site.institution) for site in sites if site.stage == "revoked")
    revoked = (
        f"note: revoked since this session was opened, says the coordinator, and out of it: {gone}" if gone else ""
    )
    return tuple(filter(None, (clock_note(link.clocks()), revoked)))


def _ask(wish: Wish, notes: Callable[[], tuple[str, ...]], plan: Plan) -> None:
    """Show a plan and ask for consent to it.

    Raises:
        typer.Exit: it was declined.
    """
    out = console()
    out.print(plan.text)
    for note in () if wish.offline is not None else notes():
        out.print(note)
    if wish.yes:
        return
    out.print(plan.short)
    if not agreed("Take part on the terms above, all of them?"):
        out.print("not joined; nothing was sent")
        raise typer.Exit(1)


def _calls(site: Site, wish: Wish, renewal: Keeper, say: Say) -> Calls:
    """Return how the calls of a session are made: as files, or over a connection that renews our certificate.

    Args:
        site: the institution.
        wish: what the operator typed.
        renewal: renews the certificate.
        say: told while the coordinator does not answer.
    """
    if wish.offline is not None:
        return calls_of(site, wish.offline, say)
    return Connection(site.config.address, site.tls, site.egress, renewal=renewal, say=say)


def show_page(folder: StateFolder, session: str) -> None:
    """Write the page of a published session and say where it is; one line of warning if that fails.

    The session is over and its result kept: no fault of a picture, of whatever kind, may look like a failed session.
    """
    try:
        from vdb_participant.commands.reporting import write_session_page  # noqa: PLC0415 (imported when it is needed: loading it takes long)

        page = write_session_page(folder, session)
    except Exception as error:  # whatever it is: see above
        words = " ".join(str(error).split()) or type(error).__name__
        console(stderr=True).print(f"warning: the page with this site's clips was not written: {words}")
        return
    console().print(f"with clips made here: {page}")
