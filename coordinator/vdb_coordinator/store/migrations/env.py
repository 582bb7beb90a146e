"""Alembic runs this to apply migrations on the connection that `database.py` hands over."""

from __future__ import annotations

from alembic import context

from vdb_coordinator.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
