"""Carrying out what a reconciliation proposes, as a plan that was shown first.

This, `repair_actions` and `restored` call other stages, because they do what a person orders. What
became of each difference is kept beside the report, which stays as it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import and_, func, select

from config.crash import Point, crash_point
from models.reads.endorsements import known_rules
from models.rules.differences import TREATMENTS, DifferenceClass
from models.rules.errors import (
    GatewayUnreachable,
    PersonNeeded,
    ReasonNeeded,
    RunBusy,
    RunNotFinished,
    RunNotFound,
    RunSuperseded,
    SecondPersonNeeded,
)
from models.rules.people import Deed
from models.rules.states import RepairState, RunState
from models.rules.two_persons import RULE_WORDS, Rule
from models.tables.base import NO_KEY_UPDATE
from models.tables.bulk import chunks, upserting
from models.tables.reconciliation import Difference, Repair, Run
from models.writes.acts import record_act
from models.writes.leases import first_free, give_back, keep
from tasks.context import Context
from tasks.night.repair_actions import ACTIONS, Order, Outcome, hold_contradictions

log = structlog.get_logger(__name__)

DIFFERENCES_TOGETHER: Final = 500
_ENDED: Final = (RepairState.DONE, RepairState.SETTLED)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One class in the plan of a repair."""

    kind: DifferenceClass
    differences: int
    forms: int
    waiting: int
    """Of these, differences that one person has proposed already."""


def plan(context: Context, run_id: int, kinds: Sequence[DifferenceClass]) -> list[Proposal]:
    """What a repair would do now, class by class. Writes nothing.

    Raises `RunNotFound`, `RunNotFinished` while the report can still change, and `RunSuperseded` when a
    later night has looked again.
    """
    with context.database.read() as session:
        run = session.get(Run, run_id)
        if run is None:
            raise RunNotFound(run=run_id)
        if run.state is not RunState.FINISHED:
            raise RunNotFinished(run=run_id, date=run.business_date)
        newest = session.scalar(
            select(Run.id)
            .where(Run.state == RunState.FINISHED)
            .order_by(Run.finished_at.desc())
            .limit(1)
        )
        if newest != run_id:
            raise RunSuperseded(run=run_id, newest=newest)
        rows = session.execute(
            select(
                Difference.kind,
                func.count(),
                func.sum(Difference.form_count),
                func.count().filter(Repair.state == RepairState.PROPOSED),
            )
            .outerjoin(Repair, Repair.difference_id == Difference.id)
            .where(_wanted(run_id, kinds))
            .group_by(Difference.kind)
            .order_by(Difference.kind)
        )
        return [Proposal(kind, n, int(forms or 0), waiting) for kind, n, forms, waiting in rows]


def repair(
    context: Context, run_id: int, kinds: Sequence[DifferenceClass], order: Order
) -> dict[DifferenceClass, dict[RepairState, int]]:
    """Carry out the default actions for what is not repaired yet; gives what became of how many.

    Contradictions need two persons: the first one's order proposes (with a reason), another's
    `approve` carries out. Raises what `plan` raises, `ReasonNeeded`, `SecondPersonNeeded`, and `RunBusy`
    while another repair is at it.
    """
    proposals = plan(context, run_id, kinds)
    for proposal in proposals:
        if TREATMENTS[proposal.kind].two_persons:
            _check_persons(context, run_id, proposal.kind, order)
    lease = _take(context, run_id)
    try:
        _record(context, run_id, order)
        return _repair(context, run_id, proposals, order, lease)
    finally:
        with context.database.write() as session:
            give_back(session, run_id, lease)


def _take(context: Context, run_id: int) -> str:
    """One repair at a time."""
    with context.database.write() as session:
        run = session.get(Run, run_id, with_for_update=NO_KEY_UPDATE)
        taken = first_free([run] if run else [], context.now())
        if taken is None or taken.lease is None:
            raise RunBusy(run=run_id)
        return taken.lease


def _record(context: Context, run_id: int, order: Order) -> None:
    """That a repair begins is an act. Raises `NotAllowed`; then nothing is repaired."""
    deed = Deed.REPAIR_APPROVED if order.approve else Deed.REPAIR_ORDERED
    said = {"by": order.by, "reason": order.reason}
    with context.database.write() as session:
        record_act(session, context.actor, deed, f"run {run_id}", context.now(), **said)


def _repair(
    context: Context,
    run_id: int,
    proposals: Sequence[Proposal],
    order: Order,
    lease: str,
) -> dict[DifferenceClass, dict[RepairState, int]]:
    done: dict[DifferenceClass, dict[RepairState, int]] = {}
    for proposal in proposals:
        counted: dict[RepairState, int] = defaultdict(int)
        for differences in _differences(context, run_id, proposal.kind):
            with context.database.write() as session:
                if not keep(session, run_id, lease, context.now()):
                    raise RunBusy(run=run_id)
            outcomes = _carry_out(context, run_id, differences, order)
            crash_point(Point.REPAIR_NOT_NOTED)
            _note(context, outcomes, order)
            for state, _ in outcomes.values():
                counted[state] += 1
        done[proposal.kind] = dict(counted)
        log.info("repaired", run_id=run_id, kind=proposal.kind.value, by=order.by)
    return done


# -- who may -------------------------------------------------------------------------------------


def _check_persons(context: Context, run_id: int, kind: DifferenceClass, order: Order) -> None:
    with context.database.read() as session:
        _, rules = known_rules(session)
    if rules.on and rules.contradictions and not context.actor.proved:
        raise PersonNeeded(rules=str(RULE_WORDS[Rule.CONTRADICTIONS]))
    if not order.approve:
        if not order.reason:
            raise ReasonNeeded
        return
    with context.database.read() as session:
        own = session.scalar(
            select(Repair.by)
            .join(Difference, Difference.id == Repair.difference_id)
            .where(
                Difference.run_id == run_id,
                Difference.kind == kind,
                Repair.state == RepairState.PROPOSED,
                Repair.by == order.by,
            )
            .limit(1)
        )
    if own is not None:
        raise SecondPersonNeeded(name=order.by)


# -- what is to be done --------------------------------------------------------------------------


def _wanted(run_id: int, kinds: Sequence[DifferenceClass]) -> Any:
    open_ = and_(
        Difference.run_id == run_id,
        func.coalesce(Repair.state, RepairState.LEFT.value).not_in(_ENDED),
    )
    return and_(open_, Difference.kind.in_(kinds)) if kinds else open_


def _differences(
    context: Context, run_id: int, kind: DifferenceClass
) -> Iterator[list[tuple[Difference, Repair | None]]]:
    """Differences not repaired yet, in chunks by id."""
    last = 0
    while True:
        with context.database.read() as session:
            rows = session.execute(
                select(Difference, Repair)
                .outerjoin(Repair, Repair.difference_id == Difference.id)
                .where(_wanted(run_id, [kind]), Difference.id > last)
                .order_by(Difference.id)
                .limit(DIFFERENCES_TOGETHER)
            ).all()
        if not rows:
            return
        last = rows[-1][0].id
        yield [(d, r) for d, r in rows]


def _carry_out(
    context: Context,
    run_id: int,
    differences: Sequence[tuple[Difference, Repair | None]],
    order: Order,
) -> dict[int, Outcome]:
    kind = differences[0][0].kind
    if kind is DifferenceClass.CONTRADICTION:
        return hold_contradictions(context, differences, order)
    try:
        return ACTIONS[kind](context, [d for d, _ in differences])
    except GatewayUnreachable as error:
        log.warning("repair_waits", run_id=run_id, detail=str(error.values.get("detail")))
        return {d.id: (RepairState.LEFT, "away") for d, _ in differences}


def _note(context: Context, outcomes: dict[int, Outcome], order: Order) -> None:
    """Keep what became of each difference; an approval keeps who proposed it."""
    now = context.now()
    rows = [
        {
            "difference_id": difference_id,
            "state": state,
            "by": order.by,
            "approved_by": order.by if order.approve and state is RepairState.DONE else None,
            "reason": order.reason[:200],
            "outcome": outcome[:400],
            "at": now,
        }
        for difference_id, (state, outcome) in sorted(outcomes.items())
    ]
    with context.database.write() as session:
        for chunk in chunks(rows):
            statement = upserting(session, Repair)
            new = statement.excluded
            changed = {"state": new.state, "outcome": new.outcome, "at": new.at}
            if order.approve:
                changed["approved_by"] = new.approved_by
            else:
                changed |= {"by": new.by, "reason": new.reason}
            session.execute(
                statement.on_conflict_do_update(index_elements=["difference_id"], set_=changed),
                chunk,
            )
