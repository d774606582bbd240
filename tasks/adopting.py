"""Stage 5c, adopt: what customs' own list says of a form, where no receipt says it.

A form is adopted only when it is listed in the state we want, for the certificate we sent; whatever
else is listed is left to a person. A second run finds the item decided and does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from config.names import Task
from customs.gateway import CustomsForm
from models.batches import Item
from models.bulk import insert_rows
from models.deployment import require_identity
from models.errors import AnotherDeployment, GatewayUnreachable
from models.serials import predecessor
from models.states import AT_CUSTOMS, ItemState
from models.stock import Discrepancy, Form, Stock
from models.submissions import MAY_BE_ASKED, ReceiptLine, Submission
from models.verdicts import WANTED_STATE, Verdict
from tasks.app import app
from tasks.context import Context, current
from tasks.decisions import DecidedItem, Outcome, discrepancy, load_sent, write_decisions

log = structlog.get_logger(__name__)

LISTED_NEAR: Final = 50
"""Forms asked for to find one: a serial may exist in several types, or sort after longer ones."""

ASKED_TOGETHER: Final = 50

ADOPTED_CODE: Final = "adopted"
"""Stands where a receipt's RepCode would: no receipt said it, customs' list did."""


def adopt(context: Context) -> int:
    """Settle 2102 with the wanted FormState: adopt it if for our certificate (contract section 3).

    Asks customs' list for each such form, then decides the item like a receipt would; gives how
    many were settled. Raises `GatewayUnreachable`; the lines stay open and are asked again.
    """
    with context.database.read() as session:
        require_identity(session, context.identity)
        lines = session.execute(
            select(ReceiptLine.id, ReceiptLine.item_id, Form.serial, Form.form_type, Stock.owner)
            .join(Form, Form.id == ReceiptLine.form_id)
            .join(Stock, Stock.id == Form.stock_id)
            .where(MAY_BE_ASKED)
            .order_by(ReceiptLine.id)
            .limit(ASKED_TOGETHER)
        ).all()
    answers = {}
    for line in lines:
        before = predecessor(line.serial) or line.serial[:-1]
        forms, _ = context.gateway.forms(line.owner, before, LISTED_NEAR)
        answers[line.item_id] = next(
            (f for f in forms if (f.serial, f.form_type) == (line.serial, line.form_type)), None
        )
    finished: list[int] = []
    with context.database.write() as session:
        for item_id, listed in answers.items():
            finished += _settle_asked(session, context, item_id, listed)
    for batch_id in finished:
        context.ring(Task.REPORT, batch_id)
    return len(answers)


@dataclass(frozen=True, slots=True)
class ListedFinal:
    """A form of a held item as customs' list has it: verified or voided, for ever."""

    number: str
    serial: str
    state: str
    certificate: str | None


def adopt_listed(context: Context, listed: Sequence[ListedFinal]) -> set[ListedFinal]:
    """Decide items whose forms customs lists as we want them; gives those adopted.

    For what lags behind: the receipt is not to be had, and customs' list says the same. A form that is
    listed otherwise, or was decided meanwhile, is left as it is.
    """
    adopted: set[ListedFinal] = set()
    if not listed:
        return adopted
    with context.database.write() as session:
        messages = load_sent(session, {one.number for one in listed})
        for one in listed:
            sent = messages.get(one.number)
            item = sent.items.get(one.serial) if sent else None
            if sent is None or item is None or item.state is not ItemState.HELD:
                continue
            if sent.state not in AT_CUSTOMS or one.state != WANTED_STATE[item.action]:
                continue
            if one.certificate != sent.certificate:
                continue
            item.state, item.changed, sent.touched = ItemState.DECIDED, True, True
            item.rep_code, item.rep_text = ADOPTED_CODE, "已按海关清单采纳"
            adopted.add(one)
        finished = write_decisions(session, context, messages, Outcome())
    for batch_id in finished:
        context.ring(Task.REPORT, batch_id)
    return adopted


def _settle_asked(
    session: Session, context: Context, item_id: int, listed: CustomsForm | None
) -> list[int]:
    number = session.scalar(
        select(Submission.number)
        .join(Item, Item.submission_id == Submission.id)
        .where(Item.id == item_id, Item.state == ItemState.HELD)
    )
    if number is None:
        return []
    sent = load_sent(session, {number})[number]
    item = next(i for i in sent.items.values() if i.id == item_id)
    if item.state is not ItemState.HELD:
        return []  # a receipt decided it while customs was asked
    if listed is None:
        _leave_to_a_person(session, context, item)
        return []
    adopted = listed.certificate == sent.certificate and listed.state == WANTED_STATE[item.action]
    item.state = ItemState.DECIDED if adopted else ItemState.REFUSED
    item.rep_code, item.rep_text = "2102", "已按海关状态采纳" if adopted else "空白证单状态不符"
    item.hold, item.changed, sent.touched = not adopted, True, True
    outcome = Outcome()
    if not adopted:
        text = f"2102, customs: {listed}"
        outcome.discrepancies.append(discrepancy(context, "customs_2102", None, item, text))
    return write_decisions(session, context, {number: sent}, outcome)


def _leave_to_a_person(session: Session, context: Context, item: DecidedItem) -> None:
    """Customs says the form is done and does not list it: nothing is concluded."""
    session.execute(
        update(ReceiptLine)
        .where(ReceiptLine.item_id == item.id, ReceiptLine.open)
        .values(verdict=Verdict.UNKNOWN.value)
        .execution_options(synchronize_session=False)
    )
    found = discrepancy(context, "customs_2102", None, item, "2102, not in customs' list")
    insert_rows(session, Discrepancy, [found])


@app.task(name=Task.ADOPT.value)
def adopt_task() -> None:
    """Customs says a form is where we want it already."""
    try:
        adopt(current())
    except GatewayUnreachable as error:
        log.warning("adopt_failed", detail=str(error.values.get("detail")))
    except AnotherDeployment as refusal:
        log.warning("adopt_waits", code=refusal.code, detail=str(refusal))
