"""Each transaction that writes leaves its name, so that a database which lost the last one is known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("epochs", sa.Column("last_write", sa.LargeBinary(16), nullable=True))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("epochs") as table:
        table.drop_column("last_write")
