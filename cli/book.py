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
from models.rules.calendar import BEIJING
from models.rules.errors import BadArgument
from models.rules.language import t
from models.rules.standings import STANDING_WORDS, Standing
from tasks.stock.register import export_register
from tasks.stock.showing import period, show_stock

RANGES_SHOWN: Final = 12
"""Ranges of one standing on a terminal; `--json` gives all."""

ALL: Final = 1_000_000

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
        limit = ALL if json else RANGES_SHOWN
        rows = show_stock(context, code(owner), code(kind), (first, last), limit)
    if json:
        print_json({"from": str(first), "to": str(last), "stocks": rows})
        return
    for row in rows:
        _print_stock(row, first, last)


def _moments(first: date, last: date) -> tuple[datetime, datetime]:
    """Customs' days as moments: from the first's beginning to the last's end."""
    start = datetime.combine(first, time(), BEIJING)
    end = datetime.combine(last + timedelta(days=1), time(), BEIJING)
    return start.astimezone(UTC), end.astimezone(UTC)


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
