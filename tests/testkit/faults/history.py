"""The history checker: what everybody wrote down of a session, compared after its end.

Looks at the coordinator's database, log and bundle, at every institution's journal, ledger and seen log, and at what was there
at every death of the coordinator. Promises to yield one sentence for each broken promise of the design, and to change nothing
that is compared.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from sqlalchemy import Connection, select

from testkit.coordinator import RunningCoordinator
from testkit.faults.agents import Agent
from vdb_coordinator.commands.upkeep import held
from vdb_coordinator.config import Home
from vdb_coordinator.serving.fsck import Holdings, look
from vdb_coordinator.serving.history import SessionHistory
from vdb_coordinator.states import Published, phase_of
from vdb_coordinator.store import log_entries, schema
from vdb_coordinator.store.blobs import BlobStore
from vdb_coordinator.store.database import Database, read_database
from vdb_participant.session import codec, records
from vdb_participant.session.correspondence import ACKNOWLEDGED
from vdb_participant.session.exchange import ADVERTISE_SENT, AGREE_SENT, LEAVING, MASK_SENT, REVEAL_SENT, SHARE_SENT
from vdb_participant.site.config import StateFolder
from vdb_participant.site.journal_format import Record, read_journal
from vdb_participant.site.ledger import Ledger
from vdb_shared.audit.log_files import fetch_from
from vdb_shared.audit.verify import verify
from vdb_shared.bundle.archive import read_archive
from vdb_shared.bundle.logged import PublishedRecord, parse_record
from vdb_shared.bundle.record import AGGREGATE
from vdb_shared.canonical import digest_bytes
from vdb_shared.errors import VdbError
from vdb_shared.secagg.encoding import LANE_OFFSET
from vdb_shared.transparency.checkpoint import Checkpoint, parse_checkpoint
from vdb_shared.transparency.merkle import leaf_hash, of_leaves, tree_root
from vdb_shared.transparency.note import parse_note
from vdb_shared.transparency.tiles import CHECKPOINT_PATH
from vdb_shared.wire import convert
from vdb_shared.wire.status import Phase, Receipt

SENT_KINDS: Final[Mapping[str, str]] = {
    records.JOIN_SENT: "Join",
    ADVERTISE_SENT: "AdvertiseKeys",
    SHARE_SENT: "ShareKeys",
    MASK_SENT: "UploadMaskedInput",
    AGREE_SENT: "SignConsistency",
    REVEAL_SENT: "RevealShares",
    records.COUNTERSIGN_SENT: "Countersign",
}
"""What a journal's record of a message is called where it arrives."""


@dataclass(frozen=True)
class Held:
    """What a coordinator's directory held at some moment.

    Attributes:
        events: digest of the chain by session and sequence.
        receipts: digest by session, seat and kind.
        checkpoint: of the log's files, if there was one.
        published: how many results the log's entries in the database publish, by session.
        phase: of each session, as it would be found after a restart.
        leaves: of the log's entries in the database.
    """

    events: Mapping[tuple[str, int], bytes]
    receipts: Mapping[tuple[str, int, str], bytes]
    checkpoint: Checkpoint | None
    published: Mapping[str, int]
    phase: Mapping[str, int]
    leaves: Sequence[bytes] = field(repr=False)


def held_by(home: Home) -> Held:
    """Return what a directory holds that nobody serves just now; of a file a copy is looked at, so that nothing is mended."""
    config = home.read_config()
    if config.database is not None:
        return read_database(config.database, lambda connection: _read(connection, home))
    with TemporaryDirectory() as folder:
        copy = Path(folder) / home.sqlite.name
        for suffix in ("", "-wal"):
            source = home.sqlite.with_name(home.sqlite.name + suffix)
            if source.exists():
                shutil.copy(source, f"{copy}{suffix}")
        with closing(Database(copy)) as database:
            return database.run_now(lambda connection: _read(connection, home))


def held_now(home: Home) -> Held:
    """Return what a directory holds whose coordinator runs."""
    return read_database(home.sqlite, lambda connection: _read(connection, home))


def _read(connection: Connection, home: Home) -> Held:
    events, sessions = schema.events.c, schema.sessions.c
    entries = log_entries.load(connection, 0)
    published: dict[str, int] = {}
    for entry in entries:
        record = parse_record(entry)
        if isinstance(record, PublishedRecord):
            published[record.session] = published.get(record.session, 0) + 1
    return Held(
        {
            (row.session, row.sequence): row.digest
            for row in connection.execute(select(events.session, events.sequence, events.digest))
        },
        {(row.session, row.seat, row.kind): row.digest for row in connection.execute(select(schema.receipts))},
        checkpoint_in(home.log / CHECKPOINT_PATH),
        published,
        {row.session: row.phase for row in connection.execute(select(sessions.session, sessions.phase))},
        [leaf_hash(entry) for entry in entries],
    )


def checkpoint_in(file: Path) -> Checkpoint | None:
    """Return the checkpoint in a file, if it is there."""
    return parse_checkpoint(parse_note(file.read_bytes()).text) if file.exists() else None


def broken_growth(earlier: Sequence[Held], last: Held) -> Iterator[str]:
    """Yield what was there at a death and is not at the end: logs only grow, states only move forward."""
    for number, held_then in enumerate(earlier):
        if not held_then.events.items() <= last.events.items():
            yield f"events that were stored at death {number} are not there any more"
        if not held_then.receipts.items() <= last.receipts.items():
            yield f"receipts that were stored at death {number} are not there any more"
        if list(held_then.leaves) != list(last.leaves[: len(held_then.leaves)]):
            yield f"entries that were logged at death {number} are others now"
        yield from not_a_beginning(held_then.checkpoint, last, f"the log as it was at death {number}")
        for session, phase in held_then.phase.items():
            if last.phase[session] < phase:
                yield f"the session went back from {Phase(phase).name} to {Phase(last.phase[session]).name}"


def not_a_beginning(seen: Checkpoint | None, last: Held, what: str) -> Iterator[str]:
    """Yield a sentence if a checkpoint is not of the beginning of the log."""
    if seen is None:
        return
    if seen.size > len(last.leaves) or tree_root(seen.size, of_leaves(last.leaves[: seen.size])) != seen.root:
        yield f"{what} ({seen.size} entries) is no beginning of the log"


def broken_store(coordinator: RunningCoordinator) -> Iterator[str]:
    """Yield what is wrong with the directory of a coordinator that does not run: fsck, and at most one result for a session."""
    with held(coordinator.home) as database:
        found = look(Holdings(coordinator.home, database))
    yield from (f"fsck: {item.what}: {item.problem}" for item in found if item.problem)
    for session, count in held_by(coordinator.home).published.items():
        if count > 1:
            yield f"{count} results of session {session} were published"


def broken_result(coordinator: RunningCoordinator, bundle: bytes, expected: Mapping[int, int]) -> Iterator[str]:
    """Yield what is wrong with a published result.

    Args:
        coordinator: whose; its log's files are read.
        bundle: as published.
        expected: the sum in lanes of which each is one institution's own: how often it must be counted.
    """
    report = verify(bundle, root=coordinator.root_fingerprint, fetch=fetch_from(str(coordinator.home.log)))
    yield from (f"audit: {line.id}: {line.detail}" for line in report.lines if line.status.value == "FAIL")
    total = np.frombuffer(read_archive(bundle)[AGGREGATE], dtype="<u8")
    lanes = (total - np.uint64(sum(expected.values()) * LANE_OFFSET)).view(np.int64)
    found = {lane: int(lanes[lane]) for lane in expected}
    if found != dict(expected):
        yield f"the sum holds {list(found.values())}, expected {list(expected.values())}"


def published_bundle(coordinator: RunningCoordinator, session: str) -> bytes:
    """Return the bundle of a published session from the directory of a coordinator that does not run."""
    blobs = BlobStore(coordinator.home.blobs)
    with held(coordinator.home) as database:
        history = SessionHistory(database, blobs)
        *_, (_, state, _) = database.run_now(lambda connection: list(history.replay(connection, session)))
    if not isinstance(state, Published):
        raise AssertionError(f"the session is {phase_of(state).words}")
    return blobs.get(state.archive)


SUBMITTED_KINDS: Final[Mapping[str, str]] = {kind: name for name, kind in SENT_KINDS.items()}
"""The record of a message by what it is called where it arrives."""


# What institutions wrote down.


@dataclass(frozen=True)
class Site:
    """What one institution's state folder says of a session."""

    folder: StateFolder
    session: str

    @property
    def journal(self) -> dict[str, Record]:
        """The journal's records by name; empty if it was never begun."""
        path = self.folder.session(self.session) / "journal"
        if not path.exists():
            return {}
        reading = read_journal(path.read_bytes(), digest_bytes(self.session))
        return {record.name: record for record in reading.records}

    @property
    def ledger(self) -> list[str]:
        """The kinds of the ledger's entries."""
        with Ledger(self.folder.ledger) as ledger:
            return [entry.kind for entry in ledger.verify()]


def broken_agents(
    agents: Sequence[Agent], home: Home, survivors: frozenset[int] | None, *, may_refuse: bool = False
) -> Iterator[str]:
    """Yield what institutions wrote down that the coordinator's directory does not bear out, or their own.

    Args:
        agents: by seat.
        home: of the coordinator, which does not run.
        survivors: seats whose inputs are in the published result; None if there is none.
        may_refuse: whether a draft may fail the audit, because it says what cannot be.
    """
    last = held_by(home)
    digests = {agent.told.words for agent in agents if agent.told.end == "published"}
    if len(digests) > 1:
        yield f"{len(digests)} different results were kept"
    if digests and survivors is None:
        yield "somebody kept a result, and none was published"
    for seat, agent in enumerate(agents):
        if agent.told.end == "broken" or (agent.told.end == "refused" and not may_refuse):
            yield f"seat {seat}: {agent.told.words}"
        site = Site(StateFolder(agent.seat.folder), agent.seat.session)
        try:
            yield from _broken_site(seat, site, last, survivors, may_leave=may_refuse)
        except VdbError as error:
            yield f"seat {seat}: {error}"


def _broken_site(
    seat: int, site: Site, last: Held, survivors: frozenset[int] | None, *, may_leave: bool
) -> Iterator[str]:
    journal = site.journal
    for words in _unborne(seat, site, last):
        yield f"seat {seat}: {words}"
    if records.ABORT_SENT in journal and not may_leave:
        yield f"seat {seat}: left the session"
    yield from not_a_beginning(checkpoint_in(site.folder.log / "checkpoint"), last, f"the log that seat {seat} saw")
    if secret := [name for name, record in journal.items() if record.kind == "secret"]:
        yield f"seat {seat}: {secret[0]} is still readable after the session's end"
    paid, is_due = site.ledger, seat in (survivors or ()) or LEAVING in journal
    due = [["debit"]] if is_due else [[], ["debit", "refund"]]
    if paid not in due:
        yield f"seat {seat}: the ledger says {paid}, expected {' or '.join(map(str, due))}"


def _unborne(seat: int, site: Site, last: Held) -> Iterator[str]:
    """Yield which messages were acknowledged to a site and are not stored, or not in the bytes that it sent."""
    journal = site.journal
    for message, kind in SENT_KINDS.items():
        if message + ACKNOWLEDGED not in journal:
            continue
        stored, sent = last.receipts.get((site.session, seat, kind)), submitted(message, journal[message])
        if stored is None:
            yield f"{message} was acknowledged, and is not stored"
        elif sent is not None and sent != stored:
            yield f"{message} was acknowledged, and other bytes are stored"


def _shares(value: bytes) -> bytes:
    headers, sealed = codec.decode_shared(value)
    return convert.shares_digest(next(iter(headers.values())), sealed, 0)


def _upload(value: bytes) -> bytes:
    upload = codec.decode_upload(value)
    return convert.masked_digest(upload.header, upload.contribution, 0)


_DIGESTS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    records.JOIN_SENT: convert.join_digest,
    ADVERTISE_SENT: lambda value: convert.keys_digest(codec.decode_signed(value), 0),
    SHARE_SENT: _shares,
    MASK_SENT: _upload,
    AGREE_SENT: lambda value: convert.consistency_digest(codec.decode_signed(value), 0),
    REVEAL_SENT: lambda value: convert.unmasking_digest(codec.decode_signed(value), 0),
    records.COUNTERSIGN_SENT: convert.countersign_digest,
}


def submitted(name: str, record: Record) -> bytes | None:
    """Return the digest by which a recorded message is acknowledged; None if its bytes were erased."""
    return None if record.kind == "erased" else _DIGESTS[name](record.value)


def unacknowledged(
    receipts: Mapping[tuple[int, str], Sequence[Receipt]], held_last: Held, session: str
) -> Iterator[str]:
    """Yield which receipts that members were given are of nothing that is stored."""
    kinds = dict(
        zip(("join", "advertise", "share", "mask", "agree", "reveal", "countersign"), SENT_KINDS.values(), strict=True)
    )
    for (seat, step), given in receipts.items():
        if any(held_last.receipts.get((session, seat, kinds[step])) != receipt.digest for receipt in given):
            yield f"seat {seat}, {step}: acknowledged and not stored"
