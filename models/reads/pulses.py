"""Who works: the last sign of each kind of process."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.tables.pulses import Pulse


def pulses(session: Session) -> Mapping[str, Pulse]:
    """The last sign of each process; one that never gave any is left out."""
    return {p.process: p for p in session.scalars(select(Pulse))}
