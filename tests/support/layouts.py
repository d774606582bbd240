"""Order sheets as offices write them, made at random, each with its own truth of what is meant.

The truth is written beside the sheet, by what was put into it, and knows nothing of how the product reads.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, field

import openpyxl
from openpyxl.styles import Font

STOCK = (("262000001", "262100000"),)
"""A hundred thousand serials."""

CERTIFICATE_HEADERS = ("证书号", "证书编号", "产地证号", "原产地证书号", "CO No.", "使用证书号")
SERIAL_HEADERS = (
    "流水号",
    "空白证单流水号",
    "印刷号",
    "印刷流水号",
    "使用流水号",
    "号段",
    "证单号",
)
ODD_SERIAL_HEADERS = ("新编号", "纸号", "证书流水号", "备查号", "钢印", "空白证单", "编码")
COUNT_HEADERS = ("页数", "份数", "核销页数", "张数", "用量")
ODD_COUNT_HEADERS = ("打印张", "总页数", "正本份")
ACTION_HEADERS = ("操作", "处理方式", "处理类型", "业务类型", "核销/作废")
ODD_ACTION_HEADERS = ("处理情况", "核销否", "办理", "去向")
REASON_HEADERS = ("作废原因", "原因")
PLAIN_HEADERS = (
    *(
        "序号",
        "合同号",
        "发票号",
        "金额",
        "单价",
        "品名",
        "规格",
        "客户",
        "数量",
        "重量",
        "日期",
        "电话",
    ),
    *(
        "箱号",
        "邮编",
        "统一社会信用代码",
        "HS编码",
        "报关单号",
        "目的港",
        "船名",
        "提单号",
        "毛重",
        "联系人",
    ),
    *("备注", "月份", "币种", "订单号", "快递单号", "业务员", "贸易方式", "地址"),
)
VERIFY_WORDS = ("核销", "使用", "√", "正常")
VOID_WORDS = ("作废", "废", "报废", "打废")
TITLES = ("6月用纸明细", "核销清单", "空白证单使用登记", "")
VOID_TITLES = ("6月作废清单", "报废空白证单", "作废登记表")


@dataclass
class Sheet:
    """A workbook and what its writer meant: by row number (action, serials, count)."""

    content: bytes
    meant: dict[int, tuple[str, tuple[str, ...], int | None]] = field(default_factory=dict)
    traps: list[str] = field(default_factory=list)


def plain_value(header: str, chance: random.Random, number: int) -> object:
    """What stands under a header of no account."""
    if header == "备注":
        return chance.choice((None, "加急", "已寄", "2026-11-26 打印", "见合同"))
    pool: dict[str, object] = {
        "序号": number,
        "金额": round(chance.uniform(1, 9e7), 2),
        "单价": round(chance.uniform(1, 500), 2),
        "数量": chance.randint(1, 90_000),
        "重量": chance.randint(1, 20_000),
        "毛重": round(chance.uniform(1, 20_000), 1),
        "日期": f"2026-{chance.randint(1, 12)}-{chance.randint(1, 28)}",
        "月份": chance.randint(1, 12),
        "电话": chance.choice(("13", "15", "18")) + f"{chance.randrange(10**9):09d}",
        "邮编": chance.randint(100_000, 859_999),
        "箱号": f"MSKU{chance.randrange(10**7):07d}",
        "统一社会信用代码": "91610000102690233L",
        "HS编码": chance.randint(10**7, 10**8 - 1),
        "报关单号": f"5301202600{chance.randrange(10**8):08d}",
        "合同号": f"HT-2026{chance.randint(1, 9999):04d}",
        "发票号": f"INV{chance.randint(1, 99999):05d}",
        "币种": chance.choice(("USD", "EUR", "CNY")),
        "提单号": f"COSU{chance.randrange(10**9):09d}",
        "快递单号": f"SF{chance.randrange(10**12):012d}",
        "订单号": f"PO{chance.randint(1, 10**6)}",
    }
    return pool.get(
        header, chance.choice(("苹果汁", "西安", "张三", "SHANGHAI", "A-12", None, "轴承"))
    )


def decorated(header: str, chance: random.Random) -> str:
    """The same header as people decorate it."""
    return chance.choice(
        (header, header, f"{header}*", f"{header}（必填）", f" {header} ", f"{header}:")
    )


def written(serials: list[str], chance: random.Random) -> object:
    """Consecutive serials as a person writes them."""
    first, last = serials[0], serials[-1]
    if len(serials) == 1:
        return chance.choice((first, int(first), f" {first}", f"\u200e{first}"))
    return chance.choice(
        (
            f"{first}-{last}", f"{first}～{last}", f"{first}——{last}", f"{first}至{last}",
            f"{first}+{len(serials)}", "、".join(serials), f"{first}-{last[-3:]}",
        )
    )  # fmt: skip


def certificate(number: int) -> str:
    return f"B26102690233{number:04d}"


class Maker:
    """One sheet after the other from one seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def ordinary(self) -> Sheet:
        """A sheet with nothing to ask about: known headers, ten columns of no account."""
        return self._make(odd=False)

    def any(self) -> Sheet:
        """A sheet with anything that offices do."""
        return self._make(odd=True)

    def _make(self, *, odd: bool) -> Sheet:
        chance = self.chance
        book = openpyxl.Workbook()
        sheet = book.active
        made = Sheet(b"")
        trap = chance.choice((None, *TRAPS)) if odd else None
        columns = self._columns(trap, odd=odd)
        if trap == "void title":
            sheet.append([chance.choice(VOID_TITLES)])
        elif chance.random() < 0.3 and (title := chance.choice(TITLES)):
            sheet.append([title])
        sheet.append([header for _, header in columns])
        header_row = sheet.max_row
        self._rows(sheet, columns, header_row, made, trap)
        if chance.random() < 0.4:
            sheet.append(
                [chance.choice(("合计", "填表人：张三", "注：本表一式两份", "汇总", "小计"))]
            )
        if trap == "second sheet":
            other = book.create_sheet(chance.choice(("作废", "7月", "Sheet2")))
            other.append([header for _, header in columns])
            other.append([cell.value for cell in sheet[min(made.meant)]])
            if chance.random() < 0.3:
                other.sheet_state = "hidden"
        out = io.BytesIO()
        book.save(out)
        made.content = out.getvalue()
        if trap:
            made.traps.append(trap)
        return made

    def _columns(self, trap, *, odd):
        """Kind and header of each column."""
        chance = self.chance
        by_count = chance.random() < 0.3 or trap in {"odd serials", "merged count", "odd count"}
        has_action = chance.random() < 0.6 and trap not in {
            *("void title", "ticks", "odd action", "reasons", "void bracket", "sections"),
        }
        columns = [("certificate", decorated(chance.choice(CERTIFICATE_HEADERS), chance))]
        if trap == "odd count":
            columns.append(("count", chance.choice(ODD_COUNT_HEADERS)))
        elif by_count:
            columns.append(("count", decorated(chance.choice(COUNT_HEADERS), chance)))
        if trap == "odd serials":
            columns.append(("odd serial", chance.choice(ODD_SERIAL_HEADERS)))
        if not by_count or chance.random() < 0.2 or trap == "odd count":
            header = chance.choice(SERIAL_HEADERS)
            header = f"{header}（作废）" if trap == "void bracket" else decorated(header, chance)
            columns.append(("serial", header))
        if has_action:
            columns.append(("action", decorated(chance.choice(ACTION_HEADERS), chance)))
        if trap == "odd action":
            columns.append(("odd action", chance.choice(ODD_ACTION_HEADERS)))
        if trap == "ticks":
            columns += [("verify tick", "核销"), ("void tick", "作废")]
        if has_action or trap == "reasons":
            columns.append(("reason", chance.choice(REASON_HEADERS)))
        plain = chance.sample(PLAIN_HEADERS, 10 if not odd else chance.randint(0, 6))
        columns += [("plain", header) for header in plain]
        head, rest = columns[:1], columns[1:]
        chance.shuffle(rest)
        return head + rest if chance.random() < 0.7 else [*rest, *head]

    def _rows(self, sheet, columns, header_row, made, trap):
        chance = self.chance
        serial = chance.randint(262_000_001, 262_090_000)
        rows = chance.randint(1, 12)
        section = "verify"
        for number in range(1, rows + 1):
            if trap == "sections" and number == 1 + rows // 2:
                sheet.append([chance.choice(("二、作废", "以下作废", "作废部分"))])
                section = "void"
            if chance.random() < 0.04:
                sheet.append([header for _, header in columns])  # a page break
            many = chance.randint(1, 4)
            serials = [f"{serial + i:09d}" for i in range(many)]
            serial += many + chance.randint(0, 3)
            action = self._action(trap, section, columns)
            counted = "serial" not in dict(columns) or (
                "count" in dict(columns) and chance.random() < 0.5
            )
            if action == "void" or trap == "odd count":
                counted = False
            if "serial" not in dict(columns) and not counted:
                action, counted = "verify", trap != "odd count"
            cells = [
                self._cell(kind, header, number, action, serials, counted=counted, trap=trap)
                for kind, header in columns
            ]
            sheet.append(cells)
            row = sheet.max_row
            meant = (action, () if counted else tuple(serials), many if counted else None)
            if trap == "odd serials":
                meant = (action, tuple(serials), None)
            made.meant[row] = meant
            self._spoil(sheet, columns, row, made, trap, serials)

    def _action(self, trap, section, columns):
        kinds = dict(columns)
        if trap in {"void title", "void bracket"}:
            return "void"
        if trap == "sections":
            return section
        if trap == "reasons":
            return "void"
        if {"action", "odd action", "void tick"} & kinds.keys() and self.chance.random() < 0.3:
            return "void"
        return "verify"

    def _cell(self, kind, header, number, action, serials, *, counted, trap):
        chance = self.chance
        words = VOID_WORDS if action == "void" else VERIFY_WORDS
        match kind:
            case "certificate":
                return certificate(number)
            case "serial":
                return chance.choice((None, "/", "-")) if counted else written(serials, chance)
            case "odd serial":
                return written(serials, chance)
            case "count":
                many = len(serials)
                wanted = counted or trap in {"odd serials", "odd count"} or chance.random() < 0.5
                return chance.choice((many, f"{many}份", str(many))) if wanted else None
            case "action":
                if trap == "bracket" and chance.random() < 0.5:
                    return f"{words[0]}（{'改核销' if action == 'void' else '改作废'}）"
                return chance.choice(words)
            case "odd action":
                return words[0]
            case "verify tick":
                return "√" if action == "verify" else None
            case "void tick":
                return "√" if action == "void" else None
            case "reason":
                return (
                    chance.choice(("打印错误", "污损", "其他（水渍）"))
                    if action == "void"
                    else None
                )
        return plain_value(header, chance, number)

    def _spoil(self, sheet, columns, row, made, trap, serials):
        """Traps of single rows: what is hidden, struck or outside is not meant to be done as it stands."""
        chance = self.chance
        kinds = [kind for kind, _ in columns]
        if trap == "hidden" and chance.random() < 0.4:
            sheet.row_dimensions[row].hidden = True
            made.meant.pop(row)
        elif trap == "struck" and chance.random() < 0.4:
            for cell in sheet[row]:
                cell.font = Font(strike=True)
            made.meant.pop(row)
        elif trap == "outside" and "count" in kinds and chance.random() < 0.6:
            place = len(columns) + chance.randint(1, 3)
            sheet.cell(row, place).value = serials[0]
            made.meant[row] = (made.meant[row][0], tuple(serials), None)
        elif trap == "bracket" and "action" in kinds:
            text = str(sheet.cell(row, kinds.index("action") + 1).value)
            if "改" in text:
                made.meant.pop(row)
        elif trap == "merged count" and "count" in kinds and chance.random() < 0.5:
            self._merge_below(sheet, columns, row)

    def _merge_below(self, sheet, columns, row):
        """The certificate and its count merged over this row and two more lines of goods."""
        kinds = [kind for kind, _ in columns]
        for _ in range(2):
            sheet.append([None if k != "plain" else "另一种货物" for k in kinds])
        for kind in ("certificate", "count", "action"):
            if kind in kinds:
                column = kinds.index(kind) + 1
                sheet.merge_cells(
                    start_row=row, end_row=row + 2, start_column=column, end_column=column
                )


TRAPS = (
    *("odd serials", "odd count", "odd action", "ticks", "void title", "void bracket", "sections"),
    *("reasons", "hidden", "struck", "outside", "bracket", "merged count", "second sheet"),
)
