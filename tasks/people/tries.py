"""Wrong tries are counted, and each makes the pause before the next longer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address, ip_network
from math import ceil

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from models.rules.errors import SignInPaused
from models.rules.sign_in import DECAY, FORGOTTEN_AFTER, Counted, pause_after
from models.tables.base import NO_KEY_UPDATE
from models.tables.bulk import insert_new
from models.tables.sign_ins import WrongTry


def keys_of(typed: str, address: str) -> dict[Counted, str]:
    """By what a try is counted; of what was typed a hash: it may be a password in the wrong field."""
    return {
        Counted.LOGIN: _login(typed),
        Counted.ADDRESS: f"{Counted.ADDRESS.value}:{_network(address)}",
    }


def key_of_page(login: str) -> dict[Counted, str]:
    """By what codes and passwords are counted that somebody who is signed in types."""
    return {Counted.LOGIN: _login(f"page of {login}")}


def _network(address: str) -> str:
    """An IPv4 address; of IPv6 the network, of which one subscriber has all 2^64 addresses."""
    try:
        given = ip_address(address)
    except ValueError:
        return address[:45]
    return str(given) if given.version == 4 else str(ip_network((given, 64), strict=False))  # noqa: PLR2004


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
        over = int((now - tries.last_at) / DECAY) if counted is Counted.ADDRESS else 0
        if over or not tries.tries or counted is Counted.LOGIN:
            tries.last_at = now
        tries.tries = max(0, tries.tries - over) + 1
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
