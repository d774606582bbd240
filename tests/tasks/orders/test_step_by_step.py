"""A large batch is planned and reserved step by step, and means the same as in one transaction."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from config import crash
from config.crash import Point
from models.reads.invariants import broken_invariants
from models.rules.errors import PlanMoved
from models.rules.states import BatchState, FormState, ItemState
from models.tables.batches import Batch, Item
from models.tables.forms import Form, FormEvent
from tasks.messages import preparing
from tasks.orders import planning, releasing, reserving, stepwise
from tasks.stock import custody
from tests.support.factories import SENDER, agent_certificate, bring_in, confirm, issued, upload

ROWS = 9
NAMED = "211014020"


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    monkeypatch.setattr(stepwise, "AT_ONCE", 0)
    monkeypatch.setattr(reserving, "ROWS_TAKEN_TOGETHER", 2)


@pytest.fixture
def stocked(world):
    bring_in(
        world, [issued(SENDER, "B", "211014001", 60)], [agent_certificate(n) for n in range(1, 30)]
    )
    return world


def orders(first=1, count=ROWS, pages=2):
    rows = [(agent_certificate(n).number, "核销", "", pages) for n in range(first, first + count)]
    return [*rows, (agent_certificate(first + count).number, "核销", NAMED)]


def large(world, **kind):
    return upload(world, orders(**kind), name=f"{kind}.csv")


def batch_of(world, batch_id):
    with world.context.database.read() as session:
        return session.get_one(Batch, batch_id)


def serials(world, batch_id, state=ItemState.UNDER_WAY):
    with world.context.database.read() as session:
        return session.scalars(
            select(Item.serial)
            .where(Item.batch_id == batch_id, Item.state == state)
            .order_by(Item.serial)
        ).all()


def test_it_takes_what_one_transaction_takes(stocked, monkeypatch):
    batch = large(stocked)
    in_steps = batch_of(stocked, batch).plan
    monkeypatch.setattr(stepwise, "AT_ONCE", 2000)
    assert planning.check(stocked.context, batch) == in_steps
    monkeypatch.setattr(stepwise, "AT_ONCE", 0)
    confirm(stocked, batch, plan=in_steps)
    assert serials(stocked, batch) == [f"2110140{n:02}" for n in (*range(1, 19), 20)]
    stocked.drain()
    stocked.assert_sound()
    assert len(stocked.customs.effects()) == 2 * ROWS + 1


def test_nothing_is_prepared_before_the_last_step(stocked, monkeypatch):
    batch, prepared = large(stocked), []
    take = reserving._take_in_steps

    def then_prepare(*given):
        take(*given)
        prepared.append(preparing.prepare(stocked.context, batch))

    monkeypatch.setattr(reserving, "_take_in_steps", then_prepare)
    confirm(stocked, batch)
    assert prepared == [0]
    assert preparing.prepare(stocked.context, batch) > 0


class Died(BaseException):
    """The process is gone."""


def test_a_reservation_that_died_begins_anew_and_takes_the_same(stocked, monkeypatch):
    batch, steps = large(stocked), []

    def die(point):
        if point is Point.RESERVE_BEFORE_COMMIT:
            steps.append(point)
            if len(steps) == 3:
                raise Died

    with monkeypatch.context() as dying:
        dying.setattr(crash, "_crash", die)
        with pytest.raises(Died):
            confirm(stocked, batch, plan=batch_of(stocked, batch).plan)
    assert len(serials(stocked, batch)) == 8
    with stocked.context.database.read() as session:
        assert broken_invariants(session) == {}
    stocked.drain()
    stocked.assert_sound()
    assert len(stocked.customs.effects()) == 2 * ROWS + 1


def after_planning(monkeypatch, what):
    """Do something once, when the batch is planned anew and nothing of it is taken yet."""
    plan_again = reserving._plan_again

    def then(*given):
        refusal = plan_again(*given)
        monkeypatch.setattr(reserving, "_plan_again", plan_again)
        what()
        return refusal

    monkeypatch.setattr(reserving, "_plan_again", then)


def another_order(world, number, pages):
    other = upload(world, [(agent_certificate(number).number, "核销", "", pages)], name="o.csv")
    confirm(world, other)
    return other


def test_a_form_that_was_held_meanwhile_moves_the_plan_and_all_is_freed(stocked, monkeypatch):
    batch = large(stocked)
    plan = batch_of(stocked, batch).plan
    after_planning(monkeypatch, lambda: custody.hold(stocked.context, [NAMED], None, "x"))
    with pytest.raises(PlanMoved):
        confirm(stocked, batch, plan=plan)
    assert batch_of(stocked, batch).state is BatchState.CHECKED
    assert batch_of(stocked, batch).plan != plan
    assert serials(stocked, batch) == []
    with stocked.context.database.read() as session:
        assert session.scalar(select(func.count()).where(Form.state == FormState.RESERVED)) == 0
        causes = set(session.scalars(select(FormEvent.cause)))
    assert "plan_moved" in causes
    stocked.assert_sound()


def test_whoever_wants_whatever_is_lowest_is_planned_anew(stocked, monkeypatch):
    batch = large(stocked)
    after_planning(monkeypatch, lambda: custody.hold(stocked.context, ["211014003"], None, "x"))
    confirm(stocked, batch)
    taken = serials(stocked, batch)
    assert len(taken) == 2 * ROWS + 1
    assert "211014003" not in taken
    stocked.drain()
    stocked.assert_sound()


def test_another_order_takes_other_forms_meanwhile(stocked, monkeypatch):
    batch, others = large(stocked), []
    after_planning(monkeypatch, lambda: others.append(another_order(stocked, 25, 3)))
    confirm(stocked, batch, plan=batch_of(stocked, batch).plan)
    assert serials(stocked, others[0]) == ["211014019", "211014021", "211014022"]
    stocked.drain()
    stocked.assert_sound()


def test_a_certificate_that_another_filled_meanwhile_is_not_taken_past_its_pages(
    stocked, monkeypatch
):
    batch = large(stocked)
    after_planning(monkeypatch, lambda: another_order(stocked, 3, 19))
    with pytest.raises(PlanMoved):
        confirm(stocked, batch, plan=batch_of(stocked, batch).plan)
    stocked.assert_sound()


def test_a_batch_that_is_taken_back_in_the_middle_holds_nothing(stocked, monkeypatch):
    batch, steps = large(stocked), []
    write = stepwise.ManyTransactions.write

    def cancelling(self):
        steps.append(None)
        if len(serials(stocked, batch)) >= 8 and len(steps) < 1000:
            steps.extend([None] * 1000)
            releasing.cancel(stocked.context, batch)
        return write(self)

    monkeypatch.setattr(stepwise.ManyTransactions, "write", cancelling)
    confirm(stocked, batch)
    assert batch_of(stocked, batch).state is BatchState.CANCELLED
    assert serials(stocked, batch) == []
    with stocked.context.database.read() as session:
        assert session.scalar(select(func.count()).where(Form.state != FormState.ISSUED)) == 0
    stocked.drain()
    stocked.assert_sound()


def test_a_large_batch_is_taken_back_some_at_a_time(stocked, monkeypatch):
    monkeypatch.setattr(releasing, "CHUNK", 3)
    batch = large(stocked)
    confirm(stocked, batch)
    preparing.prepare(stocked.context, batch)
    assert releasing.cancel(stocked.context, batch).released == 2 * ROWS + 1
    assert batch_of(stocked, batch).state is BatchState.CANCELLED
    stocked.assert_sound()


def test_of_two_who_check_it_at_once_one_does(stocked):
    batch = large(stocked)
    with stepwise.step_by_step(stocked.context, batch, [BatchState.CHECKED]):
        assert planning.check(stocked.context, batch) is None
        with pytest.raises(stepwise.TakenOver):  # noqa: SIM117 - the second one never gets in
            with stepwise.step_by_step(stocked.context, batch, [BatchState.CHECKED]):
                raise AssertionError
    assert planning.check(stocked.context, batch) == batch_of(stocked, batch).plan
