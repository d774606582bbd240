"""Nightly runs, the differences that they found, and what was done about each."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from models.rules.differences import DifferenceClass
from models.rules.states import FormState, RepairState, RunState
from models.tables.base import Base, BigId, Code, Id, Json, Serial, UTCDateTime, When, state_column


class Run(Base):
    """One reconciliation: one for each business date. Finished, its report is frozen.

    `stage`, `holder`, `cursor` (customs' own, opaque) and the last form compared (`after`, `after_type`)
    say how far it has come: they move in the transaction that stores the
    differences found so far, so a run that was killed goes on where it was. `lease_until` keeps
    a second process off.
    """

    __tablename__ = "reconciliation"

    id: Mapped[Id]
    business_date: Mapped[date] = mapped_column(unique=True)
    state: Mapped[RunState] = mapped_column(state_column(RunState))
    due_at: Mapped[When]
    lease_until: Mapped[datetime | None] = mapped_column(UTCDateTime())
    lease: Mapped[str | None] = mapped_column(String(120))
    stage: Mapped[Code] = mapped_column(default="certificates")
    holder: Mapped[str] = mapped_column(String(18), default="")
    cursor: Mapped[str] = mapped_column(String(255), default="")
    after: Mapped[str] = mapped_column(Serial, default="")
    after_type: Mapped[str] = mapped_column(String(2), default="")
    ours: Mapped[int] = mapped_column(default=0)
    listed: Mapped[int] = mapped_column(default=0)
    moving: Mapped[int] = mapped_column(default=0)
    before_us: Mapped[int] = mapped_column(default=0)
    counts: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    anchor: Mapped[str | None] = mapped_column(String(64))
    anchor_place: Mapped[str | None] = mapped_column(String(300))
    """Host and folder where it was written: elsewhere its absence says nothing."""
    started_at: Mapped[datetime | None] = mapped_column(UTCDateTime())
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime())

    __table_args__ = (
        Index(
            "ix_reconciliation_open",
            "due_at",
            sqlite_where=text("state IN ('planned', 'comparing')"),
            postgresql_where=text("state IN ('planned', 'comparing')"),
        ),
    )


class Difference(Base):
    """Something that a run found; never changed afterwards.

    About forms: a run of consecutive serials that are all alike (usually one). About a certificate or
    a receipt: no serial. `since` is when it began to be so, `age_days` how old it was then.
    """

    __tablename__ = "difference"

    id: Mapped[Id]
    run_id: Mapped[int] = mapped_column(ForeignKey("reconciliation.id"))
    kind: Mapped[DifferenceClass] = mapped_column(state_column(DifferenceClass))
    owner: Mapped[str] = mapped_column(String(18), default="")
    form_type: Mapped[str] = mapped_column(String(2), default="")
    first_serial: Mapped[str | None] = mapped_column(Serial)
    last_serial: Mapped[str | None] = mapped_column(Serial)
    form_count: Mapped[int] = mapped_column(default=1)
    state: Mapped[FormState | None] = mapped_column(state_column(FormState))
    certificate: Mapped[str | None] = mapped_column(String(20))
    customs_state: Mapped[str | None] = mapped_column(String(8))
    customs_certificate: Mapped[str | None] = mapped_column(String(20))
    issued_on: Mapped[date | None]
    reference: Mapped[int | None] = mapped_column(BigId)
    """Batch, submission or inbox message that it is about, by class."""
    detail: Mapped[str] = mapped_column(String(400), default="")
    since: Mapped[datetime | None] = mapped_column(UTCDateTime())
    age_days: Mapped[int] = mapped_column(default=0)

    __table_args__ = (Index(None, "run_id", "kind", "id"), Index(None, "run_id", "first_serial"))


class PastUse(Base):
    """A form that we never had and that customs lists as verified or voided for a certificate.

    Brought up to date by each run: what a certificate used before us is not used again.
    """

    __tablename__ = "past_use"

    serial: Mapped[str] = mapped_column(Serial, primary_key=True)
    form_type: Mapped[str] = mapped_column(String(2), primary_key=True)
    certificate: Mapped[str] = mapped_column(String(20))
    customs_state: Mapped[str] = mapped_column(String(8))

    __table_args__ = (Index(None, "certificate"),)


class Repair(Base):
    """What was done about one difference, by whom and why. A repair that was left is tried again."""

    __tablename__ = "repair"

    difference_id: Mapped[int] = mapped_column(ForeignKey("difference.id"), primary_key=True)
    state: Mapped[RepairState] = mapped_column(state_column(RepairState))
    by: Mapped[str] = mapped_column(String(64))
    approved_by: Mapped[str | None] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(200), default="")
    outcome: Mapped[str] = mapped_column(String(400), default="")
    at: Mapped[When]
