"""Batches (one upload or one order), their rows, and the serials that each row is about."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    false,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.rules.states import Action, BatchState, ItemState, PagesMode, RowStatus, StockSource
from models.tables.base import (
    Base,
    BigId,
    Id,
    Json,
    JsonDict,
    Serial,
    UTCDateTime,
    When,
    state_column,
)

_OPEN = "state IN ('confirmed', 'working')"
_UNCONFIRMED = "state IN ('received', 'unreadable', 'asked', 'checked')"
_ENDED = "state IN ('finished', 'cancelled')"

OPEN_BATCH: Final[ColumnElement[bool]] = literal_column(f"batch.{_OPEN}")
UNCONFIRMED_BATCH: Final[ColumnElement[bool]] = literal_column(f"batch.{_UNCONFIRMED}")
ENDED_BATCH: Final[ColumnElement[bool]] = literal_column(f"batch.{_ENDED}")
"""In the words of the partial indexes: see `models.tables.submissions.WAITS_TO_LEAVE`."""


class Upload(Base):
    """The bytes of a sheet as they came, by content. Kept for the result sheet and the auditor."""

    __tablename__ = "upload"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[When]


class Batch(Base):
    """One upload, or one order from the command line.

    A reading is content, sheet, answers and pages mode. `reading_key` stands for what was to be read, so
    that the same is not read again; `order_key` for what was read: the plan's hash is made with it,
    and `confirmed_content` is that of a confirmed batch, unique: the same cannot be confirmed twice
    unless the person says `--again` (then it is NULL). `again_reason` and `beyond_reason` are what a
    person said for ordering a certificate again, and for going past its pages.
    """

    __tablename__ = "batch"

    id: Mapped[Id]
    state: Mapped[BatchState] = mapped_column(state_column(BatchState))
    file_name: Mapped[str] = mapped_column(String(255))
    sha256: Mapped[str | None] = mapped_column(String(64))
    sheet: Mapped[str] = mapped_column(String(64), default="")
    header: Mapped[list[Any]] = mapped_column(Json, default=list)
    columns: Mapped[JsonDict] = mapped_column(Json, default=dict)
    header_row: Mapped[int] = mapped_column(default=0)
    row_count: Mapped[int] = mapped_column(default=0)
    blank_count: Mapped[int] = mapped_column(default=0)
    plan: Mapped[str | None] = mapped_column(String(16))
    expected_plan: Mapped[str | None] = mapped_column(String(16))
    all_or_nothing: Mapped[bool] = mapped_column(default=False)
    confirmed_content: Mapped[str | None] = mapped_column(String(64), unique=True)
    reading_key: Mapped[str | None] = mapped_column(String(64))
    order_key: Mapped[str | None] = mapped_column(String(64))
    answers: Mapped[JsonDict] = mapped_column(Json, default=dict)
    reading: Mapped[JsonDict] = mapped_column(Json, default=dict)
    """How the file was read (`sheets.reading`): columns, other sheets, hidden rows, what was assumed."""
    questions: Mapped[list[Any]] = mapped_column(Json, default=list)
    again_reason: Mapped[str | None] = mapped_column(String(200))
    beyond_reason: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[When]
    checked_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    confirmed_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    reported_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    cancelled_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    """A person took it back: what has not left never will, whatever the clock says."""
    lease: Mapped[str | None] = mapped_column(String(120))
    lease_until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    """Who plans or reserves it step by step, and until when (`models.writes.leases`). Nobody, and a time: its work
    failed, and is not tried again before.
    """
    made_by: Mapped[str | None] = mapped_column(String(64))
    made_via: Mapped[str | None] = mapped_column(String(16))
    made_by_id: Mapped[int | None] = mapped_column(BigId)
    """Who brought it, and through which door (`models.rules.people`); the person, when proved."""
    confirmed_by: Mapped[str | None] = mapped_column(String(64))
    confirmed_via: Mapped[str | None] = mapped_column(String(16))
    confirmed_by_id: Mapped[int | None] = mapped_column(BigId)
    exporter: Mapped[str | None] = mapped_column(String(18))
    """Of all certificates in it, where it is one (`models.reads.sight`), as checked last."""
    needs_second: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The rules asked for a second person when it was confirmed last."""
    void_count: Mapped[int] = mapped_column(default=0, server_default="0")
    """Forms to be voided, as confirmed: what a person voids on a day is added up from it."""
    redo_of: Mapped[int | None] = mapped_column(BigId)
    """The batch whose rows it orders once more."""
    at_once: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Confirmed without the time in which it can be taken back."""
    grace_until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    """No message of it is made before; until then all of it can be taken back."""
    client_reference: Mapped[str | None] = mapped_column(String(100))
    """How the program that brought it names it."""
    asked_for: Mapped[JsonDict] = mapped_column(Json, default=dict, server_default="{}")
    """What was asked with it (`models.rules.requests`), how often that failed, and why it did not come to that; {}:
    a person is at it.
    """
    queued_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    """Since when a worker is to read, check and, where asked, confirm it; NULL: nobody is."""
    next_turn: Mapped[int | None] = mapped_column(BigInteger)
    """Above the turns of all its messages (`models.rules.turns`); NULL: it has none yet."""

    __table_args__ = (
        Index(None, "sha256"),
        Index(None, "reading_key"),
        Index(None, "client_reference"),
        Index(None, "exporter"),
        Index(None, "redo_of"),
        Index(None, "state", "id"),
        Index(None, "made_by_id"),
        Index(
            "ix_batch_queued",
            "queued_at",
            sqlite_where=text("queued_at IS NOT NULL"),
            postgresql_where=text("queued_at IS NOT NULL"),
        ),
        Index(None, "confirmed_by_id", "confirmed_at"),
        Index(
            "ix_batch_sheet",
            "sha256",
            "sheet",
            sqlite_where=text("sha256 IS NOT NULL"),
            postgresql_where=text("sha256 IS NOT NULL"),
        ),
        Index(
            "ix_batch_open",
            "state",
            sqlite_where=text(_OPEN),
            postgresql_where=text(_OPEN),
        ),
        Index(
            "ix_batch_unconfirmed",
            "created_at",
            "state",
            sqlite_where=text(_UNCONFIRMED),
            postgresql_where=text(_UNCONFIRMED),
        ),
        Index(
            "ix_batch_unreported",
            "id",
            sqlite_where=text(f"{_ENDED} AND reported_at IS NULL"),
            postgresql_where=text(f"{_ENDED} AND reported_at IS NULL"),
        ),
    )


class RememberedLayout(Base):
    """What persons said the columns of a layout mean: the same header row is not asked about again."""

    __tablename__ = "layout"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of the header row as compared (`sheets.reading.layout_key`)."""
    header: Mapped[str] = mapped_column(String(4000))
    meanings: Mapped[JsonDict] = mapped_column(Json)
    """Field by header as compared; "" for a column that is not used."""
    used_at: Mapped[When]


class BatchRow(Base):
    """One row of the sheet, by its number there; `cells` are the user's own, in their order.

    `read_problems` come from reading the cells alone, `problems` are those plus the check's.
    """

    __tablename__ = "batch_row"

    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    status: Mapped[RowStatus] = mapped_column(state_column(RowStatus))
    certificate: Mapped[str] = mapped_column(String(20), default="")
    action: Mapped[Action | None] = mapped_column(state_column(Action))
    stock_source: Mapped[StockSource | None] = mapped_column(state_column(StockSource))
    page_count: Mapped[int | None]
    pages_mode: Mapped[PagesMode] = mapped_column(
        state_column(PagesMode), default=PagesMode.ADDITIONAL
    )
    reason_code: Mapped[str | None] = mapped_column(String(2))
    reason_text: Mapped[str | None] = mapped_column(String(150))
    reference: Mapped[str] = mapped_column(String(100), default="")
    cells: Mapped[list[Any]] = mapped_column(Json, default=list)
    read_problems: Mapped[list[Any]] = mapped_column(Json, default=list)
    problems: Mapped[list[Any]] = mapped_column(Json, default=list)


class Item(Base):
    """One serial of one row: named in the sheet or taken by page count, under way, then decided.

    A form has at most one item under way: the partial unique index is invariant 2.
    """

    __tablename__ = "item"

    id: Mapped[Id]
    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.id"))
    row_number: Mapped[int]
    position: Mapped[int]
    serial: Mapped[str] = mapped_column(Serial)
    action: Mapped[Action] = mapped_column(state_column(Action))
    certificate: Mapped[str] = mapped_column(String(20))
    named: Mapped[bool]
    state: Mapped[ItemState] = mapped_column(state_column(ItemState))
    form_id: Mapped[int | None] = mapped_column(ForeignKey("form.id"))
    submission_id: Mapped[int | None] = mapped_column(ForeignKey("submission.id"))
    g_no: Mapped[int | None]
    rep_code: Mapped[str | None] = mapped_column(String(40))
    rep_text: Mapped[str | None] = mapped_column(String(255))
    decided_at: Mapped[datetime | None] = mapped_column(UTCDateTime())

    __table_args__ = (
        UniqueConstraint("batch_id", "row_number", "position"),
        Index(None, "batch_id", "serial"),
        Index(None, "form_id"),
        Index(None, "submission_id"),
        Index(
            "ux_item_under_way_form",
            "form_id",
            unique=True,
            sqlite_where=text("state = 'under_way'"),
            postgresql_where=text("state = 'under_way'"),
        ),
        Index(
            "ix_item_under_way_batch",
            "batch_id",
            "form_id",
            sqlite_where=text("state = 'under_way'"),
            postgresql_where=text("state = 'under_way'"),
        ),
        Index(
            "ix_item_unprepared",
            "batch_id",
            "certificate",
            sqlite_where=text("state = 'under_way' AND submission_id IS NULL"),
            postgresql_where=text("state = 'under_way' AND submission_id IS NULL"),
        ),
        {"postgresql_with": {"fillfactor": 70}},
    )
