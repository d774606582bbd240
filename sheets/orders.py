"""One row of an order sheet -> one demand, or what is wrong with it. Pure but for its data.

Nothing is padded, cut or guessed: what cannot be read for certain is a problem that names the
cell and, where there is one, what may be meant (cell_traps.csv).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from models.numbers import NotACertificateNumber, clean, parse_certificate_number
from models.problems import Problem, column_letters, load_problem
from models.serials import MAX_SERIALS_PER_ROW, NotSerials, parse_serials, serials_between
from models.states import Action, PagesMode, RowStatus, StockSource
from sheets.headers import EXAMPLE_REMARK, ORDERS, find_columns, header_key

VERIFY_WORDS: Final = ("核销", "使用", "用", "正常", "√", "V", "1", "verify")
VOID_WORDS: Final = (
    *("作废", "废", "打废", "打坏", "损坏", "污损", "报废", "×", "✗", "✕", "X", "0", "void"),
)
HISTORY_WORDS: Final = ("已核销", "已作废")
DONE_WORDS: Final = ("成功", "done", "处理中", "open")
"""Results of an earlier submission that leave nothing to do for a row that comes back."""
SKIP_WORDS: Final = ("合计", "小计", "总计", "制表人", "制表", "审核人")

_SOURCES: Final = {
    StockSource.EXPORTER: ("出口商", "自理", "企业自理", "exporter", "返填出口商流水号"),
    StockSource.AGENT: (
        *("代录入企业", "录入企业", "代理", "企业代理", "agent"),
        *("返填代录入企业流水号", "返填代入企业流水号"),
    ),
}
_REASONS: Final = {
    "01": ("01", "1", "打印错误", "打印失败", "卡纸"),
    "02": ("02", "2", "污损", "破损", "损坏"),
    "03": ("03", "3", "证书更改或重发", "更改", "重发", "证书更改", "证书修改", "换证"),
    "04": ("04", "4", "遗失", "丢失"),
    "09": ("09", "9", "其他"),
}
_REASON_AND_TEXT: Final = re.compile(r"(0?[12349]|其他)[\s:,(]+(.+?)\)?", re.DOTALL)
REASON_TEXT_LIMIT: Final = 150
REFERENCE_LIMIT: Final = 100

_ACTION_OF: Final = {
    **{header_key(w): Action.VERIFY for w in VERIFY_WORDS},
    **{header_key(w): Action.VOID for w in VOID_WORDS},
}
_HISTORY: Final = {header_key(w) for w in HISTORY_WORDS}
_SOURCE_OF: Final = {header_key(w): source for source, words in _SOURCES.items() for w in words}
_REASON_OF: Final = {header_key(w): code for code, words in _REASONS.items() for w in words}
_CHINESE_DIGITS: Final = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_CHINESE_NUMBER: Final = re.compile("([一二三四五六七八九]?)十([一二三四五六七八九]?)")
_UNIT: Final = re.compile(r"[张页份]$")


@dataclass(slots=True)
class RowDraft:
    """A row as read: what it demands, and what is wrong with how it says so."""

    number: int
    cells: list[str]
    status: RowStatus = RowStatus.OK
    certificate: str = ""
    action: Action | None = None
    source: StockSource | None = None
    page_count: int | None = None
    pages_mode: PagesMode = PagesMode.ADDITIONAL
    reason_code: str | None = None
    reason_text: str | None = None
    reference: str = ""
    serials: list[tuple[str, Action]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def packed(self) -> list[Any]:
        """The row as plain JSON values, for the way out of the sandbox."""
        return [
            *(self.number, self.cells, self.status, self.certificate, self.action, self.source),
            *(self.page_count, self.pages_mode, self.reason_code, self.reason_text),
            *(self.reference, self.serials, [p.stored() for p in self.problems]),
        ]


def unpacked(values: Sequence[Any]) -> RowDraft:
    """A row as `RowDraft.packed` gave it."""
    number, cells, status, certificate, action, source, pages, mode, *rest = values
    reason_code, reason_text, reference, serials, problems = rest
    return RowDraft(
        number=number,
        cells=cells,
        status=RowStatus(status),
        certificate=certificate,
        action=Action(action) if action else None,
        source=StockSource(source) if source else None,
        page_count=pages,
        pages_mode=PagesMode(mode),
        reason_code=reason_code,
        reason_text=reason_text,
        reference=reference,
        serials=[(serial, Action(what)) for serial, what in serials],
        problems=[load_problem(p) for p in problems],
    )


class OrderReader:
    """Reads the rows of one sheet, whose columns and header it knows."""

    def __init__(
        self, header: Sequence[str], columns: dict[str, int], pages_mode: PagesMode
    ) -> None:
        self._header = header
        self._columns = columns
        self._pages_mode = pages_mode

    def read(self, number: int, cells: Sequence[Any]) -> RowDraft:
        """The row. Problems of all its cells at once."""
        row = RowDraft(number, [as_text(c) for c in cells], pages_mode=self._pages_mode)
        if self._skipped(cells):
            row.status = RowStatus.SKIPPED
            return row
        good = self._good_cells(row, cells)
        self._read_certificate(row, good)
        self._read_action(row, good)
        self._read_what(row, good)
        self._read_source(row, good)
        if any(action is Action.VOID for _, action in row.serials) or row.action is Action.VOID:
            self._read_reason(row, good)
        row.reference = clean(as_text(good.get("reference")))[:REFERENCE_LIMIT]
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

    def _skipped(self, cells: Sequence[Any]) -> bool:
        """Totals, signatures, a header repeated at a page break, rows done in an earlier result."""
        first = next((clean(c) for c in cells if isinstance(c, str) and clean(c)), "")
        if first.replace(" ", "").startswith(SKIP_WORDS) and not self._has_certificate(cells):
            return True
        remark = self._columns.get("remark")
        if remark is not None and remark < len(cells) and cells[remark] == EXAMPLE_REMARK:
            return True
        done = self._columns.get("result")
        if done is not None and done < len(cells) and as_text(cells[done]).strip() in DONE_WORDS:
            return True
        return self._is_header(cells)

    def _is_header(self, cells: Sequence[Any]) -> bool:
        index = self._columns["certificate"]
        title = cells[index] if index < len(cells) else None
        if not isinstance(title, str) or header_key(title) != header_key(self._header[index]):
            return False
        return find_columns(ORDERS, cells) == self._columns

    def _has_certificate(self, cells: Sequence[Any]) -> bool:
        index = self._columns["certificate"]
        try:
            parse_certificate_number(as_text(cells[index]) if index < len(cells) else "")
        except NotACertificateNumber:
            return False
        return True

    def _good_cells(self, row: RowDraft, cells: Sequence[Any]) -> dict[str, Any]:
        """Cells by field, without blanks; error values and dead formulas become problems."""
        good: dict[str, Any] = {}
        for name, index in self._columns.items():
            cell = cells[index] if index < len(cells) else None
            if isinstance(cell, dict) and name not in {"remark", "reference", "result"}:
                if "error" in cell:
                    self._problem(row, "cell_error", name, value=cell["error"])
                    continue
                if "formula" in cell:
                    self._problem(row, "formula_without_value", name)
                    continue
            if cell is not None and as_text(cell).strip():
                good[name] = cell
        return good

    def _flawed(self, row: RowDraft, *names: str) -> bool:
        return any(p.field in names for p in row.problems)

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
        if self._flawed(row, "action"):
            return
        if "action" not in good:
            only_void = "void_serials" in good and not good.keys() & {
                *("serial", "first_serial", "page_count"),
            }
            if only_void:
                row.action = Action.VOID
            elif "action" not in self._columns:
                row.action = Action.VERIFY  # a sheet without the column lists forms that were used
            else:
                self._problem(row, "action_unknown", "action", value="")
            return
        key = header_key(as_text(good["action"]))
        row.action = _ACTION_OF.get(key)
        if row.action is None:
            wrong = "action_ambiguous" if key in _HISTORY else "action_unknown"
            hint = key.removeprefix("已") if key in _HISTORY else ""
            self._problem(row, wrong, "action", hint, value=as_text(good["action"]))

    def _read_what(self, row: RowDraft, good: dict[str, Any]) -> None:
        named = self._serials_of(row, good, "serial")
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
        fields = ("serial", "first_serial", "last_serial", "void_serials", "page_count")
        if self._flawed(row, *fields):
            return
        if not serials and pages is not None:
            if row.action is Action.VOID:
                self._page_problem(row, str(pages))
            if "result_serials" in good:
                done = as_text(good["result_serials"])
                self._problem(row, "pages_done_before", "page_count", serials=done)
            row.page_count = pages
        elif not row.serials:
            self._problem(row, "nothing_to_do", "serial" if "serial" in self._columns else "")

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
        first = self._serials_of(row, good, "first_serial")
        last = self._serials_of(row, good, "last_serial")
        if self._flawed(row, "first_serial", "last_serial") or not (first or last):
            return []
        if len(first) != 1 or len(last) != 1:
            name = "last_serial" if first else "first_serial"
            text = f"{as_text(good.get('first_serial'))}-{as_text(good.get('last_serial'))}"
            self._problem(row, "serial_malformed", name, (first or last)[0], value=text)
            return []
        try:
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
        row.source = _SOURCE_OF.get(header_key(text).replace("反填", "返填"))
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
            self._problem(row, "reason_unknown", "reason", f"其他:{text}", value=text)
        elif code == "09" and not said:
            self._problem(row, "reason_missing", "reason", "其他:说明")
        else:
            row.reason_code, row.reason_text = code, said or None


def parse_page_count(cell: Any) -> int | None:
    """A page count from 1 to the limit of a row: digits, full width, `4.0`, Chinese up to 九十九."""
    if isinstance(cell, (bool, dict)):
        return None
    if isinstance(cell, (int, float)):
        number = int(cell) if math.isfinite(cell) and cell == int(cell) else 0
    else:
        text = _UNIT.sub("", clean(cell)).strip()
        if re.fullmatch(r"[0-9]{1,9}(\.0+)?", text):
            number = int(text.split(".")[0])
        else:
            number = _chinese_number(text)
    return number if 0 < number <= MAX_SERIALS_PER_ROW else None


def _chinese_number(text: str) -> int:
    if text in _CHINESE_DIGITS:
        return _CHINESE_DIGITS[text]
    match = _CHINESE_NUMBER.fullmatch(text)
    if match is None:
        return 0
    tens, ones = match.groups()
    return 10 * _CHINESE_DIGITS.get(tens, 1) + _CHINESE_DIGITS.get(ones, 0)


def parse_reason(text: str) -> tuple[str | None, str]:
    """A void reason as (code of the contract, what was said beside it): `04`, `其他:水渍`, `01 卡纸`."""
    code = _REASON_OF.get(header_key(text))
    if code is not None:
        return code, ""
    both = _REASON_AND_TEXT.fullmatch(text)
    if both is None:
        return None, ""
    return _REASON_OF[header_key(both[1])], both[2].strip()[:REASON_TEXT_LIMIT]


def as_text(cell: Any) -> str:
    """A cell as a person sees it in the sheet."""
    if isinstance(cell, str):
        return cell.replace("\0", "") if "\0" in cell else cell  # no database keeps it in text
    if cell is None:
        return ""
    if isinstance(cell, dict):
        return str(cell.get("error") or cell.get("date") or "")
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    return str(cell)
