"""What a person must look at, until somebody has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.rules.language import Text, t
from models.tables.discrepancies import Discrepancy

_KINDS: Final = {
    "callback": Text("同一回调号内容不同", "one callback id, two bodies"),
    "contradiction": Text("海关回执前后矛盾", "customs contradicts itself"),
    "customs_list": Text("海关清单有误", "customs' list is wrong"),
    "receipt": Text("回执未能处理", "receipt not applied"),
    "sent_before_restore": Text("恢复前已发送", "sent before the restore"),
    "unaccounted": Text("去向不明", "unaccounted for"),
}
_OF_CUSTOMS: Final = "customs_"


def kind_text(kind: str) -> str:
    """The kind of a discrepancy in the language of the moment; customs' codes as they are."""
    if kind in _KINDS:
        return str(_KINDS[kind])
    if kind.startswith(_OF_CUSTOMS):
        code = kind.removeprefix(_OF_CUSTOMS)
        return t(f"海关代码 {code}", f"customs code {code}")
    return kind


def open_discrepancies(session: Session) -> Iterator[dict[str, Any]]:
    """Open ones, oldest first."""
    query = select(Discrepancy).where(Discrepancy.closed_at.is_(None)).order_by(Discrepancy.id)
    for d in session.scalars(query):
        yield {
            "number": d.id,
            "kind": d.kind,
            "serial": d.serial,
            "detail": d.detail,
            "raised_at": d.raised_at.isoformat(),
        }
