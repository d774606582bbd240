"""The engine and its two kinds of transaction.

`write()` commits when its block ends well and rolls back otherwise; on SQLite it takes the write
lock at its beginning (`BEGIN IMMEDIATE`), so that it never fails half-way with "database is
locked". `read()` never writes. Neither may be open while customs or the card is talked to.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import (
    DatabaseError,
    DBAPIError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm import Session, sessionmaker

from models.rules.errors import DatabaseUnreachable, DatabaseUnwritable

SQLITE_BUSY_SECONDS: Final = 60
"""How long a writer waits for another before it gives up; none of ours holds the database for more than a second
or two.
"""

READ_ONLY: Final = "25006"
"""PostgreSQL's code for a write where none is possible: the connection came to a standby."""

DISK_FULL: Final = "53100"
"""PostgreSQL's code for a disk without room."""

NO_RIGHTS: Final = "42501"
"""PostgreSQL's code for a role that may not do this."""

POSTGRES_OPTIONS: Final = (
    "-c lock_timeout=60s -c idle_in_transaction_session_timeout=300s -c synchronous_commit=on"
)

ALONE: Final = {"synchronize_session": False}
"""A statement over many rows does not look for them among the objects that a session has loaded."""


class Database:
    """One database, as seen by one process. Build it after any fork."""

    def __init__(self, url: str) -> None:
        self._sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(url) if self._sqlite else _postgres_engine(url)
        self._writers = sessionmaker(self.engine, expire_on_commit=False, execution_options=ALONE)
        readers = self.engine.execution_options(blankforms_read=True)
        self._readers = sessionmaker(readers, expire_on_commit=False)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction that writes; committed when the block ends without an exception."""
        with _understandable_errors(), self._writers.begin() as session:
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One transaction that only reads, from one moment."""
        with _understandable_errors(), self._readers() as session:
            yield session

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()


@contextmanager
def _understandable_errors() -> Iterator[None]:
    try:
        yield
    except NoConnectionFree as error:
        raise DatabaseUnreachable(detail="no connection is free") from error
    except DBAPIError as error:
        said = str(error.orig).strip().partition("\n")[0]
        if _can_only_read(error, said):
            raise DatabaseUnwritable(detail=said) from error
        if not _is_the_databases_fault(error):
            raise
        raise DatabaseUnreachable(detail=said) from error


def _can_only_read(error: DBAPIError, said: str) -> bool:
    if getattr(error.orig, "sqlstate", None) in {READ_ONLY, DISK_FULL}:
        return True
    sqlite_says = said.startswith(("attempt to write a readonly", "database or disk is full"))
    return isinstance(error.orig, sqlite3.Error) and sqlite_says


def _is_the_databases_fault(error: DBAPIError) -> bool:
    """Away, no database at all, or no rights: nothing that a statement of ours could mend."""
    if isinstance(error, (OperationalError, InterfaceError)):
        return True
    return type(error) is DatabaseError or getattr(error.orig, "sqlstate", None) == NO_RIGHTS


def _json(value: Any) -> str:
    """JSON as stored; most rows of a sheet have no problem at all."""
    return "[]" if value == [] else json.dumps(value, ensure_ascii=False)


def _postgres_engine(url: str) -> Engine:
    arguments = {
        "options": POSTGRES_OPTIONS,
        "connect_timeout": 10,
        "application_name": "blankforms",
    }
    return create_engine(url, connect_args=arguments, pool_pre_ping=True, pool_size=5)


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url, connect_args={"timeout": SQLITE_BUSY_SECONDS}, json_serializer=_json
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say so, below
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # a commit must survive a power cut
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-16384")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("blankforms_read", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine
