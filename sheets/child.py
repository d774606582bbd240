"""The sandbox: reads one untrusted file from stdin and prints its rows as JSON lines.

Runs as `python -I -m sheets.child KIND`, a process of its own, because a 1.8 KB file can abort or
fill the reading library (stack.md section 4). Limits are set before the first byte is looked at.

stdin: one line of JSON (`Asked.stored`), then the file. Lines on stdout: one `{"sheet", "header_row",
"header", "columns"}`, then lists of rows, then `{"end", "blank", "reading", "questions"}`; or one
`{"error", "detail"}`. With a pages mode the rows are orders, read to the end here
(`RowDraft.packed`): that is bounded with the rest, and goes on while the caller writes.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sheets.headers import KINDS, SheetKind, find_columns
from sheets.reading import Asked, load_asked, order_lines, plain_lines
from sheets.rows import Refused, Sheet

MEMORY_BYTES: Final = 3 * 1024**3
"""Address space: a full sheet of 1,048,575 rows needs about 1 GB."""
CPU_SECONDS: Final = 300
HTML_WITHIN: Final = 1024
"""Bytes in which a web page says that it is one."""

OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
ENCRYPTED_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")
_RAW_BIFF: Final = (b"\x09\x00\x04\x00", b"\x09\x02\x06\x00", b"\x09\x04\x06\x00", b"\x09\x08")
_WEB_PAGE: Final = (b"<html", b"<table", b"<!doctype html", b"<meta", b"<head")


def main() -> None:
    """Read stdin, print lines; whatever happens, the last line says how it ended."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kind = KINDS[sys.argv[1]]
    asked = load_asked(json.loads(sys.stdin.buffer.readline() or "{}"))
    content = sys.stdin.buffer.read()
    try:
        for line in lines(kind, content, asked):
            print(json.dumps(line, ensure_ascii=False, separators=(",", ":")))
    except Refused as refused:
        print(json.dumps({"error": refused.code, "detail": refused.detail}))
    except (MemoryError, RecursionError):
        print(json.dumps({"error": "file_too_large", "detail": "memory"}))
    except Exception:  # noqa: BLE001 - any failure of the libraries is the file's fault here
        print(json.dumps({"error": "file_unreadable", "detail": "文件已损坏 / damaged"}))


def lines(kind: SheetKind, content: bytes, asked: Asked) -> Iterator[Any]:
    """The output for a file, as values. Raises `Refused`."""
    sheets = sheets_of(content, kind)
    yield from order_lines(sheets, asked) if asked.mode else plain_lines(kind, sheets, asked)


def sheets_of(content: bytes, kind: SheetKind) -> Iterator[Sheet]:
    """Each sheet of the file in its order, by what the bytes are, not by the name."""
    if content.startswith(b"PK\x03\x04"):
        from sheets.xlsx import xlsx_sheets

        yield from xlsx_sheets(content)
        return
    if content.startswith(OLE) and ENCRYPTED_PACKAGE in content:
        raise Refused("file_encrypted")
    if content.startswith(_RAW_BIFF):
        raise Refused(
            "file_unreadable",
            "这是很旧的 Excel 文件(裸 BIFF)；请用表格程序打开后另存为 .xlsx"
            " / a very old Excel file (bare BIFF); open it in a spreadsheet program and save it as .xlsx",
        )
    if content.startswith(OLE):
        from sheets.xls import xls_sheets

        yield from xls_sheets(content)
        return
    _refuse_markup(content[:HTML_WITHIN].lstrip(b"\xef\xbb\xbf \r\n\t").lower())

    from sheets.text import text_sheets

    def is_header(cells: Sequence[Any]) -> bool:
        try:
            return find_columns(kind, cells, asked_columns) is not None
        except ValueError:
            return True

    asked_columns: dict[str, str] = {}
    yield from text_sheets(content, is_header)


def _refuse_markup(start: bytes) -> None:
    """Web pages and XML that are named like sheets."""
    if start.startswith(_WEB_PAGE) or (start.startswith(b"<!") and b"<html" in start):
        raise Refused(
            "file_unreadable",
            "这是网页(HTML)，不是表格文件；请用表格程序打开后另存为 .xlsx"
            " / a web page (HTML); open it in a spreadsheet program and save it as .xlsx",
        )
    if start.startswith((b"<?xml", b"<workbook")):
        raise Refused(
            "file_unreadable",
            "这是 XML 表格(XML 2003)；请用表格程序打开后另存为 .xlsx"
            " / an XML spreadsheet; open it in a spreadsheet program and save it as .xlsx",
        )


if __name__ == "__main__":
    main()
