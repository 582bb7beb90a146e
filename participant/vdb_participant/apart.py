"""What is done with a session besides taking part in it: leaving it, and what others publish without us.

Promises that a session which is worked on by another process is not touched. Leaves taking part to `agent.py`.

Source: protos/README.md §11.3, §12.
"""

from __future__ import annotations

from pathlib import Path

from vdb_participant.agent import Participation, Request
from vdb_participant.network.link import Link
from vdb_participant.session import records
from vdb_participant.session.correspondence import Correspondence
from vdb_participant.session.finishing import keep_without_us
from vdb_participant.session.preparation import Resources
from vdb_participant.session.records import Consented
from vdb_participant.session.standing import Left, left_of
from vdb_participant.session.terms import verify_opening
from vdb_participant.site.config import StateFolder
from vdb_participant.site.institution import Site
from vdb_participant.site.journal import Journal
from vdb_participant.site.journal_format import read_journal
from vdb_participant.site.storage import FileStorage
from vdb_shared.canonical import digest_bytes
from vdb_shared.errors import StoreError, UsageError


def left(folder: StateFolder, session: str) -> Left | None:
    """Return why this site has left a session for good, or None if it has not, or knows nothing of it.

    Args:
        folder: of the site; a session's journal is read as it lies, whoever works on it.
        session: session id.

    Raises:
        StoreError: the journal is damaged or cannot be read.
    """
    place = folder.session(session) / "journal"
    try:
        found = read_journal(place.read_bytes(), digest_bytes(session)).records
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{place}: cannot be read ({error.strerror})") from error
    return left_of({record.name: record.value for record in found})


def leave_session(site: Site, link: Link, session: str, reason: str) -> bool:
    """Leave a session that was consented to, for good, and return whether the coordinator was told.

    Raises:
        UsageError: it has ended for us.
        StoreError: another process works on it.
    """
    with Journal(FileStorage(site.folder.session(session) / "journal"), digest_bytes(session)) as journal:
        if records.OUTCOME in journal:
            raise UsageError(f"session {session[:19]} has ended for us; there is nothing to leave")
        return _again(site, link, session, journal).leave(reason)


def result_without_us(site: Site, link: Link, session: str) -> Path | None:
    """Return where the result lies of a session that ended for us without one; None if the others have none either, or yet.

    None too if we left it: we may have left because of what its result had to say of us, which nobody looks at here.

    Raises:
        VerificationError, ProtocolError, UnreachableError: see `keep_without_us`.
    """
    folder = site.folder.session(session)
    with Journal(FileStorage(folder / "journal"), digest_bytes(session)) as journal:
        if records.OUTCOME not in journal or records.ABORT_SENT in journal:
            return None
        part, root = _again(site, link, session, journal), site.config.root_fingerprint
        return keep_without_us(part.post, part.opening, part.witness, root, folder)


def _again(site: Site, link: Link, session: str, journal: Journal) -> Participation:
    """Return our part in a session that was consented to."""
    consented = Consented.decode(journal.recall(records.CONSENTED))
    opening = verify_opening(consented.offered, session, site.pins, consented.moment)
    request = Request(session, Resources(Path(consented.folder), site.folder.models), lambda _plan: None)
    return Participation(site, Correspondence(journal, link, session), opening, consented, request)
