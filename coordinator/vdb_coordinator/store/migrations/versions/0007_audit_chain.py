"""The audit log is one chain of entries, numbered without gaps."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_LABEL = b"vdb-audit/1|entry"


def upgrade() -> None:
    """Apply; entries of before are chained as they stand."""
    op.add_column("attempts", sa.Column("digest", sa.LargeBinary(32), nullable=True))
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT id, at, who, action, outcome FROM attempts ORDER BY id")).all()
    digest, change = bytes(32), sa.text("UPDATE attempts SET id = :new, digest = :digest WHERE id = :id")
    for number, row in enumerate(rows, start=1):
        words = [word.encode() for word in row[1:]]
        digest = _hash(_LABEL, digest, number.to_bytes(8, "little"), *words)
        connection.execute(change, {"new": number, "digest": digest, "id": row.id})
    with op.batch_alter_table("attempts") as table:
        table.alter_column("digest", existing_type=sa.LargeBinary(32), nullable=False)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("attempts") as table:
        table.drop_column("digest")


def _hash(*fields: bytes) -> bytes:
    """Return what `labelled_hash` returned when this was written: a migration must not change with the program."""
    return hashlib.sha256(b"".join(len(field).to_bytes(8, "little") + field for field in fields)).digest()
