"""What is done costs nothing: with a million forms behind it no question reads a table that grows, on either
database, by the plans that they make.
"""

from __future__ import annotations

import re
import shutil
import uuid
from contextlib import contextmanager
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import event

from bench.big import FIRST, fill
from models.reads.batches import BatchFilter, list_batches
from models.reads.certificates import CertificateFilter, list_certificates
from models.reads.endorsements import awaiting_forms, came_back, sent_back
from models.reads.forms import FormFilter, free_serials, list_forms
from models.reads.health import look
from models.reads.passport import form_passport, message_batch
from models.reads.sign_ins import passwords_given
from models.reads.stock_book import (
    balances,
    list_stocks,
    movements,
    queued_forms,
    stock_book,
    weekly_use,
)
from models.reads.to_do import to_do_count
from models.rules.calendar import BEIJING, business_date
from models.rules.states import FormState
from models.tables.database import Database
from models.writes.deployment import confirm_identity
from tasks import pipeline, upkeep
from tasks.messages import asking
from tests.conftest import admin
from tests.support.factories import AGENT_HANDLED, SENDER, bring_in, confirm, upload

FORMS = 1_000_000
BATCHES = 100_000

GROWING = (
    *("form", "used_form", "form_event", "certificate", "batch", "batch_row", "submission", "item"),
    *("attempt", "inbox", "receipt_line"),
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def big_url(request, tmp_path_factory):
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("big") / "blankforms.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        url = f"sqlite:///{path}"
    else:
        base, name = request.getfixturevalue("postgres"), f"big_{uuid.uuid4().hex[:8]}"
        admin(base, f"CREATE DATABASE {name} TEMPLATE template_bf")
        url = "postgresql+psycopg://" + base.replace("/postgres?", f"/{name}?").removeprefix(
            "postgresql://"
        )
    database = Database(url)
    fill(database.engine, FORMS, BATCHES)
    database.close()
    yield url
    if request.param == "sqlite":
        path.unlink()
    else:
        admin(base, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(big_url):
    return big_url


@pytest.fixture(autouse=True)
def of_this_deployment(world):
    with world.context.database.write() as session:
        confirm_identity(session, world.context.identity, world.clock())
    world.context.journal.begun()  # what was sent is noted somewhere


@contextmanager
def no_scan(world):
    """Fail when a statement that runs is planned to read a growing table from end to end."""
    engine = world.context.database.engine
    explain, scan = {
        "sqlite": ("EXPLAIN QUERY PLAN ", re.compile(rf"^SCAN ({'|'.join(GROWING)})\b(?!.*INDEX)")),
        "postgresql": ("EXPLAIN ", re.compile(rf"Seq Scan on ({'|'.join(GROWING)})\b")),
    }[engine.dialect.name]
    seen, found = set(), []

    def in_order(table, statement):
        """The first ones by their number: the table itself is the index, and the limit ends it."""
        return re.search(rf"ORDER BY {table}\.id( DESC)?\s+LIMIT", statement)

    def before(_connection, used, statement, parameters, _context, many):
        if many or not statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
            return
        if statement in seen:
            return
        seen.add(statement)
        cursor = used.connection.cursor()
        plan = [str(row[-1]) for row in cursor.execute(explain + statement, parameters).fetchall()]
        hits = ((scan.search(step), step) for step in plan)
        found.extend(
            (step, statement) for hit, step in hits if hit and not in_order(hit[1], statement)
        )
        cursor.close()

    event.listen(engine, "before_cursor_execute", before)
    yield
    event.remove(engine, "before_cursor_execute", before)
    assert seen
    assert not found, "\n".join(f"{step}: {statement}" for step, statement in found)


def test_the_sweep_reads_only_what_is_due(world):
    bring_in(world)
    with no_scan(world):
        upkeep.sweep(world.context)
        upkeep.merge_numbers(world.context)
        upkeep.clear_unconfirmed(world.context)
        upkeep.clear_told(world.context)
        upkeep.count_stock(world.context)


def test_what_is_watched_is_not_counted(world):
    with no_scan(world), world.context.database.read() as session:
        vitals = look(session, world.clock())
        pipeline.oldest_due(session, world.clock())
    assert vitals.forms[FormState.VERIFIED] >= FORMS * 0.47


def test_the_book_is_not_counted(world):
    today = business_date(world.clock())
    with no_scan(world), world.context.database.read() as session:
        for stock in list_stocks(session, SENDER, "B"):
            stock_book(session, stock, 3)
            stock_book(session, stock, 1 << 30)
        balances(session, list_stocks(session, None, None), date(2026, 1, 1), today)
        weekly_use(session, list_stocks(session, None, None), today)
        queued_forms(session)
        month = (datetime(2026, 10, 31, 16, tzinfo=UTC), datetime(2026, 11, 30, 16, tzinfo=UTC))
        list(movements(session, *month, BEIJING, None))


FILTERS = (
    FormFilter(),
    FormFilter(states=(FormState.VERIFIED,)),
    FormFilter(states=(FormState.VOIDED,), handling="self"),
    FormFilter(states=(FormState.ISSUED,)),
    FormFilter(handling="agent"),
    FormFilter(owner=SENDER),
    FormFilter(form_type="B"),
    FormFilter(issued_from=date(2026, 1, 1), issued_to=date(2026, 1, 31)),
    FormFilter(owner=SENDER, states=(FormState.VOIDED,)),
    FormFilter(serial=f"{FIRST + 77}"),
    FormFilter(certificate="B201000000000077"),
)


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
def test_a_page_of_forms_is_read_by_an_index(world, wanted):
    with no_scan(world), world.context.database.read() as session:
        page = list_forms(session, wanted, 50)
        if page.next:
            list_forms(session, wanted, 50, page.next)
    assert page.forms


def test_lists_read_what_they_show(world):
    with no_scan(world), world.context.database.read() as session:
        list(list_batches(session, 50))
        list(list_certificates(session, CertificateFilter("B201000000000077"), 50))
        assert form_passport(session, f"{FIRST + 77}")


def test_what_the_pages_show_is_read_by_an_index(world):
    now = world.clock()
    with no_scan(world), world.context.database.read() as session:
        to_do_count(session, now)
        passwords_given(session, now)
        list(list_batches(session, 50, BatchFilter(redo_of=1)))
        list(list_batches(session, 1, BatchFilter(number=1)))
        list(list_batches(session, 5, BatchFilter(client_reference="PO-1")))
        list(list_batches(session, 50, BatchFilter(tried=False)))
        list(came_back(session, 1, 50))
        awaiting_forms(session, "B201000000000077", 20)
        sent_back(session, 1)
        assert message_batch(session, "NONE") is None
        assert len(free_serials(session, SENDER, "B", 20)) == 20


def test_an_order_is_carried_out_from_its_own_rows(world):
    bring_in(world)
    with no_scan(world):
        confirm(world, upload(world, [(AGENT_HANDLED, "核销", "", 2)], name=f"{uuid.uuid4()}.csv"))
        asking.ask(world.context)
        world.drain()
    assert len(world.customs.effects()) == 2
