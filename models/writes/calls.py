"""Calls of programs that may be repeated: each takes effect once.

The row is written in the transaction of what the call makes, so either both are there or neither; of two that
come at once the second waits for the first and finds what it made.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from models.rules.errors import KeyUsedOtherwise
from models.tables.bulk import insert_new
from models.tables.people import CallOnce


@dataclass(frozen=True, slots=True)
class Once:
    """A call as its program names it (Idempotency-Key), of one owner; `fingerprint` of all that it says."""

    person_id: int
    key: str
    fingerprint: str


class MadeBefore(Exception):
    """No error: the call has been made already, and is answered with what it made then."""

    def __init__(self, made: str, made_id: int) -> None:
        super().__init__(made, made_id)
        self.made = made
        self.made_id = made_id


def begin_once(session: Session, once: Once, at: datetime) -> None:
    """Take the key for this transaction. Raises `MadeBefore`, and `KeyUsedOtherwise` for another call under it.

    Follow it with `made_once` in the same transaction.
    """
    row = {"person_id": once.person_id, "key": once.key, "fingerprint": once.fingerprint}
    new = insert_new(session, CallOnce, [row | {"made": "", "made_id": 0, "at": at}])
    if new:
        return
    known = session.get_one(CallOnce, (once.person_id, once.key))
    if known.fingerprint != once.fingerprint:
        raise KeyUsedOtherwise(key=once.key)
    raise MadeBefore(known.made, known.made_id)


def made_once(session: Session, once: Once, made: str, made_id: int) -> None:
    """Keep what the call made."""
    call = session.get_one(CallOnce, (once.person_id, once.key))
    call.made, call.made_id = made, made_id
