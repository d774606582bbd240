"""Kept numbers change: beside them, in the same transaction, as a row of its own, so that nobody waits for
anybody. The sweep merges what was noted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models.tables.bulk import insert_rows, upsert_sums
from models.tables.tallies import Tally, TallyChange

MERGED_TOGETHER: Final = 2000


def forget_batch(session: Session, batch_id: int) -> None:
    """A batch has ended: what became of it is read from its rows from now on.

    Changes first, as whoever merges them: two that lock in different orders would wait for each other.
    """
    for table in (TallyChange, Tally):
        session.execute(
            delete(table).where(table.key >= f"batch:{batch_id}:", table.key < f"batch:{batch_id};")
        )


def note_changes(session: Session, changes: Mapping[str, int]) -> None:
    """Note by how much numbers have changed."""
    rows = [{"key": key, "amount": amount} for key, amount in sorted(changes.items()) if amount]
    insert_rows(session, TallyChange, rows)


def merge_changes(session: Session) -> int:
    """Merge what was noted, some at a time; gives how many changes. Two at once share them."""
    some = select(TallyChange.id).order_by(TallyChange.id).limit(MERGED_TOGETHER)
    gone = session.execute(
        delete(TallyChange)
        .where(TallyChange.id.in_(some))
        .returning(TallyChange.key, TallyChange.amount)
    ).all()
    sums: Counter[str] = Counter()
    for key, amount in gone:
        sums[key] += amount
    upsert_sums(session, Tally, "key", "amount", sorted(sums.items()))
    return len(gone)
