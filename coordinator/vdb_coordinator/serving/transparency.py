"""The consortium's transparency log: from entries in the database to files that anybody may read.

Promises that no checkpoint is signed that does not continue the last one that was, also after a crash and with a database
restored from a backup, that none is replaced by a shorter one, whoever is cancelled or held up meanwhile, that a checkpoint is
there only after all the files it needs, that files which were lost are there again after a start, the checkpoint at the next
look, and that a witness's signature counts once it verified and is durable. Leaves what is logged to `logged.py`, who may
witness to the service, how many suffice to the conductor, and serving the files to any web server, or to `log_server.py`.

Source: C2SP tlog-tiles, tlog-cosignature; protos/README.md §9.7, §9.8.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from vdb_coordinator.files import make_directories, read_file, write_durably
from vdb_coordinator.refusals import RefusedError
from vdb_coordinator.serving.failpoints import Failpoints
from vdb_coordinator.serving.unfinished import Unfinished
from vdb_coordinator.store import cosignatures, log_entries
from vdb_coordinator.store.database import Database
from vdb_coordinator.store.fallen_back import FallenBackError
from vdb_shared.errors import FormatError, SignatureError, StoreError
from vdb_shared.transparency.checkpoint import Checkpoint, cosigned_by, read_checkpoint, sign_checkpoint
from vdb_shared.transparency.merkle import (
    Complete,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    of_leaves,
    tree_root,
)
from vdb_shared.transparency.note import ED25519, Note, NoteKey, NoteSignature, NoteSigner
from vdb_shared.transparency.proof import LogProof
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, WIDTH, grown_files
from vdb_shared.wire import reasons
from vdb_shared.wire.status import LogView


@dataclass(frozen=True, slots=True)
class Gathered:
    """Witnesses of an entry.

    Attributes:
        size: of the log that most of them signed.
        cosignatures: theirs, in the order in which the witnesses were asked for.
    """

    size: int
    cosignatures: tuple[NoteSignature, ...]


class TransparencyLog:
    """The log of one coordinator's directory.

    Attributes:
        key: with which everybody verifies it.
        changed: called after the log has grown, and after a witness has signed.
    """

    def __init__(
        self, database: Database, folder: Path, origin: str, signer: NoteSigner, failpoints: Failpoints | None = None
    ) -> None:
        self.key = NoteKey(origin, ED25519, signer.public_key.raw)
        self._database = database
        self._folder = folder
        self._signer = signer
        self._leaves: list[bytes] = []
        self._published: int | None = None
        self._complete: Complete = of_leaves([])
        self._places: dict[bytes, int] = {}
        self._shown = 0
        self._cosigned: defaultdict[int, dict[tuple[str, bytes], NoteSignature]] = defaultdict(dict)
        self._lock = asyncio.Lock()
        self._unfinished = Unfinished()
        self._note = b""
        self._failpoints = failpoints or Failpoints()
        self.changed: Callable[[], None] = lambda: None

    @property
    def size(self) -> int:
        """Entries that are published."""
        return self._published or 0

    async def open(self) -> None:
        """Compare the database with the last checkpoint that was signed, and publish what is new.

        Raises:
            StoreError: the database holds fewer or other entries than were published: it is older than its log.
        """
        async with self._lock:
            entries = await self._database.run(lambda connection: log_entries.load(connection, 0))
            self._leaves = [leaf_hash(entry) for entry in entries]
            self._published = await asyncio.to_thread(self._last_published)
            await asyncio.to_thread(self._restore, entries[: self.size])
            self._show(self._leaves[: self.size])
            for size, cosignature in await self._database.run(lambda connection: list(cosignatures.load(connection))):
                self._cosigned[size][cosignature.name, cosignature.id] = cosignature
        await self.publish()

    async def publish(self) -> None:
        """Publish the entries that the database has and the log has not.

        Raises:
            StoreError: the files cannot be written, or another coordinator has published a longer log or another one; the
                log is as it was.
            FallenBackError: the database lacks what was published; nothing is signed.
        """
        await self._unfinished.finish(self._publish_new())  # no other may begin while the thread of this one writes

    async def _publish_new(self) -> None:
        async with self._lock:
            entries = await self._database.run(self._unpublished)
            if entries is None:
                await asyncio.to_thread(self._keep_checkpoint)
                return
            start = self._start
            self._leaves[start:] = [leaf_hash(entry) for entry in entries]
            await asyncio.to_thread(self._publish, entries)
            self._published = len(self._leaves)
            self._show(self._leaves)
        self.changed()

    def holds(self, entry: bytes) -> bool:
        """Return whether an entry stands in the published log."""
        return leaf_hash(entry) in self._places

    def view(self, entry: bytes, seen: int) -> LogView:
        """Return the newest checkpoint, the proof that it continues an earlier size, and where an entry stands in it.

        Whoever saw a longer log is shown this one without a proof, and will know what to make of it.

        Raises:
            RefusedError: the log has no such entry.
        """
        checkpoint, complete = self._checkpoint(self.size), self._complete
        index = self._place(entry)
        return LogView(
            sign_checkpoint(checkpoint, self._signer).to_bytes(),
            tuple(consistency_proof(seen, checkpoint.size, complete)) if seen <= checkpoint.size else (),
            index,
            tuple(inclusion_proof(index, checkpoint.size, complete)),
        )

    async def cosign(self, witness: NoteKey, size: int, value: bytes) -> None:
        """Store a witness's signature of a checkpoint.

        Args:
            witness: its key.
            size: of the checkpoint.
            value: time and signature.

        Raises:
            RefusedError: there is no such checkpoint.
            SignatureError: it does not verify.
            StoreError: it could not be stored.
        """
        if not 0 < size <= self.size:
            raise RefusedError(reasons.TOO_LATE, f"the log has {self.size} entries; nobody can have seen {size} of it")
        cosignature = NoteSignature(witness.name, witness.id, value)
        if self._has_signed(witness, size):
            return  # one is enough; more of them would only be work
        cosigned_by(Note(self._checkpoint(size).text, (cosignature,)), [witness])
        await self._database.run(lambda connection: cosignatures.store(connection, size, cosignature))
        self._cosigned[size][witness.name, witness.id] = cosignature
        self.changed()

    def gathered(self, entry: bytes, witnesses: Sequence[NoteKey]) -> Gathered:
        """Return what most of these witnesses signed of logs with an entry, of the newest such log."""
        index = self._place(entry)
        best = Gathered(self.size, ())
        for size in sorted(found for found in self._cosigned if found > index):
            lines = self._cosigned[size]
            chosen = tuple(lines[key.name, key.id] for key in witnesses if (key.name, key.id) in lines)
            if len(chosen) >= max(1, len(best.cosignatures)):
                best = Gathered(size, chosen)
        return best

    def silent(self, witnesses: Sequence[NoteKey]) -> list[NoteKey]:
        """Return those of these witnesses that have not signed the newest checkpoint."""
        return [witness for witness in witnesses if not self._has_signed(witness, self.size)]

    def _has_signed(self, witness: NoteKey, size: int) -> bool:
        return size in self._cosigned and (witness.name, witness.id) in self._cosigned[size]

    def proof(self, entry: bytes, gathered: Gathered) -> LogProof:
        """Return the proof of an entry with the signatures that were gathered."""
        index = self._place(entry)
        checkpoint = self._checkpoint(gathered.size)
        note = sign_checkpoint(checkpoint, self._signer).with_signatures(gathered.cosignatures)
        return LogProof(index, tuple(inclusion_proof(index, checkpoint.size, self._complete)), note.to_bytes())

    def proof_of(self, entry: bytes) -> LogProof:
        """Return the proof of an entry in the newest checkpoint, signed by the log alone."""
        return self.proof(entry, Gathered(self.size, ()))

    def _place(self, entry: bytes) -> int:
        place = self._places.get(leaf_hash(entry))
        if place is None:
            raise RefusedError(reasons.NOT_YET, "the log does not say so yet; ask again")
        return place

    def _checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.key.name, size, tree_root(size, self._complete))

    def _show(self, leaves: list[bytes]) -> None:
        """Take what was published as what members are shown."""
        self._complete = of_leaves(leaves)
        for place in range(self._shown, len(leaves)):
            self._places.setdefault(leaves[place], place)
        self._shown = len(leaves)

    @property
    def _start(self) -> int:
        """Where the bundle begins in which the published log ends."""
        return self.size // WIDTH * WIDTH

    def _unpublished(self, connection: Connection) -> list[bytes] | None:
        """Return the entries from where the bundle begins in which the published log ends, or None if there are no new ones.

        Raises:
            FallenBackError: those among them that were published are not these. What comes before is not read again: the
                next checkpoint is of the leaves that were published.
        """
        last = max(self.size - 1, 0)
        newest = log_entries.load(connection, last)
        if [leaf_hash(entry) for entry in newest[: self.size - last]] != self._leaves[last : self.size]:
            raise FallenBackError(f"entry {last} of the published log")
        if self._published == last + len(newest):
            return None
        entries = log_entries.load(connection, self._start)
        known = self._leaves[self._start : self.size]
        if [leaf_hash(entry) for entry in entries[: len(known)]] != known:
            raise FallenBackError(f"one of the entries {self._start} to {last} of the published log")
        return entries

    def _publish(self, entries: list[bytes]) -> None:
        """Write what is missing, then the checkpoint.

        Args:
            entries: from the beginning of the bundle in which the published log ends.
        """
        size = len(self._leaves)
        self._failpoints.reach("before-append")
        for path, data in grown_files(self._published or 0, entries, self._leaves):
            file = self._folder / path
            make_directories(file.parent)
            write_durably(file, data)
        self._failpoints.reach("in-append")
        self._write_checkpoint(size)
        self._failpoints.reach("after-append")

    def _write_checkpoint(self, size: int) -> None:
        """Write the checkpoint of the first entries; never in place of one of more of them, or of others."""
        make_directories(self._folder)
        checkpoint = Checkpoint(self.key.name, size, tree_root(size, of_leaves(self._leaves[:size])))
        note = sign_checkpoint(checkpoint, self._signer).to_bytes()
        write_durably(self._folder / CHECKPOINT_PATH, note, before_rename=lambda: self._check_replaceable(size))
        self._note = note

    def _check_replaceable(self, size: int) -> None:
        """Check that the checkpoint that is there, if it is this log's, is of no more than the first entries.

        Raises:
            StoreError: it is of more, or of others.
        """
        file = self._folder / CHECKPOINT_PATH
        try:
            note = file.read_bytes()
            if note == self._note:
                return
            there, _ = read_checkpoint(note, self.key)
        except (OSError, FormatError, SignatureError):
            return  # lost or damaged while we serve: this one takes its place
        if there.size > size or tree_root(there.size, of_leaves(self._leaves[: there.size])) != there.root:
            raise StoreError(
                f"{file}: another coordinator has published {there.size} entries here, this one was to publish {size}; stop "
                "one of the two"
            )

    def _keep_checkpoint(self) -> None:
        """Write the newest checkpoint again if what is there is not what was written last."""
        try:
            there = (self._folder / CHECKPOINT_PATH).read_bytes()
        except OSError:
            there = b""
        if there != self._note:
            self._write_checkpoint(self.size)

    def _restore(self, entries: list[bytes]) -> None:
        """Write again what is lost or damaged of the published files: the entries have the root that was signed.

        Args:
            entries: all that were published.
        """
        for path, data in grown_files(0, entries, self._leaves[: len(entries)]):
            file = self._folder / path
            if not file.is_file() or read_file(file) != data:
                make_directories(file.parent)
                write_durably(file, data)

    def _last_published(self) -> int | None:
        file = self._folder / CHECKPOINT_PATH
        if not file.exists():
            if (self._folder / "tile").exists():
                raise StoreError(f"{file}: is gone, and tiles of the log are there; put the newest one back")
            return None
        try:
            note = read_file(file)
            last, _ = read_checkpoint(note, self.key)
        except (FormatError, SignatureError) as error:
            raise StoreError(f"{file}: is not this consortium's ({error}); put the right one back") from error
        size = len(self._leaves)
        if last.size > size or tree_root(last.size, of_leaves(self._leaves[: last.size])) != last.root:
            raise StoreError(
                f"{file}: the log was published with {last.size} entries, and the database does not have them: it was restored "
                "from a backup, or changed; serving from it would rewrite a public log; use `vdb-coordinator restore`"
            )
        self._note = note
        return last.size
