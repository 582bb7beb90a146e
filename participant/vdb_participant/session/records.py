"""What the journal holds outside the rounds: names of records, and the bytes of those with several parts.

Promises one name for each record of the rounds in each attempt of them.

Source: protos/README.md §12.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

import numpy as np

from vdb_participant.session.contribution import Lanes
from vdb_participant.session.terms import Offered
from vdb_participant.site.journal import Journal
from vdb_shared.bundle.statement import RunManifest
from vdb_shared.canonical import canonical_json, decode_fields, encode_fields
from vdb_shared.privacy.record_list import RecordList
from vdb_shared.roster import SignedRoster
from vdb_shared.wire.status import SealedSession

CONSENTED: Final = "consent"
JOIN_SENT: Final = "join/sent"
SEAL_RECEIVED: Final = "seal/received"
MEASURED: Final = "measurement"
DEBIT_BEGUN: Final = "ledger/begun"
"""Recorded before the ledger is debited, so that a debit without it shows that a journal was lost."""
RESTART: Final = "restart/"
"""Begins the name of the record of what led to an attempt: "restart/1"."""
COUNTERSIGN_SENT: Final = "countersign/sent"
ABORT_SENT: Final = "abort/sent"
OUTCOME: Final = "outcome"
"""The last record: nothing is sent after it."""

PUBLISHED: Final = b"published"

WE_LEFT: Final = "we left the session: "
"""Begins the outcome of a session that the institution left; why it did follows."""

NEVER_AGAIN: Final = "; a session that was left cannot be joined again"
"""Ends that outcome where an earlier life left, and was not told that it had ended."""


def in_attempt(attempt: int, name: str) -> str:
    """Return what a record of the rounds is called in an attempt: after a restart "attempt-1/share-keys/sent"."""
    return f"attempt-{attempt}/{name}" if attempt else name


def present_attempt(journal: Journal) -> int:
    """Return the attempt that a journal has come to, from 0."""
    return sum(name.startswith(RESTART) for name in journal.names)


def in_some_attempt(journal: Journal, name: str) -> bool:
    """Return whether a record of the rounds was written in any attempt."""
    return any(in_attempt(attempt, name) in journal for attempt in range(present_attempt(journal) + 1))


@dataclass(frozen=True, slots=True)
class Consented:
    """What was consented to, and on what grounds.

    Attributes:
        offered: what the coordinator said, as received.
        moment: when, UTC; expiry is judged by it for the rest of the session.
        plan: the text that was shown.
        dataset: content id of the data.
        folder: where they were.
        cluster: address of the Ray cluster that was to make clips, "" for this machine; None in records of versions that did
            not note it.
    """

    offered: Offered
    moment: datetime
    plan: str = field(repr=False)
    dataset: str
    folder: str
    cluster: str | None = ""

    def encode(self) -> bytes:
        """Return the record's bytes."""
        roster = self.offered.roster
        return encode_fields(
            self.offered.spec,
            self.offered.open,
            encode_fields(*roster.roots),
            roster.targets,
            roster.roster,
            self.moment.isoformat().encode(),
            self.plan.encode(),
            self.dataset.encode(),
            self.folder.encode(),
            *(() if self.cluster is None else (self.cluster.encode(),)),
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the value of a record."""
        spec, opening, roots, targets, roster, moment, plan, dataset, folder, *cluster = decode_fields(data)
        offered = Offered(spec, opening, SignedRoster(decode_fields(roots), targets, roster))
        return cls(
            offered,
            datetime.fromisoformat(moment.decode()),
            plan.decode(),
            dataset.decode(),
            folder.decode(),
            cluster[0].decode() if cluster else None,
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """What goes into the rounds.

    Attributes:
        lanes: encoded statistic with noise, (lanes,), int64.
        manifest: what was run.
        private: all private records of the data that were measured; what is charged. It stays here.
    """

    lanes: Lanes = field(repr=False)
    manifest: RunManifest
    private: RecordList

    def encode(self) -> bytes:
        """Return the record's bytes."""
        manifest = canonical_json(self.manifest.model_dump(mode="json"))
        return encode_fields(self.lanes.astype("<i8").tobytes(), manifest, self.private.body)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Return the value of a record."""
        lanes, manifest, private = decode_fields(data, 3)
        return cls(
            np.frombuffer(lanes, dtype="<i8").astype(np.int64),
            RunManifest.model_validate_json(manifest),
            RecordList.decode(private),
        )

    def erase(self) -> None:
        """Overwrite the lanes in memory."""
        self.lanes.fill(0)


def encode_sealed(sealed: SealedSession) -> bytes:
    """Return a seal, its joins and the proof that it names as bytes."""
    return encode_fields(sealed.seal, sealed.open_proof, *sealed.joins)


def decode_sealed(data: bytes) -> SealedSession:
    """Return what these bytes hold of a seal."""
    seal, proof, *joins = decode_fields(data)
    return SealedSession(seal, tuple(joins), proof)
