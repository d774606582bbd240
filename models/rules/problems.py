"""What can be wrong with a row: stable codes, and what a person is told. Pure: standard library alone.

A problem is stored language-neutral (code, field, parameters) and rendered when it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as default_of
from typing import Any, Final

from models.rules.language import Text
from models.rules.states import FormState, StockSource, text_of

PROBLEM_TEXTS: Final[dict[str, Text]] = {
    "certificate_unknown": Text(
        "证书 {certificate} 不在已导入的证书中，请先导入或同步证书",
        "certificate {certificate} is not known here; import or sync certificates first",
    ),
    "certificate_malformed": Text(
        "“{value}”不是证书号(类型字母+2位年份+9位组织机构代码+4位流水)",
        '"{value}" is no certificate number (type letters, year, organisation code, 4 digits)',
    ),
    "certificate_missing": Text("缺少证书号", "the certificate number is missing"),
    "pages_done_before": Text(
        "该行先前已取得流水号 {serials}；请把页数改为仍需的张数，并清空“结果流水号”",
        "the row got serials {serials} before; set the pages still wanted, clear the result serials",
    ),
    "certificate_old_style": Text(
        "“{value}”是旧式证书号，空白证单只能用于新式证书号",
        '"{value}" is an old-style certificate number; forms go with new-style numbers only',
    ),
    "certificate_check_character": Text(
        "证书号“{value}”中组织机构代码的校验位不对，请核对",
        'the organisation code in certificate number "{value}" has a wrong check character',
    ),
    "certificate_not_approved": Text(
        "证书 {certificate} 未审核通过，不能使用空白证单",
        "certificate {certificate} is not approved; it cannot use forms",
    ),
    "serial_unknown": Text(
        "流水号 {serials} 不在库存中，请核对或先登记领用",
        "serial {serials} is not in stock; check it or import the issued range first",
    ),
    "serial_not_available": Text(
        "流水号 {serials} 不可用(当前状态: {state})",
        "serial {serials} is not available (now: {state})",
    ),
    "serial_not_available_of": Text(
        "流水号 {serials} 不可用: {since} 起为“{state}”，证书 {certificate}",
        "serial {serials} is not available: {state} since {since}, for certificate {certificate}",
    ),
    "serial_malformed": Text("“{value}”不是流水号", '"{value}" is no serial'),
    "serial_digits_lost": Text(
        "“{value}”已被电子表格改写，位数已丢失；请把该列设为文本后重新填写",
        '"{value}" was rewritten by the spreadsheet program and lost digits; format as text, retype',
    ),
    "serial_leading_zero": Text(
        "“{value}”位数不足，可能丢失了开头的零",
        '"{value}" is too short; it may have lost a leading zero',
    ),
    "serial_shortened": Text(
        "“{value}”位数太少，不是流水号；若是公式或自定义格式的结果，请改为文本后重新填写完整的流水号",
        '"{value}" is too short for a serial; if a formula or a number format made it, write the whole '
        "serial as text",
    ),
    "serial_ambiguous": Text(
        "“{value}”可能是流水号的尾数，也可能是张数；请写全流水号，或写成 起号-止号",
        '"{value}" may be the end of a serial or a count; write the serials whole, or first-last',
    ),
    "serial_outside_columns": Text(
        "单元格 {cell} 不在任何有标题的列中，却写着库存中的流水号“{value}”；请移到流水号列或删除",
        'cell {cell} is under no header and holds the serial "{value}"; move it to the serials or delete it',
    ),
    "action_outside_columns": Text(
        "单元格 {cell} 不在任何有标题的列中，却写着“{value}”；请移到操作列或删除",
        'cell {cell} is under no header and says "{value}"; move it to the action column or delete it',
    ),
    "struck_text": Text(
        "单元格 {cell} 有一部分加了删除线；请只留下要办理的内容",
        "part of cell {cell} is struck out; leave only what is meant",
    ),
    "range_incomplete": Text(
        "“{value}”不是完整的号段，请写明起号和止号",
        '"{value}" is no whole range; write first and last',
    ),
    "count_merged": Text(
        "页数是合并单元格，却跨了不同的证书；请为每个证书单独填写页数",
        "the page count is one merged cell over several certificates; write it for each",
    ),
    "header_changed": Text(
        "该行之前出现了另一种表头，列的含义可能不同；请分成两个表",
        "a different header row stands above this row; make two sheets of it",
    ),
    "action_twice": Text(
        "核销与作废都打了勾，请只留一个", "both verify and void are ticked; leave one"
    ),
    "question_open": Text(
        "该行要等表的问题回答后才能办理({question})",
        "this row waits for the answer to a question about the sheet ({question})",
    ),
    "pages_exceeded": Text(
        "证书 {certificate} 共 {pages} 页，已用 {had} 张，再核销 {wanted} 张将超出",
        "certificate {certificate} has {pages} pages and {had} forms already; {wanted} more are too many",
    ),
    "duplicate_order": Text(
        "证书 {certificate} 同样的核销已在第 {row} 行；确需再核销须说明原因",
        "certificate {certificate} is ordered the same way in row {row}; to order it again say why",
    ),
    "duplicate_order_elsewhere": Text(
        "证书 {certificate} 同样的核销已在批次 {batch} 第 {row} 行办理中；确需再核销须说明原因",
        "certificate {certificate} is under way the same way in batch {batch}, row {row}; "
        "to order it again say why",
    ),
    "range_reversed": Text("号段“{value}”首尾颠倒", 'range "{value}" is reversed'),
    "range_too_long": Text(
        "号段“{value}”超过 {limit} 张，疑为笔误",
        'range "{value}" is longer than {limit} forms, probably a typing error',
    ),
    "page_count_invalid": Text(
        "“{value}”不是有效的页数(1-{limit} 的整数)；作废须写明流水号",
        '"{value}" is no valid page count (1 to {limit}); a void must name its serials',
    ),
    "serials_and_pages": Text(
        "同一行的流水号、起止号与页数不一致(流水号 {named} 张, 页数 {pages})",
        "serials, first/last and page count of the row disagree ({named} named, {pages} pages)",
    ),
    "nothing_to_do": Text(
        "该行既无流水号也无页数，或页数已满足", "the row names no serials and no pages are wanted"
    ),
    "action_unknown": Text(
        "不认识的操作“{value}”，请填写 核销 或 作废",
        'unknown action "{value}"; write 核销 (verify) or 作废 (void)',
    ),
    "action_ambiguous": Text(
        "“{value}”可能是历史记录而非操作；若要提交请填写 核销 或 作废",
        '"{value}" may be history rather than an order; write 核销 (verify) or 作废 (void)',
    ),
    "duplicate_in_file": Text(
        "流水号 {serials} 已出现在第 {row} 行", "serial {serials} is already in row {row}"
    ),
    "stock_short": Text(
        "库存不足: 需要 {wanted} 张，可用 {available} 张",
        "stock too short: {wanted} forms wanted, {available} available",
    ),
    "stock_source_not_allowed": Text(
        "证书 {certificate} 不能使用“{source}”的库存",
        'certificate {certificate} cannot use the stock of "{source}"',
    ),
    "stock_source_unknown": Text(
        "不认识的库存来源“{source}”；可填 出口商、代录入企业",
        'unknown stock source "{source}"; use 出口商 (exporter) or 代录入企业 (agent)',
    ),
    "stock_of_another": Text(
        "流水号 {serials} 属于 {owner} 的库存，不能用于本行",
        "serial {serials} is in the stock of {owner}; the row cannot use it",
    ),
    "type_mismatch": Text(
        "流水号 {serials} 的证单类型为 {form_type}，证书类型为 {certificate_type}",
        "serial {serials} is of form type {form_type}, the certificate of {certificate_type}",
    ),
    "reason_missing": Text("作废必须填写原因", "a void needs a reason"),
    "reason_text_missing": Text(
        "作废原因选“其他”的，须写明说明", "the reason “other” needs a text"
    ),
    "reason_unknown": Text(
        "不认识的作废原因“{value}”；可填 打印错误、污损、证书更改或重发、遗失、其他:说明",
        'unknown void reason "{value}"; use 01 misprint, 02 soiled, 03 changed, 04 lost, 09: text',
    ),
    "cell_error": Text("单元格 {cell} 是错误值 {value}", "cell {cell} holds the error {value}"),
    "formula_without_value": Text(
        "单元格 {cell} 的公式没有计算结果，请用表格程序重新保存或改为数值",
        "the formula in cell {cell} has no result; save it again or write the value",
    ),
    # of the sheets that bring stock and certificates in
    "enterprise_code_invalid": Text(
        "“{value}”不是统一社会信用代码(18 位)",
        '"{value}" is no unified social credit code (18 characters)',
    ),
    "form_type_invalid": Text(
        "“{value}”不是证单类型(1-2 个字母)", '"{value}" is no form type (1 or 2 letters)'
    ),
    "ranges_in_one_row": Text(
        "“{value}”不是一个连续号段，请每行填写一个号段",
        '"{value}" is not one unbroken range; write each range in a row of its own',
    ),
    "count_disagrees": Text(
        "份数 {said} 与号段不符(号段为 {count} 份)",
        "the count {said} disagrees with the range, which has {count} forms",
    ),
    "stock_of_another_known": Text(
        "流水号 {serials} 中有 {count} 张已登记在 {owner} 名下",
        "{count} of the serials {serials} are in the stock of {owner} already",
    ),
    "cell_unreadable": Text(
        "单元格是错误值或没有结果的公式({value})",
        "the cell holds an error or a formula without result ({value})",
    ),
    "certificate_twice": Text(
        "证书 {value} 在表中出现两次，内容不同",
        "certificate {value} is there twice, with other data",
    ),
    "date_invalid": Text(
        "“{value}”不是日期，请写成 2022-04-01", '"{value}" is no date; write it as 2022-04-01'
    ),
    "pages_invalid": Text(
        "“{value}”不是有效的页数(1-{limit} 的整数，可不填)",
        '"{value}" is no valid page count (1 to {limit}, or blank)',
    ),
    "status_unknown": Text(
        "不认识的状态“{value}”；可填 审核通过、待审核、撤销",
        'unknown status "{value}"; use approved, pending or revoked',
    ),
    # what customs, a cancel or a time-out said of a row afterwards
    "refused_by_customs": Text("海关退回: {code} {text}", "refused by customs: {code} {text}"),
    "cancelled": Text("已取消，未提交海关", "cancelled, never submitted"),
    "certificate_changed": Text(
        "证书在提交前被撤销或变更了企业，未提交海关；请核对证书后重新提交",
        "the certificate was revoked, or given to other enterprises, before it was sent; look at it, then submit again",
    ),
    "reservation_expired": Text(
        "预占过期，未提交海关；仍需办理请重新提交",
        "the reservation expired before it was sent to customs; submit the row again",
    ),
}

CODES_OF_VARIANTS: Final = {
    "certificate_old_style": "certificate_malformed",
    "certificate_missing": "certificate_malformed",
    "pages_done_before": "page_count_invalid",
    "stock_source_unknown": "stock_source_not_allowed",
    "serial_shortened": "serial_leading_zero",
    "range_incomplete": "serial_malformed",
    "duplicate_order_elsewhere": "duplicate_order",
    "action_twice": "action_ambiguous",
    "reason_text_missing": "reason_missing",
    "serial_not_available_of": "serial_not_available",
}
"""Texts that say a code more precisely; the stable code is the one on the right."""


KINDS: Final[dict[str, Text]] = {
    "certificate": Text("证书", "certificate"),
    "serial": Text("流水号", "serial"),
    "range": Text("号段", "range"),
    "page": Text("页数", "pages"),
    "pages": Text("页数", "pages"),
    "serials": Text("流水号与页数", "serials and pages"),
    "nothing": Text("没有内容", "nothing to do"),
    "action": Text("操作", "action"),
    "duplicate": Text("重复", "duplicate"),
    "stock": Text("库存", "stock"),
    "type": Text("证单类型", "form type"),
    "reason": Text("作废原因", "void reason"),
    "cell": Text("单元格", "cell"),
    "formula": Text("单元格", "cell"),
    "struck": Text("单元格", "cell"),
    "count": Text("页数", "pages"),
    "header": Text("表头", "header"),
    "question": Text("待回答", "question"),
    "refused": Text("海关退回", "refused by customs"),
    "cancelled": Text("已取消", "cancelled"),
    "reservation": Text("预占过期", "reservation expired"),
}
"""What a problem is about, by the first word of its code: for people who do not read codes."""

_WORDS: Final[dict[tuple[str, Any], Text]] = {
    **{("state", state.value): text_of(state) for state in FormState},
    **{("source", source.value): text_of(source) for source in StockSource},
}
"""Values that are kept as codes and said in the language of the moment."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one row, with the cell that it is in."""

    text_key: str
    field: str = ""
    column: str = ""
    cell: str = ""
    suggestion: str = ""
    values: Mapping[str, Any] = default_of(default_factory=dict)

    @property
    def code(self) -> str:
        """The stable, language-neutral code."""
        return CODES_OF_VARIANTS.get(self.text_key, self.text_key)

    @property
    def kind(self) -> str:
        """What it is about, in the current language."""
        return str(KINDS[self.code.partition("_")[0]])

    @property
    def message(self) -> str:
        """What happened, in the current language."""
        values = {k: _WORDS.get((k, v), v) for k, v in self.values.items()}
        return PROBLEM_TEXTS[self.text_key].fill(**{"cell": self.cell, **values})

    def stored(self) -> dict[str, Any]:
        """As kept in the database: no text, no language."""
        return {
            "key": self.text_key,
            "field": self.field,
            "column": self.column,
            "cell": self.cell,
            "suggestion": self.suggestion,
            "values": dict(self.values),
        }

    def shown(self) -> dict[str, str]:
        """As given to programs by `--json`."""
        return {
            "code": self.code,
            "column": self.column,
            "cell": self.cell,
            "message": self.message,
            "suggestion": self.suggestion,
        }


def load_problem(stored: Mapping[str, Any]) -> Problem:
    """A problem as `Problem.stored` kept it."""
    return Problem(
        stored["key"],
        stored["field"],
        stored["column"],
        stored["cell"],
        stored["suggestion"],
        stored["values"],
    )


def column_letters(index: int) -> str:
    """0 -> A, 25 -> Z, 26 -> AA."""
    letters = ""
    number = index + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
