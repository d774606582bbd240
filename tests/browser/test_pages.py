"""Every page: for people who do not see or point as others do, in both languages, wide and narrow, without scripts;
and what is live keeps what a person was doing.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NARROW, violations
from tests.support.factories import AGENT_HANDLED

PAGES = (
    "/certificates", "/certificates?certificate=X", "/certificates?from=2026-02-01&to=2026-01-01",
    f"/certificates/{AGENT_HANDLED}", "/forms", "/forms?view=all", "/forms?state=issued", "/forms/B/211014001", "/import",
    "/jobs", "/jobs?state=finished", "/inbox", "/settings", "/me", "/me/password", "/me/second-factor",
    "/find?q=nichts", "/certificates/NONE",
)  # fmt: skip


def test_no_page_keeps_anybody_out_and_none_is_wider_than_its_window(office):
    page, phone = office.person("boss"), office.person("boss", viewport=NARROW)
    wrong = []
    for path in PAGES:
        page.goto(office.address + path)
        wrong += [f"{path}: {found}" for found in violations(page)]
        phone.goto(office.address + path)
        wrong += [f"{path} narrow: {found}" for found in violations(phone)]
        for at in (page, phone):
            over = at.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            if over > 0:
                wrong.append(f"{path} is {over} px wider than its window")
    assert not wrong, "\n".join(wrong)


def test_english_is_one_click_away_and_nothing_chinese_is_left_but_the_portals_words(office):
    page = office.person("boss", "/certificates")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Verify and void")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    for path in (
        "/certificates",
        "/forms?view=all",
        "/import",
        "/jobs",
        "/inbox",
        "/settings",
        "/me",
    ):
        page.goto(office.address + path)
        left = re.findall(
            r"[\u4e00-\u9fff]{2,}",
            page.locator("main h1, main th, main button, .menu").all_inner_texts().__str__(),
        )
        assert left == [], path


def test_without_scripts_everything_is_done_by_forms(office):
    page = office.person("zhang", f"/certificates/{AGENT_HANDLED}", java_script_enabled=False)
    page.get_by_role("button", name="新增", exact=True).click()
    page.get_by_role("button", name=re.compile("查询未使用的空白证单")).click()
    expect(
        page.get_by_text("提示: 双击列表当前行即可实现选中反填")
    ).to_be_visible()  # a page of its own
    page.get_by_label("选择 211014005").check()
    page.get_by_role("button", name="确定").click()
    expect(page.locator("input[name=serial]").first).to_have_value("211014005")
    page.get_by_role("button", name="核销", exact=True).click()
    page.get_by_role("button", name="确认核销 1 张").click()
    expect(page.get_by_text("核销提交成功!")).to_be_visible()


def test_what_is_live_keeps_ticks_focus_caret_and_the_nodes_themselves(office):
    page = office.person("zhang", f"/certificates/{AGENT_HANDLED}")
    page.get_by_role("button", name="新增", exact=True).click()
    page.locator("#drafts input[name=serial]").fill("211014006")
    page.get_by_role("button", name="核销", exact=True).click()
    page.get_by_role("button", name="确认核销 1 张").click()
    expect(page.get_by_text("核销提交成功!")).to_be_visible()
    page.get_by_role("button", name="新增", exact=True).click()
    box = page.locator("#drafts input[name=serial]")
    box.fill("2110")
    box.evaluate(
        "box => { box.setSelectionRange(2, 3); window.same = box; window.row = document.querySelector('#f211014006') }"
    )
    page.locator("#drafts input[name=tick]").uncheck()
    box.focus()
    expect(page.locator("#f211014006 .state")).to_have_text("已核销", timeout=60_000)
    assert box.input_value() == "2110"
    assert not page.locator("#drafts input[name=tick]").is_checked()
    assert page.evaluate("document.activeElement === window.same && window.same.isConnected")
    assert page.evaluate("document.querySelector('#f211014006') === window.row")
    assert page.evaluate("[window.same.selectionStart, window.same.selectionEnd]") == [2, 3]


def test_a_page_says_when_it_is_not_updated_and_goes_on_by_itself(office):
    page = office.person("zhang", "/jobs")
    page.route("**/jobs?*live*", lambda route: route.abort())
    expect(page.get_by_text("更新中断，重试")).to_be_visible(timeout=20_000)
    page.unroute("**/jobs?*live*")
    expect(page.get_by_text("更新中断，重试")).to_be_hidden(timeout=20_000)


def test_the_console_started_anew_in_the_middle_loses_nothing_that_was_typed(office):
    page = office.person("zhang", f"/certificates/{AGENT_HANDLED}")
    page.get_by_role("button", name="新增", exact=True).click()
    page.locator("#drafts input[name=serial]").fill("211014007")
    office.system.kill("console")
    office.system.start("console")
    office.system.wait(lambda: office.system.listens(office.system.console_port), "console")
    page.get_by_role("button", name="核销", exact=True).click()
    expect(page.get_by_role("button", name="确认核销 1 张")).to_be_visible()


def test_the_keyboard_alone_is_enough(office):
    page = office.open("/certificates")
    expect(page.locator("input[name=login]")).to_be_focused()
    page.keyboard.type("zhang")
    page.keyboard.press("Tab")
    page.keyboard.type(office.passwords["zhang"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="空白证单核销")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="跳到正文")).to_be_focused()
    page.get_by_role("link", name="空白证单核销", exact=True).first.focus()
    page.goto(f"{office.address}/certificates/{AGENT_HANDLED}")
    page.get_by_role("button", name="新增", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name=re.compile("查询未使用")).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#picker input[name=find]")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#picker")).to_be_hidden()


@pytest.mark.parametrize("login", ["zhang", "li"])
def test_nobody_is_offered_what_they_may_not(office, login):
    page = office.person(login, "/settings")
    expect(page.get_by_role("heading", name="设置")).to_be_visible()
    for name in ("登记并给一次性口令", "保存", "给一次性口令"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


def test_back_shows_what_was_typed_and_sends_nothing(office):
    page = office.person("zhang", f"/certificates/{AGENT_HANDLED}")
    page.get_by_role("button", name="新增", exact=True).click()
    page.locator("#drafts input[name=serial]").fill("211014036")
    page.get_by_role("button", name="核销", exact=True).click()
    expect(page.get_by_role("heading", name="确认核销")).to_be_visible()
    page.go_back()
    expect(page.locator("#drafts input[name=serial]")).to_have_count(1)  # no page of an error
    page.go_forward()
    page.get_by_role("button", name="不提交，返回继续改").click()
    expect(page.locator("#drafts input[name=serial]")).to_have_value("211014036")
    page.get_by_role("button", name="核销", exact=True).click()
    page.get_by_role("button", name="确认核销 1 张").click()
    expect(page.get_by_text("核销提交成功!")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="确认核销")).to_be_visible()
    page.get_by_role("button", name="确认核销 1 张").click()  # once more, and it is the same one
    expect(page.get_by_role("heading", name=re.compile("^作业"))).to_be_visible()
    page.goto(f"{office.address}/forms/B/211014036")
    assert page.locator("h2", has_text="报文").locator("+ .sheet tbody tr").count() == 1


def test_what_is_live_keeps_scroll_open_details_and_the_selected_text(office):
    page = office.person("boss", "/inbox", viewport={"width": 900, "height": 420})
    low_stock = page.locator("#waiting li .acts").first
    expect(low_stock).to_be_attached(timeout=120_000)
    page.evaluate(
        """() => {
          const area = document.querySelector("#waiting");
          const details = document.createElement("details");
          details.open = true;
          details.innerHTML = "<summary>x</summary><p>open</p>";
          area.querySelector("li .acts").append(details);
          window.row = area.querySelector("li");
          window.scrollTo(0, 60);
          getSelection().selectAllChildren(window.row.querySelector("b"));
          window.said = getSelection().toString();
        }"""
    )
    with page.expect_response(re.compile("/inbox.*live"), timeout=20_000) as told:
        pass
    assert told.value.status in {200, 204}
    page.wait_for_function("window.row.isConnected")
    assert page.evaluate("window.scrollY") == 60
    assert page.evaluate("getSelection().toString() === window.said && window.said.length > 0")
    assert page.evaluate("document.querySelector('#waiting details').open")


PRINTED = ("/forms/B/211014036", "/jobs", f"/certificates/{AGENT_HANDLED}", "/inbox")


def test_what_is_printed_is_whole_and_says_who_printed_it_and_in_which_zone(office):
    page = office.person("zhang")
    page.emulate_media(media="print")
    page.set_viewport_size(
        {"width": 718, "height": 1000}
    )  # A4 less its margins, at 96 dots an inch
    for path in PRINTED:
        page.goto(office.address + path)
        expect(page.locator(".menu")).to_be_hidden()
        expect(page.locator(".printed")).to_contain_text("张三")
        expect(page.get_by_text("时间均为 北京时间")).to_be_visible()
        over = page.evaluate(
            "[...document.querySelectorAll('table')].filter(t => t.offsetWidth > 718).length"
        )
        assert over == 0, path


def test_a_job_that_stands_still_says_so_and_says_no_more_when_it_moves(office):
    office.system.run("line", "pause", "--reason", "月末盘点")
    try:
        page = office.person("zhang")
        page.clock.install()
        page.goto(f"{office.address}/certificates/{AGENT_HANDLED}")
        page.get_by_role("button", name="新增", exact=True).click()
        page.locator("#drafts input[name=serial]").fill("211014037")
        page.get_by_role("button", name="核销", exact=True).click()
        page.get_by_role("button", name="确认核销 1 张").click()
        page.locator(".banner").get_by_role("link", name=re.compile("作业")).click()
        expect(page.locator("#live .key")).to_contain_text("已预占 1")
        expect(page.get_by_text("30 秒没有进展")).to_be_hidden()
        for _ in range(17):  # by the page's own clock, two seconds for each look
            with page.expect_response(re.compile("live")):
                page.clock.run_for(2000)
        expect(page.get_by_text("30 秒没有进展")).to_be_visible()
    finally:
        office.system.run("line", "resume")
    office.system.wait(lambda: "已完成" in page_text(page), "the job")
    expect(page.get_by_text("30 秒没有进展")).to_be_hidden()


def page_text(page):
    page.clock.run_for(2000)
    return page.locator("#live").inner_text()
