"""One row of an order sheet -> one demand, or what is wrong with it. Pure but for its data.

Nothing is padded, cut or guessed: what cannot be read for certain is a problem that names the
cell and, where there is one, what may be meant (cell_traps.csv).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from models.rules.numbers import NotACertificateNumber, clean, parse_certificate_number
from models.rules.problems import Problem, column_letters
from models.rules.serials import MAX_SERIALS_PER_ROW, NotSerials, parse_serials, serials_between
from models.rules.states import Action, PagesMode, RowStatus
from sheets.drafts import RowDraft
from sheets.headers import (
    EXAMPLE_REMARKS,
    ORDERS,
    RepeatedColumn,
    find_columns,
    header_key,
    two_level,
)
from sheets.layout import Layout
from sheets.questions import NO_ANSWERS, Answers, QuestionCode
from sheets.rows import Marks
from sheets.words import (
    ACTION_OF,
    DONE_WORDS,
    HISTORY,
    NO_TICKS,
    NOTE,
    SECTION,
    TICKS,
    TOTAL,
    VOID_SPEECH,
    as_text,
    is_filler,
    parse_page_count,
    parse_reason,
    source_of,
    value_key,
)

REFERENCE_LIMIT: Final = 100
_PLAIN_CERTIFICATE: Final = re.compile(r"[A-Z]{1,2}[0-9]{2}[0-9A-Z]{9}[0-9]{4}")
"""A certificate number as it should be written: its row is an order, without a further look."""
_UNREAD: Final = frozenset({"remark", "reference", "result"})
"""Fields whose error values harm nobody."""
_SERIAL_FIELDS: Final = ("serial", "first_serial", "last_serial", "void_serials")
_STRIKES_COUNT: Final = ("certificate", *_SERIAL_FIELDS, "page_count", "action")
"""Fields of which a struck-out cell means that the row may be meant as struck out."""


@dataclass(slots=True)
class Findings:
    """What reading the rows has brought to light about the sheet as a whole."""

    hidden: list[int] = field(default_factory=list)
    """Rows that nobody sees and that would be done."""
    struck: list[int] = field(default_factory=list)
    assumed: int = 0
    """Rows whose action is nowhere said: verification is what such a list means."""
    void_speech: list[str] = field(default_factory=list)
    """What speaks of voiding in a sheet with such rows."""


class OrderReader:
    """Reads the rows of one sheet, whose layout it knows. `findings` are whole after the last row."""

    def __init__(
        self,
        layout: Layout,
        pages_mode: PagesMode,
        answers: Answers = NO_ANSWERS,
        void_speech: Sequence[str] = (),
        *,
        of_a_sheet: bool = True,
    ) -> None:
        """`void_speech`: what above the rows (title, sheet name, header) speaks of voiding. Not `of_a_sheet`:
        every row is an order, none is a total or a title.
        """
        self._of_a_sheet = of_a_sheet
        self.layout = layout
        self.findings = Findings(void_speech=list(void_speech))
        self._columns = layout.columns
        self._header = layout.header
        self._pages_mode = pages_mode
        self._answers = answers
        self._ticks = [n for n in ("verify_tick", "void_tick") if n in self._columns]
        self._done_before = [
            (self._columns[name], words)
            for name, words in (("remark", EXAMPLE_REMARKS), ("result", DONE_WORDS))
            if name in self._columns
        ]
        self._other_header = False
        self._merged: bool | None = None
        """Whether the count (or serials) of this row are those of a merged cell above it, and the
        certificate too; False: another certificate's."""

    def read(self, number: int, cells: list[Any], marks: Marks | None = None) -> RowDraft:
        """The row. Problems of all its cells at once."""
        row = RowDraft(number, [as_text(c) for c in cells], pages_mode=self._pages_mode)
        if self._of_a_sheet and self._skipped(cells, marks):
            row.status = RowStatus.SKIPPED
            return row
        good = self._good_cells(row, cells, marks)
        self._read_certificate(row, good)
        self._read_action(row, good)
        self._read_what(row, good)
        self._read_source(row, good)
        if any(action is Action.VOID for _, action in row.serials) or row.action is Action.VOID:
            self._read_reason(row, good)
        row.reference = clean(as_text(good.get("reference")))[:REFERENCE_LIMIT]
        self._look_around(row, cells)
        if marks is not None and not row.problems:
            self._heed_marks(row, marks)
        if row.problems:
            row.status = RowStatus.PROBLEM
        return row

    # -- structure ------------------------------------------------------------------------------

    def _place(self, name: str, number: int) -> tuple[str, str]:
        index = self._columns.get(name)
        if index is None:
            return "", ""
        return self._header[index], f"{column_letters(index)}{number}"

    def _problem(self, row: RowDraft, key: str, name: str, suggestion: str = "", **v: Any) -> None:
        column, cell = self._place(name, row.number)
        row.problems.append(Problem(key, name, column, cell, suggestion, v))

    def _skipped(self, cells: Sequence[Any], marks: Marks | None) -> bool:
        """Totals, notes, section titles, repeated headers, rows done in an earlier result, and rows
        below a merged count that say nothing of their own.
        """
        for index, done in self._done_before:
            if index < len(cells) and as_text(cells[index]).strip() in done:
                return True
        place = self._columns["certificate"]
        title = cells[place] if place < len(cells) else None
        filled = marks.filled if marks is not None else frozenset[int]()
        if place not in filled and type(title) is str and _PLAIN_CERTIFICATE.fullmatch(title):
            return False
        if self._is_header(cells):
            return True
        own = None if place in filled else _at(cells, place)
        if isinstance(own, str) and _is_certificate(own):
            return False
        if self._names_serials(cells):
            return False
        texts = [clean(c) for i, c in enumerate(cells) if i not in filled and isinstance(c, str)]
        texts = [text for text in texts if text]
        if any(TOTAL.match(text.replace(" ", "")) for text in texts):
            return True
        if texts and NOTE.match(texts[0]):
            return True
        return self._is_section(cells, filled, texts)

    def _names_serials(self, cells: Sequence[Any]) -> bool:
        for name in _SERIAL_FIELDS:
            index = self._columns.get(name)
            cell = _at(cells, index) if index is not None else None
            if isinstance(cell, (str, int, float)) and not isinstance(cell, bool):
                try:
                    parse_serials(cell)
                except NotSerials:
                    continue
                return True
        return False

    def _is_section(self, cells: Sequence[Any], filled: frozenset[int], texts: list[str]) -> bool:
        """A single text that speaks of actions is the title of what follows, not an order."""
        alone = sum(c not in (None, "") for i, c in enumerate(cells) if i not in filled) == 1
        if not (alone and len(texts) == 1 and SECTION.search(texts[0])):
            return False
        if VOID_SPEECH.search(texts[0]):
            self.findings.void_speech.append(texts[0])
        return True

    def _is_header(self, cells: Sequence[Any]) -> bool:
        index = self._columns["certificate"]
        title = _at(cells, index)
        if not isinstance(title, str) or header_key(title) != header_key(self._header[index]):
            levels = two_level({"serial": [self._columns.get("first_serial", -1)]}, cells)
            return levels is not None
        try:
            found = find_columns(ORDERS, cells, self._answers.columns)
        except RepeatedColumn:
            found = None
        same = found is not None and all(
            self._header[i].strip() == as_text(_at(cells, i)).strip()
            or header_key(self._header[i]).startswith(header_key(as_text(_at(cells, i))))
            for i in range(len(self._header))
        )
        self._other_header |= not same
        return True

    def _good_cells(
        self, row: RowDraft, cells: Sequence[Any], marks: Marks | None
    ) -> dict[str, Any]:
        """Cells by field, without blanks and fillers; what cannot be taken becomes a problem."""
        good: dict[str, Any] = {}
        filled = marks.filled if marks is not None else frozenset[int]()
        self._merged = None
        for name, index in self._columns.items():
            cell = cells[index] if index < len(cells) else None
            if cell is None:
                continue
            if index in filled and name in {"page_count", *_SERIAL_FIELDS}:
                self._merged = self._columns["certificate"] in filled
                # it counts once, for the first of the rows that it is merged over; so does a sheet of ours that
                # comes back
                row.cells[index] = ""
                continue
            if type(cell) is dict and name not in _UNREAD:
                if "error" in cell:
                    self._problem(row, "cell_error", name, value=cell["error"])
                    continue
                if "formula" in cell:
                    self._problem(row, "formula_without_value", name)
                    continue
            if type(cell) is str and (is_filler(cell) if len(cell) < 5 else cell.isspace()):  # noqa: PLR2004
                continue
            good[name] = cell
        if marks is not None and marks.part_struck:
            for name in _STRIKES_COUNT:
                if self._columns.get(name) in marks.part_struck:
                    self._problem(row, "struck_text", name)
        return good

    def _flawed(self, row: RowDraft, *names: str) -> bool:
        return bool(row.problems) and any(p.field in names for p in row.problems)

    def _look_around(self, row: RowDraft, cells: Sequence[Any]) -> None:
        """Columns that nobody knows, and cells under no header."""
        layout = self.layout
        demands = row.page_count is not None or bool(row.serials)
        by_count = row.page_count is not None
        for index in layout.look(cells, by_count=by_count, demands=demands):
            self._waits(row, QuestionCode.COLUMN_UNKNOWN, index)
        if layout.nameless or len(cells) > len(self._header):
            serials, actions = layout.beyond(cells)
            for index in serials:
                if index not in self._read_beyond:
                    cell = f"{column_letters(index)}{row.number}"
                    text = as_text(cells[index])
                    row.problems.append(
                        Problem("serial_outside_columns", "", "", cell, "", {"value": text})
                    )
            for index in actions:
                cell = f"{column_letters(index)}{row.number}"
                text = as_text(cells[index])
                row.problems.append(
                    Problem("action_outside_columns", "", "", cell, "", {"value": text})
                )
        if self._other_header:
            row.problems.append(Problem("header_changed"))

    def _waits(self, row: RowDraft, code: QuestionCode, index: int | None = None) -> None:
        cell = f"{column_letters(index)}{row.number}" if index is not None else ""
        header = self._header[index] if index is not None else ""
        if not any(p.text_key == "question_open" for p in row.problems):
            row.problems.append(
                Problem("question_open", "", header, cell, "", {"question": code.value})
            )

    def _heed_marks(self, row: RowDraft, marks: Marks) -> None:
        """A row that would be done, and that nobody sees or that is struck out."""
        if marks.hidden and not self._answers.include_hidden:
            self.findings.hidden.append(row.number)
            self._set_aside(row, self._answers.include_hidden, QuestionCode.HIDDEN_ROWS)
        struck = any(self._columns.get(n) in marks.struck for n in _STRIKES_COUNT)
        if struck and not self._answers.include_struck and row.status is RowStatus.OK:
            self.findings.struck.append(row.number)
            self._set_aside(row, self._answers.include_struck, QuestionCode.STRUCK_ROWS)

    def _set_aside(self, row: RowDraft, answer: bool | None, question: QuestionCode) -> None:
        if answer is None:
            self._waits(row, question)
        else:
            row.status = RowStatus.SKIPPED

    # -- meaning --------------------------------------------------------------------------------

    def _read_certificate(self, row: RowDraft, good: dict[str, Any]) -> None:
        text = as_text(good.get("certificate"))
        if self._flawed(row, "certificate"):
            return
        if not text:
            self._problem(row, "certificate_missing", "certificate")
            return
        try:
            row.certificate = str(parse_certificate_number(text))
        except NotACertificateNumber as error:
            key = "certificate_old_style" if error.old_style else error.code
            self._problem(row, key, "certificate", value=clean(text))

    def _read_action(self, row: RowDraft, good: dict[str, Any]) -> None:
        if self._flawed(row, "action", *self._ticks):
            return
        if "action" in good:
            text = as_text(good["action"])
            key = value_key(text)
            row.action = ACTION_OF.get(key)
            if row.action is None:
                wrong = "action_ambiguous" if key in HISTORY else "action_unknown"
                hint = key.removeprefix("已") if key in HISTORY else ""
                self._problem(row, wrong, "action", hint, value=text)
            return
        if self._ticks and self._read_ticks(row, good):
            return
        only_void = "void_serials" in good and not good.keys() & {
            *("serial", "first_serial", "page_count"),
        }
        if only_void:
            row.action = Action.VOID
        elif self._answers.action is not None:
            row.action = self._answers.action
        elif "action" in self._columns:
            self._problem(row, "action_unknown", "action", value="")
        else:
            self._assume_action(row, good)

    def _assume_action(self, row: RowDraft, good: dict[str, Any]) -> None:
        """A sheet that does not say lists forms that were used, unless something speaks of voiding."""
        row.action = Action.VERIFY
        self.findings.assumed += 1
        speech = self.findings.void_speech
        if "reason" in good and "void_serials" not in good:
            text = as_text(good["reason"])[:40]
            if text not in speech:
                speech.append(text)
        if speech:
            self._waits(row, QuestionCode.ACTION_UNCLEAR)

    def _read_ticks(self, row: RowDraft, good: dict[str, Any]) -> bool:
        """The action by the column that is ticked; whether there is anything to read in them."""
        ticked = [
            n for n in self._ticks if n in good and value_key(as_text(good[n])) not in NO_TICKS
        ]
        for name in ticked:
            if value_key(as_text(good[name])) not in TICKS:
                self._problem(row, "action_unknown", name, value=as_text(good[name]))
        if len(ticked) == 1 and not self._flawed(row, *ticked):
            row.action = Action.VOID if ticked[0] == "void_tick" else Action.VERIFY
        elif len(ticked) > 1:
            self._problem(row, "action_twice", ticked[1])
        elif not ticked and "verify_tick" in self._ticks and "void_serials" not in good:
            self._problem(row, "action_unknown", self._ticks[0], value="")
        return bool(row.problems) or bool(ticked)

    def _read_what(self, row: RowDraft, good: dict[str, Any]) -> None:
        named = self._named(row, good)
        bounds = self._first_last(row, good)
        pages = self._pages(row, good)
        if named and bounds and sorted(named) != sorted(bounds):
            counted = f"{len(named)}/{len(bounds)}"
            self._problem(row, "serials_and_pages", "serial", named=counted, pages=pages or "-")
        serials = named or bounds
        if serials and pages is not None and pages != len(serials):
            self._problem(row, "serials_and_pages", "page_count", named=len(serials), pages=pages)
        action = row.action or Action.VERIFY
        row.serials = [(serial, action) for serial in serials]
        row.serials += [(s, Action.VOID) for s in self._serials_of(row, good, "void_serials")]
        if self._flawed(row, *_SERIAL_FIELDS, "page_count"):
            return
        if not serials and pages is not None:
            if row.action is Action.VOID:
                self._page_problem(row, str(pages))
            if "result_serials" in good:
                done = as_text(good["result_serials"])
                self._problem(row, "pages_done_before", "page_count", serials=done)
            row.page_count = pages
        elif not row.serials:
            self._has_nothing(row)

    def _has_nothing(self, row: RowDraft) -> None:
        """No serials, no count: below a merged count of the same certificate there need be none."""
        if self._merged is None:
            self._problem(row, "nothing_to_do", "serial" if "serial" in self._columns else "")
        elif self._merged:
            row.status = RowStatus.SKIPPED
            row.problems.clear()
        else:
            self._problem(row, "count_merged", "page_count")

    def _named(self, row: RowDraft, good: dict[str, Any]) -> list[str]:
        """Serials of their column, and of the columns that go on with them."""
        serials = self._serials_of(row, good, "serial")
        self._read_beyond = frozenset()
        for index in self.layout.more_serials:
            serials += self._more(row, row.cells[index] if index < len(row.cells) else "", index)
        if len(row.cells) > len(self._header) and serials:
            serials += self._beyond(row, serials)
        return serials

    def _beyond(self, row: RowDraft, before: Sequence[str]) -> list[str]:
        """A list in the last column that was not put in quotation marks: it goes on behind the header."""
        width = len(self._header)
        over = {i: t for i, t in enumerate(row.cells) if i >= width and t.strip()}
        follows = list(over) == list(range(width, width + len(over)))
        in_stock = all(self.layout.evidence.of(text).serial for text in over.values())
        if not (over and follows and in_stock and self._columns.get("serial") == width - 1):
            return []
        more = [s for index, text in over.items() for s in self._more(row, text, index)]
        if set(more) & set(before):
            return []  # written twice: a problem of cells under no header
        self._read_beyond = frozenset(over)
        return more

    _read_beyond: frozenset[int] = frozenset()

    def _more(self, row: RowDraft, text: str, index: int) -> list[str]:
        if not text.strip() or is_filler(text):
            return []
        try:
            return parse_serials(text)
        except NotSerials as error:
            cell = f"{column_letters(index)}{row.number}"
            values = {"value": error.text, "limit": MAX_SERIALS_PER_ROW}
            row.problems.append(Problem(error.code, "serial", "", cell, error.suggestion, values))
            return []

    def _serials_of(self, row: RowDraft, good: dict[str, Any], name: str) -> list[str]:
        if name not in good:
            return []
        cell = good[name]
        if isinstance(cell, (dict, bool)):
            self._problem(row, "serial_malformed", name, value=as_text(cell))
            return []
        try:
            return parse_serials(cell)
        except NotSerials as error:
            self._problem(
                row,
                error.code,
                name,
                error.suggestion,
                value=error.text,
                limit=MAX_SERIALS_PER_ROW,
            )
            return []

    def _first_last(self, row: RowDraft, good: dict[str, Any]) -> list[str]:
        if "first_serial" not in good and "last_serial" not in good:
            return []
        first = self._serials_of(row, good, "first_serial")
        last = self._serials_of(row, good, "last_serial")
        if self._flawed(row, "first_serial", "last_serial"):
            return []
        try:
            if "last_serial" not in good:
                return self._first_alone(row, good, first)
            if len(first) != 1 or len(last) != 1:
                name = "last_serial" if first else "first_serial"
                text = f"{as_text(good.get('first_serial'))}-{as_text(good.get('last_serial'))}"
                self._problem(row, "range_incomplete", name, value=text)
                return []
            return serials_between(first[0], last[0])
        except NotSerials as error:
            self._problem(
                row,
                error.code,
                "last_serial",
                error.suggestion,
                value=error.text,
                limit=MAX_SERIALS_PER_ROW,
            )
            return []

    def _first_alone(self, row: RowDraft, good: dict[str, Any], first: list[str]) -> list[str]:
        """A first serial without a last one: so many from it on, or a plain column of serials."""
        begins = header_key(self._header[self._columns["first_serial"]])
        if ORDERS.by_word.get(begins) == "serial":
            return first  # 流水号 | 至: nothing behind 至, so the serial alone
        pages = parse_page_count(good.get("page_count"))
        if pages is not None and len(first) == 1:
            return parse_serials(f"{first[0]}+{pages}")
        self._problem(row, "range_incomplete", "first_serial", value=f"{first[0]}-")
        return []

    def _pages(self, row: RowDraft, good: dict[str, Any]) -> int | None:
        if "page_count" not in good:
            return None
        count = parse_page_count(good["page_count"])
        if count is None:
            self._page_problem(row, as_text(good["page_count"]))
        return count

    def _page_problem(self, row: RowDraft, value: str) -> None:
        limit = MAX_SERIALS_PER_ROW
        self._problem(row, "page_count_invalid", "page_count", value=value, limit=limit)

    def _read_source(self, row: RowDraft, good: dict[str, Any]) -> None:
        if "stock_source" not in good:
            return
        text = as_text(good["stock_source"])
        row.source = source_of(text)
        if row.source is None:
            self._problem(
                row, "stock_source_unknown", "stock_source", "出口商 / 代录入企业", source=text
            )

    def _read_reason(self, row: RowDraft, good: dict[str, Any]) -> None:
        if self._flawed(row, "reason"):
            return
        text = clean(as_text(good.get("reason")))
        if not text:
            self._problem(row, "reason_missing", "reason")
            return
        code, said = parse_reason(text)
        if code is None:
            self._problem(row, "reason_unknown", "reason", value=text)
        elif code == "09" and not said:
            self._problem(row, "reason_text_missing", "reason", "其他:说明")
        else:
            row.reason_code, row.reason_text = code, said or None


def _at(cells: Sequence[Any], index: int) -> Any:
    return cells[index] if index < len(cells) else None


def _is_certificate(text: str) -> bool:
    """Whether a cell is meant as a certificate number, right or mistyped."""
    try:
        parse_certificate_number(text)
    except NotACertificateNumber as error:
        compact = value_key(text)
        mistyped = compact.isascii() and compact.isalnum() and any(c.isdigit() for c in compact)
        return error.code == "certificate_check_character" or error.old_style or mistyped
    return True
