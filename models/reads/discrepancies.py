"""What a person must look at, until somebody has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.tables.discrepancies import Discrepancy


def open_discrepancies(session: Session) -> Iterator[dict[str, Any]]:
    """Open ones, oldest first."""
    query = select(Discrepancy).where(Discrepancy.closed_at.is_(None)).order_by(Discrepancy.id)
    for d in session.scalars(query):
        yield {
            "number": d.id,
            "kind": d.kind,
            "serial": d.serial,
            "detail": d.detail,
            "raised_at": d.raised_at.isoformat(),
        }
