"""Who works: the last act of each kind of process, noted by itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import String, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, When


class Pulse(Base):
    """The last sign of a kind of process: it takes rings, and writes to its database."""

    __tablename__ = "pulse"

    process: Mapped[str] = mapped_column(String(20), primary_key=True)
    at: Mapped[When]
    code: Mapped[str] = mapped_column(String(40), default="")
    """What it found wrong where it runs; empty when nothing is."""
    detail: Mapped[str] = mapped_column(String(255), default="")


def note_pulse(
    session: Session, process: str, now: datetime, code: str = "", detail: str = ""
) -> None:
    """Note that a process works, and what it found wrong where it runs."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    row = {"process": process, "at": now, "code": code, "detail": detail[:255]}
    statement = dialect.insert(Pulse).values(row)
    new = {name: statement.excluded[name] for name in ("at", "code", "detail")}
    session.execute(statement.on_conflict_do_update(index_elements=["process"], set_=new))


def pulses(session: Session) -> Mapping[str, Pulse]:
    """The last sign of each process; one that never gave any is left out."""
    return {p.process: p for p in session.scalars(select(Pulse))}
