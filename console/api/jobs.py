"""Jobs: brought, looked at, confirmed, taken back; their rows and result sheets."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

from console.api import shapes
from console.api.cursors import pack, unpack_number
from console.api.door import PREFIX, Answer, Call, Operation
from console.api.problems import ResultNotYet
from models.reads.batches import BatchFilter, batch_document, list_batches
from models.reads.endorsements import list_endorsements
from models.reads.row_results import row_results
from models.reads.sight import require_seen
from models.rules.errors import BatchNotOpen
from models.rules.language import Text
from models.rules.people import Deed, Scope, require
from models.rules.requests import ConfirmMode, Request
from models.rules.states import BatchState, text_of
from models.tables.batches import Batch
from models.writes.calls import MadeBefore
from sheets.headers import header_key
from sheets.questions import Answers, load_question
from tasks.context import Context
from tasks.orders import confirming, intake, releasing
from tasks.orders.stepwise import is_large
from tasks.receipts.reporting import write_result_sheet

LOOKED_THROUGH: Final = 5000
"""Rows that one page looks through for an outcome that is rare: a few hundredths of a second."""

_ENDED: Final = (BatchState.FINISHED, BatchState.CANCELLED)


def bring(call: Call) -> Answer:
    """Keep a job; a worker reads and checks it, and confirms it where that was asked for."""
    said: shapes.JobOfOrders | shapes.JobOfSheet = call.body
    actor = call.context.actor
    if said.confirm is not ConfirmMode.NONE:
        require(actor, Deed.ORDER_CONFIRMED)
    if said.immediate:
        require(actor, Deed.ORDER_AT_ONCE)
    request = Request(
        said.confirm, said.pages_mode, said.immediate, said.again, said.beyond_pages, actor.key_id
    )
    brought = intake.Brought(call.must_once, request, said.client_reference)
    if isinstance(said, shapes.JobOfOrders):
        orders = [_as_of_a_sheet(order) for order in said.orders]
        batch_id = intake.keep_orders(call.context, orders, brought)
    else:
        upload = call.must_upload
        answers = answers_of(said.answers)
        batch_id = intake.keep_sheet(call.context, upload.content, upload.name, answers, brought)
    return _job(call.context, batch_id, status=202)


def bring_again(context: Context, before: MadeBefore) -> Answer:
    """The job that the call made the first time, as it is now."""
    return _job(context, before.made_id, status=202)


def answers_of(said: shapes.Answers) -> Answers:
    """Answers as the reader of sheets takes them."""
    columns = {header_key(header): meaning for header, meaning in said.columns.items()}
    return Answers(said.sheet, columns, said.action, said.include_hidden, said.include_struck)


def _as_of_a_sheet(order: shapes.Order) -> dict[str, str]:
    """An order as the cells of a row, so that it is read by the same rules."""
    return {
        "certificate": order.certificate,
        "action": text_of(order.action).zh,  # the same order is the same in every language
        "serial": ",".join(order.serials),
        "page_count": "" if order.pages is None else str(order.pages),
        "stock_source": order.source.value if order.source else "",
        "reason": f"{order.reason or ''} {order.reason_text}".strip(),
        "reference": order.reference,
    }


def listed(call: Call) -> Answer:
    """Jobs, newest first."""
    asked: shapes.JobQuery = call.query
    wanted = BatchFilter(
        call.context.actor if asked.mine else None,
        asked.state,
        asked.client_reference,
        unpack_number(asked.cursor),
        call.context.sight,
    )
    with call.context.database.read() as session:
        jobs = list(list_batches(session, asked.limit, wanted))
    following = jobs[-1]["id"] if len(jobs) == asked.limit else None
    return Answer({"jobs": jobs, "next": pack(following)})


def shown(call: Call, id: int) -> Answer:  # noqa: A002 - the name of the path's parameter
    """A job with its numbers."""
    return _job(call.context, id)


def _job(context: Context, batch_id: int, status: int | None = None) -> Answer:
    with context.database.read() as session:
        batch = _batch(context, session, batch_id)
        document = batch_document(session, batch)
        document["questions"] = [load_question(q).shown() for q in batch.questions]
        waiting = batch.state is BatchState.AWAITING
        asked = list(list_endorsements(session, batch_id=batch_id)) if waiting else []
        document["endorsement"] = asked[0] if asked else None
    return Answer(document, status, {"Location": f"{PREFIX}/jobs/{batch_id}"} if status else {})


def _batch(context: Context, session: Any, batch_id: int) -> Batch:
    return require_seen(context.sight, session.get(Batch, batch_id), batch_id)


def rows(call: Call, id: int) -> Answer:  # noqa: A002
    """Rows and what became of them, page by page."""
    asked: shapes.RowQuery = call.query
    found: list[dict[str, Any]] = []
    last, following = unpack_number(asked.cursor) or 0, None
    with call.context.database.read() as session:
        batch = _batch(call.context, session, id)
        for seen, row in enumerate(row_results(session, batch, last), start=1):
            if asked.outcome is None or row.outcome is asked.outcome:
                found.append(row.document())
            if len(found) == asked.limit or seen == LOOKED_THROUGH:
                following = row.number
                break
    return Answer({"rows": found, "next": pack(following)})


def confirm(call: Call, id: int) -> Answer:  # noqa: A002
    """Say yes to a plan; the same yes once more is answered with the job as it is."""
    said: shapes.Confirmation = call.body
    context = call.context
    with context.database.read() as session:
        small = not is_large(session, _batch(context, session, id))
    yes = confirming.Confirmation(said.plan, said.mode == "all", at_once=said.immediate)
    try:
        confirming.confirm(context, id, yes, reserve_now=small)
    except BatchNotOpen:
        with context.database.read() as session:
            batch = _batch(context, session, id)
            mine = batch.confirmed_by_id == context.actor.person_id
            given = batch.confirmed_at is not None and batch.plan == said.plan and mine
        if not given:
            raise
    return _job(context, id, status=202)


def cancel(call: Call, id: int) -> Answer:  # noqa: A002
    """Take back what has not left."""
    done = releasing.cancel(call.context, id)
    return Answer(
        {
            "batch": id,
            "released": done.released,
            "at_customs": done.at_customs,
            "serials_at_customs": list(done.serials),
        }
    )


def result_xlsx(call: Call, id: int) -> Answer:  # noqa: A002
    """The result sheet."""
    return _result(call, id, "xlsx")


def result_csv(call: Call, id: int) -> Answer:  # noqa: A002
    """The same as CSV."""
    return _result(call, id, "csv")


def _result(call: Call, batch_id: int, kind: str) -> Answer:
    with call.context.database.read() as session:
        if _batch(call.context, session, batch_id).state not in _ENDED:
            raise ResultNotYet(batch=batch_id)
    folder = Path(tempfile.mkdtemp(prefix="blankforms-result-"))
    path = folder / f"job-{batch_id}.{kind}"
    try:
        write_result_sheet(call.context, batch_id, path, refused_only=call.query.refused)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Answer(file=path)


OPERATIONS: Final = (
    Operation(
        "POST", "/jobs", Scope.CHECK, Text("交一个作业", "bring a job"), bring,
        shapes.WholeJob, 202, body=shapes.JobOfOrders, sheet=shapes.JobOfSheet, once=True,
        again=bring_again,
    ),
    Operation("GET", "/jobs", Scope.READ, Text("作业列表", "list jobs"), listed, shapes.Jobs, query=shapes.JobQuery),
    Operation("GET", "/jobs/{id}", Scope.READ, Text("一个作业", "one job"), shown, shapes.WholeJob),
    Operation("GET", "/jobs/{id}/rows", Scope.READ, Text("各行的结果", "its rows"), rows, shapes.Rows, query=shapes.RowQuery),
    Operation("POST", "/jobs/{id}/confirm", Scope.SUBMIT, Text("确认方案", "say yes to its plan"), confirm, shapes.WholeJob, 202, body=shapes.Confirmation),
    Operation("POST", "/jobs/{id}/cancel", Scope.CANCEL, Text("撤回", "take it back"), cancel, shapes.Cancelled),
    Operation("GET", "/jobs/{id}/result.xlsx", Scope.READ, Text("结果表", "its result sheet"), result_xlsx, query=shapes.ResultQuery),
    Operation("GET", "/jobs/{id}/result.csv", Scope.READ, Text("结果表(CSV)", "its result as CSV"), result_csv, query=shapes.ResultQuery),
)  # fmt: skip
