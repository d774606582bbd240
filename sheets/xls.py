"""Old workbooks (BIFF, .xls) as sheets, with what their format tells of hidden and struck cells."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

from sheets.rows import Marks, Merged, Refused, Row, Sheet
from sheets.xlsx import plain


def xls_sheets(content: bytes) -> Iterator[Sheet]:
    """The sheets in their order. Raises `Refused`."""
    import xlrd

    try:
        book = xlrd.open_workbook(
            file_contents=content, formatting_info=True, logfile=io.StringIO(), on_demand=True
        )
    except xlrd.XLRDError as error:
        if "encrypted" in str(error).lower():
            raise Refused("file_encrypted") from None
        raise
    struck = {
        index
        for index, style in enumerate(book.xf_list)
        if style.font_index < len(book.font_list) and book.font_list[style.font_index].struck_out
    }
    for sheet in book.sheets():
        yield Sheet(
            sheet.name,
            _rows(book, sheet, struck),
            hidden=sheet.visibility != 0,
            hidden_columns=frozenset(c for c, info in sheet.colinfo_map.items() if info.hidden),
            merged_right={
                (top + 1, left): right - 1
                for top, _, left, right in sheet.merged_cells
                if right - left > 1
            },
        )


def _rows(book: Any, sheet: Any, struck: set[int]) -> Iterator[Row]:
    merged = Merged((top, left, below - 1) for top, below, left, _ in sheet.merged_cells)
    rich: dict[int, list[int]] = {}
    for row, column in sheet.rich_text_runlist_map:
        rich.setdefault(row, []).append(column)
    for index in range(sheet.nrows):
        found = sheet.row(index)
        cells = [_cell(book, cell) for cell in found]
        info = sheet.rowinfo_map.get(index)
        marks = Marks(
            hidden=info is not None and bool(info.hidden),
            struck=frozenset(c for c, cell in enumerate(found) if cell.xf_index in struck)
            if struck
            else frozenset(),
            part_struck=frozenset(
                c for c in rich.get(index, ()) if _part_struck(book, sheet, index, c)
            ),
            filled=merged.fill(index, cells),
        )
        yield index + 1, cells, marks if marks != _NONE else None


_NONE: Final = Marks()


def _part_struck(book: Any, sheet: Any, row: int, column: int) -> bool:
    runs = sheet.rich_text_runlist_map[row, column]
    return any(f < len(book.font_list) and book.font_list[f].struck_out for _, f in runs)


def _cell(book: Any, cell: Any) -> Any:
    import xlrd

    if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
        return None
    if cell.ctype == xlrd.XL_CELL_ERROR:
        return {"error": xlrd.error_text_from_code.get(cell.value, "#ERR")}
    if cell.ctype == xlrd.XL_CELL_DATE:
        try:
            return {"date": xlrd.xldate_as_datetime(cell.value, book.datemode).isoformat()}
        except (ValueError, OverflowError, xlrd.XLDateError):  # a number with a format for dates
            return {"error": "#####"}
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return bool(cell.value)
    return plain(cell.value)
