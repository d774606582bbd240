"""A night, and what it found."""

from __future__ import annotations

from sqlalchemy import select

from models.rules.states import RunState
from models.tables.forms import Form
from models.tables.reconciliation import Difference
from tasks.night import reconciliation
from tasks.night.repair_actions import Order

FIRST, SECOND = Order("张三", "海关电话确认"), Order("李四", approve=True)


def night(world) -> int:
    run_id = reconciliation.open_run(world.context)
    assert reconciliation.reconcile(world.context, run_id) is RunState.FINISHED
    return run_id


def differences(world, run_id):
    with world.context.database.read() as session:
        return session.scalars(
            select(Difference).where(Difference.run_id == run_id).order_by(Difference.id)
        ).all()


def form(world, serial, form_type="B"):
    with world.context.database.read() as session:
        return session.scalars(
            select(Form).where(Form.serial == serial, Form.form_type == form_type)
        ).one()
