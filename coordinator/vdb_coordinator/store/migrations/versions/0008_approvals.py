"""Proposals of leads, and who approved them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "proposals",
        sa.Column("proposal", sa.LargeBinary(32), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("expires", sa.String(20), nullable=False),
        sa.Column("done", sa.String(20), nullable=True),
    )
    op.create_table(
        "approvals",
        sa.Column("proposal", sa.LargeBinary(32), sa.ForeignKey("proposals.proposal"), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("signature", sa.LargeBinary(64), nullable=False),
        sa.PrimaryKeyConstraint("proposal", "name", name="pk_approvals"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("approvals")
    op.drop_table("proposals")
