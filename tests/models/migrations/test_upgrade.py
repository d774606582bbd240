"""A database of the version before is brought up to date with its history chained."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest
from alembic import command
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import JSON, Boolean, Date, DateTime, LargeBinary, MetaData, func, select, text

from customs.http import HttpGateway
from customs.profile.bcm1 import Bcm1
from customs.signing.keyfile import KeyFileSigner
from models.rules.errors import DeploymentUnconfirmed
from models.rules.states import BatchState, SubmissionState
from models.tables.batches import Batch
from models.tables.database import Database
from models.tables.schema import HEAD, current_version, migration_config, upgrade
from models.tables.submissions import Submission
from models.writes.deployment import confirm_identity
from net.notifier_http import HttpNotifier
from tasks.context import Context
from tasks.messages import signing
from tasks.night import audit
from tasks.opening import require_deployment
from tests.conftest import DATA, Clock, World, admin, settings_for
from tests.support.factories import SENDER


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


# -- a batch under way --------------------------------------------------------------------------

UNDER_WAY = json.loads((DATA / "be51aba.json").read_text(encoding="utf-8"))
"""All tables of a database of revision be51aba (schema 0003), and the ledger of its customs: of eight messages
three are decided, one was being sent when its process died and never came to customs, one is signed, three
are prepared."""


def value_of(column, value):
    """A value of the dump as the database of this kind takes it."""
    match column.type:
        case DateTime() if value is not None:
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        case Date() if value is not None:
            return date.fromisoformat(value)
        case LargeBinary() if value is not None:
            return bytes.fromhex(value["hex"])
        case JSON() if value is not None:
            return json.loads(value)
        case Boolean() if value is not None:
            return bool(value)
    return value


def bring_in(database):
    """The dump into a database at its schema."""
    found = MetaData()
    with database.write() as session:
        connection = session.connection()
        found.reflect(connection)
        for table in found.sorted_tables:
            rows = UNDER_WAY["tables"].get(table.name, [])
            made = [{n: value_of(table.c[n], v) for n, v in row.items()} for row in rows]
            if made:
                connection.execute(table.insert(), made)
            if connection.dialect.name == "postgresql" and made and "id" in table.c:
                connection.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) FROM {table.name}"
                    )
                )
        tomorrow = datetime.now(UTC) + timedelta(days=1)
        connection.execute(found.tables["batch"].update().values(expires_at=tomorrow))


@pytest.fixture
def under_way(old_database, tmp_path, request):
    """The database after the way of docs/operation.md to this version, with the customs that it had."""
    with old_database.write() as session:
        config = migration_config()
        config.attributes["connection"] = session.connection()
        command.upgrade(config, UNDER_WAY["schema"])
    bring_in(old_database)
    (tmp_path / "simulator").mkdir()
    with closing(sqlite3.connect(tmp_path / "simulator" / "ledger.db")) as ledger:
        ledger.executescript(UNDER_WAY["ledger"])
    customs = request.getfixturevalue("customs")
    before = x509.load_pem_x509_certificate(UNDER_WAY["certificate"].encode())
    customs.simulated.settings.trusted.append(before.public_bytes(Encoding.DER))
    settings = settings_for(tmp_path / "home", SEND_DEADLINE_SECONDS="2", LEASE_SECONDS="60")
    settings.journal_file.parent.mkdir(parents=True)
    settings.journal_file.touch(0o600)  # as the version before left it
    clock = Clock()
    context = Context(
        settings,
        old_database,
        lambda *_: None,
        lambda: HttpGateway(Bcm1(), customs.url, "simulator", 4, 2),
        lambda: KeyFileSigner(request.getfixturevalue("key_folder"), SENDER),
        lambda: HttpNotifier([]),
        Bcm1,
        clock,
    )
    yield World(context, customs, clock, [])
    if "gateway" in context.__dict__:
        context.gateway.close()


def test_a_batch_that_is_under_way_ends_right_behind_the_upgrade(under_way):
    world, database = under_way, under_way.context.database
    upgrade(database)
    with pytest.raises(DeploymentUnconfirmed):
        require_deployment(database, world.context.settings)
    with pytest.raises(DeploymentUnconfirmed):  # nobody signs or sends before that
        signing.sign(world.context)
    with database.write() as session:
        confirm_identity(session, world.context.identity, world.clock())
    world.clock.forward(hours=1)  # the lease and the settle time of what was being sent are over
    world.drain()
    with database.read() as session:
        assert set(session.scalars(select(Submission.state))) == {SubmissionState.DECIDED}
        assert session.scalar(select(Batch.state)) is BatchState.FINISHED
        senders = session.execute(
            select(Submission.sender, func.count()).group_by(Submission.sender)
        )
        assert dict(senders.all()) == {None: 3, SENDER: 5}
    effects = world.customs.effects()
    assert len(effects) == 11
    assert sorted(effects.values()).count("Z") == 1
    assert len(world.customs.messages()) == 8
    world.assert_sound()
    counted = audit.Verified()
    assert list(audit.verify(world.context, counted, every_anchor=False)) == []


def test_done_twice_an_upgrade_and_its_confirmation_change_nothing(under_way):
    database = under_way.context.database
    for _ in range(2):
        upgrade(database)
        with database.write() as session:
            confirm_identity(session, under_way.context.identity, under_way.clock())
    assert current_version(database) == HEAD
