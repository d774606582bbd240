"""Paper in somebody's keeping: hold and release forms, report them lost, count them (盘点)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.reads.sight import Sight
from models.reads.stock_book import list_stocks
from models.rules.causes import Cause
from models.rules.errors import BadArgument, NotFound
from models.rules.language import t
from models.rules.people import Deed
from models.rules.serials import show_serials
from models.rules.states import FormState, ItemState
from models.rules.stocktake import BookedForm, Stocktake, sort_out
from models.rules.two_persons import ChangeKind, Rule
from models.tables.base import Serial
from models.tables.batches import Item
from models.tables.bulk import CHUNK, chunks, rows_table
from models.tables.forms import Form, Stock
from models.writes.acts import record_act
from models.writes.holds import hold_forms, lock_stocks_of, lose_forms, release_forms
from sheets.imports import read_counted
from sheets.questions import NO_ANSWERS, Answers
from tasks.context import Context
from tasks.people.changes import ask_where_ruled


@dataclass(frozen=True, slots=True)
class Concerned:
    """A form that a person named."""

    id: int
    serial: str
    form_type: str
    owner: str
    state: FormState
    lost_at: datetime | None
    batch_id: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """Forms that were dealt with, those that were so already, and those that must not be."""

    changed: list[Concerned]
    unchanged: list[Concerned]
    refused: list[Concerned]
    request: int | None = None
    """Of a second person, who is asked first."""


Change = Callable[[Session, Sequence[int], datetime, str], list[int]]


def hold(context: Context, serials: Sequence[str], form_type: str | None, reason: str) -> Done:
    """Keep issued forms from being taken. Reserved and used ones are refused, the others held.

    Raises `NotFound` for serials that are not in stock, `BadArgument` for one that several types have.
    """

    def change(session: Session, ids: Sequence[int], at: datetime, why: str) -> list[int]:
        return hold_forms(session, ids, at, Cause.HOLD, why, issued_only=True)

    return _change(context, serials, form_type, reason, change, Deed.FORMS_HELD)


def release(context: Context, serials: Sequence[str], form_type: str | None, reason: str) -> Done:
    """Let held or lost forms be taken again. Raises as `hold`.

    Where the rules want a second person for a lost one, all of it waits for them (`Done.request`).
    """
    with context.database.write() as session:
        concerned = _concerned(session, serials, form_type, context.sight)
        lost = [f for f in concerned if f.lost_at is not None]
        about = show_serials([f.serial for f in concerned])
        request = lost and ask_where_ruled(
            session, context, Rule.LOST, Deed.FORMS_RELEASED, ChangeKind.RELEASE, about,
            forms=[f.id for f in concerned], reason=reason,
        )  # fmt: skip
    if request:
        return Done([], concerned, [], request)
    return _change(context, serials, form_type, reason, release_forms, Deed.FORMS_RELEASED)


def lose(context: Context, serials: Sequence[str], form_type: str | None, reason: str) -> Done:
    """Block issued forms at once, as lost; they can still be voided with reason 04. Raises as `hold`."""
    return _change(context, serials, form_type, reason, lose_forms, Deed.FORMS_LOST)


def _change(
    context: Context,
    serials: Sequence[str],
    form_type: str | None,
    reason: str,
    change: Change,
    deed: Deed,
) -> Done:
    only_issued = deed is not Deed.FORMS_RELEASED
    with context.database.write() as session:
        sight = context.sight
        lock_stocks_of(session, [f.id for f in _concerned(session, serials, form_type, sight)])
        concerned = _concerned(session, serials, form_type, sight)  # as they are under the lock
        allowed = [f for f in concerned if f.state is FormState.ISSUED or not only_issued]
        changed = set(change(session, [f.id for f in allowed], context.now(), reason))
        about = show_serials([f.serial for f in allowed if f.id in changed])
        record_act(session, context.actor, deed, about, context.now(), reason=reason)
    return Done(
        [f for f in allowed if f.id in changed],
        [f for f in allowed if f.id not in changed],
        [f for f in concerned if f not in allowed],
    )


def _concerned(
    session: Session, serials: Sequence[str], form_type: str | None, sight: Sight | None
) -> list[Concerned]:
    wanted = list(dict.fromkeys(serials))
    found: list[Concerned] = []
    for chunk in chunks(wanted):
        given = rows_table(session, {"serial": Serial}, [(s,) for s in chunk])
        query = (
            select(
                Form.id,
                Form.serial,
                Form.form_type,
                Stock.owner,
                Form.state,
                Form.lost_at,
                Item.batch_id,
            )
            .join(given, given.c.serial == Form.serial)
            .join(Stock, Stock.id == Form.stock_id)
            .outerjoin(Item, (Item.form_id == Form.id) & (Item.state == ItemState.UNDER_WAY))
            .order_by(Form.serial, Form.form_type)
        )
        if sight is not None:
            query = query.where(sight.forms)
        if form_type:
            query = query.where(Form.form_type == form_type)
        found += [Concerned(*row) for row in session.execute(query)]
    named = Counter(f.serial for f in found)
    if missing := sorted(set(wanted) - named.keys()):
        raise NotFound(what=show_serials(missing))
    if several := [serial for serial, types in named.items() if types > 1]:
        twice = show_serials(several)
        raise BadArgument(
            detail=t(f"{twice} 有多种证单类型，请加 --type", f"{twice}: several types, say --type")
        )
    return found


def stocktake(
    context: Context,
    content: bytes,
    file_name: str,
    owner: str | None,
    form_type: str | None,
    answers: Answers = NO_ANSWERS,
) -> Stocktake:
    """Compare a count with the book; nothing is changed.

    Counted are the stocks named, or else those that any counted serial is in. Raises `FileError`,
    `BadArgument` when a serial is in two of these stocks.
    """
    limit = context.settings.upload_max_mb << 20
    counted = read_counted(content, file_name, limit, answers)
    with context.database.read() as session:
        stocks = [s.id for s in list_stocks(session, owner, form_type)]
        if owner is None or form_type is None:
            stocks = sorted(set(stocks) & _stocks_of(session, counted))
        result = sort_out(counted, _book(session, stocks))
    if not result.adds_up:
        raise BadArgument(
            detail=t(
                "有流水号属于多种证单类型，请用 --owner 和 --type 分别盘点",
                "serials exist in several types: count each with --owner and --type",
            )
        )
    return result


def _stocks_of(session: Session, serials: Sequence[str]) -> set[int]:
    stocks: set[int] = set()
    for chunk in chunks(serials):
        given = rows_table(session, {"serial": Serial}, [(s,) for s in chunk])
        stocks |= set(
            session.scalars(
                select(Form.stock_id).join(given, given.c.serial == Form.serial).distinct()
            )
        )
    return stocks


def _book(session: Session, stocks: Sequence[int]) -> Iterator[BookedForm]:
    rows: Any = session.execute(
        select(Form.serial, Form.form_type, Form.state, Form.lost_at.is_not(None))
        .where(Form.stock_id.in_(stocks))
        .order_by(Form.serial)
        .execution_options(yield_per=10 * CHUNK)
    )
    for row in rows:
        yield BookedForm(*row)


def set_threshold(context: Context, owner: str, form_type: str, threshold: int | None) -> None:
    """From how few forms on a stock is low; None: as the setting says. Raises `NotFound`."""
    with context.database.write() as session:
        stock = session.scalar(
            select(Stock).where(Stock.owner == owner, Stock.form_type == form_type)
        )
        if stock is None:
            raise NotFound(what=f"{owner} {form_type}")
        stock.threshold = threshold
        stock.count_at = None
