"""What every part of the bench works on: orders, their sheet, the stock and the certificates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xlsxwriter

from sheets.imports import CertificateRecord, IssuedRange

AGENT = "91610131MA6TXQ0D1U"
EXPORTER = "91610000102690233L"
HEADER = ("证书号", "操作", "空白证单流水号", "核销页数", "库存来源", "作废原因", "客户参考号")
UPLOAD_LIMIT = 1 << 30
BLOCK = 1_000_000
"""Serials issued together at most: the limit of one line of a stock sheet."""


def certificate(number: int) -> str:
    """Certificate numbers beyond 9,999 go on in the next year."""
    return f"B{20 + number // 10000:02d}102690233{number % 10000:04d}"


def orders(rows: int) -> Iterator[tuple[Any, ...]]:
    """75 of 100 rows one form, the others 2-4; about 77 certificates for 100 rows; 5 % voids."""
    serial = 211000000
    for n in range(rows):
        pages = 1 if n % 4 else 2 + n % 3
        number = certificate(n * 77 // 100)
        if n % 20 == 0:
            yield number, "作废", f"{serial + 1}", None, None, "打印错误", f"R{n}"
            serial += 1
        elif n % 3 == 0:
            yield number, "核销", None, pages, None, None, f"R{n}"
        else:
            last = serial + pages
            span = f"{serial + 1}" if pages == 1 else f"{serial + 1}-{last}"
            yield number, "核销", span, None, None, None, f"R{n}"
            serial += pages


def sheet(folder: Path, rows: int) -> Path:
    path = folder / f"orders-{rows}.xlsx"
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True})
    page = book.add_worksheet()
    page.write_row(0, 0, HEADER)
    for index, row in enumerate(orders(rows), start=1):
        page.write_row(index, 0, row)
    book.close()
    return path


def stock_of(rows: int) -> list[IssuedRange]:
    """Enough for named serials and, in blocks behind them, for the page counts."""
    named = [(211000001 + n, min(BLOCK, rows * 2 - n)) for n in range(0, rows * 2, BLOCK)]
    counted = [(219000001 + n, min(BLOCK, rows - n)) for n in range(0, rows, BLOCK)]
    return [
        IssuedRange(AGENT, "B", f"{first}", f"{first + count - 1}", count, None)
        for first, count in named + counted
    ]


def numbers_of(rows: int) -> list[str]:
    """The certificates of so many orders."""
    return sorted({certificate(n * 77 // 100) for n in range(rows)})


def record(number: str) -> CertificateRecord:
    return CertificateRecord(number, "B", EXPORTER, AGENT, None, None, "approved")


def forms_of(rows: int) -> int:
    """How many forms the orders are about."""
    return sum(1 if n % 4 or n % 20 == 0 else 2 + n % 3 for n in range(rows))
