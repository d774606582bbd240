"""Passwords: hashed by argon2id, judged before they are kept, given once by another, chosen by their owner."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Final

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.orm import Session
from zxcvbn import zxcvbn

from models.reads.people import actor_as_now, person_of
from models.rules.errors import PasswordUnusable, SignInBusy
from models.rules.language import t
from models.rules.people import Deed, Role
from models.rules.sign_in import (
    GUESSES_LOG10,
    ONE_TIME_HOURS,
    PASSWORD_LONGEST,
    PASSWORD_SHORTEST,
)
from models.rules.two_persons import ChangeKind, Rule
from models.tables.base import NO_KEY_UPDATE
from models.tables.people import Person
from models.writes.acts import record_act
from models.writes.people import end_sign_ins, give_password
from tasks.context import Context
from tasks.people import tries
from tasks.people.changes import ask_where_ruled

log = structlog.get_logger(__name__)

_HASHER: Final = PasswordHasher()
"""argon2id with RFC 9106's parameters for little memory: 64 MiB and some 100 ms of four lanes for each hash."""

JUDGED: Final = 32
"""Characters that are judged: 40 in a spelling of numbers for letters cost zxcvbn a second."""

_HASHES_AT_ONCE: Final = 2
_WAIT_SECONDS: Final = 10
_slots = BoundedSemaphore(_HASHES_AT_ONCE)


@contextmanager
def _slot() -> Iterator[None]:
    """At most two hashes at once in a process: whoever sends many sign-ins takes neither memory nor every core."""
    if not _slots.acquire(timeout=_WAIT_SECONDS):
        raise SignInBusy
    try:
        yield
    finally:
        _slots.release()


def hash_of(password: str) -> str:
    """How a password is kept. Raises `SignInBusy`."""
    with _slot():
        return _HASHER.hash(password)


_nobodys: list[str] = []


def is_right(kept: str | None, password: str) -> bool:
    """Whether it is the password. As much is computed where there is none, so that an unknown login cannot be told
    from a wrong password. Raises `SignInBusy`.
    """
    if not _nobodys:
        _nobodys.append(hash_of(secrets.token_hex()))
    with _slot():
        try:
            return _HASHER.verify(kept or _nobodys[0], password[:PASSWORD_LONGEST]) and bool(kept)
        except (VerificationError, InvalidHashError):
            return False


def judge(password: str, login: str, name: str) -> None:
    """Raise `PasswordUnusable` for one that is too short, too long, or that others would guess (zxcvbn)."""
    if not PASSWORD_SHORTEST <= len(password) <= PASSWORD_LONGEST:
        raise PasswordUnusable(
            detail=t(
                f"须为 {PASSWORD_SHORTEST}-{PASSWORD_LONGEST} 个字符",
                f"{PASSWORD_SHORTEST} to {PASSWORD_LONGEST} characters",
            )
        )
    with _slot():  # it costs the more the longer: the rest of a long one makes it no easier
        said = zxcvbn(password[:JUDGED], user_inputs=[login, name, "blankforms"])
    if said["guesses_log10"] < GUESSES_LOG10:
        raise PasswordUnusable(
            detail=t(
                "太常见或太容易猜到；几个不相干的词连起来即可",
                "it is common, or easily guessed; some unrelated words in a row will do",
            )
        )


def new_one_time() -> str:
    """A one-time password: 80 random bits in letters and digits that are not mistaken for others."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(4))


def give_one_time(context: Context, login: str) -> tuple[str, int | None]:
    """A one-time password for this person, who chooses their own when they sign in by it; ends the one before, the
    second factor and all sign-ins. The second value is the number of the request where the rules want a second
    person: until it is endorsed the password is good for nothing.

    Whoever has the account of the system may give one to an administrator who endorses nothing (recovery); all of
    it is in the log and shown to everybody. Raises `PersonUnknown`, `PersonNeeded`.
    """
    password = new_one_time()
    kept, until = hash_of(password), context.now() + timedelta(hours=ONE_TIME_HOURS)
    with context.database.write() as session:
        person = person_of(session, login)
        asked = None
        if not _recovers(context, person):
            asked = ask_where_ruled(
                session, context, Rule.PEOPLE, Deed.PASSWORD_GIVEN, ChangeKind.PASSWORD, login,
                secret={"hash": kept, "until": until.isoformat()},
            )  # fmt: skip
        if asked is None:
            give_password(session, login, kept, until, context.actor.name, context.now())
            record_act(session, context.actor, Deed.PASSWORD_GIVEN, login, context.now())
    log.info("password_given", login=login, by=context.actor.name, endorsement=asked)
    return password, asked


def _recovers(context: Context, person: Person) -> bool:
    """The way back in for whoever keeps the machine: an administrator who cannot endorse."""
    roles = {Role(r) for r in person.roles}
    return not context.actor.proved and Role.ADMINISTRATOR in roles and Role.CHECKER not in roles


def choose(context: Context, current: str, chosen: str) -> None:
    """The signed-in person's own password from now on; their other sign-ins end.

    Raises `PasswordUnusable`: for one that is too easy, and for a wrong current one.
    """
    with context.database.read() as session:
        person = session.get_one(Person, context.actor.person_id)
    judge(chosen, person.login, person.name)
    with context.database.write() as session:
        tries.count(session, tries.key_of_page(person.login), context.now())
    if not is_right(person.password_hash, current):
        raise PasswordUnusable(detail=t("原口令不正确", "the current one is not right"))
    if current == chosen:
        raise PasswordUnusable(detail=t("与原口令相同", "it is the current one"))
    kept = hash_of(chosen)
    with context.database.write() as session:
        _keep(session, context, kept, person.password_hash)
    log.info("password_chosen", login=person.login)


def _keep(session: Session, context: Context, kept: str, before: str | None) -> None:
    """In place of the one that was shown to be known: one that was given meanwhile stays."""
    actor, now = actor_as_now(session, context.actor), context.now()
    person = session.get_one(Person, actor.person_id, with_for_update=NO_KEY_UPDATE)
    if person.password_hash != before:
        raise PasswordUnusable(detail=t("原口令不正确", "the current one is not right"))
    person.password_hash, person.one_time_until = kept, None
    tries.forgive(session, tries.key_of_page(person.login))
    end_sign_ins(session, person.id, now, but=actor.sign_in_id)
    record_act(session, actor, Deed.PASSWORD_CHOSEN, person.login, now)
