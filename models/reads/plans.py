"""What a plan says as a whole, for whoever is to say yes to it: one shape for command, pages and API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    String,
    and_,
    case,
    cast,
    func,
    or_,
    select,
)
from sqlalchemy.orm import Session

from models.reads.batches import BatchCounts, batch_counts, batch_head, counts_document
from models.reads.certificate_use import verified_counts
from models.reads.row_results import row_results
from models.reads.stock_book import stock_counts
from models.rules.plan import VOID_REASON_WORDS
from models.rules.results import RowResult
from models.rules.serials import as_ranges
from models.rules.standings import Standing
from models.rules.states import Action, PagesMode, RowStatus, StockSource
from models.tables.batches import Batch, BatchRow, Item
from models.tables.bulk import CHUNK, chunks, rows_table
from models.tables.certificates import Certificate
from models.tables.forms import Form, Stock

RANGES_SHOWN: Final = 3
_LOOKED_AT: Final = 300
"""Serials of which the first ranges are made."""
REASONS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class StockChange:
    """A stock that the plan draws from: forms on hand, and taken."""

    owner: str
    form_type: str
    before: int
    taken: int
    wanted: int
    """Forms wanted by count, those that come short included."""

    @property
    def short(self) -> int:
        """Forms that are missing."""
        return max(0, self.wanted - self.before)


@dataclass(frozen=True, slots=True)
class VoidReason:
    """Why rows void, as customs will be told."""

    code: str
    text: str
    rows: int

    @property
    def words(self) -> str:
        """For people: code, its meaning, and what was written beside it."""
        return " ".join(
            filter(None, (self.code, str(VOID_REASON_WORDS.get(self.code, "")), self.text))
        )


@dataclass(frozen=True, slots=True)
class PlanView:
    """The plan of a batch that is not confirmed yet."""

    batch: Batch
    counts: BatchCounts
    ranges: dict[Action, list[tuple[str, str]]]
    """The first ones of each action, in serial order."""
    more: dict[Action, bool]
    stocks: Sequence[StockChange]
    top_up: bool
    reasons: Sequence[VoidReason]
    """Of what is to be voided."""

    @property
    def verify(self) -> int:
        """Forms to be verified."""
        return self.counts.actions.get(Action.VERIFY, 0)

    @property
    def void(self) -> int:
        """Forms to be voided."""
        return self.counts.actions.get(Action.VOID, 0)

    def document(self) -> dict[str, Any]:
        """For programs; rows come beside it."""
        return {
            **batch_head(self.batch),
            "counts": counts_document(self.batch, self.counts),
            "void_reasons": [
                {"code": r.code, "text": r.text, "rows": r.rows} for r in self.reasons
            ],
            "pages_mode": (PagesMode.TOP_UP if self.top_up else PagesMode.ADDITIONAL).value,
            "stock": [
                {
                    "owner": s.owner,
                    "type": s.form_type,
                    "before": s.before,
                    "after": s.before - s.taken,
                    "wanted": s.wanted,
                    "short": s.short,
                }
                for s in self.stocks
            ],
            "reading": _public(self.batch.reading),
        }


def _public(reading: dict[str, Any]) -> dict[str, Any]:
    private = {"layout", "answered", "ignored_in_stock"}
    return {name: value for name, value in reading.items() if name not in private}


def plan_view(session: Session, batch_id: int) -> PlanView:
    """The plan as it stands in this transaction; its hash is the one that a yes is about."""
    batch = session.get_one(Batch, batch_id)
    ranges: dict[Action, list[tuple[str, str]]] = {}
    more: dict[Action, bool] = {}
    for action in Action:
        serials = session.scalars(_serials(batch_id, action).limit(_LOOKED_AT)).all()
        runs = list(as_ranges(serials))
        ranges[action] = runs[:RANGES_SHOWN]
        more[action] = len(runs) > RANGES_SHOWN or len(serials) == _LOOKED_AT
    top_up = session.scalar(
        select(BatchRow.pages_mode).where(BatchRow.batch_id == batch_id).limit(1)
    )
    counts = batch_counts(session, batch_id)
    return PlanView(
        batch,
        counts,
        ranges,
        more,
        _stocks(session, batch_id),
        top_up is PagesMode.TOP_UP,
        _void_reasons(session, batch_id) if counts.actions.get(Action.VOID) else (),
    )


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A row of the plan with what its certificate has: its pages (None: unknown), forms verified before."""

    row: RowResult
    pages: int | None
    has: int

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            **self.row.document(),
            "certificate_pages": self.pages,
            "certificate_has": self.has,
        }


def plan_rows(
    session: Session, batch: Batch, status: RowStatus | None = None, size: int = CHUNK
) -> Iterator[PlanRow]:
    """The rows of a plan, all or those that the check found so, in the order of the sheet. Memory: a chunk."""
    for some in chunks(row_results(session, batch, status=status), size):
        numbers = sorted({row.certificate for row in some if row.certificate})
        has = verified_counts(session, numbers)
        given = rows_table(session, {"number": String()}, [(n,) for n in numbers])
        known = session.execute(
            select(Certificate.number, Certificate.pages).join(
                given, given.c.number == Certificate.number
            )
        )
        pages: dict[str, int | None] = {number: count for number, count in known}  # noqa: C416 - typed
        for row in some:
            yield PlanRow(row, pages.get(row.certificate), has.get(row.certificate, 0))


def _serials(batch_id: int, action: Action) -> Any:
    return (
        select(Item.serial)
        .join(
            BatchRow, and_(BatchRow.batch_id == Item.batch_id, BatchRow.number == Item.row_number)
        )
        .where(Item.batch_id == batch_id, Item.action == action, BatchRow.status == RowStatus.OK)
        .order_by(Item.serial)
    )


def _void_reasons(session: Session, batch_id: int) -> list[VoidReason]:
    """The most frequent first, at most `REASONS_SHOWN`."""
    found = session.execute(
        select(BatchRow.reason_code, BatchRow.reason_text, func.count())
        .where(
            BatchRow.batch_id == batch_id,
            BatchRow.reason_code.is_not(None),
            BatchRow.status == RowStatus.OK,
        )
        .group_by(BatchRow.reason_code, BatchRow.reason_text)
        .order_by(func.count().desc(), BatchRow.reason_code)
        .limit(REASONS_SHOWN)
    )
    return [VoidReason(code or "", text or "", rows) for code, text, rows in found]


def _stocks(session: Session, batch_id: int) -> list[StockChange]:
    taken = {
        (owner, form_type): count
        for owner, form_type, count in session.execute(
            select(Stock.owner, Stock.form_type, func.count())
            .select_from(Item)
            .join(
                BatchRow,
                and_(BatchRow.batch_id == Item.batch_id, BatchRow.number == Item.row_number),
            )
            .join(Form, Form.id == Item.form_id)
            .join(Stock, Stock.id == Form.stock_id)
            .where(Item.batch_id == batch_id, BatchRow.status == RowStatus.OK)
            .group_by(Stock.owner, Stock.form_type)
        )
    }
    short = cast(BatchRow.problems, String).like("%stock_short%")
    wanted = {
        (owner, form_type): int(count)
        for owner, form_type, count in session.execute(
            select(stock_owner().label("owner"), Certificate.type, func.sum(BatchRow.page_count))
            .join(Certificate, Certificate.number == BatchRow.certificate)
            .where(
                BatchRow.batch_id == batch_id,
                BatchRow.page_count.is_not(None),
                or_(BatchRow.status == RowStatus.OK, short),
            )
            .group_by("owner", Certificate.type)
        )
    }
    return [
        StockChange(
            owner,
            kind,
            _on_hand(session, owner, kind),
            taken.get((owner, kind), 0),
            wanted.get((owner, kind), 0),
        )
        for owner, kind in sorted(taken.keys() | wanted.keys())
    ]


def _on_hand(session: Session, owner: str, form_type: str) -> int:
    stock = session.scalar(
        select(Stock.id).where(Stock.owner == owner, Stock.form_type == form_type)
    )
    return 0 if stock is None else stock_counts(session, stock)[Standing.ON_HAND]


def stock_owner() -> Any:
    """Whose stock a row's count draws from, as SQL."""
    return case(
        (BatchRow.stock_source == StockSource.EXPORTER, Certificate.exporter),
        else_=Certificate.agent,
    )
