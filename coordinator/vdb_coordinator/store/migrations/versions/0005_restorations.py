"""Which backups the database was restored from, and which sessions were lost by that."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "restorations",
        sa.Column("epoch", sa.Integer, primary_key=True),
        sa.Column("at", sa.String(20), nullable=False),
        sa.Column("made", sa.String(20), nullable=False),
        sa.Column("complete", sa.Integer, nullable=False),
        sa.Column("kept", sa.Integer, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("checkpoint", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "lost_sessions",
        sa.Column("session", sa.String(71), primary_key=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("reason", sa.String(1000), nullable=False),
        sa.Column("abort", sa.LargeBinary, nullable=True),
        sa.ForeignKeyConstraint(["epoch"], ["restorations.epoch"], name="fk_lost_sessions_restorations"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("lost_sessions")
    op.drop_table("restorations")
