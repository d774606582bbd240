"""What a batch did not come to, ordered once more: as a new batch that knows which one it follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.reads.sight import require_seen
from models.rules.errors import BatchNotEnded, NothingToSubmit
from models.rules.people import Deed, require
from models.rules.serials import show_serials
from models.rules.states import (
    Action,
    BatchState,
    FormState,
    ItemState,
    PagesMode,
    RowStatus,
    label,
)
from models.tables.batches import Batch, BatchRow, Item
from models.tables.forms import Form
from tasks.context import Context
from tasks.orders.intake import receive_orders

ENDED: Final = (BatchState.FINISHED, BatchState.CANCELLED)
_OPEN_AGAIN: Final = (ItemState.REFUSED, ItemState.GIVEN_BACK, ItemState.PLANNED)


@dataclass(frozen=True, slots=True)
class Impossible:
    """A serial that cannot be ordered otherwise any more, and why."""

    serial: str
    state: FormState


@dataclass(frozen=True, slots=True)
class Redone:
    """The new batch, received and not checked yet; and what could not be taken into it."""

    batch_id: int
    impossible: Sequence[Impossible]


def redo(
    context: Context, batch_id: int, *, action: Action | None = None, reason: str = ""
) -> Redone:
    """A new batch of the rows that were refused or taken back, or, with `action`, of the same serials for the
    other deed.

    A row that named serials names those that are issued again; one by page count asks for as many pages as
    came back. With `action` every form that is issued again is named; those that are not are given as
    impossible. `reason`: of a void, as a sheet says it; else that of the row. Of two such batches one is
    confirmed (`FileSubmittedBefore`), unless the person says that it is to be done again.

    Raises `NotAllowed`, `BatchNotFound`, `BatchNotEnded` while something is still open, `NothingToSubmit`.
    """
    require(context.actor, Deed.ORDER_CONFIRMED)
    with context.database.read() as session:
        batch = require_seen(context.sight, session.get(Batch, batch_id), batch_id)
        if batch.state not in ENDED:
            raise BatchNotEnded(batch=batch_id, state=label(batch.state))
        impossible: list[Impossible] = []
        orders = list(_orders(session, batch_id, action, reason, impossible))
        name = f"{batch.file_name} ({batch_id})"
    if not orders:
        raise NothingToSubmit
    new_id = receive_orders(context, name, orders, PagesMode.ADDITIONAL, redo_of=batch_id)
    return Redone(new_id, impossible)


def _orders(
    session: Session,
    batch_id: int,
    action: Action | None,
    reason: str,
    impossible: list[Impossible],
) -> Iterator[dict[str, str]]:
    rows = session.execute(
        select(
            BatchRow.number,
            BatchRow.certificate,
            BatchRow.stock_source,
            BatchRow.reason_code,
            BatchRow.reason_text,
            BatchRow.reference,
            Item.action,
            Item.serial,
            Item.named,
            Item.state,
            Form.state.label("form_state"),
        )
        .join(Item, (Item.batch_id == BatchRow.batch_id) & (Item.row_number == BatchRow.number))
        .join(Form, Form.id == Item.form_id)
        .where(BatchRow.batch_id == batch_id, BatchRow.status == RowStatus.OK)
        .order_by(BatchRow.number, Item.position)
    )
    for _, items in groupby(rows, key=lambda r: (r.number, r.action)):
        of_row = list(items)
        wanted = [i for i in of_row if action is not None or i.state in _OPEN_AGAIN]
        free = [i for i in wanted if i.form_state is FormState.ISSUED]
        named = action is not None or of_row[0].named
        if named:
            impossible += [
                Impossible(i.serial, i.form_state)
                for i in wanted
                if i.form_state is not FormState.ISSUED
            ]
        chosen = free if named else wanted
        if chosen:
            yield _order(chosen, action or of_row[0].action, reason, named=named)


def _order(items: Sequence[Any], action: Action, reason: str, *, named: bool) -> dict[str, str]:
    """What a sheet would have said."""
    first = items[0]
    own = f"{first.reason_code or ''} {first.reason_text or ''}".strip()
    return {
        "certificate": first.certificate,
        "action": label(action),
        "serial": show_serials(i.serial for i in items) if named else "",
        "page_count": "" if named else str(len(items)),
        "stock_source": first.stock_source.value if first.stock_source and not named else "",
        "reason": (reason or own) if action is Action.VOID else "",
        "reference": first.reference,
    }
