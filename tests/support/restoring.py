"""A backup of all tables, taken and brought back, on either database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from models.tables.base import Base
from models.tables.database import Database

Backup = dict[str, list[dict[str, Any]]]


def backup(database: Database) -> Backup:
    with database.read() as session:
        return {
            t.name: [dict(r) for r in session.connection().execute(t.select()).mappings()]
            for t in Base.metadata.sorted_tables
        }


def restore(database: Database, taken: Backup) -> None:
    """Everything since then is forgotten."""
    with database.write() as session:
        connection = session.connection()
        if connection.dialect.name == "sqlite":
            connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        else:
            names = ", ".join(t.name for t in Base.metadata.sorted_tables)
            connection.execute(text(f"TRUNCATE {names}"))
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())
        for table in Base.metadata.sorted_tables:
            if taken[table.name]:
                connection.execute(table.insert(), taken[table.name])
