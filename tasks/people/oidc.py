"""Signing in by an OpenID provider: it proves who somebody is; who is a person here is said here alone.

What a browser keeps between the two pages is encrypted, so that no table holds it. No transaction is open while
the provider is asked.
"""

from __future__ import annotations

import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, NoReturn

import structlog
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy import select

from models.rules.errors import OidcUnreachable, SignInRefused
from models.rules.language import t
from models.rules.people import LOGIN
from models.tables.people import Person
from net.oidc import NotProved, Passage, Provider
from net.secrets import passage_key
from tasks.context import Context

log = structlog.get_logger(__name__)

LASTS: Final = timedelta(minutes=10)
"""For so long the browser may be away at the provider."""

_EMAIL: Final = "email"
_CODE_LIMIT: Final = 4096


@dataclass(frozen=True, slots=True)
class Begun:
    """Where to send the browser, and what it must keep meanwhile and hand back (`finish`)."""

    url: str
    kept: str


def begin(context: Context, back: str) -> Begun:
    """The way to the provider; from there the browser comes to `back` with a state and a code.

    Raises `OidcUnreachable`, `SignInBusy`; `SignInRefused` where the settings name no provider.
    """
    passage = Passage(*(secrets.token_urlsafe(32) for _ in range(3)))
    cipher, now = _cipher(context), context.now()
    try:
        url = _provider_of(context).address(passage, back, _scope(context), now)
    except OidcUnreachable as error:
        log.warning("oidc_unreachable", reason=error.values["detail"])
        raise
    kept = cipher.encrypt_at_time(json.dumps(asdict(passage)).encode(), int(now.timestamp()))
    return Begun(url, kept.decode())


def finish(context: Context, kept: str, state: str, code: str, back: str) -> int:
    """The id of the person whom the provider proves; `back` as it was at `begin`. Nobody is added.

    Raises `SignInRefused`, always the same, for an answer that was not asked for by this browser, or too long ago;
    for one that proves nobody; for who is no person here, or disabled. `OidcUnreachable`, `SignInBusy`.
    """
    passage = _passage(context, kept)
    if not hmac.compare_digest(passage.state.encode(), state.encode("utf-8", "replace")):
        _refuse("state")
    if not (0 < len(code) <= _CODE_LIMIT and code.isascii() and code.isprintable()):
        _refuse("no code")
    try:
        claims = _provider_of(context).claims(code, passage, back, context.now())
    except NotProved as error:
        _refuse(error.reason)
    except OidcUnreachable as error:
        log.warning("oidc_unreachable", reason=error.values["detail"])
        raise
    return _person_of(context, _login(context, claims))


def _passage(context: Context, kept: str) -> Passage:
    try:
        text = _cipher(context).decrypt_at_time(
            kept.encode("utf-8", "replace"),
            int(LASTS.total_seconds()),
            int(context.now().timestamp()),
        )
    except InvalidToken:
        _refuse("kept is not ours, or too old")
    return Passage(**json.loads(text))


def _login(context: Context, claims: dict[str, Any]) -> str:
    name = context.settings.oidc_login_claim
    if name == _EMAIL and claims.get("email_verified") is not True:
        _refuse(
            "email is not verified"
        )  # at some providers everybody may write there what they like
    login = claims.get(name)
    if not isinstance(login, str) or not LOGIN.fullmatch(login.lower()):
        _refuse(f"{name} is no login")
    return login.lower()


def _person_of(context: Context, login: str) -> int:
    with context.database.read() as session:
        person = session.scalar(select(Person).where(Person.login == login))
    if person is None:
        _refuse("no such person", login=login)
    if person.disabled_at is not None:
        _refuse("disabled", login=login)
    return person.id


def _refuse(reason: str, **more: str) -> NoReturn:
    log.warning("oidc_refused", reason=reason, **more)
    raise SignInRefused


def _scope(context: Context) -> str:
    return "openid email" if context.settings.oidc_login_claim == _EMAIL else "openid profile"


def _cipher(context: Context) -> Fernet:
    root = context.settings.root_of_secrets
    if root is None:
        raise OidcUnreachable(detail=t("系统未设 NOTIFICATION_KEY", "NOTIFICATION_KEY is not set"))
    return Fernet(passage_key(root))


def _provider_of(context: Context) -> Provider:
    settings = context.settings
    if not settings.oidc_issuer:
        _refuse("no OIDC_ISSUER")
    secret = settings.oidc_client_secret
    return _provider(
        settings.oidc_issuer, settings.oidc_client_id, secret.get_secret_value() if secret else ""
    )


@lru_cache(maxsize=4)
def _provider(issuer: str, client_id: str, client_secret: str) -> Provider:
    """One in a process, so that what it keeps is kept."""
    return Provider(issuer, client_id, client_secret)
