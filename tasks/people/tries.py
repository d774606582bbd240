"""Wrong tries are counted, and each makes the pause before the next longer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from math import ceil

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from models.rules.errors import SignInPaused
from models.rules.sign_in import FORGOTTEN_AFTER, Counted, pause_after
from models.tables.base import NO_KEY_UPDATE
from models.tables.bulk import insert_new
from models.tables.sign_ins import WrongTry


def keys_of(typed: str, address: str) -> dict[Counted, str]:
    """By what a try is counted; of what was typed a hash: it may be a password in the wrong field."""
    return {
        Counted.LOGIN: _login(typed),
        Counted.ADDRESS: f"{Counted.ADDRESS.value}:{address[:45]}",
    }


def key_of_factor(login: str) -> dict[Counted, str]:
    """By what a code is counted that somebody who is signed in types."""
    return {Counted.LOGIN: _login(f"second factor of {login}")}


def _login(typed: str) -> str:
    return (
        f"{Counted.LOGIN.value}:{hashlib.sha256(typed.encode('utf-8', 'replace')).hexdigest()[:32]}"
    )


def count(session: Session, keys: Mapping[Counted, str], now: datetime) -> None:
    """Count it as wrong before it is looked at, so that many at once gain nothing; who is right is forgiven.

    Raises `SignInPaused`, and then counts nothing.
    """
    session.execute(delete(WrongTry).where(WrongTry.last_at < now - FORGOTTEN_AFTER))
    for counted, what in sorted(keys.items()):
        insert_new(session, WrongTry, [{"what": what, "tries": 0, "last_at": now}])
        tries = session.get_one(
            WrongTry, what, with_for_update=NO_KEY_UPDATE, populate_existing=True
        )
        if tries.until is not None and now < tries.until:
            raise SignInPaused(seconds=ceil((tries.until - now).total_seconds()))
        tries.tries, tries.last_at = tries.tries + 1, now
        tries.until = now + pause_after(tries.tries, counted)
        session.flush()


def forgive(session: Session, keys: Mapping[Counted, str]) -> None:
    """The login's wrong tries are over; of the address only this one: another may be guessing from there."""
    session.execute(delete(WrongTry).where(WrongTry.what == keys[Counted.LOGIN]))
    if Counted.ADDRESS in keys:
        session.execute(
            update(WrongTry)
            .where(WrongTry.what == keys[Counted.ADDRESS], WrongTry.tries > 0)
            .values(tries=WrongTry.tries - 1, until=None)
        )
