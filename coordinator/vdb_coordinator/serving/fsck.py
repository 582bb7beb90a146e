"""What a coordinator's directory and database hold, read as a whole and compared with itself.

Promises to change nothing, and to name everything that is not as it was written: events, projections, receipts, blobs, entries
and files of the transparency log, the audit log, certificates of members. Leaves whether our own keys fit our certificates to
the server, which does not start without them.

Source: protos/README.md §9.7, §11.4, §11.6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alembic.migration import MigrationContext
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from sqlalchemy import Connection, select

from vdb_coordinator.audit_export import audit_key
from vdb_coordinator.config import Home
from vdb_coordinator.files import read_file
from vdb_coordinator.identity.ca import spiffe_id
from vdb_coordinator.identity.revocation import issued_certificates
from vdb_coordinator.logged import log_entry
from vdb_coordinator.serving.auditing import check_signed_end
from vdb_coordinator.serving.history import SessionHistory, is_withdrawn, stored_phase
from vdb_coordinator.store import cosignatures, log_entries, restorations, schema
from vdb_coordinator.store.blobs import BlobStore
from vdb_coordinator.store.database import Database, newest_revision
from vdb_coordinator.store.restorations import Restoration, entries_without_events
from vdb_shared.bundle.logged import parse_record
from vdb_shared.bundle.witnessed import log_key
from vdb_shared.errors import StoreError, VdbError
from vdb_shared.identity import statement_key_of
from vdb_shared.roster import parse_roster
from vdb_shared.transparency.checkpoint import Checkpoint, read_checkpoint
from vdb_shared.transparency.merkle import leaf_hash, of_leaves, tree_root
from vdb_shared.transparency.note import NoteKey
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, grown_files

_SESSION: Final = "session"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: it is.
        problem: what is wrong with it and what to do, or "".
    """

    what: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is looked at.

    Attributes:
        home: the directory.
        database: its database, not opened: looking does not bring it up to date.
    """

    home: Home
    database: Database


def look(holdings: Holdings) -> list[Finding]:
    """Return everything that was looked at, sound or not.

    Raises:
        StoreError: the database cannot be read at all.
    """
    return holdings.database.run_now(lambda connection: list(_look(holdings, connection)))


def _look(holdings: Holdings, connection: Connection) -> Iterator[Finding]:
    revision, newest = MigrationContext.configure(connection).get_current_revision(), newest_revision()
    if revision != newest:
        yield Finding("schema", f"is of revision {revision}, this program's is {newest}; start `serve` once")
        return
    yield Finding("schema")
    blobs = BlobStore(holdings.home.blobs)
    history, expected = SessionHistory(holdings.database, blobs), list[list[bytes]]()
    for session in _sessions(connection):
        yield _finding(f"session {session}", lambda: _check_session(connection, history, session, expected))  # noqa: B023 (called before the next turn)
    yield from _look_at_blobs(connection, blobs)
    entries = log_entries.load(connection, 0)
    restored = Counter(entries_without_events(connection))
    yield _finding("log entries", lambda: _check_entries(entries, expected, restored))
    for item in restorations.load(connection):
        yield _finding(f"restoration of {item.at}", lambda: _check_restoration(connection, item, entries))  # noqa: B023 (called before the next turn)
    yield _finding("audit log", lambda: check_signed_end(connection, holdings.home.audit_end, _audit_key(connection)))
    yield _finding("members' certificates", lambda: _check_certificates(connection, holdings.home))
    yield _finding("log files", lambda: _check_files(connection, holdings.home.log, entries))
    yield _finding("witnesses' signatures", lambda: _check_cosignatures(connection, len(entries)))


def _finding(what: str, check: Callable[[], None]) -> Finding:
    try:
        check()
    except VdbError as error:
        return Finding(what, str(error))
    return Finding(what)


def _sessions(connection: Connection) -> list[str]:
    """Return all sessions that have events or a projection, oldest first where that is known."""
    projected = connection.scalars(select(schema.sessions.c.session).order_by(schema.sessions.c.opened)).all()
    told = connection.scalars(select(schema.events.c.session).distinct()).all()
    return [*projected, *sorted(set(told) - set(projected))]


def _check_session(connection: Connection, history: SessionHistory, session: str, expected: list[list[bytes]]) -> None:
    """Check a session's events, projection and receipts, and note which entries the log must have of it."""
    mine: list[bytes] = []
    expected.append(mine)
    end = 0
    for event, state, position in history.replay(connection, session):
        entry = log_entry(event, state)
        if entry is not None:
            mine.append(entry)
        end = position.sequence
    row = connection.execute(select(schema.sessions).where(schema.sessions.c.session == session)).one_or_none()
    wanted = (state.opening.spec.title, int(stored_phase(state)), end, int(is_withdrawn(state)))
    if row is None or (row.title, row.phase, row.last_event, row.withdrawn) != wanted:
        raise StoreError("its row among the sessions is not what its events make of it; restore a backup")
    if state.opening.session != session:
        raise StoreError(f"its events are those of {state.opening.session}; restore a backup")
    receipts = connection.execute(select(schema.receipts).where(schema.receipts.c.session == session)).all()
    strange = [receipt for receipt in receipts if not 1 < receipt.sequence <= end]
    if strange:
        raise StoreError(f"{len(strange)} receipts name events that it does not have; restore a backup")


def _look_at_blobs(connection: Connection, blobs: BlobStore) -> Iterator[Finding]:
    rows = connection.execute(select(schema.blobs).order_by(schema.blobs.c.digest)).all()
    for row in rows:
        problem = _finding("blob", lambda: _check_size(blobs.get(row.digest), row.size)).problem  # noqa: B023 (called before the next turn)
        if problem:
            yield Finding(f"blob {row.digest}", problem)
    yield Finding(f"{len(rows)} blobs")


def _check_size(content: bytes, size: int) -> None:
    if len(content) != size:
        raise StoreError(f"has {len(content)} bytes, its row says {size}; restore a backup")


def _check_entries(entries: list[bytes], expected: list[list[bytes]], restored: Counter[bytes]) -> None:
    """Check that the log has what the sessions' events say, once and in their order, and of sessions nothing else.

    Only entries that came with a restoration may tell of what has no events.
    """
    place = {entry: number for number, entry in enumerate(entries)}
    wanted = Counter(entry for mine in expected for entry in mine)
    missing = wanted - Counter(entries)
    if missing:
        raise StoreError(f"{missing.total()} that sessions' events call for are not there; restore a backup")
    for mine in expected:
        if [place[entry] for entry in mine] != sorted(place[entry] for entry in mine):
            raise StoreError("those of a session are not in the order of its events; restore a backup")
    strange = [entry for entry in Counter(entries) - wanted - restored if hasattr(parse_record(entry), _SESSION)]
    if strange:
        raise StoreError(f"{len(strange)} are of no event of their session; restore a backup")


def _check_files(connection: Connection, folder: Path, entries: list[bytes]) -> None:
    """Check that the last checkpoint is ours and of these entries, and that every file below it is there."""
    checkpoint, _ = read_checkpoint(read_file(folder / CHECKPOINT_PATH), _log_key(connection))
    leaves = [leaf_hash(entry) for entry in entries]
    _check_checkpoint(checkpoint, leaves)
    damaged = [
        path
        for path, data in grown_files(0, entries[: checkpoint.size], leaves[: checkpoint.size])
        if not _holds(folder / path, data)
    ]
    if damaged:
        raise StoreError(f"{len(damaged)} are lost or damaged ({damaged[0]}, …); starting `serve` writes them again")


def _check_checkpoint(checkpoint: Checkpoint, leaves: list[bytes]) -> None:
    size = checkpoint.size
    if size > len(leaves) or tree_root(size, of_leaves(leaves[:size])) != checkpoint.root:
        raise StoreError(
            f"the checkpoint was signed for {size} entries that are not these {len(leaves)}: the database was restored from a "
            "backup or changed; put the newest one back"
        )


def _check_certificates(connection: Connection, home: Home) -> None:
    """Check that every certificate that a member was given is of our authority and names it."""
    authority = x509.load_pem_x509_certificate(read_file(home.ca_certificate))
    consortium = home.read_config().consortium
    for issued in issued_certificates(connection):
        try:
            leaf = x509.load_pem_x509_certificate(issued.certificate)
            leaf.verify_directly_issued_by(authority)
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, InvalidSignature, x509.ExtensionNotFound) as error:
            raise StoreError(f"one of {issued.institution} is not of our authority; restore a backup") from error
        named = names.get_values_for_type(x509.UniformResourceIdentifier), statement_key_of(issued.certificate)
        wanted = [spiffe_id(consortium, "participant", issued.institution)]
        if named not in ((wanted, None), (wanted, issued.statement_key)):
            raise StoreError(f"one of {issued.institution} names somebody else; restore a backup")


def _check_restoration(connection: Connection, item: Restoration, entries: list[bytes]) -> None:
    """Check that the checkpoint from which a restoration went on is ours and of these entries."""
    if not item.checkpoint:
        return  # the log had never been published
    checkpoint, _ = read_checkpoint(item.checkpoint, _log_key(connection))
    if not checkpoint.size <= item.size <= len(entries):
        raise StoreError(f"left {item.size} entries of {len(entries)} that are here; restore a backup")
    _check_checkpoint(checkpoint, [leaf_hash(entry) for entry in entries])


def _audit_key(connection: Connection) -> NoteKey:
    return audit_key(str(_log_key(connection)))


def _log_key(connection: Connection) -> NoteKey:
    query = select(schema.rosters.c.roster).order_by(schema.rosters.c.version.desc()).limit(1)
    return log_key(parse_roster(connection.scalars(query).one()))


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _check_cosignatures(connection: Connection, size: int) -> None:
    strange = sum(signed > size for signed, _ in cosignatures.load(connection))
    if strange:
        raise StoreError(f"{strange} are for more entries than the log has: the database was restored from a backup")
