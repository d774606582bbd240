"""Words in the cells of order sheets: actions, reasons, sources, totals, and what stands for nothing.

Pure: standard library alone. Values are compared whole: a bracket is part of what was written.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, Final

from models.rules.numbers import clean
from models.rules.serials import MAX_SERIALS_PER_ROW
from models.rules.states import Action, StockSource

VERIFY_WORDS: Final = ("核销", "使用", "用", "正常", "√", "✓", "✔", "☑", "V", "1", "verify")
VOID_WORDS: Final = (
    *("作废", "废", "打废", "打坏", "损坏", "污损", "报废", "×", "✗", "✕", "X", "0", "void"),
)
HISTORY_WORDS: Final = ("已核销", "已作废")
TICK_MARKS: Final = ("√", "✓", "✔", "☑", "V", "1", "Y", "是", "yes", "●", "■")
NO_TICK_MARKS: Final = ("否", "no", "n", "0")
DONE_WORDS: Final = ("成功", "done", "处理中", "open")
"""Results of an earlier submission that leave nothing to do for a row that comes back."""

FILLERS: Final = frozenset(
    {"", "/", "\\", "-", "--", "—", "——", "无", "nan", "null", "none", "n/a", "空"}
)
"""What people and programs write into a cell that is to be blank; compared in lower case."""

TOTAL: Final = re.compile(
    r"(?:合计|小计|总计|汇总|共计|累计|sub\s?total|total|sum)(?:数|张数|页数|份数|金额|数量)?(?=$|[\s:,.\d(=])",
    re.IGNORECASE,
)
NOTE: Final = re.compile(
    r"(?:注|备注|说明|附注)\d*[:.]|注\d"
    r"|(?:填表|制表|制单|填报|经办|审核|复核|核对|批准|负责|报送|联系)(?:人|员|单位|日期)?(?=$|[\s:(])"
    r"|(?:制表|填表|打印|填报)日期|日期:|签字|盖章|以下空白|以下无正文|第\s*\d+\s*页|共\s*\d+\s*页|page\s*\d",
    re.IGNORECASE,
)
VOID_SPEECH: Final = re.compile("作废|报废|打废")
"""Speaks of voiding wherever it stands: title, sheet name, section title, a header's bracket."""
SECTION: Final = re.compile("作废|报废|打废|核销|使用情况")

_SOURCES: Final = {
    StockSource.EXPORTER: ("出口商", "自理", "企业自理", "exporter", "返填出口商流水号"),
    StockSource.AGENT: (
        *("代录入企业", "录入企业", "代理", "企业代理", "agent"),
        *("返填代录入企业流水号", "返填代入企业流水号"),
    ),
}
_REASONS: Final = {
    "01": ("01", "1", "打印错误", "打印失败", "卡纸"),
    "02": ("02", "2", "污损", "破损", "损坏"),
    "03": ("03", "3", "证书更改或重发", "更改", "重发", "证书更改", "证书修改", "换证"),
    "04": ("04", "4", "遗失", "丢失"),
    "09": ("09", "9", "其他"),
}
_CODE_AND_TEXT: Final = re.compile(r"(0?[12349])[\s:,]+(.+)", re.DOTALL)
_OTHER_AND_TEXT: Final = re.compile(r"(?:0?9|其他)(?:[\s:,]+\(?|\()(.+?)\)?", re.DOTALL)
_TAKEN_BACK: Final = re.compile("勿|不要|不用|取消|找到|撤销|暂缓|待定")
REASON_TEXT_LIMIT: Final = 150

_BLANKS: Final = re.compile(r"\s+")
_THOUSANDS: Final = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+")
_WHOLE: Final = re.compile(r"[0-9]{1,9}(?:\.0+)?")
_UNIT: Final = re.compile(r"\s*[张页份]$")
_CHINESE_DIGITS: Final = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_CHINESE_NUMBER: Final = re.compile("([一二三四五六七八九]?)十([一二三四五六七八九]?)")


@lru_cache(maxsize=4096)
def value_key(text: str) -> str:
    """A word in a cell as compared: width, case and blanks do not matter, everything else does."""
    return _BLANKS.sub("", clean(text)).casefold()


ACTION_OF: Final = {
    **{value_key(w): Action.VERIFY for w in VERIFY_WORDS},
    **{value_key(w): Action.VOID for w in VOID_WORDS},
}
HISTORY: Final = {value_key(w) for w in HISTORY_WORDS}
TICKS: Final = {value_key(w) for w in TICK_MARKS}
NO_TICKS: Final = {value_key(w) for w in NO_TICK_MARKS}
BARE_MARKS: Final = frozenset({"1", "0", "v", "x", "y", "是", "否"})
"""In a column that nobody knows these say nothing of an action."""

_SOURCE_OF: Final = {value_key(w): source for source, words in _SOURCES.items() for w in words}
_REASON_OF: Final = {value_key(w): code for code, words in _REASONS.items() for w in words}


def source_of(text: str) -> StockSource | None:
    """Whose stock a word means; the guide spells the same button 返填 and 反填."""
    return _SOURCE_OF.get(value_key(text).replace("反填", "返填"))


def parse_reason(text: str) -> tuple[str | None, str]:
    """A void reason as (code of the contract, what was said beside it): `04`, `其他:水渍`, `其他（水渍）`.

    Taken whole: `遗失(已找到，勿作废)` is no reason.
    """
    code = _REASON_OF.get(value_key(text))
    if code is not None:
        return code, ""
    if _TAKEN_BACK.search(text):
        return None, ""
    text = clean(text)
    other = _OTHER_AND_TEXT.fullmatch(text)
    if other is not None and text.count("(") == text.count(")"):
        return "09", other[1].strip()[:REASON_TEXT_LIMIT]
    both = _CODE_AND_TEXT.fullmatch(text)
    if both is None:
        return None, ""
    return _REASON_OF[both[1]], both[2].strip()[:REASON_TEXT_LIMIT]


def parse_count(cell: Any, limit: int) -> int | None:
    """A whole number from 1 to `limit`: digits, full width, `4.0`, `1,000`, 10份, Chinese up to 九十九."""
    if isinstance(cell, (bool, dict)) or cell is None:
        return None
    if isinstance(cell, (int, float)):
        number = int(cell) if math.isfinite(cell) and cell == int(cell) else 0
    else:
        text = _UNIT.sub("", clean(cell))
        if _THOUSANDS.fullmatch(text):
            text = text.replace(",", "")
        if _WHOLE.fullmatch(text) and text.isascii():
            number = int(text.split(".")[0])
        else:
            number = _chinese_number(text)
    return number if 0 < number <= limit else None


def parse_page_count(cell: Any) -> int | None:
    """A page count: from 1 to the limit of a row."""
    return parse_count(cell, MAX_SERIALS_PER_ROW)


def _chinese_number(text: str) -> int:
    if text in _CHINESE_DIGITS:
        return _CHINESE_DIGITS[text]
    match = _CHINESE_NUMBER.fullmatch(text)
    if match is None:
        return 0
    tens, ones = match.groups()
    return 10 * _CHINESE_DIGITS.get(tens, 1) + _CHINESE_DIGITS.get(ones, 0)


def is_filler(text: str) -> bool:
    """Whether the cell is meant to be blank."""
    if text in FILLERS:
        return True
    return len(text) <= 4 and clean(text).casefold() in FILLERS  # noqa: PLR2004 - the longest of them


def as_text(cell: Any) -> str:
    """A cell as a person sees it in the sheet."""
    if isinstance(cell, str):
        return cell.replace("\0", "") if "\0" in cell else cell  # no database keeps it in text
    if cell is None:
        return ""
    if isinstance(cell, dict):
        return str(cell.get("error") or cell.get("date") or "")
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    return str(cell)
