"""A Chromium, a system of real processes with the guide's own stock, and persons who are signed in."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from config.settings import load_settings
from tests.conftest import ROOT
from tests.support.factories import SAMPLE_CERTIFICATES, SAMPLE_RANGES
from tests.support.system import System, broker, system

OWN = "copper kettle under rain"
PICTURES = Path(os.environ.get("PICTURES", "/nonexistent"))
"""Where the pictures of the manual go: `PICTURES=docs/pictures make test-browser` makes them anew."""

AXE = (ROOT / "tests" / "support" / "axe-4.14.1.min.js").read_text(encoding="utf-8")
WIDE = {"width": 1280, "height": 860}
NARROW = {"width": 400, "height": 860}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium (`make test-browser` installs it), for one module: while it is open, its event loop runs, and
    whatever else the process tests can have none.
    """
    path = shutil.which("chromium")
    assert path, "no chromium: apt-get install chromium fonts-wqy-microhei (make test-browser does)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Office:
    """The system, and whoever sits before a browser."""

    system: System
    browser: Browser
    passwords: dict[str, str]
    contexts: list[BrowserContext] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What a browser complained of: a script's error, or something that the policy does not allow."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.system.console_port}"

    def open(self, path: str = "/", **how: Any) -> Page:
        """A browser of its own, of nobody yet."""
        context = self.browser.new_context(
            locale="zh-CN", timezone_id="Asia/Shanghai", viewport=how.pop("viewport", WIDE), **how
        )
        context.set_default_timeout(30_000)
        self.contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", lambda said: self._heard(said.type, said.text))
        page.goto(self.address + path)
        return page

    def _heard(self, kind: str, text: str) -> None:
        away = ("Failed to load resource", "Failed to fetch")  # what tests take away on purpose
        if kind == "error" and not any(words in text for words in away):
            self.wrong.append(text)

    def person(self, login: str, path: str = "/", **how: Any) -> Page:
        """A browser in which this person is signed in; the first time they choose their password."""
        page = self.open(path, **how)
        sign_in(page, login, self.passwords[login])
        if "/me/password" in page.url:
            page.fill("input[name=current]", self.passwords[login])
            page.fill("input[name=chosen]", OWN + login)
            page.fill("input[name=again]", OWN + login)
            page.click("text=保存")
            page.wait_for_url(lambda url: "/me/password" not in url)
            self.passwords[login] = OWN + login
            page.goto(self.address + path)
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()


def sign_in(page: Page, login: str, password: str) -> None:
    page.fill("input[name=login]", login)
    page.fill("input[name=password]", password)
    page.click("button.go")
    page.wait_for_url(lambda url: "/login" not in url)


def csv_of(path: Path, *rows: tuple[object, ...]) -> str:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(rows)
    return str(path)


@pytest.fixture(scope="module")
def office(short_tmp: Path, chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Office]:
    """The guide's own certificates and stock; a maker, two checkers, an administrator; rules on."""
    home = short_tmp / request.node.name.rpartition("/")[2].removesuffix(".py")[:12]
    with system(home, SIMULATOR_DELAY_SECONDS="0.5") as made:
        socket = load_settings(made.environment).broker_socket
        with broker(home / "broker", port=0, unix_socket_path=socket):
            made.start_simulator()
            stock = [("持有企业", "空白证单类型", "起始流水号", "截止流水号", "领用日期")]
            stock += [
                (r.owner, r.form_type, r.first_serial, r.last_serial, "2022-04-01")
                for r in SAMPLE_RANGES
            ]
            made.run("stock", "import", csv_of(home / "stock.csv", *stock))
            known = [("证书号", "出口商代码", "录入企业代码", "状态", "审核日期", "页数")]
            known += [(c.number, c.exporter, c.agent, "审核通过" if c.status == "approved" else "待审核",
                       c.approved_on or "", c.pages) for c in SAMPLE_CERTIFICATES]  # fmt: skip
            made.run("certificates", "import", csv_of(home / "certificates.csv", *known))
            for login, name, role in (
                ("zhang", "张三", "maker"),
                ("li", "李娜", "checker"),
                ("zhao", "赵敏", "checker"),
            ):
                made.run("person", "add", login, "--name", name, "--role", role)
            boss = made.json("person", "add", "boss", "--name", "主任", "--admin")
            passwords = {
                login: made.json("person", "password", login)["one_time_password"]
                for login in ("zhang", "li", "zhao")
            }
            passwords["boss"] = boss["one_time_password"]
            made.run("rules", "set", "--on", "--voids-per-batch", "2")
            made.start("web", "console", "worker", "submitter", "sender", "scheduler")
            made.wait(lambda: made.listens(made.console_port), "console")
            made.wait(lambda: made.json("doctor", "--wait", "30") or True, "doctor")
            opened = Office(made, chromium, passwords)
            yield opened
            opened.close()
            assert opened.wrong == []


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Keep what stands on the page now for the manual, small; elsewhere nothing."""

    def keep(page: Page, name: str) -> None:
        if PICTURES.is_dir():
            page.screenshot(path=PICTURES / f"{name}.png")

    return keep


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong for people who do not see, hear or point as others do."""
    page.evaluate(AXE)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{v['id']}: {n['target']} {n['failureSummary'][:160]}" for v in found for n in v["nodes"]
    ]
