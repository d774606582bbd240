"""Which column means what: the header words of the field, in one table (docs/sheets.md is tested against it).

Pure: standard library alone, because it runs in the reader's sandbox too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from models.rules.numbers import clean

EXAMPLE_REMARK: Final = "示例，不会办理"
"""Remark of the template's example rows: they are skipped, never carried out, and need not be deleted."""

EXAMPLE_REMARKS: Final = (EXAMPLE_REMARK, "示例，请删除")
"""That of older templates too."""

RESULT_WORD: Final = "处理结果"
"""Header of the result column: a row that says 成功 there is not done again when a corrected result
sheet comes back."""


class RepeatedColumn(ValueError):
    """Two columns of a sheet mean the same: which one counts is not for us to guess."""


MAY_REPEAT: Final = frozenset({"reference", "remark", "result", "result_serials"})
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


_SERIAL_WORDS: Final = (
    *("空白证单流水号", "空白证单号", "流水号", "印刷号", "空白证号", "证书印刷号", "号码", "号段"),
    *(
        "印刷流水号",
        "证单印刷号",
        "证单流水号",
        "证单号",
        "使用流水号",
        "核销流水号",
        "空白证流水号",
    ),
    *("空白证单印刷号", "空白证单流水号段", "流水号段", "Serial No.", "Serial"),
)
_FIRST_WORDS: Final = (
    *("起始流水号", "起始号", "起号", "开始流水号", "起始号码", "开始号", "首号", "起", "自", "从"),
    *("起始印刷号", "起始空白证单流水号", "起始空白证单号", "first serial"),
)
_LAST_WORDS: Final = (
    *("截止流水号", "截止号", "止号", "结束流水号", "终止流水号", "终止号", "结束号", "截止号码"),
    *("终止号码", "末号", "止", "至", "到", "终", "截止印刷号", "终止印刷号", "last serial"),
    *("截止空白证单流水号", "截止空白证单号"),
)
_CERTIFICATE_WORDS: Final = (
    *("证书号", "证书编号", "原产地证编号", "产地证号", "使用证书号", "CO No.", "Certificate No."),
    *("证书号码", "原产地证号", "原产地证书号", "原产地证书编号", "产地证书号", "产地证编号"),
    *("C/O No.", "Certificate Number", "certificate"),
)

ORDERS: Final = SheetKind(
    "orders",
    {
        "certificate": _CERTIFICATE_WORDS,
        "serial": _SERIAL_WORDS,
        "first_serial": (
            *_FIRST_WORDS,
            *(f"{w}起" for w in _SERIAL_WORDS),
            *(f"{w}起始" for w in _SERIAL_WORDS),
        ),
        "last_serial": (
            *_LAST_WORDS,
            *(w + e for w in _SERIAL_WORDS for e in ("止", "至", "截止")),
        ),
        "void_serials": (
            *("作废流水号", "作废号码", "作废号", "废号", "作废印刷号", "作废证单号"),
            *("作废空白证单流水号", "作废空白证单号", "作废证单流水号"),
        ),
        "action": (
            *("操作", "处理方式", "核销或作废", "操作类型", "处理类型", "业务类型", "核销/作废"),
            *("操作方式", "业务", "action"),
        ),
        "page_count": (
            *("核销页数", "页数", "份数", "张数", "用量", "使用张数", "使用份数", "核销张数"),
            *("核销份数", "证单张数", "证单份数", "pages"),
        ),
        "stock_source": ("库存来源", "自理/代理", "返填", "反填", "stock source"),
        "reason": ("作废原因", "原因", "作废理由", "reason"),
        "reference": ("客户参考号", "参考号", "合同号", "发票号", "reference"),
        "remark": ("备注", "说明", "备注说明", "remark"),
        "result": (RESULT_WORD,),
        "result_serials": ("结果流水号", "result serials"),
        "verify_tick": (),
        "void_tick": (),
    },
    (("certificate",), ("serial", "first_serial", "page_count", "void_serials")),
)
"""`verify_tick`, `void_tick`: a column whose ticks mean the action; known by a person's answer alone."""

ANSWERABLE: Final = (
    *("certificate", "serial", "first_serial", "last_serial", "void_serials", "action"),
    *("page_count", "stock_source", "reason", "reference", "remark", "verify_tick", "void_tick"),
)
"""Meanings that a person may give a column."""

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

NO_ACCOUNT: Final = (
    *(
        "序号",
        "行号",
        "编号",
        "合同号",
        "发票号",
        "订单号",
        "金额",
        "总金额",
        "单价",
        "总价",
        "币种",
    ),
    *(
        "品名",
        "商品",
        "商品名称",
        "货物名称",
        "规格",
        "型号",
        "单位",
        "数量",
        "重量",
        "毛重",
        "净重",
    ),
    *(
        "件数",
        "箱数",
        "体积",
        "客户",
        "客户名称",
        "收货人",
        "日期",
        "核销日期",
        "作废日期",
        "领用日期",
    ),
    *(
        "签证日期",
        "申请日期",
        "月份",
        "年份",
        "电话",
        "手机",
        "联系电话",
        "联系人",
        "经办人",
        "核销人",
    ),
    *(
        "箱号",
        "集装箱号",
        "封号",
        "提单号",
        "船名",
        "航次",
        "目的港",
        "起运港",
        "目的国",
        "国别",
        "邮编",
    ),
    *("地址", "统一社会信用代码", "企业代码", "HS编码", "HS CODE", "税号", "商品编码", "报关单号"),
    *(
        "快递单号",
        "备案号",
        "账号",
        "身份证号",
        "证书类型",
        "证单类型",
        "空白证单类型",
        "省份",
        "股份",
    ),
    *("页码", "部门", "业务员", "单证员", "贸易方式", "运输方式", "原产国", "签证机构"),
)
"""Headers that say nothing about which form is taken. Serials of ours and action words below them
are asked about all the same, small numbers are not."""

OURS: Final = (
    *(
        RESULT_WORD,
        "结果流水号",
        "结果状态",
        "错误代码",
        "错误类别",
        "失败原因",
        "更正建议",
        "处理批次",
    ),
    *("result", "result serials", "result state", "error code", "error kind", "why refused"),
    *("suggested correction", "done in batch"),
    # the check's sheet
    *("预检结果", "将用流水号", "问题代码", "问题", "建议", "原行号"),
    *("check result", "serials to be used", "problem code", "problem", "suggestion", "row"),
    *("错误说明", "error"),
)
"""Headers of columns that we write ourselves: known when a sheet comes back, they order nothing."""

OUR_LISTS: Final = (
    ("日期", "持有企业", "证单类型", "事项"),
    ("date", "owner", "type", "what"),
    ("流水号", "类型", "状态", "持有企业", "停用"),
    ("serial", "type", "state", "owner", "hold"),
    ("类别", "流水号", "本系统", "海关"),
    ("class", "serials", "here", "customs"),
    ("证书号", "类型", "审核日期", "状态", "空白证单"),
    ("certificate", "type", "approved", "state", "forms"),
)
"""Headers that together show the register or a list that we wrote: such a sheet is no order."""

SERIAL_HEADER: Final = re.compile("流水|印刷号|证单|空白证|号段|核销|作废|报废")
"""A header that speaks of serials or actions."""
COUNT_HEADER: Final = re.compile("[页份张]")

_OURS: Final[set[str]] = set()
_UNUSED: Final[set[str]] = set()
_DECORATION: Final = re.compile(r"[\s*:]|\([^)]*\)$")
_BRACKET: Final = re.compile(r"\(([^)]*)\)\s*$")
_NUMBERED: Final = re.compile(r"(.*?)(?:[#_-]?[1-9][0-9]?|续[1-9]?)")
_CONTINUED: Final = re.compile(r"续|[1-9][0-9]?|[一二三四五六七八九]")


@lru_cache(maxsize=4096)
def header_key(text: str) -> str:
    """A header cell as compared: width, case, blanks, stars and a closing remark do not matter."""
    return _DECORATION.sub("", clean(text)).casefold()


def header_bracket(text: str) -> str:
    """The closing remark of a header cell, which `header_key` leaves out."""
    found = _BRACKET.search(clean(text))
    return found[1] if found else ""


_OUR_LISTS: Final = tuple(frozenset(map(header_key, listed)) for listed in OUR_LISTS)
_OURS.update(map(header_key, OURS))
_UNUSED.update(map(header_key, NO_ACCOUNT))


CAME_BACK: Final = frozenset(map(header_key, (RESULT_WORD, "预检结果", "check result")))
"""A sheet with one of these columns is one that we wrote, or that a person made of it."""


def is_ours(header: str) -> bool:
    """Whether we write a column of that name."""
    return header_key(header) in _OURS


def ours_in(header: Sequence[str]) -> frozenset[int]:
    """The columns of a sheet that came back from us which are ours, zero-based; none of any other sheet."""
    if not any(header_key(h) in CAME_BACK for h in header):
        return frozenset()
    return frozenset(i for i, h in enumerate(header) if is_ours(h))


def is_no_account(header: str) -> bool:
    """Whether the table names the header as one that says nothing about forms."""
    return header_key(header) in _UNUSED


def find_columns(
    kind: SheetKind, cells: Sequence[object], answered: Mapping[str, str] | None = None
) -> dict[str, list[int]] | None:
    """Which columns hold which field, if this row is the header row of such a sheet.

    One column each, but for serials under numbered headers (流水号, 流水号2, 流水号(续)). `answered`: fields
    that persons gave header keys; "" for a column that is not to be used. Raises `RepeatedColumn`.
    """
    columns: dict[str, list[int]] = {}
    repeated: list[int] = []
    keys: set[str] = set()
    for index, cell in enumerate(cells):
        if not isinstance(cell, str) or not cell:
            continue
        key = header_key(cell)
        keys.add(key)
        if answered and key in answered:
            field: str | None = answered[key] or None
        else:
            field = kind.by_word.get(key) or _numbered(kind, key)
        if field is None:
            continue
        if field in columns and field not in MAY_REPEAT:
            if field == "serial" and _goes_on(cell, key, [str(cells[i]) for i in columns[field]]):
                columns[field].append(index)
            else:
                repeated.append(index)
        columns.setdefault(field, [index])
    if kind is ORDERS and any(listed <= keys for listed in _OUR_LISTS):
        return None
    complete = all(any(field in columns for field in group) for group in kind.required)
    if not complete:
        return None
    if repeated:
        raise RepeatedColumn([str(cells[i]) for i in repeated])
    if "last_serial" in columns and "first_serial" not in columns and "serial" in columns:
        columns["first_serial"] = columns.pop("serial")  # 流水号 | 至
    return columns


def _numbered(kind: SheetKind, key: str) -> str | None:
    match = _NUMBERED.fullmatch(key)
    field = kind.by_word.get(match[1]) if match else None
    return field if field == "serial" else None


def _goes_on(cell: str, key: str, before: Sequence[str]) -> bool:
    """Whether the header only numbers on an earlier one: not the same word again, nor another word."""
    base = _NUMBERED.fullmatch(key)
    marked = bool(_CONTINUED.fullmatch(header_bracket(cell))) or base is not None
    bases = {(m[1] if (m := _NUMBERED.fullmatch(header_key(b))) else header_key(b)) for b in before}
    return marked and (base[1] if base else key) in bases


_SUB_FIRST: Final = {header_key(w) for w in (*_FIRST_WORDS, "始", "起始", "开始")}
_SUB_LAST: Final = {header_key(w) for w in (*_LAST_WORDS, "截止", "终止", "结束", "末")}


def two_level(
    columns: Mapping[str, Sequence[int]], below: Sequence[object]
) -> tuple[int, int] | None:
    """Columns of 起 and 止 in the row below a header of serials, if that row is a second header row."""
    if "serial" not in columns:
        return None
    own = {i: header_key(c) for i, c in enumerate(below) if isinstance(c, str) and c.strip()}
    others = [c for i, c in enumerate(below) if c not in (None, "") and i not in own]
    start = columns["serial"][0]
    first = [i for i, key in own.items() if key in _SUB_FIRST]
    last = [i for i, key in own.items() if key in _SUB_LAST]
    if others or len(own) != 2 or first != [start] or last != [start + 1]:  # noqa: PLR2004
        return None
    return first[0], last[0]
