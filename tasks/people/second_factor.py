"""A second factor: six digits of an authenticator app, new every 30 seconds (RFC 6238)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pyotp
from sqlalchemy import update
from sqlalchemy.orm import Session

from models.reads.people import actor_as_now
from models.rules.errors import SecondFactorUnusable
from models.rules.language import t
from models.rules.people import Actor, Deed
from models.tables.people import Person
from models.writes.acts import record_act
from net.secrets import second_factor_secret
from tasks.context import Context
from tasks.people import tries

_STEP: Final = timedelta(seconds=30)
_AROUND: Final = 1
"""Steps that a telephone's clock may be off."""


def uses_code(context: Context, person: Person, code: str) -> bool:
    """Whether the person needs no code, or this one is right and was not used before; it is used then."""
    if person.second_factor is None:
        return True
    step = _step_of(context, person, person.second_factor, code)
    if step is None:
        return False
    with context.database.write() as session:
        used = session.execute(
            update(Person)
            .where(Person.id == person.id, Person.second_factor_step < step)
            .values(second_factor_step=step)
            .returning(Person.id)
        )
        return used.first() is not None


def offered(context: Context) -> tuple[str, str]:
    """The secret that the signed-in person may set up, and its address for a QR code; nothing is changed yet.

    Raises `SecondFactorUnusable` where this system has no root of secrets.
    """
    person = _me(context)
    secret = _secret(context, person, _next(person))
    uri = pyotp.TOTP(secret).provisioning_uri(name=person.login, issuer_name="空白证单 Blankforms")
    return secret, uri


def turn_on(context: Context, code: str) -> None:
    """From now on the person signs in with a code too; the code shows that their app has the secret.

    Raises `SecondFactorUnusable` for a wrong one.
    """
    person = _me(context)
    _count(context, person)
    step = _step_of(context, person, _next(person), code)
    if step is None:
        raise SecondFactorUnusable(detail=t("动态码不正确", "the code is not right"))
    _set(context, person, _next(person), step)


def turn_off(context: Context, code: str) -> None:
    """No code any more; the last one shows that it is the person. Raises `SecondFactorUnusable`."""
    person = _me(context)
    _count(context, person)
    if not uses_code(context, person, code):
        raise SecondFactorUnusable(detail=t("动态码不正确", "the code is not right"))
    _set(context, person, None, person.second_factor_step)


def _count(context: Context, person: Person) -> None:
    """Whoever sits before somebody's open page guesses no code. Raises `SignInPaused`."""
    with context.database.write() as session:
        tries.count(session, tries.key_of_page(person.login), context.now())


def _set(context: Context, person: Person, generation: int | None, step: int) -> None:
    with context.database.write() as session:
        actor_as_now(session, context.actor)
        tries.forgive(session, tries.key_of_page(person.login))
        kept = session.get_one(Person, person.id)
        kept.second_factor, kept.second_factor_step = generation, max(step, kept.second_factor_step)
        record_act(
            session,
            context.actor,
            Deed.SECOND_FACTOR_SET,
            person.login,
            context.now(),
            on=generation is not None,
        )


def _me(context: Context) -> Person:
    with context.database.read() as session:
        return session.get_one(Person, context.actor.person_id)


def _next(person: Person) -> int:
    """Another secret than any before: the newest step that was used grows with every one that was in use."""
    return person.second_factor_step + 1


def _secret(context: Context, person: Person, generation: int) -> str:
    root = context.settings.root_of_secrets
    if root is None:
        raise SecondFactorUnusable(
            detail=t("系统未设 NOTIFICATION_KEY", "NOTIFICATION_KEY is not set")
        )
    return second_factor_secret(root, person.login, generation)


def _step_of(context: Context, person: Person, generation: int, code: str) -> int | None:
    """The step whose code this is; None for a wrong one."""
    digits = code.replace(" ", "")
    totp = pyotp.TOTP(_secret(context, person, generation))
    now = int(context.now().timestamp()) // int(_STEP.total_seconds())
    for step in range(now - _AROUND, now + _AROUND + 1):
        if digits.isascii() and pyotp.utils.strings_equal(digits, totp.generate_otp(step)):
            return step
    return None


def is_on(session: Session, actor: Actor) -> bool:
    """Whether the person signs in with a code."""
    person = session.get(Person, actor.person_id)
    return person is not None and person.second_factor is not None
