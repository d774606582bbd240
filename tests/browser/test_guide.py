"""The guide's own walk (user-guide.zh.txt), step by step, with its exact texts."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.support.factories import AGENT_HANDLED, SELF_HANDLED


def drafted(page: Page, *serials: str) -> None:
    """The drafts come to hold these serials, in this order."""
    boxes = page.locator("#drafts input[name=serial]")
    expect(boxes).to_have_count(len(serials))
    for at, serial in enumerate(serials):
        expect(boxes.nth(at)).to_have_value(serial)


def state(page: Page, serial: str):
    return page.locator(f"#f{serial} .state")


def test_the_walk_of_the_guide(office, picture):  # noqa: PLR0915 - a walk is one after the other
    page = office.open("/certificates")
    expect(page.get_by_role("heading", name="账号登录")).to_be_visible()
    picture(page, "login")
    page.close()
    page = office.person("zhang", "/certificates")
    expect(page.get_by_role("heading", name="空白证单核销")).to_be_visible()
    expect(page.locator(".menu").get_by_text("空白证单查询")).to_be_visible()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(4)  # certificates of all types (S-10)
    picture(page, "certificates")

    # 7. 选择一个证书, 点击【空白证单核销】链接
    rows.filter(has_text=AGENT_HANDLED).get_by_role("link", name="空白证单核销").click()
    expect(page.locator("input[name=pages]")).to_have_value("")
    for name in ("新增", "删除", "刷新", "核销", "作废"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_visible()

    # 8.1 【新增】, 【查询】, 双击
    page.get_by_role("button", name="新增", exact=True).click()
    drafted(page, "")
    page.get_by_role("button", name=re.compile("查询未使用的空白证单")).click()
    picker = page.locator("#picker")
    expect(picker.get_by_text("提示: 双击列表当前行即可实现选中反填")).to_be_visible()
    assert set(picker.locator("tbody .state").all_inner_texts()) == {"已领用"}
    picture(page, "picker")
    picker.locator("input[name=find]").fill("2110132")  # S-34: exact, no prefix
    picker.get_by_role("button", name="查询").click()
    expect(picker.get_by_text("没有未使用的空白证单")).to_be_visible()
    picker.locator("input[name=find]").fill("211013209")
    picker.locator("input[name=find]").press("Enter")
    expect(picker.locator("tbody tr")).to_have_count(1)
    picker.locator("tbody tr").dblclick()
    expect(picker).to_be_hidden()
    drafted(page, "211013209")

    # 8.2 填写核销页数, 【返填代录入企业流水号】: the drafts that stand are kept (S-44)
    page.fill("input[name=pages]", "3")
    page.get_by_role("button", name="返填代录入企业流水号").click()
    drafted(page, "211013209", "211014001", "211014002", "211014003")
    expect(page.locator("#drafts tr").last.locator("td").last).to_have_text("-")
    picture(page, "window")

    # 9. 勾选, 【核销】, 确认
    page.locator("#drafts input[name=tick]").nth(3).uncheck()
    page.get_by_role("button", name="核销", exact=True).click()
    expect(page.get_by_role("heading", name="确认核销")).to_be_visible()
    picture(page, "review")
    page.get_by_role("button", name="确认核销 3 张").click()
    expect(page.get_by_text("核销提交成功!")).to_be_visible()

    # 10. the states arrive by themselves, and by 【刷新】
    for serial in ("211013209", "211014001", "211014002"):
        expect(state(page, serial)).to_have_text("已核销", timeout=60_000)
    page.get_by_role("button", name="刷新").click()
    expect(state(page, "211013209")).to_have_text("已核销")

    # 作废
    page.get_by_role("button", name="新增", exact=True).click()
    page.locator("#drafts input[name=serial]").fill("211014003")
    page.select_option("select[name=reason]", "02")
    page.get_by_role("button", name="作废", exact=True).click()
    page.get_by_role("button", name="确认作废 1 张").click()
    expect(page.get_by_text("作废提交成功!")).to_be_visible()
    expect(state(page, "211014003")).to_have_text("已作废", timeout=60_000)

    # (二) 空白证单查询: the default set; the state opens 空白证单回执
    page.locator(".menu").get_by_text("空白证单查询").click()
    expect(
        page.get_by_text("没有这样的空白证单")
    ).to_be_visible()  # none on self-handled certificates yet
    page.get_by_role("link", name="代理证书").click()
    expect(page.locator("tbody tr")).to_have_count(4)
    picture(page, "forms")
    page.locator("tbody tr").filter(has_text="211013209").locator(".state").click()
    expect(page.get_by_role("heading", name="空白证单回执")).to_be_visible()
    expect(page.get_by_role("cell", name="0000", exact=True)).to_be_visible()
    picture(page, "passport")


def test_a_self_handled_certificate_is_filled_from_the_exporters_stock_and_skips_what_is_missing(
    office,
):
    page = office.person("zhang", f"/certificates/{SELF_HANDLED}")
    expect(page.get_by_role("button", name="返填代录入企业流水号")).to_have_count(0)  # S-42
    page.fill("input[name=pages]", "4")
    page.get_by_role("button", name="返填出口商流水号").click()
    drafted(page, "211013011", "211013013", "211013014", "211013015")  # S-43
    page.fill("input[name=pages]", "9")
    page.get_by_role("button", name="返填出口商流水号").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "库存不足: 需要 9 张，可用 1 张"
    )  # S-47: none filled
    drafted(page, "211013011", "211013013", "211013014", "211013015")


def test_a_serial_that_was_taken_meanwhile_is_named_and_the_others_are_kept(office):
    page, other = (
        office.person("zhang", f"/certificates/{AGENT_HANDLED}"),
        office.person("zhang", f"/certificates/{AGENT_HANDLED}"),
    )
    for at in (page, other):
        at.fill("input[name=pages]", "2")
        at.get_by_role("button", name="返填代录入企业流水号").click()
        expect(at.locator("#drafts input[name=serial]")).to_have_count(2)
    taken = other.locator("#drafts input[name=serial]").first.input_value()
    other.locator("#drafts input[name=tick]").nth(1).uncheck()
    other.get_by_role("button", name="核销", exact=True).click()
    other.get_by_role("button", name="确认核销 1 张").click()
    expect(other.get_by_text("核销提交成功!")).to_be_visible()
    page.get_by_role("button", name="核销", exact=True).click()
    expect(page.locator("#drafts td.wrong")).to_have_count(1)
    expect(page.locator("#drafts td.wrong")).to_contain_text(taken)
    expect(page.locator("#drafts input[name=serial]")).to_have_count(2)


def test_enter_in_a_serial_submits_nothing(office):
    page = office.person("zhang", f"/certificates/{AGENT_HANDLED}")
    page.get_by_role("button", name="新增", exact=True).click()
    page.locator("#drafts input[name=serial]").fill("211014030")
    page.locator("#drafts input[name=serial]").press("Enter")
    expect(page.get_by_role("heading", name="空白证单核销")).to_be_visible()
    drafted(page, "211014030")
