"""What is asked every few seconds reads open work alone, however much is done: by the plans of SQLite.

PostgreSQL needs statistics to choose; there the bench measures it (`bench/sweep.py`).
"""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from models.submissions import Submission
from tasks import asking, inbox, pipeline, preparing, receipts, sending, signing
from tests.factories import AGENT_HANDLED, bring_in, confirm, upload

GROWING = (
    "submission",
    "inbox",
    "receipt_line",
    "item",
    "form",
    "form_event",
    "attempt",
    "delivery",
    "batch",
    "discrepancy",
)


@contextmanager
def plans_of(world):
    """The plans of every statement that runs, as SQLite says them."""
    found = []

    def explain(connection, cursor, statement, parameters, *_):
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            raw = connection.connection.driver_connection
            steps = raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            found.append((statement, [step[3] for step in steps]))

    engine = world.context.database.engine
    event.listen(engine, "before_cursor_execute", explain)
    yield found
    event.remove(engine, "before_cursor_execute", explain)


def whole_tables(plans):
    """Tables that a plan reads from end to end, without an index."""
    scan = re.compile(rf"^SCAN ({'|'.join(GROWING)})$")
    return [
        (m[1], statement) for statement, plan in plans for step in plan if (m := scan.match(step))
    ]


@pytest.fixture
def busy(world):
    if world.context.database.engine.dialect.name != "sqlite":
        pytest.skip("SQLite's planner needs no statistics")
    bring_in(world)
    batch = upload(world, [(AGENT_HANDLED, "核销", "", 2)])
    confirm(world, batch)
    preparing.prepare(world.context, batch)
    return world


def test_the_sweep_reads_no_table_from_end_to_end(busy):
    with plans_of(busy) as plans, busy.context.database.read() as session:
        list(pipeline.due(session, busy.clock()))
        pipeline.oldest_due(session, busy.clock())
    assert len(plans) > 2 * len(pipeline.AT_ALL)
    assert whole_tables(plans) == []


def test_no_step_of_the_way_to_customs_and_back_reads_a_table_from_end_to_end(busy):
    with plans_of(busy) as plans:
        signing.sign(busy.context)
        sending.send(busy.context)
        asking.ask(busy.context)
        busy.customs.simulated.decide_due()
        inbox.poll(busy.context)
        receipts.apply(busy.context)
    assert any(Submission.__tablename__ in statement for statement, _ in plans)
    assert whole_tables(plans) == []
