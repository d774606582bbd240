"""An OpenID provider over HTTP: the authorization code flow with PKCE and a nonce (OpenID Connect Core 3.1).

Each call has one time limit in all and a limit of size; no redirect is followed and no proxy of the environment
is used. What the provider says is believed when it is signed by one of its keys, for us, for this browser, now.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from threading import BoundedSemaphore
from typing import Any, Final, TypeVar
from urllib.parse import quote_plus, urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from joserfc.jws import JWSRegistry

from config.settings import is_sealed
from models.rules.errors import OidcUnreachable, SignInBusy

TIMEOUT_SECONDS: Final = 10.0
"""For one call in all, from the connection to the last byte."""

ANSWER_LIMIT: Final = 256 * 1024
"""Bytes of an answer; what providers say of themselves is under 20 KiB."""

KEPT: Final = timedelta(minutes=10)
"""How long it is kept what the provider says of itself, and its keys."""

LEEWAY_SECONDS: Final = 60
"""The provider's clock may be off by so much."""

ALGORITHMS: Final = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)
)
"""Asymmetric ones alone: by HS256 whoever knows our secret, or a public key, could sign."""

_CALLS_AT_ONCE: Final = 4
_WAIT_SECONDS: Final = 1
_slots = BoundedSemaphore(_CALLS_AT_ONCE)
"""A provider that hangs does not take every thread of a process: whoever signs in by a password still can."""

_OK: Final = 200
_SERVER_ERROR: Final = 500
_ODD: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""An answer that is not what the specifications say."""

_T = TypeVar("_T")


class NotProved(Exception):
    """The provider refuses, or what it says proves nobody. `reason` holds no secret; it is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class AnswerTooLong(ValueError):
    """An answer that is not read to its end."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What ties an answer of the provider to the browser that was sent there: 256 random bits each."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class _Described:
    """What a provider says of itself."""

    authorize: str
    token: str
    keys: str
    basic: bool
    """Whether it takes our secret as HTTP Basic (the default), else in the form."""


class Provider:
    """The provider of these settings; it may be used by several threads. Nothing is called before it is needed."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._issuer = issuer
        self._client_id = client_id
        self._secret = client_secret
        self._timeout = timeout_seconds
        self._described: tuple[datetime, _Described] | None = None
        self._keys: tuple[datetime, KeySet] | None = None

    def address(self, passage: Passage, back: str, scope: str, now: datetime) -> str:
        """Where to send the browser; it comes back to `back`. Raises `OidcUnreachable`, `SignInBusy`."""
        return str(
            prepare_grant_uri(
                self._describe(now).authorize,
                self._client_id,
                "code",
                redirect_uri=back,
                scope=scope,
                state=passage.state,
                nonce=passage.nonce,
                code_challenge=create_s256_code_challenge(passage.verifier),
                code_challenge_method="S256",
            )
        )

    def claims(self, code: str, passage: Passage, back: str, now: datetime) -> dict[str, Any]:
        """What the provider says of whoever came back with this code.

        Raises `NotProved`; `OidcUnreachable` for a provider that is away or fails; `SignInBusy`.
        """
        answer = self._exchange(code, passage, back, now)
        try:
            token = self._signed(str(answer["id_token"]), now)
            said = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self._issuer},
                    "aud": {"essential": True, "value": self._client_id},
                },
                {
                    "nonce": passage.nonce,
                    "client_id": self._client_id,
                    "access_token": answer.get("access_token"),
                },
            )
            said.validate(int(now.timestamp()), LEEWAY_SECONDS)
        except JoseError as error:
            raise NotProved(str(error)[:120]) from None
        except _ODD as error:
            raise NotProved(f"id_token: {type(error).__name__}") from None
        return dict(said)

    # -- what the provider says of itself ---------------------------------------------------------

    def _describe(self, now: datetime) -> _Described:
        if self._described is None or not _is_fresh(self._described[0], now):
            url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            self._described = now, self._document(url, self._read_description)
        return self._described[1]

    def _read_description(self, said: dict[str, Any]) -> _Described:
        if said["issuer"] != self._issuer:
            raise ValueError("another issuer")
        ways = said.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        described = _Described(
            said["authorization_endpoint"],
            said["token_endpoint"],
            said["jwks_uri"],
            "client_secret_basic" in ways,
        )
        for url in (described.authorize, described.token, described.keys):
            if not self._may_be_asked(url):
                raise ValueError("an address that is not https")
        return described

    def _may_be_asked(self, url: str) -> bool:
        """What begins over TLS stays there."""
        sealed = urlsplit(url).scheme == "https"
        return sealed or (urlsplit(self._issuer).scheme == "http" and is_sealed(url))

    def _key_set(self, now: datetime, *, anew: bool = False) -> KeySet:
        if anew or self._keys is None or not _is_fresh(self._keys[0], now):
            self._keys = now, self._document(self._describe(now).keys, _read_keys)
        return self._keys[1]

    def _document(self, url: str, read: Callable[[dict[str, Any]], _T]) -> _T:
        status, body = self._call("GET", url)
        if status != _OK:
            raise OidcUnreachable(detail=f"{urlsplit(url).path}: HTTP {status}")
        try:
            return read(json.loads(body))
        except (*_ODD, JoseError) as error:
            raise OidcUnreachable(detail=f"{urlsplit(url).path}: {error}"[:120]) from None

    # -- what it says of somebody -----------------------------------------------------------------

    def _exchange(self, code: str, passage: Passage, back: str, now: datetime) -> dict[str, Any]:
        described = self._describe(now)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "code_verifier": passage.verifier,
        }
        headers = {}
        if described.basic:
            pair = f"{quote_plus(self._client_id)}:{quote_plus(self._secret)}"  # RFC 6749 2.3.1
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self._client_id, "client_secret": self._secret}
        status, body = self._call("POST", described.token, form, headers)
        if status >= _SERVER_ERROR:
            raise OidcUnreachable(detail=f"{urlsplit(described.token).path}: HTTP {status}")
        try:
            answer: dict[str, Any] = json.loads(body)
            error = answer.get("error")
        except _ODD:
            raise NotProved(f"token: HTTP {status}, not what it should be") from None
        if status != _OK or error is not None:
            raise NotProved(f"token: HTTP {status} {str(error)[:64]}")
        return answer

    def _signed(self, id_token: str, now: datetime) -> jwt.Token:
        """The token, when a key of the provider has signed it; its keys are read once more for an unknown one."""
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        try:
            return jwt.decode(id_token, self._key_set(now), registry=registry)
        except InvalidKeyIdError:
            return jwt.decode(id_token, self._key_set(now, anew=True), registry=registry)

    # -- one call ---------------------------------------------------------------------------------

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        """The authorities that this machine trusts: the provider may be one of the house."""
        return ssl.create_default_context()

    def _call(
        self,
        method: str,
        url: str,
        form: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Status and body. Raises `OidcUnreachable`, `SignInBusy`."""
        if not _slots.acquire(timeout=_WAIT_SECONDS):
            raise SignInBusy
        try:
            return asyncio.run(self._ask(method, url, form, headers or {}))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError, ValueError) as error:
            raise OidcUnreachable(detail=type(error).__name__) from None
        finally:
            _slots.release()

    async def _ask(
        self, method: str, url: str, form: dict[str, str] | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """In a loop of its own, because only there one limit holds for all of a call."""
        about = {"Accept": "application/json", "Accept-Encoding": "identity", **headers}
        async with (
            asyncio.timeout(self._timeout),
            httpx.AsyncClient(verify=self._trusted, trust_env=False, timeout=None) as client,  # noqa: S113
            client.stream(method, url, data=form, headers=about) as response,
        ):
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > ANSWER_LIMIT:
                    raise AnswerTooLong
            return response.status_code, bytes(body)


def _is_fresh(since: datetime, now: datetime) -> bool:
    return since <= now < since + KEPT


def _read_keys(said: dict[str, Any]) -> KeySet:
    """The keys that signatures can be verified by; one that cannot be read is not the others' fault."""
    keys: list[RSAKey | ECKey] = []
    kinds: dict[str, type[RSAKey | ECKey]] = {"RSA": RSAKey, "EC": ECKey}
    for one in said["keys"]:
        if one.get("kty") not in kinds or one.get("use", "sig") != "sig":
            continue
        try:
            keys.append(kinds[one["kty"]].import_key(one))
        except (*_ODD, JoseError):
            continue
    if not keys:
        raise ValueError("no key that verifies")
    return KeySet(list(keys))
