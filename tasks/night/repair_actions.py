"""The default action of each class of difference, made of the steps that do the same by day.

Every action tests again what it acts on, so a difference that settled itself meanwhile is noted and left
alone, and a repair that was killed is simply ordered again. None submits anything. What came of each is
a code of `models.rules.differences.OUTCOMES` and a value, worded when it is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import String, and_, func, select
from sqlalchemy.orm import Session

from models.reads.overdue import pages_missing
from models.rules.calendar import business_date
from models.rules.causes import Cause, DiscrepancyKind
from models.rules.differences import DifferenceClass, final_state
from models.rules.errors import BlankformsError
from models.rules.serials import NotSerials, serials_between
from models.rules.states import (
    Action,
    BatchState,
    FormState,
    InboxState,
    ItemState,
    PagesMode,
    RepairState,
    RowStatus,
    SubmissionState,
)
from models.tables.base import BigId, Serial
from models.tables.batches import Batch, BatchRow, Item
from models.tables.bulk import chunks, insert_rows, rows_table
from models.tables.discrepancies import Discrepancy
from models.tables.forms import Form, Stock
from models.tables.inbox import InboxMessage
from models.tables.reconciliation import Difference, Repair
from models.tables.submissions import Submission
from models.writes.holds import hold_forms, lock_stocks_of
from models.writes.moves import FormMove, move_forms
from sheets.imports import ISSUED_TOGETHER, IssuedRange
from tasks.context import Context
from tasks.messages import asking
from tasks.orders import intake, planning, releasing
from tasks.receipts import adopting, applying, inbox
from tasks.stock import imports

log = structlog.get_logger(__name__)

PREPARED_NAME: Final = "对账"
"""How the name of a batch begins that a repair has prepared."""

Outcome = tuple[RepairState, str]


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants a repair, and why. `approve`: agrees with what another person proposed."""

    by: str
    reason: str = ""
    approve: bool = False


# -- the forms of differences --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Concerned:
    """A form that a difference is about, as it is now."""

    id: int
    serial: str
    state: FormState
    number: str | None
    """Of the message that it waits with."""
    message: SubmissionState | None
    """The state of that message."""


def _serials(difference: Difference) -> list[str]:
    """The serials of a difference: exactly those that were compared, none that sorts between."""
    if difference.first_serial is None or difference.last_serial is None:
        return []
    return serials_between(difference.first_serial, difference.last_serial, ISSUED_TOGETHER)


def forms_of(session: Session, differences: Sequence[Difference]) -> dict[int, list[Concerned]]:
    """The forms of these differences that are in their owner's stock now, by difference's id."""
    wanted = [(d.id, serial, d.form_type, d.owner) for d in differences for serial in _serials(d)]
    found: dict[int, list[Concerned]] = defaultdict(list)
    columns: dict[str, Any] = {
        "difference": BigId,
        "serial": Serial,
        "form_type": String(),
        "owner": String(),
    }
    for chunk in chunks(wanted):
        given = rows_table(session, columns, chunk)
        c = given.c
        rows = session.execute(
            select(
                c.difference, Form.id, Form.serial, Form.state, Submission.number, Submission.state
            )
            .select_from(given)
            .join(Form, and_(Form.serial == c.serial, Form.form_type == c.form_type))
            .join(Stock, and_(Stock.id == Form.stock_id, Stock.owner == c.owner))
            .outerjoin(Item, and_(Item.form_id == Form.id, Item.state == ItemState.UNDER_WAY))
            .outerjoin(Submission, Submission.id == Item.submission_id)
            .order_by(Form.id)
        )
        for difference, *form in rows:
            found[difference].append(Concerned(*form))
    return found


# -- the actions ---------------------------------------------------------------------------------


def hold_contradictions(
    context: Context, differences: Sequence[tuple[Difference, Repair | None]], order: Order
) -> dict[int, Outcome]:
    """Hold the forms, when two persons want it and they are still as they were found."""
    if not order.approve:
        return {d.id: (RepairState.PROPOSED, "") for d, _ in differences}
    outcomes: dict[int, Outcome] = {}
    with context.database.write() as session:
        forms = forms_of(session, [d for d, _ in differences])
        for difference, proposed in differences:
            if proposed is None or proposed.state is not RepairState.PROPOSED:
                continue
            concerned = forms[difference.id]
            if any(f.state is not difference.state for f in concerned):
                outcomes[difference.id] = RepairState.SETTLED, "moved"
                continue
            persons = f"{proposed.by} + {order.by}"
            reason = f"{proposed.reason} {order.reason}".strip()
            ids = [f.id for f in concerned]
            hold_forms(session, ids, context.now(), Cause.CONTRADICTION, f"{reason} ({persons})")
            outcomes[difference.id] = RepairState.DONE, f"held_by:{persons}"
    return outcomes


def _lagging(context: Context, differences: Sequence[Difference]) -> dict[int, Outcome]:
    """Fetch receipts and apply them; adopt what is still submitted."""
    _fetch_and_apply(context)
    with context.database.read() as session:
        forms = forms_of(session, differences)
    held = {
        d.id: [
            adopting.ListedFinal(f.number, f.serial, d.customs_state or "", d.customs_certificate)
            for f in forms[d.id]
            if f.number is not None
        ]
        for d in differences
    }
    adopted = adopting.adopt_listed(context, [one for of_one in held.values() for one in of_one])
    return {d.id: _lagged(held[d.id], adopted) for d in differences}


def _lagged(held: Sequence[adopting.ListedFinal], adopted: set[adopting.ListedFinal]) -> Outcome:
    if not held:
        return RepairState.SETTLED, "receipt"
    if adopted.issuperset(held):
        return RepairState.DONE, "adopted"
    return RepairState.LEFT, "not_as_sent"


def _fetch_and_apply(context: Context) -> None:
    inbox.poll(context)
    while applying.apply(context):
        pass


def _outside(context: Context, differences: Sequence[Difference]) -> dict[int, Outcome]:
    """Adopt what was done at the portal; a form that a batch has reserved is the batch's matter."""
    moved: set[int] = set()
    with context.database.write() as session:
        concerned = forms_of(session, differences)
        lock_stocks_of(session, [f.id for of_one in concerned.values() for f in of_one])
        forms = forms_of(session, differences)  # as they are under the lock that reservations take
        by_target: dict[FormState, list[FormMove]] = defaultdict(list)
        for d in differences:
            by_target[final_state(d.customs_state)] += [
                FormMove(f.id, d.customs_certificate, reason=f"reconciliation {d.run_id}")
                for f in forms[d.id]
                if f.state is FormState.ISSUED
            ]
        for target, moves in by_target.items():
            moved |= move_forms(
                session, moves, FormState.ISSUED, target, context.now(), Cause.OUTSIDE
            )
    return {d.id: _judge_outside(forms[d.id], moved) for d in differences}


def _judge_outside(forms: Sequence[Concerned], moved: set[int]) -> Outcome:
    if any(f.id in moved for f in forms):
        return RepairState.DONE, "adopted_outside"
    if any(f.state in {FormState.ISSUED, FormState.RESERVED} for f in forms):
        return RepairState.LEFT, "reserved"
    return RepairState.SETTLED, "moved"


def _new_stock(context: Context, differences: Sequence[Difference]) -> dict[int, Outcome]:
    """Adopt ranges into stock; serials that are known by now stay as they are."""
    outcomes: dict[int, Outcome] = {}
    for d in differences:
        first, last = d.first_serial or "", d.last_serial or ""
        issued = IssuedRange(d.owner, d.form_type, first, last, d.form_count, d.issued_on)
        try:
            done = imports.add_ranges(context, [issued], "customs")
        except (NotSerials, BlankformsError) as error:
            outcomes[d.id] = RepairState.LEFT, f"failed:{error}"
            continue
        state = RepairState.DONE if done.new else RepairState.SETTLED
        outcomes[d.id] = state, f"added:{done.new}"
    return outcomes


def _unknown_at_customs(context: Context, differences: Sequence[Difference]) -> dict[int, Outcome]:
    """Hold issued forms that customs does not know, and say it loudly; others are for a person."""
    with context.database.write() as session:
        forms = forms_of(session, differences)
        issued = [f.id for d in differences for f in forms[d.id] if f.state is FormState.ISSUED]
        why = f"unknown at customs, reconciliation {differences[0].run_id}"
        hold_forms(session, issued, context.now(), Cause.UNKNOWN_AT_CUSTOMS, why, issued_only=True)
    outcomes: dict[int, Outcome] = {}
    for d in differences:
        log.error("unknown_at_customs", first=d.first_serial, last=d.last_serial)
        others = [f for f in forms[d.id] if f.state is not FormState.ISSUED]
        held = len(forms[d.id]) - len(others)
        state = RepairState.LEFT if others else RepairState.DONE
        outcomes[d.id] = state, f"not_issued:{len(others)}" if others else f"held:{held}"
    return outcomes


def _no_answer(context: Context, differences: Sequence[Difference]) -> dict[int, Outcome]:
    """Ask customs about the message; what has no answer then is listed as overdue."""
    for certificate in sorted({d.certificate or "" for d in differences}):
        asking.ask(context, certificate)
    _fetch_and_apply(context)
    with context.database.read() as session:
        states = dict(
            session.execute(
                select(Submission.id, Submission.state).where(
                    Submission.id.in_({d.reference for d in differences})
                )
            ).all()
        )
    return {d.id: _answered(states.get(d.reference or 0)) for d in differences}


def _answered(state: SubmissionState | None) -> Outcome:
    if state in {SubmissionState.DECIDED, SubmissionState.REFUSED, SubmissionState.CANCELLED}:
        return RepairState.SETTLED, "receipt"
    if state in {SubmissionState.SIGNED, SubmissionState.PREPARED}:
        return RepairState.DONE, "due_again"
    return RepairState.LEFT, "overdue"


def _reservation_expired(context: Context, differences: Sequence[Difference]) -> dict[int, Outcome]:
    """Release what dead batches hold."""
    for batch_id in sorted({d.reference for d in differences if d.reference}):
        releasing.expire(context, batch_id)
    with context.database.read() as session:
        forms = forms_of(session, differences)
    return {
        d.id: (RepairState.LEFT, "reserved")
        if any(f.state is FormState.RESERVED for f in forms[d.id])
        else (RepairState.DONE, f"released:{d.reference}")
        for d in differences
    }


def _unmatched_receipt(context: Context, differences: Sequence[Difference]) -> dict[int, Outcome]:
    """Let receipts be applied anew; those that still fit nothing are quarantined again."""
    ids = [d.reference for d in differences if d.reference is not None]
    with context.database.write() as session:
        applying.receive_again(session, ids, context.now())
    while applying.apply(context):
        pass
    with context.database.read() as session:
        states = dict(
            session.execute(
                select(InboxMessage.id, InboxMessage.state).where(InboxMessage.id.in_(ids))
            ).all()
        )
    return {
        d.id: (RepairState.DONE, "matched")
        if states.get(d.reference or 0) is InboxState.APPLIED
        else (RepairState.LEFT, "no_match")
        for d in differences
    }


def _printed_not_verified(
    context: Context, differences: Sequence[Difference]
) -> dict[int, Outcome]:
    """Prepare one batch of page counts, checked and not confirmed: a person looks and confirms."""
    certificates = sorted({d.certificate or "" for d in differences})
    with context.database.read() as session:
        missing = {
            m.certificate: m
            for m in pages_missing(session, business_date(context.now()), certificates)
        }
        prepared = _prepared_already(session, certificates)
    orders = [
        {"certificate": c, "action": "核销", "page_count": str(m.pages)}
        for c, m in missing.items()
        if c not in prepared
    ]
    if orders:
        name = f"{PREPARED_NAME}{differences[0].run_id}-已签证未核销"
        batch_id = intake.receive_orders(context, name, orders, PagesMode.TOP_UP)
        planning.check(context, batch_id)
        prepared |= {order["certificate"]: batch_id for order in orders}
    return {
        d.id: (RepairState.DONE, f"prepared:{prepared[d.certificate or '']}")
        if d.certificate in missing
        else (RepairState.SETTLED, "moved")
        for d in differences
    }


def _prepared_already(session: Session, certificates: Sequence[str]) -> dict[str, int]:
    """Certificates for which a batch of an earlier repair waits to be confirmed."""
    return dict(
        session.execute(
            select(BatchRow.certificate, func.max(BatchRow.batch_id))
            .join(Batch, Batch.id == BatchRow.batch_id)
            .where(
                Batch.state == BatchState.CHECKED,
                Batch.sha256.is_(None),
                Batch.file_name.startswith(PREPARED_NAME),
                BatchRow.status == RowStatus.OK,
                BatchRow.action == Action.VERIFY,
                BatchRow.certificate.in_(certificates),
            )
            .group_by(BatchRow.certificate)
        ).all()
    )


def _unaccounted(context: Context, differences: Sequence[Difference]) -> dict[int, Outcome]:
    """A task for the custodian, once for each range."""
    tasks = {
        d.id: f"{d.form_type} {d.first_serial}-{d.last_serial} ({d.form_count}) {d.owner}"
        for d in differences
    }
    with context.database.write() as session:
        open_ones = select(Discrepancy.detail).where(
            Discrepancy.kind == DiscrepancyKind.UNACCOUNTED.value, Discrepancy.closed_at.is_(None)
        )
        known = set(session.scalars(open_ones))
        rows = [
            {
                "kind": DiscrepancyKind.UNACCOUNTED.value,
                "serial": d.first_serial,
                "detail": tasks[d.id],
                "raised_at": context.now(),
            }
            for d in differences
            if tasks[d.id] not in known
        ]
        insert_rows(session, Discrepancy, rows)
    return {d.id: (RepairState.DONE, "task") for d in differences}


def _more_than_pages(_: Context, differences: Sequence[Difference]) -> dict[int, Outcome]:
    """Nothing to be done by a program: verified is final."""
    return {d.id: (RepairState.LEFT, "person") for d in differences}


ACTIONS: Final[
    dict[DifferenceClass, Callable[[Context, Sequence[Difference]], dict[int, Outcome]]]
] = {
    DifferenceClass.LAGGING: _lagging,
    DifferenceClass.OUTSIDE: _outside,
    DifferenceClass.NEW_STOCK: _new_stock,
    DifferenceClass.UNKNOWN_AT_CUSTOMS: _unknown_at_customs,
    DifferenceClass.NO_ANSWER: _no_answer,
    DifferenceClass.RESERVATION_EXPIRED: _reservation_expired,
    DifferenceClass.UNMATCHED_RECEIPT: _unmatched_receipt,
    DifferenceClass.PRINTED_NOT_VERIFIED: _printed_not_verified,
    DifferenceClass.UNACCOUNTED: _unaccounted,
    DifferenceClass.MORE_THAN_PAGES: _more_than_pages,
}
