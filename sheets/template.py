"""The empty order sheet that people start from: text cells, choices, three example rows, notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import xlsxwriter

from sheets.headers import EXAMPLE_REMARK, ORDERS

_FIELDS: Final = (
    *("certificate", "action", "serial", "page_count", "stock_source", "reason", "reference"),
    "remark",
)
_EXAMPLES: Final = (
    ("B201026902331597", "核销", "211013209-211013210", "", "出口商", "", "ORD-1", EXAMPLE_REMARK),
    ("B201026902331597", "作废", "211013211", "", "出口商", "打印错误", "ORD-2", EXAMPLE_REMARK),
    ("A211026902331080", "核销", "", "4", "", "", "ORD-3", EXAMPLE_REMARK),
)
_NOTES: Final = (
    "每行一个证书：写明流水号，或只写核销页数(由系统取最小的可用流水号)。",
    "流水号可写一个、多个(211013201、211013203)、号段(211013201-211013208 或 211013201-08)、张数(211013209+4)。",
    "操作填 核销 或 作废；作废须写流水号和作废原因：打印错误、污损、证书更改或重发、遗失、其他:说明。",
    "库存来源可不填：自理证书用出口商库存，代理证书默认用代录入企业库存。",
    "列的顺序可以改变，可以另加自己的列；结果表会原样带回。",
)
_ROWS: Final = 10_000
_PROMPTS: Final[dict[int, tuple[list[str], str, str]]] = {
    0: ([], "证书号", "类型字母+2位年份+9位组织机构代码+4位流水，如 B201026902331597"),
    1: (["核销", "作废"], "操作", "核销 或 作废"),
    2: ([], "流水号", "一个、多个(顿号隔开)或号段；与核销页数填一个即可"),
    3: ([], "核销页数", "只填张数时，由系统取最小的可用流水号"),
    4: (["出口商", "代录入企业"], "库存来源", "可不填：代理证书默认用代录入企业的库存"),
    5: (["打印错误", "污损", "证书更改或重发", "遗失"], "作废原因", "作废时必填；也可填 其他:说明"),
}
"""By column: choices, and the prompt that the program shows beside the cell."""


def write_template(path: Path) -> None:
    """Write the template as xlsx."""
    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_urls": False})
    text = book.add_format({"num_format": "@"})
    bold = book.add_format({"num_format": "@", "bold": True, "bg_color": "#DDEBF7"})
    sheet = book.add_worksheet("核销作废")
    sheet.set_column(0, len(_FIELDS) - 1, 22, text)
    sheet.freeze_panes(1, 0)
    for column, field in enumerate(_FIELDS):
        sheet.write_string(0, column, ORDERS.words[field][0], bold)
    for row, example in enumerate(_EXAMPLES, start=1):
        for column, value in enumerate(example):
            sheet.write_string(row, column, value, text)
    for column, (values, title, prompt) in _PROMPTS.items():
        rule: dict[str, Any] = {"input_title": title, "input_message": prompt, "ignore_blank": True}
        if values:
            rule |= {"validate": "list", "source": values, "error_type": "information"}
        else:
            rule["validate"] = "any"
        sheet.data_validation(1, column, _ROWS, column, rule)
    notes = book.add_worksheet("说明")
    notes.set_column(0, 0, 100)
    for row, note in enumerate(_NOTES):
        notes.write_string(row, 0, note, text)
    book.close()
