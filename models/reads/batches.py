"""What became of each row of a batch: read from the tables, never stored.

A row is open while any serial of it is held; done when all were decided; refused with the reason;
not processed when it was taken back. Row outcomes follow from items and forms, so they cannot
disagree with them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from models.reads.tallies import amounts
from models.rules.causes import PROBLEM_OF
from models.rules.people import Actor
from models.rules.problems import Problem, load_problem
from models.rules.results import RowResult
from models.rules.serials import show_serials
from models.rules.states import (
    FINAL_FORM_STATES,
    FINAL_STATE,
    Action,
    BatchState,
    FormState,
    ItemState,
    RowOutcome,
    RowStatus,
)
from models.rules.tallies import GivenBack
from models.tables.batches import Batch, BatchRow, Item
from models.tables.bulk import CHUNK
from models.tables.forms import Form

_UNCONFIRMED = (
    *(BatchState.RECEIVED, BatchState.UNREADABLE, BatchState.ASKED, BatchState.CHECKED),
    BatchState.AWAITING,
)


@dataclass(frozen=True, slots=True)
class _ItemFacts:
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


def row_results(session: Session, batch: Batch) -> Iterator[RowResult]:
    """Every row of the batch in the order of the sheet. Memory: one chunk."""
    last = 0
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
            .where(BatchRow.batch_id == batch.id, BatchRow.number > last)
            .order_by(BatchRow.number)
            .limit(CHUNK)
        ).all()
        if not rows:
            return
        items = _items(session, batch.id, rows[0].number, rows[-1].number)
        for row in rows:
            yield _result(batch, row, items.get(row.number, []))
        last = rows[-1].number


def _items(session: Session, batch_id: int, low: int, high: int) -> dict[int, list[_ItemFacts]]:
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
        .where(Item.batch_id == batch_id, Item.row_number.between(low, high))
        .order_by(Item.row_number, Item.position)
    )
    items: dict[int, list[_ItemFacts]] = defaultdict(list)
    for r in found:
        facts = _ItemFacts(r.serial, r.action, r.state, r.form_state, r.rep_code, r.rep_text)
        items[r.row_number].append(facts)
    return items


def _result(batch: Batch, row: Any, items: Sequence[_ItemFacts]) -> RowResult:
    problems = [load_problem(p) for p in row.problems]
    confirmed = batch.state not in _UNCONFIRMED
    if confirmed and row.status is RowStatus.OK:
        problems += _later_problems(items)
    return RowResult(
        batch_id=batch.id,
        number=row.number,
        status=row.status,
        outcome=_outcome(batch.state, row.status, items),
        certificate=row.certificate,
        action=row.action,
        reference=row.reference,
        cells=row.cells,
        serial_list=[i.serial for i in items],
        form_states=[i.shown_state for i in items],
        problems=problems,
        bad_columns=frozenset(batch.columns[p.field] for p in problems if p.field in batch.columns),
    )


def _outcome(batch_state: BatchState, status: RowStatus, items: Sequence[_ItemFacts]) -> RowOutcome:
    if status is RowStatus.SKIPPED:
        return RowOutcome.SKIPPED
    if status is RowStatus.PROBLEM:
        return RowOutcome.REFUSED
    states = {i.state for i in items}
    not_begun = batch_state in {*_UNCONFIRMED, BatchState.CANCELLED}
    if not_begun and states <= {ItemState.PLANNED}:
        return RowOutcome.NOT_PROCESSED
    if states & {ItemState.PLANNED, ItemState.UNDER_WAY}:
        return RowOutcome.OPEN
    if ItemState.REFUSED in states:
        return RowOutcome.REFUSED
    return RowOutcome.NOT_PROCESSED if ItemState.GIVEN_BACK in states else RowOutcome.DONE


def _later_problems(items: Sequence[_ItemFacts]) -> list[Problem]:
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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the forms of a batch under way have come, however many there are."""

    forms: dict[FormState, int]
    """Those that are reserved, at customs, or final."""
    given_back: int

    @property
    def ended(self) -> int:
        """Forms of which nothing is awaited any more."""
        final = sum(n for state, n in self.forms.items() if state in FINAL_FORM_STATES)
        return final + self.given_back


def batch_progress(session: Session, batch_id: int) -> Progress:
    """The progress of a batch that has not been reported yet; afterwards its rows tell (`batch_counts`)."""
    forms: dict[FormState, int] = {}
    given_back = 0
    for key, count in amounts(session, f"batch:{batch_id}:").items():
        where = key.rpartition(":")[2]
        if where in {*GivenBack}:
            given_back += count
        else:
            forms[FormState(where)] = count
    return Progress(forms, given_back)


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """A batch in numbers: rows by check status, serials of right rows by form state."""

    rows: dict[RowStatus, int]
    forms: dict[FormState, int]
    refused_forms: int
    released_forms: int
    actions: dict[Action, int] = field(default_factory=dict)
    """Serials of right rows by what is to be done with them."""

    @property
    def planned_forms(self) -> int:
        """Serials of rows that are right."""
        return sum(self.forms.values())


def batch_counts(session: Session, batch_id: int) -> BatchCounts:
    """Count the rows and serials of a batch, in two statements."""
    rows = session.execute(
        select(BatchRow.status, func.count())
        .where(BatchRow.batch_id == batch_id)
        .group_by(BatchRow.status)
    ).all()
    found = session.execute(
        select(Item.state, Item.action, Form.state, func.count())
        .join(BatchRow, (BatchRow.batch_id == Item.batch_id) & (BatchRow.number == Item.row_number))
        .join(Form, Form.id == Item.form_id)
        .where(Item.batch_id == batch_id, BatchRow.status == RowStatus.OK)
        .group_by(Item.state, Item.action, Form.state)
    )
    forms: dict[FormState, int] = defaultdict(int)
    actions: dict[Action, int] = defaultdict(int)
    refused = released = 0
    for state, action, form_state, count in found:
        facts = _ItemFacts("", action, state, form_state, None, None)
        forms[facts.shown_state] += count
        actions[action] += count
        refused += count if state is ItemState.REFUSED else 0
        released += count if state is ItemState.GIVEN_BACK else 0
    return BatchCounts(dict(rows), dict(forms), refused, released, dict(actions))


def people_of(batch: Batch) -> dict[str, Any]:
    """Who made and who confirmed it, and until when it can be taken back, as JSON says it."""
    return {
        "redo_of": batch.redo_of,
        "made_by": batch.made_by,
        "made_via": batch.made_via,
        "confirmed_by": batch.confirmed_by,
        "grace_until": batch.grace_until.isoformat() if batch.grace_until else None,
    }


def list_batches(
    session: Session, limit: int, made_by: Actor | None = None
) -> Iterator[dict[str, Any]]:
    """Batches, newest first, with how many serials are still under way; of one maker, or all."""
    held = (
        select(func.count())
        .where(Item.batch_id == Batch.id, Item.state == ItemState.UNDER_WAY)
        .correlate(Batch)
        .scalar_subquery()
    )
    query = select(Batch, held.label("open_forms")).order_by(Batch.id.desc()).limit(limit)
    if made_by is not None:
        query = query.where(
            Batch.made_by_id == made_by.person_id
            if made_by.proved
            else and_(Batch.made_by_id.is_(None), Batch.made_by == made_by.name)
        )
    for batch, open_forms in session.execute(query):
        yield {
            "id": batch.id,
            "state": batch.state.value,
            "file": batch.file_name,
            "rows": batch.row_count,
            "open_forms": open_forms,
            **people_of(batch),
            "created_at": batch.created_at.isoformat(),
            "finished_at": batch.finished_at.isoformat() if batch.finished_at else None,
        }
