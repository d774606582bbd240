"""Alembic environment: runs inside the transaction of `models.tables.schema.upgrade`."""

from __future__ import annotations

from alembic import context

from models.tables.everything import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
context.run_migrations()
