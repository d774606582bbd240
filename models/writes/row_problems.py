"""Problems of rows: placed in their cells, and written for many rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import bindparam, update
from sqlalchemy.orm import Session

from models.rules.problems import Problem, column_letters
from models.rules.states import RowStatus
from models.tables.batches import Batch, BatchRow


def placed(batch: Batch, number: int, problems: Sequence[Problem]) -> list[Problem]:
    """The problems with the column and cell of the sheet that they are in."""
    placed = []
    for problem in problems:
        names = (problem.field, *_STAND_INS.get(problem.field, ()))
        index = next((batch.columns[n] for n in names if n in batch.columns), None)
        if index is None:
            placed.append(problem)
        else:
            cell = f"{column_letters(index)}{number}"
            placed.append(replace(problem, column=batch.header[index], cell=cell))
    return placed


_STAND_INS: Final = {"serial": ("first_serial", "void_serials")}
"""Where serials are when the sheet has no column of that name."""


def store_rows(
    session: Session, batch_id: int, rows: Sequence[tuple[int, RowStatus, list[Any]]]
) -> None:
    """Write status and problems of rows: (number, status, problems as stored)."""
    if not rows:
        return
    # By primary key: joined to a table of values, SQLite would compare every row with every value.
    table = BatchRow.__table__
    session.connection().execute(
        update(table)  # type: ignore[arg-type]
        .where(table.c.batch_id == batch_id, table.c.number == bindparam("row"))
        .values(status=bindparam("now"), problems=bindparam("found")),
        [{"row": number, "now": status, "found": problems} for number, status, problems in rows],
    )


def add_problems(
    session: Session, batch: Batch, found: Sequence[tuple[int, Sequence[Problem]]]
) -> None:
    """Rows that were right until their counts were looked at."""
    store_rows(
        session,
        batch.id,
        [
            (number, RowStatus.PROBLEM, [p.stored() for p in placed(batch, number, problems)])
            for number, problems in found
        ],
    )
