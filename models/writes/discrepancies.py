"""A person closes what we and customs saw differently."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from models.tables.discrepancies import Discrepancy


def close_discrepancies(
    session: Session, numbers: Sequence[int], by: str, reason: str, at: datetime
) -> list[int]:
    """Close those that are open, with who and why; gives them."""
    return list(
        session.scalars(
            update(Discrepancy)
            .where(Discrepancy.id.in_(numbers), Discrepancy.closed_at.is_(None))
            .values(closed_at=at, closed_by=by[:64], closed_reason=reason[:200])
            .returning(Discrepancy.id)
        )
    )
