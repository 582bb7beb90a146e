"""The commands of enrolment as the operator sees them: fingerprint, waiting, and which session comes next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from vdb_participant.commands.reaching import Offline, carriage
from vdb_participant.commands.screen import console
from vdb_participant.network.client import Client
from vdb_participant.network.connection import PATIENCE_SECONDS, Connection
from vdb_participant.offline.files import Parties
from vdb_participant.offline.relay_folder import Offer, parse_offer
from vdb_participant.site import enrolment
from vdb_participant.site.config import StateFolder, chosen, grouped_fingerprint
from vdb_participant.site.institution import open_site
from vdb_participant.site.keys import Passphrase, requested_key
from vdb_participant.site.signing import open_signer
from vdb_shared.errors import AwaitedAnswerError, FormatError, IdentityError, UsageError
from vdb_shared.wire.status import Phase

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0
"""Seconds between two questions whether the lead has approved: each stands in the journal of what left the house."""

ABSENCE_SECONDS: Final = 3600.0
"""For which who waits for approval goes on asking a coordinator that went: a person approves, and may restart it first."""


def enroll(folder: StateFolder, invitation: Path, passphrase: Passphrase | None, *, wait: bool) -> None:
    """Ask for membership; take it home if the lead has approved, or wait for that.

    Raises:
        IdentityError: the invitation is not good, in the coordinator's words.
        UnreachableError: names the cause.
    """
    request = enrolment.begin(folder, enrolment.read_invitation(invitation), passphrase, datetime.now(UTC))
    out = console()
    calls = enrolment.reach(folder, request, say=out.print, patience=ABSENCE_SECONDS if wait else PATIENCE_SECONDS)
    try:
        with enrolment.noting_refusal(folder):
            enrolment.submit(request, calls)
            found = enrolment.ask(request, calls)
            if found is None:
                _tell(request)
                if wait:
                    out.print(
                        "Waiting until the lead has approved. To stop waiting, press Ctrl-C: nothing is lost by it."
                    )
            pauses = growing_pauses()
            while wait and found is None:
                calls.pause(next(pauses))
                found = enrolment.ask(request, calls)
            if found is not None:
                enrolment.check_root(request, found)
    finally:
        calls.close()
    if found is None:
        out.print(
            f"The lead has not approved yet. Once approved, run: vdb-participant {chosen(folder)}enroll {invitation}"
        )
        return
    config = enrolment.finish(folder, request, found, passphrase or (lambda: b""), datetime.now(UTC))
    out.print(f"{config.institution} is a member of {config.consortium}. Next: vdb-participant {chosen(folder)}doctor")


def growing_pauses() -> Iterator[float]:
    """Yield the seconds to wait before each question: short while the lead may sit beside, longer for who waits for days."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(LONGEST_PAUSE, 1.1 * pause)


def enroll_offline(folder: StateFolder, offer: Path, passphrase: Passphrase | None, offline: Offline) -> bool:
    """Ask for membership by files, with the offer of a relay; return whether the answer has come.

    Raises:
        IdentityError: offer, certificate or roster are not in order.
        UsageError: the offer cannot be read.
    """
    found = _read_offer(offer)
    part = enrolment.RelayPart(found.certificate_request, found.relay_key)
    requested_key(part.certificate_request)
    request = enrolment.begin(folder, found.invitation, passphrase, datetime.now(UTC), part)
    if request.certificate_request != part.certificate_request:
        raise IdentityError(f"{offer}: another relay's offer waits for approval here; choose another --dir")
    _tell(request)
    invited = found.invitation
    out, signer = console(), open_signer(folder, passphrase or (lambda: b""))
    out.print(f"fingerprint of the relay: {grouped_fingerprint(part.key.key_id)}; compare it with what the relay shows")
    parties = Parties(invited.consortium, invited.institution)
    calls = carriage(folder, offline, parties, invited.address, signer)
    try:
        with enrolment.noting_refusal(folder):
            enrolment.submit(request, calls)
            answer = enrolment.ask(request, calls)
            if answer is not None:
                enrolment.check_root(request, answer)
    except AwaitedAnswerError as error:
        out.print(str(error))
        return False
    finally:
        calls.close()
    if answer is None:
        out.print("The lead has not approved yet. Run the same command again.")
        return False
    config = enrolment.finish(folder, request, answer, passphrase or (lambda: b""), datetime.now(UTC))
    out.print(
        f"{config.institution} is a member of {config.consortium}. Next: vdb-participant join SESSION --offline DIR"
    )
    return True


def _tell(request: enrolment.Request) -> None:
    out = console()
    out.print(f"{request.invitation.institution} asks to join consortium {request.invitation.consortium}")
    out.print(f"fingerprint: {grouped_fingerprint(request.fingerprint)}")
    out.print("Read it out to the lead by telephone; the lead approves when it is the same there.")


def _read_offer(path: Path) -> Offer:
    try:
        return parse_offer(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: expected a relay's offer, cannot read it ({error.strerror})") from error
    except FormatError as error:
        raise IdentityError(f"{path}: expected a relay's offer, found something else ({error})") from error


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
    if not waiting:
        raise UsageError(
            "no session takes institutions now; once the lead has opened one, run: vdb-participant "
            f"{chosen(folder)}join SESSION --data DIR"
        )
    if len(waiting) > 1:
        listed = "; ".join(f"{item.session[7:19]} {item.title}" for item in waiting)
        raise UsageError(f"expected one session that takes institutions, found {len(waiting)}: {listed}; name one")
    return waiting[0].session
