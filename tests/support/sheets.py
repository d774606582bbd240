"""Stock, certificates and orders of a system of real processes, by its commands."""

from __future__ import annotations

import csv
import sqlite3

from tests.support.factories import EXPORTER, HEADER, SENDER, certificate_number


def write_sheets(folder, count):
    """Stock, certificates and an order sheet of `count` rows, one form each, some by page count."""
    with (folder / "stock.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["持有企业", "空白证单类型", "起始流水号", "截止流水号"])
        writer.writerow([SENDER, "B", "211014001", str(211014000 + 2 * count)])
    with (folder / "certificates.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["证书号", "出口商代码", "录入企业代码", "状态"])
        for n in range(1, count + 1):
            writer.writerow([certificate_number("B", n), EXPORTER, SENDER, "审核通过"])
    with (folder / "orders.csv").open("w", newline="", encoding="gb18030") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for n in range(1, count + 1):
            void = n % 10 == 0
            named = str(211014000 + count + n) if n % 2 == 0 else ""
            writer.writerow([certificate_number("B", n), "作废" if void else "核销", named,
                             "" if named else 1, "", "打印错误" if void else ""])  # fmt: skip


def ledger(home, sql):
    with sqlite3.connect(f"file:{home}/simulator/ledger.db?mode=ro", uri=True) as db:
        return db.execute(sql).fetchall()


def bring_in(running, folder):
    running.run("stock", "import", str(folder / "stock.csv"))
    running.run("certificates", "import", str(folder / "certificates.csv"))
