"""PostgreSQL's advisory locks that we take, each under a number that is no other's."""

from __future__ import annotations

from enum import IntEnum, unique

from sqlalchemy import func, select
from sqlalchemy.orm import Session


@unique
class Lock(IntEnum):
    """What the holder alone does until its transaction ends. SQLite has one writer anyway."""

    SCHEMA = 4270202201
    """Changes the schema."""
    INBOX = 4270202202
    """Stores what customs says."""
    ACTS = 4270202203
    """Writes the next act."""
    RULES = 4270202204
    """Looks at an order by the rules of two persons, or changes them."""
    FEED = 4270202205
    """Gives events their places."""


def hold(session: Session, lock: Lock) -> None:
    """Wait for the lock and hold it to the end of the transaction."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(lock.value)))
