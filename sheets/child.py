"""The sandbox: reads one untrusted sheet from stdin and prints its rows as JSON lines.

Runs as `python -I -m sheets.child KIND [PAGES_MODE]`, a process of its own, because a 1.8 KB file can abort or
fill the reading library (stack.md section 4). Limits are set before the first byte is looked at.

Lines on stdout: one `{"sheet", "header_row", "header", "columns"}`, then lists of
`[row number, cells]`, then `{"end", "blank"}`; or one `{"error", "detail"}`. A cell is text, a
number, or `{"date"}`, `{"error"}`, `{"formula"}`. With a pages mode the rows are orders, read to the
end here (`RowDraft.packed`): that is bounded with the rest, and goes on while the caller writes.
"""

from __future__ import annotations

import csv
import io
import json
import resource
import sys
import zipfile
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from typing import Any, Final

from models.states import PagesMode
from sheets.headers import KINDS, RepeatedColumn, SheetKind, find_columns
from sheets.orders import OrderReader

MEMORY_BYTES: Final = 3 * 1024**3
"""Address space: a full sheet of 1,048,575 rows needs about 1 GB."""
CPU_SECONDS: Final = 300
ZIP_PARTS: Final = 2000
ZIP_BYTES: Final = 1024**3
ZIP_RATIO: Final = 150
"""Unpacked to packed, for parts over 1 MB: honest sheets are at 7-20."""
ZIP_RATIO_FROM: Final = 1024**2
PROLOGUE: Final = 4096
"""Bytes at the beginning of a part in which a DTD would be."""
LINE_LENGTH: Final = 1024**2
"""Characters of a line of text: 256 cells of 4,000."""
COLUMNS: Final = 256
HEADER_WITHIN: Final = 50
"""Rows in which the header row is looked for."""
LINES_TOGETHER: Final = 500

OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENCRYPTED_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")

Rows = Iterable[tuple[int, list[Any]]]


class Refused(Exception):
    """The file is not read; `code` is the file's error code."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


def main() -> None:
    """Read stdin, print lines; whatever happens, the last line says how it ended."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kind = KINDS[sys.argv[1]]
    mode = PagesMode(sys.argv[2]) if sys.argv[2:] else None
    content = sys.stdin.buffer.read()
    try:
        for line in lines(kind, content, mode):
            print(json.dumps(line, ensure_ascii=False, separators=(",", ":")))
    except Refused as refused:
        print(json.dumps({"error": refused.code, "detail": refused.detail}))
    except (MemoryError, RecursionError):
        print(json.dumps({"error": "file_too_large", "detail": "memory"}))
    except Exception as error:  # noqa: BLE001 - any failure of the libraries is the file's fault here
        detail = f"文件已损坏 / damaged ({type(error).__name__})"
        print(json.dumps({"error": "file_unreadable", "detail": detail}))


def lines(kind: SheetKind, content: bytes, mode: PagesMode | None = None) -> Iterator[Any]:
    """The output for a file, as values. Raises `Refused`."""
    for name, rows in sheets_of(content):
        iterator = iter(rows)
        for number, cells in iterator:
            if number > HEADER_WITHIN:
                break
            try:
                columns = find_columns(kind, cells)
            except RepeatedColumn as error:
                detail = f"重复的列 / repeated column: {error.args[0]}"
                raise Refused("file_unreadable", detail) from None
            if columns is None:
                continue
            if len(cells) > COLUMNS:
                raise Refused("file_too_large", f"{len(cells)} > {COLUMNS} columns")
            header = ["" if c is None else str(c) for c in cells]
            yield {"sheet": name, "header_row": number, "header": header, "columns": columns}
            reader = OrderReader(header, columns, mode) if mode else None
            yield from _data_lines(iterator, reader)
            return
    raise Refused("no_header_row", kind.wanted)


def _data_lines(rows: Iterator[tuple[int, list[Any]]], reader: OrderReader | None) -> Iterator[Any]:
    together: list[Any] = []
    blank = 0
    for number, cells in rows:
        if all(c is None or c == "" or (isinstance(c, str) and not c.strip()) for c in cells):
            blank += 1
            continue
        together.append(reader.read(number, cells).packed() if reader else [number, cells])
        if len(together) == LINES_TOGETHER:
            yield together
            together = []
    if together:
        yield together
    yield {"end": True, "blank": blank}


def sheets_of(content: bytes) -> Iterator[tuple[str, Rows]]:
    """Each sheet of the file, visible ones first, by what the bytes are, not by the name."""
    if content.startswith(b"PK\x03\x04"):
        yield from _xlsx(content)
    elif content.startswith(OLE):
        if ENCRYPTED_PACKAGE in content:
            raise Refused("file_encrypted")
        yield from _xls(content)
    else:
        yield "", _text_rows(content)


# -- xlsx ---------------------------------------------------------------------------------------


def _xlsx(content: bytes) -> Iterator[tuple[str, Rows]]:
    from python_calamine import CalamineWorkbook, SheetVisibleEnum

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        _check_archive(archive)
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        ordered = sorted(
            book.sheets_metadata, key=lambda sheet: sheet.visible != SheetVisibleEnum.Visible
        )
        for sheet in ordered:
            yield sheet.name, _xlsx_rows(book, archive, sheet.name)


def _check_archive(archive: zipfile.ZipFile) -> None:
    """Size limits from the directory, then every checksum: a bent byte must not become a serial."""
    parts = archive.infolist()
    names = {part.filename for part in parts}
    if len(parts) > ZIP_PARTS or sum(part.file_size for part in parts) > ZIP_BYTES:
        raise Refused("file_too_large", "zip")
    for part in parts:
        if part.flag_bits & 1:
            raise Refused("file_encrypted")
        if part.file_size > ZIP_RATIO_FROM and part.file_size > ZIP_RATIO * part.compress_size:
            raise Refused("file_too_large", f"{part.filename}: 1:{ZIP_RATIO}")
    if "xl/workbook.xml" not in names:
        raise Refused("file_unreadable", "不是 xlsx 工作簿 / not an xlsx workbook")
    if any(name.endswith("vbaProject.bin") for name in names):
        raise Refused("file_unreadable", "含宏的工作簿不接受 / workbooks with macros are refused")
    for part in parts:
        if part.filename.endswith((".xml", ".rels")) and _declares(archive, part):
            raise Refused("file_unreadable", "DTD")
    broken = archive.testzip()
    if broken is not None:
        raise Refused("file_unreadable", f"{broken}: CRC")


def _declares(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    """Whether a part begins with a DTD: no spreadsheet program writes one."""
    with archive.open(part) as stream:
        start = stream.read(PROLOGUE).replace(b"\0", b"")  # UTF-16 too
    return b"<!DOCTYPE" in start or b"<!ENTITY" in start


def _xlsx_rows(book: Any, archive: zipfile.ZipFile, name: str) -> Rows:
    from sheets.xlsx_marks import marked_cells

    sheet = book.get_sheet_by_name(name)
    if sheet.start is None:
        return
    left = sheet.start[1]
    marks = marked_cells(archive, name)
    merged = _Merged(
        (top, left, bottom) for (top, left), (bottom, _) in sheet.merged_cell_ranges or []
    )
    for index, found in enumerate(sheet.iter_rows()):
        cells: list[Any] = [None] * left + [_plain(cell) for cell in found]
        for column, mark in marks.pop(index, {}).items():
            cells[column] = mark
        merged.fill(index, cells)
        yield index + 1, cells


class _Merged:
    """A sheet's merged areas of more than one row: the value goes to the lower rows, and nowhere else.

    Rows come in order. The work is that of the cells read, however many areas a file declares.
    """

    def __init__(self, areas: Iterable[tuple[int, int, int]]) -> None:
        """`areas`: top row, left column, bottom row."""
        self._coming = sorted((area for area in areas if area[0] < area[2]), reverse=True)
        self._until: dict[int, int] = {}
        self._above: dict[int, Any] = {}

    def fill(self, row: int, cells: list[Any]) -> None:
        for column, value in self._above.items():
            if cells[column] in (None, ""):
                cells[column] = value
        while self._coming and self._coming[-1][0] <= row:
            _, left, bottom = self._coming.pop()
            if left < len(cells):
                self._until[left] = max(bottom, self._until.get(left, bottom))
        self._until = {column: last for column, last in self._until.items() if last > row}
        self._above = {column: cells[column] for column in self._until}


def _plain(cell: Any) -> Any:
    if cell == "":
        return None
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, (datetime, date, time)):
        return {"date": cell.isoformat()}
    if isinstance(cell, str):
        return cell.replace("\0", "\N{REPLACEMENT CHARACTER}")  # no database keeps a NUL in text
    return cell if isinstance(cell, (int, float, bool)) else str(cell)


# -- xls ----------------------------------------------------------------------------------------


def _xls(content: bytes) -> Iterator[tuple[str, Rows]]:
    import xlrd

    try:
        book = xlrd.open_workbook(
            file_contents=content, formatting_info=True, logfile=io.StringIO(), on_demand=True
        )
    except xlrd.XLRDError as error:
        if "encrypted" in str(error).lower():
            raise Refused("file_encrypted") from None
        raise
    for sheet in sorted(book.sheets(), key=lambda s: s.visibility != 0):
        yield sheet.name, _xls_rows(book, sheet)


def _xls_rows(book: Any, sheet: Any) -> Rows:
    merged = _Merged((top, left, below - 1) for top, below, left, _ in sheet.merged_cells)
    for index in range(sheet.nrows):
        cells = [_xls_cell(book, cell) for cell in sheet.row(index)]
        merged.fill(index, cells)
        yield index + 1, cells


def _xls_cell(book: Any, cell: Any) -> Any:
    import xlrd

    if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
        return None
    if cell.ctype == xlrd.XL_CELL_ERROR:
        return {"error": xlrd.error_text_from_code.get(cell.value, "#ERR")}
    if cell.ctype == xlrd.XL_CELL_DATE:
        return {"date": xlrd.xldate_as_datetime(cell.value, book.datemode).isoformat()}
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return bool(cell.value)
    return _plain(cell.value)


# -- text ---------------------------------------------------------------------------------------


def _text_rows(content: bytes) -> Rows:
    text = decode(content)
    csv.field_size_limit(100_000)
    first = text[:4096]
    delimiter = max("\t,;", key=first.count)
    short = map(_checked_line, io.StringIO(text, newline=""))
    for number, cells in enumerate(csv.reader(short, delimiter=delimiter, strict=True), start=1):
        yield number, [cell or None for cell in cells]


def _checked_line(line: str) -> str:
    if len(line) > LINE_LENGTH:
        raise Refused("file_too_large", f"{len(line)} > {LINE_LENGTH} characters in a line")
    return line


def decode(content: bytes) -> str:
    """BOM, else strict UTF-8, else strict GB18030 (what spreadsheet programs here write)."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"),
                           (b"\xfe\xff", "utf-16")):  # fmt: skip
        if content.startswith(mark):
            encodings = [encoding]
            break
    else:
        encodings = ["utf-8", "gb18030"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text
    raise Refused("file_unreadable", "既非表格也非文本 / neither a workbook nor text")


if __name__ == "__main__":
    main()
