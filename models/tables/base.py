"""What every table shares: naming of constraints, types, one way to spell an enum column."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    Integer,
    MetaData,
    String,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

NO_KEY_UPDATE: Final[dict[str, Any]] = {"key_share": True}
"""How rows are locked: each other's keepers off, but not those who write rows that refer to them.

On PostgreSQL a plain FOR UPDATE waits for every transaction that has inserted a reference, in
whatever order it did: a check that plans and a reservation that locks forms would wait in a circle.
"""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UTCDateTime(TypeDecorator[datetime]):
    """An aware time, kept as UTC; SQLite keeps it without a zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone must not reach the database")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def aware(moment: datetime) -> datetime:
    """`min()` and `max()` of a column forget on SQLite that its times are UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


BigId = BigInteger().with_variant(Integer, "sqlite")
Json = JSON().with_variant(JSONB, "postgresql")

Serial = String(12).with_variant(String(12, collation="C"), "postgresql")
"""Serials compare bytewise on every database (rule 7 of how-it-works.md)."""

Id = Annotated[int, mapped_column(BigId, primary_key=True)]
Code = Annotated[str, mapped_column(String(32))]
When = Annotated[datetime, mapped_column(UTCDateTime())]
JsonDict = dict[str, Any]


class Base(DeclarativeBase):
    """Declarative base of all tables."""

    metadata = MetaData(naming_convention=NAMING)


def state_column(states: type[StrEnum]) -> Enum:
    """A text column that the database itself keeps to the values of the enum."""
    return Enum(
        states,
        native_enum=False,
        create_constraint=True,
        length=20,
        name=states.__name__.lower(),
        values_callable=lambda e: [member.value for member in e],
    )
