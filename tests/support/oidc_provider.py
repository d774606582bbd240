"""An OpenID provider over real HTTP, for tests; it can misbehave.

Its tokens are put together by hand and signed with `cryptography`: what verifies them is not what made them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import httpx
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask, Response, redirect, request
from werkzeug.serving import make_server


class Wrong(StrEnum):
    """What the provider does wrong."""

    # a token that proves nobody
    NONCE = "another nonce"
    NO_NONCE = "no nonce"
    AUDIENCE = "another audience"
    AUDIENCES = "several audiences, and not for whom"
    PARTY = "made for another party"
    ISSUER = "another issuer"
    EXPIRED = "expired"
    NO_EXPIRY = "without an end"
    ENDLESS = "an end that is no number"
    FUTURE = "made in the future"
    NONE = "alg none"
    UNSIGNED = "no signature"
    CHANGED = "changed after it was signed"
    OUR_SECRET = "HS256 by our secret"
    PUBLIC_KEY = "HS256 by the public key"
    PUBLIC_MODULUS = "HS256 by the key as the JWKS spells it"
    UNKNOWN_KEY = "an unknown kid"
    STOLEN_KID = "a known kid, another key"
    BROUGHT_KEY = "brings its own key"
    ACCESS_TOKEN = "at_hash of another access token"
    NO_TOKEN = "no ID token"
    NO_TEXT = "an ID token that is no text"
    # a token endpoint that refuses, or says what cannot be understood
    ERROR = "an error with status 200"
    NO_JSON = "no JSON"
    NO_OBJECT = "JSON that is no object"
    DEEP = "JSON as deep as the sea"
    REDIRECT = "redirects"
    # a provider that cannot be used
    FAILS = "500"
    ENDLESS_ANSWER = "an answer without an end"


class Unusable(StrEnum):
    """What is wrong with what the provider says of itself."""

    ISSUER = "another issuer"
    CLEAR = "an address in clear outside"
    MISSING = "no address"
    NO_KEYS = "no keys"
    SECRET_KEYS = "secret keys alone"
    ENCRYPTION_KEY = "a key that is not for signatures"
    NO_JSON = "no JSON"
    NO_OBJECT = "JSON that is no object"
    REDIRECT = "redirects"
    FAILS = "500"


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def encoded(said: object) -> str:
    return base64url(json.dumps(said).encode())


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


first_key = lru_cache(new_key)
"""Of every provider at first: to make one takes a while."""


@dataclass
class Grant:
    """What a code stands for."""

    challenge: str
    nonce: str
    back: str


@dataclass
class OidcProvider:
    """The provider; `login` signs in there at once, `more` are further claims, `asked` the paths that were asked."""

    url: str = ""
    client_id: str = "blankforms"
    client_secret: str = "s3cret: of/ours&+%"
    login: object = "wang"
    more: dict[str, Any] = field(default_factory=dict)
    wrong: Wrong | None = None
    unusable: Unusable | None = None
    basic: bool = True
    hangs: bool = False
    kid: str = "k1"
    key: rsa.RSAPrivateKey = field(default_factory=first_key)
    asked: list[str] = field(default_factory=list)
    grants: dict[str, Grant] = field(default_factory=dict)
    waiting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released by each call that the provider hangs with."""
    ends: threading.Event = field(default_factory=threading.Event)

    @property
    def issuer(self) -> str:
        return f"{self.url}/realms/house"

    def rotate(self) -> None:
        """Sign with another key from now on; the one before is no longer given out."""
        self.kid, self.key = f"k{secrets.token_hex(4)}", new_key()

    def visit(self, url: str) -> dict[str, str]:
        """What a browser that is sent to the provider comes back with."""
        answer = httpx.get(url, trust_env=False)
        assert answer.status_code == 302, answer.text
        return {k: v[0] for k, v in parse_qs(urlsplit(answer.headers["Location"]).query).items()}

    # -- what it says of itself -------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        said = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.url}/authorize?theme=house",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint_auth_methods_supported": [
                "client_secret_basic" if self.basic else "client_secret_post"
            ],
        }
        match self.unusable:
            case Unusable.ISSUER:
                said["issuer"] = "https://id.example"
            case Unusable.CLEAR:
                said["token_endpoint"] = "http://id.example/token"
            case Unusable.MISSING:
                del said["token_endpoint"]
        return said

    def public_key(self) -> dict[str, str]:
        numbers = self.key.public_key().public_numbers()
        return {
            "kty": "RSA",
            "kid": self.kid,
            "use": "enc" if self.unusable is Unusable.ENCRYPTION_KEY else "sig",
            "n": base64url(numbers.n.to_bytes(256, "big")),
            "e": base64url(numbers.e.to_bytes(3, "big")),
        }

    def keys(self) -> list[dict[str, str]]:
        secret = {"kty": "oct", "kid": "hs", "k": base64url(self.client_secret.encode())}
        odd = [
            {"kty": "LATTICE", "kid": "later"},
            {"kty": "EC", "kid": "broken", "crv": "P-256", "x": "AA"},
        ]
        if self.unusable is Unusable.SECRET_KEYS:
            return [secret]
        return [*odd, secret, self.public_key()]

    # -- what it says of somebody -----------------------------------------------------------------

    def authorize(self, query: dict[str, str]) -> str:
        assert query["response_type"] == "code"
        assert query["client_id"] == self.client_id
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.grants[code] = Grant(query["code_challenge"], query["nonce"], query["redirect_uri"])
        return f"{query['redirect_uri']}?{urlencode({'state': query['state'], 'code': code})}"

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, object]:
        """Status and answer; a code is good for once."""
        if self.basic:
            pair = b64decode(authorization.removeprefix("Basic ")).decode().split(":")
            given = [unquote_plus(part) for part in pair]
        else:
            given = [form.get("client_id", ""), form.get("client_secret", "")]
        if given != [self.client_id, self.client_secret]:
            return 401, {"error": "invalid_client"}
        grant = self.grants.pop(form["code"], None)
        challenge = base64url(hashlib.sha256(form["code_verifier"].encode()).digest())
        asked = grant and grant.challenge == challenge and grant.back == form["redirect_uri"]
        if not asked or form["grant_type"] != "authorization_code":
            return 400, {"error": "invalid_grant"}
        access = secrets.token_urlsafe(16)
        answer = {"access_token": access, "token_type": "Bearer"}
        match self.wrong:
            case Wrong.NO_TOKEN:
                return 200, answer
            case Wrong.NO_TEXT:
                return 200, {**answer, "id_token": {"sub": "1"}}
        answer["id_token"] = self.token(grant.nonce, access)
        match self.wrong:
            case Wrong.ERROR:
                answer["error"] = "access_denied"
            case Wrong.NO_OBJECT:
                return 200, [answer]
        return 200, answer

    def token(self, nonce: str, access: str) -> str:
        now = int(time.time())
        if self.wrong is Wrong.ACCESS_TOKEN:
            access = "another"
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": "0001",
            "aud": self.client_id,
            "exp": now + 300,
            "iat": now,
            "nonce": nonce,
            "at_hash": base64url(hashlib.sha256(access.encode()).digest()[:16]),
            "preferred_username": self.login,
            **self.more,
        }
        match self.wrong:
            case Wrong.NONCE:
                claims["nonce"] = "another"
            case Wrong.NO_NONCE:
                del claims["nonce"]
            case Wrong.AUDIENCE:
                claims |= {"aud": "another", "azp": self.client_id}
            case Wrong.AUDIENCES:
                claims["aud"] = [self.client_id, "another"]
            case Wrong.PARTY:
                claims["azp"] = "another"
            case Wrong.ISSUER:
                claims["iss"] = f"{self.issuer}/"
            case Wrong.EXPIRED:
                claims["exp"] = now - 61
            case Wrong.NO_EXPIRY:
                del claims["exp"]
            case Wrong.ENDLESS:
                claims["exp"] = float("nan")
            case Wrong.FUTURE:
                claims["iat"] = now + 300
        return self.sealed(claims)

    def sealed(self, claims: dict[str, Any]) -> str:
        header: dict[str, Any] = {"alg": "RS256", "typ": "JWT", "kid": self.kid, "house": "ours"}
        if self.unusable is Unusable.ENCRYPTION_KEY:
            del header["kid"]  # so that it is the only key that it may be
        signer = self.key
        shared = None
        match self.wrong:
            case Wrong.NONE:
                header["alg"] = "none"
            case Wrong.OUR_SECRET:
                header |= {"alg": "HS256", "kid": "hs"}
                shared = self.client_secret.encode()
            case Wrong.PUBLIC_KEY:
                header["alg"] = "HS256"
                shared = self.key.public_key().public_bytes(
                    Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
                )
            case Wrong.PUBLIC_MODULUS:
                header["alg"] = "HS256"
                shared = json.dumps(self.public_key()).encode()
            case Wrong.UNKNOWN_KEY:
                header["kid"] = "unknown"
            case Wrong.STOLEN_KID:
                signer = new_key()
            case Wrong.BROUGHT_KEY:
                signer = new_key()
                numbers = signer.public_key().public_numbers()
                header["jwk"] = {
                    "kty": "RSA",
                    "n": base64url(numbers.n.to_bytes(256, "big")),
                    "e": base64url(numbers.e.to_bytes(3, "big")),
                }
        said = f"{encoded(header)}.{encoded(claims)}"
        if self.wrong in (Wrong.NONE, Wrong.UNSIGNED):
            return f"{said}."
        if shared is not None:
            return f"{said}.{base64url(hmac.digest(shared, said.encode(), 'sha256'))}"
        signature = base64url(signer.sign(said.encode(), padding.PKCS1v15(), SHA256()))
        if self.wrong is Wrong.CHANGED:
            said = f"{encoded(header)}.{encoded({**claims, 'preferred_username': 'boss'})}"
        return f"{said}.{signature}"


def _app(provider: OidcProvider) -> Flask:
    app = Flask("oidc-provider")

    @app.before_request
    def begin() -> None:
        provider.asked.append(request.path)
        if provider.hangs:
            provider.waiting.release()
            provider.ends.wait()

    @app.get("/realms/house/.well-known/openid-configuration")
    def description() -> Any:
        match provider.unusable:
            case Unusable.NO_JSON:
                return "<html>"
            case Unusable.NO_OBJECT:
                return [1]
            case Unusable.REDIRECT:
                return redirect("/elsewhere")
            case Unusable.FAILS:
                return provider.description(), 500
        return provider.description()

    @app.get("/elsewhere")
    def elsewhere() -> Any:
        return provider.description()

    @app.get("/keys")
    def keys() -> Any:
        return {"keys": [] if provider.unusable is Unusable.NO_KEYS else provider.keys()}

    @app.get("/authorize")
    def authorize() -> Any:
        return redirect(provider.authorize(request.args.to_dict()))

    @app.post("/token")
    @app.post("/moved")
    def token() -> Any:
        status, said = provider.exchange(
            request.form.to_dict(), request.headers.get("Authorization", "")
        )
        match provider.wrong:
            case Wrong.NO_JSON:
                return "<html>"
            case Wrong.DEEP:
                return "[" * 200_000
            case Wrong.REDIRECT if request.path == "/token":
                return redirect("/moved", 307)
            case Wrong.FAILS:
                return {}, 500
            case Wrong.ENDLESS_ANSWER:
                return Response(b" " * 65536 for _ in iter(int, 1))
        return Response(json.dumps(said), status, content_type="application/json")

    return app


@contextmanager
def oidc_provider() -> Iterator[OidcProvider]:
    """A provider that listens until the end of the block."""
    provider = OidcProvider()
    server = make_server("127.0.0.1", 0, _app(provider), threaded=True)
    server.daemon_threads = True
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield provider
    provider.ends.set()
    server.shutdown()
    thread.join()
    server.server_close()
