"""Who works: each queue's last act, noted by the process that takes from it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import String, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, When


class Pulse(Base):
    """The last sign that a queue is taken from, by a process that has its database."""

    __tablename__ = "pulse"

    queue: Mapped[str] = mapped_column(String(20), primary_key=True)
    at: Mapped[When]


def note_pulse(session: Session, queue: str, now: datetime) -> None:
    """Note that a queue is worked on."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(Pulse).values(queue=queue, at=now)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["queue"], set_={"at": statement.excluded.at}
        )
    )


def pulses(session: Session) -> Mapping[str, datetime]:
    """When each queue was last worked on; one that never was is left out."""
    return {p.queue: p.at for p in session.scalars(select(Pulse))}
