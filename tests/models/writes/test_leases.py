"""Whoever is at a batch or a night keeps it; whoever has lost it changes nothing of it any more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.rules.states import BatchState
from models.tables.batches import Batch
from models.tables.reconciliation import Run
from models.writes import leases
from tasks.night import reconciliation
from tests.support.factories import AGENT_HANDLED, bring_in, upload

ANOTHER = "another-host 1 0123"
CHECKED = [BatchState.CHECKED]


@pytest.fixture
def batch(world):
    bring_in(world)
    return upload(world, [(AGENT_HANDLED, "核销", "211014001")])


@pytest.fixture
def run(world):
    return reconciliation.open_run(world.context)


def lease_of(world, table, key):
    with world.context.database.read() as session:
        found = session.get_one(table, key)
        return found.lease, found.lease_until


def taken(world, table, key):
    """By another process."""
    with world.context.database.write() as session:
        found = session.get_one(table, key)
        found.lease, found.lease_until = ANOTHER, world.clock() + timedelta(minutes=1)
    return lease_of(world, table, key)


@pytest.mark.parametrize("lease", ["mine 1 4567", ANOTHER])
def test_a_batch_is_kept_and_given_back_by_who_is_at_it_alone(world, batch, lease):
    before = taken(world, Batch, batch)
    later = world.clock() + timedelta(minutes=2)
    with world.context.database.write() as session:
        assert leases.keep_batch(session, batch, lease, later, CHECKED) is (lease == ANOTHER)
    assert (lease_of(world, Batch, batch) != before) is (lease == ANOTHER)
    with world.context.database.write() as session:
        leases.give_back_batch(session, batch, lease)
    assert (lease_of(world, Batch, batch)[0] is None) is (lease == ANOTHER)


@pytest.mark.parametrize("lease", ["mine 1 4567", ANOTHER])
def test_a_night_is_kept_and_given_back_by_who_is_at_it_alone(world, run, lease):
    before = taken(world, Run, run)
    later = world.clock() + timedelta(minutes=2)
    with world.context.database.write() as session:
        assert leases.keep(session, run, lease, later) is (lease == ANOTHER)
    assert (lease_of(world, Run, run) != before) is (lease == ANOTHER)
    with world.context.database.write() as session:
        leases.give_back(session, run, lease)
    assert (lease_of(world, Run, run)[0] is None) is (lease == ANOTHER)


def test_a_batch_in_another_state_or_taken_back_is_not_gone_on_with(world, batch):
    taken(world, Batch, batch)
    with world.context.database.write() as session:
        assert not leases.keep_batch(session, batch, ANOTHER, world.clock(), [BatchState.WORKING])
        session.get_one(Batch, batch).cancelled_at = world.clock()
        session.flush()
        assert not leases.keep_batch(session, batch, ANOTHER, world.clock(), CHECKED)
