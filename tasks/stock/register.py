"""The register (台账) of a period, from the history into a workbook."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from models.reads.stock_book import Balance, balances, list_stocks, movements
from models.rules.calendar import BEIJING
from models.rules.language import Text, t
from models.rules.states import FormState, label
from sheets.register import write_register
from tasks.context import Context

_WHAT: Final = {"received": Text("领用", "received"), "lost": Text("报失", "reported lost")}


def export_register(
    context: Context,
    path: Path,
    first: date,
    last: date,
    moments: tuple[datetime, datetime],
    owner: str | None,
) -> int:
    """Write the register of these days; gives the number of movement lines. Memory: one line."""
    with context.database.read() as session:
        stocks = list_stocks(session, owner, None)
        over = balances(session, stocks, first, last + timedelta(days=1))
        lines = movements(session, *moments, BEIJING, owner)

        def balance_rows() -> Iterator[tuple[str | int, ...]]:
            for stock in stocks:
                b = over.get(stock.id, Balance())
                yield (
                    stock.owner, stock.form_type, b.opening, b.received, b.verified, b.voided,
                    b.closing, b.lost,
                )  # fmt: skip

        return write_register(
            path,
            t(f"空白证单台账 {first} 至 {last}", f"Register of blank forms {first} to {last}"),
            balance_rows(),
            (
                (
                    line.day.isoformat(), line.owner, line.form_type, _word(line.what),
                    line.first_serial, line.last_serial, line.form_count, line.certificate,
                    "" if line.batch_id is None else str(line.batch_id), line.reason,
                )
                for line in lines
            ),
        )  # fmt: skip


def _word(what: str) -> str:
    return str(_WHAT[what]) if what in _WHAT else label(FormState(what))
