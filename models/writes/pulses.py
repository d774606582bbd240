"""A process notes that it works."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from models.tables.bulk import upserting
from models.tables.pulses import Pulse


def note_pulse(
    session: Session, process: str, now: datetime, code: str = "", detail: str = ""
) -> None:
    """Note that a process works, and what it found wrong where it runs."""
    row = {"process": process, "at": now, "code": code, "detail": detail[:255]}
    statement = upserting(session, Pulse).values(row)
    new = {name: statement.excluded[name] for name in ("at", "code", "detail")}
    session.execute(statement.on_conflict_do_update(index_elements=["process"], set_=new))
