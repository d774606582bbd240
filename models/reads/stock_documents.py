"""Stock as it is told: counts and ranges by standing, the balance of a period, the forecast. One JSON shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy.orm import Session

from models.reads.sight import Sight
from models.reads.stock_book import (
    Balance,
    StockBook,
    balances,
    list_stocks,
    queued_forms,
    stock_book,
    weekly_use,
)
from models.rules.forecast import Forecast, Supply, forecast
from models.rules.standings import Standing


@dataclass(frozen=True, slots=True)
class StockQuery:
    """Whose stock (None: all), the days of the balance, and how many ranges of a standing are wanted."""

    owner: str | None
    form_type: str | None
    first: date
    last: date
    today: date
    range_limit: int
    sight: Sight | None = None


def stock_documents(session: Session, wanted: StockQuery, supply: Supply) -> list[dict[str, Any]]:
    """One for each owner and type."""
    keys = [
        key
        for key in list_stocks(session, wanted.owner, wanted.form_type)
        if wanted.sight is None or key.owner in wanted.sight.owners
    ]
    over = balances(session, keys, wanted.first, wanted.last + timedelta(days=1))
    used, queued = weekly_use(session, keys, wanted.today), queued_forms(session)
    documents = []
    for key in keys:
        book = stock_book(session, key, wanted.range_limit)
        expected = forecast(
            used.get(key.id, []),
            book.counts[Standing.ON_HAND],
            queued.get(key.id, 0),
            wanted.today,
            supply.restock_days,
            supply.cover_days,
        )
        if wanted.sight is not None and key.owner not in wanted.sight.principals:
            book = _free_alone(book)
        documents.append(_shown(book, over.get(key.id, Balance()), expected, queued, supply.low))
    return documents


def _free_alone(book: StockBook) -> StockBook:
    """What may be drawn from: which serials of the sender's went to other enterprises is not theirs to see."""
    free = {s: found if s is Standing.ON_HAND else [] for s, found in book.ranges.items()}
    return replace(book, ranges=free)


def _shown(
    book: StockBook,
    balance: Balance,
    expected: Forecast,
    queued: Mapping[int, int],
    default_threshold: int,
) -> dict[str, Any]:
    low = default_threshold if book.key.threshold is None else book.key.threshold
    return {
        "owner": book.key.owner,
        "type": book.key.form_type,
        "issued": book.issued,
        "counts": {s.value: book.counts[s] for s in Standing},
        "ranges": {s.value: [list(r) for r in book.ranges[s]] for s in Standing},
        "period": {
            "opening": balance.opening,
            "received": balance.received,
            "verified": balance.verified,
            "voided": balance.voided,
            "closing": balance.closing,
            "lost": balance.lost,
        },
        "threshold": low,
        "low": book.counts[Standing.ON_HAND] < low,
        "queued": queued.get(book.key.id, 0),
        "per_day": round(expected.per_day, 2),
        "days_left": expected.days_left,
        "runs_out_on": str(expected.runs_out_on) if expected.runs_out_on else None,
        "ask_for": expected.ask_for,
    }
