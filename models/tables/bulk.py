"""Rows from the program as a table in a statement: one statement for a whole chunk.

`unnest` of arrays on PostgreSQL, `json_each` on SQLite (rule 7 of how-it-works.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import (
    BigInteger,
    FromClause,
    bindparam,
    column,
    func,
    insert,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from models.tables.base import Base

CHUNK: Final = 1000
"""Rows in one statement: 500-2,000 is the flat bottom of the cost curve (rule 7 of how-it-works.md)."""

T = TypeVar("T")


def chunks(values: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The values in lists of at most `size`, without holding more than one list."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk


def rows_table(
    session: Session, columns: dict[str, TypeEngine[Any]], rows: Sequence[Sequence[Any]]
) -> FromClause:
    """`rows` as a FROM clause with these columns, for joins and UPDATE … FROM."""
    if session.get_bind().dialect.name == "postgresql":
        by_column = list(zip(*rows, strict=True)) if rows else [() for _ in columns]
        arrays = [
            bindparam(None, list(values), type_=ARRAY(kind, dimensions=1))
            for kind, values in zip(columns.values(), by_column, strict=True)
        ]
        named = [column(name, kind) for name, kind in columns.items()]
        return func.unnest(*arrays).table_valued(*named, name="given").render_derived()
    given = func.json_each(json.dumps([list(row) for row in rows])).table_valued("value", name="j")
    return select(
        *(
            type_coerce(func.json_extract(given.c.value, literal_column(f"'$[{i}]'")), kind).label(
                name
            )
            for i, (name, kind) in enumerate(columns.items())
        )
    ).subquery("given")


def ids_table(session: Session, ids: Sequence[int]) -> FromClause:
    """Ids as a FROM clause with the column `id`."""
    return rows_table(session, {"id": BigInteger()}, [(i,) for i in ids])


def insert_rows(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all have the same keys, in one statement for all.

    Not through the ORM's bulk insert: it makes a statement for each run of rows with the same
    columns set to NULL.
    """
    if rows:
        session.connection().execute(insert(table.__table__), rows)  # type: ignore[arg-type]


def upserting(session: Session, table: type[Any]) -> Any:
    """An INSERT of this database that may say what happens to rows that are there already."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    return dialect.insert(table.__table__)


def upsert_sums(
    session: Session, table: type[Any], key: str, amount: str, sums: Sequence[tuple[Any, int]]
) -> None:
    """Add each amount to the row of its key, which is made when there is none."""
    if not sums:
        return
    statement = upserting(session, table)
    added = table.__table__.c[amount] + statement.excluded[amount]
    session.connection().execute(
        statement.on_conflict_do_update(index_elements=[key], set_={amount: added}),
        [{key: k, amount: a} for k, a in sums],
    )


def insert_new(session: Session, table: type[Any], rows: Sequence[dict[str, Any]]) -> int:
    """Insert rows, leaving out those that a unique key says are there already; gives how many."""
    return len(insert_new_keys(session, table, rows, table.__table__.primary_key.columns[0].name))


def insert_new_keys(
    session: Session, table: type[Any], rows: Sequence[dict[str, Any]], key: str
) -> list[Any]:
    """As `insert_new`; gives the column `key` of those that were new."""
    if not rows:
        return []
    statement = upserting(session, table).on_conflict_do_nothing()
    returned = statement.returning(table.__table__.c[key])
    return list(session.connection().execute(returned, rows).scalars())
