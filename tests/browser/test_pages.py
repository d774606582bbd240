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
