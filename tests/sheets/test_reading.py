"""Reading sheets: real files of every kind, the field's traps, and files that mean harm."""

from __future__ import annotations

import io
import zipfile

import openpyxl
import pytest
import xlwt

from models.rules.errors import FileEncrypted, FileError, FileTooLarge, FileUnreadable, NoHeaderRow
from models.rules.serials import StockRanges
from models.rules.states import Action, PagesMode, RowStatus, StockSource
from sheets.headers import ORDERS
from sheets.layout import Evidence, Layout
from sheets.orders import OrderReader
from sheets.reader import read_orders, read_sheet
from sheets.reading import Asked
from sheets.words import parse_page_count, parse_reason
from tests.conftest import DATA
from tests.support.factories import HEADER

CERTIFICATE = "B201026902331597"
LIMIT = 64 << 20
STOCK = (("211013201", "211013300"), ("211014001", "211014040"))


def read(content, name="x.xlsx"):
    reading = read_orders(content, name, Asked(PagesMode.ADDITIONAL, stock=STOCK), LIMIT)
    return reading, list(reading.rows)


def workbook(rows, header=HEADER, prepare=None):
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(header)
    for row in rows:
        sheet.append(row)
    if prepare:
        prepare(book)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def old_workbook(rows, header=HEADER):
    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    for r, row in enumerate([header, *rows]):
        for c, value in enumerate(row):
            if value is not None:
                sheet.write(r, c, value)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def text(rows, encoding, delimiter=","):
    lines = [delimiter.join("" if c is None else str(c) for c in r) for r in [HEADER, *rows]]
    return "\r\n".join(lines).encode(encoding)


ROW = (CERTIFICATE, "核销", "211013209-211013210", None, "出口商", None, "ORD-1")


@pytest.mark.parametrize(
    "content",
    [
        workbook([ROW]),
        old_workbook([ROW]),
        text([ROW], "utf-8"),
        text([ROW], "utf-8-sig"),
        text([ROW], "gb18030"),
        text([ROW], "utf-16"),
        text([ROW], "gb18030", "\t"),
    ],
    ids=["xlsx", "xls", "utf-8", "bom", "gb18030", "utf-16", "tsv"],
)
def test_every_kind_of_file_says_the_same(content):
    _, (row,) = read(content)
    assert row.certificate == CERTIFICATE
    assert row.serials == [("211013209", Action.VERIFY), ("211013210", Action.VERIFY)]
    assert (row.source, row.reference) == (StockSource.EXPORTER, "ORD-1")
    assert (row.number, row.status) == (2, RowStatus.OK)


def one(row, header=HEADER):
    return read(workbook([row], header))[1][0]


@pytest.mark.parametrize(
    ("cell", "code", "suggestion"),
    [
        ("2.11013E+08", "serial_digits_lost", ""),
        (91234567, "serial_leading_zero", "091234567"),
        ("21l0l3201", "serial_malformed", "211013201"),
        ("211013208-211013201", "range_reversed", "211013201-211013208"),
        ("211013201-221013201", "range_too_long", ""),
        ("=A1+1", "formula_without_value", ""),
    ],
)
def test_a_bad_serial_cell_is_a_problem_that_names_it(cell, code, suggestion):
    (problem,) = one((CERTIFICATE, "核销", cell)).problems
    assert (problem.code, problem.cell, problem.suggestion) == (code, "C2", suggestion)
    assert problem.column == "空白证单流水号"


def test_an_error_value_names_its_cell():
    def error(book):
        book.active["C2"] = "#N/A"
        book.active["C2"].data_type = "e"

    content = workbook([(CERTIFICATE, "核销")], prepare=error)
    (problem,) = read(content)[1][0].problems
    assert (problem.code, problem.message) == ("cell_error", "单元格 C2 是错误值 #N/A")


def test_an_error_value_in_an_old_workbook_names_its_cell():
    from xlwt import Formula

    content = old_workbook([(CERTIFICATE, "核销", Formula("1/0"))])
    assert read(content, "x.xls")[1][0].problems  # xlwt stores no result: never taken as blank


def test_a_number_that_lost_nothing_is_its_serial():
    assert one((CERTIFICATE, "核销", 211013201)).serials == [("211013201", Action.VERIFY)]


def test_all_problems_of_a_row_come_at_once():
    row = one(("ZJCA33121/050001", "寄出", "abc", "-1", "月球", None, ""))
    assert [p.code for p in row.problems] == [
        "certificate_malformed",
        "action_unknown",
        "serial_malformed",
        "page_count_invalid",
        "stock_source_not_allowed",
    ]


@pytest.mark.parametrize(
    ("words", "action"),
    [
        (["核销", "使用", "用", "正常", "√", "V", "v", "1", "verify", "２"][:-1], Action.VERIFY),
        (
            ["作废", "废", "打废", "打坏", "损坏", "污损", "报废", "×", "X", "x", "0", "void"],
            Action.VOID,
        ),
    ],
)
def test_action_words(words, action):
    for word in words:
        assert one((CERTIFICATE, word, "211013209", None, None, "01")).action is action
    assert one((CERTIFICATE, 1, "211013209")).action is Action.VERIFY


@pytest.mark.parametrize(
    ("cell", "count"),
    [(4, 4), ("4.0", 4), ("０４", 4), ("四", 4), ("十", 10), ("九十九", 99), ("二十", 20),
     ("4张", 4), (-1, None), (1.5, None), ("-1", None), (0, None), (501, None), ("很多", None),
     (True, None)],
)  # fmt: skip
def test_page_counts(cell, count):
    assert parse_page_count(cell) == count


@pytest.mark.parametrize(
    ("said", "expected"),
    [("打印错误", ("01", "")), ("02", ("02", "")), ("其他:水渍", ("09", "水渍")),
     ("其他", ("09", "")), ("手滑", (None, ""))],
)  # fmt: skip
def test_void_reasons(said, expected):
    assert parse_reason(said) == expected


@pytest.mark.parametrize(
    "spelling", ["返填代录入企业流水号", "反填代录入企业流水号", "反填代入企业流水号"]
)
def test_the_guides_two_spellings_of_the_same_button(spelling):
    assert one((CERTIFICATE, "核销", None, 2, spelling)).source is StockSource.AGENT


def test_first_and_last_serial_and_void_serials_beside_them():
    header = ("证书号", "起始流水号", "截止流水号", "份数", "作废号码", "作废原因")
    row = one((CERTIFICATE, "211013201", "211013204", 4, "211013205", "污损"), header)
    assert row.serials == [
        *((f"21101320{n}", Action.VERIFY) for n in range(1, 5)),
        ("211013205", Action.VOID),
    ]
    assert row.problems == []
    wrong = one((CERTIFICATE, "211013201", "211013204", 5, None, None), header)
    assert [p.code for p in wrong.problems] == ["serials_and_pages"]


def test_a_merged_certificate_goes_down_inside_the_merged_area_alone():
    def merge(book):
        book.active.merge_cells("A2:A3")

    rows = [(CERTIFICATE, "核销", "211013209"), (None, "核销", "211013210"),
            (None, "核销", "211013211")]  # fmt: skip
    drafts = read(workbook(rows, prepare=merge))[1]
    assert [d.certificate for d in drafts] == [CERTIFICATE, CERTIFICATE, ""]


def test_totals_repeated_headers_and_blank_rows():
    rows = [ROW, HEADER, (None,) * 7, ("合 计", None, None, 2), ("制表人：张三",), ROW]
    reading, drafts = read(text(rows, "utf-8"))
    skipped = RowStatus.SKIPPED
    assert [(d.number, d.status) for d in drafts] == [
        (2, RowStatus.OK), (3, skipped), (5, skipped), (6, skipped), (7, RowStatus.OK),
    ]  # fmt: skip
    assert reading.blank_count == 1


def test_the_header_may_stand_lower_in_another_sheet_in_any_order():
    def prepare(book):
        book.active.title = "封面"
        sheet = book.create_sheet("明细")
        sheet["C1"] = "2026年11月核销明细"
        for row in (("备注", "核销页数*", "证书号（必填）"), ("x", 2, CERTIFICATE)):
            sheet.append((None, *row))

    book = openpyxl.Workbook()
    prepare(book)
    out = io.BytesIO()
    book.save(out)
    reading, (row,) = read(out.getvalue())
    assert (reading.sheet, reading.header_row) == ("明细", 2)
    assert (row.certificate, row.page_count) == (CERTIFICATE, 2)


def test_a_firm_whose_name_begins_like_a_total_is_not_skipped():
    content = text([("合计包装厂", CERTIFICATE, "核销", "211013209")], "utf-8")
    content = content.replace(",".join(HEADER).encode(), "客户,证书号,操作,流水号".encode())
    assert read(content)[1][0].status is RowStatus.OK


def test_a_page_count_that_got_serials_before_is_not_simply_taken_again():
    header = (*HEADER, "处理结果", "结果流水号")
    row = (CERTIFICATE, "核销", None, 3, None, None, None, "失败", "211014001-211014003")
    assert [p.code for p in one(row, header).problems] == ["page_count_invalid"]


@pytest.mark.parametrize("cell", ["9" * 5000, "211013209+" + "9" * 5000, float("inf")])
def test_absurd_numbers_are_problems_of_their_row(cell):
    for row in ((CERTIFICATE, "核销", cell), (CERTIFICATE, "核销", None, cell)):
        columns = {n: [i] for i, n in enumerate(("certificate", "action", "serial", "page_count"))}
        layout = Layout(HEADER, columns, {}, Evidence(StockRanges(STOCK)))
        draft = OrderReader(layout, PagesMode.ADDITIONAL)
        assert draft.read(2, list(row)).status is RowStatus.PROBLEM


def test_rows_done_in_an_earlier_result_are_left_alone():
    header = (*HEADER, "处理结果")
    drafts = read(workbook([(*ROW, "成功"), (*ROW, "失败")], header))[1]
    assert [d.status for d in drafts] == [RowStatus.SKIPPED, RowStatus.OK]


@pytest.mark.parametrize("name", ["核销导入.xlsx", "核销导入.gb18030.csv"])
def test_the_shared_samples(name):
    _, drafts = read((DATA / "samples" / name).read_bytes(), name)
    assert [d.number for d in drafts] == [2, 3, 4, 5, 6, 7, 8]


# -- files that mean harm, or are broken --------------------------------------------------------


def zipped(parts):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def parts_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


GOOD = workbook([ROW])


def sparse():
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        '<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c></row><row r="1048576">'
        '<c r="XFD1048576"><v>1</v></c></row></sheetData></worksheet>'
    )
    return zipped({**parts_of(GOOD), "xl/worksheets/sheet1.xml": sheet})


def flipped():
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts_of(GOOD).items():
            archive.writestr(name, content)
    return stored.getvalue().replace(b"211013209", b"211013208", 1)


def entities():
    bomb = (
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
        b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;">]>'
    )
    parts = parts_of(GOOD)
    parts["xl/worksheets/sheet1.xml"] = bomb + parts["xl/worksheets/sheet1.xml"]
    return zipped(parts)


def encrypted():
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le") * 40


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (sparse(), FileTooLarge),
        (zipped({**parts_of(GOOD), "xl/big.bin": b"\0" * (300 << 20)}), FileTooLarge),
        (flipped(), FileUnreadable),
        (GOOD[: len(GOOD) // 2], FileUnreadable),
        (encrypted(), FileEncrypted),
        (zipped({**parts_of(GOOD), "xl/vbaProject.bin": b"x"}), FileUnreadable),
        (b"", NoHeaderRow),
        (b"<html><table><tr><td>1</td></tr></table></html>", FileUnreadable),
        (b"\xff\x00\x01\x02" * 99, FileUnreadable),
        (zipped({"word/document.xml": b"x"}), FileUnreadable),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 600, FileUnreadable),
        ('证书号,流水号\nB1,"211013209\nB2,211013210'.encode(), FileUnreadable),
        ("证书号,流水号,印刷号\nB1,1,2".encode(), FileUnreadable),
    ],
    ids=["sparse", "bomb", "crc", "truncated", "encrypted", "macros", "empty", "html", "binary",
         "docx", "broken-xls", "open-quote", "two-columns"],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_code_and_harms_nobody(content, error):
    with pytest.raises(error):
        read(content)


def test_entities_are_not_expanded():
    try:
        _, rows = read(entities())
    except FileError:
        return
    assert all(len(cell) < 1000 for row in rows for cell in row.cells)


def test_a_file_over_the_limit_is_not_opened():
    with pytest.raises(FileTooLarge):
        read_sheet(b"x" * 2048, "x.csv", ORDERS, 1024)
