"""Sheets made at random with their own truth: nothing is done that was not meant, and nothing ordinary is asked.

NIGHTLY=1: twenty thousand sheets and four hundred thousand cells.
"""

from __future__ import annotations

import json
import os
import random
import re

import pytest

from models.rules.numbers import NotACertificateNumber, parse_certificate_number
from models.rules.serials import NotSerials, StockRanges, parse_serials
from models.rules.states import PagesMode, RowStatus
from sheets import child, layout, orders, reading, words, xlsx_marks
from sheets.drafts import unpacked
from sheets.headers import ORDERS, find_columns
from sheets.orders import OrderReader
from sheets.reading import Asked
from sheets.rows import Marks, Refused
from tests.support.layouts import STOCK, Maker

NIGHTLY = bool(os.environ.get("NIGHTLY"))
SHEETS = 20_000 if NIGHTLY else 400
ORDINARY = 1_000
CELLS = 400_000 if NIGHTLY else 20_000
ASKED = Asked(PagesMode.ADDITIONAL, stock=STOCK)


def read(content):
    """The rows of a sheet and the codes of its questions, in this process."""
    rows, questions = [], []
    for line in child.lines(ORDERS, content, ASKED):
        if isinstance(line, list):
            rows += map(unpacked, line)
        elif "end" in line:
            questions = [q["code"] for q in line["questions"]]
    return rows, questions


def wrong_rows(sheet):
    """Rows that would be done otherwise than they were meant; a sheet with questions does nothing."""
    try:
        rows, questions = read(sheet.content)
    except Refused:
        return []
    if questions:
        return []
    return [
        (row.number, sheet.traps, sheet.meant.get(row.number), row.serials, row.page_count)
        for row in rows
        if row.status is RowStatus.OK and not as_meant(row, sheet.meant.get(row.number))
    ]


def as_meant(row, meant):
    if meant is None:
        return False
    action, serials, count = meant
    actions = {a.value for _, a in row.serials} or {row.action.value}
    said = tuple(s for s, _ in row.serials)
    return actions == {action} and said == serials and (row.page_count == count or not count)


def test_no_row_of_any_layout_is_done_otherwise_than_it_was_meant():
    maker = Maker(20261126)
    wrong = [found for _ in range(SHEETS) if (found := wrong_rows(maker.any()))]
    assert wrong == []


def test_an_ordinary_sheet_is_not_questioned_and_done_whole():
    maker = Maker(7)
    for _ in range(ORDINARY):
        sheet = maker.ordinary()
        rows, questions = read(sheet.content)
        assert questions == []
        done = {row.number for row in rows if row.status is RowStatus.OK}
        assert done == set(sheet.meant), [
            (r.number, [p.code for p in r.problems], r.cells) for r in rows if r.problems
        ]


def never(*_, **__):
    return False


MUTANTS = {
    "serials in unknown columns are not looked for": (StockRanges, "__contains__", never),
    "a title that speaks of voiding is not heard": (reading, "VOID_SPEECH", re.compile("$^")),
    "hidden rows are like any other": (OrderReader, "_heed_marks", lambda *_: None),
    "a value is compared without its bracket": (
        orders,
        "value_key",
        lambda text: re.sub(r"\([^)]*\)$", "", words.value_key(text)),
    ),
    "a merged count goes down": (xlsx_marks.SheetMarks, "of_row", lambda *_: None),
    "a column is not watched for words": (layout.Layout, "_watch", lambda *_: iter(())),
    "cells beyond the header are not seen": (layout.Layout, "beyond", lambda *_: ([], [])),
    "other sheets are not looked into": (reading, "_about_sheets", lambda *_: iter(())),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_rule_of_reading_that_is_taken_away_is_missed(mutant, monkeypatch):
    place, name, other = MUTANTS[mutant]
    monkeypatch.setattr(place, name, other)
    if mutant == "a merged count goes down":
        monkeypatch.setattr(xlsx_marks.SheetMarks, "of_row", lambda *_: Marks())
    maker = Maker(20261126)
    missed = dropped if mutant == "other sheets are not looked into" else wrong_rows
    assert any(missed(maker.any()) for _ in range(400))


def test_a_second_sheet_of_orders_is_always_asked_about():
    maker = Maker(20261126)
    assert not any(dropped(maker.any()) for _ in range(400))


def dropped(sheet):
    """A sheet of orders beside the one that is read, and nobody asks about it."""
    if "second sheet" not in sheet.traps:
        return False
    try:
        return not read(sheet.content)[1]
    except Refused:
        return False


# -- anything in a cell ---------------------------------------------------------------------------

ALPHABET = "0019A2BZz-+~至到、,;. /eE٣²１（oIl|\u2013\u200b\0"
FIELDS = (
    *("证书号", "操作", "空白证单流水号", "起始流水号", "截止流水号", "作废流水号", "核销页数"),
    *("库存来源", "作废原因", "客户参考号", "备注", "处理结果", "结果流水号"),
)
VALUES = (
    *(
        None,
        "",
        " ",
        "核销",
        "作废",
        "已核销",
        "B201026902331597",
        "211013209",
        211013209,
        2110132.5,
    ),
    *(float("nan"), float("inf"), True, False, {"date": "2026-01-01T00:00:00"}, {"error": "#REF!"}),
    *(
        {"formula": True},
        {},
        "211013201-08",
        "211013201+4",
        "2.1E+08",
        "10",
        "十二",
        "04",
        "其他:水渍",
    ),
    *(
        "其他",
        "01 卡纸",
        "9(x)",
        "合计",
        "小计",
        "成功",
        "\ud800",
        "\x00",
        "\x1b[0m",
        "x" * 40000,
        10**30,
    ),
    *(
        -1,
        0,
        "①",
        "½",
        "٣",
        "3张",
        "出口商",
        "=1+1",
        '="062001001"',
        "262001001-26200100A",
        "029009~201BBB",
    ),
)


def odd_text(chance):
    if chance.random() < 0.6:
        parts = ("".join(chance.choices("0129AB", k=chance.choice((1, 2, 6, 9)))) for _ in range(2))
        return chance.choice("-+~、").join(parts)
    return "".join(chance.choices(ALPHABET, k=chance.choice((4, 9, 13, 19, 21))))


def test_no_cell_brings_another_error_than_those_that_are_declared():
    chance = random.Random(1)
    for _ in range(CELLS // 2):
        text = odd_text(chance)
        for parse, declared in (
            (parse_serials, NotSerials),
            (words.parse_page_count, ()),
            (words.parse_reason, ()),
            (parse_certificate_number, NotACertificateNumber),
        ):
            try:
                parse(text)
            except declared:
                pass


def test_no_row_of_odd_cells_brings_an_error():
    chance = random.Random(2)
    columns = find_columns(ORDERS, FIELDS)
    made = layout.Layout(FIELDS, columns, {}, layout.Evidence(StockRanges(STOCK)))
    reader = OrderReader(made, PagesMode.ADDITIONAL)
    for _ in range(CELLS // 26):
        row = [chance.choice(VALUES) for _ in range(chance.choice((0, 1, 5, 13, 13, 13, 20)))]
        json.dumps(reader.read(2, row).packed(), ensure_ascii=False)
