"""The register (台账) as a workbook: balances of each stock, and every movement as ranges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import xlsxwriter

from models.rules.language import Text, t

BALANCE_TITLES: Final = (
    Text("持有企业", "owner"),
    Text("证单类型", "type"),
    Text("期初结存", "opening"),
    Text("本期领用", "received"),
    Text("本期核销", "verified"),
    Text("本期作废", "voided"),
    Text("期末结存", "closing"),
    Text("本期报失(未作废前仍在结存内)", "reported lost (still in closing)"),
)
MOVEMENT_TITLES: Final = (
    Text("日期", "date"),
    Text("持有企业", "owner"),
    Text("证单类型", "type"),
    Text("事项", "what"),
    Text("起始流水号", "first serial"),
    Text("截止流水号", "last serial"),
    Text("张数", "forms"),
    Text("使用证书号", "certificate"),
    Text("批次", "batch"),
    Text("说明", "remark"),
)
_SHEET_ROWS: Final = 1_048_576


def write_register(
    path: Path,
    title: str,
    balances: Iterable[Sequence[str | int]],
    movements: Iterable[Sequence[str | int]],
) -> int:
    """Write the workbook, replacing `path` whole; gives the number of movement lines.

    Serials and codes are text cells, counts are numbers. Memory: one line. More movements than a sheet
    holds go on in the next sheet.
    """
    part = path.with_name(path.name + ".part")
    book = xlsxwriter.Workbook(
        str(part),
        {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False,
         "strings_to_numbers": False},
    )  # fmt: skip
    text = book.add_format({"num_format": "@"})
    bold = book.add_format({"num_format": "@", "bold": True, "bg_color": "#DDEBF7"})

    def begin(name: str, titles: Sequence[Text], top: int) -> xlsxwriter.worksheet.Worksheet:
        sheet = book.add_worksheet(name)
        sheet.set_column(0, len(titles) - 1, 18, text)
        for column, word in enumerate(titles):
            sheet.write_string(top, column, str(word), bold)
        sheet.freeze_panes(top + 1, 0)
        return sheet

    def write(sheet: xlsxwriter.worksheet.Worksheet, row: int, cells: Sequence[str | int]) -> None:
        for column, cell in enumerate(cells):
            if isinstance(cell, int):
                sheet.write_number(row, column, cell)
            else:
                sheet.write_string(row, column, cell, text)

    summary = book.add_worksheet(t("汇总", "balances"))
    summary.set_column(0, len(BALANCE_TITLES) - 1, 18, text)
    summary.write_string(0, 0, title, bold)
    for column, word in enumerate(BALANCE_TITLES):
        summary.write_string(1, column, str(word), bold)
    for row, cells in enumerate(balances, start=2):
        write(summary, row, cells)
    lines, row = 0, _SHEET_ROWS
    sheet = None
    for cells in movements:
        if sheet is None or row >= _SHEET_ROWS:
            number = "" if sheet is None else f" {lines // _SHEET_ROWS + 1}"
            sheet, row = begin(t("明细", "movements") + number, MOVEMENT_TITLES, 0), 1
        write(sheet, row, cells)
        row += 1
        lines += 1
    if sheet is None:
        begin(t("明细", "movements"), MOVEMENT_TITLES, 0)
    book.close()
    part.replace(path)
    return lines
