"""Sheets that bring stock (领用登记) and certificates (证书) in: whole, or not at all.

These sheets are our own foundation, so one bad row refuses the file and names every bad row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from models.rules.errors import CellsRefused, FileUnreadable, SheetHasQuestions
from models.rules.numbers import (
    NotACertificateNumber,
    clean,
    is_enterprise_code,
    parse_certificate_number,
)
from models.rules.plan import CERTIFICATE_APPROVED
from models.rules.problems import Problem, column_letters
from models.rules.serials import (
    MAX_SERIALS_PER_ROW,
    NotSerials,
    as_ranges,
    parse_serials,
    serials_between,
)
from sheets.headers import CERTIFICATES, COUNT, STOCK
from sheets.questions import NO_ANSWERS, Answers
from sheets.reader import PlainRow, SheetReading, read_sheet
from sheets.rows import Refused
from sheets.text import decode
from sheets.words import NOTE, TOTAL, as_text, is_filler, parse_count, parse_page_count

ISSUED_TOGETHER: Final = 1_000_000
"""Longest range of one 领用登记 row."""
_SHOWN: Final = 10
_STATUS: Final = {
    **dict.fromkeys(
        ("审核通过", "已审核", "审批通过", "已审批", "已签证", "approved"), CERTIFICATE_APPROVED
    ),
    **dict.fromkeys(("待审核", "未审核", "审核中", "pending"), "pending"),
    **dict.fromkeys(("撤销", "已撤销", "注销", "已注销", "revoked"), "revoked"),
}
_DATE: Final = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[ T]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?"
)
_EIGHT_DIGITS: Final = re.compile(r"(\d{4})(\d{2})(\d{2})")


@dataclass(frozen=True, slots=True)
class IssuedRange:
    """Forms issued together: inclusive range of one owner and type."""

    owner: str
    form_type: str
    first_serial: str
    last_serial: str
    form_count: int
    issued_on: date | None


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """A certificate as imported."""

    number: str
    type: str
    exporter: str
    agent: str
    approved_on: date | None
    pages: int | None
    status: str | None
    """None: not said. A new certificate is approved then, a known one stays as it is."""


class _Bad(ValueError):
    """A cell that cannot be taken: its field and, as a text of `models.rules.problems`, why."""

    def __init__(self, field: str, text_key: str, **values: object) -> None:
        super().__init__(Problem(text_key, values=values).message)
        self.field = field


def _not_serials(field: str, error: NotSerials) -> _Bad:
    return _Bad(field, error.code, value=error.text, limit=ISSUED_TOGETHER)


def read_stock(
    content: bytes, file_name: str, size_limit: int, answers: Answers = NO_ANSWERS
) -> list[IssuedRange]:
    """The issued ranges of a file. Raises `FileError`, naming each bad cell or open question."""
    reading = read_sheet(content, file_name, STOCK, size_limit, answers)
    return [r for r in _each(reading, file_name, _issued_range) if isinstance(r, IssuedRange)]


def read_certificates(
    content: bytes, file_name: str, size_limit: int, answers: Answers = NO_ANSWERS
) -> list[CertificateRecord]:
    """The certificates of a file, each once. Raises `FileError`, naming each bad cell or open question.

    The same certificate twice with other data is such a bad cell: which of the two counts?
    """
    reading = read_sheet(content, file_name, CERTIFICATES, size_limit, answers)
    known: dict[str, CertificateRecord] = {}

    def once(row: dict[str, Any]) -> CertificateRecord:
        record = _certificate(row)
        if known.setdefault(record.number, record) != record:
            raise _Bad("certificate", "certificate_twice", value=record.number)
        return record

    for _ in _each(reading, file_name, once):
        pass
    return list(known.values())


def read_counted(
    content: bytes, file_name: str, size_limit: int, answers: Answers = NO_ANSWERS
) -> list[str]:
    """The serials of a count (盘点): a sheet, or a text file of serials and ranges line by line.

    Repeats are kept. Raises `FileError`, naming each bad cell or line.
    """
    if file_name.lower().endswith(".txt"):
        return _counted_lines(content, file_name)
    reading = read_sheet(content, file_name, COUNT, size_limit, answers)
    found = _each(reading, file_name, _counted_row)
    return [serial for serials in found if isinstance(serials, list) for serial in serials]


def _counted_row(row: dict[str, Any]) -> list[str]:
    serials: list[str] = []
    if as_text(row.get("serial")).strip():
        serials += _serials(row, "serial")
    if as_text(row.get("first_serial")).strip():
        first = last = _serials(row, "first_serial")[0]
        if as_text(row.get("last_serial")).strip():
            last = _serials(row, "last_serial")[-1]
        try:
            serials += serials_between(first, last, ISSUED_TOGETHER)
        except NotSerials as error:
            raise _not_serials("last_serial", error) from None
    return serials


def _counted_lines(content: bytes, file_name: str) -> list[str]:
    serials: list[str] = []
    bad: list[str] = []
    try:
        text = decode(content)
    except Refused as refused:
        raise FileUnreadable(file=file_name, detail=refused.detail) from None
    for number, line in enumerate(text.splitlines(), start=1):
        said = clean(line)
        titled = not any(c.isascii() and c.isalnum() for c in said)
        if titled or TOTAL.match(said) or NOTE.match(said):
            continue  # titles, totals and notes
        try:
            serials += parse_serials(line, ISSUED_TOGETHER)
        except NotSerials as error:
            bad.append(f"{number}: {_not_serials('serial', error)}")
    if bad:
        raise CellsRefused(file=file_name, detail="; ".join(bad[:_SHOWN]))
    return serials


def _each(reading: SheetReading[PlainRow], file_name: str, parse: Any) -> Iterator[object]:
    bad: list[str] = []
    for number, cells, sheet in reading.rows:
        row = {
            field: cells[index] if index < len(cells) else None
            for field, index in reading.columns.items()
        }
        try:
            yield parse({field: _plain(field, cell) for field, cell in row.items()})
        except _Bad as error:
            index = reading.columns.get(error.field, 0)
            where = f"{sheet}!" if sheet else ""
            bad.append(f"{where}{column_letters(index)}{number}: {error}")
    if reading.questions:
        detail = "; ".join(
            f"{q.message} ({' | '.join(q.answers)})" if q.answers else q.message
            for q in reading.questions
        )
        raise SheetHasQuestions(file=file_name, count=len(reading.questions), detail=detail)
    if bad:
        more = f" (+{len(bad) - _SHOWN})" if len(bad) > _SHOWN else ""
        raise CellsRefused(file=file_name, detail="; ".join(bad[:_SHOWN]) + more)


def _plain(field: str, cell: Any) -> Any:
    """A cell without fillers; an error or an empty formula is never taken as blank."""
    if isinstance(cell, dict) and ("error" in cell or "formula" in cell):
        raise _Bad(field, "cell_unreadable", value=cell.get("error", "="))
    return None if isinstance(cell, str) and is_filler(cell) else cell


def _issued_range(row: dict[str, Any]) -> IssuedRange:
    owner = _enterprise(row, "owner")
    form_type = clean(as_text(row.get("form_type"))).upper()
    if not (form_type.isascii() and form_type.isalpha() and len(form_type) <= 2):  # noqa: PLR2004
        raise _Bad("form_type", "form_type_invalid", value=form_type)
    serials = _serials(row, "first_serial")
    first, last = serials[0], serials[-1]
    if list(as_ranges(serials)) != [(first, last)]:
        raise _Bad("first_serial", "ranges_in_one_row", value=as_text(row.get("first_serial")))
    said = as_text(row.get("count")).strip()
    if as_text(row.get("last_serial")).strip():
        last = _serials(row, "last_serial")[-1]
    elif len(serials) == 1 and (many := parse_count(row.get("count"), ISSUED_TOGETHER)):
        last = _serials({"first_serial": f"{first}+{many}"}, "first_serial")[-1]
    try:
        count = len(serials_between(first, last, limit=ISSUED_TOGETHER))
    except NotSerials as error:
        raise _not_serials("last_serial", error) from None
    if said and parse_count(row["count"], ISSUED_TOGETHER) != count:
        raise _Bad("count", "count_disagrees", said=said, count=count)
    return IssuedRange(owner, form_type, first, last, count, _date(row, "issued_on"))


def _certificate(row: dict[str, Any]) -> CertificateRecord:
    try:
        number = parse_certificate_number(as_text(row.get("certificate")))
    except NotACertificateNumber as error:
        text = clean(as_text(row.get("certificate")))
        raise _Bad("certificate", error.code, value=text) from None
    return CertificateRecord(
        number=str(number),
        type=number.type,
        exporter=_enterprise(row, "exporter"),
        agent=_enterprise(row, "agent"),
        approved_on=_date(row, "approved_on"),
        pages=_pages(row),
        status=_status(row),
    )


def _pages(row: dict[str, Any]) -> int | None:
    text = as_text(row.get("pages")).strip()
    count = parse_page_count(row["pages"]) if text else None
    if text and count is None:
        raise _Bad("pages", "pages_invalid", value=text, limit=MAX_SERIALS_PER_ROW)
    return count


def _status(row: dict[str, Any]) -> str | None:
    text = clean(as_text(row.get("status")))
    if not text:
        return None
    if text not in _STATUS:
        raise _Bad("status", "status_unknown", value=text)
    return _STATUS[text]


def _enterprise(row: dict[str, Any], field: str) -> str:
    code = clean(as_text(row.get(field))).upper()
    if not is_enterprise_code(code):
        raise _Bad(field, "enterprise_code_invalid", value=code)
    return code


def _serials(row: dict[str, Any], field: str) -> Sequence[str]:
    try:
        return parse_serials(row.get(field) or "", ISSUED_TOGETHER)
    except NotSerials as error:
        raise _not_serials(field, error) from None
    except AttributeError:
        raise _Bad(field, "serial_malformed", value=as_text(row.get(field))) from None


def _date(row: dict[str, Any], field: str) -> date | None:
    said = as_text(row.get(field)).strip()
    text = clean(said)
    if not text:
        return None
    match = _DATE.fullmatch(text) or _EIGHT_DIGITS.fullmatch(text)
    try:
        return date(*map(int, match.groups())) if match else datetime.fromisoformat(text).date()
    except ValueError:
        raise _Bad(field, "date_invalid", value=said) from None
