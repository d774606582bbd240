"""`blankforms demo --stay`: a newcomer has clicked through a void with a second person."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import WIDE, sign_in
from tests.conftest import environment


@pytest.fixture
def demonstration(short_tmp):
    folder = short_tmp / "stay"
    folder.mkdir()
    made = environment(folder, PATH=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")  # noqa: PTH120
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "demo", "--stay"],
        cwd=folder, env=made, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said = []
    for line in process.stdout:
        said.append(line)
        if "Ctrl-C" in line:
            break
    try:
        yield "".join(said)
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[0]
        assert "已停止全部进程" in rest


def test_a_newcomer_voids_a_form_with_a_second_person(demonstration, chromium):
    address = re.search(r"http://127\.0\.0\.1:\d+", demonstration)[0]
    passwords = dict(re.findall(r"^(zhang|li|zhao) +(\S+)", demonstration, re.MULTILINE))
    pages = {}
    for login in ("zhang", "li"):
        page = chromium.new_context(locale="zh-CN", viewport=WIDE).new_page()
        page.goto(f"{address}/certificates")
        sign_in(page, login, passwords[login])
        pages[login] = page
    maker, checker = pages["zhang"], pages["li"]
    maker.get_by_role("link", name="空白证单核销").nth(1).click()
    maker.get_by_role("button", name="新增", exact=True).click()
    maker.get_by_role("button", name=re.compile("查询未使用")).click()
    maker.locator("#picker tbody tr").first.dblclick()
    maker.get_by_role("button", name="作废", exact=True).click()
    maker.get_by_role("button", name="确认作废 1 张").click()
    expect(maker.get_by_text("已送复核")).to_be_visible()
    checker.goto(f"{address}/inbox")
    checker.get_by_role("button", name="同意作废 1 张").click()
    expect(checker.get_by_text("已同意，按此方案办理")).to_be_visible()
    maker.locator(".banner").get_by_role("link", name=re.compile("作业 \\d")).click()
    expect(maker.locator("#live")).to_contain_text(re.compile("已受理，.* 后提交，可撤回"))
    for page in pages.values():
        page.context.close()
