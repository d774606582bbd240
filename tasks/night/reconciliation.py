"""Stage 7, reconcile: each night every form is compared with customs' list, both ways.

Reads customs and never submits; brings the certificates up to date, and what they used before us, and
changes nothing else of ours. One run for each business date. Its place moves in the transaction that stores
what was found, under a lease, so a run that was killed goes on, a second one at the same time finds nothing to
do, and a finished one is frozen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from config.crash import Point, crash_point
from config.names import Task
from customs.gateway import CustomsForm, NotFound, Taken
from customs.records import SetAside
from models.reads.customs_list import (
    START,
    Found,
    Judgement,
    Key,
    Listed,
    differing,
    expected_lines,
    judge,
    listed_lines,
    our_forms,
)
from models.reads.deployment import require_identity
from models.reads.overdue import (
    expired_reservations,
    more_than_pages,
    overdue_submissions,
    printed_not_verified,
    unaccounted,
    unmatched_receipts,
)
from models.reads.stock_book import day_in_numbers
from models.rules.calendar import business_date
from models.rules.errors import (
    AnotherDeployment,
    BadArgument,
    CustomsUndecided,
    GatewayUnreachable,
    ListRefused,
    RunNotFound,
)
from models.rules.language import t
from models.rules.states import NotificationType, RunState
from models.tables.reconciliation import Difference, Run
from models.writes.announcements import announce
from models.writes.leases import give_back, this_host
from models.writes.runs import new_run
from tasks.app import app
from tasks.context import Context, current
from tasks.journal import Entry
from tasks.lists import aside_in_words, form_page, raise_refused, raise_set_aside
from tasks.night.audit import take_anchor
from tasks.night.run_place import Place, RunLost, claim_run, move, put_off
from tasks.stock.imports import known_owners, sync_certificates

log = structlog.get_logger(__name__)

RUN_SECONDS: Final = 20.0
"""A ring's work ends after that and goes on with the next ring: the worker has other things to do."""

PAGES_TOGETHER: Final = 5
"""Pages of customs' list between two commits: a run that is killed reads at most so many again."""


def open_run(context: Context, day: date | None = None) -> int:
    """The run of a date (today's at customs by default), due now; gives its id.

    Raises `BadArgument` for a date that has not come, or that has passed without a run: customs lists
    what is, not what was. After a restored database tomorrow's may be run today, because that of
    today may have been before.
    """
    now = context.now()
    today = business_date(now)
    day = day or today
    with context.database.read() as session:
        restored = context.journal.behind(session)
    newest = today + timedelta(days=1) if restored else today
    if day > newest:
        raise BadArgument(detail=t(f"{day} 尚未到来", f"{day} has not come yet"))
    with context.database.write() as session:
        if day >= today:
            new_run(session, day, now)
        elif session.scalar(select(Run.id).where(Run.business_date == day)) is None:
            raise BadArgument(
                detail=t(
                    f"{day} 没有对账；海关只有现在的清单，不能补做",
                    f"there was no run on {day}; customs lists what is, not what was",
                )
            )
        session.execute(
            update(Run)
            .where(Run.business_date == day, Run.state == RunState.PLANNED, Run.due_at > now)
            .values(due_at=now)
        )
        return session.scalars(select(Run.id).where(Run.business_date == day)).one()


def reconcile(
    context: Context, run_id: int | None = None, seconds: float = RUN_SECONDS
) -> RunState | None:
    """Go on with a run (the oldest that is due, or this one) for so long; gives its state then.

    None: there is none to go on with, or another process is at it. Raises `GatewayUnreachable`, and
    `CustomsUndecided` after a restored database, and `AnotherDeployment`; the run keeps its place and is due
    again after a while.
    """
    with context.database.read() as session:
        require_identity(session, context.identity)
    place = claim_run(context, run_id)
    if place is None:
        return None
    end = time.monotonic() + seconds
    try:
        while place.stage != _DONE and time.monotonic() < end:
            place = STAGES[place.stage](context, place)
    except RunLost:
        log.info("run_taken_over", run_id=place.run_id)
        return None
    except (GatewayUnreachable, CustomsUndecided):
        put_off(context, place)
        raise
    finally:
        with context.database.write() as session:
            give_back(session, place.run_id, place.lease)
    if place.stage == _DONE:
        context.ring(Task.DELIVER)
        return RunState.FINISHED
    context.ring(Task.RECONCILE)
    return RunState.COMPARING


def run_state(context: Context, run_id: int) -> RunState:
    """Where a run stands. Raises `RunNotFound`."""
    with context.database.read() as session:
        state = session.scalar(select(Run.state).where(Run.id == run_id))
    if state is None:
        raise RunNotFound(run=run_id)
    return state


# -- the stages ---------------------------------------------------------------------------------


def _certificates(context: Context, place: Place) -> Place:
    """Bring the certificates of the next enterprise up to date."""
    following = _next_holder(context, place.holder)
    if following is None:
        to = replace(place, stage="forms", holder="", cursor="", after=START)
    else:
        sync_certificates(context, [following])
        to = replace(place, holder=following)
    with context.database.write() as session:
        return move(session, context, place, to)


def _forms(context: Context, place: Place) -> Place:
    """Compare the next pages of a holder's forms; `holder` is the one under way, "" before the first."""
    if not place.holder:
        _await_decisions(context)
        with context.database.write() as session:
            return move(session, context, place, _to_next_holder(context, place))
    pages = _Pages(context.now())
    to = place
    try:
        for _ in range(PAGES_TOGETHER):
            to = _compare(context, to, pages)
            if not to.cursor:
                to = _to_next_holder(context, place)
                break
    except ListRefused as error:
        raise_refused(context, place.holder, error)
        to = _to_next_holder(context, place)
    crash_point(Point.PAGE_COMPARED)
    raise_set_aside(context, aside_in_words("/forms", place.holder, pages.aside))
    judgement = _judge(context, place.holder, pages)
    with context.database.write() as session:
        return move(
            session,
            context,
            place,
            to,
            (_as_row(place.holder, found) for found in judgement.found),
            ours=Run.ours + pages.ours,
            listed=Run.listed + pages.listed,
            moving=Run.moving + judgement.moving,
            before_us=Run.before_us + len(judgement.past),
            past=judgement.past,
        )


def _await_decisions(context: Context) -> None:
    """After a restored database, let customs decide what was forgotten before its list is read.

    A form of an undecided message is listed as issued: it would be taken for free, and used again.
    Raises `CustomsUndecided`, `GatewayUnreachable`.
    """
    with context.database.read() as session:
        forgotten = {e.number: e for e in context.journal.unknown(session)}
    if not forgotten:
        return
    now = context.now()
    in_flight = timedelta(seconds=context.settings.lease_seconds + context.settings.settle_seconds)
    waiting: dict[Hashable, str] = {("forgotten", now, number): number for number in forgotten}
    undecided: list[Entry] = []
    for token, number in waiting.items():
        context.gateway.start_ask(token, number, None)
    while waiting:
        for token, outcome in context.gateway.completed(len(waiting)):
            if token not in waiting:
                continue  # an answer to an earlier run's question says nothing about now
            number = waiting.pop(token)
            if isinstance(outcome, NotFound):
                conclusive = now >= datetime.fromisoformat(forgotten[number].at) + in_flight
            elif isinstance(outcome, Taken):
                conclusive = outcome.decided
            else:
                raise GatewayUnreachable(detail=f"/messages/{number}: {outcome}")
            if not conclusive:
                undecided.append(forgotten[number])
    if undecided:
        first = min(undecided, key=lambda e: e.at)
        raise CustomsUndecided(
            count=len(undecided), number=first.number, certificate=first.certificate
        )


def _to_next_holder(context: Context, place: Place) -> Place:
    holder = _next_holder(context, place.holder)
    stage = "forms" if holder else "open"
    return replace(place, holder=holder or "", cursor="", after=START, stage=stage)


@dataclass(slots=True)
class _Pages:
    """Pages compared together: what differs in them."""

    asked_at: datetime
    different: set[Key] = field(default_factory=set)
    theirs: dict[Key, Listed] = field(default_factory=dict)
    aside: list[SetAside] = field(default_factory=list)
    ours: int = 0
    listed: int = 0


def _compare(context: Context, place: Place, pages: _Pages) -> Place:
    """Compare one page; gives where the next one begins, without a cursor at the end.

    Of a record that was set aside nothing is concluded: not about its form, and, when it cannot be told
    which that is, not about any form that the page does not list. Raises `ListRefused`,
    `GatewayUnreachable`.
    """
    forms: list[CustomsForm] = []
    aside: list[SetAside] = []
    cursor: str | None = place.cursor
    last = place.after
    while cursor is not None:
        page = form_page(context, place.holder, cursor)
        forms += page.forms
        aside += page.aside
        cursor = page.cursor
        last = page.ends_at or last
        if page.ends_at or not (page.forms or page.aside):
            break  # else it ends with a record that cannot be read, which the next page follows
    if forms and (forms[0].serial, forms[0].form_type) <= place.after:
        raise ListRefused(detail="/forms: not ascending by serial and type")
    last = max(last, place.after)
    with context.database.read() as session:
        ours = expected_lines(session, place.holder, place.after, last if cursor else None)
    different = differing(ours, listed_lines(forms))
    different -= {a.form for a in aside if a.form is not None}
    if any(a.form is None for a in aside):
        different &= {(f.serial, f.form_type) for f in forms}
    if different:
        pages.different |= different
        serials = {serial for serial, _ in different}
        pages.theirs |= {(f.serial, f.form_type): f for f in forms if f.serial in serials}
    pages.aside += aside
    pages.ours += len(ours)
    pages.listed += len(forms) + len(aside)
    return replace(place, cursor=cursor or "", after=last)


def _judge(context: Context, holder: str, pages: _Pages) -> Judgement:
    """Class what differs, by our forms as they are after customs was asked."""
    with context.database.read() as session:
        restored = context.journal.behind(session)
        forms = our_forms(session, pages.different)
    settled = pages.asked_at - timedelta(minutes=context.settings.moving_minutes)
    if restored:  # nothing is under way, and what was forgotten minutes ago must be found
        settled = datetime.max.replace(tzinfo=UTC)
    return judge(holder, pages.different, forms, pages.theirs, settled)


def _as_row(holder: str, found: Found) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "owner": holder,
        "form_type": found.form_type,
        "first_serial": found.first_serial,
        "last_serial": found.last_serial,
        "form_count": found.form_count,
        "state": found.state,
        "certificate": found.certificate,
        "customs_state": found.customs_state,
        "customs_certificate": found.customs_certificate,
        "issued_on": found.issued_on,
        "since": found.since,
    }


def _open(context: Context, place: Place) -> Place:
    """What waits too long, the anchor of the history, and the end: one transaction, frozen after it."""
    now = context.now()
    overdue = now - timedelta(hours=context.settings.no_answer_hours)
    anchor = take_anchor(context, place.day)
    with context.database.read() as session:
        yesterday = day_in_numbers(session, business_date(now) - timedelta(days=1))
    to = replace(place, stage=_DONE)
    with context.database.write() as session:
        found = (
            *overdue_submissions(session, place.run_id, overdue),
            *expired_reservations(session, now),
            *unmatched_receipts(session),
            *printed_not_verified(session, business_date(now)),
            *unaccounted(session),
            *more_than_pages(session),
        )
        to = move(session, context, place, to, found)
        counts = _counts(session, place.run_id)
        session.execute(
            update(Run)
            .where(Run.id == place.run_id)
            .values(
                state=RunState.FINISHED,
                finished_at=now,
                counts=counts,
                anchor=anchor,
                anchor_place=f"{this_host()} {context.settings.anchors}"[:300],
            )
        )
        told = {
            "run": place.run_id,
            "business_date": place.day.isoformat(),
            "differences": counts,
            "yesterday": yesterday,
            "anchor": anchor,
        }
        announce(session, NotificationType.RECONCILIATION_FINISHED, told, now)
        crash_point(Point.RUN_BEFORE_COMMIT)
    log.info("reconciled", run_id=place.run_id, day=str(place.day), differences=counts)
    return to


def _counts(session: Session, run_id: int) -> dict[str, dict[str, int]]:
    """Differences by class: how many, how many forms, and the oldest in days."""
    found = session.execute(
        select(
            Difference.kind,
            func.count(),
            func.sum(Difference.form_count),
            func.max(Difference.age_days),
        )
        .where(Difference.run_id == run_id)
        .group_by(Difference.kind)
        .order_by(Difference.kind)
    )
    return {
        kind.value: {"differences": count, "forms": int(forms or 0), "oldest_days": oldest}
        for kind, count, forms, oldest in found
    }


def _next_holder(context: Context, after: str) -> str | None:
    return next((h for h in known_owners(context) if h > after), None)


_DONE: Final = "done"
STAGES: Final[dict[str, Callable[[Context, Place], Place]]] = {
    "certificates": _certificates,
    "forms": _forms,
    "open": _open,
}


@app.task(name=Task.RECONCILE.value)
def reconcile_task() -> None:
    """It is the hour, or a run was interrupted."""
    try:
        reconcile(current())
    except (GatewayUnreachable, CustomsUndecided) as error:
        log.warning("reconcile_waits", code=error.code, **error.values)
    except AnotherDeployment as refusal:
        log.warning("reconcile_waits", code=refusal.code, detail=str(refusal))
