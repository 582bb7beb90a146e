"""The consortium's transparency log: from entries in the database to files that anybody may read.

Promises that no checkpoint is signed that does not continue the last one that was, also after a crash and with a database
restored from a backup, and that a checkpoint is there only after all the files it needs. Leaves what is logged to
`logged.py`, and serving the files to any web server, or to `log_server.py`.

Source: C2SP tlog-tiles; protos/README.md §9.7.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from vdb_coordinator.files import make_directories, read_file, write_durably
from vdb_coordinator.store import log_entries
from vdb_coordinator.store.database import Database
from vdb_shared.errors import FormatError, SignatureError, StoreError
from vdb_shared.transparency.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint
from vdb_shared.transparency.merkle import leaf_hash, of_leaves, tree_root
from vdb_shared.transparency.note import ED25519, NoteKey, NoteSigner
from vdb_shared.transparency.tiles import CHECKPOINT_PATH, WIDTH, grown_files


class TransparencyLog:
    """The log of one coordinator's directory.

    Attributes:
        key: with which everybody verifies it.
    """

    def __init__(self, database: Database, folder: Path, origin: str, signer: NoteSigner) -> None:
        self.key = NoteKey(origin, ED25519, signer.public_key.raw)
        self._database = database
        self._folder = folder
        self._signer = signer
        self._leaves: list[bytes] = []
        self._published: int | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Compare the database with the last checkpoint that was signed, and publish what is new.

        Raises:
            StoreError: the database holds fewer or other entries than were published: it is older than its log.
        """
        async with self._lock:
            entries = await self._database.run(lambda connection: log_entries.load(connection, 0))
            self._leaves = [leaf_hash(entry) for entry in entries]
            self._published = await asyncio.to_thread(self._last_published)
        await self.publish()

    async def publish(self) -> None:
        """Publish the entries that the database has and the log has not.

        Raises:
            StoreError: the files cannot be written; the log is as it was.
        """
        async with self._lock:
            if await self._database.run(log_entries.size) == self._published:
                return
            start = (self._published or 0) // WIDTH * WIDTH
            entries = await self._database.run(lambda connection: log_entries.load(connection, start))
            self._leaves[start:] = [leaf_hash(entry) for entry in entries]
            await asyncio.to_thread(self._publish, entries)

    def _publish(self, entries: list[bytes]) -> None:
        """Write what is missing, then the checkpoint.

        Args:
            entries: from the beginning of the bundle in which the published log ends.
        """
        size = len(self._leaves)
        for path, data in grown_files(self._published or 0, entries, self._leaves):
            file = self._folder / path
            make_directories(file.parent)
            write_durably(file, data)
        make_directories(self._folder)
        checkpoint = Checkpoint(self.key.name, size, tree_root(size, of_leaves(self._leaves)))
        write_durably(self._folder / CHECKPOINT_PATH, sign_checkpoint(checkpoint, self._signer).to_bytes())
        self._published = size

    def _last_published(self) -> int | None:
        file = self._folder / CHECKPOINT_PATH
        if not file.exists():
            if (self._folder / "tile").exists():
                raise StoreError(f"{file}: is gone, and tiles of the log are there; put the newest one back")
            return None
        try:
            last, _ = read_checkpoint(read_file(file), self.key)
        except (FormatError, SignatureError) as error:
            raise StoreError(f"{file}: is not this consortium's ({error}); put the right one back") from error
        size = len(self._leaves)
        if last.size > size or tree_root(last.size, of_leaves(self._leaves[: last.size])) != last.root:
            raise StoreError(
                f"{file}: the log was published with {last.size} entries, and the database does not have them: it was restored "
                "from a backup, or changed; serving from it would rewrite a public log"
            )
        return last.size
