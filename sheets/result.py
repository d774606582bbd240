"""Result sheets: the user's own rows and columns in their order, plus what became of each row.

Every cell is text, so no program reads a formula or rounds a serial. The rows keep their numbers
of the uploaded sheet. Corrected in place and uploaded again, rows with 成功 are left alone.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import xlsxwriter

from models.language import Text
from sheets.headers import RESULT_WORD, header_key

RESULT_HEADERS: Final = (
    Text(RESULT_WORD, RESULT_WORD),
    Text("结果流水号", "result serials"),
    Text("结果状态", "result state"),
    Text("错误代码", "error code"),
    Text("失败原因", "why refused"),
    Text("更正建议", "suggested correction"),
    Text("处理批次", "done in batch"),
)
"""The columns that are added. The first one keeps its Chinese title, by which a result sheet that
comes back is recognised."""

_OWN: Final = {header_key(h) for t in RESULT_HEADERS for h in (t.zh, t.en)}
_INJECTION: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
_CELL_LIMIT: Final = 32767
_SHEET_ROWS: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row of the sheet and what became of it."""

    number: int
    cells: Sequence[str]
    results: Sequence[str]
    bad_columns: frozenset[int]
    """Columns to mark, zero-based in the user's sheet."""
    refused: bool


def write_result(
    path: Path, header_row: int, header: Sequence[str], rows: Iterable[ResultRow]
) -> None:
    """Write the sheet; `.csv` gives UTF-8 with BOM, anything else xlsx. Replaces `path` whole.

    Rows must come ascending. Memory: one row. Two processes may write it at the same time: each has a
    file of its own until it is whole.
    """
    # Columns of an earlier result sheet that came back are ours: written anew, not kept twice.
    came_back = header_key(RESULT_WORD) in {header_key(text) for text in header}
    kept = [i for i, h in enumerate(header) if not (came_back and header_key(h) in _OWN)]
    titles = [header[i] for i in kept] + [str(t) for t in RESULT_HEADERS]
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    if path.suffix.lower() == ".csv":
        _write_csv(part, kept, titles, rows)
    else:
        _write_xlsx(part, max(header_row, 1), kept, titles, rows)
    part.replace(path)


def _write_xlsx(
    path: Path,
    header_row: int,
    kept: Sequence[int],
    titles: Sequence[str],
    rows: Iterable[ResultRow],
) -> None:
    book = xlsxwriter.Workbook(
        str(path),
        {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False,
         "strings_to_numbers": False},
    )  # fmt: skip
    plain = book.add_format({"num_format": "@"})
    bold = book.add_format({"num_format": "@", "bold": True, "bg_color": "#DDEBF7"})
    red = book.add_format({"num_format": "@", "bg_color": "#FFC7CE"})
    sheet = book.add_worksheet("结果")
    sheet.set_column(0, len(titles) - 1, 18, plain)
    sheet.freeze_panes(header_row, 0)
    for column, title in enumerate(titles):
        sheet.write_string(header_row - 1, column, title, bold)
    for row in rows:
        if row.number > _SHEET_ROWS:
            break
        for column, index in enumerate(kept):
            text = row.cells[index] if index < len(row.cells) else ""
            style = red if index in row.bad_columns else plain
            if text or style is red:
                sheet.write_string(row.number - 1, column, text[:_CELL_LIMIT], style)
        style = red if row.refused else plain
        for column, text in enumerate(row.results, start=len(kept)):
            if text:
                sheet.write_string(row.number - 1, column, text[:_CELL_LIMIT], style)
    book.close()


def _write_csv(
    path: Path, kept: Sequence[int], titles: Sequence[str], rows: Iterable[ResultRow]
) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(map(_harmless, titles))
        for row in rows:
            own = [row.cells[i] if i < len(row.cells) else "" for i in kept]
            writer.writerow(map(_harmless, [*own, *row.results]))


def _harmless(text: str) -> str:
    """A CSV cell that no spreadsheet program runs as a formula."""
    return f"'{text}" if text.startswith(_INJECTION) else text
