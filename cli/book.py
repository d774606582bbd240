"""The book of the forms: what is where, how it moved, how long it lasts; and the register (台账)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from xlsxwriter.exceptions import XlsxFileError

from cli.imports import DATE_FORMATS, day
from cli.options import Json, code
from cli.runtime import opened, out, print_json, print_table, tell
from models.reads.stock_book import (
    Balance,
    StockBook,
    balances,
    list_stocks,
    queued_forms,
    stock_book,
    weekly_use,
)
from models.rules.calendar import BEIJING, business_date
from models.rules.errors import BadArgument
from models.rules.forecast import Forecast, forecast
from models.rules.language import t
from models.rules.standings import STANDING_WORDS, Standing
from tasks.context import Context
from tasks.stock.register import export_register

RANGES_SHOWN: Final = 12
"""Ranges of one standing on a terminal; `--json` gives all."""

ALL: Final = 1_000_000
_FIRST_YEAR, _LAST_YEAR = 2000, 2200

Kind = Annotated[str | None, typer.Option("--type", help=t("证单类型", "form type"))]
Owner = Annotated[str | None, typer.Option("--owner", help=t("持有企业", "owner (USCC)"))]
From = Annotated[
    datetime | None, typer.Option("--from", formats=DATE_FORMATS, help=t("起始日期", "first day"))
]
To = Annotated[
    datetime | None, typer.Option("--to", formats=DATE_FORMATS, help=t("截止日期", "last day"))
]


def show(
    owner: Owner = None, kind: Kind = None, start: From = None, end: To = None, json: Json = False
) -> None:
    """By owner and type: counts and ranges by standing, the balance of a period, the forecast."""
    with opened() as context:
        first, last = period(context, day(start), day(end))
        with context.database.read() as session:
            keys = list_stocks(session, code(owner), code(kind))
            limit = ALL if json else RANGES_SHOWN
            books = [stock_book(session, key, limit) for key in keys]
            over = balances(session, keys, first, last + timedelta(days=1))
            today = business_date(context.now())
            used, queued = weekly_use(session, keys, today), queued_forms(session)
        settings = context.settings
        forecasts = {
            b.key.id: forecast(
                used.get(b.key.id, []),
                b.counts[Standing.ON_HAND],
                queued.get(b.key.id, 0),
                today,
                settings.restock_days,
                settings.cover_days,
            )
            for b in books
        }
    rows = [
        _shown(b, over.get(b.key.id, Balance()), forecasts[b.key.id], queued, settings.low_stock)
        for b in books
    ]
    if json:
        print_json({"from": str(first), "to": str(last), "stocks": rows})
        return
    for row in rows:
        _print_stock(row, first, last)


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


def _moments(first: date, last: date) -> tuple[datetime, datetime]:
    """Customs' days as moments: from the first's beginning to the last's end."""
    start = datetime.combine(first, time(), BEIJING)
    end = datetime.combine(last + timedelta(days=1), time(), BEIJING)
    return start.astimezone(UTC), end.astimezone(UTC)


def _shown(
    book: StockBook,
    balance: Balance,
    expected: Forecast,
    queued: dict[int, int],
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


def _print_stock(row: dict[str, Any], first: date, last: date) -> None:
    console = out()
    low = t("  低于警戒线", "  LOW") if row["low"] else ""
    title = t("累计领用", "issued")
    console.print(f"{row['owner']}  {row['type']}  {title} {row['issued']}{low}", markup=False)
    print_table(
        (t("状态", "standing"), t("张数", "forms"), t("号段", "ranges")),
        (
            (STANDING_WORDS[s], row["counts"][s.value], _ranges(row["ranges"][s.value]))
            for s in Standing
            if row["counts"][s.value]
        ),
    )
    over = row["period"]
    console.print(
        t(
            f"{first} 至 {last}: 期初 {over['opening']} + 领用 {over['received']} - 核销 "
            f"{over['verified']} - 作废 {over['voided']} = 期末 {over['closing']}",
            f"{first} to {last}: opening {over['opening']} + received {over['received']} - verified "
            f"{over['verified']} - voided {over['voided']} = closing {over['closing']}",
        ),
        markup=False,
    )
    left = "-" if row["days_left"] is None else row["days_left"]
    console.print(
        t(
            f"日均用量 {row['per_day']}，待预占 {row['queued']}，可用天数 {left}，预计用完 "
            f"{row['runs_out_on'] or '-'}，建议申领 {row['ask_for']}",
            f"{row['per_day']} a day, {row['queued']} queued, days left {left}, runs out "
            f"{row['runs_out_on'] or '-'}, ask for {row['ask_for']}",
        )
        + "\n",
        markup=False,
    )


def _ranges(ranges: Sequence[Sequence[str]]) -> str:
    shown = ", ".join(a if a == b else f"{a}-{b}" for a, b in ranges[:RANGES_SHOWN])
    return shown + (" …" if len(ranges) >= RANGES_SHOWN else "")


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.xlsx")],
    start: From = None,
    end: To = None,
    owner: Owner = None,
    json: Json = False,
) -> None:
    """Balances of each stock and every movement, as ranges. Nothing that it rests on is deleted."""
    with opened() as context:
        first, last = period(context, day(start), day(end))
        try:
            lines = export_register(
                context, output, first, last, _moments(first, last), code(owner)
            )
        except (OSError, XlsxFileError) as error:
            raise BadArgument(detail=f"{output}: {error}") from error
    if json:
        print_json({"file": str(output), "from": str(first), "to": str(last), "lines": lines})
        return
    tell(t(f"已写出台账 {lines} 行: {output}", f"register written, {lines} lines: {output}"))
