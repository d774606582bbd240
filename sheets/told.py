"""How an order was read, in people's words: what was assumed, and what of the file was not used. Pure.

Every face says it of a plan before it is submitted (DESIGN.md section 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from models.rules.language import t
from sheets.headers import ORDERS
from sheets.questions import row_list

CORRECTED_SHOWN: Final = 10


def how_read(reading: Mapping[str, Any], *, asked: bool) -> Iterator[str]:
    """Sentences about `Batch.reading`; `asked`: a person has still to say what is meant."""
    if "chosen" in reading:
        yield from _chosen(reading)
    if "columns" not in reading:
        return
    assumed = reading["assumed"]
    if assumed and not asked:
        yield t(
            f"没有操作列: {assumed['rows']} 行按核销办理",
            f"no action column: {assumed['rows']} rows are taken as verify",
        )
    yield from _columns(reading)
    others = [o["sheet"] for o in reading["other_sheets"]]
    if others:
        yield t(f"没有读取的工作表: {', '.join(others)}", f"sheets not read: {', '.join(others)}")
    hidden, struck = reading["hidden_rows"], reading["struck_rows"]
    for change in reading.get("corrected", ())[:CORRECTED_SHOWN]:
        said = f"{change['cell']} {change['was']} → {change['now']}"
        yield t(f"按建议更正: {said}", f"corrected as suggested: {said}")
    if len(reading.get("corrected", ())) > CORRECTED_SHOWN:
        count = len(reading["corrected"])
        yield t(f"按建议更正共 {count} 格", f"{count} cells corrected in all")
    if hidden:
        yield t(
            f"没有办理的隐藏行: {row_list(hidden)}", f"hidden rows left out: {row_list(hidden)}"
        )
    if struck:
        yield t(
            f"没有办理的删除线行: {row_list(struck)}", f"struck rows left out: {row_list(struck)}"
        )


def _chosen(reading: Mapping[str, Any]) -> Iterator[str]:
    chosen, complete = reading["chosen"], reading["complete"]
    yield t(f"所选证书 {chosen} 份", f"{chosen} certificates were chosen")
    if complete:
        yield t(
            f"其中已足页的 {complete} 份没有列入",
            f"{complete} of them have all their forms and are left out",
        )


def _columns(reading: Mapping[str, Any]) -> Iterator[str]:
    answered = [c for c in reading["columns"] if c["by"] == "answer" and c["meaning"]]
    if answered:
        words = ", ".join(f"{c['header']}={ORDERS.words[c['meaning']][0]}" for c in answered)
        codes = ", ".join(f"{c['header']}={c['meaning']}" for c in answered)
        yield (
            t(f"按记住的列含义: {words}", f"columns, as remembered: {codes}")
            if reading["remembered"]
            else t(f"列含义: {words}", f"columns: {codes}")
        )
    unused = [c["header"] for c in reading["columns"] if not c["meaning"]]
    if unused:
        yield t(f"没有使用的列: {', '.join(unused)}", f"columns not used: {', '.join(unused)}")
