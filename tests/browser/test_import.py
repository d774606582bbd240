"""A sheet from upload to result: asked about, checked, corrected, endorsed by a second person, taken back, done."""

from __future__ import annotations

import csv
import io
import re

from openpyxl import load_workbook
from playwright.sync_api import expect

from tests.browser.conftest import NARROW, violations
from tests.support.factories import AGENT_HANDLED, EXPORTER, certificate_number


def sheet(folder, name, *rows):
    path = folder / name
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(rows)
    return path


def upload(page, path):
    page.set_input_files("input[type=file]", path)
    page.get_by_role("button", name="上传并预检").click()
    page.wait_for_url(re.compile(r"/jobs/\d+/check"))


def rows_of(download):
    return list(load_workbook(io.BytesIO(download.path().read_bytes())).active.values)


HEADER = ("证书号", "操作", "印刷编号", "核销页数", "作废原因", "客户参考号")


def test_a_sheet_from_its_questions_to_its_result(office, picture, tmp_path):  # noqa: PLR0915 - one story
    office.system.run("grace", "set", "--verify", "0", "--void", "30")
    page = office.person("zhang", "/import")
    picture(page, "import")
    path = sheet(
        tmp_path, "月末.csv", HEADER,
        (AGENT_HANDLED, "核销", "211014001", "", "", "PO-1"),
        (AGENT_HANDLED, "作废", "211014002-211014004", "", "打印错误", "PO-2"),
        ("B267102000580057", "核销", "211014009", "", "", "PO-3"),
        (AGENT_HANDLED, "核销", "62001050", "", "", "<b>PO-4</b>"),
    )  # fmt: skip
    upload(page, path)

    # what is not understood is asked, with the sheet's own first rows
    expect(page.get_by_role("heading", name=re.compile("请先说明"))).to_be_visible()
    expect(page.locator("td.asked").first).to_have_text("211014001")
    assert violations(page) == []
    picture(page, "questions")
    page.get_by_label("空白证单流水号").check()
    page.get_by_role("button", name="按此预检").click()

    # the check: one sentence, the errors inside the person's own cells, a plan beside them
    expect(page.get_by_text("将核销 1 张，作废 3 张")).to_be_visible()
    wrong = page.locator("td.wrong")
    expect(wrong.filter(has_text="B267102000580057")).to_contain_text("不在已导入的证书中")
    expect(wrong.filter(has_text="62001050")).to_have_count(1)
    expect(page.get_by_role("cell", name="<b>PO-4</b>")).to_be_visible()  # text, never markup
    assert page.locator("table b").count() == 0
    assert violations(page) == []
    picture(page, "check")
    with page.expect_download() as kept:
        page.get_by_role("link", name="下载错误表").click()
    rows = rows_of(kept.value)
    assert rows[0][:6] == HEADER

    # more than 10 % are wrong: the valid rows alone must be asked for in words
    page.get_by_label("仅有效行 2").check()
    page.get_by_role("button", name="提交 4 张").click()
    expect(page.get_by_text("已送复核")).to_be_visible()
    expect(page.locator("#live")).to_contain_text("待第二人复核")
    job = page.url.rpartition("/")[2].partition("?")[0]
    page.goto(f"{office.address}/inbox")
    expect(page.get_by_text("须由他人复核")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("同意"))).to_have_count(0)

    # the second person, at a telephone
    other = office.person("li", "/inbox", viewport=NARROW)
    expect(other.get_by_text("张三 提交")).to_be_visible()
    expect(other.get_by_text("211014002-211014004")).to_be_visible()
    assert violations(other) == []
    picture(other, "endorse")
    other.get_by_role("button", name="同意作废 3 张").click()
    expect(other.get_by_text("已同意，按此方案办理")).to_be_visible()
    expect(other.get_by_text("今天已清零").or_(other.locator(".todo li").first)).to_be_visible()

    # the maker sees how long it can be taken back, and takes it back
    page.goto(f"{office.address}/jobs/{job}")
    expect(page.locator("#live")).to_contain_text(re.compile("已受理，.* 后提交，可撤回"))
    picture(page, "grace")
    page.get_by_role("button", name="撤回未发出的").click()
    expect(page.get_by_text("已撤回 4 张，已在海关 0 张")).to_be_visible()
    expect(page.locator("#live")).to_contain_text("已取消")

    # and again, without a time to take it back: states arrive, the result sheet is there
    office.system.run("grace", "set", "--void", "0")
    page.get_by_role("button", name="重做失败行").click()
    expect(page.get_by_text("将核销 1 张，作废 3 张")).to_be_visible()
    page.get_by_role("button", name="提交 4 张").click()
    expect(page.get_by_text("已送复核")).to_be_visible()
    other.goto(f"{office.address}/inbox")
    other.get_by_role("button", name="同意作废 3 张").click()
    expect(page.locator("#live")).to_contain_text("已完成", timeout=60_000)
    expect(page.locator("#live .key")).to_contain_text("已作废 3")
    page.reload()
    picture(page, "job")
    assert violations(page) == []
    with page.expect_download() as kept:
        page.get_by_role("link", name="结果表").click()
    assert "211014002-211014004" in str(rows_of(kept.value))


def test_a_sheet_that_cannot_be_read_says_why_and_loses_nothing(office, tmp_path):
    page = office.person("zhang", "/import")
    path = tmp_path / "坏.xlsx"
    path.write_bytes(b"PK\x03\x04 no sheet")
    upload(page, path)
    expect(page.get_by_role("heading", name=re.compile("预检"))).to_be_visible()
    expect(page.get_by_text("此文件不能读取，没有提交任何内容")).to_be_visible()
    page.goto(f"{office.address}/certificates")
    expect(page.get_by_text(re.compile("Traceback"))).to_have_count(0)


def test_the_same_sheet_submitted_before_is_named(office, tmp_path):
    page = office.person("zhang", "/import")
    path = sheet(
        tmp_path,
        "一张.csv",
        ("证书号", "操作", "空白证单流水号"),
        (AGENT_HANDLED, "核销", "211014020"),
    )
    upload(page, path)
    page.get_by_role("button", name="提交 1 张").click()
    expect(page.get_by_text("提交成功!")).to_be_visible()
    page.goto(f"{office.address}/import")
    upload(page, path)
    expect(page.get_by_text("同样的内容已提交过")).to_be_visible()


def test_a_suggestion_is_taken_by_a_click(office, tmp_path):
    page = office.person("zhang", "/import")
    path = sheet(
        tmp_path, "写反.csv", ("证书号", "操作", "空白证单流水号"),
        (AGENT_HANDLED, "核销", "211014030-211014028"),
        (AGENT_HANDLED, "核销", "21101403l"),
    )  # fmt: skip
    upload(page, path)
    expect(page.locator("td.wrong")).to_have_count(2)
    page.get_by_role("button", name="改为 211014028-211014030").click()
    expect(
        page.get_by_text("按建议更正: C2 211014030-211014028 → 211014028-211014030")
    ).to_be_visible()
    expect(page.get_by_text("将核销 3 张")).to_be_visible()
    expect(page.locator("td.wrong")).to_have_count(1)
    assert violations(page) == []


def test_a_rejection_comes_back_to_its_maker_with_its_reason(office):
    office.system.run("grace", "set", "--void", "30")
    page = office.person("zhang", f"/certificates/{AGENT_HANDLED}")
    page.get_by_role("button", name="新增", exact=True).click()
    page.locator("#drafts input[name=serial]").fill("211014033-211014035")
    page.select_option("select[name=reason]", "09")
    page.fill("input[name=reason_text]", "打印机卡纸")
    page.get_by_role("button", name="作废", exact=True).click()
    expect(page.get_by_text("09 其他 打印机卡纸")).to_be_visible()
    expect(page.get_by_text("提交后由另一人同意")).to_be_visible()
    page.get_by_role("button", name="确认作废 3 张").click()
    expect(page.get_by_text("已送复核")).to_be_visible()
    expect(page.get_by_text("作废 211014034")).to_be_visible()  # where it waits, in the window
    other = office.person("li", "/inbox")
    expect(other.get_by_text("09 其他 打印机卡纸")).to_be_visible()
    expect(other.get_by_text("一批作废张数 超过 2 张")).to_be_visible()
    other.locator("summary", has_text="驳回").click()
    other.fill("input[name=reason]", "号码写错")
    other.get_by_role("button", name="驳回").click()
    expect(other.get_by_text("已驳回，提交人会看到原因")).to_be_visible()
    page.goto(f"{office.address}/jobs")
    expect(page.locator("#list")).to_contain_text("211014033-211014035")
    page.goto(f"{office.address}/inbox")
    expect(page.get_by_text("李娜：号码写错")).to_be_visible()
    page.locator(".todo").get_by_role("link", name=re.compile("作业")).first.click()
    expect(page.locator("main")).to_contain_text("李娜")
    expect(page.get_by_text("号码写错")).to_be_visible()


CHOSEN = 10_000


def test_ten_thousand_certificates_are_chosen_by_one_click_and_stay_what_they_were(
    office, tmp_path
):
    header = ("证书号", "出口商代码", "录入企业代码", "状态", "审核日期", "页数")
    many = sheet(
        tmp_path, "certificates.csv", header,
        *((certificate_number("D", n), EXPORTER, EXPORTER, "审核通过", "2026-11-01", 1) for n in range(CHOSEN)),
    )  # fmt: skip
    office.system.run("certificates", "import", str(many))
    stock = sheet(
        tmp_path, "stock.csv", ("持有企业", "空白证单类型", "起始流水号", "截止流水号", "领用日期"),
        (EXPORTER, "D", "301000001", "301010000", "2026-11-01"),
    )  # fmt: skip
    office.system.run("stock", "import", str(stock))
    page = office.person("zhang", "/certificates?type=D")
    page.get_by_label("全选本页").check()
    expect(page.locator("input[name=chosen]:checked")).to_have_count(50)
    page.get_by_role("button", name=f"核销全部 {CHOSEN} 份").click()
    page.wait_for_url(re.compile(r"/jobs/\d+/check"))
    expect(page.get_by_text(f"共 {CHOSEN} 行：可提交 {CHOSEN}")).to_be_visible(timeout=120_000)
    expect(page.get_by_role("button", name=f"提交 {CHOSEN} 张")).to_be_visible()
    assert violations(page) == []
