"""Opening the database of a deployment: the right schema, the right sender, the right customs, or not at all.

Every process and every command comes through here, so that none of them works on a database that it
must not use, and none says "ready" without one (rule 9 of how-it-works.md).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Final

import structlog
from sqlalchemy.exc import ArgumentError

from config.errors import ConfigurationError
from config.exits import Exit
from config.settings import Settings
from models.reads.deployment import Identity, known_identity, require_identity
from models.rules.errors import BlankformsError, Kind
from models.rules.grace import NEW_PRODUCTION_MINUTES, Grace
from models.rules.numbers import is_enterprise_code
from models.tables.database import Database
from models.tables.schema import require_schema
from models.writes.deployment import remember_identity

log = structlog.get_logger(__name__)

PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
LONGEST_PAUSE: Final = 15.0
"""Seconds between two looks at a database that is away: soon back is soon seen, and an outage of a
night is not a storm of connections."""


def connect(settings: Settings) -> Database:
    """The database of the settings, as it is. Raises `ConfigurationError` when its address is none."""
    try:
        return Database(settings.sqlalchemy_url)
    except (ArgumentError, ImportError) as error:
        raise ConfigurationError(f"DATABASE_URL: {error}") from None
    except ValueError:  # its text may hold a part of the password
        text = "DATABASE_URL: @ : / in the password must be written as %40 %3A %2F"
        raise ConfigurationError(text) from None


def open_database(settings: Settings, *, identified: bool = True) -> Database:
    """The database, at this program's schema and of this sender and customs.

    The embedded one is brought to the schema. `identified` False: for the acts that change whose it is.
    Raises `ConfigurationError`, `SchemaMissing`, `SchemaOlder`, `SchemaNewer`, `AnotherDeployment`,
    `DatabaseUnreachable`; then nothing stays open.
    """
    if settings.enterprise_code and not is_enterprise_code(settings.enterprise_code):
        raise ConfigurationError("ENTERPRISE_CODE: its check character is wrong (GB 32100)")
    database = connect(settings)
    try:
        require_schema(database, upgrade_now=settings.database_url is None)
        if identified:
            require_deployment(database, settings)
    except BaseException:
        database.close()
        raise
    return database


def require_deployment(database: Database, settings: Settings) -> None:
    """Write down whose database it is where nothing is known; else compare. Raises `AnotherDeployment`."""
    given = Identity(settings.sender, settings.customs)
    with database.read() as session:
        known = known_identity(session)
    if known is None:
        with database.write() as session:
            remember_identity(session, given, datetime.now(UTC), _first_grace(settings))
    with database.read() as session:
        require_identity(session, given)


def _first_grace(settings: Settings) -> Grace:
    """A new production system gives time to think; what is tried out, or was there before, none."""
    new = settings.blankforms_env == "production"
    return Grace(*NEW_PRODUCTION_MINUTES) if new else Grace(0, 0)


class StillAway(Exception):
    """What was waited for did not come in time."""


def wait_for_database(
    settings: Settings, pause: Callable[[float], bool], limit: float | None = None
) -> Database | None:
    """The database, however long it takes, saying so meanwhile; None when `pause` said to stop.

    `pause` waits so many seconds and tells whether to stop. Raises SystemExit(78) with a clear line for
    what waiting does not mend, and `StillAway` after `limit` seconds.
    """
    waited = 0.0
    for seconds in _pauses():
        try:
            return open_database(settings)
        except ConfigurationError as error:
            _end("bad_configuration", str(error))
        except BlankformsError as error:
            if error.kind is Kind.CONFIGURATION:
                _end(error.code, str(error))
            log.warning("waiting_for_database", code=error.code, detail=str(error), seconds=seconds)
        if limit is not None and waited + seconds > limit:
            raise StillAway
        if pause(seconds):
            return None
        waited += seconds
    raise AssertionError("the pauses have no end")


def _pauses() -> Iterator[float]:
    return chain(PAUSES, repeat(LONGEST_PAUSE))


def _end(code: str, text: str) -> None:
    log.error("cannot_start", code=code, detail=text)
    sys.exit(int(Exit.CONFIGURATION))
