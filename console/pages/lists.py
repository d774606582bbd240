"""Filters and pages of lists, as they stand in the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from io import BytesIO
from typing import Final

import xlsxwriter
from flask import Response, send_file

from models.rules.errors import BadArgument
from models.rules.language import t
from models.rules.numbers import clean

ROWS: Final = 50
"""Of a page: what fits on a screen and a half."""

ROWS_MOST: Final = 200
EXPORTED_MOST: Final = 10_000
"""Rows of an exported list; the command writes more."""


XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def word_of(args: Mapping[str, str], name: str) -> str:
    """A word of the address; "" when it is not there."""
    return args.get(name, "").strip()[:200]


def number_of(args: Mapping[str, str], name: str) -> str | None:
    """A number of a form or certificate as it is kept; None when it is not there."""
    return clean(word_of(args, name)).upper() or None


def day_of(args: Mapping[str, str], name: str) -> date | None:
    """A day. Raises `BadArgument`."""
    said = word_of(args, name)
    if not said:
        return None
    try:
        return date.fromisoformat(said)
    except ValueError:
        raise BadArgument(detail=t(f"不是日期: {said}", f"no date: {said}")) from None


def days_of(args: Mapping[str, str]) -> tuple[date | None, date | None]:
    """The days `from` and `to`. Raises `BadArgument` for what is none, and for a first day after the last."""
    first, last = day_of(args, "from"), day_of(args, "to")
    if first and last and first > last:
        raise BadArgument(detail=t("起始日期晚于截止日期", "the first day is after the last"))
    return first, last


def limit_of(args: Mapping[str, str]) -> int:
    """Rows of a page."""
    said = word_of(args, "limit")
    return min(int(said), ROWS_MOST) if said.isdecimal() and said.isascii() and int(said) else ROWS


def attached(content: bytes, name: str) -> Response:
    """A sheet to be kept under this name, which may be Chinese."""
    return send_file(
        BytesIO(content), mimetype=XLSX, as_attachment=True, download_name=name, max_age=0
    )


def as_xlsx(name: str, titles: Sequence[str], rows: Sequence[Sequence[object]]) -> Response:
    """A list as a sheet in which every cell is text, so that no program reads a formula or rounds a serial."""
    buffer = BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True})
    try:
        text = book.add_format({"num_format": "@"})
        bold = book.add_format({"bold": True, "num_format": "@"})
        sheet = book.add_worksheet()
        for column, title in enumerate(titles):
            sheet.write_string(0, column, title, bold)
        for number, row in enumerate(rows, start=1):
            for column, value in enumerate(row):
                sheet.write_string(number, column, "" if value is None else str(value), text)
        sheet.freeze_panes(1, 0)
        sheet.autofit()
    finally:
        book.close()
    return attached(buffer.getvalue(), name)
