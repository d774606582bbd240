"""The book of the forms: what is where now, what came and went in a period, how fast it goes (台账).

Counted from the events, so that opening + received - used = closing holds by the same history that an
auditor sees. Used is what customs has accounted for: verified or voided. A lost form is still to be
accounted for, and shown apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session

from models.batches import Batch, BatchRow, Item
from models.bulk import CHUNK
from models.forecast import WEEK_WEIGHTS
from models.language import Text, t
from models.runs import business_date
from models.serials import successor
from models.states import BatchState, FormState, ItemState, RowStatus, text_of
from models.stock import Block, Form, FormEvent, Stock


class Standing(StrEnum):
    """Where a form stands in the book; every form is in exactly one."""

    ON_HAND = "on_hand"
    HELD = "held"
    LOST = "lost"
    RESERVED = "reserved"
    VERIFY_SUBMITTED = "verify_submitted"
    VOID_SUBMITTED = "void_submitted"
    VERIFIED = "verified"
    VOIDED = "voided"


STANDING_WORDS: Final[dict[Standing, Text]] = {
    Standing.ON_HAND: Text("可用", "on hand"),
    Standing.HELD: Text("停用", "held"),
    Standing.LOST: Text("遗失", "lost"),
    **{s: text_of(FormState(s.value)) for s in list(Standing)[3:]},
}

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


def stock_book(session: Session, key: StockKey, range_limit: int) -> StockBook:
    """Count a stock by standing, with the first `range_limit` ranges of each. Memory: the ranges."""
    book = StockBook(key)
    last: Standing | None = None
    following = ""
    for serial, word in session.execute(
        select(Form.serial, _STANDING)
        .where(Form.stock_id == key.id)
        .order_by(Form.serial)
        .execution_options(yield_per=10 * CHUNK)
    ):
        standing = Standing(word)
        book.counts[standing] += 1
        ranges = book.ranges[standing]
        if standing is last and serial == following and ranges:
            ranges[-1] = (ranges[-1][0], serial) if len(ranges) <= range_limit else ranges[-1]
        elif len(ranges) <= range_limit:
            ranges.append((serial, serial))
        last, following = standing, successor(serial)
    for ranges in book.ranges.values():
        del ranges[range_limit:]
    return book


def balances(session: Session, start: datetime, end: datetime) -> dict[int, Balance]:
    """Every stock over `start` <= time < `end`, by stock id.

    Forms were received on the day that customs issued them (领用日期), entered here later or not.
    """
    before, within = FormEvent.at < start, and_(FormEvent.at >= start, FormEvent.at < end)
    first, last = business_date(start), business_date(end)
    undated = Block.issued_on.is_(None)
    had = and_(_RECEIVED, or_(Block.issued_on < first, and_(undated, before)))
    came = and_(_RECEIVED, _came_between(first, last, within))

    def count(condition: Any) -> Any:
        return func.sum(case((condition, 1), else_=0))

    rows = session.execute(
        select(
            Form.stock_id,
            count(had) - count(and_(before, _USED)),
            count(came),
            count(and_(within, _USED_AS[FormState.VERIFIED])),
            count(and_(within, _USED_AS[FormState.VOIDED])),
            count(and_(within, FormEvent.cause == "lost")),
        )
        .join(Form, Form.id == FormEvent.form_id)
        .join(Block, Block.id == Form.block_id)
        .where(or_(_RECEIVED, _USED, FormEvent.cause == "lost"))
        .group_by(Form.stock_id)
    )
    return {stock_id: Balance(*map(int, numbers)) for stock_id, *numbers in rows}


def _came_between(first: date, last: date, within: Any) -> Any:
    """Issued from `first` on and before `last`; by the moment of entry where the day is not known."""
    dated = and_(Block.issued_on >= first, Block.issued_on < last)
    return or_(dated, and_(Block.issued_on.is_(None), within))


@dataclass(frozen=True, slots=True)
class Movement:
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
) -> Iterator[Movement]:
    """What came and went in a period, in the order of stock and serial. Memory: one line."""
    within = and_(FormEvent.at >= start, FormEvent.at < end)
    what = case(
        (_RECEIVED, "received"),
        (FormEvent.cause == "lost", "lost"),
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
        .where(
            or_(
                and_(_RECEIVED, _came_between(business_date(start), business_date(end), within)),
                and_(within, ~_RECEIVED, or_(_USED, FormEvent.cause == "lost")),
            )
        )
        .order_by(Stock.owner, Stock.form_type, what, Form.serial)
        .execution_options(yield_per=10 * CHUNK)
    )
    if owner:
        query = query.where(Stock.owner == owner)
    open_line: Movement | None = None
    for row in session.execute(query):
        entered = row.at.astimezone(zone).date()
        received = row.what == "received" and row.issued_on is not None
        day = row.issued_on if received else entered
        later = t(f"登记于 {entered}", f"entered on {entered}") if day != entered else ""
        line = Movement(
            day, row.owner, row.form_type, row.what, row.serial, row.serial, 1,
            row.certificate or "", row.batch_id, row.reason or later,
        )  # fmt: skip
        if open_line is not None and _continues(open_line, line):
            open_line = Movement(
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


def _continues(line: Movement, following: Movement) -> bool:
    def said(m: Movement) -> tuple[object, ...]:
        return m.day, m.owner, m.form_type, m.what, m.certificate, m.batch_id, m.reason

    return said(line) == said(following) and successor(line.last_serial) == following.first_serial


def weekly_use(session: Session, now: datetime) -> dict[int, list[int]]:
    """Forms taken for batches or by hand in each of the last weeks, newest first, by stock id.

    A stock younger than that has fewer weeks: what it was not there for says nothing.
    """
    weeks = len(WEEK_WEIGHTS)
    used: dict[int, list[int]] = defaultdict(lambda: [0] * weeks)
    since = now - timedelta(weeks=weeks)
    for week in range(weeks):
        end = now - timedelta(weeks=week)
        for stock_id, count in session.execute(
            select(Form.stock_id, func.count())
            .select_from(FormEvent)
            .join(Form, Form.id == FormEvent.form_id)
            .where(_USED, FormEvent.at >= end - timedelta(weeks=1), FormEvent.at < end)
            .group_by(Form.stock_id)
        ):
            used[stock_id][week] = count
    born = dict(
        session.execute(
            select(Form.stock_id, func.min(FormEvent.at))
            .join(Form, Form.id == FormEvent.form_id)
            .where(_RECEIVED)
            .group_by(Form.stock_id)
        ).all()
    )
    for stock_id, first in born.items():
        lived = max(1, -(-(now - max(first, since)).days // 7))
        used[stock_id] = used[stock_id][:lived]
    return dict(used)


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
            Batch.state == BatchState.CONFIRMED,
            BatchRow.status == RowStatus.OK,
            Item.state == ItemState.PLANNED,
        )
        .group_by(Form.stock_id)
    )
    return dict(rows.all())


def day_in_numbers(session: Session, start: datetime, end: datetime) -> dict[str, int]:
    """What happened to forms in a day, for the morning's digest."""
    kinds = {
        "received": _RECEIVED,
        "verified": _USED_AS[FormState.VERIFIED],
        "voided": _USED_AS[FormState.VOIDED],
        "refused": and_(
            FormEvent.to_state == FormState.ISSUED.value,
            FormEvent.from_state.in_([FormState.VERIFY_SUBMITTED, FormState.VOID_SUBMITTED]),
        ),
        "lost": FormEvent.cause == "lost",
    }
    row = session.execute(
        select(*(func.sum(case((condition, 1), else_=0)) for condition in kinds.values())).where(
            FormEvent.at >= start, FormEvent.at < end
        )
    ).one()
    return {name: int(count or 0) for name, count in zip(kinds, row, strict=True)}
