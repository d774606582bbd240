"""A database of the version before is brought up to date with its history chained."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from alembic import command
from sqlalchemy import text

from models.database import Database
from models.schema import HEAD, current_version, migration_config, upgrade
from tasks import audit
from tests.conftest import admin, settings_for
from tests.factories import SENDER


@pytest.fixture(params=["sqlite", "postgresql"])
def old_database(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/old.db"
    else:
        base = request.getfixturevalue("postgres")
        admin(base, "CREATE DATABASE old_bf")
        request.addfinalizer(lambda: admin(base, "DROP DATABASE old_bf WITH (FORCE)"))
        plain = base.replace("/postgres?", "/old_bf?")
        url = "postgresql+psycopg://" + plain.removeprefix("postgresql://")
    database = Database(url)
    with database.write() as session:
        config = migration_config()
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "0001")
    yield database
    database.close()


OLD = (
    f"INSERT INTO stock (owner, form_type) VALUES ('{SENDER}', 'B')",
    (
        "INSERT INTO block (stock_id, first_serial, last_serial, form_count, source, created_at)"
        " VALUES (1, '211014001', '211014002', 2, 'sheet', '2026-01-01 00:00:00')"
    ),
    *(
        f"INSERT INTO form (serial, form_type, stock_id, block_id, state)"
        f" VALUES ('21101400{n}', 'B', 1, 1, 'issued')"
        for n in (1, 2)
    ),
    *(
        f"INSERT INTO form_event (form_id, from_state, to_state, at, cause) VALUES"
        f" ({form}, {start}, '{end}', '2026-01-0{day} 08:00:00.123456', '{cause}')"
        for form, start, end, day, cause in (
            (1, "NULL", "issued", 1, "issue:sheet"),
            (2, "NULL", "issued", 1, "issue:sheet"),
            (1, "'issued'", "reserved", 2, "reserve"),
            (1, "'reserved'", "issued", 3, "cancel"),
        )
    ),
)


def test_the_history_of_an_older_database_is_chained_when_it_is_upgraded(old_database, tmp_path):
    with old_database.write() as session:
        for statement in OLD:
            session.execute(text(statement))
    upgrade(old_database)
    assert current_version(old_database) == HEAD
    context = SimpleNamespace(database=old_database, settings=settings_for(tmp_path))
    counted = audit.Verified()
    assert list(audit.verify(context, counted, every_anchor=False)) == []
    assert (counted.forms, counted.events) == (2, 4)
