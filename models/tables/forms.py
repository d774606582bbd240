"""Forms, the stock and the blocks that they are in, and their history."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.rules.states import FormState
from models.tables.base import Base, BigId, Code, Id, Serial, UTCDateTime, When, state_column


class Stock(Base):
    """The forms of one owner and one type: the row that is locked before any are taken."""

    __tablename__ = "stock"

    id: Mapped[Id]
    owner: Mapped[str] = mapped_column(String(18))
    form_type: Mapped[str] = mapped_column(String(2))
    threshold: Mapped[int | None]
    """On hand below this many is low; NULL: the setting LOW_STOCK."""
    low: Mapped[bool] = mapped_column(default=False)
    count_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    """When it is counted next for the watch on low stock; NULL: now, forms have just come or gone."""

    __table_args__ = (UniqueConstraint("owner", "form_type"),)


class Block(Base):
    """A run of consecutive serials issued together (领用登记), every one of them a form.

    `lowest_free` is a lower bound: no form of the block below it is available; NULL, none is. It
    lets a page count skip the used part of a stock without an index on the state.
    """

    __tablename__ = "block"

    id: Mapped[Id]
    stock_id: Mapped[int] = mapped_column(ForeignKey("stock.id"))
    first_serial: Mapped[str] = mapped_column(Serial)
    last_serial: Mapped[str] = mapped_column(Serial)
    form_count: Mapped[int]
    lowest_free: Mapped[str | None] = mapped_column(Serial)
    issued_on: Mapped[date | None]
    source: Mapped[Code]
    created_at: Mapped[When]

    __table_args__ = (Index(None, "stock_id", "first_serial"),)


class Form(Base):
    """One blank form: a serial of a type, once (invariant 1).

    `certificate` is set while the form is held or used for it. `hold` keeps an issued form from
    being taken, with the reason; a lost form is held, and has the time of its loss. `outside` is a
    final form that no receipt of ours decided: adopted from customs' list, an order of ours or not. `event_count`
    and `chain` are the number and the hash of its last event (`models.rules.chain`).
    """

    __tablename__ = "form"

    id: Mapped[Id]
    serial: Mapped[str] = mapped_column(Serial)
    form_type: Mapped[str] = mapped_column(String(2))
    stock_id: Mapped[int] = mapped_column(ForeignKey("stock.id"))
    block_id: Mapped[int] = mapped_column(ForeignKey("block.id"))
    state: Mapped[FormState] = mapped_column(state_column(FormState))
    certificate: Mapped[str | None] = mapped_column(String(20))
    hold: Mapped[str | None] = mapped_column(String(64))
    lost_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    outside: Mapped[bool] = mapped_column(default=False)
    event_count: Mapped[int] = mapped_column(default=0)
    chain: Mapped[str] = mapped_column(String(64), default="")

    # No index names `state`: with fillfactor 70 state moves stay in their page (rule 7 of how-it-works.md).
    __table_args__ = (
        UniqueConstraint("serial", "form_type"),
        Index(None, "block_id", "serial"),
        Index(None, "stock_id", "serial"),
        Index(None, "certificate"),
        {"postgresql_with": {"fillfactor": 70}},
    )


class UsedForm(Base):
    """A form that is submitted or final, once more, for lists: by handling and state in serial order.

    An index on `form` that names the state would cost every move its place in the page (rule 7 of how-it-works.md).
    `self_handled` is what the certificate was when the form was used.
    """

    __tablename__ = "used_form"

    form_id: Mapped[int] = mapped_column(ForeignKey("form.id"), primary_key=True)
    serial: Mapped[str] = mapped_column(Serial)
    state: Mapped[FormState] = mapped_column(state_column(FormState))
    self_handled: Mapped[bool]

    __table_args__ = (Index(None, "self_handled", "state", "serial", "form_id"),)


class FormEvent(Base):
    """One move of one form, written in the transaction of the move. Never changed, never deleted.

    An event that leaves the state as it is is a note: a hold, a loss, a release. `number`
    counts the events of one form from 1; `hash` chains it to the event before (`models.rules.chain`).
    """

    __tablename__ = "form_event"

    id: Mapped[Id]
    form_id: Mapped[int] = mapped_column(ForeignKey("form.id"))
    from_state: Mapped[str | None] = mapped_column(String(20))
    to_state: Mapped[str] = mapped_column(String(20))
    at: Mapped[datetime] = mapped_column(UTCDateTime())
    cause: Mapped[Code]
    certificate: Mapped[str | None] = mapped_column(String(20))
    batch_id: Mapped[int | None] = mapped_column(BigId)
    submission_id: Mapped[int | None] = mapped_column(BigId)
    inbox_id: Mapped[int | None] = mapped_column(BigId)
    reason: Mapped[str | None] = mapped_column(String(400))
    number: Mapped[int] = mapped_column(default=0)
    hash: Mapped[str] = mapped_column(String(64), default="")

    __table_args__ = (Index(None, "form_id", "id"), Index(None, "at"))
