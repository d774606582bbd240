"""What is said to the API and by it, as models: they validate, and the description is made of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from models.rules.people import REASON_LIMIT, Scope
from models.rules.requests import ConfirmMode
from models.rules.states import (
    Action,
    BatchState,
    FormState,
    NotificationType,
    PagesMode,
    RowOutcome,
    RowStatus,
    StockSource,
)
from models.rules.two_persons import EndorsementState
from sheets.headers import ANSWERABLE
from tasks.notify.endpoints import SUBSCRIBABLE

T = TypeVar("T")
_FULL_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _whole(value: Any) -> Any:
    """25.0 is an integer to JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _one_of(*known: str) -> Callable[[T], T]:
    def check(value: T) -> T:
        if value not in known:
            raise ValueError("one of: " + ", ".join(known))
        return value

    return check


def _day(value: Any) -> Any:
    """RFC 3339's full-date and nothing else: pydantic takes numbers too."""
    if isinstance(value, str) and _FULL_DATE.fullmatch(value):
        return value
    raise ValueError("YYYY-MM-DD")


Line = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A text of one line."""
Words = Annotated[
    str,
    Field(min_length=1, max_length=REASON_LIMIT, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$"),
]
"""A text of one line that says something."""
WHOLE = BeforeValidator(_whole)
"""Stands last: what stands behind it is not described."""
Time = Annotated[str, Field(description="RFC 3339, UTC")]
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-11-27"])]
Meaning = Annotated[
    str,
    AfterValidator(_one_of("", *ANSWERABLE)),
    Field(json_schema_extra={"enum": ["", *ANSWERABLE]}),
]
Subscribable = Annotated[
    NotificationType,
    AfterValidator(_one_of(*SUBSCRIBABLE)),
    Field(json_schema_extra={"enum": [event.value for event in SUBSCRIBABLE]}),
]
Cursor = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9_-]*$")]
"""Where a page begins: the `next` of the one before it."""
AskedDay = Annotated[date, BeforeValidator(_day), Field(examples=["2026-11-27"])]
"""A day of a query."""

ORDERS_MOST = 1000
LISTED_MOST = 500
SERIALS_MOST = 500


class Said(BaseModel):
    """What is said to us: nothing but what is described."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Asked(BaseModel):
    """A query: texts are read as what they stand for."""

    model_config = ConfigDict(extra="forbid")


class Told(BaseModel):
    """What we say. More members may come with a later release."""


# -- jobs ---------------------------------------------------------------------------------------


class Order(Said):
    """One certificate's order, as a row of a sheet says it. What does not fit becomes a problem of its row."""

    certificate: Line
    action: Action
    serials: Annotated[list[Line], Field(max_length=SERIALS_MOST, fail_fast=True)] = Field(
        default=[], description="serials or ranges (211013209-211013212)"
    )
    pages: Annotated[int, Field(ge=1, le=100_000), WHOLE] | None = Field(
        default=None, description="so many forms, chosen by the system; to verify alone"
    )
    source: StockSource | None = Field(default=None, description="whose stock")
    reason: Annotated[str, Field(pattern=r"^0[1-9]$")] | None = Field(
        default=None, description="of a void: 01 to 04, or 09 with reason_text"
    )
    reason_text: Line = ""
    reference: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] = Field(
        default="", description="the caller's own; comes back with the row"
    )


class Answers(Said):
    """Answers to the questions about a sheet (docs/sheets.md)."""

    sheet: Line | None = None
    columns: dict[Line, Meaning] = Field(
        default={},
        json_schema_extra={"additionalProperties": False},
        description='field by header; "" for a column that is not used',
    )
    action: Action | None = Field(default=None, description="of rows that do not say it")
    include_hidden: bool | None = None
    include_struck: bool | None = None


class Options(Said):
    """What goes for a whole job."""

    client_reference: (
        Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = None
    confirm: ConfirmMode = Field(
        default=ConfirmMode.NONE,
        description="what is submitted once it is checked: nothing, the right rows, or all rows or none",
    )
    pages_mode: PagesMode = PagesMode.ADDITIONAL
    immediate: bool = Field(default=False, description="with no time to take it back")
    again: Words | None = Field(default=None, description="the same once more, and why")
    beyond_pages: Words | None = Field(default=None, description="past the pages, and why")


class JobOfOrders(Options):
    """A job by JSON."""

    orders: Annotated[list[Order], Field(min_length=1, max_length=ORDERS_MOST, fail_fast=True)]


class JobOfSheet(Options):
    """A job by a spreadsheet: the part `job` beside the part `file`."""

    answers: Answers = Answers()


class Confirmation(Said):
    """Yes to a plan."""

    plan: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    mode: Literal["valid", "all"] = "all"
    immediate: bool = False


class Reason(Said):
    """Why."""

    reason: Words


class JobQuery(Asked):
    """Which jobs: newest first."""

    state: BatchState | None = None
    client_reference: (
        Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = None
    mine: bool = False
    limit: Annotated[int, Field(ge=1, le=LISTED_MOST)] = 50
    cursor: Cursor = ""


class RowQuery(Asked):
    """Which rows, in the order of the sheet. A page may be short and still not be the last."""

    outcome: RowOutcome | None = None
    limit: Annotated[int, Field(ge=1, le=LISTED_MOST)] = LISTED_MOST
    cursor: Cursor = ""


class ResultQuery(Asked):
    """Which rows of a result."""

    refused: bool = False


class Counts(Told):
    """Rows by their check; forms of right rows by what is done with them and by state."""

    rows: int
    ok: int
    problem: int
    skipped: int
    blank: int
    planned: int
    verify: int
    void: int
    by_state: dict[FormState, int]
    refused_forms: int


class Stopped(Told):
    """Why a job does not go on by itself."""

    code: str
    message: str
    values: dict[str, str]


class Question(Told):
    """Something in the sheet that could change what is done."""

    code: str
    message: str
    what: str
    count: int
    why: str
    samples: list[str]
    answers: list[str] = Field(description="as options of the command")


class Endorsement(Told):
    """What a second person is asked for."""

    id: int
    state: EndorsementState
    batch: int | None
    plan: str | None
    rules: list[str]
    asked_by: str
    asked_at: Time
    expires_at: Time
    decided_by: str | None
    decided_at: Time | None = None
    reason: str | None


class Job(Told):
    """A batch."""

    id: int
    client_reference: str | None
    state: BatchState
    file: str
    sha256: str | None
    sheet: str
    plan: str | None
    row_count: int
    redo_of: int | None
    made_by: str | None
    made_via: str | None
    confirmed_by: str | None
    grace_until: Time | None
    created_at: Time
    finished_at: Time | None


class ListedJob(Job):
    """A job in a list."""

    open_forms: int


class WholeJob(Job):
    """A job with its numbers. Counts are null while a large one is read, checked or under way: see `progress`."""

    queued: bool = Field(
        description="a worker is about to read, check and, where asked, confirm it"
    )
    stopped: Stopped | None
    counts: Counts | None
    progress: dict[str, int] = Field(description="forms by state, while it is under way")
    questions: list[Question]
    endorsement: Endorsement | None


class Jobs(Told):
    """A page of jobs."""

    jobs: list[ListedJob]
    next: str | None


class FormOfRow(Told):
    """A serial of a row and where it stands."""

    serial: str
    state: FormState


class ProblemOfRow(Told):
    """What is wrong with a row, and where."""

    code: str
    column: str
    cell: str
    message: str
    suggestion: str


class Row(Told):
    """A row and what became of it."""

    row: int
    status: RowStatus
    outcome: RowOutcome
    certificate: str
    action: Action | None
    reference: str
    serials: list[str]
    forms: list[FormOfRow]
    reason: str
    problems: list[ProblemOfRow]


class Rows(Told):
    """A page of rows."""

    rows: list[Row]
    next: str | None


class Cancelled(Told):
    """What was taken back, and what had left."""

    batch: int
    released: int
    at_customs: int
    serials_at_customs: list[str]


class EndorsementQuery(Asked):
    """Which of what waits: the oldest first."""

    limit: Annotated[int, Field(ge=1, le=LISTED_MOST)] = 200
    cursor: Cursor = ""


class Endorsements(Told):
    """A page of what waits for a second person."""

    endorsements: list[Endorsement]
    next: str | None


class Decided(Told):
    """A decision."""

    endorsement: int
    state: EndorsementState


# -- forms, certificates, stock, nights ---------------------------------------------------------


class CertificateQuery(Asked):
    """Which certificates, by number."""

    type: (
        Annotated[str, Field(min_length=1, max_length=4, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = None
    approved_from: AskedDay | None = None
    approved_to: AskedDay | None = None
    limit: Annotated[int, Field(ge=1, le=LISTED_MOST)] = 200
    cursor: Cursor = ""


class Certificate(Told):
    """A certificate of origin."""

    certificate: str
    type: str
    exporter: str
    agent: str
    handling: Literal["self", "agent"]
    approved_on: Day | None
    pages: int | None
    status: str | None
    forms: int
    used: int = Field(description="of its pages, verified or under way")


class Certificates(Told):
    """A page of certificates."""

    certificates: list[Certificate]
    next: str | None


class FormQuery(Asked):
    """Which forms, by serial. A page may be short and still not be the last."""

    serial: (
        Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = None
    type: (
        Annotated[str, Field(min_length=1, max_length=4, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = None
    certificate: (
        Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = None
    state: list[FormState] = []
    issued_from: AskedDay | None = None
    issued_to: AskedDay | None = None
    owner: (
        Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = None
    handling: Literal["self", "agent"] | None = None
    limit: Annotated[int, Field(ge=1, le=LISTED_MOST)] = 200
    cursor: Cursor = ""


class Form(Told):
    """A blank form."""

    serial: str
    type: str
    state: FormState
    certificate: str | None
    owner: str
    issued_on: Day | None
    hold: str | None


class Forms(Told):
    """A page of forms."""

    forms: list[Form]
    next: str | None


class Passport(Form):
    """All that is known of a form."""

    whole: bool
    """Whether the history is as it was written."""
    messages: list[dict[str, Any]]
    history: list[dict[str, Any]]
    receipts: list[dict[str, Any]]


class StockQuery(Asked):
    """Which stock."""

    owner: (
        Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = None
    type: (
        Annotated[str, Field(min_length=1, max_length=4, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = None


class Stock(Told):
    """A stock of one owner and type."""

    owner: str
    type: str
    issued: int
    counts: dict[str, int]
    ranges: dict[str, list[list[str]]]
    period: dict[str, int]
    threshold: int
    low: bool
    queued: int
    per_day: float
    days_left: int | None
    runs_out_on: Day | None
    ask_for: int


class Stocks(Told):
    """Stocks, with the balance of this month."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: Day = Field(alias="from")
    to: Day
    stocks: list[Stock]


class Imported(Told):
    """What an import did."""

    new: int
    known: int


class SheetAlone(Said):
    """Beside the file of an import."""

    answers: Answers = Answers()


class NewRange(Said):
    """Forms issued together."""

    owner: Words
    form_type: Words
    first_serial: Words
    last_serial: Words
    issued_on: Day | None = None


class NewRanges(SheetAlone):
    """Issued ranges by JSON."""

    ranges: Annotated[list[NewRange], Field(min_length=1, max_length=ORDERS_MOST, fail_fast=True)]


class NewCertificate(Said):
    """A certificate of origin."""

    certificate: Words
    exporter: Words
    agent: Words
    approved_on: Day | None = None
    pages: Annotated[int, Field(ge=1, le=100_000), WHOLE] | None = None


class NewCertificates(SheetAlone):
    """Certificates by JSON."""

    certificates: Annotated[
        list[NewCertificate], Field(min_length=1, max_length=ORDERS_MOST, fail_fast=True)
    ]


class Run(Told):
    """A nightly reconciliation."""

    run: int
    business_date: Day
    state: str
    started_at: Time | None
    finished_at: Time | None
    forms: dict[str, int | None]
    differences: dict[str, Any] | None
    anchor: str | None


class RunQuery(Asked):
    """Which runs: newest first."""

    limit: Annotated[int, Field(ge=1, le=LISTED_MOST)] = 100
    cursor: Cursor = ""


class Runs(Told):
    """A page of runs."""

    runs: list[Run]
    next: str | None


class DifferenceQuery(Asked):
    """Which differences of a run: class by class."""

    limit: Annotated[int, Field(ge=1, le=LISTED_MOST)] = LISTED_MOST
    cursor: Cursor = ""


class WholeRun(Run):
    """A run with a page of what it found."""

    rows: list[dict[str, Any]]
    next: str | None


class Refresh(Said):
    """Customs is asked now. With a certificate: what became of each of its messages that customs may have, and of no
    others; without one: about what is in doubt and due. Receipts, and the lists that settle what a receipt leaves
    open, come for all certificates together: customs gives them by nothing narrower.
    """

    certificate: (
        Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    ) = None


class Accepted(Told):
    """It will be done."""

    accepted: Literal[True] = True


class Able(Told):
    """Whether an order can be carried out to its end right now, and if not, what must who do."""

    able: bool
    hindrances: list[dict[str, str]]


# -- events, endpoints --------------------------------------------------------------------------


class EventQuery(Asked):
    """Which events: after the `next` of the last answer."""

    after: Annotated[int, Field(ge=0, le=(1 << 62))] = 0
    limit: Annotated[int, Field(ge=1, le=LISTED_MOST)] = LISTED_MOST


class Event(Told):
    """What a notification tells, under the same id."""

    place: int
    id: str
    type: str
    timestamp: Time
    data: dict[str, Any]


class Events(Told):
    """The next events, in the one order that never changes."""

    events: list[Event]
    next: int
    poll_after_seconds: int = Field(description="when it is worth asking again")


class NewEndpoint(Said):
    """An address that is told."""

    url: Annotated[str, Field(pattern=r"^https?://[!-~]+$", max_length=2000)]
    events: Annotated[list[Subscribable], Field(min_length=1, max_length=20)]


class EndpointWithSecret(Told):
    """An endpoint; the secret is shown this once, and not in a replay."""

    endpoint: int
    secret: str | None


class Endpoint(Told):
    """An endpoint."""

    endpoint: int
    url: str
    events: list[str]
    active: bool
    disabled_reason: str | None
    pending: int
    failures: int


class EndpointsTold(Told):
    """All endpoints."""

    endpoints: list[Endpoint]


class Change(Said):
    """What is changed of an endpoint."""

    active: bool
    reason: Line = ""


class Rotation(Said):
    """For how long the old secret goes on signing beside the new one."""

    overlap_hours: Annotated[int, Field(ge=0, le=720), WHOLE] = 24


class Tested(Told):
    """What came of a test."""

    delivered: bool
    status: int | None
    detail: str | None


class DeliveryQuery(Asked):
    """Which deliveries, newest first."""

    endpoint: Annotated[int, Field(ge=1, le=(1 << 62))] | None = None
    state: Literal["pending", "delivered", "failed"] | None = None
    limit: Annotated[int, Field(ge=1, le=LISTED_MOST)] = 50
    cursor: Cursor = ""


class Deliveries(Told):
    """A page of deliveries."""

    deliveries: list[dict[str, Any]]
    next: str | None


class Redelivered(Told):
    """How many are told again."""

    redelivered: int


class Me(Told):
    """Who the key acts for, and what it may."""

    name: str
    roles: list[str]
    scopes: list[Scope]
    key: str
    expires_at: Time | None
    principals: list[str] | None
    """The enterprises that the owner works for; null: all."""
    sender: str
    simulated: bool
