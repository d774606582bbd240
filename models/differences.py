"""What two books may say differently of a form, and what is done by default. Pure.

Ours is a state of `FormState`; customs' is a FormState code of contract section 3. What is under way
as it should be (submitted here, still issued there) is no difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from models.language import Text
from models.states import FINAL_FORM_STATES, FormState

ISSUED_THERE: Final = "1"
VERIFIED_THERE: Final = "2"
VOIDED_THERE: Final = "3"
NOT_ISSUED_THERE: Final = "0"

_FINAL_THERE: Final = {VERIFIED_THERE: FormState.VERIFIED, VOIDED_THERE: FormState.VOIDED}
_WANTED_THERE: Final = {
    FormState.VERIFY_SUBMITTED: VERIFIED_THERE,
    FormState.VERIFIED: VERIFIED_THERE,
    FormState.VOID_SUBMITTED: VOIDED_THERE,
    FormState.VOIDED: VOIDED_THERE,
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
) -> DifferenceClass | None:
    """The class of what the two books say of one form; None when they agree.

    `state` None: we do not know the form; `there` None: customs does not list it. A form that we never
    had and that is final at customs is their past, not our difference. A state that the contract does
    not know is a contradiction, never an agreement.
    """
    if state is None:
        return DifferenceClass.NEW_STOCK if there == ISSUED_THERE else None
    if there is None or there == NOT_ISSUED_THERE:
        return DifferenceClass.UNKNOWN_AT_CUSTOMS
    if there not in {ISSUED_THERE, *_FINAL_THERE}:
        return DifferenceClass.CONTRADICTION
    wanted = _WANTED_THERE.get(state)
    if wanted is None:
        return None if there == ISSUED_THERE else DifferenceClass.OUTSIDE
    same = there == wanted and certificate_there in {None, certificate}
    if state in FINAL_FORM_STATES:
        return None if same else DifferenceClass.CONTRADICTION
    if there == ISSUED_THERE:
        return None
    return DifferenceClass.LAGGING if same else DifferenceClass.CONTRADICTION


def final_state(there: str | None) -> FormState:
    """Our word for a final state at customs. Raises KeyError for any other."""
    return _FINAL_THERE[there or ""]
