"""The book of the forms: what is where now, what came and went in a period, how fast it goes (台账).

Numbers are kept beside the events (`models.writes.tallies`), so that opening + received - used = closing holds by
the same history that an auditor sees. Used is what customs has accounted for: verified or voided. A lost form
is still to be accounted for, and shown apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, func, or_, select, union_all
from sqlalchemy.orm import Session

from models.reads.tallies import amounts
from models.rules.calendar import business_date
from models.rules.causes import Cause
from models.rules.forecast import WEEK_WEIGHTS
from models.rules.language import t
from models.rules.serials import successor
from models.rules.standings import Standing, state_of
from models.rules.states import BatchState, FormState, ItemState, RowStatus
from models.rules.tallies import Movement
from models.tables.base import aware
from models.tables.batches import OPEN_BATCH, Batch, BatchRow, Item
from models.tables.bulk import CHUNK
from models.tables.forms import Block, Form, FormEvent, Stock

_STANDING: Final = case(
    (and_(Form.state == FormState.ISSUED, Form.lost_at.is_not(None)), Standing.LOST.value),
    (and_(Form.state == FormState.ISSUED, Form.hold.is_not(None)), Standing.HELD.value),
    (Form.state == FormState.ISSUED, Standing.ON_HAND.value),
    else_=Form.state,
)

_RECEIVED: Final = FormEvent.from_state.is_(None)
_USED_AS: Final = {
    state: and_(FormEvent.to_state == state.value, FormEvent.from_state != state.value)
    for state in (FormState.VERIFIED, FormState.VOIDED)
}
_USED: Final = or_(*_USED_AS.values())


@dataclass(frozen=True, slots=True)
class StockKey:
    """A stock by what people call it."""

    id: int
    owner: str
    form_type: str
    threshold: int | None


@dataclass(slots=True)
class Balance:
    """One stock over a period: opening + received - used = closing."""

    opening: int = 0
    received: int = 0
    verified: int = 0
    voided: int = 0
    lost: int = 0
    """Reported lost in the period; not subtracted: customs still counts them as ours."""

    def add(self, movement: Movement, count: int) -> None:
        """Forms that came or went in the period."""
        if movement not in {Movement.ENTERED, Movement.REFUSED}:
            setattr(self, movement.value, getattr(self, movement.value) + count)

    @property
    def closing(self) -> int:
        """Forms that were still to be accounted for at the end."""
        return self.opening + self.received - self.verified - self.voided


@dataclass(slots=True)
class StockBook:
    """One stock as it stands, with its ranges by standing."""

    key: StockKey
    counts: dict[Standing, int] = field(default_factory=lambda: dict.fromkeys(Standing, 0))
    ranges: dict[Standing, list[tuple[str, str]]] = field(
        default_factory=lambda: {s: [] for s in Standing}
    )

    @property
    def issued(self) -> int:
        """Every form that was ever issued to the owner."""
        return sum(self.counts.values())


def list_stocks(session: Session, owner: str | None, form_type: str | None) -> list[StockKey]:
    """The stocks of an owner and a type; all when left out."""
    query = select(Stock.id, Stock.owner, Stock.form_type, Stock.threshold)
    if owner:
        query = query.where(Stock.owner == owner)
    if form_type:
        query = query.where(Stock.form_type == form_type)
    return [StockKey(*row) for row in session.execute(query.order_by(Stock.owner, Stock.form_type))]


def stock_counts(session: Session, stock_id: int) -> dict[Standing, int]:
    """How many forms of a stock stand how."""
    counts = dict.fromkeys(Standing, 0)
    for standings in _counts_by_block(session, stock_id).values():
        for standing, count in standings.items():
            counts[standing] += count
    return counts


def _counts_by_block(session: Session, stock_id: int) -> dict[int, dict[Standing, int]]:
    by_block: dict[int, dict[Standing, int]] = defaultdict(dict)
    for key, count in amounts(session, f"stock:{stock_id}:").items():
        _, _, block, standing = key.split(":")
        by_block[int(block)][Standing(standing)] = count
    return by_block


def form_counts(session: Session) -> dict[FormState, int]:
    """How many forms are in which state, all in all."""
    counts: dict[FormState, int] = defaultdict(int)
    for key, count in amounts(session, "stock:").items():
        counts[state_of(Standing(key.rpartition(":")[2]))] += count
    return dict(counts)


def stock_book(session: Session, key: StockKey, range_limit: int) -> StockBook:
    """A stock by standing, with the first `range_limit` ranges of each. Memory: the ranges.

    Forms are read only of blocks whose forms do not all stand the same, and only while ranges are wanted.
    """
    book = StockBook(key)
    by_block = _counts_by_block(session, key.id)
    wanting = set()
    for standings in by_block.values():
        for standing, count in standings.items():
            book.counts[standing] += count
            wanting.add(standing)
    blocks = session.execute(
        select(Block.id, Block.first_serial, Block.last_serial)
        .where(Block.stock_id == key.id)
        .order_by(Block.first_serial)
    ).all()
    for block in blocks:
        standings = by_block.get(block.id, {})
        if not wanting & standings.keys():
            continue
        whole = [(next(iter(standings)), block.first_serial, block.last_serial)]
        for standing, first, last in whole if len(standings) == 1 else _runs(session, block):
            ranges = book.ranges[standing]
            if ranges and successor(ranges[-1][1]) == first:
                ranges[-1] = (ranges[-1][0], last)
            elif len(ranges) < range_limit:
                ranges.append((first, last))
            else:
                wanting.discard(standing)
    return book


def _runs(session: Session, block: Any) -> list[tuple[Standing, str, str]]:
    """Runs of a block's forms that stand the same, in the order of the serials, which are consecutive."""
    forms = (
        select(
            Form.serial,
            _STANDING.label("standing"),
            func.lag(_STANDING).over(order_by=Form.serial).label("before"),
            func.lag(Form.serial).over(order_by=Form.serial).label("previous"),
        )
        .where(Form.block_id == block.id)
        .subquery()
    )
    begins = session.execute(
        select(forms.c.serial, forms.c.standing, forms.c.previous)
        .where(forms.c.standing.is_distinct_from(forms.c.before))
        .order_by(forms.c.serial)
    ).all()
    ends = [begin.previous for begin in begins[1:]] + [block.last_serial]
    return [(Standing(b.standing), b.serial, end) for b, end in zip(begins, ends, strict=True)]


def _by_day(
    session: Session, stock_id: int, start: date | None, end: date
) -> Iterator[tuple[date, Movement, int]]:
    """What came and went of a stock on the days from `start` on and before `end`."""
    first = "" if start is None else start.isoformat()
    for key, count in amounts(session, f"day:{stock_id}:", first, end.isoformat()).items():
        _, _, day, movement = key.split(":")
        yield date.fromisoformat(day), Movement(movement), count


def balances(
    session: Session, stocks: Sequence[StockKey], start: date, end: date
) -> dict[int, Balance]:
    """Each of these stocks, over the days from `start` on and before `end`, by stock id.

    Forms were received on the day that customs issued them (领用日期), entered here later or not.
    """
    found: dict[int, Balance] = {}
    for stock in stocks:
        moved = list(_by_day(session, stock.id, None, end))
        balance = found[stock.id] = Balance()
        for day, movement, count in moved:
            if day >= start:
                balance.add(movement, count)
            elif movement is Movement.RECEIVED:
                balance.opening += count
            elif movement in {Movement.VERIFIED, Movement.VOIDED}:
                balance.opening -= count
    return found


def _came_between(first: date, last: date, start: datetime, end: datetime) -> Any:
    """Issued from `first` on and before `last`; by the moment of entry where the day is not known."""
    dated = and_(Block.issued_on >= first, Block.issued_on < last)
    entered = and_(Block.created_at >= start, Block.created_at < end)
    return or_(dated, and_(Block.issued_on.is_(None), entered))


@dataclass(frozen=True, slots=True)
class RegisterLine:
    """Consecutive forms that came or went together: one line of the register."""

    day: date
    owner: str
    form_type: str
    what: str
    first_serial: str
    last_serial: str
    form_count: int
    certificate: str
    batch_id: int | None
    reason: str


def movements(
    session: Session, start: datetime, end: datetime, zone: Any, owner: str | None
) -> Iterator[RegisterLine]:
    """What came and went in a period, in the order of stock and serial. Memory: one line."""
    within = and_(FormEvent.at >= start, FormEvent.at < end)
    came = and_(_RECEIVED, _came_between(business_date(start), business_date(end), start, end))
    went = and_(within, ~_RECEIVED, or_(_USED, FormEvent.cause == Cause.LOST.value))
    # each by its own index: the blocks of those days, the events of those days
    both = union_all(*(_moved(arm, owner) for arm in (came, went))).subquery()
    query = (
        select(both)
        .order_by(both.c.owner, both.c.form_type, both.c.what, both.c.serial)
        .execution_options(yield_per=10 * CHUNK)
    )
    open_line: RegisterLine | None = None
    for row in session.execute(query):
        entered = row.at.astimezone(zone).date()
        received = row.what == "received" and row.issued_on is not None
        day = row.issued_on if received else entered
        later = t(f"登记于 {entered}", f"entered on {entered}") if day != entered else ""
        line = RegisterLine(
            day, row.owner, row.form_type, row.what, row.serial, row.serial, 1,
            row.certificate or "", row.batch_id, row.reason or later,
        )  # fmt: skip
        if open_line is not None and _continues(open_line, line):
            open_line = RegisterLine(
                line.day, line.owner, line.form_type, line.what, open_line.first_serial,
                line.last_serial, open_line.form_count + 1, line.certificate, line.batch_id,
                line.reason,
            )  # fmt: skip
            continue
        if open_line is not None:
            yield open_line
        open_line = line
    if open_line is not None:
        yield open_line


def _moved(which: ColumnElement[bool], owner: str | None) -> Any:
    what = case(
        (_RECEIVED, "received"),
        (FormEvent.cause == Cause.LOST.value, "lost"),
        else_=FormEvent.to_state,
    )
    query = (
        select(
            FormEvent.at,
            Stock.owner,
            Stock.form_type,
            what.label("what"),
            Form.serial,
            FormEvent.certificate,
            FormEvent.batch_id,
            FormEvent.reason,
            Block.issued_on,
        )
        .join(Form, Form.id == FormEvent.form_id)
        .join(Block, Block.id == Form.block_id)
        .join(Stock, Stock.id == Form.stock_id)
        .where(which)
    )
    return query.where(Stock.owner == owner) if owner else query


def _continues(line: RegisterLine, following: RegisterLine) -> bool:
    def said(m: RegisterLine) -> tuple[object, ...]:
        return m.day, m.owner, m.form_type, m.what, m.certificate, m.batch_id, m.reason

    return said(line) == said(following) and successor(line.last_serial) == following.first_serial


def weekly_use(session: Session, stocks: Sequence[StockKey], today: date) -> dict[int, list[int]]:
    """Forms taken for batches or by hand in each of the last weeks, newest first, by stock id.

    A stock younger than that has fewer weeks: what it was not there for says nothing.
    """
    weeks = len(WEEK_WEIGHTS)
    end = today + timedelta(days=1)
    since = end - timedelta(weeks=weeks)
    found: dict[int, list[int]] = {}
    for stock in stocks:
        used = [0] * weeks
        for day, movement, count in _by_day(session, stock.id, since, end):
            if movement in {Movement.VERIFIED, Movement.VOIDED}:
                used[(today - day).days // 7] += count
        born = _first_entry(session, stock.id)
        if born is not None:
            found[stock.id] = used[: max(1, -(-(end - max(born, since)).days // 7))]
    return found


def _first_entry(session: Session, stock_id: int) -> date | None:
    first = session.scalar(select(func.min(Block.created_at)).where(Block.stock_id == stock_id))
    return None if first is None else business_date(aware(first))


def queued_forms(session: Session) -> dict[int, int]:
    """Forms that confirmed and not yet reserved batches want, by stock id; a dry run wants nothing."""
    rows = session.execute(
        select(Form.stock_id, func.count())
        .select_from(Item)
        .join(Batch, Batch.id == Item.batch_id)
        .join(
            BatchRow, and_(BatchRow.batch_id == Item.batch_id, BatchRow.number == Item.row_number)
        )
        .join(Form, Form.id == Item.form_id)
        .where(
            OPEN_BATCH,
            Batch.state == BatchState.CONFIRMED,
            BatchRow.status == RowStatus.OK,
            Item.state == ItemState.PLANNED,
        )
        .group_by(Form.stock_id)
    )
    return dict(rows.all())


def day_in_numbers(session: Session, day: date) -> dict[str, int]:
    """What happened to forms on a day, for the morning's digest."""
    totals = dict.fromkeys(("received", "verified", "voided", "refused", "lost"), 0)
    for stock_id in session.scalars(select(Stock.id)):
        for _, movement, count in _by_day(session, stock_id, day, day + timedelta(days=1)):
            if movement is not Movement.RECEIVED:
                totals["received" if movement is Movement.ENTERED else movement.value] += count
    return totals
