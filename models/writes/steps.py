"""How much is done in one transaction: all of it, or step by step.

What is small is planned and reserved in one transaction, under one lock. What is large goes in steps of less
than a second, each committed, so that nobody waits for all of it: SQLite has one writer, and a stock one lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from sqlalchemy.orm import Session

from models.tables.database import Database


class Steps(Protocol):
    """Where the steps of one piece of work are done. A read may be open while a write is begun."""

    def read(self) -> AbstractContextManager[Session]:
        """Look at what is there; in steps, as it is committed."""
        ...

    def write(self) -> AbstractContextManager[Session]:
        """Do one step."""
        ...


class OneTransaction:
    """All steps in the transaction of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self) -> AbstractContextManager[Session]:
        return nullcontext(self._session)

    def write(self) -> AbstractContextManager[Session]:
        return nullcontext(self._session)


class ManyTransactions:
    """Each step in a transaction of its own, which begins by making sure that the work is still ours."""

    def __init__(self, database: Database, keep: Callable[[Session], None]) -> None:
        self._database = database
        self._keep = keep

    def read(self) -> AbstractContextManager[Session]:
        return self._database.read()

    @contextmanager
    def write(self) -> Iterator[Session]:
        with self._database.write() as session:
            self._keep(session)
            yield session
