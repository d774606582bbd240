"""Low stock: counted when forms came or went and every few minutes, said once when it falls too low."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Select, or_, select, update
from sqlalchemy.orm import Session

from models.reads.stock_book import stock_counts
from models.rules.standings import Standing
from models.rules.states import NotificationType
from models.tables.base import NO_KEY_UPDATE
from models.tables.forms import Stock
from models.writes.announcements import announce

COUNT_AGAIN: Final = timedelta(minutes=5)
"""How often a stock is counted without a reason: forms also go by receipts, holds and by hand."""


def count_soon(session: Session, stock_ids: Collection[int]) -> None:
    """Forms of these stocks came or went. Only for who has locked the stocks before any form."""
    session.execute(update(Stock).where(Stock.id.in_(sorted(stock_ids))).values(count_at=None))


def stocks_to_count(now: datetime) -> Select[int]:
    """Stocks whose count is due."""
    return select(Stock.id).where(or_(Stock.count_at.is_(None), Stock.count_at <= now))


def watch_stock(session: Session, stock_id: int, default_threshold: int, at: datetime) -> None:
    """Count a stock whose count is due; announce `stock.low` when it has just become low.

    A stock that rose and falls again is announced again; one that stays low is not.
    """
    stock = session.get(Stock, stock_id, with_for_update=NO_KEY_UPDATE)
    if stock is None or (stock.count_at is not None and stock.count_at > at):
        return
    stock.count_at = at + COUNT_AGAIN
    count = stock_counts(session, stock_id)[Standing.ON_HAND]
    threshold = default_threshold if stock.threshold is None else stock.threshold
    low = count < threshold
    if low and not stock.low:
        announce(
            session,
            NotificationType.STOCK_LOW,
            {
                "owner": stock.owner,
                "form_type": stock.form_type,
                "on_hand": count,
                "threshold": threshold,
            },
            at,
        )
    stock.low = low
