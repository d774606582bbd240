"""The time to think: between confirmation and the first message all of an order can be taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from config.names import Task
from models.rules.errors import NotAllowed
from models.rules.grace import Grace
from models.rules.people import Scope
from models.rules.states import BatchState, FormState
from models.tables.batches import Batch
from models.tables.forms import Form
from models.tables.submissions import Submission
from tasks import pipeline
from tasks.messages import preparing
from tasks.orders import confirming, releasing
from tasks.people import grace
from tests.support.factories import AGENT_HANDLED, bring_in, confirm, upload
from tests.support.persons import by_key

VERIFY = [[AGENT_HANDLED, "核销", f"21101400{n}"] for n in (1, 2)]
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("minutes", "voids", "at_once", "left"),
    [
        ((10, 30), False, False, 10),
        ((10, 30), True, False, 30),
        ((30, 10), True, False, 30),
        ((0, 30), False, False, None),
        ((0, 30), True, False, 30),
        ((10, 30), True, True, None),
        ((0, 0), True, False, None),
    ],
)
def test_how_long_an_order_can_be_taken_back(minutes, voids, at_once, left):
    end = Grace(*minutes).until(NOON, voids=voids, at_once=at_once)
    assert end == (None if left is None else NOON + timedelta(minutes=left))


@pytest.fixture
def thinking(world):
    bring_in(world)
    grace.set_grace(world.context, 10, 30)
    return world


def states(world):
    with world.context.database.read() as session:
        return dict(
            session.execute(
                select(Form.state, func.count())
                .where(Form.serial.in_(["211014001", "211014002"]))
                .group_by(Form.state)
            ).all()
        )


def batch(world, batch_id):
    with world.context.database.read() as session:
        return session.get_one(Batch, batch_id)


def messages(world):
    with world.context.database.read() as session:
        return session.scalar(select(func.count()).select_from(Submission))


def test_nothing_leaves_before_it_is_over_and_all_of_it_then(thinking):
    batch_id = upload(thinking, VERIFY)
    confirm(thinking, batch_id)
    thinking.clock.forward(minutes=9)
    thinking.drain()
    assert preparing.prepare(thinking.context, batch_id) == 0
    assert (messages(thinking), states(thinking)) == (0, {FormState.RESERVED: 2})
    thinking.clock.forward(minutes=1.1)
    thinking.drain()
    assert states(thinking) == {FormState.VERIFIED: 2}
    thinking.assert_sound()


def test_within_it_one_act_takes_all_of_it_back(thinking):
    batch_id = upload(thinking, VERIFY)
    confirm(thinking, batch_id)
    thinking.clock.forward(minutes=9)
    done = releasing.cancel(thinking.context, batch_id)
    assert (done.released, done.at_customs, list(done.serials)) == (2, 0, [])
    assert batch(thinking, batch_id).state is BatchState.CANCELLED
    thinking.clock.forward(minutes=60)
    thinking.drain()
    assert states(thinking) == {FormState.ISSUED: 2}
    assert thinking.customs.messages() == []
    thinking.assert_sound()


def test_after_it_the_answer_says_what_has_left_with_serials(thinking):
    thinking.customs.play({"fault": "receipt_never"})
    batch_id = upload(thinking, VERIFY)
    confirm(thinking, batch_id)
    thinking.clock.forward(minutes=11)
    thinking.drain()
    done = releasing.cancel(thinking.context, batch_id)
    assert (done.released, list(done.serials)) == (0, ["211014001", "211014002"])


def test_voids_have_their_own_longer_time(thinking):
    batch_id = upload(thinking, [[AGENT_HANDLED, "作废", "211014001", "", "", "01"]])
    confirm(thinking, batch_id)
    kept = batch(thinking, batch_id)
    assert kept.grace_until - kept.confirmed_at > timedelta(minutes=29)


def test_only_a_void_that_is_carried_out_makes_the_time_of_its_own_order_longer(thinking):
    confirm(thinking, upload(thinking, [[AGENT_HANDLED, "作废", "211014009", "", "", "01"]]))
    wrong_void = [AGENT_HANDLED, "作废", "211014003", "", "", ""]  # without its reason
    batch_id = upload(thinking, [*VERIFY, wrong_void])
    confirm(thinking, batch_id)
    kept = batch(thinking, batch_id)
    assert kept.grace_until - kept.confirmed_at < timedelta(minutes=11)


def test_an_order_that_says_now_has_none(thinking):
    batch_id = upload(thinking, VERIFY)
    confirming.confirm(thinking.context, batch_id, confirming.Confirmation(at_once=True))
    thinking.drain()
    assert states(thinking) == {FormState.VERIFIED: 2}


def test_a_key_without_the_scope_cannot_say_now(thinking):
    batch_id = upload(thinking, VERIFY)
    thinking.context.actor = by_key(thinking, "wang", Scope.SUBMIT)
    with pytest.raises(NotAllowed):
        confirming.confirm(thinking.context, batch_id, confirming.Confirmation(at_once=True))
    confirm(thinking, batch_id)
    assert batch(thinking, batch_id).grace_until is not None


def test_what_is_thought_over_is_not_due_and_not_late(thinking):
    confirm(thinking, upload(thinking, VERIFY))
    with thinking.context.database.read() as session:
        due = {task for task, _ in pipeline.due(session, thinking.clock())}
    assert Task.PREPARE not in due


def test_a_reservation_lasts_its_hours_from_the_end_of_the_grace(thinking):
    batch_id = upload(thinking, VERIFY)
    confirm(thinking, batch_id)
    kept = batch(thinking, batch_id)
    hours = thinking.context.settings.reservation_hours
    assert kept.expires_at == kept.grace_until + timedelta(hours=hours)


def test_a_grace_of_a_clock_that_ran_a_year_ahead_holds_nothing_for_a_year(thinking):
    batch_id = upload(thinking, VERIFY)
    confirm(thinking, batch_id)
    with thinking.context.database.write() as session:
        session.get_one(Batch, batch_id).grace_until = thinking.clock() + timedelta(days=365)
    thinking.drain()
    assert states(thinking) == {FormState.VERIFIED: 2}
