"""批量导入: a sheet is kept at once, read by a worker, asked about, checked, and said yes to."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from flask import Response, request

from console.pages.door import able, acting, moved, once_of, page, pages, part, polling, uploaded
from console.pages.lists import attached
from models.reads.batches import BatchFilter, list_batches
from models.reads.deployment import known_grace
from models.reads.endorsements import sent_back, would_ask
from models.reads.plans import PlanRow, plan_rows, plan_view
from models.reads.row_results import row_results
from models.reads.sight import require_seen
from models.rules.errors import BatchNotOpen, BlankformsError
from models.rules.language import t
from models.rules.people import Deed, kept_reason, require
from models.rules.requests import Request
from models.rules.results import RowResult
from models.rules.states import BatchState, PagesMode, RowStatus
from models.tables.batches import Batch
from models.writes.calls import MadeBefore
from sheets.corrections import Correction, place_of, suggested
from sheets.headers import ours_in
from sheets.questions import NO_ANSWERS, answer_words, answers_said, load_answers, load_question
from sheets.template import write_template
from sheets.told import how_read
from tasks.context import Context
from tasks.orders import answering, confirming, intake, planning
from tasks.orders.stepwise import is_large
from tasks.receipts.reporting import write_check_sheet

PROBLEM_ROWS: Final = 50
"""Rows with problems that the check shows as the person's own sheet; the error sheet has all."""

PLANNED_ROWS: Final = 50

LOOKED_FOR_SAMPLES: Final = 500
"""Rows among which those are looked for that say something in a questioned column."""
SAMPLE_ROWS: Final = 5

_LAST: Final = 10


@pages.get("/import")
def importing() -> Response:
    """Drop a file; the last uploads beside it."""
    return _importing()


def _importing(error: BlankformsError | None = None) -> Response:
    context = acting()
    with context.database.read() as session:
        last = list(
            list_batches(
                session, _LAST, BatchFilter(context.actor, sight=context.sight, tried=False)
            )
        )
    return page("import.html", 422 if error else 200, last=last, error=error, once=secrets.token_hex(16),
                state_of=BatchState)  # fmt: skip


@pages.post("/import")
def bring() -> Response:
    """Keep the file and go to its check at once: a worker reads it. Sent twice, it is one upload."""
    context = acting()
    try:
        require(context.actor, Deed.ORDER_CONFIRMED)
        name, content = uploaded("file")
    except BlankformsError as error:
        return _importing(error)
    mode = (
        PagesMode.TOP_UP
        if request.form.get("mode") == PagesMode.TOP_UP.value
        else PagesMode.ADDITIONAL
    )
    try:
        brought = intake.Brought(once_of(content + mode.value.encode()), Request(pages_mode=mode))
        batch_id = intake.keep_sheet(context, content, name, NO_ANSWERS, brought)
    except MadeBefore as before:
        batch_id = before.made_id
    return moved("pages.check", id=batch_id)


@pages.get("/template.xlsx")
def template() -> Response:
    """A sheet to begin with."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.xlsx"
        write_template(path)
        return attached(path.read_bytes(), "空白证单_模板.xlsx")


def seen(context: Context, session: Any, batch_id: int) -> Batch:
    """The batch, where whoever is signed in may see it. Raises `BatchNotFound`."""
    return require_seen(context.sight, session.get(Batch, batch_id), batch_id)


@pages.get("/jobs/<int:id>/check")
def check(id: int) -> Response:  # noqa: A002 - the name of the path's parameter
    """预检, or where the sheet is on its way there: being read, asked about, refused."""
    context = acting()
    with context.database.read() as session:
        batch = seen(context, session, id)
    if batch.state is BatchState.RECEIVED and batch.header_row and batch.queued_at is None:
        planning.check(context, id)  # whoever kept it ended before it was checked
        with context.database.read() as session:
            batch = seen(context, session, id)
    if batch.state is BatchState.RECEIVED or batch.queued_at is not None:
        if polling():
            return part("reading.html", "progress", batch=batch)
        return page("reading.html", batch=batch)
    if polling():  # it is read: all of the page is another one
        answer = Response(status=204)
        answer.headers["HX-Refresh"] = "true"
        return answer
    if batch.state is BatchState.ASKED:
        return _questions(context, batch)
    if batch.state in {BatchState.CHECKED, BatchState.UNREADABLE}:
        return _check(context, batch)
    return moved("pages.job", id=id)


def _questions(context: Context, batch: Batch, error: BlankformsError | None = None) -> Response:
    questions = [load_question(q) for q in batch.questions]
    asked = {q.what for q in questions}
    columns = [i for i, h in enumerate(batch.header) if h in asked]
    with context.database.read() as session:
        looked = list(islice(row_results(session, batch), LOOKED_FOR_SAMPLES))
    with_values = [r for r in looked if any(r.cells[i] for i in columns if i < len(r.cells))]
    first = (with_values or looked)[:SAMPLE_ROWS]
    return page("questions.html", 422 if error else 200, batch=batch, questions=questions, first=first,
                asked=asked, words=answer_words, error=error)  # fmt: skip


@pages.post("/jobs/<int:id>/answers")
def answer(id: int) -> Response:  # noqa: A002
    """Answers to the questions about a sheet; it is read anew with them."""
    context = acting()
    with context.database.read() as session:
        batch = seen(context, session, id)
    chosen = [
        request.form[f"q{i}"] for i in range(len(batch.questions)) if request.form.get(f"q{i}")
    ]
    try:
        answering.answer(context, id, answers_said(chosen, _before(batch)))
    except BatchNotOpen:
        return moved("pages.check", id=id)
    except BlankformsError as error:
        return _questions(context, batch, error)
    return moved("pages.check", id=id)


def _before(batch: Batch) -> Any:
    return load_answers(batch.answers) if batch.answers else NO_ANSWERS


@dataclass(frozen=True, slots=True)
class Wrong:
    """A row with problems, as the person's sheet has it: messages by column, and those of no column."""

    row: RowResult
    by_column: dict[int, list[str]]
    others: Sequence[str]
    offered: dict[int, Correction]
    """By column: what may be taken by a click."""


def _wrong(batch: Batch, row: RowResult) -> Wrong:
    by_column: dict[int, list[str]] = {}
    others: list[str] = []
    offered = {}
    if batch.sha256 is not None and able(Deed.ORDER_CONFIRMED):
        offered = {c.cell: c for c in suggested(row.cells, row.problems)}
    hidden = ours_in(batch.header)
    for problem in row.problems:
        place = place_of(problem.cell)
        column = batch.columns.get(problem.field) if place is None else place[1]
        if column is not None and (column in hidden or column >= len(batch.header)):
            column = None  # no cell that is shown
        said = [problem.message]
        if problem.suggestion and problem.cell not in offered:
            said.append(t("建议: ", "suggestion: ") + problem.suggestion)
        (others if column is None else by_column.setdefault(column, [])).extend(said)
    taken = {place[1]: c for cell, c in offered.items() if (place := place_of(cell)) is not None}
    return Wrong(row, by_column, others, taken)


def _check(context: Context, batch: Batch, error: BlankformsError | None = None) -> Response:
    stopped = batch.asked_for.get("stopped")
    with context.database.read() as session:
        before = (
            confirming.submitted_before(session, batch)
            if batch.state is BatchState.CHECKED
            else None
        )
        view = plan_view(session, batch.id)
        bad_rows = islice(row_results(session, batch, status=RowStatus.PROBLEM), PROBLEM_ROWS)
        wrong = [_wrong(batch, row) for row in bad_rows]
        right_rows = plan_rows(session, batch, RowStatus.OK, PLANNED_ROWS)
        planned = list(islice(right_rows, PLANNED_ROWS))
        grace = known_grace(session)
        asks = would_ask(session, batch, context.actor, context.now(), again=before is not None)
        last = sent_back(session, batch.id)
    counts = view.counts.rows
    right, bad = counts.get(RowStatus.OK, 0), counts.get(RowStatus.PROBLEM, 0)
    lifts = {p.code for w in wrong for p in w.row.problems} & {"duplicate_order", "pages_exceeded"}
    offered = [c.cell for w in wrong for c in w.offered.values()]
    return page(
        "check.html", 422 if error else 200, batch=batch, view=view, wrong=wrong, planned=planned, grace=grace,
        right=right, bad=bad, mostly_wrong=bad > confirming.PROBLEM_RATE * (right + bad), before=before,
        stopped=stopped, error=error, how=list(how_read(batch.reading, asked=False)), lifts=lifts,
        asks=asks, last=last, of_window=_of_window(batch, planned, wrong), offered=offered[:PROBLEM_ROWS],
        ours=ours_in(batch.header),
    )  # fmt: skip


def _of_window(batch: Batch, planned: Sequence[PlanRow], wrong: Sequence[Wrong]) -> str:
    """The certificate in whose window the order was made; "" for one that comes from elsewhere."""
    if batch.sha256 is not None or batch.row_count != 1:
        return ""
    return next(
        (row.certificate for row in (*(p.row for p in planned), *(w.row for w in wrong))), ""
    )


@pages.post("/jobs/<int:id>/corrections")
def correct(id: int) -> Response:  # noqa: A002
    """Take suggestions of the check: one, or all that are shown. The sheet is read anew with them."""
    context = acting()
    with context.database.read() as session:
        batch = seen(context, session, id)
    try:
        answering.correct(context, id, request.form.get("take", "").split(",")[:PROBLEM_ROWS])
    except BatchNotOpen:
        return moved("pages.check", id=id)
    except BlankformsError as error:
        return _check(context, batch, error)
    return moved("pages.check", id=id)


@pages.post("/jobs/<int:id>/recheck")
def recheck(id: int) -> Response:  # noqa: A002
    """Check once more, allowing what the person gives a reason for."""
    context, form = acting(), request.form
    with context.database.read() as session:
        batch = seen(context, session, id)
    try:
        reason = kept_reason(form.get("reason", ""))
        lift = planning.Lift(
            reason if "again" in form else batch.again_reason,
            reason if "beyond" in form else batch.beyond_reason,
        )
        if batch.state is BatchState.CHECKED:
            planning.lift(context, id, lift)
    except BlankformsError as error:
        return _check(context, batch, error)
    return moved("pages.check", id=id)


@pages.post("/jobs/<int:id>/confirm")
def confirm(id: int) -> Response:  # noqa: A002
    """Yes to exactly the plan that was shown. The same yes twice is one."""
    context, form = acting(), request.form
    with context.database.read() as session:
        batch = seen(context, session, id)
        small, plan = not is_large(session, batch), form.get("plan", "")
    number = form.get("certificate", "")
    said_so = confirming.Confirmation(
        plan,
        all_or_nothing=form.get("mode") == "all" or bool(number),
        again="again" in form,
        at_once="now" in form,
    )
    try:
        goes_on = confirming.confirm(context, id, said_so, reserve_now=small)
    except BatchNotOpen:
        if not _given(context, id, plan):
            raise
        return moved("pages.job", id=id)  # said before: the job says where it stands
    except BlankformsError as error:
        if number:
            return page("error.html", 409, error=error, back=number)
        with context.database.read() as session:
            return _check(context, seen(context, session, id), error)
    if not number:
        return moved("pages.job", id=id, said="confirmed" if goes_on else "asked")
    with context.database.read() as session:
        confirmed = seen(context, session, id)
    said = (
        "asked" if not goes_on else ("grace" if confirmed.grace_until else form.get("action", ""))
    )
    return moved("pages.window", number=number, said=said, job=id)


def _given(context: Context, batch_id: int, plan: str) -> bool:
    """Whether this person has said yes to that plan already: a button pressed twice."""
    with context.database.read() as session:
        batch = seen(context, session, batch_id)
    return (
        batch.confirmed_at is not None
        and batch.plan == plan
        and batch.confirmed_by_id == context.actor.person_id
    )


@pages.get("/jobs/<int:id>/errors.xlsx")
def errors(id: int) -> Response:  # noqa: A002
    """错误表: the wrong rows of the person's sheet with what is wrong beside them, to be corrected and uploaded; the
    right ones may have been submitted meanwhile.
    """
    context = acting()
    with context.database.read() as session:
        batch = seen(context, session, id)
    return download(
        t(f"{batch.id}_错误表.xlsx", f"{batch.id}_errors.xlsx"),
        lambda path: write_check_sheet(context, id, path, wrong_only=True),
    )


def download(name: str, write: Any) -> Response:
    """A sheet that is written for this answer."""
    with tempfile.TemporaryDirectory(prefix="blankforms-page-") as folder:
        path = Path(folder) / "sheet.xlsx"
        write(path)
        return attached(path.read_bytes(), name)
