"""Signing in and out at the pages."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import delete, select, update

from models.reads.sign_ins import Signed, signed_in, token_hash
from models.rules.errors import SignInRefused
from models.rules.people import LOGIN, Deed
from models.rules.sign_in import Counted, Lasting
from models.tables.base import NO_KEY_UPDATE
from models.tables.people import Person
from models.tables.sign_ins import SignIn
from models.writes.acts import record_act
from models.writes.people import end_sign_ins
from tasks.context import Context
from tasks.people import passwords, tries
from tasks.people.second_factor import uses_code

log = structlog.get_logger(__name__)

SEEN_NOTED: Final = timedelta(minutes=1)
"""How often it is written that a person did something: a busy one costs no write for each click."""

_KEPT: Final = timedelta(days=30)
"""How long an ended sign-in is kept."""


@dataclass(frozen=True, slots=True)
class Browser:
    """Where somebody signs in from."""

    address: str
    agent: str = ""


def lasting_of(context: Context) -> Lasting:
    """How long sign-ins last here."""
    settings = context.settings
    return Lasting(
        timedelta(minutes=settings.sign_in_idle_minutes), timedelta(hours=settings.sign_in_hours)
    )


def sign_in(context: Context, login: str, password: str, code: str, browser: Browser) -> str:
    """The token of a new sign-in; of it only a hash is kept.

    Raises `SignInRefused`, the same for an unknown login, a wrong password and a wrong or missing code, after the
    same work; `SignInPaused` after too many wrong ones of a login or an address.
    """
    login, now = login.strip().lower(), context.now()
    keys = tries.keys_of(login, browser.address)
    with context.database.write() as session:
        tries.count(session, keys, now)
    with context.database.read() as session:
        person = (
            session.scalar(select(Person).where(Person.login == login))
            if LOGIN.fullmatch(login)
            else None
        )
    right = passwords.is_right(person.password_hash if person else None, password)
    if (
        person is None
        or not right
        or not _welcome(person, now)
        or not uses_code(context, person, code)
    ):
        log.warning("sign_in_refused", address=browser.address)
        raise SignInRefused
    return begin(
        context, person.id, browser, _Proof(keys, person.password_hash, person.second_factor)
    )


@dataclass(frozen=True, slots=True)
class _Proof:
    """By what a password was right: its tries, and the hash that it was compared with."""

    keys: dict[Counted, str]
    password_hash: str | None
    second_factor: int | None


def begin(context: Context, person_id: int, browser: Browser, proof: _Proof | None = None) -> str:
    """A sign-in of a person who is proved already. Raises `SignInRefused` for a disabled one, and where another
    password was kept while this one was compared.
    """
    token, now = secrets.token_urlsafe(32), context.now()
    with context.database.write() as session:
        person = session.get_one(Person, person_id, with_for_update=NO_KEY_UPDATE)
        if person.disabled_at is not None:
            raise SignInRefused
        if proof is not None:
            now_kept = (person.password_hash, person.second_factor)
            if now_kept != (proof.password_hash, proof.second_factor):
                raise SignInRefused
            tries.forgive(session, proof.keys)
        session.execute(delete(SignIn).where(SignIn.begun_at < now - _KEPT))
        session.add(
            SignIn(
                token_sha256=token_hash(token),
                person_id=person.id,
                begun_at=now,
                seen_at=now,
                address=browser.address[:45],
                agent=browser.agent[:100],
                by_password=proof is not None,
            )
        )
    log.info("signed_in", login=person.login, address=browser.address)
    return token


def who(context: Context, token: str, *, doing: bool) -> Signed:
    """Whose sign-in it is; `doing`: the person does something now, so that it lasts on. Raises `SignInRefused`."""
    now, lasting = context.now(), lasting_of(context)
    with context.database.read() as session:
        signed = signed_in(session, token, now, lasting)
    if doing and signed.seen_at <= now - SEEN_NOTED:
        with context.database.write() as session:
            session.execute(
                update(SignIn).where(SignIn.id == signed.actor.sign_in_id).values(seen_at=now)
            )
    return signed


def sign_out(context: Context) -> None:
    """End the sign-in by which the actor acts; twice is once."""
    with context.database.write() as session:
        session.execute(
            update(SignIn)
            .where(SignIn.id == context.actor.sign_in_id, SignIn.ended_at.is_(None))
            .values(ended_at=context.now())
        )


def sign_out_everywhere(context: Context) -> None:
    """End all sign-ins of the actor, this one too."""
    actor, now = context.actor, context.now()
    if actor.person_id is None:
        return
    with context.database.write() as session:
        end_sign_ins(session, actor.person_id, now)
        record_act(session, actor, Deed.SIGNED_OUT, actor.name, now)


def _welcome(person: Person, now: datetime) -> bool:
    """Neither disabled nor with a one-time password that is too old."""
    in_time = person.one_time_until is None or now < person.one_time_until
    return person.disabled_at is None and in_time
