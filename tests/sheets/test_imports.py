"""Sheets that bring stock and certificates in: whole, or not at all, and every bad cell by name."""

from __future__ import annotations

import pytest

from models.rules.errors import CellsRefused
from sheets.imports import read_certificates, read_stock
from tests.support.factories import EXPORTER, SENDER, sheet

LIMIT = 1 << 20
STOCK_HEADER = ["持有企业", "证单类型", "起始号", "截止号", "份数", "领用日期"]
STOCK_ROW = [EXPORTER, "B", "211013201", "211013216", "16", "2022-04-01"]
CERTIFICATE_HEADER = ["证书号", "出口商代码", "录入企业代码", "审核日期", "页数", "状态"]
CERTIFICATE_ROW = ["B201026902331597", EXPORTER, SENDER, "2022-05-11", "16", "审核通过"]


def changed(row, column, value):
    return [value if i == column else cell for i, cell in enumerate(row)]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (0, "X", "A3: “X”不是统一社会信用代码"),
        (1, "7", "B3: “7”不是证单类型"),
        (2, "2110132O1", "C3: “2110132O1”不是流水号"),
        (2, "211013201、211013203", "C3: “211013201、211013203”不是一个连续号段"),
        (3, "211013200", "D3: 号段“211013201-211013200”首尾颠倒"),
        (4, "15", "E3: 份数 15 与号段不符(号段为 16 份)"),
        (5, "昨天", "F3: “昨天”不是日期"),
    ],
)
def test_a_bad_cell_of_a_stock_sheet_is_named_and_nothing_comes_in(column, value, said):
    rows = [STOCK_ROW, changed(STOCK_ROW, column, value)]
    with pytest.raises(CellsRefused) as refused:
        read_stock(sheet(rows, STOCK_HEADER), "领用.csv", LIMIT)
    assert said in str(refused.value)
    assert "后重试" in str(refused.value)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (0, "ZJCA33121/050001", "A3: “ZJCA33121/050001”不是证书号"),
        (1, "X", "B3: “X”不是统一社会信用代码"),
        (4, "多", "E3: “多”不是有效的页数"),
        (4, "0", "E3: “0”不是有效的页数"),
        (5, "已寄出", "F3: 不认识的状态“已寄出”"),
    ],
)
def test_a_bad_cell_of_a_certificate_sheet_is_named_and_nothing_comes_in(column, value, said):
    rows = [CERTIFICATE_ROW, changed(CERTIFICATE_ROW, column, value)]
    with pytest.raises(CellsRefused) as refused:
        read_certificates(sheet(rows, CERTIFICATE_HEADER), "证书.csv", LIMIT)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("status", "kept"),
    [("", None), ("已签证", "approved"), ("待审核", "pending"), ("撤销", "revoked")],
)
def test_a_certificates_status_is_one_of_the_portals_words(status, kept):
    found = read_certificates(
        sheet([changed(CERTIFICATE_ROW, 5, status)], CERTIFICATE_HEADER), "证书.csv", LIMIT
    )
    assert [(c.number, c.pages, c.status) for c in found] == [("B201026902331597", 16, kept)]
