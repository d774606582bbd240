"""A clock that ran ahead was set right: nothing waits for the wrong time."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select, update

from models.rules.states import SubmissionState
from models.tables.customs_link import CustomsLink
from models.tables.submissions import Submission
from tasks import upkeep
from tasks.messages import preparing, signing
from tests.support.factories import AGENT_HANDLED, bring_in, confirm, upload


def sign_one(world):
    bring_in(world)
    batch = upload(world, [(AGENT_HANDLED, "核销", "", 1)])
    confirm(world, batch)
    preparing.prepare(world.context, batch)
    signing.sign(world.context)


def test_what_a_fast_clock_put_off_is_due_again(world):
    sign_one(world)
    far = world.clock() + timedelta(hours=5)
    with world.context.database.write() as session:
        session.execute(update(Submission).values(next_attempt_at=far))
        session.execute(update(CustomsLink).values(poll_at=far, closed_until=far))
    upkeep.sweep(world.context)
    with world.context.database.read() as session:
        link = session.scalars(select(CustomsLink)).one()
        assert link.poll_at <= world.clock()
        assert link.closed_until <= world.clock()
    world.drain()
    world.assert_sound()
    assert len(world.customs.effects()) == 1


def test_a_lease_from_the_future_ends_within_its_length(world):
    sign_one(world)
    far = world.clock() + timedelta(days=1)
    with world.context.database.write() as session:
        session.execute(update(Submission).values(state=SubmissionState.SENDING, lease_until=far))
    upkeep.sweep(world.context)
    with world.context.database.read() as session:
        left = session.scalars(select(Submission.lease_until)).one() - world.clock()
    assert left <= timedelta(seconds=world.context.settings.lease_seconds)


def test_a_pause_that_customs_asked_for_is_kept(world):
    upkeep.sweep(world.context)
    until = world.clock() + timedelta(minutes=50)
    with world.context.database.write() as session:
        session.execute(update(CustomsLink).values(closed_until=until))
    upkeep.sweep(world.context)
    with world.context.database.read() as session:
        assert session.scalars(select(CustomsLink.closed_until)).one() == until
