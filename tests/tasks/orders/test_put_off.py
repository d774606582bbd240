"""An order of a program that fails as nobody foresaw is tried ever more rarely, seen, and keeps no other one back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from config.names import Task
from models.rules.states import BatchState
from models.tables.batches import Batch
from tasks import pipeline
from tasks.orders import queued
from tests.support.factories import AGENT_HANDLED, bring_in
from tests.support.programs import program

ORDER = {"certificate": AGENT_HANDLED, "action": "verify", "serials": ["211014001"]}


@pytest.fixture
def broken(world):
    """An order whose request is kept in a way that this release cannot read; with what mends it."""
    world.clock.stop()
    bring_in(world)
    batch_id = program(world).post("/jobs", json={"orders": [ORDER], "confirm": "all"}).json["id"]
    with world.context.database.write() as session:
        batch = session.get_one(Batch, batch_id)
        before, batch.asked_for = batch.asked_for, batch.asked_for | {"confirm": "some"}

    def mend():
        with world.context.database.write() as session:
            batch = session.get_one(Batch, batch_id)
            batch.asked_for = batch.asked_for | {"confirm": before["confirm"]}

    world.broken, world.mend = batch_id, mend
    return world


def rung(world):
    """The orders that a sweep rings for now."""
    with world.context.database.read() as session:
        return [ids[0] for task, ids in pipeline.due(session, world.clock()) if task is Task.READ]


def fail(world):
    with pytest.raises(ValueError, match="some"):
        queued.read(world.context, world.broken)


def test_each_time_that_it_fails_it_waits_twice_as_long_and_at_most_ten_minutes(broken):
    assert rung(broken) == [broken.broken]
    for wait in (4, 8, 16, 32, 64, 128, 256, 512, 600, 600):
        fail(broken)
        broken.clock.forward(seconds=wait - 1)
        assert rung(broken) == [], wait
        broken.clock.forward(seconds=1)
        assert rung(broken) == [broken.broken], wait


def test_it_grows_old_where_everybody_looks(broken):
    fail(broken)
    fail(broken)
    broken.clock.forward(seconds=7)
    with broken.context.database.read() as session:
        ages = pipeline.oldest_due(session, broken.clock())
    assert 6 < ages[Task.READ] < 60


def test_the_others_go_on_and_it_goes_on_itself_once_it_is_mended(broken):
    fail(broken)
    other = {**ORDER, "serials": ["211014002"]}
    second = program(broken).post("/jobs", json={"orders": [other], "confirm": "all"}).json["id"]
    broken.drain()
    broken.mend()
    broken.clock.forward(seconds=4)
    broken.drain()
    with broken.context.database.read() as session:
        for batch_id in (broken.broken, second):
            assert session.get_one(Batch, batch_id).state is BatchState.FINISHED
    assert sorted(broken.customs.effects()) == ["211014001", "211014002"]
    broken.assert_sound()


def test_a_clock_that_ran_ahead_puts_it_off_for_no_longer(broken):
    broken.clock.forward(days=30)
    fail(broken)
    broken.clock.ahead = timedelta()
    assert rung(broken) == [broken.broken]


def test_what_another_process_is_at_stays_with_it(broken):
    with broken.context.database.write() as session:
        batch = session.get_one(Batch, broken.broken)
        batch.lease, until = "elsewhere 1 x", broken.clock() + timedelta(minutes=2)
        batch.lease_until = until
    fail(broken)
    with broken.context.database.read() as session:
        assert session.get_one(Batch, broken.broken).lease_until == until
    assert rung(broken) == [broken.broken]
