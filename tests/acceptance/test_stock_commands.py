"""The commands of the stock, the register, the audit and the notifications, as scripts use them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import openpyxl
import pytest

from tests.conftest import DATA
from tests.support.factories import EXPORTER, SENDER
from tests.support.system import system

SAMPLES = DATA / "samples"


@pytest.fixture(scope="module")
def alone(short_tmp):
    """A home where nothing runs; the samples' stock is in it."""
    with system(short_tmp / "stock") as made:
        made.run("stock", "import", str(SAMPLES / "领用登记.xlsx"))
        yield made


def test_stock_show_counts_every_form_once_and_balances(alone):
    shown = alone.json("stock", "show")
    assert sum(s["issued"] for s in shown["stocks"]) == 61
    for stock in shown["stocks"]:
        assert sum(stock["counts"].values()) == stock["issued"]
        over = stock["period"]
        used = over["verified"] + over["voided"]
        assert over["opening"] + over["received"] - used == over["closing"]
    assert "可用" in alone.run("stock", "show", "--owner", SENDER)
    assert "on hand" in alone.run("stock", "show", "--lang", "en")


def test_a_lost_form_is_reported_with_the_day_by_which_it_is_due(alone):
    text = alone.run(
        "stock", "lost", "211013201", "--reason", "邮寄途中遗失", "--by", "张三", "--yes"
    )
    assert "空白证单遗失报告" in text
    assert "报告人: 张三" in text
    again = alone.json("stock", "lost", "211013201", "--by", "张三", "--yes")
    assert (again["changed"], again["unchanged"]) == ([], ["211013201"])
    history = alone.json("form", "211013201")["forms"][0]
    assert history["history"][-1]["reason"] == "邮寄途中遗失 (张三)"
    released = alone.json("stock", "release", "211013201", "--reason", "找到了")
    assert released["changed"] == ["211013201"]


def test_a_count_of_the_paper_says_what_differs(alone, tmp_path):
    sheet = tmp_path / "盘点.txt"
    sheet.write_text("211013202-16\n999999999\n", encoding="utf-8")
    found = alone.json("stock", "count", str(sheet), expect=3)
    assert found["adds_up"]
    assert (found["missing"], found["unexpected"]) == (["211013201"], ["999999999"])
    assert "账外" in alone.run("stock", "count", str(sheet), expect=3)


def test_the_register_has_the_balance_of_each_stock_and_every_movement(alone, tmp_path):
    path = tmp_path / "台账.xlsx"
    lost = "211013216"
    alone.run("stock", "lost", lost, "--reason", "受潮", "--by", "李四", "--yes")
    told = alone.json("register", "export", "-o", str(path))
    alone.run("stock", "release", lost, "--reason", "找到了")
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["汇总", "明细"]
    balances = list(book["汇总"].iter_rows(min_row=3, max_col=7, values_only=True))
    assert balances == [
        (EXPORTER, "A", 5, 0, 0, 0, 5),
        (EXPORTER, "B", 16, 0, 0, 0, 16),
        (SENDER, "B", 40, 0, 0, 0, 40),
    ]
    titles, *movements = book["明细"].iter_rows(values_only=True)
    assert told["lines"] == len(movements)
    (line,) = [dict(zip(titles, m, strict=True)) for m in movements if lost in m]
    assert (line["持有企业"], line["证单类型"], line["事项"], line["张数"]) == (
        EXPORTER,
        "B",
        "报失",
        1,
    )
    assert (line["起始流水号"], line["截止流水号"], line["说明"]) == (lost, lost, "受潮 (李四)")


def rewrite(home, old, new):
    """Somebody with access to the database says otherwise how one form came to us."""
    with closing(sqlite3.connect(home / "blankforms.db")) as database, database:
        done = database.execute(
            "UPDATE form_event SET cause = ? WHERE cause = ? AND form_id ="
            " (SELECT id FROM form WHERE serial = '211014007')",
            (new, old),
        )
        assert done.rowcount == 1


def test_the_history_is_proved_and_a_changed_word_is_found(alone):
    proved = alone.json("audit", "verify")
    assert (proved["forms"], proved["findings"]) == (61, [])
    rewrite(alone.home, "issue:sheet", "issue:customs")
    found = alone.json("audit", "verify", expect=3)["findings"]
    rewrite(alone.home, "issue:customs", "issue:sheet")
    assert [(f["serial"], f["tamper"]) for f in found] == [("211014007", "edited")]
    assert alone.json("audit", "verify")["findings"] == []


def test_an_endpoints_secret_is_shown_once(alone):
    added = alone.json("notify", "add", "https://erp.example.com/x", "--events", "stock.low")
    listed = alone.json("notify", "list")["endpoints"]
    assert [(e["url"], e["events"]) for e in listed] == [
        ("https://erp.example.com/x", ["stock.low"])
    ]
    assert added["secret"] not in json.dumps(listed)
    assert alone.json("notify", "rotate", "1")["secret"] != added["secret"]
    assert alone.json("notify", "disable", "1") == {"endpoint": 1, "active": False}
    assert alone.json("notify", "deliveries") == {"deliveries": []}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("notify", "add", "http://erp.example.com/"), 2),
        (("notify", "add", "https://u:p@erp.example.com/"), 2),
        (("notify", "add", "https://erp.example.com/", "--events", "nonsense"), 2),
        (("notify", "rotate", "77"), 2),
        (("notify", "redeliver"), 2),
        (("notify", "redeliver", "--failed-of", "77"), 2),
        (("stock", "hold", "999999999", "--reason", "x"), 2),
        (("stock", "hold", "nonsense", "--reason", "x"), 2),
        (("stock", "hold", "211013202", "--reason", " "), 2),
        (("stock", "show", "--to", "9999-12-31"), 2),
        (("stock", "show", "--from", "2026-02-01", "--to", "2026-01-01"), 2),
        (("stock", "threshold", "nobody", "B", "3"), 2),
        (("register", "export", "-o", "/nonexistent/x.xlsx"), 2),
        (("reconcile", "show", "99999999999999999999"), 2),
        (("reconcile", "show", "5"), 2),
        (("reconcile", "repair", "5", "--yes"), 2),
        (("reconcile", "--date", "1999-01-01"), 2),
        (("reconcile",), 69),
        (("discrepancies", "close", "5", "--reason", "x"), 2),
    ],
)
def test_bad_input_is_said_with_its_exit_code_and_no_traceback(alone, arguments, code):
    alone.run(*arguments, expect=code)
    assert "Traceback" not in alone.stderr
    assert "内部错误" not in alone.stderr
