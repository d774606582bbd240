"""Batches as a whole: their numbers, how far they have come, and lists of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import and_, exists, func, select
from sqlalchemy.orm import Session

from models.reads.row_results import ItemFacts
from models.reads.sight import Sight
from models.reads.tallies import amounts
from models.rules.errors import text_of_code
from models.rules.people import Actor, Channel
from models.rules.states import (
    FINAL_FORM_STATES,
    Action,
    BatchState,
    FormState,
    ItemState,
    RowStatus,
)
from models.rules.tallies import GivenBack
from models.tables.batches import OPEN_BATCH, UNCONFIRMED_BATCH, Batch, BatchRow, Item
from models.tables.endorsements import Endorsement
from models.tables.forms import Form


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
        facts = ItemFacts("", action, state, form_state, None, None)
        forms[facts.shown_state] += count
        actions[action] += count
        refused += count if state is ItemState.REFUSED else 0
        released += count if state is ItemState.GIVEN_BACK else 0
    return BatchCounts(dict(rows), dict(forms), refused, released, dict(actions))


def counts_document(batch: Batch, counts: BatchCounts) -> dict[str, Any]:
    """Rows and forms of a batch in numbers, for programs."""
    return {
        "rows": batch.row_count,
        "ok": counts.rows.get(RowStatus.OK, 0),
        "problem": counts.rows.get(RowStatus.PROBLEM, 0),
        "skipped": counts.rows.get(RowStatus.SKIPPED, 0),
        "blank": batch.blank_count,
        "planned": counts.planned_forms,
        "verify": counts.actions.get(Action.VERIFY, 0),
        "void": counts.actions.get(Action.VOID, 0),
        "by_state": {state.value: counts.forms.get(state, 0) for state in FormState},
        "refused_forms": counts.refused_forms,
    }


def batch_head(batch: Batch) -> dict[str, Any]:
    """What every answer about a batch begins with, for programs: lists, plans, and the batch itself."""
    return {
        "id": batch.id,
        "client_reference": batch.client_reference,
        "state": batch.state.value,
        "file": batch.file_name,
        "sha256": batch.sha256,
        "sheet": batch.sheet,
        "plan": batch.plan,
        "row_count": batch.row_count,
        "redo_of": batch.redo_of,
        "made_by": batch.made_by,
        "made_via": batch.made_via,
        "confirmed_by": batch.confirmed_by,
        "grace_until": batch.grace_until.isoformat() if batch.grace_until else None,
        "created_at": batch.created_at.isoformat(),
        "finished_at": batch.finished_at.isoformat() if batch.finished_at else None,
    }


COUNTED: Final = 2000
"""Rows of a batch under way that are counted whenever somebody asks; of a larger one its progress is told."""


def batch_document(session: Session, batch: Batch) -> dict[str, Any]:
    """A batch with its numbers, whatever its size: what is large and under way is not counted row by row."""
    under_way = batch.state in _UNDER_WAY
    counted = not (under_way and batch.row_count > COUNTED)
    progress = batch_progress(session, batch.id).forms if under_way else {}
    stopped = batch.asked_for.get("stopped")
    return batch_head(batch) | {
        "queued": batch.queued_at is not None,
        "stopped": stopped
        and {**stopped, "message": text_of_code(stopped["code"], stopped["values"])},
        "counts": counts_document(batch, batch_counts(session, batch.id)) if counted else None,
        "progress": {state.value: count for state, count in progress.items()},
    }


_UNDER_WAY: Final = (BatchState.RECEIVED, BatchState.CONFIRMED, BatchState.WORKING)
_STATES_BY_INDEX: Final = (
    (OPEN_BATCH, {BatchState.CONFIRMED, BatchState.WORKING}),
    (
        UNCONFIRMED_BATCH,
        {BatchState.RECEIVED, BatchState.UNREADABLE, BatchState.ASKED, BatchState.CHECKED},
    ),
)


_TRIED: Final = and_(
    Batch.made_via == Channel.PAGE.value,
    Batch.sha256.is_(None),
    Batch.order_key.is_(None),
    Batch.state.in_([BatchState.RECEIVED, BatchState.CHECKED]),
    ~exists().where(Endorsement.batch_id == Batch.id),
)
"""No sheet, no selection, no job done again: one row of a certificate's window that nobody has said yes to."""


@dataclass(frozen=True, slots=True)
class BatchFilter:
    """Which batches: of one maker, in one state, under one reference of a program; all below a number."""

    made_by: Actor | None = None
    state: BatchState | None = None
    client_reference: str | None = None
    below: int | None = None
    sight: Sight | None = None
    number: int | None = None
    redo_of: int | None = None
    tried: bool = True
    """Also what was checked in the window of a certificate and not confirmed: a try, not an order."""


def list_batches(
    session: Session, limit: int, wanted: BatchFilter = BatchFilter()
) -> Iterator[dict[str, Any]]:
    """Batches, newest first, with how many serials are still under way."""
    under_way = (
        select(func.count())
        .where(Item.batch_id == Batch.id, Item.state == ItemState.UNDER_WAY)
        .correlate(Batch)
        .scalar_subquery()
    )
    query = select(Batch, under_way.label("open_forms")).order_by(Batch.id.desc()).limit(limit)
    if (maker := wanted.made_by) is not None:
        query = query.where(
            Batch.made_by_id == maker.person_id
            if maker.proved
            else and_(Batch.made_by_id.is_(None), Batch.made_by == maker.name)
        )
    if wanted.state is not None:
        query = query.where(Batch.state == wanted.state)
        for by_index, states in _STATES_BY_INDEX:
            if wanted.state in states:
                query = query.where(by_index)
    if wanted.client_reference is not None:
        query = query.where(Batch.client_reference == wanted.client_reference)
    if wanted.sight is not None:
        query = query.where(wanted.sight.batches)
    if not wanted.tried:
        query = query.where(~_TRIED)
    if wanted.redo_of is not None:
        query = query.where(Batch.redo_of == wanted.redo_of)
    if wanted.number is not None:
        query = query.where(Batch.id == wanted.number)
    if wanted.below is not None:
        query = query.where(Batch.id < wanted.below)
    for batch, open_forms in session.execute(query):
        yield {**batch_head(batch), "open_forms": open_forms}
