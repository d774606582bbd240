"""Numbers that are kept, so that nobody counts a million rows to show one.

What changes is noted beside it, in the same transaction, as a row of its own: nobody waits for anybody.
The sweep merges what was noted. A sum is exact at any moment, merged or not; invariants 16 count anew.

    stock:<stock>:<block>:<standing>     forms
    day:<stock>:<date>:<what>            forms that came or went that day (`Movement`), business dates
    batch:<batch>:<where>                forms of a batch that is under way: by state, or given back (`GivenBack`)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Final

from sqlalchemy import BigInteger, String, delete, func, select, union_all
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Id
from models.bulk import chunks, insert_rows, rows_table, upsert_sums
from models.standings import Standing

MERGED_TOGETHER: Final = 2000

Key = String(64).with_variant(String(64, collation="C"), "postgresql")


class Movement(StrEnum):
    """How forms of a stock come and go."""

    RECEIVED = "received"
    """By the day that customs issued them, or that of their entry where nobody knows it."""
    ENTERED = "entered"
    """By the day of their entry here."""
    VERIFIED = "verified"
    VOIDED = "voided"
    REFUSED = "refused"
    """Given back by customs."""
    LOST = "lost"


class GivenBack(StrEnum):
    """How a form of a batch came back."""

    REFUSED = "refused"
    RELEASED = "released"


class Tally(Base):
    """A number, as of the last merge."""

    __tablename__ = "tally"

    key: Mapped[str] = mapped_column(Key, primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)


class TallyChange(Base):
    """A change of a number since then."""

    __tablename__ = "tally_change"

    id: Mapped[Id]
    key: Mapped[str] = mapped_column(Key)
    amount: Mapped[int] = mapped_column(BigInteger)


def standing_key(stock_id: int, block_id: int, standing: Standing) -> str:
    """The forms of a block that stand so."""
    return f"stock:{stock_id}:{block_id}:{standing.value}"


def day_key(stock_id: int, day: date, movement: Movement) -> str:
    """The forms of a stock that came or went so on a day."""
    return f"day:{stock_id}:{day.isoformat()}:{movement.value}"


def batch_key(batch_id: int, where: StrEnum) -> str:
    """The forms of a batch that are in a state, or were given back so."""
    return f"batch:{batch_id}:{where.value}"


def forget_batch(session: Session, batch_id: int) -> None:
    """A batch has ended: what became of it is read from its rows from now on.

    Changes first, as whoever merges them: two that lock in different orders would wait for each other.
    """
    for table in (TallyChange, Tally):
        session.execute(
            delete(table)
            .where(table.key >= f"batch:{batch_id}:", table.key < f"batch:{batch_id};")
            .execution_options(synchronize_session=False)
        )


def note_changes(session: Session, changes: Mapping[str, int]) -> None:
    """Note by how much numbers have changed."""
    rows = [{"key": key, "amount": amount} for key, amount in sorted(changes.items()) if amount]
    insert_rows(session, TallyChange, rows)


def amounts(session: Session, prefix: str, start: str = "", end: str = "") -> dict[str, int]:
    """The numbers whose keys begin with a prefix (that ends with a colon), those between `start` and before
    `end` behind it; those that are 0 are left out.
    """
    low, high = prefix + start, prefix + end if end else prefix[:-1] + chr(ord(prefix[-1]) + 1)
    both = union_all(
        *(
            select(table.key, table.amount).where(table.key >= low, table.key < high)
            for table in (Tally, TallyChange)
        )
    ).subquery()
    total = func.sum(both.c.amount)
    rows = session.execute(select(both.c.key, total).group_by(both.c.key).having(total != 0))
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


def merge_changes(session: Session) -> int:
    """Merge what was noted, some at a time; gives how many changes. Two at once share them."""
    some = select(TallyChange.id).order_by(TallyChange.id).limit(MERGED_TOGETHER)
    gone = session.execute(
        delete(TallyChange)
        .where(TallyChange.id.in_(some))
        .returning(TallyChange.key, TallyChange.amount)
        .execution_options(synchronize_session=False)
    ).all()
    sums: Counter[str] = Counter()
    for key, amount in gone:
        sums[key] += amount
    upsert_sums(session, Tally, "key", "amount", sorted(sums.items()))
    return len(gone)
