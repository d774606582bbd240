"""作业: what becomes of orders, live; taking them back, their results, and doing the failed rows once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any, Final

from flask import Response, request

from console.pages.door import acting, kept_part, moment, moved, page, pages, part, polling
from console.pages.importing import download, seen
from console.pages.lists import EXPORTED_MOST, as_xlsx, limit_of, word_of
from models.reads.batches import (
    BatchFilter,
    batch_counts,
    batch_document,
    batch_progress,
    list_batches,
)
from models.reads.endorsements import known_rules, list_endorsements
from models.reads.pauses import pauses_of
from models.reads.row_results import row_outcomes, row_results
from models.rules.errors import BlankformsError
from models.rules.forecast import minutes_left
from models.rules.language import t
from models.rules.states import FINAL_FORM_STATES, BatchState, FormState, RowOutcome, label
from models.rules.two_persons import Rule
from tasks.context import Context
from tasks.orders import planning, redoing, releasing
from tasks.receipts.reporting import write_result_sheet

ROWS_SHOWN: Final = 100
LOOKED_THROUGH: Final = 5000
"""Rows that are looked through for those that are shown first, refused and open ones."""

LIVE_ROWS: Final = 500
"""A job with more rows shows them when it has ended: while it is under way it is looked at every two seconds."""

_ENDED: Final = (BatchState.FINISHED, BatchState.CANCELLED)
_UNCONFIRMED: Final = (
    BatchState.RECEIVED,
    BatchState.ASKED,
    BatchState.CHECKED,
    BatchState.UNREADABLE,
)


@pages.get("/jobs")
def jobs() -> Response:
    """Jobs of all people, newest first."""
    context, args = acting(), request.args
    exporting = "xlsx" in args
    limit = EXPORTED_MOST if exporting else limit_of(args)
    chosen, below = word_of(args, "state"), word_of(args, "below")
    wanted = BatchFilter(
        context.actor if "mine" in args else None,
        BatchState(chosen) if chosen in set(BatchState) else None,
        word_of(args, "reference") or None,
        int(below) if below.isdecimal() and below.isascii() and len(below) < 19 else None,  # noqa: PLR2004 - 64 bit
        context.sight,
        tried=False,
    )
    with context.database.read() as session:
        found = list(list_batches(session, limit, wanted))
    if exporting:
        titles = (t("作业", "job"), t("状态", "state"), t("文件", "file"), t("行", "rows"), t("未结证单", "open forms"),
                  t("制单人", "made by"), t("客户参考号", "reference"), t("时间", "time"))  # fmt: skip
        rows = [(b["id"], label(BatchState(b["state"])), b["file"], b["row_count"], b["open_forms"], b["made_by"],
                 b["client_reference"], moment(b["created_at"])) for b in found]  # fmt: skip
        return as_xlsx(t("作业.xlsx", "jobs.xlsx"), titles, rows)
    values: dict[str, Any] = {
        "found": found,
        "more": found[-1]["id"] if len(found) == limit else None,
        "states": list(BatchState),
        "state_of": BatchState,
        "unconfirmed": {s.value for s in _UNCONFIRMED},
    }
    return part("jobs.html", "list", **values) if polling() else page("jobs.html", **values)


@pages.get("/jobs/<int:id>")
def job(id: int) -> Response:  # noqa: A002 - the name of the path's parameter
    """One job, live until it has ended."""
    context = acting()
    with context.database.read() as session:
        batch = seen(context, session, id)
        if batch.state in _UNCONFIRMED and polling():
            answer = Response(status=204)  # it came back: all of the page is another one
            answer.headers["HX-Refresh"] = "true"
            return answer
        if batch.state in _UNCONFIRMED:
            return moved("pages.check", id=id)
        if polling():
            mark = _mark(context, session, batch)
            return kept_part("job.html", "live", id, mark, lambda: _live(context, session, batch))
        values = _job(context, session, batch)
    return page("job.html", said=request.args.get("said"), done=None, error=None, **values)


def _mark(context: Context, session: Any, batch: Any) -> Hashable:
    """Another one whenever the live part of a job is.

    Its rows follow from the numbers of its forms: each becomes final or comes back once and for all, and those that
    are on their way are all shown alike.
    """
    how_far = batch_progress(session, batch.id)
    paused = tuple((p.by, p.reason) for p in pauses_of(session, batch.id))
    in_grace = _in_grace(context, batch)
    forms = frozenset(how_far.forms.items())
    return batch.state, batch.row_count, in_grace, forms, how_far.given_back, paused


def _in_grace(context: Context, batch: Any) -> bool:
    until = batch.grace_until
    return until is not None and until > context.now() and batch.state not in _ENDED


def _job(context: Context, session: Any, batch: Any) -> dict[str, Any]:
    again = BatchFilter(redo_of=batch.id, sight=context.sight)
    return {**_live(context, session, batch), "follow": list(list_batches(session, 5, again))}


def _live(context: Context, session: Any, batch: Any) -> dict[str, Any]:
    """What the live part shows: the same for all who see the job."""
    document = batch_document(session, batch)
    forms = document["progress"] or (document["counts"] or {}).get("by_state", {})
    how_far = batch_progress(session, batch.id) if not document["counts"] else None
    given_back = how_far.given_back if how_far else document["counts"]["refused_forms"]
    ended = batch.state in _ENDED
    rows = _rows(session, batch) if ended or batch.row_count <= LIVE_ROWS else []
    asked = None
    if batch.state is BatchState.AWAITING:
        asked = next(list_endorsements(session, batch_id=batch.id), None)
    _, rules = known_rules(session)
    live = {FormState(s): n for s, n in forms.items() if n}
    total = sum(live.values()) + given_back
    back = batch_counts(session, batch.id) if ended else None
    final = sum(n for s, n in live.items() if s in FINAL_FORM_STATES)
    begun = max(filter(None, (batch.confirmed_at, batch.grace_until)), default=context.now())
    return {
        "batch": batch,
        "forms": live,
        "given_back": given_back,
        "total": total,
        "minutes": None
        if ended
        else minutes_left(final + given_back, total - final - given_back, context.now() - begun),
        "ended": ended,
        "again": back is not None and back.refused_forms + back.released_forms > 0,
        "row_outcomes": _row_outcomes(session, batch) if ended else {},
        "rows": rows,
        "asked": asked,
        "rules": [rules.words(Rule(r)) for r in asked["rules"]] if asked else [],
        "paused": pauses_of(session, batch.id),
        "state_of": FormState,
        "in_grace": _in_grace(context, batch),
    }


def _row_outcomes(session: Any, batch: Any) -> dict[RowOutcome, int]:
    """How many rows came to what; {} for a job of so many that counting them is not for a page."""
    if batch.row_count > LOOKED_THROUGH:
        return {}
    found = row_outcomes(session, batch, LOOKED_THROUGH)
    return dict(Counter(outcome for _, outcome in found).most_common())


def _rows(session: Any, batch: Any) -> list[Any]:
    """Refused and open rows before those that are done; each group in the order of the sheet."""
    order = {RowOutcome.REFUSED: 0, RowOutcome.NOT_PROCESSED: 1, RowOutcome.OPEN: 2}
    places = sorted(
        (order.get(outcome, 3), number)
        for number, outcome in row_outcomes(session, batch, LOOKED_THROUGH)
    )
    shown = [number for _, number in places[:ROWS_SHOWN]]
    rows = {row.number: row for row in row_results(session, batch, numbers=shown)}
    return [rows[number] for number in shown if number in rows]


@pages.post("/jobs/<int:id>/cancel")
def cancel(id: int) -> Response:  # noqa: A002
    """撤回: what has not left comes back; what has left is named."""
    context = acting()
    done, error = None, None
    try:
        done = releasing.cancel(context, id)
    except BlankformsError as refused:
        error = refused
    with context.database.read() as session:
        batch = seen(context, session, id)
        values = _job(context, session, batch)
    return page("job.html", 409 if error else 200, said=None, done=done, error=error, **values)


@pages.post("/jobs/<int:id>/redo")
def redo(id: int) -> Response:  # noqa: A002
    """重做失败行: a new job of the rows that were refused or taken back."""
    context = acting()
    with context.database.read() as session:
        seen(context, session, id)
    made = redoing.redo(context, id)
    planning.check(context, made.batch_id)
    return moved("pages.check", id=made.batch_id)


@pages.get("/jobs/<int:id>/result.xlsx")
def result(id: int) -> Response:  # noqa: A002
    """结果表, all rows or the refused ones."""
    context, refused = acting(), "refused" in request.args
    with context.database.read() as session:
        seen(context, session, id)
    name = f"{id}_{'失败行' if refused else '结果'}.xlsx"
    return download(name, lambda path: write_result_sheet(context, id, path, refused_only=refused))
