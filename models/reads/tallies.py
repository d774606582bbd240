"""Kept numbers as they are: a sum is exact at any moment, merged or not; invariants 16 count anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, func, select, union_all
from sqlalchemy.orm import Session

from models.tables.bulk import chunks, rows_table
from models.tables.tallies import Key, Tally, TallyChange

_BOTH: Final = union_all(
    *(
        select(table.key, table.amount).where(
            table.key >= bindparam("low", type_=Key), table.key < bindparam("high", type_=Key)
        )
        for table in (Tally, TallyChange)
    )
).subquery()
_TOTAL: Final = func.sum(_BOTH.c.amount)
_AMOUNTS: Final = select(_BOTH.c.key, _TOTAL).group_by(_BOTH.c.key).having(_TOTAL != 0)
"""Made once: every open page of a job asks it every two seconds, and making it costs more than answering it."""


def amounts(session: Session, prefix: str, start: str = "", end: str = "") -> dict[str, int]:
    """The numbers whose keys begin with a prefix (that ends with a colon), those between `start` and before
    `end` behind it; those that are 0 are left out.
    """
    low, high = prefix + start, prefix + end if end else prefix[:-1] + chr(ord(prefix[-1]) + 1)
    rows = session.execute(_AMOUNTS, {"low": low, "high": high})
    return {key: int(amount) for key, amount in rows}


def amounts_of(session: Session, keys: Sequence[str]) -> dict[str, int]:
    """The numbers of these keys; those that are not there are 0."""
    found: Counter[str] = Counter()
    for some in chunks(keys):
        given = select(rows_table(session, {"key": Key}, [(key,) for key in some]).c.key)
        for table in (Tally, TallyChange):
            rows = select(table.key, table.amount).where(table.key.in_(given))
            for key, amount in session.execute(rows):
                found[key] += amount
    return dict(found)
