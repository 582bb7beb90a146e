"""How long a site can still answer spot checks: lists of samples are erased when the site's own policy says so.

Promises that a list goes only once its session has ended here, and that nothing else of a session does. With the list goes the
one secret of its salts: what the contribution says of it then is a number about nothing.

Source: protos/README.md §12.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from vdb_participant.session.records import OUTCOME
from vdb_participant.session.samples import SAMPLES_FILE
from vdb_participant.site.config import StateFolder
from vdb_participant.site.journal_format import read_journal
from vdb_participant.site.policy import PolicyFile
from vdb_participant.site.storage import erase
from vdb_shared.canonical import digest_bytes


def drop_old_samples(folder: StateFolder, policy: PolicyFile, now: datetime) -> tuple[str, ...]:
    """Erase the lists that the policy keeps no longer and return the ids of their sessions.

    Args:
        folder: state folder of the site.
        policy: its rules.
        now: the present time; a list is as old as its file.

    Raises:
        StoreError: a journal is damaged.
    """
    if policy.samples_days is None:
        return ()
    oldest = (now - timedelta(days=policy.samples_days)).timestamp()
    dropped = []
    for session, place in _lists(folder):
        if place.stat().st_mtime < oldest and _ended(folder, session):
            erase(place)
            dropped.append(session)
    return tuple(dropped)


def _lists(folder: StateFolder) -> Iterator[tuple[str, Path]]:
    for place in sorted((folder.path / "sessions").glob(f"*/{SAMPLES_FILE}")):
        yield f"sha256:{place.parent.name}", place


def _ended(folder: StateFolder, session: str) -> bool:
    journal = folder.session(session) / "journal"
    if not journal.exists():
        return False
    return any(record.name == OUTCOME for record in read_journal(journal.read_bytes(), digest_bytes(session)).records)
