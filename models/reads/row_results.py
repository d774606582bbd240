"""What became of each row of a batch: read from the tables, never stored.

A row is open while any serial of it is held; done when all were decided; refused with the reason;
not processed when it was taken back. Row outcomes follow from items and forms, so they cannot
disagree with them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from models.rules.causes import PROBLEM_OF
from models.rules.problems import Problem, load_problem
from models.rules.results import RowResult
from models.rules.serials import show_serials
from models.rules.states import (
    FINAL_STATE,
    Action,
    BatchState,
    FormState,
    ItemState,
    RowOutcome,
    RowStatus,
)
from models.tables.batches import Batch, BatchRow, Item
from models.tables.bulk import CHUNK
from models.tables.forms import Form

_UNCONFIRMED = (
    *(BatchState.RECEIVED, BatchState.UNREADABLE, BatchState.ASKED, BatchState.CHECKED),
    BatchState.AWAITING,
)


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """An item and its form, as far as they say what became of a row."""

    serial: str
    action: Action
    state: ItemState
    form_state: FormState | None
    rep_code: str | None
    rep_text: str | None

    @property
    def shown_state(self) -> FormState:
        """The form's state as far as this item goes: a later batch may have moved it on."""
        if self.state is ItemState.DECIDED:
            return FINAL_STATE[self.action]
        if self.state is ItemState.UNDER_WAY and self.form_state is not None:
            return self.form_state
        return FormState.ISSUED


def row_results(
    session: Session,
    batch: Batch,
    after: int = 0,
    status: RowStatus | None = None,
    numbers: Collection[int] | None = None,
) -> Iterator[RowResult]:
    """Every row of the batch behind the row `after`, or those that the check found so, or a chunk of these `numbers`,
    in the order of the sheet. Memory: one chunk.
    """
    last = after
    found = [] if status is None else [BatchRow.status == status]
    if numbers is not None:
        found.append(BatchRow.number.in_(numbers))
    while True:
        rows = session.execute(
            select(
                BatchRow.number,
                BatchRow.status,
                BatchRow.certificate,
                BatchRow.action,
                BatchRow.reference,
                BatchRow.cells,
                BatchRow.problems,
            )
            .where(BatchRow.batch_id == batch.id, BatchRow.number > last, *found)
            .order_by(BatchRow.number)
            .limit(CHUNK)
        ).all()
        if not rows:
            return
        theirs = (
            Item.row_number.between(rows[0].number, rows[-1].number)
            if numbers is None
            else Item.row_number.in_(numbers)
        )
        items = _items(session, batch.id, theirs)
        for row in rows:
            yield _result(batch, row, items.get(row.number, []))
        last = rows[-1].number


def row_outcomes(session: Session, batch: Batch, most: int) -> Iterator[tuple[int, RowOutcome]]:
    """Number and outcome of the first rows: by them it is chosen which are shown, for a fraction of what all of a row
    costs.
    """
    rows = session.execute(
        select(BatchRow.number, BatchRow.status)
        .where(BatchRow.batch_id == batch.id)
        .order_by(BatchRow.number)
        .limit(most)
    ).all()
    states: dict[int, set[ItemState]] = defaultdict(set)
    if rows:
        of_rows = Item.row_number <= rows[-1].number
        found = select(Item.row_number, Item.state).where(Item.batch_id == batch.id, of_rows)
        for number, state in session.execute(found.distinct()):
            states[number].add(state)
    for number, status in rows:
        yield number, _outcome(batch.state, status, states[number])


def _items(
    session: Session, batch_id: int, of_rows: ColumnElement[bool]
) -> dict[int, list[ItemFacts]]:
    found = session.execute(
        select(
            Item.row_number,
            Item.serial,
            Item.action,
            Item.state,
            Form.state.label("form_state"),
            Item.rep_code,
            Item.rep_text,
        )
        .outerjoin(Form, Form.id == Item.form_id)
        .where(Item.batch_id == batch_id, of_rows)
        .order_by(Item.row_number, Item.position)
    )
    items: dict[int, list[ItemFacts]] = defaultdict(list)
    for r in found:
        facts = ItemFacts(r.serial, r.action, r.state, r.form_state, r.rep_code, r.rep_text)
        items[r.row_number].append(facts)
    return items


def _result(batch: Batch, row: Any, items: Sequence[ItemFacts]) -> RowResult:
    problems = [load_problem(p) for p in row.problems]
    confirmed = batch.state not in _UNCONFIRMED
    if confirmed and row.status is RowStatus.OK:
        problems += _later_problems(items)
    return RowResult(
        batch_id=batch.id,
        number=row.number,
        status=row.status,
        outcome=_outcome(batch.state, row.status, {i.state for i in items}),
        certificate=row.certificate,
        action=row.action,
        reference=row.reference,
        cells=row.cells,
        serial_list=[i.serial for i in items],
        form_states=[i.shown_state for i in items],
        problems=problems,
        bad_columns=frozenset(batch.columns[p.field] for p in problems if p.field in batch.columns),
    )


def _outcome(batch_state: BatchState, status: RowStatus, states: set[ItemState]) -> RowOutcome:
    if status is RowStatus.SKIPPED:
        return RowOutcome.SKIPPED
    if status is RowStatus.PROBLEM:
        return RowOutcome.REFUSED
    not_begun = batch_state in {*_UNCONFIRMED, BatchState.CANCELLED}
    if not_begun and states <= {ItemState.PLANNED}:
        return RowOutcome.NOT_PROCESSED
    if states & {ItemState.PLANNED, ItemState.UNDER_WAY}:
        return RowOutcome.OPEN
    if ItemState.REFUSED in states:
        return RowOutcome.REFUSED
    return RowOutcome.NOT_PROCESSED if ItemState.GIVEN_BACK in states else RowOutcome.DONE


def _later_problems(items: Sequence[ItemFacts]) -> list[Problem]:
    """Why serials of a right row came back: refusals with their codes, or a cancel."""
    refused: dict[tuple[str, str], list[str]] = defaultdict(list)
    for item in items:
        if item.state is ItemState.REFUSED:
            refused[item.rep_code or "", item.rep_text or ""].append(item.serial)
    problems = [
        Problem(
            "refused_by_customs",
            "serial",
            values={"code": code, "text": f"{text} ({show_serials(serials)})"},
        )
        for (code, text), serials in refused.items()
    ]
    given_back = {i.rep_code for i in items if i.state is ItemState.GIVEN_BACK}
    problems += [
        Problem(PROBLEM_OF.get(code or "", "cancelled")) for code in sorted(given_back, key=str)
    ]
    return problems
