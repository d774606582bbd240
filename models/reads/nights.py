"""The report of a reconciliation as it is shown: what was found, frozen, and what was done about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

from sqlalchemy import literal, select, tuple_
from sqlalchemy.orm import Session

from models.rules.differences import TREATMENTS, DifferenceClass, outcome_text
from models.tables.bulk import CHUNK
from models.tables.reconciliation import Difference, Repair, Run


def list_runs(session: Session, limit: int, before: date | None = None) -> Iterator[dict[str, Any]]:
    """Runs, newest first; those `before` a date."""
    query = select(Run).order_by(Run.business_date.desc()).limit(limit)
    if before is not None:
        query = query.where(Run.business_date < before)
    for run in session.scalars(query):
        yield run_head(run)


def run_of_day(session: Session, day: date) -> dict[str, Any] | None:
    """The run of a business date, without its differences."""
    run = session.scalar(select(Run).where(Run.business_date == day))
    return run_head(run) if run else None


def run_head(run: Run) -> dict[str, Any]:
    """A run without its differences."""
    return {
        "run": run.id,
        "business_date": run.business_date.isoformat(),
        "state": run.state.value,
        "started_at": run.started_at.isoformat() if run.started_at else None,
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
        "forms": {
            "ours": run.ours,
            "listed": run.listed,
            "moving": run.moving,
            "before_us": run.before_us,
        },
        "differences": run.counts,
        "anchor": run.anchor,
    }


def differences(
    session: Session,
    run_id: int,
    kind: DifferenceClass | None = None,
    limit: int | None = None,
    after: tuple[DifferenceClass, int] | None = None,
) -> Iterator[dict[str, Any]]:
    """The differences of a run, class by class, with what was done about each. Memory: a chunk.

    `after`: those behind the one of this class and id.
    """
    query = (
        select(Difference, Repair)
        .outerjoin(Repair, Repair.difference_id == Difference.id)
        .where(Difference.run_id == run_id)
        .order_by(Difference.kind, Difference.id)
        .execution_options(yield_per=CHUNK)
    )
    if kind is not None:
        query = query.where(Difference.kind == kind)
    if after is not None:
        place = (literal(after[0], Difference.kind.type), literal(after[1]))
        query = query.where(tuple_(Difference.kind, Difference.id) > tuple_(*place))
    if limit is not None:
        query = query.limit(limit)
    for d, repair in session.execute(query):
        yield {
            "id": d.id,
            "class": d.kind.value,
            "owner": d.owner,
            "type": d.form_type,
            "first_serial": d.first_serial,
            "last_serial": d.last_serial,
            "forms": d.form_count,
            "state": d.state.value if d.state else None,
            "certificate": d.certificate,
            "customs_state": d.customs_state,
            "customs_certificate": d.customs_certificate,
            "detail": d.detail,
            "since": d.since.isoformat() if d.since else None,
            "age_days": d.age_days,
            "action": TREATMENTS[d.kind].action.en,
            "actor": TREATMENTS[d.kind].actor.en,
            "repair": _repair(repair),
        }


def _repair(repair: Repair | None) -> dict[str, Any] | None:
    if repair is None:
        return None
    return {
        "state": repair.state.value,
        "by": repair.by,
        "approved_by": repair.approved_by,
        "reason": repair.reason,
        "outcome": repair.outcome,
        "outcome_text": outcome_text(repair.outcome),
        "at": repair.at.isoformat(),
    }
