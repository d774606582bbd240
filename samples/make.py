"""Make the sample sheets again: stock, certificates and an order sheet of a month's end.

    .venv/bin/python samples/make.py

Everything is derived from fixed rules, so the sheets say the same each time. Enterprises are
invented; their codes have right check characters.
"""

from __future__ import annotations

from pathlib import Path

import xlsxwriter

from models.rules.numbers import organisation_check_character, uscc_check_character

HERE = Path(__file__).parent
AGENT = "91610131MA6TXQ0D1U"
TYPES = ("B", "E", "RC")
EXPORTERS = 6


def enterprise(number: int) -> str:
    """A USCC with an organisation code of its own."""
    eight = f"7102{number:04d}"
    body = "91610000" + eight + organisation_check_character(eight).replace("X", "0")
    return body + uscc_check_character(body)


def exporters() -> list[str]:
    """Exporters whose organisation code has a check digit (not X)."""
    found = []
    number = 1
    while len(found) < EXPORTERS:
        if organisation_check_character(f"7102{number:04d}") != "X":
            found.append(enterprise(number))
        number += 1
    return found


def certificate(kind: str, exporter: str, number: int) -> str:
    return f"{kind}26{exporter[8:17]}{number:04d}"


def write(name: str, rows: list[list[object]]) -> None:
    book = xlsxwriter.Workbook(str(HERE / name), {"strings_to_formulas": False})
    book.set_properties({"created": __import__("datetime").datetime(2026, 11, 1)})
    text = book.add_format({"num_format": "@"})
    sheet = book.add_worksheet("Sheet1")
    sheet.set_column(0, len(rows[0]) - 1, 20, text)
    for r, row in enumerate(rows):
        for c, value in enumerate(row):
            if isinstance(value, str):
                sheet.write_string(r, c, value, text)
            elif value is not None:
                sheet.write_number(r, c, value)
    book.close()


def main() -> None:
    firms = exporters()
    stock: list[list[object]] = [
        ["持有企业", "空白证单类型", "起始流水号", "截止流水号", "份数", "领用日期"]
    ]
    for i, kind in enumerate(TYPES):
        base = 261000000 + i * 10000
        stock.append([AGENT, kind, f"{base + 1}", f"{base + 180}", 180, "2026-10-08"])
        stock.append([AGENT, kind, f"{base + 201}", f"{base + 320}", 120, "2026-11-02"])
    for i, firm in enumerate(firms):
        base = 262000000 + i * 1000
        stock.append([firm, "B", f"{base + 1}", f"{base + 60}", 60, "2026-10-12"])
    write("领用登记.xlsx", stock)

    certificates: list[list[object]] = [
        ["证书号", "出口商代码", "录入企业代码", "审核日期", "页数", "状态"]
    ]
    orders: list[list[object]] = [
        ["证书号", "操作", "空白证单流水号", "核销页数", "库存来源", "作废原因", "客户参考号"]
    ]
    next_own = {firm: 262000001 + i * 1000 for i, firm in enumerate(firms)}
    for n in range(1, 191):
        firm = firms[n % EXPORTERS]
        own = n % 5 == 0  # self-handled, from the exporter's own stock
        kind = "B" if own else TYPES[n % len(TYPES)]
        pages = 1 if n % 4 else 1 + n % 3 + n % 2
        number = certificate(kind, firm, n)
        approved = f"2026-11-{1 + n % 20:02d}"
        status = "审核通过" if n != 57 else "待审核"
        certificates.append([number, firm, firm if own else AGENT, approved, pages, status])
        reference = f"HT-2611-{n:03d}"
        if own:
            first = next_own[firm]
            next_own[firm] += pages
            serials = f"{first}" if pages == 1 else f"{first}-{(first + pages - 1) % 100:02d}"
            orders.append([number, "核销", serials, None, "出口商", None, reference])
            if n % 20 == 0:  # a sheet jammed in the printer
                spoiled = next_own[firm]
                next_own[firm] += 1
                orders.append([number, "作废", f"{spoiled}", None, None, "打印错误", reference])
        else:
            orders.append([number, "核销", None, pages, None, None, reference])
    some = certificate("B", firms[1], 25)
    orders += [
        ["小计", None, None, 190, None, None, None],
        [certificate("B", firms[0], 9001), "核销", "262000050", None, None, None, "未导入的证书"],
        [some[:-5] + ("0" if some[-5] != "0" else "1") + some[-4:], "核销", None, 1, None, None,
         "校验位"],
        ["ZJCA33121/050001", "核销", None, 1, None, None, "旧式证书号"],
        [some, "核销", "2.62001E+08", None, None, None, "科学计数"],
        [some, "核销", 62001050, None, None, None, "丢零"],
        [some, "核销", "262001o5l", None, None, None, "字母"],
        [some, "核销", "262001058-262001055", None, None, None, "颠倒"],
        [some, "核销", "262001001-269001001", None, None, None, "过长"],
        [some, "核销", "269999999", None, None, None, "不在库存"],
        [some, "作废", "262001059", None, None, None, "没有原因"],
        [some, "已核销", "262001058", None, None, None, "历史还是操作"],
        [some, "核销", None, "-1", None, None, "页数"],
        [some, "核销", None, 2, "代录入企业", None, "自理证书用代理库存"],
        [some, "核销", "262002059", None, "出口商", None, "别家的库存"],
    ]  # fmt: skip
    write("证书.xlsx", certificates)
    write("月末核销.xlsx", orders)


if __name__ == "__main__":
    main()
