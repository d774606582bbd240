"""Which column means what: the header words of the field (shared data, header_words.csv).

Pure: standard library alone, because it runs in the reader's sandbox too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from models.numbers import clean

EXAMPLE_REMARK: Final = "示例，请删除"
"""Remark of the template's example rows: left in by mistake they are skipped, never carried out."""

RESULT_WORD: Final = "处理结果"
"""Header of the result column: a row that says 成功 there is not done again when a corrected result
sheet comes back."""


class RepeatedColumn(ValueError):
    """Two columns of a sheet mean the same: which one counts is not for us to guess."""


MAY_REPEAT: Final = frozenset({"reference", "remark"})
"""Fields of which the first column is taken; the others are kept like any own column."""


@dataclass(frozen=True)
class SheetKind:
    """A kind of sheet: its fields by header words, and what makes a row its header row."""

    name: str
    words: dict[str, tuple[str, ...]]
    required: tuple[tuple[str, ...], ...]
    """One field of each group must be there."""

    @cached_property
    def by_word(self) -> dict[str, str]:
        """Field of each header word, as compared."""
        return {header_key(w): field for field, words in self.words.items() for w in words}

    @property
    def wanted(self) -> str:
        """The header words that are missing, for the person who sent another sheet."""
        return " + ".join("/".join(self.words[f][0] for f in group) for group in self.required)


ORDERS: Final = SheetKind(
    "orders",
    {
        "certificate": (
            "证书号",
            "证书编号",
            "原产地证编号",
            "产地证号",
            "使用证书号",
            "CO No.",
            "Certificate No.",
        ),
        "serial": (
            "空白证单流水号",
            "空白证单号",
            "流水号",
            "印刷号",
            "空白证号",
            "证书印刷号",
            "号码",
            "号段",
        ),
        "first_serial": ("起始流水号", "起始号", "起号", "开始流水号"),
        "last_serial": ("截止流水号", "截止号", "止号", "结束流水号"),
        "void_serials": ("作废流水号", "作废号码", "作废号", "废号"),
        "action": ("操作", "处理方式", "核销或作废", "操作类型"),
        "page_count": ("核销页数", "页数", "份数", "张数", "用量"),
        "stock_source": ("库存来源", "自理/代理", "返填", "反填"),
        "reason": ("作废原因", "原因"),
        "reference": ("客户参考号", "参考号", "合同号", "发票号"),
        "remark": ("备注", "说明"),
        "result": (RESULT_WORD,),
        "result_serials": ("结果流水号", "result serials"),
    },
    (("certificate",), ("serial", "first_serial", "page_count", "void_serials")),
)

STOCK: Final = SheetKind(
    "stock",
    {
        "owner": ("持有企业", "持有人", "领用企业", "企业代码", "统一社会信用代码"),
        "form_type": ("空白证单类型", "证单类型", "类型", "证书类型"),
        "first_serial": (*ORDERS.words["first_serial"], "流水号", "空白证单流水号", "号段"),
        "last_serial": ORDERS.words["last_serial"],
        "count": ("份数", "张数", "数量"),
        "issued_on": ("领用日期", "日期"),
    },
    (("owner",), ("form_type",), ("first_serial",)),
)

CERTIFICATES: Final = SheetKind(
    "certificates",
    {
        "certificate": ORDERS.words["certificate"],
        "exporter": ("出口商代码", "出口商", "出口企业代码"),
        "agent": ("录入企业代码", "代录入企业代码", "代录入企业", "录入企业"),
        "approved_on": ("审核日期", "审核通过日期"),
        "pages": ("页数", "证书页数"),
        "status": ("状态", "证书状态"),
    },
    (("certificate",), ("exporter",), ("agent",)),
)

COUNT: Final = SheetKind(
    "count",
    {
        "serial": ORDERS.words["serial"],
        "first_serial": ORDERS.words["first_serial"],
        "last_serial": ORDERS.words["last_serial"],
    },
    (("serial", "first_serial"),),
)
"""盘点: what paper is in the drawer."""

KINDS: Final = {kind.name: kind for kind in (ORDERS, STOCK, CERTIFICATES, COUNT)}

_DECORATION: Final = re.compile(r"[\s*:]|\([^)]*\)$")


@lru_cache(maxsize=4096)
def header_key(text: str) -> str:
    """A header cell as compared: width, case, blanks, stars and a closing remark do not matter."""
    return _DECORATION.sub("", clean(text)).casefold()


def find_columns(kind: SheetKind, cells: Sequence[object]) -> dict[str, int] | None:
    """Which column holds which field, if this row is the header row of such a sheet."""
    columns: dict[str, int] = {}
    repeated: list[int] = []
    for index, cell in enumerate(cells):
        field = kind.by_word.get(header_key(cell)) if isinstance(cell, str) else None
        if field in columns and field not in MAY_REPEAT:
            repeated.append(index)
        if field is not None:
            columns.setdefault(field, index)
    complete = all(any(field in columns for field in group) for group in kind.required)
    if complete and repeated:
        raise RepeatedColumn([str(cells[i]) for i in repeated])
    return columns if complete else None
