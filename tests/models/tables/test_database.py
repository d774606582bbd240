"""A database that cannot be used says so; any other error of it stays what it is."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError

from models.rules.errors import DatabaseUnreachable


@pytest.fixture
def server(world):
    if world.context.database.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no standby")
    return world.context.database


def test_a_standby_cannot_be_used(server):
    with pytest.raises(DatabaseUnreachable), server.write() as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        session.execute(text("DELETE FROM inbox"))


def test_an_error_inside_the_server_is_not_called_away(server):
    with pytest.raises(InternalError), server.write() as session:
        session.execute(text("DO $$ BEGIN RAISE 'broken' USING ERRCODE = 'XX000'; END $$"))
