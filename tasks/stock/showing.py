"""The book of the forms as it is shown: for so many days, by default this month so far."""

from __future__ import annotations

from datetime import date
from typing import Any

from models.reads.stock_documents import StockQuery, stock_documents
from models.rules.calendar import business_date
from models.rules.errors import BadArgument
from models.rules.forecast import Supply
from models.rules.language import t
from tasks.context import Context

_FIRST_YEAR, _LAST_YEAR = 2000, 2200


def period(context: Context, first: date | None, last: date | None) -> tuple[date, date]:
    """The days asked for; by default this month so far. Raises `BadArgument` when reversed."""
    today = business_date(context.now())
    last = last or today
    first = first or last.replace(day=1)
    if first > last:
        raise BadArgument(detail=t("起始日期晚于截止日期", "the first day is after the last"))
    if first.year < _FIRST_YEAR or last.year > _LAST_YEAR:
        years = f"{_FIRST_YEAR}-{_LAST_YEAR}"
        raise BadArgument(detail=t(f"日期须在 {years} 年之间", f"the days must be in {years}"))
    return first, last


def show_stock(
    context: Context,
    owner: str | None,
    form_type: str | None,
    days: tuple[date, date],
    range_limit: int,
) -> list[dict[str, Any]]:
    """Each stock with its counts and ranges, the balance of the days, and the forecast."""
    settings = context.settings
    supply = Supply(settings.restock_days, settings.cover_days, settings.low_stock)
    today = business_date(context.now())
    with context.database.read() as session:
        wanted = StockQuery(owner, form_type, *days, today, range_limit, context.sight)
        return stock_documents(session, wanted, supply)
