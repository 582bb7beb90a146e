"""The consortium's log read from its files, in the place of a coordinator that cannot be reached.

Promises that what is shown follows from the files and from a checkpoint that the log signed, so that `known_log.py` compares it
as it compares what a coordinator shows; that a copy which is older than what is known proves nothing and is refused; and that
whoever serves files hears of this site only after the egress journal did. Leaves bounds on files and time to `log_files.py`.

Source: protos/README.md §10.14, §12.6; C2SP tlog-tiles.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from vdb_participant.session.terms import COORDINATOR
from vdb_participant.site.egress import EgressJournal
from vdb_participant.site.egress_format import Departure
from vdb_shared.audit.log_files import naming_fetch_from
from vdb_shared.errors import FormatError, ProtocolError, SignatureError, UsageError
from vdb_shared.transparency.checkpoint import read_checkpoint
from vdb_shared.transparency.merkle import leaf_hash
from vdb_shared.transparency.note import NoteKey
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, Fetch, TiledLog
from vdb_shared.wire.status import LogView


@dataclass(frozen=True, slots=True)
class LogCopy:
    """A copy of the log.

    Attributes:
        place: where its files are.
        log: of a checkpoint whose signature was verified.
        note: of that checkpoint.
        entry: of the session's opening, which must stand in it.
    """

    place: str
    log: TiledLog = field(repr=False)
    note: bytes = field(repr=False)
    entry: bytes = field(repr=False)

    def log_view(self, session: str, size: int) -> LogView:
        """Return the copy's checkpoint, from a size on, and where the session's opening stands in it.

        Raises:
            UsageError: the copy has fewer entries; what came later is not in it.
            ProtocolError: the session's opening is not in that log.
            FormatError, UnreachableError: a file is not one of this log, or cannot be read.
        """
        now = self.log.checkpoint.size
        if now < size:
            raise UsageError(
                f"--log: {self.place} has {now} entries, and {size} are known: an older copy; ask for one of today, or leave "
                "--log out to ask the coordinator"
            )
        wanted = leaf_hash(self.entry)
        index = next((place for place, leaf in enumerate(self.log.leaves()) if leaf == wanted), None)
        if index is None:
            raise ProtocolError(
                f"its log does not say that session {session[:19]} is open",
                peer=COORDINATOR,
                here=f"so {self.place} shows it",
            )
        return LogView(self.note, tuple(self.log.growth(size)), index, tuple(self.log.inclusion(index)))


def open_copy(place: str, key: NoteKey, session: str, entry: bytes, egress: EgressJournal) -> LogCopy:
    """Return a copy of the log.

    Args:
        place: a folder, or a URL that begins with http:// or https://.
        key: of the log.
        session: for which it is read.
        entry: of the session's opening.
        egress: what is asked of a server is written there first.

    Raises:
        UsageError: it cannot be read, or is another log than that of this key.
        UnreachableError: the server cannot be reached.
        StoreError: it cannot be written down that something leaves; nothing left.
    """
    fetch = _recorded(place, session, egress)
    note = fetch(CHECKPOINT_PATH)
    try:
        return LogCopy(place, TiledLog(read_checkpoint(note, key)[0], fetch), note, entry)
    except (FormatError, SignatureError) as error:
        raise UsageError(f"--log: {place} is no whole copy of this consortium's log: {error}") from error


def _recorded(place: str, session: str, egress: EgressJournal) -> Fetch:
    """Return what reads files of a log; a request to a server is in the egress journal before it leaves."""
    fetch = naming_fetch_from(place)
    if not place.startswith(("http://", "https://")):
        return fetch
    try:
        url = urlsplit(place)
        host = f"{url.hostname}:{url.port or (443 if url.scheme == 'https' else 80)}"
    except ValueError as error:
        raise UsageError(f"--log: {place}: expected a URL, such as https://log.example.org ({error})") from error

    def asked(path: str) -> bytes:
        what = f"GET {url.scheme}://{url.netloc}{url.path.rstrip('/')}/{path}"
        egress.record(Departure("download", host, what, fields={"session": session}))
        return fetch(path)

    return asked
