"""What two books may say differently of a form, and what is done by default. Pure.

Ours is a state of `FormState`; customs' is a `CustomsState`. What is under way as it should be (submitted
here, still issued there) is no difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from models.rules.language import Text
from models.rules.states import FINAL_FORM_STATES, FormState
from models.rules.verdicts import CustomsState

FINAL_THERE: Final[dict[str, FormState]] = {
    CustomsState.VERIFIED: FormState.VERIFIED,
    CustomsState.VOIDED: FormState.VOIDED,
}
_WANTED_THERE: Final = {
    FormState.VERIFY_SUBMITTED: CustomsState.VERIFIED,
    FormState.VERIFIED: CustomsState.VERIFIED,
    FormState.VOID_SUBMITTED: CustomsState.VOIDED,
    FormState.VOIDED: CustomsState.VOIDED,
}


class DifferenceClass(StrEnum):
    """Every difference is of exactly one class."""

    LAGGING = "lagging"
    OUTSIDE = "outside"
    CONTRADICTION = "contradiction"
    NEW_STOCK = "new_stock"
    UNKNOWN_AT_CUSTOMS = "unknown_at_customs"
    NO_ANSWER = "no_answer"
    RESERVATION_EXPIRED = "reservation_expired"
    UNMATCHED_RECEIPT = "unmatched_receipt"
    PRINTED_NOT_VERIFIED = "printed_not_verified"
    UNACCOUNTED = "unaccounted"
    MORE_THAN_PAGES = "more_than_pages"


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a class is called, what is done by default, and who must act."""

    name: Text
    action: Text
    actor: Text
    two_persons: bool = False


_OPERATOR: Final = Text("操作员", "operator")
_CUSTODIAN: Final = Text("证单保管员", "custodian")

TREATMENTS: Final[dict[DifferenceClass, Treatment]] = {
    DifferenceClass.LAGGING: Treatment(
        Text("回执滞后", "receipt lagging"),
        Text("取回执并处理；仍无则按海关清单采纳", "fetch the receipt and apply it; else adopt"),
        _OPERATOR,
    ),
    DifferenceClass.OUTSIDE: Treatment(
        Text("系统外办理", "done outside"),
        Text("按海关状态采纳，标记为系统外，保留证书号", "adopt, marked as outside us"),
        _OPERATOR,
    ),
    DifferenceClass.CONTRADICTION: Treatment(
        Text("互相矛盾", "contradiction"),
        Text("停用该证单，须两人", "hold the form; two persons"),
        Text("两人", "two persons"),
        two_persons=True,
    ),
    DifferenceClass.NEW_STOCK: Treatment(
        Text("新领用", "new stock"),
        Text("按号段登记入库", "adopt into stock as ranges"),
        _CUSTODIAN,
    ),
    DifferenceClass.UNKNOWN_AT_CUSTOMS: Treatment(
        Text("海关无此证单", "unknown at customs"),
        Text("停用并报警", "hold, alarm"),
        _CUSTODIAN,
    ),
    DifferenceClass.NO_ANSWER: Treatment(
        Text("逾期无回执", "no answer"),
        Text("查询海关；仍无则列为逾期", "ask, then list as overdue"),
        _OPERATOR,
    ),
    DifferenceClass.RESERVATION_EXPIRED: Treatment(
        Text("预占过期", "reservation expired"),
        Text("释放", "release"),
        _OPERATOR,
    ),
    DifferenceClass.UNMATCHED_RECEIPT: Treatment(
        Text("待认领回执", "unmatched receipt"),
        Text("重新匹配", "match again"),
        _OPERATOR,
    ),
    DifferenceClass.PRINTED_NOT_VERIFIED: Treatment(
        Text("已签证未核销", "printed, not verified"),
        Text("备好按页数核销的批次(已预检、未确认)", "prepare a page-count batch, not confirmed"),
        Text("制单员", "clerk"),
    ),
    DifferenceClass.MORE_THAN_PAGES: Treatment(
        Text("超出证书页数", "more forms than pages"),
        Text("由人核对，系统不作处理", "a person looks; nothing is done"),
        Text("制单员", "clerk"),
    ),
    DifferenceClass.UNACCOUNTED: Treatment(
        Text("去向不明", "unaccounted"),
        Text("列为保管员待办", "task for the custodian"),
        _CUSTODIAN,
    ),
}


def classify(
    state: FormState | None,
    certificate: str | None,
    there: str | None,
    certificate_there: str | None,
    *,
    lost: bool = False,
) -> DifferenceClass | None:
    """The class of what the two books say of one form; None when they agree.

    `state` None: we do not know the form; `there` None: customs does not list it. A form that we never
    had and that is final at customs is their past, not our difference. A form that we hold as lost and
    that somebody has used is a contradiction. A state that the contract does
    not know is a contradiction, never an agreement.
    """
    if state is None:
        return DifferenceClass.NEW_STOCK if there == CustomsState.ISSUED else None
    if there is None or there == CustomsState.NOT_ISSUED:
        return DifferenceClass.UNKNOWN_AT_CUSTOMS
    if there not in {CustomsState.ISSUED, *FINAL_THERE}:
        return DifferenceClass.CONTRADICTION
    wanted = _WANTED_THERE.get(state)
    if wanted is None and lost and there == CustomsState.VERIFIED:
        return DifferenceClass.CONTRADICTION
    if wanted is None:
        return None if there == CustomsState.ISSUED else DifferenceClass.OUTSIDE
    same = there == wanted and certificate_there in {None, certificate}
    if state in FINAL_FORM_STATES:
        return None if same else DifferenceClass.CONTRADICTION
    if there == CustomsState.ISSUED:
        return None
    return DifferenceClass.LAGGING if same else DifferenceClass.CONTRADICTION


def final_state(there: str | None) -> FormState:
    """Our word for a final state at customs. Raises KeyError for any other."""
    return FINAL_THERE[there or ""]


OUTCOMES: Final[dict[str, Text]] = {
    "": Text("", ""),
    "moved": Text("其间已变动", "moved meanwhile"),
    "held_by": Text("已停用({value})", "held ({value})"),
    "receipt": Text("已有回执", "a receipt came"),
    "adopted": Text("按海关清单采纳", "adopted from customs' list"),
    "not_as_sent": Text("海关所列与所报不一致", "not listed as sent"),
    "adopted_outside": Text("已采纳，标记为系统外", "adopted, outside us"),
    "reserved": Text("已被批次预占，以其回执为准", "reserved by a batch: its receipt will say"),
    "added": Text("入库 {value} 张", "{value} added"),
    "failed": Text("未成: {value}", "failed: {value}"),
    "held": Text("已停用 {value} 张", "{value} held"),
    "not_issued": Text("{value} 张不是已领用状态，须人工核对", "{value} not issued: for a person"),
    "due_again": Text("海关无此报文，将重新发送", "not at customs: due again"),
    "overdue": Text("已逾期，仍无回执", "overdue"),
    "released": Text("已释放(批次 {value})", "released (batch {value})"),
    "matched": Text("已匹配", "matched"),
    "no_match": Text("仍不匹配", "still fits nothing"),
    "prepared": Text("已备好批次 {value}", "batch {value} is prepared"),
    "task": Text("已列为保管员待办", "a task for the custodian"),
    "person": Text("须人工核对", "for a person to look at"),
    "away": Text("海关网关无法连接，稍后再试", "customs could not be reached, try again"),
}
"""What came of a repair: a code, kept with a value (`added:10`), and its words."""


def outcome_text(stored: str) -> str:
    """A stored outcome in the current language."""
    code, _, value = stored.partition(":")
    return OUTCOMES[code].fill(value=value) if code in OUTCOMES else stored
