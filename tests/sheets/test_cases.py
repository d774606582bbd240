"""Sheets from the field, each with what a person expects of it: done, asked about, or a named problem.

`tests/data/cases`; the stock and the certificates that they speak of are `_stock.xlsx` and
`_certificates.xlsx`. A row is `verify`/`void` with its serials or page count, a problem code, or `skipped`.
"""

from __future__ import annotations

import pytest

from models.rules.errors import FileError
from models.rules.states import Action, PagesMode, RowStatus
from sheets.imports import read_certificates, read_counted, read_stock
from sheets.questions import NO_ANSWERS, Answers
from sheets.reader import read_orders
from sheets.reading import Asked
from tests.conftest import DATA

CASES = DATA / "cases"
LIMIT = 16 << 20


def ranges_of_the_stock():
    content = (CASES / "_stock.xlsx").read_bytes()
    return [(r.first_serial, r.last_serial) for r in read_stock(content, "_stock.xlsx", LIMIT)]


STOCK = ranges_of_the_stock()


def found(name: str) -> str:
    (path,) = (p for p in CASES.iterdir() if p.name.split("-")[0].split(".")[0] == name)
    return path.name


def read(name, answers=NO_ANSWERS):
    path = CASES / found(name)
    asked = Asked(PagesMode.ADDITIONAL, answers, stock=STOCK)
    reading = read_orders(path.read_bytes(), path.name, asked, LIMIT)
    return reading, list(reading.rows)


def said(row):
    """A row in short: what would be done, or why not."""
    if row.status is RowStatus.SKIPPED:
        return "skipped"
    if row.problems:
        return " ".join(p.code for p in row.problems)
    serials = [s for s, _ in row.serials]
    what = f"{row.page_count}p" if row.page_count else f"{serials[0][-3:]}+{len(serials)}"
    actions = {a.value for _, a in row.serials} or {row.action.value}
    return f"{'/'.join(sorted(actions))} {what}"


Q = "question_open"
NO_ACTION = "action_unknown"
MALFORMED = "serial_malformed"

DONE = {
    "00": ["verify 001+3", "void 004+1"],
    "06": ["verify 001+1", "void 002+1"],
    "07": ["verify 001+1", "void 002+1"],
    "08": ["verify 4p", "skipped", "skipped"],
    "09": ["verify 2p", "verify 2p", "skipped"],
    "10": ["verify 001+4", "verify 005+4"],
    "11": ["verify 001+4", "verify 005+4"],
    "12": ["verify 001+4"],
    "13": ["serial_ambiguous"] * 2 + [MALFORMED] * 3 + ["serial_ambiguous"],
    "14": ["range_reversed", "verify 198+6"],
    "15": [f"verify {n:03d}+4" for n in range(1, 29, 4)] + ["verify 029+1"],
    "16": ["verify 001+1", "verify 002+1", "verify 003+1"],
    "17": ["verify 001+1", "verify 002+1"],
    "18": ["verify 001+3", "verify 004+3"],
    "19": ["verify 001+1"],
    "20": ["verify 001+2"],
    "21": ["verify 001+1", "verify 002+1"],
    "26": ["verify 001+1"],
    "27": ["verify 001+1"],
    "34a": ["cell_error", "verify 012+1"],
    "34b": ["cell_error", "verify 012+1"],
    "34c": ["verify 001+1", "verify 002+1"],
    "35": ["cell_error", "verify 012+1"],
    "35b": ["formula_without_value", "verify 012+1"],
    "35c": ["formula_without_value", "verify 012+1"],
    "36": ["cell_error", "verify 002+1"],
    "37": ["cell_error", "verify 002+1"],
    "38": ["verify 001+1", "verify 002+1"],
    "39": ["verify 001+1", "verify 002+1"],
    "40": ["cell_error", "verify 002+1"],
    "41": ["cell_error", "verify 002+1"],
    "42": ["verify 001+1", "verify 002+1"],
    "43": ["verify 001+1", "verify 002+1"],
    "44": ["serial_leading_zero", "page_count_invalid"],
    "45": ["verify 001+1"],
    "46": ["verify 001+1", "verify 002+1"],
    "47": ["serial_leading_zero", "serial_leading_zero"],
    "48": ["cell_error", "verify 012+1"],
    "50": ["struck_text", "struck_text serial_malformed"],
    "51": ["verify 001+1", "verify 002+2"],
    "52": ["verify 001+1"],
    "52b": [f"verify {n:03d}+1" for n in range(1, 10)],
    "53": ["verify 001+1"] + ["skipped"] * 10,
    "54": ["certificate_malformed", "verify 003+1"],
    "55": ["skipped", "skipped", "verify 003+1", "verify 004+1"],
    "56": ["verify 001+1", "verify 002+1"],  # an explicit 核销 is 核销
    "58": ["verify 001+1"],
    "170": [NO_ACTION] * 6 + ["verify 007+1", NO_ACTION],
    "173": [f"verify {n:03d}+1" for n in range(1, 6)] + ["verify 2p"],
    "174": ["page_count_invalid", "verify 3p", *["page_count_invalid"] * 2, "verify 3p",
            *["page_count_invalid"] * 2],
    "175": ["verify 001+1", "verify 002+1", "verify 003+1", *[NO_ACTION] * 5],
    "176": ["cell_error", "verify 002+1"],
    "177": ["verify 001+1", "verify 002+1"],
    "178": ["verify 001+1", "verify 002+1"],
    "178b": ["verify 001+1", "verify 002+1"],
    "179": [NO_ACTION, "verify 002+1", "void 003+1"],
    "180": ["verify 4p", "verify 4p"],  # the second is `duplicate_order` in the check
    "181": ["verify 40p"],  # `pages_exceeded` in the check
    "182": ["verify 011+4", "verify 015+4"],
    "184": [MALFORMED],
    "200": ["verify 011+3", "verify 014+1"],
    "201": ["verify 011+3", "verify 014+2"],
    "202": ["verify 011+4"],
    "203": ["serials_and_pages"],
    "204": ["verify 011+3"],
    "204b": ["verify 011+3"],
    "205": ["verify 001+1"],
    "206": ["struck_text"],
    "208": [f"{NO_ACTION} {MALFORMED} action_outside_columns", "verify 012+1"],
    "211": ["void 011+1", "reason_unknown", "reason_unknown", "void 014+1"],
}  # fmt: skip


@pytest.mark.parametrize("name", DONE)
def test_a_sheet_is_read_as_its_writer_meant_it_and_not_questioned(name):
    reading, rows = read(name)
    assert [said(row) for row in rows] == DONE[name]
    assert reading.questions == []


def test_a_sheet_with_remains_of_deleted_cells_is_read():
    _, rows = read("57")
    assert {said(row)[:7] for row in rows} == {"verify "}


ASKED = {
    "01": ["hidden_rows"],
    "02": ["several_sheets"],
    "03": ["several_sheets"],
    "04": ["action_unclear"],
    "05": ["column_unknown", "column_unknown"],
    "33": ["hidden_rows"],
    "49": ["struck_rows"],
    "60": ["column_unknown", "column_hidden"],
    "61": ["several_sheets"],  # hidden or not: the issue says so
    "62": ["sheet_hidden"],
    "171": ["action_unclear"],
    "172": ["action_unclear"],
    "183": ["column_unknown"],
    "207": ["hidden_rows"],
}


@pytest.mark.parametrize("name", ASKED)
def test_what_could_lead_to_a_wrong_form_is_asked_about(name):
    reading, _ = read(name)
    assert [q.code.value for q in reading.questions] == ASKED[name]
    assert all(q.answers and q.message for q in reading.questions)


@pytest.mark.parametrize(
    ("name", "answers", "rows"),
    [
        ("01", Answers(include_hidden=False), ["verify 001+1", "skipped", "verify 003+1"]),
        ("01", Answers(include_hidden=True), ["verify 001+1", "verify 002+1", "verify 003+1"]),
        ("02", Answers(sheet="作废"), ["void 002+1"]),
        ("03", Answers(sheet="6月"), ["verify 002+1"]),
        (
            "05",
            Answers(columns={"核销": "verify_tick", "作废": "void_tick"}),
            ["verify 001+1", "void 002+1"],
        ),
        ("49", Answers(include_struck=False), ["verify 001+1", "skipped", "verify 003+1"]),
        ("60", Answers(columns={"流水号": "", "新流水号": "serial"}), ["verify 002+1"]),
        ("62", Answers(sheet="数据"), ["verify 001+1"]),
        ("183", Answers(columns={"证书流水号": "serial"}), ["verify 011+4"]),
        ("183", Answers(columns={"证书流水号": ""}), ["verify 4p"]),
    ],
)
def test_an_answer_is_enough(name, answers, rows):
    reading, drafts = read(name, answers)
    assert [said(row) for row in drafts] == rows
    assert reading.questions == []


def test_a_column_that_says_no_to_voiding_voids_nothing():
    content = (
        "证书号,流水号,是否作废\nB261026902330001,262001001,否\nB261026902330002,262001002,是\n"
    )
    asked = Asked(PagesMode.ADDITIONAL, Answers(columns={"是否作废": "void_tick"}), stock=STOCK)
    reading = read_orders(content.encode(), "x.csv", asked, LIMIT)
    assert [said(row) for row in reading.rows] == ["verify 001+1", "reason_missing"]
    assert reading.questions == []


def test_voiding_that_was_asked_about_voids():
    reading, rows = read("04", Answers(action=Action.VOID))
    assert [said(row) for row in rows] == ["void 001+1", "void 002+1"]
    assert reading.questions == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("22", "第 2 行的引号"), ("23", "第 2 行的引号"), ("24", "Big5"), ("25", "第 2 行有不属于"),
        ("28", "第 2 行有空字符"), ("28b", "UTF-16"), ("29", "网页(HTML)"), ("30", "XML 2003"),
        ("31", "BIFF"), ("32", "OpenDocument"), ("59", "重复的列"), ("209", "找不到表头"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_read_is_named_for_what_it_is(name, text):
    with pytest.raises(FileError, match=text.replace("(", r"\(").replace(")", r"\)")):
        read(name)


def imported(name, reader):
    path = CASES / found(name)
    return reader(path.read_bytes(), path.name, LIMIT)


@pytest.mark.parametrize(
    "name",
    ["185", "185b", "185c", "185e", "185f", "185g", "186", "186d", "187", "187b", "188", "188b"],
)
def test_a_stock_sheet_is_read_however_its_dates_counts_and_totals_are_written(name):
    (issued,) = imported(name, read_stock)
    assert (issued.first_serial, issued.last_serial, issued.form_count) == (
        *("263001001", "263001010"),
        10,
    )
    assert issued.issued_on is None or issued.issued_on.isoformat() == "2026-04-02"


@pytest.mark.parametrize("name", ["186b", "186c"])
def test_a_thousand_is_a_thousand(name):
    assert [r.form_count for r in imported(name, read_stock)] == [1000]


def test_both_sheets_of_a_stock_workbook_are_taken():
    assert [r.form_type for r in imported("192", read_stock)] == ["B", "A"]


@pytest.mark.parametrize(
    ("name", "reader", "text"),
    [
        ("185d", read_stock, "46114"), ("189", read_stock, "证单类型"), ("190", read_stock, "统一社会"),
        ("191", read_stock, "统一社会"), ("193", read_stock, "隐藏"), ("194", read_stock, "063001001|开头的零"),
        ("196", read_certificates, "正常"), ("197", read_certificates, "页数"),
        ("198", read_certificates, "出现两次"),
    ],
)  # fmt: skip
def test_a_sheet_of_stock_or_certificates_that_is_not_clear_is_refused_by_name(name, reader, text):
    with pytest.raises(FileError, match=text):
        imported(name, reader)


@pytest.mark.parametrize("name", ["199", "199b", "199c"])
def test_a_count_comes_in_any_encoding_and_with_notes(name):
    assert len(imported(name, read_counted)) == 10


def test_every_case_is_looked_at():
    known = {*DONE, *ASKED, "22", "23", "24", "25", "28", "28b", "29", "30", "31", "32", "57", "59"}
    known |= {
        "209",
        "195",
        "195b",
        "_stock",
        "_certificates",
    }  # 195: tests/tasks/orders/test_pages.py
    known |= {f"185{x}" for x in ("", "b", "c", "d", "e", "f", "g")}
    known |= {f"186{x}" for x in ("", "b", "c", "d")} | {"187", "187b", "188", "188b"}
    known |= {str(n) for n in range(189, 199)} | {"199", "199b", "199c"}
    assert {p.name.split("-")[0].split(".")[0] for p in CASES.iterdir()} == known
