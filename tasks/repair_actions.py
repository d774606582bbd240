"""The default action of each class of difference, made of the steps that do the same by day.

Every action tests again what it acts on, so a difference that settled itself meanwhile is noted and left
alone, and a repair that was killed is simply ordered again. None submits anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import and_, func, select, update
from sqlalchemy.orm import Session

from models.batches import Batch, BatchRow, Item
from models.bulk import insert_rows
from models.differences import DifferenceClass, final_state
from models.holds import hold_forms
from models.moves import FormMove, move_forms
from models.reconciliation import Difference, Repair
from models.states import (
    BatchState,
    FormState,
    InboxState,
    ItemState,
    PagesMode,
    RepairState,
    SubmissionState,
)
from models.stock import Discrepancy, Form
from models.submissions import InboxMessage, Submission
from sheets.registers import IssuedRange
from tasks import adopting, allocation, asking, inbox, intake, planning, receipts, registers
from tasks.context import Context

log = structlog.get_logger(__name__)

Outcome = tuple[RepairState, str]


@dataclass(frozen=True, slots=True)
class Order:
    """Who wants a repair, and why. `approve`: agrees with what another person proposed."""

    by: str
    reason: str = ""
    approve: bool = False


def hold_contradictions(
    context: Context, differences: Sequence[tuple[Difference, Repair | None]], order: Order
) -> dict[int, Outcome]:
    """Hold the form, when two persons want it."""
    if not order.approve:
        return {d.id: (RepairState.PROPOSED, "") for d, _ in differences}
    outcomes: dict[int, Outcome] = {}
    with context.database.write() as session:
        for difference, proposed in differences:
            if proposed is None or proposed.state is not RepairState.PROPOSED:
                continue
            persons = f"{proposed.by} + {order.by}"
            reason = f"{proposed.reason} {order.reason}".strip()
            ids = [f.id for f in _forms(session, difference)]
            hold_forms(session, ids, context.now(), "contradiction", f"{reason} ({persons})")
            outcomes[difference.id] = RepairState.DONE, persons
    return outcomes


def _lagging(
    context: Context, _run_id: int, differences: Sequence[Difference]
) -> dict[int, Outcome]:
    """Fetch receipts and apply them; adopt what is still submitted."""
    inbox.poll(context)
    while receipts.apply(context):
        pass
    with context.database.read() as session:
        held = {d.id: _held_items(session, d) for d in differences}
    listed = [one for of_one in held.values() for one in of_one]
    adopted = adopting.adopt_listed(context, listed)
    return {d.id: _lagged(held[d.id], adopted) for d in differences}


def _lagged(held: Sequence[adopting.ListedFinal], adopted: set[adopting.ListedFinal]) -> Outcome:
    if not held:
        return RepairState.SETTLED, "receipt applied"
    if adopted.issuperset(held):
        return RepairState.DONE, "adopted from customs' list"
    return RepairState.LEFT, "not listed as sent"


def _outside(
    context: Context, _run_id: int, differences: Sequence[Difference]
) -> dict[int, Outcome]:
    """Adopt what was done at the portal; a form that a batch has reserved is the batch's matter."""
    outcomes: dict[int, Outcome] = {}
    with context.database.write() as session:
        by_target: dict[FormState, list[FormMove]] = defaultdict(list)
        for difference in differences:
            forms = _forms(session, difference)
            outcomes[difference.id] = _judge_outside(forms)
            if outcomes[difference.id][0] is RepairState.DONE:
                by_target[final_state(difference.customs_state)] += [
                    FormMove(
                        f.id,
                        difference.customs_certificate,
                        reason=f"reconciliation {difference.run_id}",
                    )
                    for f in forms
                    if f.state is FormState.ISSUED
                ]
        for target, moves in by_target.items():
            move_forms(session, moves, FormState.ISSUED, target, context.now(), "outside")
    return outcomes


def _judge_outside(forms: Sequence[Any]) -> Outcome:
    if any(f.state is FormState.ISSUED for f in forms):
        return RepairState.DONE, "adopted, outside us"
    if any(f.state is FormState.RESERVED for f in forms):
        return RepairState.LEFT, "reserved by a batch: its receipt will say"
    return RepairState.SETTLED, "moved meanwhile"


def _new_stock(
    context: Context, _run_id: int, differences: Sequence[Difference]
) -> dict[int, Outcome]:
    """Adopt ranges into stock; serials that are known by now stay as they are."""
    outcomes: dict[int, Outcome] = {}
    for d in differences:
        issued = IssuedRange(
            d.owner,
            d.form_type,
            d.first_serial or "",
            d.last_serial or "",
            d.form_count,
            d.issued_on,
        )
        done = registers.add_ranges(context, [issued], "customs")
        state = RepairState.DONE if done.new else RepairState.SETTLED
        outcomes[d.id] = state, f"+{done.new}"
    return outcomes


def _unknown_at_customs(
    context: Context, _run_id: int, differences: Sequence[Difference]
) -> dict[int, Outcome]:
    """Hold forms that customs does not know, and say it loudly."""
    outcomes: dict[int, Outcome] = {}
    with context.database.write() as session:
        for d in differences:
            ids = [f.id for f in _forms(session, d)]
            held = hold_forms(
                session,
                ids,
                context.now(),
                "unknown_at_customs",
                f"unknown at customs, run {d.run_id}",
            )
            state = RepairState.DONE if held else RepairState.SETTLED
            outcomes[d.id] = state, f"held {len(held)}"
            log.error("unknown_at_customs", first=d.first_serial, last=d.last_serial)
    return outcomes


def _no_answer(
    context: Context, _run_id: int, differences: Sequence[Difference]
) -> dict[int, Outcome]:
    """Ask customs about the message; what has no answer then is listed as overdue."""
    for certificate in sorted({d.certificate or "" for d in differences}):
        asking.ask(context, certificate)
    inbox.poll(context)
    while receipts.apply(context):
        pass
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
        return RepairState.SETTLED, str(state)
    if state in {SubmissionState.SIGNED, SubmissionState.PREPARED}:
        return RepairState.DONE, "not at customs: due again"
    return RepairState.LEFT, f"overdue: {state}"


def _reservation_expired(
    context: Context, _run_id: int, differences: Sequence[Difference]
) -> dict[int, Outcome]:
    """Release what dead batches hold."""
    for batch_id in sorted({d.reference for d in differences if d.reference}):
        allocation.expire(context, batch_id)
    outcomes: dict[int, Outcome] = {}
    with context.database.read() as session:
        for d in differences:
            reserved = any(f.state is FormState.RESERVED for f in _forms(session, d))
            outcomes[d.id] = (
                (RepairState.LEFT, "still reserved")
                if reserved
                else (RepairState.DONE, f"batch {d.reference}")
            )
    return outcomes


def _unmatched_receipt(
    context: Context, _run_id: int, differences: Sequence[Difference]
) -> dict[int, Outcome]:
    """Let receipts be applied anew; those that still fit nothing are quarantined again."""
    ids = [d.reference for d in differences if d.reference is not None]
    with context.database.write() as session:
        session.execute(
            update(InboxMessage)
            .where(InboxMessage.id.in_(ids), InboxMessage.state == InboxState.QUARANTINED)
            .values(state=InboxState.RECEIVED, reason=None)
            .execution_options(synchronize_session=False)
        )
        session.execute(
            update(Discrepancy)
            .where(Discrepancy.inbox_id.in_(ids), Discrepancy.closed_at.is_(None))
            .values(closed_at=context.now())
            .execution_options(synchronize_session=False)
        )
    while receipts.apply(context):
        pass
    with context.database.read() as session:
        states = {
            i: (state, reason)
            for i, state, reason in session.execute(
                select(InboxMessage.id, InboxMessage.state, InboxMessage.reason).where(
                    InboxMessage.id.in_(ids)
                )
            )
        }
    outcomes: dict[int, Outcome] = {}
    for d in differences:
        state, reason = states[d.reference or 0]
        applied = state is InboxState.APPLIED
        outcomes[d.id] = RepairState.DONE if applied else RepairState.LEFT, reason or "applied"
    return outcomes


def _printed_not_verified(
    context: Context, run_id: int, differences: Sequence[Difference]
) -> dict[int, Outcome]:
    """Prepare one batch of page counts, checked and not confirmed: a person looks and confirms."""
    wanted = {d.certificate or "": d for d in differences}
    prepared = _prepared_already(context, sorted(wanted))
    orders = [
        {"certificate": c, "action": "核销", "page_count": str(_pages(d)), "remark": f"{run_id}"}
        for c, d in wanted.items()
        if c not in prepared
    ]
    if orders:
        name = f"对账{run_id}-已签证未核销"
        batch_id = intake.receive_orders(context, name, orders, PagesMode.TOP_UP)
        planning.check(context, batch_id)
        prepared |= {order["certificate"]: batch_id for order in orders}
    return {d.id: (RepairState.DONE, f"batch {prepared[d.certificate or '']}") for d in differences}


def _pages(difference: Difference) -> int:
    """Pages of the certificate: the batch tops up to them."""
    return int(difference.detail.partition("/")[2])


def _prepared_already(context: Context, certificates: Sequence[str]) -> dict[str, int]:
    """Certificates that a batch waits to be confirmed for."""
    with context.database.read() as session:
        return dict(
            session.execute(
                select(BatchRow.certificate, func.max(BatchRow.batch_id))
                .join(Batch, Batch.id == BatchRow.batch_id)
                .where(Batch.state == BatchState.CHECKED, BatchRow.certificate.in_(certificates))
                .group_by(BatchRow.certificate)
            ).all()
        )


def _unaccounted(
    context: Context, _run_id: int, differences: Sequence[Difference]
) -> dict[int, Outcome]:
    """A task for the custodian, once for each range."""
    with context.database.write() as session:
        known = set(
            session.scalars(
                select(Discrepancy.detail).where(
                    Discrepancy.kind == "unaccounted", Discrepancy.closed_at.is_(None)
                )
            )
        )
        tasks = {
            d.id: f"{d.form_type} {d.first_serial}-{d.last_serial} ({d.form_count}) {d.owner}"
            for d in differences
        }
        insert_rows(
            session,
            Discrepancy,
            [
                {
                    "kind": "unaccounted",
                    "serial": d.first_serial,
                    "detail": tasks[d.id],
                    "raised_at": context.now(),
                }
                for d in differences
                if tasks[d.id] not in known
            ],
        )
    return {d.id: (RepairState.DONE, "task for the custodian") for d in differences}


ACTIONS: Final[
    dict[DifferenceClass, Callable[[Context, int, Sequence[Difference]], dict[int, Outcome]]]
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
}


# -- the forms of a difference -------------------------------------------------------------------


def _of_difference(difference: Difference) -> Any:
    return and_(
        Form.form_type == difference.form_type,
        Form.serial >= difference.first_serial,
        Form.serial <= difference.last_serial,
        func.length(Form.serial) == len(difference.first_serial or ""),
    )


def _forms(session: Session, difference: Difference) -> Sequence[Any]:
    return session.execute(
        select(Form.id, Form.serial, Form.state)
        .where(_of_difference(difference))
        .order_by(Form.serial)
    ).all()


def _held_items(session: Session, difference: Difference) -> list[adopting.ListedFinal]:
    """The items of a difference that wait for their receipt, as customs lists their forms."""
    rows = session.execute(
        select(Submission.number, Form.serial)
        .join(Item, and_(Item.form_id == Form.id, Item.state == ItemState.HELD))
        .join(Submission, Submission.id == Item.submission_id)
        .where(_of_difference(difference))
    )
    state, certificate = difference.customs_state or "", difference.customs_certificate
    return [adopting.ListedFinal(number, serial, state, certificate) for number, serial in rows]
