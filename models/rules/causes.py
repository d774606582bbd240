"""Why something happened, was noted or came back: words of ours that are kept in the tables. Pure.

Their values stand in rows and, those of causes, in the hash of the history: they are never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from models.rules.language import Text, t


class Cause(StrEnum):
    """Why an event of a form was written."""

    ISSUED_BY_SHEET = "issue:sheet"
    ISSUED_BY_CUSTOMS = "issue:customs"
    RESERVE = "reserve"
    PLAN_MOVED = "plan_moved"
    """Free again: it was reserved for a plan which could not be kept."""
    SEND = "send"
    RECEIPT = "receipt"
    RECEIPT_HOLDS = "receipt_holds"
    """Refused because of the form, which is on hold from then on."""
    CANCEL = "cancel"
    RESERVATION_EXPIRED = "reservation_expired"
    REFUSED_WHOLE = "refused_whole"
    NOT_TAKEN = "not_taken"
    NOT_FOUND = "not_found"
    CERTIFICATE_CHANGED = "certificate_changed"
    ADOPTED = "adopted"
    CUSTOMS_CONTRADICTS = "customs_contradicts"
    OUTSIDE = "outside"
    HOLD = "hold"
    RELEASE = "release"
    LOST = "lost"
    CONTRADICTION = "contradiction"
    UNKNOWN_AT_CUSTOMS = "unknown_at_customs"


CAUSE_WORDS: Final[Mapping[str, Text]] = {
    Cause.ISSUED_BY_SHEET: Text("登记领用", "issued (sheet)"),
    Cause.ISSUED_BY_CUSTOMS: Text("海关清单", "issued (customs)"),
    Cause.RESERVE: Text("预占", "reserved"),
    Cause.PLAN_MOVED: Text("库存已变，预占撤回", "the plan has moved: given back"),
    Cause.SEND: Text("提交", "submitted"),
    Cause.RECEIPT: Text("回执", "receipt"),
    Cause.RECEIPT_HOLDS: Text("回执，停用", "receipt, held"),
    Cause.CANCEL: Text("取消", "cancelled"),
    Cause.RESERVATION_EXPIRED: Text("预占过期", "reservation expired"),
    Cause.REFUSED_WHOLE: Text("整份退回", "refused whole"),
    Cause.NOT_TAKEN: Text("确未送达", "not taken"),
    Cause.NOT_FOUND: Text("海关无此报文", "not found at customs"),
    Cause.CERTIFICATE_CHANGED: Text("证书已变，未提交", "certificate changed, not sent"),
    Cause.ADOPTED: Text("按海关清单采纳", "adopted from customs' list"),
    Cause.CUSTOMS_CONTRADICTS: Text("海关回执矛盾，停用", "customs contradicts itself, held"),
    Cause.OUTSIDE: Text("系统外办理，对账采纳", "done outside us, adopted"),
    Cause.HOLD: Text("停用", "held"),
    Cause.RELEASE: Text("解除停用", "released"),
    Cause.LOST: Text("报失", "reported lost"),
    Cause.CONTRADICTION: Text("互相矛盾，两人停用", "contradiction, held by two"),
    Cause.UNKNOWN_AT_CUSTOMS: Text("海关无此证单，停用", "unknown at customs, held"),
}


def cause_text(cause: str) -> str:
    """A cause in the language of the moment; one that this program does not know as it is."""
    return str(CAUSE_WORDS.get(cause, cause))


class OwnCode(StrEnum):
    """What an item says of its end where no receipt did; beside customs' own codes (`Item.rep_code`)."""

    EXPIRED = "expired"
    """Given back: its reservation had expired."""
    CHANGED = "changed"
    """Given back: its certificate was revoked, or given to others, before the message left."""
    CANCEL = "cancel"
    """Given back: a person took it back."""
    ADOPTED = "adopted"
    """Decided: customs' list has it so."""


GIVEN_BACK: Final[Mapping[Cause, OwnCode]] = {
    Cause.CANCEL: OwnCode.CANCEL,
    Cause.RESERVATION_EXPIRED: OwnCode.EXPIRED,
    Cause.CERTIFICATE_CHANGED: OwnCode.CHANGED,
}
"""What the items say whose forms were given back for a cause."""

PROBLEM_OF: Final[Mapping[str, str]] = {
    OwnCode.EXPIRED: "reservation_expired",
    OwnCode.CHANGED: "certificate_changed",
    OwnCode.CANCEL: "cancelled",
}
"""The problem of a row whose serials were given back (`models.rules.problems`)."""


class AttemptOutcome(StrEnum):
    """How an attempt to send or to ask ended."""

    TAKEN = "taken"
    REFUSED = "refused"
    NOT_TAKEN = "not_taken"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    IN_DOUBT = "in_doubt"


UNANSWERED: Final = frozenset(
    {AttemptOutcome.IN_DOUBT, AttemptOutcome.NOT_TAKEN, AttemptOutcome.CONFLICT}
)
"""Ends that are customs' or the line's failure, not an answer."""


class DiscrepancyKind(StrEnum):
    """What a person must look at. Besides these: what a code of customs raises (`of_customs`)."""

    CALLBACK = "callback"
    CONTRADICTION = "contradiction"
    CUSTOMS_LIST = "customs_list"
    RECEIPT = "receipt"
    SENT_BEFORE_RESTORE = "sent_before_restore"
    UNACCOUNTED = "unaccounted"


DISCREPANCY_WORDS: Final[Mapping[str, Text]] = {
    DiscrepancyKind.CALLBACK: Text("同一回调号内容不同", "one callback id, two bodies"),
    DiscrepancyKind.CONTRADICTION: Text("海关回执前后矛盾", "customs contradicts itself"),
    DiscrepancyKind.CUSTOMS_LIST: Text("海关清单有误", "customs' list is wrong"),
    DiscrepancyKind.RECEIPT: Text("回执未能处理", "receipt not applied"),
    DiscrepancyKind.SENT_BEFORE_RESTORE: Text("恢复前已发送", "sent before the restore"),
    DiscrepancyKind.UNACCOUNTED: Text("去向不明", "unaccounted for"),
}

HELD_BEFORE_0008: Final = frozenset({"2101", "2102", "2103", "2105", "2107"})
"""How the reason of an event begins that held its form when `RECEIPT_HOLDS` was not yet a cause of its own."""

OF_CUSTOMS: Final = "customs_"
"""Kinds of what a code of customs raises begin so; a later decision closes them."""


def of_customs(code: str) -> str:
    """The kind of what this code of customs raises."""
    return OF_CUSTOMS + code


def kind_text(kind: str) -> str:
    """The kind of a discrepancy in the language of the moment; customs' codes as they are."""
    if kind in DISCREPANCY_WORDS:
        return str(DISCREPANCY_WORDS[kind])
    if kind.startswith(OF_CUSTOMS):
        code = kind.removeprefix(OF_CUSTOMS)
        return t(f"海关代码 {code}", f"customs code {code}")
    return kind
