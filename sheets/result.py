"""Result sheets: the user's own rows and columns in their order, plus what became of each row.

Every cell is text, so no program reads a formula or rounds a serial. The rows keep their numbers
of the uploaded sheet. Corrected in place and uploaded again, rows with 成功 are left alone.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import xlsxwriter

from models.rules.language import Text, t
from models.rules.problems import Problem
from models.rules.results import RowResult
from models.rules.states import RowOutcome, RowStatus, label, text_of
from sheets.headers import RESULT_WORD, header_key


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is added: its title, and what stands in it."""

    title: Text
    of: Callable[[RowResult], str]
    sentence: bool = False
    """Long text, to be wrapped."""


@dataclass(frozen=True, slots=True)
class Added:
    """The columns of one kind of sheet, and which rows are to be seen."""

    columns: Sequence[Column]
    refused: Callable[[RowResult], bool]


def _said(texts: Iterable[str], between: str = " ") -> str:
    """Each text once."""
    return between.join(dict.fromkeys(filter(None, texts)))


def _message(problem: Problem) -> str:
    return f"{problem.cell}: {problem.message}" if problem.cell else problem.message


def _messages(row: RowResult) -> str:
    return "; ".join(_message(p) for p in row.problems)


def _codes(row: RowResult) -> str:
    return _said(p.code for p in row.problems)


def _suggestions(row: RowResult) -> str:
    return _said((p.suggestion for p in row.problems), "; ")


def _states(row: RowResult) -> str:
    if row.status is not RowStatus.OK:
        return label(row.status)
    counts = Counter(label(state) for state in row.form_states)
    return t("、", ", ").join(f"{word} {count}" for word, count in counts.items())


RESULT: Final = Added(
    (
        Column(Text(RESULT_WORD, RESULT_WORD), lambda row: label(row.outcome)),
        Column(Text("结果流水号", "result serials"), lambda row: row.used_serials),
        Column(Text("结果状态", "result state"), _states),
        Column(Text("错误代码", "error code"), _codes),
        Column(
            Text("错误类别", "error kind"),
            lambda row: _said((p.kind for p in row.problems), t("、", ", ")),
        ),
        Column(Text("失败原因", "why refused"), _messages, sentence=True),
        Column(Text("更正建议", "suggested correction"), _suggestions, sentence=True),
        Column(Text("处理批次", "done in batch"), lambda row: str(row.batch_id)),
    ),
    lambda row: row.outcome is RowOutcome.REFUSED,
)
"""The first column keeps its Chinese title, by which a result sheet that comes back is recognised."""

CHECK: Final = Added(
    (
        Column(Text("预检结果", "check result"), lambda row: label(row.status)),
        Column(
            Text("将用流水号", "serials to be used"),
            lambda row: row.serials if row.status is RowStatus.OK else "",
        ),
        Column(Text("问题代码", "problem code"), _codes),
        Column(Text("问题", "problem"), _messages, sentence=True),
        Column(Text("建议", "suggestion"), _suggestions, sentence=True),
    ),
    lambda row: row.status is RowStatus.PROBLEM,
)
"""The same for a check: the sheet can be corrected and submitted, these columns order nothing."""

_SAYS_ACTION: Final = frozenset({"action", "verify_tick", "void_tick", "void_serials"})


def with_action(added: Added, columns: Mapping[str, int], *, known: bool) -> Added:
    """The same with a column 操作 in front, where the person's sheet has none: what a title, a section or an answer
    said of its rows is not in a sheet of ours, and it is read by itself when it comes back. `known`: nothing about the
    sheet is open; else nothing is written, and the rows that come back ask, as those do that a person left out.
    """
    if columns.keys() & _SAYS_ACTION:
        return added

    def says(row: RowResult) -> str:
        ordered = known and row.status is not RowStatus.SKIPPED
        return text_of(row.action).zh if ordered and row.action else ""

    return Added((Column(Text("操作", "操作"), says), *added.columns), added.refused)


ROW_HEADER: Final = Text("原行号", "row")
"""Of a sheet that holds some of the rows alone: where they stand in the person's own."""

_WIDTHS: Final = (6, 60)
"""Least and greatest width of a column, in characters of a Latin letter's width."""
_WIDTHS_FROM: Final = 500
"""Rows whose texts decide how wide the columns are."""

_TITLES: Final = (*(c.title for added in (RESULT, CHECK) for c in added.columns), ROW_HEADER)
_OWN: Final = {header_key(word) for title in _TITLES for word in (title.zh, title.en)}
_MARKS: Final = {
    header_key(word)
    for added in (RESULT, CHECK)
    for word in (added.columns[0].title.zh, added.columns[0].title.en)
}
_INJECTION: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
_CELL_LIMIT: Final = 32767
_SHEET_ROWS: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the sheet: the person's cells, and those that are added."""

    number: int
    cells: Sequence[str]
    results: Sequence[str]
    bad_columns: frozenset[int]
    """Columns to mark, zero-based in the user's sheet."""
    refused: bool


def write_result(
    path: Path,
    header_row: int,
    header: Sequence[str],
    rows: Iterable[RowResult],
    added: Added = RESULT,
    *,
    compact: bool = False,
) -> int:
    """Write the person's sheet with what became of each row; gives the number of rows. As `write_lines`."""
    count = 0

    def lines() -> Iterator[Line]:
        nonlocal count
        for row in rows:
            count += 1
            results = [column.of(row) for column in added.columns]
            yield Line(row.number, row.cells, results, row.bad_columns, added.refused(row))

    write_lines(path, header_row, header, lines(), added.columns, compact=compact)
    return count


def write_lines(
    path: Path,
    header_row: int,
    header: Sequence[str],
    rows: Iterable[Line],
    added: Sequence[Column] = (),
    *,
    compact: bool = False,
) -> None:
    """Write the sheet; `.csv` gives UTF-8 with BOM, anything else xlsx. Replaces `path` whole.

    `added`: the columns that `Line.results` holds. `compact`: the rows follow each other, each with
    the number that it has in the person's sheet. Rows must come ascending. Memory: one row. Two
    processes may write it at the same time: each has a file of its own until it is whole.
    """
    # Columns of an earlier sheet of ours that came back: written anew, not kept twice.
    came_back = bool(_MARKS & {header_key(text) for text in header})
    kept = [i for i, h in enumerate(header) if not (came_back and header_key(h) in _OWN)]
    titles = [header[i] for i in kept] + [str(column.title) for column in added]
    sentences = {len(kept) + i for i, column in enumerate(added) if column.sentence}
    if compact:
        titles.append(str(ROW_HEADER))
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    if path.suffix.lower() == ".csv":
        _write_csv(part, kept, titles, rows, compact=compact)
    else:
        _Sheet(part, max(header_row, 1), kept, titles, sentences).write(rows, compact=compact)
    part.replace(path)


def write_list(path: Path, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> int:
    """Write a list as a sheet of text cells below a header; gives the number of rows."""
    count = 0

    def lines() -> Iterator[Line]:
        nonlocal count
        for cells in rows:
            count += 1
            yield Line(count + 1, cells, (), frozenset(), refused=False)

    write_lines(path, 1, titles, lines())
    return count


class _Sheet:
    """The xlsx file: text cells, red where something is wrong, columns as wide as their texts."""

    def __init__(
        self,
        path: Path,
        header_row: int,
        kept: Sequence[int],
        titles: Sequence[str],
        sentences: set[int],
    ) -> None:
        self._book = xlsxwriter.Workbook(
            str(path),
            {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False,
             "strings_to_numbers": False},
        )  # fmt: skip
        self._header_row = header_row
        self._kept = kept
        self._titles = titles
        self._sentences = sentences
        self._widths = [_width(title) + 2 for title in titles]

    def write(self, rows: Iterable[Line], *, compact: bool) -> None:
        """Write all rows and close the file."""
        book = self._book
        text = {"num_format": "@", "valign": "top"}
        plain = book.add_format(text)
        red = book.add_format({**text, "bg_color": "#FFC7CE"})
        wrapped = book.add_format({**text, "text_wrap": True})
        red_wrapped = book.add_format({**text, "text_wrap": True, "bg_color": "#FFC7CE"})
        bold = book.add_format({**text, "bold": True, "bg_color": "#DDEBF7"})
        sheet = book.add_worksheet("结果")
        sheet.freeze_panes(self._header_row, 0)
        for column, title in enumerate(self._titles):
            sheet.write_string(self._header_row - 1, column, title, bold)
        own = len(self._kept)
        last = self._header_row - 1
        for count, row in enumerate(rows):
            place = self._header_row + count if compact else row.number - 1
            if place >= _SHEET_ROWS:
                break
            last = place
            for column, index in enumerate(self._kept):
                cell = row.cells[index] if index < len(row.cells) else ""
                style = red if index in row.bad_columns else plain
                if cell or style is red:
                    sheet.write_string(place, column, cell[:_CELL_LIMIT], style)
                    self._measure(count, column, cell)
            results = [*row.results, str(row.number)] if compact else row.results
            for column, cell in enumerate(results, start=own):
                if not cell:
                    continue
                long = column in self._sentences
                style = (
                    (red_wrapped if long else red) if row.refused else (wrapped if long else plain)
                )
                sheet.write_string(place, column, cell[:_CELL_LIMIT], style)
                self._measure(count, column, cell)
        for column, width in enumerate(self._widths):
            sheet.set_column(column, column, min(max(width, _WIDTHS[0]), _WIDTHS[1]), plain)
        sheet.autofilter(
            self._header_row - 1, 0, max(last, self._header_row), len(self._titles) - 1
        )
        book.close()

    def _measure(self, count: int, column: int, cell: str) -> None:
        if count < _WIDTHS_FROM:
            width = _width(cell) + 1
            self._widths[column] = max(self._widths[column], width)


def _width(text: str) -> int:
    """How wide a text is shown: a Chinese character takes the room of two letters."""
    longest = max(text.split("\n"), key=len)
    return len(longest) if longest.isascii() else sum(1 + (c > "\u2e7f") for c in longest)


def _write_csv(
    path: Path,
    kept: Sequence[int],
    titles: Sequence[str],
    rows: Iterable[Line],
    *,
    compact: bool,
) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(map(_harmless, titles))
        for row in rows:
            own = [row.cells[i] if i < len(row.cells) else "" for i in kept]
            results = [*row.results, str(row.number)] if compact else row.results
            writer.writerow(map(_harmless, [*own, *results]))


def _harmless(text: str) -> str:
    """A CSV cell that no spreadsheet program runs as a formula."""
    return f"'{text}" if text.startswith(_INJECTION) else text
