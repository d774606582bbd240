"""Whether orders can be carried out, customs asked now, and the nightly reconciliations."""

from __future__ import annotations

from datetime import date
from typing import Final

from console.api import shapes
from console.api.cursors import number_of, pack, unpack, unpack_day
from console.api.door import Answer, Call, Operation
from console.api.problems import CursorUnknown
from models.reads.nights import differences, list_runs, run_of_day
from models.rules.differences import DifferenceClass
from models.rules.errors import BadArgument, NotFound
from models.rules.language import Text
from models.rules.numbers import NotACertificateNumber, parse_certificate_number
from models.rules.people import Scope
from models.rules.problems import Problem
from tasks.ability import hindrances
from tasks.receipts import refreshing


def runs(call: Call) -> Answer:
    """Runs, newest first."""
    asked: shapes.RunQuery = call.query
    with call.context.database.read() as session:
        found = list(list_runs(session, asked.limit, unpack_day(asked.cursor)))
    following = found[-1]["business_date"] if len(found) == asked.limit else None
    return Answer({"runs": found, "next": pack(following)})


def run(call: Call, day: str) -> Answer:
    """The run of a business date with what it found, class by class and page by page."""
    asked: shapes.DifferenceQuery = call.query
    after = _place(asked.cursor)
    try:
        on = date.fromisoformat(day)
    except ValueError:
        raise NotFound(what=day) from None
    with call.context.database.read() as session:
        head = run_of_day(session, on)
        if head is None:
            raise NotFound(what=day)
        found = list(differences(session, head["run"], limit=asked.limit, after=after))
    last = found[-1] if len(found) == asked.limit else None
    return Answer(head | {"rows": found, "next": pack(last and f"{last['class']} {last['id']}")})


def _place(cursor: str) -> tuple[DifferenceClass, int] | None:
    """The class and id of the difference that a page ended with; None for none. Raises `CursorUnknown`."""
    kind, _, number = unpack(cursor).partition(" ")
    if not kind:
        return None
    if kind not in set(DifferenceClass):
        raise CursorUnknown(cursor=cursor)
    return DifferenceClass(kind), number_of(number, cursor)


def refresh(call: Call) -> Answer:
    """Have customs asked now rather than in a while: for receipts, and about what is in doubt or of a certificate."""
    number = call.body.certificate
    if number is not None:
        try:
            number = str(parse_certificate_number(number))
        except NotACertificateNumber as error:
            problem = Problem(error.code, values={"value": number})
            raise BadArgument(detail=problem.message) from None
    refreshing.refresh_soon(call.context, number)
    return Answer({"accepted": True})


def able(call: Call) -> Answer:
    """Whether an order can be carried out to its end right now."""
    found = hindrances(call.context.settings, call.context.database)
    return Answer({"able": not found, "hindrances": [h.shown() for h in found]})


OPERATIONS: Final = (
    Operation("GET", "/able", None, Text("现在能否办理到底", "can an order be carried out"), able, shapes.Able),
    Operation("POST", "/refresh", Scope.READ, Text("立即向海关查询", "ask customs now"), refresh, shapes.Accepted, 202, body=shapes.Refresh, body_optional=True),
    Operation("GET", "/runs", Scope.READ, Text("对账列表", "reconciliations"), runs, shapes.Runs, query=shapes.RunQuery, whole=True),
    Operation("GET", "/runs/{day}", Scope.READ, Text("一天的对账", "the reconciliation of a day"), run, shapes.WholeRun, query=shapes.DifferenceQuery, whole=True),
)  # fmt: skip
