"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _create_sessions()
    _create_consortium()


def downgrade() -> None:
    """Undo."""
    for table in (
        "heartbeat",
        "attempts",
        "rosters",
        "enrolments",
        "invitations",
        "blobs",
        "receipts",
        "sessions",
        "events",
    ):
        op.drop_table(table)


def _create_sessions() -> None:
    op.create_table(
        "events",
        sa.Column("session", sa.String(71), nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("session", "sequence", name="pk_events"),
    )
    op.create_table(
        "sessions",
        sa.Column("session", sa.String(71), primary_key=True),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("phase", sa.Integer, nullable=False),
        sa.Column("last_event", sa.Integer, nullable=False),
        sa.Column("opened", sa.String(32), nullable=False),
    )
    op.create_table(
        "receipts",
        sa.Column("session", sa.String(71), nullable=False),
        sa.Column("seat", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("session", "seat", "kind", name="pk_receipts"),
        sa.ForeignKeyConstraint(
            ["session", "sequence"], ["events.session", "events.sequence"], name="fk_receipts_events"
        ),
    )
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String(71), primary_key=True),
        sa.Column("size", sa.Integer, nullable=False),
    )


def _create_consortium() -> None:
    op.create_table(
        "invitations",
        sa.Column("token_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("institution", sa.String(64), nullable=False),
        sa.Column("expires", sa.String(20), nullable=False),
    )
    op.create_table(
        "enrolments",
        sa.Column("token_hash", sa.LargeBinary(32), sa.ForeignKey("invitations.token_hash"), primary_key=True),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("statement_key", sa.LargeBinary(32), nullable=False),
        sa.Column("certificate", sa.LargeBinary, nullable=True),
    )
    op.create_table(
        "rosters",
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("targets", sa.LargeBinary, nullable=False),
        sa.Column("roster", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("who", sa.String(256), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(1000), nullable=False),
    )
    op.create_table(
        "heartbeat",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.String(32), nullable=False),
    )
