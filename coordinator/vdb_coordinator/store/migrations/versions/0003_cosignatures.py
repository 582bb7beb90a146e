"""Witnesses' signatures of the log's checkpoints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "cosignatures",
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("key", sa.LargeBinary(4), nullable=False),
        sa.Column("value", sa.LargeBinary(72), nullable=False),
        sa.PrimaryKeyConstraint("size", "name", "key", name="pk_cosignatures"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("cosignatures")
