"""Tables of the coordinator's database, as SQLAlchemy Core describes them.

`events` is the truth about sessions; `sessions` and `receipts` are projections written in the same transaction. The Alembic
tree in `migrations/` creates what stands here; a test compares the two.

Source: protos/README.md §11.4.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
)

metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("session", String(71), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    PrimaryKeyConstraint("session", "sequence", name="pk_events"),
)
"""Append-only. `digest` chains an event to all before it; the primary key is the compare-and-swap."""

sessions = Table(
    "sessions",
    metadata,
    Column("session", String(71), primary_key=True),
    Column("title", String, nullable=False),
    Column("phase", Integer, nullable=False),
    Column("last_event", Integer, nullable=False),
    Column("opened", String(32), nullable=False),
    Column("withdrawn", Integer, nullable=False, server_default="0"),
)
"""`withdrawn` is 1 of a session whose published result is withdrawn."""

receipts = Table(
    "receipts",
    metadata,
    Column("session", String(71), nullable=False),
    Column("seat", Integer, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("sequence", Integer, nullable=False),
    PrimaryKeyConstraint("session", "seat", "kind", name="pk_receipts"),
    ForeignKeyConstraint(["session", "sequence"], ["events.session", "events.sequence"], name="fk_receipts_events"),
)
"""One accepted submission of each kind from each seat: a second one cannot be stored."""

blobs = Table(
    "blobs",
    metadata,
    Column("digest", String(71), primary_key=True),
    Column("size", Integer, nullable=False),
)

invitations = Table(
    "invitations",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("institution", String(64), nullable=False),
    Column("expires", String(20), nullable=False),
)

enrolments = Table(
    "enrolments",
    metadata,
    Column("token_hash", LargeBinary(32), ForeignKey("invitations.token_hash"), primary_key=True),
    Column("request", LargeBinary, nullable=False),
    Column("statement_key", LargeBinary(32), nullable=False),
    Column("certificate", LargeBinary, nullable=True),
)
"""What an invitation was used for; `certificate` is there once the lead has approved."""

renewals = Table(
    "renewals",
    metadata,
    Column("request", LargeBinary(32), primary_key=True),
    Column("institution", String(64), nullable=False),
    Column("statement_key", LargeBinary(32), nullable=False),
    Column("issued", String(20), nullable=False),
    Column("certificate", LargeBinary, nullable=False),
)
"""Certificates that members renewed, by the SHA-256 of what their statement key signed to ask for them."""

rosters = Table(
    "rosters",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("targets", LargeBinary, nullable=False),
    Column("roster", LargeBinary, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", String(32), nullable=False),
    Column("who", String(256), nullable=False),
    Column("action", String(64), nullable=False),
    Column("outcome", String(1000), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
)
"""The audit log: what leads and the coordinator did, and what was refused. `digest` chains an entry to all before it; `id` is
its number, from 1 and without gaps."""

proposals = Table(
    "proposals",
    metadata,
    Column("proposal", LargeBinary(32), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("expires", String(20), nullable=False),
    Column("done", String(20), nullable=True),
)
"""What leads proposed, by SHA-256; `done` is when it was taken to be done, once."""

approvals = Table(
    "approvals",
    metadata,
    Column("proposal", LargeBinary(32), ForeignKey("proposals.proposal"), nullable=False),
    Column("name", String(64), nullable=False),
    Column("signature", LargeBinary(64), nullable=False),
    PrimaryKeyConstraint("proposal", "name", name="pk_approvals"),
)
"""Signatures of proposals, one of each name."""

log_entries = Table(
    "log_entries",
    metadata,
    Column("position", Integer, primary_key=True),
    Column("entry", LargeBinary, nullable=False),
)
"""Entries of the transparency log, append-only, from position 0."""

cosignatures = Table(
    "cosignatures",
    metadata,
    Column("size", Integer, nullable=False),
    Column("name", String(200), nullable=False),
    Column("key", LargeBinary(4), nullable=False),
    Column("value", LargeBinary(72), nullable=False),
    PrimaryKeyConstraint("size", "name", "key", name="pk_cosignatures"),
)
"""Witnesses' signatures of the log's checkpoints, by its size, the name and the key of the witness."""

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", String(32), nullable=False),
)
"""One row, rewritten to learn whether the database can be written."""

epochs = Table(
    "epochs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("last_write", LargeBinary(16), nullable=True),
)
"""One row: `number` grows whenever a coordinator opens this database, and `last_write` is the random name of its last
transaction that wrote. Who lost the database for a while sees whether another had it, and whether it is still the same."""

restorations = Table(
    "restorations",
    metadata,
    Column("epoch", Integer, primary_key=True),
    Column("at", String(20), nullable=False),
    Column("made", String(20), nullable=False),
    Column("complete", Integer, nullable=False),
    Column("kept", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    Column("checkpoint", LargeBinary, nullable=False),
)
"""Restorations from a backup: the epoch that each began, when, when the backup was made, whether it was said to be complete
(1), how many entries of the log it had, how many the log had afterwards, and the newest checkpoint that was known."""

lost_sessions = Table(
    "lost_sessions",
    metadata,
    Column("session", String(71), primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("reason", String(1000), nullable=False),
    Column("abort", LargeBinary, nullable=True),
    ForeignKeyConstraint(["epoch"], ["restorations.epoch"], name="fk_lost_sessions_restorations"),
)
"""Sessions that the log announces and of which a restoration found nothing else; `abort` is ours if it had not ended."""
