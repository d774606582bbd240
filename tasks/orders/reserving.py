"""Stage 3, reserve: on confirmation, lock the stock and take the serials; or give them back.

The plan is made again under the lock of every stock concerned, compared with the one that was confirmed,
and taken whole: in one transaction, whose rollback frees all, or for a large batch step by step
(`models.writes.steps`), all of which are taken back when one finds the plan moved. Run twice, the second run finds
the batch no longer confirmed and does nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import Final

import structlog
from sqlalchemy import Integer, and_, func, or_, select, update
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from models.reads.deployment import known_grace
from models.reads.sight import one_exporter
from models.rules.causes import Cause
from models.rules.errors import (
    BlankformsError,
    NothingToSubmit,
    PlanMoved,
    RowsRefused,
)
from models.rules.states import Action, BatchState, FormState, ItemState, RowStatus
from models.tables.base import NO_KEY_UPDATE
from models.tables.batches import Batch, BatchRow, Item
from models.tables.bulk import CHUNK, ids_table, rows_table
from models.tables.certificates import Certificate
from models.tables.forms import Form, Stock
from models.writes.announcements import stop_order
from models.writes.blocks import advance_blocks
from models.writes.endorsements import void_endorsement
from models.writes.low_stock import count_soon
from models.writes.moves import FormMove, move_forms
from models.writes.page_limits import judge_pages
from models.writes.planner import make_plan
from models.writes.steps import OneTransaction, Steps
from tasks.app import app
from tasks.context import Context, current
from tasks.orders.stepwise import TakenOver, is_large, step_by_step

log = structlog.get_logger(__name__)

ROWS_TAKEN_TOGETHER: Final = 500
"""Rows of a large batch whose forms are taken in one transaction: about a thousand forms, a tenth of a second."""


def reserve(context: Context, batch_id: int) -> None:
    """Take the serials of a confirmed batch, all of a certificate or none.

    Raises `PlanMoved`, `RowsRefused` or `NothingToSubmit`; the batch is then back in checked, with
    the new plan. Raises `DatabaseRestored`; the batch stays confirmed, and due.
    """
    try:
        refusal = _reserve(context, batch_id)
    except TakenOver:
        log.info("batch_not_due", batch_id=batch_id, task="reserve")
        return
    except (
        PlanMoved
    ) as moved:  # a form was moved in spite of the stock's lock; the rollback freed all
        refusal = moved
        with context.database.write() as session:
            batch = session.get_one(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
            if batch.state is BatchState.CONFIRMED:
                plan = make_plan(OneTransaction(session), batch)
                _back_to_checked(session, context, batch, plan, moved)
    if refusal is not None:
        log.info("batch_back_to_checked", batch_id=batch_id, code=refusal.code)
        raise refusal
    log.info("batch_reserved", batch_id=batch_id)
    crash_point(Point.RESERVED_BEFORE_RING)
    context.ring(Task.PREPARE, batch_id)


def _reserve(context: Context, batch_id: int) -> BlankformsError | None:
    """Reserve; gives why not, when the batch is back in checked."""
    with context.database.write() as session:
        context.journal.require_current(session)
        batch = session.get(Batch, batch_id, with_for_update=NO_KEY_UPDATE)
        if batch is None or batch.state is not BatchState.CONFIRMED:
            raise TakenOver
        if not is_large(session, batch):
            return _reserve_at_once(session, context, batch)
    return _reserve_in_steps(context, batch_id)


def _reserve_at_once(session: Session, context: Context, batch: Batch) -> BlankformsError | None:
    """The plan is made again under the lock of every stock concerned, and taken whole."""
    _lock_stocks(session, _stocks_of(session, batch.id))
    steps = OneTransaction(session)
    plan = make_plan(steps, batch)
    refusal = _refusal(session, batch, plan)
    if refusal is None:
        batch.plan, batch.exporter = plan, one_exporter(session, batch.id)
        for numbers in _by_certificates(steps, batch.id):
            _take(session, context, batch, numbers)
        _begin_work(session, context, batch)
    else:
        _back_to_checked(session, context, batch, plan, refusal)
    crash_point(Point.RESERVE_BEFORE_COMMIT)
    return refusal


def _reserve_in_steps(context: Context, batch_id: int) -> BlankformsError | None:
    """The plan is made again, and taken some certificates at a time, each under the lock of the stocks.

    Nothing of the batch is prepared before all is taken; what a step finds moved frees all that was. Then the
    batch is back in checked, or, when whatever is lowest was wanted, planned anew. What was taken by a process
    that died is freed first.
    """
    with step_by_step(context, batch_id, [BatchState.CONFIRMED]) as steps:
        with steps.read() as session:
            stocks = _stocks_of(session, batch_id)
        for tries_left in reversed(range(TRIES)):
            _free_taken(steps, context, batch_id)
            refusal = _plan_again(steps, context, batch_id)
            if refusal is not None:
                return refusal
            try:
                _take_in_steps(steps, context, batch_id, stocks)
            except PlanMoved as moved:
                refusal = moved
            else:
                break
            _free_taken(steps, context, batch_id)
            with steps.read() as session:
                batch = session.get_one(Batch, batch_id)
            if batch.expected_plan is None and tries_left:
                continue
            plan = make_plan(steps, batch)
            with steps.write() as session:
                batch = session.get_one(Batch, batch_id)
                _back_to_checked(session, context, batch, plan, refusal)
            return refusal
        with steps.write() as session:
            _begin_work(session, context, session.get_one(Batch, batch_id))
    return None


TRIES: Final = 5
"""How often a large batch is planned anew when others were quicker; then a person is asked again."""


def _plan_again(steps: Steps, context: Context, batch_id: int) -> BlankformsError | None:
    with steps.read() as session:
        batch = session.get_one(Batch, batch_id)
    plan = make_plan(steps, batch)
    with steps.write() as session:
        batch = session.get_one(Batch, batch_id)
        refusal = _refusal(session, batch, plan)
        batch.plan, batch.exporter = plan, one_exporter(session, batch.id)
        if refusal is not None:
            _back_to_checked(session, context, batch, plan, refusal)
    return refusal


def _take_in_steps(steps: Steps, context: Context, batch_id: int, stocks: Sequence[int]) -> None:
    for numbers in _by_certificates(steps, batch_id):
        with steps.write() as session:
            context.journal.require_current(session)
            _lock_stocks(session, stocks)
            batch = session.get_one(Batch, batch_id)
            _require_unmoved(session, batch, numbers)
            _take(session, context, batch, numbers)
            crash_point(Point.RESERVE_BEFORE_COMMIT)


def _back_to_checked(
    session: Session, context: Context, batch: Batch, plan: str, refusal: BlankformsError
) -> None:
    batch.plan, batch.exporter = plan, one_exporter(session, batch.id)
    batch.state = BatchState.CHECKED
    batch.confirmed_content = None
    batch.checked_at = context.now()
    void_endorsement(session, batch.id, context.now())
    stop_order(session, batch, refusal, context.now())


def _begin_work(session: Session, context: Context, batch: Batch) -> None:
    """Everything is taken: it goes on, when the time to take it back is over."""
    now = context.now()
    voids = session.scalar(
        select(Item.id)
        .where(
            Item.batch_id == batch.id,
            Item.state == ItemState.UNDER_WAY,
            Item.action == Action.VOID,
        )
        .limit(1)
    )
    batch.state = BatchState.WORKING
    batch.grace_until = known_grace(session).until(
        now, voids=voids is not None, at_once=batch.at_once
    )
    kept = timedelta(hours=context.settings.reservation_hours)
    batch.expires_at = (batch.grace_until or now) + kept


def _stocks_of(session: Session, batch_id: int) -> Sequence[int]:
    """Every stock that the batch may draw from, in id order."""
    concerned = (
        select(Stock.id)
        .join(
            Certificate,
            and_(
                Certificate.type == Stock.form_type,
                or_(Certificate.exporter == Stock.owner, Certificate.agent == Stock.owner),
            ),
        )
        .join(BatchRow, BatchRow.certificate == Certificate.number)
        .where(BatchRow.batch_id == batch_id)
    )
    return session.scalars(select(Stock.id).where(Stock.id.in_(concerned)).order_by(Stock.id)).all()


def _lock_stocks(session: Session, stocks: Sequence[int]) -> None:
    """Lock these stocks, in id order."""
    session.execute(
        select(Stock.id)
        .where(Stock.id.in_(stocks))
        .order_by(Stock.id)
        .with_for_update(**NO_KEY_UPDATE)
    ).all()
    count_soon(session, stocks)


def _refusal(session: Session, batch: Batch, plan: str) -> BlankformsError | None:
    if batch.expected_plan is not None and batch.expected_plan != plan:
        return PlanMoved()
    counts = dict(
        session.execute(
            select(BatchRow.status, func.count())
            .where(BatchRow.batch_id == batch.id)
            .group_by(BatchRow.status)
        ).all()
    )
    problems = counts.get(RowStatus.PROBLEM, 0)
    if batch.all_or_nothing and problems:
        return RowsRefused(problems=problems, rows=sum(counts.values()))
    if not counts.get(RowStatus.OK):
        return NothingToSubmit()
    return None


def _by_certificates(steps: Steps, batch_id: int) -> list[array[int]]:
    """The numbers of the rows that are right, some certificates together: all rows of each."""
    right = and_(BatchRow.batch_id == batch_id, BatchRow.status == RowStatus.OK)
    chunks_of_rows = [array("q")]
    with steps.read() as session:
        rows = session.execute(
            select(BatchRow.certificate, BatchRow.number)
            .where(right)
            .order_by(BatchRow.certificate, BatchRow.number)
            .execution_options(yield_per=10 * CHUNK)
        )
        for _, of_one in groupby(rows, key=lambda r: r.certificate):
            if len(chunks_of_rows[-1]) >= ROWS_TAKEN_TOGETHER:
                chunks_of_rows.append(array("q"))
            chunks_of_rows[-1].extend(r.number for r in of_one)
    return chunks_of_rows


def _require_unmoved(session: Session, batch: Batch, numbers: Sequence[int]) -> None:
    """What was planned a moment ago of these rows is right under the lock too. Raises `PlanMoved`.

    That the forms are still free is seen when they are taken.
    """
    problems, other = judge_pages(session, batch, numbers)
    if problems:
        raise PlanMoved
    given = rows_table(session, {"number": Integer()}, [(n,) for n in numbers])
    planned = session.execute(
        select(BatchRow.number, BatchRow.page_count, func.count(Item.id))
        .outerjoin(
            Item, and_(Item.batch_id == BatchRow.batch_id, Item.row_number == BatchRow.number)
        )
        .where(
            BatchRow.batch_id == batch.id,
            BatchRow.number.in_(select(given.c.number)),
            BatchRow.page_count.is_not(None),
        )
        .group_by(BatchRow.number, BatchRow.page_count)
    )
    if any(count != other.get(number, wanted) for number, wanted, count in planned):
        raise PlanMoved
    lost_to_be_voided = and_(Form.lost_at.is_not(None), Item.action == Action.VOID)
    held = (
        select(Item.id)
        .join(Form, Form.id == Item.form_id)
        .where(
            Item.batch_id == batch.id,
            Item.row_number.in_(select(given.c.number)),
            Form.hold.is_not(None),
            ~lost_to_be_voided,
        )
    )
    if session.scalar(held.limit(1)) is not None:
        raise PlanMoved


def _take(session: Session, context: Context, batch: Batch, numbers: Sequence[int]) -> None:
    """Reserve the forms that are planned for these rows. Raises `PlanMoved` when one is not free."""
    given = rows_table(session, {"number": Integer()}, [(n,) for n in numbers])
    of_these = and_(Item.batch_id == batch.id, Item.row_number.in_(select(given.c.number)))
    items = session.execute(
        select(Item.form_id, Item.certificate, Item.named, Form.block_id)
        .join(Form, Form.id == Item.form_id)
        .where(of_these)
        .order_by(Item.form_id)
    ).all()
    reason = "; ".join(r for r in (batch.again_reason, batch.beyond_reason) if r) or None
    moves = [FormMove(i.form_id, i.certificate, batch.id, reason=reason) for i in items]
    moved = move_forms(
        session, moves, FormState.ISSUED, FormState.RESERVED, context.now(), Cause.RESERVE
    )
    if len(moved) != len(moves):
        raise PlanMoved
    session.execute(update(Item).where(of_these).values(state=ItemState.UNDER_WAY))
    advance_blocks(session, {i.block_id for i in items if not i.named})


def _free_taken(steps: Steps, context: Context, batch_id: int) -> None:
    """Give back what was taken of a batch that is not reserved as a whole, some at a time."""
    while True:
        with steps.write() as session:
            items = session.execute(
                select(Item.id, Item.form_id, Item.certificate)
                .where(Item.batch_id == batch_id, Item.state == ItemState.UNDER_WAY)
                .order_by(Item.form_id)
                .limit(CHUNK)
            ).all()
            if not items:
                return
            given = ids_table(session, [i.id for i in items])
            session.execute(
                update(Item).where(Item.id.in_(select(given.c.id))).values(state=ItemState.PLANNED)
            )
            moves = [
                FormMove(i.form_id, i.certificate, batch_id, reason=Cause.PLAN_MOVED.value)
                for i in items
            ]
            now = context.now()
            move_forms(session, moves, FormState.RESERVED, FormState.ISSUED, now, Cause.PLAN_MOVED)


@app.task(name=Task.RESERVE.value)
def reserve_task(batch_id: int) -> None:
    """A batch was confirmed and not reserved at once, because its process ended."""
    try:
        reserve(current(), batch_id)
    except BlankformsError as refusal:
        log.warning("reserve_refused", batch_id=batch_id, code=refusal.code)
