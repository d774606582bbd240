"""待办: the kinds of what waits for a person, what each means, and what mends it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final

from models.rules.language import Text

CARD_ENDS_SOON: Final = timedelta(days=30)
"""A new card takes weeks to come."""

DOUBT_SHOWN_AFTER: Final = timedelta(minutes=5)
"""What is in doubt for less than that is being asked about, and most of it settles by itself."""


class ToDo(StrEnum):
    """What kind of thing waits. Codes are stable."""

    IN_DOUBT = "in_doubt"
    PARKED = "parked"
    QUARANTINED = "quarantined"
    DISCREPANCY = "discrepancy"
    UNDELIVERED = "undelivered"
    LOW_STOCK = "low_stock"
    CARD_ENDS = "card_ends"


TO_DO_WORDS: Final[Mapping[ToDo, Text]] = {
    ToDo.IN_DOUBT: Text("提交存疑", "in doubt"),
    ToDo.PARKED: Text("待人工处理", "parked"),
    ToDo.QUARANTINED: Text("待认领回执", "receipt without a message"),
    ToDo.DISCREPANCY: Text("差异", "discrepancy"),
    ToDo.UNDELIVERED: Text("通知未送达", "notification undelivered"),
    ToDo.LOW_STOCK: Text("库存不足", "low stock"),
    ToDo.CARD_ENDS: Text("签名卡将到期", "card ends soon"),
}

TO_DO_MEANS: Final[Mapping[ToDo, Text]] = {
    ToDo.IN_DOUBT: Text(
        "海关没有答复这份报文。系统不会重复提交，会自动向海关查询；也可现在查询。",
        "customs has not answered for this message. Nothing is sent twice; it is asked about by itself, or now.",
    ),
    ToDo.PARKED: Text(
        "自动查询多次仍无明确答复，已停下等人。先现在查询；仍无答复请致电 029-95198 核实。",
        "asked about many times without a clear answer, and stopped for a person. Ask now; then call 029-95198.",
    ),
    ToDo.QUARANTINED: Text(
        "海关的回执与本系统的报文对不上，没有改动任何证单。核对后重新处理，或说明原因搁置。",
        "a receipt of customs fits no message of ours; no form was changed. Apply it again, or say why it is let be.",
    ),
    ToDo.DISCREPANCY: Text(
        "海关所说与本系统不一致。核实后说明处理结果并关闭。",
        "customs says otherwise than this system. Look into it, say what was found, and close it.",
    ),
    ToDo.UNDELIVERED: Text(
        "对方地址多次没有接收这条通知。排除后可重发。",
        "the address did not take this notification after many tries. Mend it, then send again.",
    ),
    ToDo.LOW_STOCK: Text("可用证单低于警戒线，请申领。", "fewer forms than the threshold: ask for more."),
    ToDo.CARD_ENDS: Text("请尽快办理新卡，到期后不能签名。", "get a new card; none is signed afterwards."),
}  # fmt: skip
