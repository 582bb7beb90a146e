"""The list of sessions says which results are withdrawn."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_EVENTS = sa.table("events", sa.column("session"), sa.column("body", sa.LargeBinary))
_SESSIONS = sa.table("sessions", sa.column("session"), sa.column("withdrawn", sa.Integer))


def upgrade() -> None:
    """Apply, and fill it from the events."""
    op.add_column("sessions", sa.Column("withdrawn", sa.Integer, nullable=False, server_default="0"))
    connection = op.get_bind()
    rows = connection.execute(sa.select(_EVENTS)).yield_per(100)
    withdrawn = {row.session for row in rows if _is_withdrawal(row.body)}
    for session in sorted(withdrawn):
        connection.execute(_SESSIONS.update().where(_SESSIONS.c.session == session).values(withdrawn=1))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("sessions") as table:
        table.drop_column("withdrawn")


def _is_withdrawal(body: bytes) -> bool:
    try:
        event = json.loads(body)
    except ValueError:  # damage is what `fsck` tells; it must not stand in the way of an upgrade
        return False
    return isinstance(event, dict) and event.get("event") == "result-withdrawn"
