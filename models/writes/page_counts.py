"""Page counts in the plan: stock by stock, lowest available serials first (guide S-40..S-48)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, String, delete, exists, func, or_, select
from sqlalchemy.orm import Session

from models.reads.plans import stock_owner
from models.rules.plan import AvailableForm, PageDemand, Taking, take_pages
from models.rules.problems import Problem
from models.rules.states import (
    Action,
    BatchState,
    FormState,
    ItemState,
    PagesMode,
    RowStatus,
)
from models.tables.batches import OPEN_BATCH, Batch, BatchRow, Item
from models.tables.bulk import CHUNK, chunks, insert_rows, rows_table
from models.tables.certificates import Certificate
from models.tables.forms import Block, Form, Stock
from models.writes.row_problems import add_problems
from models.writes.steps import Steps


def plan_pages(steps: Steps, batch: Batch, wanted: Mapping[int, int]) -> None:
    """Give every page count its serials, stock by stock, lowest first.

    `wanted`: rows that get another number of forms than they say (a top-up).
    """
    page_rows = (
        select(BatchRow.number)
        .join(Certificate, Certificate.number == BatchRow.certificate)
        .where(
            BatchRow.batch_id == batch.id,
            BatchRow.status == RowStatus.OK,
            BatchRow.page_count.is_not(None),
        )
    )
    with steps.read() as session:
        stocks = session.execute(
            page_rows.with_only_columns(stock_owner().label("owner"), Certificate.type)
            .distinct()
            .order_by("owner", Certificate.type)
        ).all()
    short: dict[str, Taking] = {}
    for owner, form_type in stocks:
        of_stock = page_rows.where(stock_owner() == owner, Certificate.type == form_type)
        demands = _page_demands(steps, batch, of_stock, wanted)
        repeated = (
            of_stock.with_only_columns(BatchRow.certificate, func.sum(BatchRow.page_count))
            .where(BatchRow.pages_mode == PagesMode.ADDITIONAL)
            .group_by(BatchRow.certificate)
            .having(func.count() > 1)
        )
        with steps.read() as session:
            totals = {c: int(wanted or 0) for c, wanted in session.execute(repeated)}
        available = _available_forms(steps, batch.id, owner, form_type)
        for takings in chunks(take_pages(demands, totals, available), TAKINGS_A_STEP):
            with steps.write() as session:
                _store_takings(session, batch, takings)
            short |= {t.demand.certificate: t for t in takings if not t.forms}
    for certificates in chunks(sorted(short)):
        with steps.write() as session:
            _refuse_rest_of(session, batch, certificates, short)


TAKINGS_A_STEP: Final = 1000


def _refuse_rest_of(
    session: Session, batch: Batch, certificates: Sequence[str], short: Mapping[str, Taking]
) -> None:
    """All of a certificate's pages or none, whichever stocks they were to come from."""
    given = rows_table(session, {"number": String()}, [(c,) for c in certificates])
    rest = session.execute(
        select(BatchRow.number, BatchRow.certificate)
        .join(given, given.c.number == BatchRow.certificate)
        .where(
            BatchRow.batch_id == batch.id,
            BatchRow.status == RowStatus.OK,
            BatchRow.page_count.is_not(None),
        )
    ).all()
    for rows in chunks(rest):
        numbers = rows_table(session, {"number": Integer()}, [(r.number,) for r in rows])
        session.execute(
            delete(Item).where(
                Item.batch_id == batch.id,
                ~Item.named,
                Item.row_number.in_(select(numbers.c.number)),
            )
        )
        add_problems(
            session, batch, [(r.number, [_stock_short(short[r.certificate])]) for r in rows]
        )


def _stock_short(taking: Taking) -> Problem:
    values = {"wanted": taking.certificate_wants, "available": taking.available}
    return Problem("stock_short", "page_count", values=values)


def _page_demands(
    steps: Steps, batch: Batch, of_stock: Any, wanted: Mapping[int, int]
) -> Iterator[PageDemand]:
    """The page counts of one stock in row order."""
    last = 0
    while True:
        with steps.read() as session:
            rows = session.execute(
                of_stock.with_only_columns(
                    BatchRow.number, BatchRow.certificate, BatchRow.page_count
                )
                .where(BatchRow.number > last)
                .order_by(BatchRow.number)
                .limit(CHUNK)
            ).all()
        if not rows:
            return
        last = rows[-1].number
        done: list[int] = []
        for row in rows:
            forms = wanted.get(row.number, row.page_count)
            if forms:
                yield PageDemand(row.number, row.certificate, forms)
            else:
                done.append(row.number)
        if done:
            nothing = Problem("nothing_to_do", "page_count")
            with steps.write() as session:
                add_problems(session, batch, [(number, [nothing]) for number in done])


def _available_forms(
    steps: Steps, batch_id: int, owner: str, form_type: str
) -> Iterator[AvailableForm]:
    """Forms of a stock that a page count may take, ascending; not those that the file names, or that a
    batch is taking step by step which was confirmed before.
    """
    taken: ColumnElement[bool] = (
        select(Item.id)
        .where(Item.batch_id == batch_id, Item.named, Item.serial == Form.serial)
        .exists()
    )
    with steps.read() as session:
        blocks = session.execute(
            select(Block.id, Block.lowest_free)
            .join(Stock, Stock.id == Block.stock_id)
            .where(
                Stock.owner == owner, Stock.form_type == form_type, Block.lowest_free.is_not(None)
            )
            .order_by(Block.first_serial)
        ).all()
        being_taken = session.scalars(
            select(Batch.id).where(
                OPEN_BATCH,
                Batch.state == BatchState.CONFIRMED,
                Batch.lease.is_not(None),
                Batch.id != batch_id,
            )
        ).all()
    if being_taken:
        wanted = (Item.form_id == Form.id, Item.state == ItemState.PLANNED)
        taken = or_(taken, exists().where(*wanted, Item.batch_id.in_(being_taken)))
    for block_id, lowest_free in blocks:
        after = lowest_free
        inclusive = True
        while True:
            with steps.read() as session:
                forms = session.execute(
                    select(Form.id, Form.serial, Form.state, Form.hold, taken.label("taken"))
                    .where(
                        Form.block_id == block_id,
                        Form.serial >= after if inclusive else Form.serial > after,
                    )
                    .order_by(Form.serial)
                    .limit(CHUNK)
                ).all()
            for form in forms:
                if form.state is FormState.ISSUED and form.hold is None and not form.taken:
                    yield AvailableForm(form.id, form.serial)
            if len(forms) < CHUNK:
                break
            after, inclusive = forms[-1].serial, False


def _store_takings(session: Session, batch: Batch, takings: Sequence[Taking]) -> None:
    items = [
        {
            "batch_id": batch.id,
            "row_number": taking.demand.row_number,
            "position": position,
            "serial": form.serial,
            "action": Action.VERIFY,
            "certificate": taking.demand.certificate,
            "named": False,
            "state": ItemState.PLANNED,
            "form_id": form.form_id,
        }
        for taking in takings
        for position, form in enumerate(taking.forms, start=1)
    ]
    if items:
        insert_rows(session, Item, items)
    short = [(t.demand.row_number, [_stock_short(t)]) for t in takings if not t.forms]
    add_problems(session, batch, short)
