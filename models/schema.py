"""The schema's version: bring a database to it, or say that it is not there yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect, text

from models.database import Database
from models.errors import DatabaseUnreachable

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "0004"
"""Newest migration; a test compares it with `migrations/versions/`."""

SCHEMA_LOCK: Final = 4270202201
"""Of PostgreSQL's advisory locks: who holds it changes the schema. Any number that is no other's."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def migration_config() -> Config:
    """Alembic's configuration, without a file: the connection is handed over by the caller."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def current_version(database: Database) -> str | None:
    """Version of the schema in the database; None when there is none yet."""
    with database.read() as session:
        if not inspect(session.connection()).has_table("alembic_version"):
            return None
        return session.execute(text("SELECT version_num FROM alembic_version")).scalar()


def upgrade(database: Database) -> None:
    """Bring the schema to `HEAD`; does nothing when it is there. Two at once wait for each other."""
    with database.write() as session:
        connection = session.connection()
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})"))
        from alembic import command  # heavy, and seldom needed

        config = migration_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def require_schema(database: Database, upgrade_now: bool) -> None:
    """Make sure that the schema is at `HEAD`; the embedded database is brought there silently.

    Raises `DatabaseUnreachable` when a database that is not embedded is behind or ahead.
    """
    version = current_version(database)
    if version == HEAD:
        return
    if not upgrade_now:
        detail = f"schema {version or '-'} != {HEAD}: blankforms db upgrade"
        raise DatabaseUnreachable(detail=detail)
    upgrade(database)
