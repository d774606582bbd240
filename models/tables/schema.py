"""The schema's version: bring a database to it, or say why this program cannot use it."""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from sqlalchemy import Connection, inspect, text

from models.rules.errors import DatabaseUnreachable, SchemaMissing, SchemaNewer, SchemaOlder
from models.tables.database import Database
from models.tables.locks import Lock

if TYPE_CHECKING:
    from alembic.config import Config

log = structlog.get_logger(__name__)

HEAD: Final = "0012"
"""Newest migration; a test compares it with `migrations/versions/`. Versions are numbers of one length."""

MIGRATIONS: Final = Path(__file__).parent.parent / "migrations"


def migration_config() -> Config:
    """Alembic's configuration, without a file: the connection is handed over by the caller."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def current_version(database: Database) -> str | None:
    """Version of the schema in the database; None when there is none yet."""
    with database.read() as session:
        return _version(session.connection())


def upgrade(database: Database) -> Path | None:
    """Bring the schema to `HEAD`; does nothing when it is there. Two at once wait for each other.

    A SQLite file that holds anything is copied aside first; gives the copy's path. Raises `SchemaNewer`,
    and `DatabaseUnreachable` when there is no room for the copy.
    """
    with database.write() as session:
        connection = session.connection()
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({Lock.SCHEMA.value})"))
        found = _version(connection)
        if found == HEAD:
            return None
        _require_known(found)
        copy = _copied_aside(connection, found) if found else None
        from alembic import command  # heavy, and seldom needed

        config = migration_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return copy


def require_schema(database: Database, upgrade_now: bool) -> None:
    """Make sure that the schema is at `HEAD`; the embedded database is brought there.

    Raises `SchemaNewer`; and when the database is not embedded `SchemaMissing` and `SchemaOlder`.
    """
    found = current_version(database)
    if found == HEAD:
        return
    _require_known(found)
    if upgrade_now:
        upgrade(database)
    elif found is None:
        raise SchemaMissing
    else:
        raise SchemaOlder(found=found, wanted=HEAD)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _require_known(found: str | None) -> None:
    if found is not None and found > HEAD:
        raise SchemaNewer(found=found, wanted=HEAD)


def _copied_aside(connection: Connection, found: str) -> Path | None:
    """A copy of the SQLite file as it is now, beside it, for its owner alone; None on PostgreSQL.

    The caller holds the write lock, so nothing changes meanwhile; other connections may read.
    """
    file = connection.engine.url.database
    if connection.dialect.name != "sqlite" or not file:
        return None
    path = Path(file)
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    copy = path.with_name(f"{path.name}.before-{HEAD}-{found}-{moment}")
    try:
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL, 0o600))
        source, target = sqlite3.connect(path), sqlite3.connect(copy)
        try:
            source.backup(target)
        finally:
            source.close()
            target.close()
        _on_disk(copy)
    except (OSError, sqlite3.Error) as error:
        copy.unlink(missing_ok=True)
        raise DatabaseUnreachable(detail=f"{copy}: {error}") from error
    log.warning("database_copied_before_upgrade", copy=str(copy))
    return copy


def _on_disk(path: Path) -> None:
    for name in (path, path.parent):
        descriptor = os.open(name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
