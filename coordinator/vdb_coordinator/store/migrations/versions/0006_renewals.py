"""Certificates that members renewed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "renewals",
        sa.Column("request", sa.LargeBinary(32), primary_key=True),
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("statement_key", sa.LargeBinary(32), nullable=False),
        sa.Column("issued", sa.String(20), nullable=False),
        sa.Column("certificate", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("renewals")
